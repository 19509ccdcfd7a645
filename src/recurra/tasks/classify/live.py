"""The class of sequences that still grow: a probability for each class after every step, in constant memory.

    columns: tuple[str, ...]
    step(ids, stamps, values) -> for each row one record
    state() -> JSON-able values and arrays; load_state(state) goes on from there

    {"kind": "class", "label", "probability", "step", "stamp", "probabilities"}

After the last step of a sequence the answer is that of the whole sequence at once. It wants a net that reads forwards
and a pooling that can go on: recurrent, not bidirectional, of last, mean, max or attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recurra.base.errors import ConfigError, DataError, message
from recurra.base.state import leaves, map_state
from recurra.tasks.classify.network import Members, RecurrentNet
from recurra.tasks.classify.prepare import Preparation
from recurra.tasks.classify.settings import ClassifySettings
from recurra.tasks.load import load

__all__ = ["ClassifyLive", "live"]


class ClassifyLive:
    """See the head of this module. every: a record only after each so many steps of a sequence."""

    def __init__(self, net: Members, preparation: Preparation, settings: ClassifySettings, *, every: int = 1) -> None:
        if every < 1:
            raise ConfigError(message("live", f"every must be at least 1, got {every}"))
        nets, model = list(net.members), settings.model
        self._nets = [net for net in nets if isinstance(net, RecurrentNet) and net.decay is None]
        if len(self._nets) < len(nets) or model.bidirectional:
            fact = f"{'a bidirectional net' if model.bidirectional else model.name} needs the whole sequence"
            hint = "train with --model recurrent --set model.bidirectional=false, and without model.decay."
            raise ConfigError(message("live", fact, hint=hint))
        if preparation.normalise == "case":
            fact = "cases are normalised by themselves, so the whole of one is needed"
            raise ConfigError(message("live", fact, hint="--set data.normalise=standard"))
        self.preparation, self.every = preparation, every
        self.columns: tuple[str, ...] = preparation.channels
        self._rows: dict[str, tuple[int, list[Tensor]]] = {}
        """Of each sequence: its steps, and for each net the state's leaves (size,) and what the pooling keeps."""

    def step(self, ids: Sequence[str], stamps: Sequence[str | None], values: np.ndarray) -> list[list[dict[str, Any]]]:
        """One step of B sequences: values (B, C) float64 in the order of `columns`, NaN where missing."""
        x = self._checked(ids, stamps, values)
        if not len(ids):
            return []
        shares, memories = [], [[] for _ in ids]
        steps = [self._rows[name][0] if name in self._rows else 0 for name in ids]
        offset = 0
        with torch.no_grad():
            for net in self._nets:
                fresh = net.body.initial_state(1)
                count = len(leaves(fresh))
                size = count + _memories(net)
                rows = [
                    self._rows[name][1][offset : offset + size] if name in self._rows else _begun(net) for name in ids
                ]
                parts = [torch.stack([row[number] for row in rows]) for number in range(size)]
                picked = iter(parts[:count])
                y, state = net.body.step(x, map_state(lambda _, it=picked: next(it), fresh))
                count_before = torch.tensor(steps, dtype=y.dtype).unsqueeze(1)
                pooled, memory = _pooled(net, y, parts[count:], count_before)
                shares.append(torch.softmax(net.output(pooled), -1))
                for leaf in (*leaves(state), *memory):
                    for row in range(len(ids)):
                        memories[row].append(leaf[row].clone())
                offset += size
        probabilities = torch.stack(shares).mean(0).double().numpy()
        records: list[list[dict[str, Any]]] = []
        for row, name in enumerate(ids):
            self._rows[name] = steps[row] + 1, memories[row]
            due = (steps[row] + 1) % self.every == 0
            records.append([self._record(probabilities[row], steps[row], stamps[row])] if due else [])
        return records

    def finish(self, ids: Sequence[str] | None = None) -> list[list[dict[str, Any]]]:
        """These sequences (all by default) have ended and are forgotten; no more records of them."""
        names = list(self._rows) if ids is None else list(ids)
        for name in names:
            del self._rows[name]
        return [[] for _ in names]

    def state(self) -> dict[str, object]:
        """Everything that `load_state` needs."""
        return {
            "steps": {name: steps for name, (steps, _) in self._rows.items()},
            "net": [leaf.numpy() for _, leaves_ in self._rows.values() for leaf in leaves_],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from there. Raises DataError where it is that of another model."""
        sizes = [[leaf.shape for leaf in _begun(net)] for net in self._nets]
        shapes = [shape for net in sizes for shape in net]
        arrays = [torch.from_numpy(np.array(leaf)) for leaf in state["net"]]
        expected = shapes * len(state["steps"])
        if [tuple(leaf.shape) for leaf in arrays] != [tuple(shape) for shape in expected]:
            raise DataError(message("ClassifyLive.load_state", "the state is that of another model"))
        self._rows = {
            name: (int(steps), arrays[row * len(shapes) : (row + 1) * len(shapes)])
            for row, (name, steps) in enumerate(state["steps"].items())
        }

    def _checked(self, ids: Sequence[str], stamps: Sequence[str | None], values: np.ndarray) -> Tensor:
        values = np.asarray(values, np.float64)
        where, width, preparation = "ClassifyLive.step", len(self.columns), self.preparation
        if values.shape != (len(ids), width) or len(stamps) != len(ids):
            fact = f"values must be ({len(ids)}, {width}) for {len(ids)} ids and stamps, got {values.shape}"
            raise DataError(message(where, fact, f"Columns: {', '.join(self.columns)}."))
        if len(set(ids)) < len(ids):
            raise DataError(message(where, "an id stands twice in one step"))
        if np.isinf(values).any():
            raise DataError(message(where, f"{int(np.isinf(values).sum())} values are infinite"))
        observed = ~np.isnan(values)
        if not preparation.masked and not observed.all():
            fact = f"{int((~observed).sum())} values are missing; this model has no mask"
            raise DataError(message(where, fact, hint="train with --set model.mask=yes"))
        scaled = np.where(observed, (values - np.array(preparation.location)) / np.array(preparation.scale), 0.0)
        x = np.concatenate([scaled, observed], axis=1) if preparation.masked else scaled
        return torch.from_numpy(x.astype(np.float32))

    def _record(self, probabilities: np.ndarray, step: int, stamp: str | None) -> dict[str, Any]:
        classes, best = self.preparation.classes, int(probabilities.argmax())
        return {
            "kind": "class",
            "label": classes[best],
            "probability": float(probabilities[best]),
            "step": step,
            "stamp": stamp,
            "probabilities": dict(zip(classes, probabilities.tolist(), strict=True)),
        }


def live(run: Path | str, *, every: int = 1) -> ClassifyLive:
    """Return the live classifier of a run folder; ConfigError where its net needs complete sequences."""
    return load(run).live(every=every)


def _memories(net: RecurrentNet) -> int:
    return {"last": 0, "mean": 1, "max": 1, "attention": 3}[net.pooling.kind]


def _begun(net: RecurrentNet) -> list[Tensor]:
    """Leaves of the initial state, then what the pooling keeps before the first step."""
    with torch.no_grad():
        first = [leaf[0] for leaf in leaves(net.body.initial_state(1))]
    width = torch.zeros(net.body.output_width)
    memory = {
        "last": [],
        "mean": [width],
        "max": [width - torch.inf],
        # Sum of weighted states, sum of weights, the largest score so far (a softmax that goes on).
        "attention": [width, torch.zeros(1), torch.full((1,), -torch.inf)],
    }
    return [*first, *memory[net.pooling.kind]]


def _pooled(net: RecurrentNet, y: Tensor, memory: list[Tensor], steps: Tensor) -> tuple[Tensor, list[Tensor]]:
    """States y (B, F) after `steps` (B, 1) others -> the pooled ones (B, F), and what is kept."""
    kind = net.pooling.kind
    if kind == "last":
        return y, []
    if kind == "mean":
        total = memory[0] + y
        return total / (steps + 1), [total]
    if kind == "max":
        highest = torch.maximum(memory[0], y)
        return highest, [highest]
    attention = net.pooling.attention
    if attention is None:
        raise TypeError(kind)
    score = (torch.tanh(attention.project(y)) @ attention.question).unsqueeze(1)
    top = torch.maximum(memory[2], score)
    fade, weight = torch.exp(memory[2] - top), torch.exp(score - top)
    total, mass = memory[0] * fade + weight * y, memory[1] * fade + weight
    return total / mass, [total, mass, top]
