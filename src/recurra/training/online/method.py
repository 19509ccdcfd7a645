"""Online gradients as gradient methods of the training loop: nothing is unrolled, so memory does not grow with T.

    style   what is carried                              exact                          per step and row
    rtrl    ds/dtheta, all of it                         yes                            S S P; P for elementwise cells
    snap1   entries reached within one step              for elementwise cells          P
    eprop   as snap1, without products of states         for elementwise cells          P
    uoro    one random outer product                     on average                     P

S states, P parameters. The diagonal form needs a cell whose gates are elementwise in its products; for others (gates
before a product, as in gru_v1; norms) snap1 and eprop take the memory of rtrl.

Where the layer reads what is learned (an embedding), or layers are stacked, rtrl carries the influence of all
parameters on all states of the model, and stays exact. The other three treat every layer by itself: a signal goes down
through the layers within its own step, and what lies below a layer is given the gradient of that step alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import torch
from torch import Generator, Tensor, nn

from recurra.base.errors import ConfigError, DataError, message
from recurra.base.state import State, leaves
from recurra.data.batch import Batch
from recurra.layers.unit import Unit
from recurra.training.gradient import Carry, Due, GradientMethod, Model, Objective, between
from recurra.training.online.joint import Joint
from recurra.training.online.steps import Memory
from recurra.training.online.unit import OnlineStyle, Walk, attached, influence_of

__all__ = ["STYLES", "OnlineStyle", "online"]

STYLES: tuple[str, ...] = get_args(OnlineStyle)

# Steps that the net above the layers sees at once: fewer Python calls, and still a bound on memory.
_PIECE = 16


def online(style: OnlineStyle, k1: int | None = 1, generator: Generator | None = None) -> GradientMethod:
    """A gradient method that updates every `k1` steps (None: once a batch), with the influence carried on.

    generator: the signs of UORO; torch's own by default, which a checkpoint keeps. Dropout draws anew at least every
    16 steps. Raises ConfigError for a style that does not exist, and, when it runs, for a model that cannot be trained
    forward in time.
    """
    where = f"online({style!r}, k1={k1})"
    if style not in STYLES:
        raise ConfigError(message(where, f"there are the styles {', '.join(STYLES)}"))
    if k1 is not None and k1 < 1:
        raise ConfigError(message(where, "k1 is a number of steps between updates and at least 1"))

    def method(model: Model, objective: Objective, batch: Batch, carry: Carry | None = None) -> Iterator[Due]:
        return _method(model, objective, batch, carry, style, k1, generator)

    return method


def _method(
    model: Model,
    objective: Objective,
    batch: Batch,
    carry: Carry | None,
    style: OnlineStyle,
    k1: int | None,
    generator: Generator | None,
) -> Iterator[Due]:
    units = _units(model)
    total = batch.x.shape[1]
    state, memory = (carry.state, carry.memory) if carry else (None, None)
    if style == "rtrl" and (len(units) > 1 or _reads_learned(model, units[0], batch)):
        runner: _Layers | Joint = Joint(model, objective)
    else:
        runner = _Layers(model, objective, units, style, generator)
    whole = batch.y.dim() < 2 or batch.y.shape[1] != total
    if whole and k1 is not None and k1 < total and isinstance(runner, Joint):
        hint = "k1 of the length, and one recurrent layer that reads its inputs as they are."
        raise DataError(message("rtrl", "one target a sequence needs the whole sequence at once", hint=hint))
    k1 = total if whole or k1 is None else k1
    piece = total if whole else _PIECE
    for start in range(0, total, k1):
        stop = min(start + k1, total)
        loss_sum, count = torch.zeros(()), 0
        for begin in range(start, stop, piece):
            end = min(begin + piece, stop)
            part = batch if whole else between(batch, begin, end)
            loss, positions, state, memory = runner.run(part, state, memory)
            loss_sum, count = loss_sum.to(loss.device) + loss, count + positions
        yield Due(loss_sum, count, Carry(state, memory=memory), stop)


class _Layers:
    """Each unit carries its own influence."""

    def __init__(
        self, model: Model, objective: Objective, units: list[Unit], style: OnlineStyle, generator: Generator | None
    ) -> None:
        self.model, self.objective, self.units = model, objective, units
        self.influences = [influence_of(unit, style, generator) for unit in units]

    def run(self, part: Batch, state: State, memory: Memory | None) -> tuple[Tensor, int, State, Memory]:
        """Forward and backward over some steps: summed loss, positions, state and influence after them."""
        carried = self._shared(memory, part.x)
        walks = {
            unit: Walk(unit, influence, kept)
            for unit, influence, kept in zip(self.units, self.influences, carried, strict=True)
        }
        with attached(walks):
            outputs, state = self.model(part.x, state, lengths=part.lengths, resets=part.resets)
        if any(leaf.requires_grad for leaf in leaves(state)) or not all(walk.ran for walk in walks.values()):
            fact = "the model keeps a state beside that of its recurrent layers, or runs them in a way of its own"
            raise ConfigError(message("online gradient", fact, hint="train it with truncated BPTT."))
        loss, count = self.objective(outputs, part)
        if loss.requires_grad:
            loss.backward()
        for walk in walks.values():
            walk.settle()
        return loss.detach(), count, state, tuple(leaf for walk in walks.values() for leaf in walk.memory or ())

    def _shared(self, memory: Memory | None, x: Tensor) -> list[Memory | None]:
        if memory is None:
            return [None] * len(self.units)
        found: list[Memory | None] = []
        first = 0
        for unit, influence in zip(self.units, self.influences, strict=True):
            # The form of a memory without its size: no rows.
            like = next(unit.parameters()).new_zeros(())
            size = len(influence.fresh(0, like))
            found.append(memory[first : first + size])
            first += size
        if first != len(memory) or any(leaf.shape[0] != x.shape[0] for leaf in memory):
            fact = f"the carried influence is of {len(memory)} tensors, the model's of {first}"
            raise ConfigError(message("online gradient", fact, hint="the model or the batch size is another one."))
        return found


def _units(model: Model) -> list[Unit]:
    modules: Any = model.modules() if isinstance(model, nn.Module) else ()
    modules = [*modules]
    units = [module for module in modules if isinstance(module, Unit)]
    hint = "train it with truncated BPTT."
    if not units:
        raise ConfigError(message("online gradient", "the model has no recurrent layer of ours", hint=hint))
    if any(getattr(module, "bidirectional", False) is True or getattr(module, "reverse", False) for module in modules):
        raise ConfigError(message("online gradient", "the model reads backward in time", hint="train it with BPTT."))
    for unit in units:
        if unit.zoneout or (unit.training and unit.draws):
            fact = f"recurrent dropout, weight drop and zoneout of {unit.cell.name} draw masks for a whole sequence"
            raise ConfigError(message("online gradient", fact, hint=hint))
    return units


def _reads_learned(model: Model, unit: Unit, batch: Batch) -> bool:
    """Whether something is learned below the layer: one step of the model, looked at."""
    seen: list[bool] = []
    run = type(unit).forward

    def look(x: Tensor, *others: Any, **named: Any) -> Any:
        seen.append(x.requires_grad)
        return run(unit, x, *others, **named)

    unit.forward = look
    try:
        with torch.random.fork_rng([batch.x.device] if batch.x.is_cuda else []):
            model(batch.x[:, :1], None, lengths=None, resets=None)
    finally:
        del unit.forward
    return any(seen)
