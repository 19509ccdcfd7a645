"""M4, hourly: 414 series, 48 steps ahead, judged as the competition judged (sMAPE, MASE, OWA).

python recipes/forecast/m4_hourly.py FOLDER [--model segment] [--seeds 3]

FOLDER holds Hourly-train.csv.gz and Hourly-test.csv. One net for all series. Other than by default in `recurra train
forecast` it is told the season, which these files do not tell, is twice as wide, trained five times as long, and
forecasts logarithms: sMAPE asks for relative errors. Two weeks are read, so that a week repeats.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import msgspec
import numpy as np

from recurra.data.series import SeriesSet, SeriesWindows, series_from_rows
from recurra.tasks.forecast.forecaster import Forecaster
from recurra.tasks.forecast.metrics import coverage, mase_scale, smape
from recurra.tasks.forecast.naive import naive_forecast
from recurra.tasks.forecast.run import fit_series
from recurra.tasks.forecast.settings import Architecture, ForecastSettings
from recurra.training.progress import Progress

HORIZON, SEASON = 48, 24
# Naive 2 of the competition on these 414 series.
NAIVE2_SMAPE, NAIVE2_MASE = 18.383, 2.395


def owa(truth: np.ndarray, said: np.ndarray, scale: np.ndarray) -> tuple[float, float, float]:
    """sMAPE, MASE and their mean relative to Naive 2."""
    first = float(smape(truth, said).mean())
    second = float((np.abs(truth - said).mean(1) / scale).mean())
    return first, second, (first / NAIVE2_SMAPE + second / NAIVE2_MASE) / 2


def shown(title: str, figures: tuple[float, float, float], note: str = "") -> None:
    """One line."""
    smape_, mase, both = figures
    print(f"{title:<24} sMAPE {smape_:.3f}  MASE {mase:.3f}  OWA {both:.3f}  {note}", flush=True)


def seasonal(series: SeriesSet, season: int) -> np.ndarray:
    """The last season repeated (S, H)."""
    windows = SeriesWindows(series, 168, HORIZON, least=168, future=0, first=series.lengths)
    return naive_forecast(windows[:].values[:, :168, 0], HORIZON, "seasonal_naive", season)


def last_week(series: SeriesSet) -> np.ndarray:
    """The last week repeated, times how the level has moved since (S, H)."""
    level = np.array([one.values[-24:, 0].mean() / one.values[-192:-168, 0].mean() for one in series])
    return seasonal(series, 168) * level[:, None]


def main() -> None:
    """Measure, and print a line per forecast."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="segment")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, help="where the nets' checkpoints go, to be continued")
    arguments = parser.parse_args()
    train = series_from_rows(arguments.folder / "Hourly-train.csv.gz")
    test = series_from_rows(arguments.folder / "Hourly-test.csv")
    truth, scale = test.values.reshape(-1, HORIZON), mase_scale(train, SEASON)
    day, week = seasonal(train, 24), last_week(train)
    for name, said in (("seasonal naive", seasonal(train, SEASON)), ("day and week, mean", (day + week) / 2)):
        shown(name, owa(truth, said, scale))
    from recurra.base import config

    base = ForecastSettings(
        horizon=HORIZON, season=SEASON, model=Architecture(name=arguments.model, look_back=336, transform="log")
    )
    longer = ["train.iterations=2500", "train.stopping.patience=100", "model.hidden=128"]
    base = config.parse(ForecastSettings, config.to_dict(base), [*longer, *arguments.set])
    medians = []
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        began = time.monotonic()
        settings = msgspec.structs.replace(base, seed=seed)
        place = arguments.out / str(seed) if arguments.out else None
        trained = fit_series(train, settings, folder=place, progress=Progress("plain"), resume=place is not None)
        forecaster: Forecaster = trained.forecaster
        found = forecaster.forecast(train)
        medians.append(found.median)
        inside = coverage(truth, found.quantiles[..., 0], found.quantiles[..., -1]).mean()
        figures = owa(truth, found.median, scale)
        told = f"90 % interval holds {100 * inside:.1f} %, {time.monotonic() - began:.0f} s"
        shown(f"{arguments.model}, seed {seed}", figures, told)
    if len(medians) > 1:
        joined = np.median(medians, axis=0)
        shown("median of the seeds", owa(truth, joined, scale))
        shown("median of it, day, week", owa(truth, np.median([joined, day, week], axis=0), scale))


if __name__ == "__main__":
    main()
