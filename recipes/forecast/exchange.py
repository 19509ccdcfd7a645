"""Exchange rates: is there anything to forecast? Daily, eight countries; z-scores of the first 70 %, a test of 20 %.

python recipes/forecast/exchange.py exchange_rate.txt.gz [--horizon 96] [--seeds 3]

Prices of this kind are close to a random walk, which nothing beats but by luck: beside the errors stands the test of
Diebold and Mariano against the last value repeated.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import msgspec

from recurra.base import config
from recurra.data.series import read_series
from recurra.tasks.forecast.backtest import evaluate
from recurra.tasks.forecast.run import fit_series
from recurra.tasks.forecast.settings import Architecture, DataSettings, ForecastSettings
from recurra.training.progress import Progress


def main() -> None:
    """Measure, and print a line per model and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--horizon", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, help="where the nets' checkpoints go, to be continued")
    arguments = parser.parse_args()
    series = read_series(arguments.file).univariate()
    rows = int(series.lengths[0])
    test = int(0.2 * rows)
    runs = [("ridge", 0), *(("segment", seed) for seed in range(1, arguments.seeds + 1))]
    for model, seed in runs:
        began = time.monotonic()
        base = ForecastSettings(
            horizon=arguments.horizon,
            season=1,
            quantiles=(0.1, 0.5, 0.9),
            data=DataSettings(validation=rows - int(0.7 * rows) - test, test=test),
            model=Architecture(name=model, look_back=96, normalise="last"),
        )
        base = config.parse(ForecastSettings, config.to_dict(base), arguments.set)
        place = arguments.out / f"{model}-{seed}" if arguments.out else None
        settings = msgspec.structs.replace(base, seed=seed)
        trained = fit_series(series, settings, folder=place, progress=Progress("plain"), resume=place is not None)
        found = evaluate(trained.forecaster, series, trained.ends, scaled=True, examples=0)
        overall, verdict = found.overall(), found.against("naive")
        said = "" if verdict is None else f"against the last value: {verdict.says()}, p = {verdict.p:.2f}"
        if model == "ridge":
            print(f"last value: MSE {overall['naive.mse']:.3f}, MAE {overall['naive.mae']:.3f}", flush=True)
        figures = f"MSE {overall['mse']:.3f}, MAE {overall['mae']:.3f}"
        print(f"{model} {seed or ''}: {figures}; {said}; {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
