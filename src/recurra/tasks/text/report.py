"""The report of a text run, from what its folder holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recurra.base import config
from recurra.cells import CELLS
from recurra.diagnostics.chart import Axis, Line, line_chart, plane_chart
from recurra.diagnostics.flow import gradient_by_distance
from recurra.diagnostics.forensics import bad_parameters
from recurra.diagnostics.inspection import Case, inspect
from recurra.diagnostics.report import Figure, Key, Report, Sample, write
from recurra.diagnostics.spectrum import spectrum
from recurra.equations.show import equations
from recurra.tasks.folder import REPORT, WEIGHTS, footer, read_note
from recurra.tasks.text.folder import RUNS
from recurra.tasks.text.run import TextRun, load
from recurra.tasks.text.settings import TextSettings
from recurra.training.log import read_lines

__all__ = ["write_report"]

# Rows of the excerpt over which gradient flow is averaged, and the farthest step looked at.
_ROWS, _DISTANCE = 8, 100
# Symbols of it below which there is nothing to look at.
_LEAST = 8


def write_report(folder: Path | str) -> Path:
    """Write report.html into the run folder and give its path; a run that is not finished gets what there is.

    Needs nothing but the folder. Raises CheckpointError where it is no run.
    """
    folder = Path(folder)
    settings, note = RUNS.settings(folder), read_note(folder)
    lines = _records(folder / "metrics.jsonl")
    training = [line for line in lines if line["split"] == "train"]
    validation = [line for line in lines if line["split"] == "valid"]
    figures = [_losses(training, validation, note), _norms(training, settings)]
    samples = _samples(folder, training)
    if (folder / WEIGHTS).exists():
        run = load(folder)
        excerpt = note.get("excerpt", [])
        figures += _inside(run, excerpt, lines, _records(folder / "events.jsonl"))
        if not bad_parameters(run.model):
            figures += [*_flow(run, excerpt), *_spectrum(run)]
            samples.append(Sample("The best weights", run.sample()))
    page = Report(
        title=folder.resolve().name,
        lead=_lead(settings, note),
        keys=_keys(note, training, validation, settings),
        figures=figures,
        samples=samples,
        equations=equations(CELLS[settings.model.cell]().spec),
        equations_title=f"The cell: {settings.model.cell}",
        citation=CELLS[settings.model.cell]().title,
        settings=config.to_dict(settings),
        command="\n".join(note.get("commands", [])),
        footer=footer(note),
    )
    path = folder / REPORT
    write(page, path)
    return path


def _inside(
    run: TextRun, excerpt: list[int], metrics: list[dict[str, Any]], events: list[dict[str, Any]]
) -> list[Figure]:
    """What went wrong where something did, and what a glance shows; `recurra inspect` shows the rest."""
    if len(excerpt) <= _LEAST:
        return []
    found = inspect([Case(run.subject(), metrics, events)], only=("forensics", "saliency", "gates", "graph"))
    return [figure for made in found.figures.values() for figure in made]


def _records(path: Path) -> list[dict[str, Any]]:
    return read_lines(path) if path.exists() else []


def _column(lines: Sequence[dict[str, Any]], name: str) -> list[float]:
    # A number that was not finite is null in the log; charts leave NaN out.
    return [math.nan if line.get(name) is None else float(line[name]) for line in lines]


def _losses(training: list[dict[str, Any]], validation: list[dict[str, Any]], note: dict[str, Any]) -> Figure:
    curves = [
        Line("training", _column(training, "iteration"), _column(training, "loss")),
        Line("validation", _column(validation, "iteration"), _column(validation, "loss")),
    ]
    measured = note.get("baseline")
    rules = {f"{measured['order']}-gram": measured["nats"]} if measured else {}
    chart = line_chart(
        curves,
        Axis("iteration"),
        Axis("nats per symbol"),
        rules=rules,
        right=("bits per symbol", 1 / math.log(2)),
        label="loss by iteration",
    )
    told = "Training is measured with dropout and the weights of the moment, validation without and with their average."
    return Figure("Loss", chart, told)


def _norms(training: list[dict[str, Any]], settings: TextSettings) -> Figure:
    line = Line("mean norm before clipping", _column(training, "iteration"), _column(training, "grad_norm"))
    limit = settings.train.clip.norm
    chart = line_chart(
        [line],
        Axis("iteration"),
        Axis("norm", log=True),
        rules={"clipped at": limit} if limit is not None else {},
        label="gradient norm by iteration",
    )
    told = "The Euclidean norm of the gradient over all parameters. Spikes are what clipping is for."
    return Figure("Gradient norm", chart, told)


def _flow(run: TextRun, excerpt: list[int]) -> list[Figure]:
    rows = min(_ROWS, len(excerpt) // 2)
    if not rows:
        return []
    tokens = torch.tensor(excerpt[: len(excerpt) // rows * rows]).view(rows, -1)
    steps = tokens.shape[1] - 1
    distance = min(_DISTANCE, steps - 1)
    flow = gradient_by_distance(run.model.step, tokens[:, :-1], tokens[:, 1:], _loss, distance=distance)
    curves = [Line(name, range(distance + 1), values.tolist()) for name, values in flow.items()]
    chart = line_chart(
        curves, Axis("steps back in time"), Axis("gradient norm", log=True), label="gradient norm by distance in time"
    )
    told = (
        "How strongly the loss at a step depends on the state so many steps earlier: the norm of its derivative, "
        "averaged over held-out text. A straight fall on this scale is exponential forgetting."
    )
    return [Figure("How far back the loss is felt", chart, told)]


def _spectrum(run: TextRun) -> list[Figure]:
    matrices = run.model.recurrent.recurrent_matrices()
    if not matrices:
        # The state of a Jordan net goes through two matrices, neither of which is square.
        return []
    # Six colours; of a deep stack the first layer's matrices are shown.
    chosen = dict(list(matrices.items())[:6])
    found = spectrum(chosen)
    names = {name: f"layer {name.partition('.')[0]}  {name.partition('.')[2]}" for name in found}
    chart = plane_chart({names[name]: values.tolist() for name, values in found.items()})
    told = (
        "Eigenvalues of the matrices that carry the state from step to step, with the unit circle. Without gates, "
        "modulus above 1 grows and below 1 fades; gates decide step by step how much of that applies."
    )
    return [Figure("Spectrum of the recurrent matrices", chart, told)]


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, targets, reduction="none")


def _samples(folder: Path, training: list[dict[str, Any]]) -> list[Sample]:
    losses = {line["iteration"]: line["loss"] for line in training}
    found: list[Sample] = []
    for record in _records(folder / "samples.jsonl"):
        loss = losses.get(record["iteration"])
        note = f"training loss {loss:.2f} nats" if loss is not None else ""
        found.append(Sample(f"Iteration {record['iteration']:,}", record["text"], note))
    return found


def _lead(settings: TextSettings, note: dict[str, Any]) -> str:
    model, text = settings.model, note.get("text", {})
    layers = "1 layer" if model.num_layers == 1 else f"{model.num_layers} layers"
    unit = "characters" if settings.data.level == "char" else "bytes"
    lead = f"{model.cell}, {layers} of {model.hidden_size}, on {unit}"
    if text:
        lead += f" of {Path(text['name']).name} ({text['symbols']:,}; vocabulary {note['vocabulary_size']})"
    result = note.get("result")
    if result:
        lead += f". {result['iteration']:,} iterations in {_duration(result['wall_s'])}"
    return lead + "."


def _keys(
    note: dict[str, Any],
    training: list[dict[str, Any]],
    validation: list[dict[str, Any]],
    settings: TextSettings,
) -> list[Key]:
    unit = "character" if settings.data.level == "char" else "byte"
    keys: list[Key] = []
    result, measured = note.get("result"), note.get("baseline")
    if result:
        told = f"{result['nats']:.4f} nats, perplexity {result['perplexity']:.2f}"
        keys.append(Key(f"Held-out bits per {unit}", f"{result['bits']:.3f}", told))
    elif validation:
        keys.append(Key(f"Bits per {unit} so far", f"{validation[-1]['loss'] / math.log(2):.3f}", "not finished"))
    if measured:
        keys.append(Key(f"{measured['order']}-gram bits", f"{measured['bits']:.3f}", "modified Kneser-Ney, same split"))
    if "parameters" in note:
        keys.append(Key("Parameters", f"{note['parameters']:,}"))
    speeds = [line["tokens_per_s"] for line in training if line.get("tokens_per_s")]
    if speeds:
        keys.append(Key("Training speed", f"{sorted(speeds)[len(speeds) // 2]:,.0f}", f"{unit}s a second (median)"))
    return keys


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
