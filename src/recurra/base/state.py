"""A state is a value: a NamedTuple of tensors (B, ...), or tuples of such, handed in and handed out.

Every function maps over the leaves and gives back the same structure. `None` stands for "the initial state" and passes
through unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["detach", "leaves", "map_state", "restart", "stack", "take", "to", "unstack"]

State = Any  # a Tensor, or a (Named)tuple of states; Python's types cannot say "the same structure back"


def map_state(function: Callable[..., Tensor], state: State, *others: State) -> State:
    """Apply `function` to matching leaves of one or more states of the same structure."""
    if state is None:
        return None
    if isinstance(state, Tensor):
        return function(state, *others)
    mapped = [map_state(function, *parts) for parts in zip(state, *others, strict=True)]
    return type(state)(*mapped) if hasattr(state, "_fields") else tuple(mapped)


def leaves(state: State) -> list[Tensor]:
    """The tensors of a state, in order."""
    if state is None:
        return []
    if isinstance(state, Tensor):
        return [state]
    return [leaf for part in state for leaf in leaves(part)]


def detach(state: State) -> State:
    """The same values, cut from the graph: nothing before this point gets a gradient."""
    return map_state(Tensor.detach, state)


def to(state: State, *args: Any, **kwargs: Any) -> State:
    """`Tensor.to` on every leaf."""

    def move(leaf: Tensor) -> Tensor:
        return leaf.to(*args, **kwargs)

    return map_state(move, state)


def take(state: State, rows: Tensor | slice) -> State:
    """The batch rows `rows` of every leaf."""

    def pick(leaf: Tensor) -> Tensor:
        return leaf[rows]

    return map_state(pick, state)


def restart(state: State, fresh: State, rows: Tensor) -> State:
    """`fresh` where `rows` (B,) bool is true, `state` elsewhere; differentiable in both."""

    def choose(old: Tensor, new: Tensor) -> Tensor:
        return torch.where(rows.view(-1, *[1] * (old.dim() - 1)), new, old)

    return map_state(choose, state, fresh)


def stack(states: Sequence[State]) -> State:
    """Many sessions' states as one batch (along B)."""

    def join(*parts: Tensor) -> Tensor:
        return torch.cat(parts)

    return map_state(join, *states)


def unstack(state: State) -> list[State]:
    """One state per batch row, each with B = 1; the inverse of `stack` for such states."""
    size = leaves(state)[0].shape[0]
    return [take(state, slice(row, row + 1)) for row in range(size)]
