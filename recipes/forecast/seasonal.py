"""The default forecaster, untuned, beside seasonal naive on every seasonal set.

python recipes/forecast/seasonal.py DATA [--seeds 3] [--only ett]

DATA is the folder with ett, beijing_pm25, univariate (and m4_hourly, which m4_hourly.py measures). A season ahead, with
what `recurra train forecast FILE --horizon SEASON --test ROWS` has by default; the last fifth of the rows is the test.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from recurra.base import config
from recurra.data.series import SeriesSet, read_columns, read_series
from recurra.tasks.forecast.backtest import evaluate
from recurra.tasks.forecast.run import fit_series
from recurra.tasks.forecast.settings import DataSettings, ForecastSettings


def beijing(path: Path) -> SeriesSet:
    """Temperature, pressure, dew point and wind as series."""
    table = read_columns(path)
    year, month, day, hour = (table[name].astype(int) for name in ("year", "month", "day", "hour"))
    table["ds"] = np.array([f"{y}-{m:02}-{d:02} {h:02}:00" for y, m, d, h in zip(year, month, day, hour, strict=True)])
    return read_series(table, target=("TEMP", "PRES", "DEWP"))


def sets(data: Path) -> dict[str, tuple[SeriesSet, int]]:
    """Name -> series and steps ahead."""
    found = {name: (read_series(data / "ett" / f"{name}.csv.gz"), 24) for name in ("ETTh1", "ETTh2")}
    found["ETTm1"] = read_series(data / "ett" / "ETTm1.csv.gz"), 96
    found["beijing weather"] = beijing(data / "beijing_pm25" / "pollution.csv.gz"), 24
    found["airline passengers"] = read_series(data / "univariate" / "airline-passengers.csv"), 12
    return found


def main() -> None:
    """Measure, and print a line per set and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", default="", help="sets with this in their name")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    for name, (whole, horizon) in sets(arguments.data).items():
        if arguments.only not in name:
            continue
        series = whole.univariate()
        test = int(series.lengths.max()) // 5
        for seed in range(1, arguments.seeds + 1):
            began = time.monotonic()
            base = ForecastSettings(horizon=horizon, seed=seed, data=DataSettings(test=test))
            settings = config.parse(ForecastSettings, config.to_dict(base), arguments.set)
            trained = fit_series(series, settings)
            stride = max(1, len(series) * test // 20_000)
            found = evaluate(trained.forecaster, series, trained.ends, stride=stride, examples=0)
            overall, verdict = found.overall(), found.against("seasonal_naive")
            parts = [f"MASE {overall['mase']:.3f}, seasonal naive {overall['seasonal_naive.mase']:.3f}"]
            parts.append(f"MAE ratio {overall['mae'] / overall['seasonal_naive.mae']:.3f}")
            parts.append(f"80 % interval holds {100 * overall['coverage_80']:.1f} %")
            if verdict is not None:
                parts.append(f"p = {verdict.p:.2g}")
            print(
                f"{name}, {horizon} ahead, seed {seed}: {'; '.join(parts)}; {time.monotonic() - began:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
