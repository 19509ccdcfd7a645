"""A unit whose gradient goes forward in time: its loop runs without a graph, and `backward` is one step deep.

While a `Walk` is attached, what the unit gives is joined to its parameters by an autograd function whose backward takes
the signal dL/dy of the steps just run, brings the influence up to date through them, and gives signal times influence.
What lies below and above the unit is differentiated by torch as ever, within each step.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor

from recurra.base.errors import ConfigError, message
from recurra.base.state import restart
from recurra.equations.derive import seed
from recurra.kernels.reference.program import program
from recurra.layers.recurrent import Recurrent
from recurra.layers.unit import Unit
from recurra.training.online.dense import Dense
from recurra.training.online.partials import partials_of
from recurra.training.online.rank_one import RankOne
from recurra.training.online.steps import Influence, Memory, Steps, values
from recurra.training.online.traces import Traces

__all__ = ["OnlineStyle", "Walk", "attached", "influence", "influence_of"]

OnlineStyle = Literal["rtrl", "snap1", "eprop", "uoro"]


def influence_of(unit: Unit, style: OnlineStyle, generator: torch.Generator | None = None) -> Influence:
    """How the unit's influence matrix is kept: one number per weight where that is all the style asks for."""
    partials = partials_of(unit.spec, unit.initial is not None)
    if style == "uoro":
        return RankOne(partials, unit.sizes, generator=generator)
    if style == "rtrl":
        # Nothing crosses from unit to unit: the diagonal is all there is.
        diagonal = partials.is_local and not partials.reads_states_in_products
        return (Traces if diagonal else Dense)(partials, unit.sizes, "exact")
    return (Traces if partials.is_local else Dense)(partials, unit.sizes, style)


