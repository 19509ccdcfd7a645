"""Temperature 24 hours ahead from five days of hourly weather: Chollet's protocol for Jena, on Beijing's weather.

python recipes/forecast/weather.py pollution.csv.gz [--seeds 3]

Jena's file was not to be had; this one (UCI, Beijing PM2.5, 2010 to 2014) has the same kind of columns. The first half
trains, the next quarter validates, the last is the test; the figure is the mean absolute error in degrees C of the 24th
hour, and the baseline says that it will be as warm as now.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import msgspec
import numpy as np

from recurra.base import config
from recurra.data.series import read_columns, read_series
from recurra.tasks.forecast.backtest import evaluate
from recurra.tasks.forecast.run import fit_series
from recurra.tasks.forecast.settings import Architecture, DataSettings, ForecastSettings
from recurra.training.progress import Progress

PAST = ("pm2.5", "DEWP", "PRES", "cbwd", "Iws", "Is", "Ir")


def main() -> None:
    """Measure, and print a line per seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--model", default="segment")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, help="where the nets' checkpoints go, to be continued")
    arguments = parser.parse_args()
    table = read_columns(arguments.file)
    year, month, day, hour = (table[name].astype(int) for name in ("year", "month", "day", "hour"))
    table["ds"] = np.array([f"{y}-{m:02}-{d:02} {h:02}:00" for y, m, d, h in zip(year, month, day, hour, strict=True)])
    series = read_series(table, target="TEMP", past=PAST)
    quarter = len(series.values) // 4
    base = ForecastSettings(
        horizon=24,
        data=DataSettings(past=PAST, validation=quarter, test=quarter),
        model=Architecture(name=arguments.model, look_back=120),
    )
    base = config.parse(ForecastSettings, config.to_dict(base), arguments.set)
    found = []
    for seed in range(1, arguments.seeds + 1):
        began = time.monotonic()
        place = arguments.out / str(seed) if arguments.out else None
        settings = msgspec.structs.replace(base, seed=seed)
        trained = fit_series(series, settings, folder=place, progress=Progress("plain"), resume=place is not None)
        rows = []
        for first, last in ((trained.stops, trained.ends - 23), (trained.ends, None)):
            measured = evaluate(trained.forecaster, series, first, last, examples=0)
            rows.append([measured.steps(name)[23] for name in ("mae", "naive.mae", "seasonal_naive.mae")])
            coverage = measured.steps("coverage_90")[23]
        if seed == 1:
            print(f"as warm as now: validation {rows[0][1]:.3f}, test {rows[1][1]:.3f}", flush=True)
        found.append(rows[1][0])
        told = f"validation {rows[0][0]:.3f}, test {rows[1][0]:.3f}; 90 % interval holds {100 * coverage:.1f} %"
        print(f"{arguments.model}, seed {seed}: {told}, {time.monotonic() - began:.0f} s", flush=True)
    print(f"test, mean of {len(found)} seeds: {np.mean(found):.3f} ({min(found):.3f} to {max(found):.3f})")


if __name__ == "__main__":
    main()
