"""The way back from a run folder to a model that predicts, and its evaluation, whatever task it was trained for."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recurra.base.code import changed, load_code
from recurra.cells import CELLS
from recurra.tasks.folder import ARRAYS, RunFolder, read_note, task_in
from recurra.tasks.registry import task_named
from recurra.tasks.settings import with_inputs
from recurra.tasks.task import Measures, Task
from recurra.training import checkpoint
from recurra.training.arrays import unpacked_state

__all__ = ["dumped", "evaluate", "load", "plain", "task_of"]


def task_of(folder: Path | str) -> Task:
    """Return the task of a run folder.

    Raises:
        CheckpointError: where the folder is no run.
        UnknownName: for a task that is not there, with the way to give it.

    """
    # A config.toml that names no task is read as that of a text model, to say what is wrong with it.
    return task_named(task_in(Path(folder)) or "text")


def load(folder: Path | str, *, code: Iterable[str] = ()) -> Any:
    """Return the trained model of a run folder, with its best weights, ready to predict.

    >>> run = load("runs/demo")                                  # doctest: +SKIP
    >>> run.generate("The ", length=100, seed=1)                 # doctest: +SKIP

    Args:
        folder: of a finished run.
        code: the user's own task or cell that the run was made with, as `mine.py:Name` or `package.module:Name`;
            nothing that a run folder itself names is imported.

    Raises:
        CheckpointError: where the folder is no run, or its files are missing, damaged, of another version, or do not
            belong together.
        ConfigError: where its config.toml is faulty.
        UnknownName: for a task or cell that is not there.

    """
    for reference in code:
        load_code(reference)
    path = Path(folder)
    task = task_of(path)
    run = RunFolder(task, path)
    settings = run.settings()
    prepared = run.prepared()
    net = task.network(settings, prepared)
    if net is not None:
        weights, _ = checkpoint.load_weights(run.finished())
        checkpoint.restore_weights(net, weights, str(run.finished()))
        net.eval()
    arrays = unpacked_state(checkpoint.load(path / ARRAYS)) if (path / ARRAYS).exists() else None
    predictor = task.predictor(settings, prepared, net, arrays)
    predictor.folder = path
    _warn_of_changes(path, task, settings)
    return predictor


def _warn_of_changes(folder: Path, task: Task, settings: Any) -> None:
    """Warn where the user's own code is not that by which the run was trained."""
    code, cell = read_note(folder).get("code", {}), task.cell(settings)
    things = {"task": type(task), "cell": CELLS[cell] if cell and cell in CELLS else None}
    for word, thing in things.items():
        if thing is not None and word in code and (text := changed(code[word], thing)):
            warnings.warn(f"{folder}: {text}", stacklevel=3)


def evaluate(
    folder: Path | str, files: Mapping[str, Any] | None = None, options: Any = None
) -> tuple[Any, str, Measures]:
    """Measure the model of a run folder.

    Args:
        folder: of a finished run.
        files: dotted name of an input -> the file to read instead; None: the run's own data, of which the held-out
            split is measured as after training.
        options: of the type `task.evaluation`.

    Returns:
        The predictor, the name of the split (empty for other files) and the measures.

    """
    predictor, task = load(folder), task_of(folder)
    options = options if options is not None else task.evaluation()
    if files is None:
        split, data = task.held_out(predictor, task.read(predictor.settings, predictor.prepared))
    else:
        split, data = "", task.read(with_inputs(predictor.settings, files), predictor.prepared)
    return predictor, split, task.measure(predictor, data, options)


def dumped(values: Any) -> str:
    """Return plain data as JSON, NaN and infinities as null."""
    return json.dumps(plain(values), ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """Return nested values as JSON has them: tuples as lists, NumPy's as Python's, what is not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
