"""Forecast with a trained run: recurra forecast RUN data.csv --out forecast.csv.

The data are the series up to now, in the columns that the run was trained on; covariates known ahead stand in rows
behind the last value. The result is long: unique_id, ds, forecast (the median), and a column per quantile.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from pathlib import Path

import numpy as np

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument("run", metavar="RUN", help="the folder of a trained run")
    parser.add_argument("file", nargs="?", metavar="FILE", help="the series so far (default: the run's own file)")
    parser.add_argument("--out", metavar="FILE", help="CSV to write (default: standard output)")
    parser.add_argument("--seed", type=int, default=0, help="of sample paths (default 0)")
    parser.add_argument("--json", action="store_true", help="print JSON lines, one per series")
    parser.add_argument("--quiet", action="store_true", help="say nothing beside the result")


def run(arguments: argparse.Namespace) -> int:
    """Write the forecast."""
    from recurra.base.files import write_text
    from recurra.tasks.forecast.prepare import read_data
    from recurra.tasks.forecast.run import load

    forecaster = load(arguments.run)
    data = forecaster.settings.data
    said = forecaster.forecast(read_data(data, arguments.file), seed=arguments.seed)
    if arguments.json:
        for place, name in enumerate(said.ids):
            stamps = [_stamp(stamp) for stamp in said.stamps[place]]
            quantiles = {f"q{level:g}": said.quantiles[place, :, at].tolist() for at, level in enumerate(said.levels)}
            print(json.dumps({"unique_id": name, "ds": stamps, "forecast": said.median[place].tolist(), **quantiles}))
        return 0
    columns = said.columns()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow([row[0], _stamp(row[1]), *(f"{value:.7g}" for value in row[2:])])
    if not arguments.out:
        print(text.getvalue(), end="")
        return 0
    write_text(Path(arguments.out), text.getvalue())
    if not arguments.quiet:
        print(f"{len(said.ids):,} series, {said.stamps.shape[1]} steps each: {arguments.out}", file=sys.stderr)
    return 0


def _stamp(stamp: np.datetime64 | np.int64) -> str:
    from recurra.data.series.stamps import shown

    return shown(stamp)
