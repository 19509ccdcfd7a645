"""The predictions of a golden run in Python, through `recurra.load` and the documented methods of what it returns."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch

import recurra
from recurra.data.series import read_series, series_from_rows

__all__ = ["predictions"]


def predictions(run: Path) -> dict[str, Any]:
    """Return what a run folder predicts for its own data, as plain JSON values.

    The working directory is tests/golden, to which the names of data files are relative.
    """
    settings = tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))
    task = settings["task"]
    compute = _TASKS.get(task, _classic)
    torch.manual_seed(0)
    return {"task": task, **compute(recurra.load(run), settings.get("data", {}))}


def _text(model: Any, data: dict[str, Any]) -> dict[str, Any]:
    text = "".join(Path(name).read_text(encoding="utf-8") for name in data["files"])
    return {
        "score": model.score(text).numbers(),
        "score_rows": model.score(text, rows=4).numbers(),
        "generated": model.generate("the ", length=60, seed=5),
        "sample": model.sample(),
    }


def _forecast(model: Any, data: dict[str, Any]) -> dict[str, Any]:
    if data["layout"] == "rows":
        series = series_from_rows(data["file"])
    else:
        names = {kind: tuple(data[kind]) for kind in ("past", "known", "static")}
        series = read_series(data["file"], target=tuple(data["target"]) or None, **names).univariate()
    forecast = model.forecast(series, seed=7)
    return {
        "ids": list(forecast.ids),
        "levels": list(forecast.levels),
        "stamps": [str(stamp) for stamp in forecast.stamps.ravel()],
        "median": forecast.median.tolist(),
        "quantiles": forecast.quantiles.tolist(),
    }


def _classify(model: Any, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "classes": list(model.classes),
        "probabilities": model.probabilities(data["file"]).tolist(),
        "labels": model.predict(data["file"]).tolist(),
    }


def _events(model: Any, data: dict[str, Any]) -> dict[str, Any]:
    series, _ = model.read(data["file"], labelled=False)
    return {
        "classes": list(model.classes),
        "probabilities": [values[::4].tolist() for values in model.probabilities(series)],
        "events": [[list(event) for event in events] for events in model.detect(series)],
    }


def _anomaly(model: Any, data: dict[str, Any]) -> dict[str, Any]:
    # The rows of several channels and streams have no reader of their own in the documented interface.
    from recurra.tasks.anomaly.table import read_rows

    rows, _ = read_rows(data["file"], model.settings.data, model.channels)
    judged = model.judge(rows)
    return {
        "channels": list(model.channels),
        "threshold": float(model.threshold),
        "ids": [series.id for series in judged],
        "scores": [[_number(score) for score in series.scores[::4]] for series in judged],
        "alarms": [np.flatnonzero(series.alarms).tolist() for series in judged],
    }


def _classic(model: Any, data: dict[str, Any]) -> dict[str, Any]:
    examples = model.problem.examples.map(lambda tensor: tensor[:2])
    outputs = model.predict(examples.x, examples.lengths)
    limit = outputs[:, :12] if outputs.ndim == 3 else outputs
    return {
        "evaluation": {name: _number(value) for name, value in model.evaluate().items()},
        "solved": model.solved,
        "shape": list(outputs.shape),
        "outputs": limit.double().tolist(),
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


_TASKS = {"text": _text, "forecast": _forecast, "classify": _classify, "events": _events, "anomaly": _anomaly}
