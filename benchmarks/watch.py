"""How many rows a second `recurra watch` answers, and how long one waits: `python -m benchmarks.watch`.

From a line of CSV to the JSON line of its answer, in one process on one thread, of runs made here: an online anomaly
detector, a trained one (GRU, 32 units), a forecaster (segments, 24 steps ahead from 168). With one stream a row at a
time; with 1,000 streams a row of each at a time. First it is shown that what is streamed is what the whole table gives.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recurra import __version__
from recurra.base import config
from recurra.base.files import write_text
from recurra.serving.rows import RowReader
from recurra.serving.watch import Watch, dumped, live_model
from recurra.tasks.anomaly.run import load as load_detector
from recurra.tasks.anomaly.run import train_run as train_detector
from recurra.tasks.anomaly.settings import AnomalySettings
from recurra.tasks.anomaly.table import read_rows
from recurra.tasks.forecast.run import train_run as train_forecast
from recurra.tasks.forecast.settings import ForecastSettings

__all__ = ["main"]

RESULTS = Path(__file__).resolve().parent / "results"
HOURS = 600
WARM = 250


def lines(streams: int, hours: int, start: int = 0) -> list[list[str]]:
    """For each hour a line of every stream."""
    t = np.arange(start, start + hours)
    noise = np.random.default_rng(start).normal(size=(hours, streams))
    values = np.sin(t * np.pi / 12)[:, None] * np.linspace(1, 5, streams) + 0.2 * noise
    stamps = (np.datetime64("2024-01-01", "s") + t * np.timedelta64(1, "h")).astype(str)
    return [
        [f"s{k},{stamp},{value:.5f}" for k, value in enumerate(row)] for stamp, row in zip(stamps, values, strict=True)
    ]


def made(folder: Path, table: Path) -> dict[str, Path]:
    """The runs, by what they are called."""
    file = f"data.file={table}"
    shorter = ["train.iterations=60", "train.stopping.patience=0"]
    for model in ("online", "forecast"):
        settings = config.parse(AnomalySettings, {}, [file, f"model={model}", *shorter])
        train_detector(settings, folder / f"anomaly, {model}")
    train_forecast(config.parse(ForecastSettings, {}, [file, *shorter]), folder / "forecast, segment")
    return {path.name: path for path in sorted(folder.iterdir())}


def checked(run: Path, table: Path) -> float:
    """The largest difference between streamed and whole scores of an anomaly run."""
    detector = load_detector(run)
    [series], _ = read_rows(str(table), detector.settings.data, detector.channels)
    whole = detector.judge([series])[0].scores
    options = {"cold": True} if detector.settings.model == "online" else {}
    watch, reader = Watch(live_model(run, **options)), RowReader(("y",))
    rows = [row for line in table.read_text().splitlines() if (row := reader.read(line)) is not None]
    streamed = np.array([answer.record["score"] for answer in watch.push(rows)], np.float64)
    return float(np.nanmax(np.abs(streamed - whole) / np.maximum(np.abs(whole), 1e-3)))


def timed(run: Path, streams: int, hours: int) -> dict[str, Any]:
    """Rows a second, and the quantiles of the time from line to answer of a row of each stream."""
    watch, reader = Watch(live_model(run)), RowReader(("y",))
    reader.read("unique_id,ds,y")
    spent = []
    # The run's own table has gone before: later stamps.
    for place, tick in enumerate(lines(streams, hours + WARM if streams == 1 else hours + 10, HOURS)):
        began = time.perf_counter()
        rows = [row for line in tick if (row := reader.read(line)) is not None]
        said = [dumped(answer.record) for answer in watch.push(rows)]
        spent.append(time.perf_counter() - began)
        if len(said) != streams or any("error" in answer for answer in said):
            raise SystemExit(f"{run.name}: row {place} had no answer: {said[:1]}")
    spent = np.array(spent[-hours:])
    quantiles = np.quantile(spent, [0.5, 0.95, 0.99]) * 1000
    names = ("p50_ms", "p95_ms", "p99_ms")
    return {"rows_per_s": streams * hours / spent.sum(), **dict(zip(names, quantiles.tolist(), strict=True))}


def main() -> None:
    """Print a table and write it as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer rows")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        table = Path(name) / "table.csv"
        text = [line for tick in lines(1, HOURS) for line in tick]
        table.write_text("\n".join(["unique_id,ds,y", *text]) + "\n")
        runs = made(Path(name) / "runs", table)
        for title in ("anomaly, online", "anomaly, forecast"):
            gap = checked(runs[title], table)
            if gap > 1e-3:
                raise SystemExit(f"{title}: streamed scores differ from those of the whole by {gap:.2g}; no figures")
            print(f"{title}: streamed as whole to {gap:.1g}")
        print(f"{'run':<20}{'streams':>8}{'rows/s':>12}{'p50 ms':>10}{'p95 ms':>10}{'p99 ms':>10}")
        for title, run in runs.items():
            for streams, hours in ((1, 400 if arguments.quick else 3000), (1000, 10 if arguments.quick else 50)):
                facts = timed(run, streams, hours)
                found[f"{title}, {streams}"] = facts
                cells = "".join(f"{facts[name]:>10.2f}" for name in ("p50_ms", "p95_ms", "p99_ms"))
                print(f"{title:<20}{streams:>8}{facts['rows_per_s']:>12,.0f}{cells}", flush=True)
    where = {"recurra": __version__, "torch": torch.__version__, "cpus": os.cpu_count(), "machine": platform.machine()}
    out = arguments.out or RESULTS / f"{datetime.date.today().isoformat()}-watch.json"
    write_text(out, json.dumps({"quick": arguments.quick, **where, "watch": found}, indent=1) + "\n")
    print(out)


if __name__ == "__main__":
    main()
