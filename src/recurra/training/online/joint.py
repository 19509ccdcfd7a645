"""RTRL over a whole model: ds/dtheta of all its states with respect to all its parameters, layers and embeddings too.

Per row the model's step is a function (state, theta) -> state; torch differentiates it (vmap of jacrev), row by row:

    J' = ds'/ds J + ds'/dtheta
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from recurra.base.errors import ConfigError, message
from recurra.base.state import State, leaves, map_state, restart
from recurra.data.batch import Batch
from recurra.layers.unit import Unit
from recurra.training.gradient import Model, Objective, between
from recurra.training.online.steps import Memory, masked

__all__ = ["Joint"]

_MOST_BYTES = 8 * 2**30


class Joint:
    """One influence matrix (B, S, P) of a model."""

    def __init__(self, model: Model, objective: Objective) -> None:
        if not isinstance(model, nn.Module):
            raise ConfigError(message("rtrl", f"the model must be a torch module, got {type(model).__name__}"))
        self.model, self.objective = model, objective
        self.learned = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self.fixed = {
            **{name: value for name, value in model.named_parameters() if not value.requires_grad},
            **dict(model.named_buffers()),
        }

    def run(self, part: Batch, state: State, memory: Memory | None) -> tuple[Tensor, int, State, Memory]:
        """Forward and backward over some steps, one by one: summed loss, positions, state and influence after them."""
        rows = part.x.shape[0]
        fresh, origin = self._initial(part)
        if state is None or memory is None:
            state, memory = map_state(Tensor.detach, fresh), (origin,)
        self._check(part)
        (matrix,) = memory
        total, count = torch.zeros((), device=part.x.device), 0
        for t in range(part.x.shape[1]):
            now = between(part, t, t + 1)
            if now.resets is not None:
                state = restart(state, fresh, now.resets[:, 0])
                matrix = masked(origin, matrix, now.resets[:, 0])
            state = map_state(lambda leaf: leaf.detach().requires_grad_(), state)
            outputs, after = self.model(now.x, state, lengths=now.lengths, resets=None)
            loss, positions = self.objective(outputs, now)
            if loss.requires_grad:
                loss.backward()
                signal = torch.cat([_signal(leaf).flatten(1) for leaf in leaves(state)], -1)
                self._add(torch.einsum("bs,bsp->p", signal, matrix))
            within, own = self._derivatives(now.x, state)
            valid = None if now.lengths is None else now.lengths > 0
            matrix = masked(within @ matrix + own, matrix, valid)
            total, count, state = total + loss.detach(), count + positions, map_state(Tensor.detach, after)
        if rows != matrix.shape[0]:
            raise ConfigError(
                message("rtrl", f"the carried influence is of {matrix.shape[0]} rows, the batch of {rows}")
            )
        return total, count, state, (matrix,)

    def _add(self, gradient: Tensor) -> None:
        first = 0
        for value in self.learned.values():
            part = gradient[first : first + value.numel()].view_as(value)
            value.grad = part.clone() if value.grad is None else value.grad + part
            first += value.numel()

    def _derivatives(self, x: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """ds'/ds (B, S, S) and ds'/dtheta (B, S, P)."""
        flat = torch.cat([leaf.detach().flatten(1) for leaf in leaves(state)], -1)

        def step(learned: dict[str, Tensor], row: Tensor, moment: Tensor) -> Tensor:
            _, after = self._call(learned, moment.unsqueeze(0), _rebuilt(row, state), None)
            return torch.cat([leaf.flatten() for leaf in leaves(after)])

        with _reference(self.model):
            found: Any = vmap(jacrev(step, argnums=(0, 1)), in_dims=(None, 0, 0))(
                {name: value.detach() for name, value in self.learned.items()}, flat, x
            )
        own, within = found
        return within.detach(), torch.cat([part.flatten(2) for part in own.values()], -1).detach()

    def _initial(self, part: Batch) -> tuple[State, Tensor]:
        """The initial state of every row, and its influence: that of what it is learned from."""
        rows = part.x.shape[0]
        none = torch.zeros(1, dtype=torch.int64, device=part.x.device)
        kept: list[State] = []

        def start(learned: dict[str, Tensor]) -> Tensor:
            # A row of no length hands its initial state through.
            _, state = self._call(learned, part.x[:1, :1], None, none)
            kept.append(state)
            return torch.cat([leaf.flatten() for leaf in leaves(state)])

        learned = {name: value.detach() for name, value in self.learned.items()}
        with _reference(self.model):
            found: Any = jacrev(start)(learned)
            start(learned)
        matrix = torch.cat([block.flatten(1) for block in found.values()], -1)
        need = rows * matrix.numel() * matrix.element_size()
        if need > _MOST_BYTES:
            fact = f"the influence matrix of {rows} rows x {tuple(matrix.shape)} states and parameters is {need:,} B"
            raise ConfigError(message("rtrl", fact, hint="fewer units or rows, or style snap1, eprop or uoro."))
        state = map_state(lambda leaf: leaf.detach().expand(rows, *leaf.shape[1:]).contiguous(), kept[-1])
        return state, matrix.detach().expand(rows, -1, -1)

    def _call(self, learned: dict[str, Tensor], x: Tensor, state: State, lengths: Tensor | None) -> Any:
        arguments: Any = (x, state)
        return functional_call(self.model, (learned, self.fixed), arguments, {"lengths": lengths, "resets": None})

    def _check(self, part: Batch) -> None:
        """Raises ConfigError for a model that is not a function of its input: dropout draws another mask each step."""
        with torch.no_grad(), torch.random.fork_rng([part.x.device] if part.x.is_cuda else []):
            first, second = (self.model(part.x[:, :1], None, lengths=None, resets=None) for _ in range(2))
        pairs = zip(leaves(first), leaves(second), strict=True)
        if not all(torch.equal(a, b) for a, b in pairs):
            fact = "the model draws random numbers, so its step is not a function that can be differentiated"
            raise ConfigError(message("rtrl", fact, hint="set its dropout to 0."))


def _rebuilt(row: Tensor, like: State) -> State:
    """The state of one row (S,) in the structure of `like`, with B = 1."""
    places: list[int] = [0]

    def take(leaf: Tensor) -> Tensor:
        shape = (1, *leaf.shape[1:])
        first = places[0]
        places[0] += leaf[0].numel()
        return row[first : places[0]].view(shape)

    return map_state(take, like)


def _signal(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


@contextmanager
def _reference(model: nn.Module) -> Generator[None]:
    """Inside the block the layers run as plain torch, which vmap can follow."""
    units = [module for module in model.modules() if isinstance(module, Unit)]
    before = [unit.backend for unit in units]
    for unit in units:
        unit.backend = "reference"
    try:
        yield
    finally:
        for unit, backend in zip(units, before, strict=True):
            unit.backend = backend
