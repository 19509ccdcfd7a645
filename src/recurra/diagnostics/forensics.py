"""Why a run broke: which update, which parameter, which step and gate first, and what the loss did before.

Three sources, each useful alone: the lines that a run wrote (`read_log`), a model with an example (`first_bad`), and a
training callback that keeps the last moments in mind (`Recorder`).
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from recurra.diagnostics.gates import values_of
from recurra.diagnostics.observe import Track, observe
from recurra.diagnostics.subject import Subject
from recurra.equations.expr import Expr
from recurra.equations.show import text
from recurra.equations.spec import CellSpec

__all__ = ["BadValue", "LogFindings", "Recorder", "bad_parameters", "first_bad", "read_log"]

# A gradient norm or a loss this many times its median is no noise.
_JUMP, _WINDOW, _SHOWN = 10.0, 50, 6


class LogFindings(NamedTuple):
    """What the log of a run tells.

    broke: the iteration of the first line whose loss or gradient is no finite number; None where all are. jumps: the
    iterations at which loss or gradient norm were far above what they had been (factor over the median before).
    losses: (iteration, loss) of the last lines before the break, or of the last lines. sentences: the same to be read.
    """

    broke: int | None
    jumps: list[tuple[int, str, float]]
    losses: list[tuple[int, float]]
    sentences: list[str]


def read_log(metrics: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]] = ()) -> LogFindings:
    """Read the records of metrics.jsonl and events.jsonl; a number that was not finite is null there.

    >>> lines = [{"iteration": i, "split": "train", "loss": 2.0, "grad_norm": 1.0} for i in range(1, 5)]
    >>> read_log([*lines, {"iteration": 5, "split": "train", "loss": None, "grad_norm": 90.0}]).broke
    5
    """
    lines = [line for line in metrics if line.get("split") == "train"]
    broke = next((line for line in metrics if _bad(line, "loss") or _bad(line, "grad_norm")), None)
    refused = next((event for event in events if event.get("event") == "nonfinite"), None)
    stop = broke["iteration"] if broke else math.inf
    if refused and refused["iteration"] < stop:
        stop = refused["iteration"]
    before = [line for line in lines if line["iteration"] < stop]
    jumps = [
        (line["iteration"], name, line[name] / middle)
        for name in ("grad_norm", "loss")
        for index, line in enumerate(before)
        if (middle := _median(before[max(0, index - _WINDOW) : index], name)) and line.get(name, 0) > _JUMP * middle
    ]
    losses = [(line["iteration"], line["loss"]) for line in before[-_SHOWN:]]
    broken = None if stop == math.inf else int(stop)
    return LogFindings(broken, jumps, losses, _sentences(broken, refused, jumps, losses, before))


def _sentences(
    broke: int | None,
    refused: Mapping[str, Any] | None,
    jumps: list[tuple[int, str, float]],
    losses: list[tuple[int, float]],
    before: Sequence[Mapping[str, Any]],
) -> list[str]:
    found: list[str] = []
    if broke is not None:
        found.append(f"Loss or gradient were no finite numbers for the first time at iteration {broke:,}.")
    if refused:
        found += [line.strip() for line in str(refused.get("text", "")).splitlines()[1:]]
    if losses and (broke is not None or jumps):
        said = ", ".join(f"{loss:.4g} ({iteration:,})" for iteration, loss in losses)
        found.append(f"The loss before it, with the iteration: {said}.")
    for iteration, name, factor in jumps[:3]:
        what = {"grad_norm": "The gradient norm", "loss": "The loss"}[name]
        found.append(f"{what} was {factor:,.0f} times its median at iteration {iteration:,}.")
    rates = [line["learning_rate"] for line in before[-1:] if line.get("learning_rate")]
    if rates and broke is not None:
        found.append(f"The learning rate was {rates[0]:.3g}.")
    return found or ["Every loss and gradient norm in the log is finite, and none is far above those before it."]


def _bad(line: Mapping[str, Any], name: str) -> bool:
    value = line.get(name, 0.0)
    return value is None or not math.isfinite(value)


def _median(lines: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [line[name] for line in lines if line.get(name) is not None]
    return statistics.median(values) if len(values) >= 5 else None


def bad_parameters(model: nn.Module) -> dict[str, str]:
    """Each parameter that is not finite throughout: `3 of 12 entries`, by its name in the model."""
    found: dict[str, str] = {}
    for name, value in model.named_parameters():
        bad = int((~torch.isfinite(value)).sum())
        if bad:
            found[name] = f"{bad} of {value.numel()} entries"
    return found


class BadValue(NamedTuple):
    """The first value of a forward pass that is not finite."""

    track: str
    """The layer: `layer 0`."""
    row: int
    step: int
    """In the order the layer reads."""
    value: str
    """Which value of the equations: a gate by its name, `x` for the layer's input, or the expression itself."""
    reads: str
    """The parameters of that expression that are not finite themselves; empty where the arithmetic overflowed."""