class Walk:
    """One unit on its way through time: the influence it carries, and the steps it has yet to take into account."""

    def __init__(self, unit: Unit, influence: Influence, memory: Memory | None) -> None:
        self.unit, self.influence, self.memory = unit, influence, memory
        self.names = [*unit.spec.params]
        if unit.initial is not None:
            self.names += [f"initial.{state}" for state in unit.spec.states]
        self._steps: Steps | None = None
        self.ran = False

    def forward(
        self, x: Tensor, state: Any = None, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """As the unit's own; the state that comes out has no past."""
        unit = self.unit
        if self.ran:
            fact = f"a layer of {unit.cell.name} is called twice in one step of the model"
            raise ConfigError(message("online gradient", fact, hint="train it with truncated BPTT."))
        self.ran = True
        tensors = [*unit.named().values(), *(unit.initial or ())]
        with torch.autocast(x.device.type, enabled=False):
            # As it would come from a checkpoint: products of a cut batch may round otherwise.
            x = x.to(tensors[0].dtype).contiguous()
            with torch.no_grad():
                y, after, steps = self._run(x, state, lengths, resets)
            if self.memory is None:
                self.memory = self.influence.fresh(x.shape[0], y)
            self._steps = steps
            return _Walked.apply(self, y, x, *tensors), after

    def _run(self, x: Tensor, state: Any, lengths: Tensor | None, resets: Tensor | None) -> tuple[Tensor, Any, Steps]:
        unit, work = self.unit, program(self.unit.spec)
        rows, moments = x.shape[:2]
        initial = unit.initial_state(rows)
        state = initial if state is None else state
        packed = work.pack(unit.named())
        sliced = [part.unbind(0) for part in work.before(x.transpose(0, 1), packed)] if moments else []
        valid = None
        if lengths is not None:
            valid = torch.arange(moments, device=x.device)[:, None] < lengths
        before: list[Any] = []
        outputs: list[Tensor] = []
        for t in range(moments):
            if resets is not None:
                state = restart(state, initial, resets[:, t])
            before.append(state)
            after = unit.state_type(*work.step(*(part[t] for part in sliced), *state, *packed))
            outputs.append(after[0])
            if valid is not None:
                after = restart(state, after, valid[t])
                outputs[-1] = torch.where(valid[t, :, None], outputs[-1], outputs[-1].new_zeros(()))
            state = after
        past = {
            name: torch.stack([part[index] for part in before]).detach() for index, name in enumerate(unit.spec.states)
        }
        params = {name: value.detach() for name, value in unit.named().items()}
        restarts = None if resets is None else resets.t()
        steps = Steps(x.detach().transpose(0, 1), past, params, valid, restarts)
        return torch.stack(outputs, 1), unit.state_type(*(part.detach() for part in state)), steps

    def backward(self, signal: Tensor, wants_input: bool) -> tuple[Tensor | None, list[Tensor | None]]:
        """dL/dy (B, n, size) -> dL/dx within each step, and the gradients of `names`."""
        steps, memory = self._steps, self.memory
        if steps is None or memory is None:
            raise ConfigError(message("online gradient", "backward came twice", hint="backpropagate each loss once."))
        moving = signal.transpose(0, 1)
        if steps.valid is not None:
            moving = torch.where(steps.valid.unsqueeze(-1), moving, moving.new_zeros(()))
        self._steps = None
        self.memory, found = self.influence.sweep(memory, steps, moving)
        return self._below(steps, moving) if wants_input else None, [found.get(name) for name in self.names]

    def settle(self) -> None:
        """Take into account steps that no loss looked at."""
        if self._steps is not None:
            moments, rows = self._steps.x.shape[:2]
            self.backward(self._steps.x.new_zeros(rows, moments, self.unit.output_size), wants_input=False)

    def _below(self, steps: Steps, signal: Tensor) -> Tensor:
        partials = partials_of(self.unit.spec, self.unit.initial is not None)
        (root,) = partials.backward([partials.input])
        if root is None:
            return torch.zeros_like(steps.x.transpose(0, 1))
        around = signal.shape[:2]
        leaves = steps.leaves(partials)
        for state in partials.live:
            width = steps.before[state].shape[-1]
            leaves[seed(state)] = signal if state == partials.states[0] else signal.new_zeros(*around, width)
        return values([root], leaves, [tuple(steps.x.shape)])[0].transpose(0, 1)


class _Walked(torch.autograd.Function):
    """What a walk gave, joined to the input and the parameters."""

    @staticmethod
    def forward(ctx: Any, walk: Walk, y: Tensor, x: Tensor, *tensors: Tensor) -> Tensor:  # noqa: ARG004
        """The outputs as they are."""
        ctx.walk = walk
        return y.clone()

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> Any:
        """Through the walk."""
        below, gradients = ctx.walk.backward(signals[0], ctx.needs_input_grad[2])
        return None, None, below, *gradients


@contextmanager
def attached(walks: Mapping[Unit, Walk]) -> Generator[None]:
    """Inside the block each unit runs as its walk does."""
    for unit, walk in walks.items():
        walk.ran = False
        # An instance's attribute stands before the class's method; __call__ takes the first.
        unit.forward = walk.forward
    try:
        yield
    finally:
        for unit in walks:
            del unit.forward


def influence(
    layer: Recurrent, x: Tensor, state: Any = None, *, style: Literal["rtrl", "snap1", "eprop"] = "rtrl"
) -> dict[str, Tensor]:
    """ds_T/dtheta after reading x (B, T, I): for each parameter of a one-layer net (B, S, *shape), S all its states.

    The state it starts from counts as a constant. Exact for rtrl, at any T in the same memory.

    >>> import torch
    >>> found = influence(Recurrent("elman", 2, 3), torch.zeros(1, 5, 2))
    >>> {name: tuple(part.shape) for name, part in found.items()}
    {'W': (1, 3, 3, 2), 'U': (1, 3, 3, 3), 'b': (1, 3, 3)}
    """
    if len(layer.units) != 1 or layer.reverse:
        raise ConfigError(message("influence", f"one layer in one direction is meant, got {len(layer.units)} units"))
    unit = layer.units[0]
    dense = Dense(partials_of(unit.spec), unit.sizes, "exact" if style == "rtrl" else style)
    walk = Walk(unit, dense, dense.fresh(x.shape[0], x))
    walk.forward(x, None if state is None else state[0])
    walk.settle()
    (matrix,) = walk.memory or dense.fresh(x.shape[0], x)
    return dense.blocks(matrix)
