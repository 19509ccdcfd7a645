"""Forecasting beside neuralforecast and Darts on the same windows: `python -m benchmarks.series`.

ETTh1's seven columns as series, 24 hours ahead from 72, two layers of 128 units, updates of as many windows, MAE
(DeepAR: Student's t). Then forecasts of 1,000 windows that no training saw, handed over as 1,000 series. The time of
both, in turns, and the mean absolute error of both on those windows, in deviations of the training rows. Peers that are
not installed are left out. The goal is 3 times the speed at equal accuracy (issue 6). Last, the memory of reading
100,000 windows.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import json
import logging
import os
import resource
import statistics
import sys
import time
import warnings
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from recurra import __version__
from recurra.base import config
from recurra.base.files import write_text
from recurra.data.series import SeriesSet, SeriesWindows, read_series
from recurra.tasks.forecast.run import fit_series
from recurra.tasks.forecast.settings import Architecture, DataSettings, ForecastSettings

__all__ = ["main"]

RESULTS = Path(__file__).resolve().parent / "results"
GOAL = 3.0
BACK, AHEAD, HIDDEN, LAYERS = 72, 24, 128, 2
TRAIN, TEST = 8640, 11_520


class Side(Protocol):
    """Something that forecasts."""

    def train(self, series: np.ndarray, updates: int, batch: int) -> None:
        """From (S, T)."""
        ...

    def predict(self, windows: np.ndarray) -> np.ndarray:
        """(N, L) -> (N, H)."""
        ...


class Ours:
    """A direct or a recursive net of this package."""

    def __init__(self, cell: str, model: str = "direct", loss: str = "mae", normalise: str = "standard") -> None:
        self.cell, self.model, self.loss, self.normalise = cell, model, loss, normalise

    def train(self, series: np.ndarray, updates: int, batch: int) -> None:
        """No calibration, no look at validation rows: as the peers."""
        settings = ForecastSettings(
            horizon=AHEAD,
            season=24,
            quantiles=(0.5,),
            calibrate=False,
            batch=batch,
            data=DataSettings(validation=AHEAD, calendar=False),
            model=Architecture(
                name=self.model,  # pyright: ignore[reportArgumentType]
                cell=self.cell,
                hidden=HIDDEN,
                layers=LAYERS,
                look_back=BACK,
                normalise=self.normalise,  # pyright: ignore[reportArgumentType]
                scale="none",
                dropout=0.0,
                loss=self.loss,  # pyright: ignore[reportArgumentType]
                most_series=0,
                paths=100,
            ),
        )
        changes = {"iterations": updates, "evaluate_every": 10 * updates, "checkpoint_every": 10 * updates}
        changes |= {"optim.learning_rate": 1e-3, "schedule.name": "constant", "schedule.warmup": 0}
        overrides = [f"train.{name}={value}" for name, value in changes.items()]
        settings = config.parse(ForecastSettings, config.to_dict(settings), overrides)
        self.forecaster = fit_series(SeriesSet.of(list(series)), settings).forecaster

    def predict(self, windows: np.ndarray) -> np.ndarray:
        """As new series."""
        return self.forecaster.forecast(SeriesSet.of(list(windows))).median


class Nixtla:
    """A model of neuralforecast with the same sizes."""

    def __init__(self, name: str) -> None:
        self.name = name

    def train(self, series: np.ndarray, updates: int, batch: int) -> None:
        """Windows of all series are drawn, `batch` per step."""
        from neuralforecast import NeuralForecast, models  # pyright: ignore[reportMissingImports]

        common: dict[str, Any] = {
            "h": AHEAD,
            "input_size": BACK,
            "max_steps": updates,
            "windows_batch_size": batch,
            "inference_windows_batch_size": 1024,
            "learning_rate": 1e-3,
            "num_lr_decays": 0,
            "accelerator": "cpu",
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": False,
        }
        if self.name == "DeepAR":
            model = models.DeepAR(lstm_hidden_size=HIDDEN, lstm_n_layers=LAYERS, trajectory_samples=100, **common)
        else:
            common |= {"encoder_hidden_size": HIDDEN, "encoder_n_layers": LAYERS, "scaler_type": "standard"}
            model = getattr(models, self.name)(**common)
        self.whole = NeuralForecast(models=[model], freq=1)
        self.whole.fit(_frame(series))

    def predict(self, windows: np.ndarray) -> np.ndarray:
        """As new series."""
        found = self.whole.predict(_frame(windows))
        column = "DeepAR-median" if "DeepAR-median" in found else self.name
        return found[column].to_numpy().reshape(len(windows), AHEAD)


class Darts:
    """BlockRNNModel of Darts."""

    def __init__(self, name: str) -> None:
        self.name = name

    def train(self, series: np.ndarray, updates: int, batch: int) -> None:
        """An epoch has 7 x 8,545 windows, so the updates are said as samples of one."""
        from darts.models import BlockRNNModel  # pyright: ignore[reportMissingImports]

        self.model = BlockRNNModel(
            BACK,
            AHEAD,
            model=self.name,
            hidden_dim=HIDDEN,
            n_rnn_layers=LAYERS,
            batch_size=batch,
            n_epochs=1,
            loss_fn=torch.nn.L1Loss(),
            optimizer_kwargs={"lr": 1e-3},
            pl_trainer_kwargs={
                "accelerator": "cpu",
                "limit_train_batches": updates,
                "logger": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "enable_checkpointing": False,
            },
        )
        self.model.fit(_darts(series))

    def predict(self, windows: np.ndarray) -> np.ndarray:
        """As new series."""
        found = self.model.predict(AHEAD, series=_darts(windows), batch_size=1024, verbose=False)
        return np.stack([one.values()[:, 0] for one in found])


def _frame(series: np.ndarray) -> Any:
    import pandas

    count, steps = series.shape
    ids = np.repeat(np.arange(count), steps)
    return pandas.DataFrame({"unique_id": ids, "ds": np.tile(np.arange(steps), count), "y": series.reshape(-1)})


def _darts(series: np.ndarray) -> list[Any]:
    from darts import TimeSeries  # pyright: ignore[reportMissingImports]

    return [TimeSeries.from_values(one.astype(np.float32)) for one in series]


def pairs() -> list[tuple[str, str, Side, Side]]:
    """(case, peer, ours, theirs) of what is installed."""
    found: list[tuple[str, str, Side, Side]] = []
    if find_spec("neuralforecast"):
        peer = f"neuralforecast {version('neuralforecast')}"
        found.append(("default (GRU over segments), their GRU", peer, Ours("gru", "segment"), Nixtla("GRU")))
        found += [(name, peer, Ours(name.lower()), Nixtla(name)) for name in ("LSTM", "GRU")]
        found.append(("DeepAR", peer, Ours("lstm", "recursive", "student", "scale"), Nixtla("DeepAR")))
    if find_spec("darts"):
        peer = f"darts {version('darts')}"
        found += [(name, peer, Ours(name.lower()), Darts(name)) for name in ("LSTM", "GRU")]
    return found


def measured(case: str, peer: str, ours: Side, theirs: Side, data: np.ndarray, a: argparse.Namespace) -> dict[str, Any]:
    """Alternating rounds of training and forecasting; errors of the last round."""
    starts = np.linspace(TEST, data.shape[1] - AHEAD, a.windows // len(data)).astype(int)
    cut = [(row, start) for row in data for start in starts]
    windows = np.stack([row[start - BACK : start] for row, start in cut])
    truth = np.stack([row[start : start + AHEAD] for row, start in cut])
    spent: dict[str, list[float]] = {f"{side} {what}": [] for side in ("ours", "theirs") for what in ("train", "say")}
    errors: dict[str, list[float]] = {"ours": [], "theirs": []}
    for index in range(a.rounds):
        turns = [("ours", ours), ("theirs", theirs)]
        for side, one in turns if index % 2 else turns[::-1]:
            torch.manual_seed(index)
            with _quiet():
                begin = time.perf_counter()
                one.train(data[:, :TRAIN], a.updates, a.batch)
                middle = time.perf_counter()
                said = one.predict(windows)
            spent[f"{side} train"].append(middle - begin)
            spent[f"{side} say"].append(time.perf_counter() - middle)
            errors[side].append(float(np.abs(said - truth).mean()))
    row: dict[str, Any] = {"case": case, "peer": peer, "rounds": a.rounds, "goal": GOAL}
    for what in ("train", "say"):
        ratios = sorted(b / o for o, b in zip(spent[f"ours {what}"], spent[f"theirs {what}"], strict=True))
        row[what] = {
            "ours_s": statistics.median(spent[f"ours {what}"]),
            "theirs_s": statistics.median(spent[f"theirs {what}"]),
            "ratio": statistics.median(ratios),
            "ratio_middle_half": [ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]],
        }
    return row | {"mae": {side: [min(found), max(found)] for side, found in errors.items()}}


@contextlib.contextmanager
def _quiet() -> Any:
    logging.disable(logging.WARNING)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


def memory(windows: int = 100_000, horizon: int = 720) -> dict[str, float]:
    """MiB that the peak grows by while so many windows of 1,440 values are read in batches, beside all at once."""
    series = SeriesSet.of([np.random.default_rng(0).normal(size=windows + 2 * horizon)])
    found = SeriesWindows(series, horizon, horizon)
    found[:256]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    total = 0
    for begin in range(0, windows, 256):
        total += len(found[begin : min(begin + 256, windows)].values)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"windows": total, "grown_mib": grown, "all_at_once_mib": total * 2 * horizon * 8 / 2**20}


def _write(path: Path, a: argparse.Namespace, kept: dict[str, float], load: float, row: dict[str, Any]) -> None:
    """Into the day's file, in the place of the same case's older row."""
    packages = {}
    for name in ("neuralforecast", "darts", "pytorch-lightning"):
        with contextlib.suppress(PackageNotFoundError):
            packages[name] = version(name)
    before = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    row |= {"command": "python -m benchmarks.series " + " ".join(sys.argv[1:]), "load": [load, os.getloadavg()[0]]}
    found = {
        "date": path.name[:10],
        "versions": {"recurra": __version__, "torch": torch.__version__, **packages},
        "threads": a.threads,
        "memory": kept,
        "rows": [one for one in before if (one["case"], one["peer"]) != (row["case"], row["peer"])] + [row],
    }
    write_text(path, json.dumps(found, indent=1) + "\n")


def main() -> int:
    """0 when all was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("RECURRA_DATA", "../shared/data")) / "ett")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--windows", type=int, default=1001)
    parser.add_argument("--only", default="", help="cases and peers with this in their name")
    parser.add_argument("--write", action="store_true", help="keep the figures in benchmarks/results")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    kept = memory()
    print(
        f"{kept['windows']:,} windows of 1,440 values: the peak grows by {kept['grown_mib']:.1f} MiB "
        f"({kept['all_at_once_mib']:,.0f} all at once)",
        flush=True,
    )
    values = read_series(a.data / "ETTh1.csv.gz").values[:14_400]
    data = ((values - values[:TRAIN].mean(0)) / values[:TRAIN].std(0)).T
    load, rows = os.getloadavg()[0], []
    path = RESULTS / f"{datetime.datetime.now(tz=datetime.UTC).date().isoformat()}-series.json"
    for case, peer, ours, theirs in pairs():
        if a.only.lower() not in f"{case} {peer}".lower():
            continue
        rows.append(row := measured(case, peer, ours, theirs, data, a))
        parts = []
        for what in ("train", "say"):
            low, high = row[what]["ratio_middle_half"]
            times = f"{row[what]['ours_s']:.2f} and {row[what]['theirs_s']:.2f} s"
            parts.append(f"{what} {times}: {row[what]['ratio']:.2f} ({low:.2f} .. {high:.2f})")
        own, other = (" to ".join(f"{value:.3f}" for value in row["mae"][side]) for side in ("ours", "theirs"))
        print(f"{case} beside {peer}: {'; '.join(parts)}; MAE {own} and {other}", flush=True)
        if a.write:
            _write(path, a, kept, load, row)
    if not rows:
        print("no peer is installed: pip install neuralforecast darts", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
