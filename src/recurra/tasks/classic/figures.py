"""Key numbers and figures of a classic run: the metric over training, and the outputs for an example."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.data.batch import Batch
from recurra.diagnostics.chart import Axis, Line, line_chart, plane_chart
from recurra.diagnostics.panels import Panel, panel_chart
from recurra.diagnostics.report import Figure, Key
from recurra.diagnostics.spectrum import spectrum
from recurra.layers import Recurrent
from recurra.tasks.classic.settings import ClassicSettings
from recurra.tasks.task import View
from recurra.training.log import read_lines

__all__ = ["benchmark_figures", "benchmark_keys", "benchmark_lead", "verdict_of"]

# Of the example sequence, so that a step stays a visible cell.
_STEPS = 120


def verdict_of(task: Any, settings: ClassicSettings, metrics: Mapping[str, float]) -> str:
    """Return what an evaluation means, in a sentence without its full stop."""
    if task.verdict:
        return task.verdict(metrics, settings)
    return f"{'solved' if task.solved(metrics, settings) else 'not solved'}: {task.rule}"


def benchmark_lead(task: Any, view: View) -> str:
    """Return what the task is, how it went, and the published figure."""
    metrics = view.measures.get("metrics")
    verdict = verdict_of(task, view.settings, metrics) if metrics else "not finished"
    return " ".join(_sentence(text) for text in (task.title, verdict, f"published: {task.paper} ({task.source})"))


def benchmark_figures(task: Any, view: View) -> list[Figure]:
    """Return the metric over training, an example, and the eigenvalues of the recurrent matrices."""
    evaluations = _evaluations(view)
    figures = [_metric(task, view.settings, evaluations)] if evaluations else []
    if view.predictor is None:
        return figures
    return [*figures, *_picture(view.predictor), *_spectrum(view.predictor)]


def benchmark_keys(task: Any, view: View) -> list[Key]:
    """Return the metric beside the baseline, and what the training took."""
    keys: list[Key] = []
    measures, result = view.measures, view.note.get("result", {})
    better = "higher is better" if task.mode == "max" else "lower is better"
    keys.append(Key(task.metric, f"{measures['value']:.4g}", better))
    baseline = task.baseline(view.settings)
    if baseline is not None:
        keys.append(Key(f"{task.metric} of the baseline", f"{baseline:.4g}", task.baseline_name))
    keys += [Key(name, f"{value:.4g}") for name, value in measures["metrics"].items() if name != task.metric]
    if "sequences" in result:
        spent = f"{result['updates']:,} updates, {_duration(result['seconds'])}"
        keys.append(Key("Training sequences", f"{result['sequences']:,}", spent))
        keys.append(Key("Parameters", f"{result['parameters']:,}"))
    return keys


def _evaluations(view: View) -> list[dict[str, Any]]:
    path = view.folder / "metrics.jsonl" if view.folder else None
    return [line for line in read_lines(path) if line["split"] == "valid"] if path and path.exists() else []


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text[-1:] in ".?!" else ".")


def _column(lines: Sequence[dict[str, Any]], name: str) -> list[float]:
    # A number that was not finite is null in the log; charts leave NaN out.
    return [math.nan if line.get(name) is None else float(line[name]) for line in lines]


def _metric(task: Any, settings: ClassicSettings, judged: Sequence[dict[str, Any]]) -> Figure:
    names = [task.metric]
    if judged and task.monitor and task.monitor.endswith(task.metric):
        names.append(task.monitor)
    curves = [Line(name, _column(judged, "iteration"), _column(judged, name)) for name in names]
    baseline = task.baseline(settings)
    rules = {task.baseline_name or "baseline": baseline} if baseline is not None else {}
    chart = line_chart(curves, Axis("update"), Axis(task.metric), rules=rules, label=f"{task.metric} by update")
    return Figure(task.metric, chart, f"Solved: {task.rule}.")


def _picture(run: Any) -> list[Figure]:
    """Inputs, targets and outputs, for one held-out sequence or for one answer each of several."""
    problem = run.problem
    batch = problem.examples
    outputs = problem.shown(run.predict(batch.x, batch.lengths))
    if outputs.dim() == 2:
        return [Figure("Outputs", _answers(problem, batch, outputs), "One row for each of some held-out sequences.")]
    steps = min(_STEPS, batch.x.shape[1] if batch.lengths is None else int(batch.lengths[0]))
    targets, output = _targets(batch, outputs)[0, :steps], outputs[0, :steps]
    note = "A held-out sequence, a column for each step, a row for each symbol or feature. Grey: no target."
    if targets.shape[1] == 1 and not bool(torch.isnan(targets).any()):
        both = {"input": batch.x[0, :steps]} if batch.x.shape[2] == 1 and bool(batch.x.any()) else {}
        both |= {"target": targets, "output": output}
        lines = [Line(name, range(steps), values[:, 0].tolist()) for name, values in both.items()]
        chart = line_chart(lines, Axis("step"), Axis("value"), label="input, target and output of a sequence")
        return [Figure("Outputs", chart, "A held-out sequence.")]
    known = targets[~torch.isnan(targets)]
    low, high = min(0.0, float(known.min())), max(1.0, float(known.max()))
    panels = [
        Panel(f"input: {_names(problem.inputs)}", batch.x[0, :steps].T),
        Panel(f"target: {_names(problem.outputs)}", targets.T, low=low, high=high),
        Panel(f"output: {_names(problem.outputs)}", output.T, across="step", low=low, high=high),
    ]
    return [Figure("Outputs", panel_chart([panels], label="input, target and output"), note)]


def _answers(problem: Any, batch: Batch, outputs: Tensor) -> str:
    targets = batch.y if batch.y.is_floating_point() else torch.nn.functional.one_hot(batch.y, outputs.shape[1]).float()
    high = max(1.0, float(targets.max()))
    titles = (f"target: {_names(problem.outputs)}", f"output: {_names(problem.outputs)}")
    columns = [
        [Panel(title, values, down="sequence", low=0.0, high=high)]
        for title, values in zip(titles, (targets, outputs), strict=True)
    ]
    return panel_chart(columns, label="targets and outputs")


def _targets(batch: Batch, outputs: Tensor) -> Tensor:
    """Targets (B, T, O) as the outputs are shaped; NaN where there is none."""
    y = batch.y
    if not y.is_floating_point():
        y = torch.nn.functional.one_hot(y.clamp(min=0), outputs.shape[-1]).float()
    missing = outputs.shape[1] - y.shape[1]
    return torch.cat([y.new_full((len(y), missing, y.shape[2]), torch.nan), y], 1) if missing else y


def _names(names: Sequence[str]) -> str:
    return " ".join(names) if 0 < len(names) <= 12 else "a row each"


def _spectrum(run: Any) -> list[Figure]:
    layers = [part for part in run.model.modules() if isinstance(part, Recurrent)]
    matrices = layers[0].recurrent_matrices() if layers else {}
    if not matrices:
        return []
    # Six colours; of a deep stack the first layer's matrices are shown.
    spectra = spectrum(dict(list(matrices.items())[:6]))
    chart = plane_chart({name.partition(".")[2]: values.tolist() for name, values in spectra.items()})
    note = "Eigenvalues of the matrices that carry the state from step to step, with the unit circle."
    return [Figure("Spectrum of the recurrent matrices", chart, note)]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
