"""Tables, key numbers and figures of a text model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recurra.diagnostics.chart import Axis, Line, line_chart, plane_chart
from recurra.diagnostics.flow import gradient_by_distance
from recurra.diagnostics.forensics import bad_parameters
from recurra.diagnostics.inspection import Case, inspect
from recurra.diagnostics.report import Figure, Key, Sample
from recurra.diagnostics.spectrum import spectrum
from recurra.tasks.task import Table, View
from recurra.training.log import read_lines

__all__ = ["figures", "keys", "lead", "samples", "tables"]

# Rows of the excerpt over which gradient flow is averaged, and the farthest step.
_ROWS, _DISTANCE = 8, 100
# Symbols of it below which there is nothing to inspect.
_MINIMUM = 8


def lead(view: View) -> str:
    """Name cell, sizes, the text, and what the training took."""
    model, text, result = view.settings.model, view.note.get("text", {}), view.note.get("result", {})
    layers = "1 layer" if model.num_layers == 1 else f"{model.num_layers} layers"
    sentence = f"{model.cell}, {layers} of {model.hidden_size}, on {_unit(view)}s"
    if text:
        sentence += f" of {Path(text['name']).name} ({text['symbols']:,}; vocabulary {view.note['vocabulary_size']})"
    if "iteration" in result:
        minutes, seconds = divmod(round(result["wall_s"]), 60)
        duration = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
        sentence += f". {result['iteration']:,} iterations in {duration}"
    return sentence + "."


def keys(view: View) -> list[Key]:
    """Bits beside those of the n-gram model."""
    measures, baseline = view.measures, view.note.get("baseline")
    note = f"{measures['nats']:.4f} nats, perplexity {measures['perplexity']:.2f}"
    numbers = [Key(f"Held-out bits per {_unit(view)}", f"{measures['bits']:.3f}", note)]
    if baseline:
        source = "modified Kneser-Ney, same split"
        numbers.append(Key(f"{baseline['order']}-gram bits", f"{baseline['bits']:.3f}", source))
    parameters = view.note.get("result", {}).get("parameters", view.note.get("parameters"))
    if parameters:
        numbers.append(Key("Parameters", f"{parameters:,}"))
    speeds = [line["tokens_per_s"] for line in _lines(view, "metrics") if line.get("tokens_per_s")]
    if speeds:
        median = f"{sorted(speeds)[len(speeds) // 2]:,.0f}"
        numbers.append(Key("Training speed", median, f"{_unit(view)}s a second (median)"))
    return numbers


def tables(view: View) -> list[Table]:
    """Bits, nats and perplexity, beside the n-gram model where one was measured on the same text."""
    measures, model, unit = view.measures, view.settings.model, _unit(view)
    if "nats" not in measures:
        return []
    rows = [(f"{model.cell} {model.hidden_size} x {model.num_layers}", measures["bits"], measures["nats"])]
    baseline = None if measures.get("source") else view.note.get("baseline")
    if baseline:
        rows.append((f"{baseline['order']}-gram, modified Kneser-Ney", baseline["bits"], baseline["nats"]))
    cells = tuple((name, f"{bits:.4f}", f"{nats:.4f}", f"{2**bits:.3f}") for name, bits, nats in rows)
    text = f"{measures['source']}: " if measures.get("source") else "On the held-out text: "
    title = f"{text}{measures['positions']:,} {unit}{'' if measures['positions'] == 1 else 's'} predicted"
    return [Table(title, ("", f"bits per {unit}", f"nats per {unit}", "perplexity"), cells)]


def samples(view: View) -> list[Sample]:
    """What the model wrote along the way, and what the best weights write."""
    losses = {line["iteration"]: line.get("loss") for line in _lines(view, "metrics") if line["split"] == "train"}
    written = []
    for record in _lines(view, "samples"):
        loss = losses.get(record["iteration"])
        note = f"training loss {loss:.2f} nats" if loss is not None else ""
        written.append(Sample(f"Iteration {record['iteration']:,}", record["text"], note))
    if view.predictor is not None and not bad_parameters(view.predictor.model):
        written.append(Sample("The best weights", view.predictor.sample()))
    return written


def figures(view: View) -> list[Figure]:
    """What went wrong where something did, what a glance shows, gradient flow and eigenvalues."""
    run, excerpt = view.predictor, view.note.get("excerpt", [])
    if run is None:
        return []
    drawn: list[Figure] = []
    if len(excerpt) > _MINIMUM:
        case = Case(run.subject(), _lines(view, "metrics"), _lines(view, "events"))
        result = inspect([case], only=("forensics", "saliency", "gates", "graph"))
        drawn += [figure for group in result.figures.values() for figure in group]
    if not bad_parameters(run.model):
        drawn += [*_flow(run, excerpt), *_spectrum(run)]
    return drawn


def _unit(view: View) -> str:
    return "character" if view.settings.data.level == "char" else "byte"


def _lines(view: View, name: str) -> list[dict[str, Any]]:
    path = view.folder / f"{name}.jsonl" if view.folder else None
    return read_lines(path) if path and path.exists() else []


def _flow(run: Any, excerpt: list[int]) -> list[Figure]:
    rows = min(_ROWS, len(excerpt) // 2)
    if not rows:
        return []
    tokens = torch.tensor(excerpt[: len(excerpt) // rows * rows]).view(rows, -1)
    distance = min(_DISTANCE, tokens.shape[1] - 2)
    flow = gradient_by_distance(run.model.step, tokens[:, :-1], tokens[:, 1:], _loss, distance=distance)
    curves = [Line(name, range(distance + 1), values.tolist()) for name, values in flow.items()]
    chart = line_chart(
        curves, Axis("steps back in time"), Axis("gradient norm", log=True), label="gradient norm by distance in time"
    )
    note = (
        "How strongly the loss at a step depends on the state so many steps earlier: the norm of its derivative, "
        "averaged over held-out text. A straight fall on this scale is exponential forgetting."
    )
    return [Figure("How far back the loss is felt", chart, note)]


def _spectrum(run: Any) -> list[Figure]:
    matrices = run.model.recurrent.recurrent_matrices()
    if not matrices:
        # The state of a Jordan net goes through two matrices, neither of which is square.
        return []
    # Six colours; of a deep stack the first layer's matrices are drawn.
    spectra = spectrum(dict(list(matrices.items())[:6]))
    names = {name: f"layer {name.partition('.')[0]}  {name.partition('.')[2]}" for name in spectra}
    chart = plane_chart({names[name]: values.tolist() for name, values in spectra.items()})
    note = (
        "Eigenvalues of the matrices that carry the state from step to step, with the unit circle. Without gates, "
        "modulus above 1 grows and below 1 fades; gates decide step by step how much of that applies."
    )
    return [Figure("Spectrum of the recurrent matrices", chart, note)]


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, targets, reduction="none")
