"""ETTh1, ETTh2, ETTm1 in the protocol of the published tables: 12/4/4 months, z-scores, all seven columns, stride 1.

python recipes/forecast/ett.py ETTh1.csv.gz                          repeat-last and seasonal naive
python recipes/forecast/ett.py ETTh1.csv.gz --model ridge            one closed-form map per horizon
python recipes/forecast/ett.py ETTh1.csv.gz --model segment --out runs/ett    a net per horizon and seed

Errors are in units of each column's deviation on the training rows. No window is dropped. With --out an interrupted run
goes on where it was, and finished nets are not trained again.

The net sees each window less its mean and is not told which column it is: otherwise it learns the training year by
heart. What it says is blended with ridge regression (on windows less their last value), by a share halfway from a half
to the one that is best on the validation rows. ETTm1 has four times the rows: there the net begins as ridge regression,
learns what is left, and takes more updates, as it does where windows are short.
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
from recurra.tasks.forecast.prepare import prepare
from recurra.tasks.forecast.run import fit_series
from recurra.tasks.forecast.settings import Architecture, DataSettings, ForecastSettings
from recurra.training.config import OptimConfig, ScheduleConfig, TrainConfig
from recurra.training.progress import Progress

HORIZONS = (96, 192, 336, 720)
ITERATIONS = {96: 250, 192: 200, 336: 200, 720: 150}


def read(path: Path) -> tuple[SeriesSet, int]:
    """The rows of the protocol, and how many of them are an hour."""
    series = read_series(path)
    hour = 4 if str(series.frequency) == "15min" else 1
    return series.univariate().rows(0, 14_400 * hour), hour


class Errors:
    """Sums for each horizon over all its windows."""

    def __init__(self, horizons: tuple[int, ...] = HORIZONS) -> None:
        self.sums = {horizon: np.zeros(3) for horizon in horizons}

    def add(self, said: np.ndarray, truth: np.ndarray) -> None:
        """(B, H) both."""
        missed = said - truth
        self.sums[missed.shape[1]] += (missed**2).sum(), np.abs(missed).sum(), missed.size

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
    net = Architecture(
        name=model,
        look_back=look_back,
        normalise="last" if model == "ridge" or hour == 4 else "mean",
        hidden=128,
        dropout=0.5,
        loss="mae",
        segment=24 if hour == 1 and horizon < 720 else 48,
        most_series=0,
        skip=model == "segment" and hour == 4,
        blend="auto" if model == "segment" else 0.0,
    )
    base = ForecastSettings(
        horizon=horizon,
        season=24 * hour,
        quantiles=(0.5,),
        calibrate=False,
        batch=512,
        data=DataSettings(validation=2880 * hour, test=2880 * hour, calendar=False),
        model=net,
        train=TrainConfig(
            iterations=400 if hour == 4 else 800 if look_back < 336 else ITERATIONS[horizon],
            optim=OptimConfig(learning_rate=1e-3, beta2=0.999),
            schedule=ScheduleConfig(name="cosine", warmup=20),
            evaluate_every=50,
            checkpoint_every=50,
            sample_at=(),
            sample_every=0,
        ),
    )
    return config.parse(ForecastSettings, config.to_dict(base), overrides)


def quantiles_of(series: SeriesSet, hour: int, settings: ForecastSettings, place: Path | None) -> np.ndarray | None:
    """What a net says of every test window (N, H, Q); None where training was interrupted."""
    if place and (place / "said.npy").exists():
        return np.load(place / "said.npy")
    try:
        trained = fit_series(series, settings, folder=place, progress=Progress("plain"), resume=place is not None)
    except KeyboardInterrupt:
        return None
    forecaster = trained.forecaster
    ready = forecaster.preparation.apply(series)
    windows = SeriesWindows(ready.series, settings.model.look_back, settings.horizon, first=11_520 * hour)
    with torch.no_grad():
        parts = [
            forecaster.net.quantiles(forecaster.preparation.layout.pack(windows[slice(b, b + 1024)], ready.series))
            for b in range(0, len(windows), 1024)
        ]
    said = torch.cat(parts).numpy()
    if place:
        np.save(place / "part.npy", said)
        (place / "part.npy").rename(place / "said.npy")
    return said


def main() -> None:
    """Measure, and print a line per model and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--model", default="naive")
    parser.add_argument("--look-back", type=int, default=336)
    parser.add_argument("--horizons", type=int, nargs="+", default=list(HORIZONS), choices=HORIZONS)
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
            forecaster = fit_series(series, settings).forecaster
            ready = forecaster.preparation.apply(series)
            windows = SeriesWindows(ready.series, arguments.look_back, horizon, first=start)
            for title, errors in rows.items():
                one = Errors((horizon,))
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
    horizons = tuple(arguments.horizons)
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    by_seed = {seed: Errors(horizons) for seed in seeds}
    whole, bands = Errors(horizons), []
    for horizon in horizons:
        base = settings_for(arguments.model, arguments.look_back, hour, horizon, arguments.set)
        truth = truth_of(series, hour, base)
        said = []
        for seed in seeds:
            began = time.monotonic()
            settings = msgspec.structs.replace(base, seed=seed)
            place = arguments.out / f"{name}-{arguments.look_back}-{horizon}-{seed}" if arguments.out else None
            found = quantiles_of(series, hour, settings, place)
            if found is None:
                return
            middle = base.quantiles.index(0.5)
            by_seed[seed].add(found[..., middle], truth)
            print(f"{name} {horizon} seed {seed}: {time.monotonic() - began:.0f} s", flush=True)
            said.append(found)
        joined = np.median(said, axis=0)
        whole.add(joined[..., base.quantiles.index(0.5)], truth)
        if len(base.quantiles) > 1:
            low, high = base.quantiles[0], base.quantiles[-1]
            by_step = np.nanmean(coverage(truth, joined[..., 0], joined[..., -1]), 0)
            crossing = int((np.diff(joined, axis=-1) < 0).sum())
            bands.append(
                f"{horizon} steps: the {100 * (high - low):.0f} % interval holds {100 * by_step.mean():.1f} %, by step "
                f"{100 * by_step.min():.1f} to {100 * by_step.max():.1f} %; quantiles that cross: {crossing}"
            )
    for seed, errors in by_seed.items():
        print(f"{name} seed {seed} L {arguments.look_back}  {errors.row()}")
    print(f"{name} median of {len(seeds)} seeds L {arguments.look_back}  {whole.row()}")
    print("\n".join(bands))


def truth_of(series: SeriesSet, hour: int, settings: ForecastSettings) -> np.ndarray:
    """(N, H) of every test window, scaled."""
    preparation = prepare(series, settings)[0]
    ready = preparation.apply(series)
    windows = SeriesWindows(ready.series, settings.model.look_back, settings.horizon, first=11_520 * hour)
    back = settings.model.look_back
    return np.concatenate([windows[slice(b, b + 1024)].values[:, back:, 0] for b in range(0, len(windows), 1024)])


if __name__ == "__main__":
    main()
