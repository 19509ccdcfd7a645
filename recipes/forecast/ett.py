"""ETTh1, ETTh2, ETTm1 in the protocol of the published tables: 12/4/4 months, z-scores, all seven columns, stride 1.

python recipes/forecast/ett.py ETTh1.csv.gz                          repeat-last and seasonal naive
python recipes/forecast/ett.py ETTh1.csv.gz --model ridge            one closed-form map per horizon
python recipes/forecast/ett.py ETTh1.csv.gz --model segment --out runs/ett    one net for all four horizons per seed

Errors are in units of each column's deviation on the training rows. No window is dropped. With --out an interrupted run
goes on where it was.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import torch

from recurra.base import config
from recurra.data.series import SeriesSet, SeriesWindows, Window, read_series
from recurra.tasks.forecast.metrics import coverage
from recurra.tasks.forecast.naive import naive_forecast
from recurra.tasks.forecast.settings import Architecture, DataSettings, ForecastSettings
from recurra.tasks.forecast.train import fit
from recurra.training.config import OptimConfig, ScheduleConfig, TrainConfig
from recurra.training.progress import Progress

HORIZONS = (96, 192, 336, 720)


def read(path: Path) -> tuple[SeriesSet, int]:
    """The rows of the protocol, and how many of them are an hour."""
    series = read_series(path)
    hour = 4 if str(series.frequency) == "15min" else 1
    return series.univariate().rows(0, 14_400 * hour), hour


class Errors:
    """Sums for each horizon over the windows that have all its steps."""

    def __init__(self) -> None:
        self.sums = {horizon: np.zeros(3) for horizon in HORIZONS}

    def add(self, said: np.ndarray, truth: np.ndarray) -> None:
        """(B, H) both, NaN behind the end."""
        missed = said - truth
        for horizon in HORIZONS:
            if horizon > missed.shape[1]:
                continue
            part = missed[~np.isnan(missed[:, :horizon]).any(1), :horizon]
            self.sums[horizon] += (part**2).sum(), np.abs(part).sum(), part.size

    def row(self) -> str:
        """MSE/MAE at each horizon, and their means."""
        pairs = [sums[:2] / sums[2] for sums in self.sums.values() if sums[2]]
        mean = np.mean(pairs, axis=0)
        return " ".join(f"{mse:.3f}/{mae:.3f}" for mse, mae in pairs) + f"  mean {mean[0]:.4f}/{mean[1]:.4f}"


def tested(windows: SeriesWindows, says: Callable[[Window], np.ndarray], errors: Errors) -> None:
    """Forecast every window and count its errors."""
    for begin in range(0, len(windows), 1024):
        window = windows[slice(begin, begin + 1024)]
        errors.add(says(window), window.values[:, windows.past :, 0])


def settings_for(model: str, look_back: int, hour: int, horizon: int, overrides: list[str]) -> ForecastSettings:
    """What a model is trained by, before `key=value`."""
    base = ForecastSettings(
        horizon=horizon,
        season=24 * hour,
        quantiles=(0.5,),
        calibrate=False,
        batch=384,
        data=DataSettings(validation=2880 * hour, test=2880 * hour, calendar=False),
        model=Architecture(name=model, look_back=look_back, normalise="last", loss="mae", segment=24 * min(hour, 2)),
        train=TrainConfig(
            iterations=300,
            optim=OptimConfig(learning_rate=2e-3, beta2=0.999),
            schedule=ScheduleConfig(name="cosine", warmup=20),
            evaluate_every=100,
            checkpoint_every=50,
            sample_at=(),
            sample_every=0,
        ),
    )
    return config.parse(ForecastSettings, config.to_dict(base), overrides)


def main() -> None:
    """Measure, and print a line per model and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--model", default="naive")
    parser.add_argument("--look-back", type=int, default=336)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    series, hour = read(arguments.file)
    name, start = arguments.file.name.split(".")[0], 11_520 * hour
    if arguments.model in ("naive", "ridge"):
        rows = (
            {"repeat-last": Errors(), "seasonal naive": Errors()} if arguments.model == "naive" else {"ridge": Errors()}
        )
        for horizon in HORIZONS:
            settings = settings_for(arguments.model, arguments.look_back, hour, horizon, arguments.set)
            forecaster = fit(series, settings).forecaster
            ready = forecaster.preparation.apply(series)
            windows = SeriesWindows(ready.series, arguments.look_back, horizon, first=start)
            for title, errors in rows.items():
                one = Errors()
                if title == "ridge":
                    layout, net = forecaster.preparation.layout, forecaster.net

                    def says(window: Window) -> np.ndarray:
                        with torch.no_grad():
                            return net.quantiles(layout.pack(window, ready.series))[..., 0].double().numpy()  # noqa: B023
                else:
                    kind = "naive" if title == "repeat-last" else "seasonal_naive"

                    def says(window: Window) -> np.ndarray:
                        back = window.values[:, : arguments.look_back, 0]
                        return naive_forecast(back, horizon, kind, 24 * hour)  # noqa: B023

                tested(windows, says, one)
                errors.sums[horizon] = one.sums[horizon]
        for title, errors in rows.items():
            print(f"{name} {title:<16} L {arguments.look_back}  {errors.row()}", flush=True)
        return
    settings = settings_for(arguments.model, arguments.look_back, hour, max(HORIZONS), arguments.set)
    said = []
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        began = time.monotonic()
        one = msgspec.structs.replace(settings, seed=seed)
        place = arguments.out / f"{name}-{arguments.look_back}-{seed}" if arguments.out else None
        trained = fit(series, one, folder=place, progress=Progress("plain"), resume=place is not None)
        if trained.interrupted:
            return
        forecaster = trained.forecaster
        ready = forecaster.preparation.apply(series)
        windows = SeriesWindows(ready.series, arguments.look_back, max(HORIZONS), first=start, future=min(HORIZONS))
        layout, parts = forecaster.preparation.layout, []
        with torch.no_grad():
            for begin in range(0, len(windows), 1024):
                x = layout.pack(windows[slice(begin, begin + 1024)], ready.series)
                parts.append(forecaster.net.quantiles(x).numpy())
        quantiles = np.concatenate(parts)
        errors = Errors()
        truth = np.concatenate([windows[slice(b, b + 1024)].values[:, -720:, 0] for b in range(0, len(windows), 1024)])
        errors.add(quantiles[..., quantiles.shape[-1] // 2], truth)
        said.append(quantiles)
        print(
            f"{name} seed {seed} L {arguments.look_back}  {errors.row()}  {time.monotonic() - began:.0f} s", flush=True
        )
    joined = np.median(said, axis=0)
    errors = Errors()
    errors.add(joined[..., joined.shape[-1] // 2], truth)
    print(f"{name} median of {len(said)} seeds L {arguments.look_back}  {errors.row()}")
    levels = settings.quantiles
    if len(levels) > 1:
        inside = coverage(truth, joined[..., 0], joined[..., -1])
        crossing = int((np.diff(joined, axis=-1) < 0).sum())
        by_step = np.nanmean(inside, 0)
        print(
            f"{100 * (levels[-1] - levels[0]):.0f} % interval holds {100 * np.nanmean(inside):.1f} %, by step "
            f"{100 * by_step.min():.1f} to {100 * by_step.max():.1f} %; quantiles that cross: {crossing}"
        )


if __name__ == "__main__":
    main()
