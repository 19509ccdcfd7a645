"""The report of a classic run: the figure beside the paper's, the curves, and what the net says to an example."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recurra.base import config
from recurra.cells import CELLS
from recurra.data.batch import Batch
from recurra.diagnostics.chart import Axis, Line, line_chart, plane_chart
from recurra.diagnostics.panels import Panel, panel_chart
from recurra.diagnostics.report import Figure, Key, Report, write
from recurra.diagnostics.spectrum import spectrum
from recurra.equations.show import equations
from recurra.layers import Recurrent
from recurra.tasks.classic.catalogue import TASKS
from recurra.tasks.classic.folder import settings_of
from recurra.tasks.classic.problem import ClassicSettings, Problem, Task
from recurra.tasks.classic.trained import ClassicRun, load
from recurra.tasks.folder import REPORT, WEIGHTS, footer, read_note
from recurra.training.log import read_lines

__all__ = ["told", "write_report"]

# Of the example sequence, so that a step stays a visible cell.
_STEPS = 120


def write_report(folder: Path | str) -> Path:
    """Write report.html into the run folder and give its path; a run that is not finished gets what there is.

    Raises CheckpointError where the folder is no run of a classic task.
    """
    folder = Path(folder)
    settings, note = settings_of(folder), read_note(folder)
    task = TASKS[settings.task]
    lines = read_lines(folder / "metrics.jsonl") if (folder / "metrics.jsonl").exists() else []
    training = [line for line in lines if line["split"] == "train"]
    judged = [line for line in lines if line["split"] == "valid"]
    figures = [_metric(task, settings, judged), _losses(training), _norms(training, settings)]
    if (folder / WEIGHTS).exists():
        run = load(folder)
        figures[1:1] = _picture(run)
        figures += _spectrum(run)
    result = note.get("result", {})
    cell = CELLS[settings.cell]() if settings.cell in CELLS else None
    page = Report(
        title=folder.resolve().name,
        lead=_lead(task, settings, result),
        keys=_keys(task, settings, result, judged),
        figures=figures,
        equations=equations(cell.spec) if cell else "",
        equations_title=f"The cell: {settings.cell}",
        citation=cell.title if cell else "",
        settings=config.to_dict(settings),
        command="\n".join(note.get("commands", [])),
        footer=footer(note),
    )
    write(page, folder / REPORT)
    return folder / REPORT


def told(task: Task, settings: ClassicSettings, metrics: dict[str, float]) -> str:
    """What an evaluation means, in a sentence without its full stop."""
    if task.verdict:
        return task.verdict(metrics, settings)
    return f"{'solved' if task.solved(metrics, settings) else 'not solved'}: {task.rule}"


def _lead(task: Task, settings: ClassicSettings, result: dict[str, Any]) -> str:
    parts = [task.title, told(task, settings, result["metrics"]) if result else "not finished"]
    parts.append(f"published: {task.paper} ({task.source})")
    return " ".join(_sentence(part) for part in parts)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text[-1:] in ".?!" else ".")


def _keys(task: Task, settings: ClassicSettings, result: dict[str, Any], judged: Sequence[dict[str, Any]]) -> list[Key]:
    keys: list[Key] = []
    if result:
        better = "higher is better" if task.mode == "max" else "lower is better"
        keys.append(Key(task.metric, f"{result['value']:.4g}", better))
    elif judged:
        keys.append(Key(f"{task.metric} so far", f"{judged[-1].get(task.metric, math.nan):.4g}", "not finished"))
    baseline = task.baseline(settings)
    if baseline is not None:
        keys.append(Key(f"{task.metric} of the baseline", f"{baseline:.4g}", task.baseline_name))
    if result:
        keys += [Key(name, f"{value:.4g}") for name, value in result["metrics"].items() if name != task.metric]
        spent = f"{result['updates']:,} updates, {_duration(result['seconds'])}"
        keys.append(Key("Training sequences", f"{result['sequences']:,}", spent))
        keys.append(Key("Parameters", f"{result['parameters']:,}"))
    return keys


def _column(lines: Sequence[dict[str, Any]], name: str) -> list[float]:
    # A number that was not finite is null in the log; charts leave NaN out.
    return [math.nan if line.get(name) is None else float(line[name]) for line in lines]


def _metric(task: Task, settings: ClassicSettings, judged: Sequence[dict[str, Any]]) -> Figure:
    names = [task.metric]
    if judged and task.monitor and task.monitor.endswith(task.metric):
        names.append(task.monitor)
    curves = [Line(name, _column(judged, "iteration"), _column(judged, name)) for name in names]
    baseline = task.baseline(settings)
    rules = {task.baseline_name or "baseline": baseline} if baseline is not None else {}
    chart = line_chart(curves, Axis("update"), Axis(task.metric), rules=rules, label=f"{task.metric} by update")
    return Figure(task.metric, chart, f"Solved: {task.rule}.")


def _losses(training: Sequence[dict[str, Any]]) -> Figure:
    line = Line("training", _column(training, "iteration"), _column(training, "loss"))
    chart = line_chart([line], Axis("update"), Axis("loss", log=True), label="training loss by update")
    return Figure("Loss", chart, "The mean of what is punished, with the weights of the moment.")


def _norms(training: Sequence[dict[str, Any]], settings: ClassicSettings) -> Figure:
    line = Line("mean norm before clipping", _column(training, "iteration"), _column(training, "grad_norm"))
    limit = settings.train.clip.norm
    rules = {"clipped at": limit} if limit is not None else {}
    chart = line_chart([line], Axis("update"), Axis("norm", log=True), rules=rules, label="gradient norm by update")
    return Figure("Gradient norm", chart, "The Euclidean norm of the gradient over all parameters.")


def _picture(run: ClassicRun) -> list[Figure]:
    """Input, what is wanted and what the net says, for one held-out sequence or for one answer each of several."""
    problem = run.problem
    batch = problem.examples
    outputs = problem.shown(run.predict(batch.x, batch.lengths))
    if outputs.dim() == 2:
        return [
            Figure("What it says", _answers(problem, batch, outputs), "One row for each of some held-out sequences.")
        ]
    steps = min(_STEPS, batch.x.shape[1] if batch.lengths is None else int(batch.lengths[0]))
    wanted, said = _wanted(batch, outputs)[0, :steps], outputs[0, :steps]
    note = "A held-out sequence, a column for each step, a row for each symbol or feature. Grey: nothing is asked."
    if wanted.shape[1] == 1 and not bool(torch.isnan(wanted).any()):
        both = {"input": batch.x[0, :steps]} if batch.x.shape[2] == 1 and bool(batch.x.any()) else {}
        both |= {"wanted": wanted, "said": said}
        lines = [Line(name, range(steps), values[:, 0].tolist()) for name, values in both.items()]
        chart = line_chart(lines, Axis("step"), Axis("value"), label="input, target and output of a sequence")
        return [Figure("What it says", chart, "A held-out sequence.")]
    known = wanted[~torch.isnan(wanted)]
    low, high = min(0.0, float(known.min())), max(1.0, float(known.max()))
    panels = [
        Panel(f"input: {_names(problem.inputs)}", batch.x[0, :steps].T),
        Panel(f"wanted: {_names(problem.outputs)}", wanted.T, low=low, high=high),
        Panel(f"said: {_names(problem.outputs)}", said.T, across="step", low=low, high=high),
    ]
    return [Figure("What it says", panel_chart([panels], label="input, target and output"), note)]


def _answers(problem: Problem, batch: Batch, outputs: Tensor) -> str:
    wanted = batch.y if batch.y.is_floating_point() else torch.nn.functional.one_hot(batch.y, outputs.shape[1]).float()
    high = max(1.0, float(wanted.max()))
    titles = (f"wanted: {_names(problem.outputs)}", f"said: {_names(problem.outputs)}")
    columns = [
        [Panel(title, values, down="sequence", low=0.0, high=high)]
        for title, values in zip(titles, (wanted, outputs), strict=True)
    ]
    return panel_chart(columns, label="wanted and said")


def _wanted(batch: Batch, outputs: Tensor) -> Tensor:
    """Targets (B, T, O) as the outputs are shaped; NaN where nothing is asked."""
    y = batch.y
    if not y.is_floating_point():
        y = torch.nn.functional.one_hot(y.clamp(min=0), outputs.shape[-1]).float()
    missing = outputs.shape[1] - y.shape[1]
    return torch.cat([y.new_full((len(y), missing, y.shape[2]), torch.nan), y], 1) if missing else y


def _names(names: Sequence[str]) -> str:
    return " ".join(names) if 0 < len(names) <= 12 else "a row each"


def _spectrum(run: ClassicRun) -> list[Figure]:
    layers = [part for part in run.model.modules() if isinstance(part, Recurrent)]
    matrices = layers[0].recurrent_matrices() if layers else {}
    if not matrices:
        return []
    # Six colours; of a deep stack the first layer's matrices are shown.
    found = spectrum(dict(list(matrices.items())[:6]))
    chart = plane_chart({name.partition(".")[2]: values.tolist() for name, values in found.items()})
    note = "Eigenvalues of the matrices that carry the state from step to step, with the unit circle."
    return [Figure("Spectrum of the recurrent matrices", chart, note)]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