def first_bad(subject: Subject) -> BadValue | None:
    """Where a forward pass over the example first leaves the finite numbers: layer, step and gate; None where nowhere.

    First means the earliest step, within it the lowest layer, and within that the order of the cell's equations.
    """
    found: list[tuple[int, int, BadValue]] = []
    for depth, track in enumerate(observe(subject).tracks.values()):
        hit = _first_in(track)
        if hit is not None:
            found.append((hit.step, depth, hit))
    return min(found, key=lambda entry: entry[:2])[2] if found else None


def _first_in(track: Track) -> BadValue | None:
    spec = track.unit.spec
    named = _node_names(spec)
    by_name = {name: node for node, name in named.items()}
    by_name = {"x": spec.symbol("x")} | {name: node for name, node in by_name.items() if node.args}
    values = values_of(track, by_name)
    valid = track.valid().numpy()
    best: tuple[int, int, str] | None = None
    for name, numbers in values.items():
        bad = ~(abs(numbers) < math.inf).all(2) & valid
        if bad.any():
            step = int(bad.any(0).argmax())
            if best is None or step < best[0]:
                best = (step, int(bad[:, step].argmax()), name)
    if best is None:
        return None
    step, row, name = best
    weights = track.unit.named()
    leaves = [str(part.value) for part in _below(by_name[name]) if part.op == "param"]
    culprits = [leaf for leaf in dict.fromkeys(leaves) if not bool(torch.isfinite(weights[leaf]).all())]
    return BadValue(track.name, row, step, name, ", ".join(culprits))


def _node_names(spec: CellSpec) -> dict[Expr, str]:
    """Every value of the step by the equations' name for it, or written out, in the order of computing."""
    names = {node: name for name, node in reversed(spec.names)}
    names |= {node: f"{state}'" for state, node in spec.after.items() if node.args and node not in names}
    known = dict(names)
    return {
        node: names.get(node) or text(node, {other: name for other, name in known.items() if other is not node})
        for node in spec.nodes
        if spec.shapes[node] and len(spec.shapes[node]) == 1
    }


def _below(node: Expr) -> list[Expr]:
    """The nodes under one, not through others' results of the step before."""
    found, waiting = [], [node]
    while waiting:
        part = waiting.pop()
        found.append(part)
        waiting.extend(part.args)
    return found


class Recorder:
    """A training callback that keeps the size of every parameter over the last updates.

    >>> Callback(every(1), recorder := Recorder())                                             # doctest: +SKIP

    Pass it to `Trainer(callbacks=[...])`. When training then stops with a TrainingError, `fastest()` says which
    parameters had been growing, and `losses` what the loss did. `window`: how many calls are kept.
    """

    def __init__(self, window: int = _WINDOW) -> None:
        self.norms: deque[tuple[int, dict[str, float]]] = deque(maxlen=window)
        """(iteration, Euclidean norm of each parameter)."""
        self.losses: deque[tuple[int, float]] = deque(maxlen=window)
        """(iteration, mean loss since the last line of the log)."""
        self.first_bad: tuple[int, list[str]] | None = None
        """The first call at which parameters were not finite, and which."""

    def __call__(self, trainer: Any) -> None:
        """Note the parameters of `trainer.model` and the running loss."""
        named = dict(trainer.model.named_parameters())
        self.norms.append((trainer.iteration, {name: float(value.detach().norm()) for name, value in named.items()}))
        interval = trainer.report.interval
        if interval.count:
            self.losses.append((trainer.iteration, interval.loss / interval.count))
        bad = list(bad_parameters(trainer.model))
        if bad and self.first_bad is None:
            self.first_bad = (trainer.iteration, bad)

    def fastest(self, most: int = 5) -> list[tuple[str, float]]:
        """The parameters that grew most over the window, by what factor; largest first."""
        if len(self.norms) < 2:
            return []
        (_, start), (_, end) = self.norms[0], self.norms[-1]
        growth = [(name, end[name] / max(start[name], 1e-30)) for name in end if math.isfinite(end[name])]
        return sorted(growth, key=lambda pair: -pair[1])[:most]
