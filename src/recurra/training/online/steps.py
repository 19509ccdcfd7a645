"""The steps that a unit has taken since its influence was last brought up to date, and expressions on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from recurra.equations.expr import Expr, make
from recurra.kernels.reference.spelling import evaluate
from recurra.training.online.partials import Partials, cut_leaf

__all__ = ["Influence", "Memory", "Steps", "masked", "values"]

Memory = tuple[Tensor, ...]
"""What is carried from step to step, each (B, ...): of a size that does not depend on how many steps there were."""


class Steps(NamedTuple):
    """n steps of one unit, its weights the same in all of them."""

    x: Tensor
    """Inputs (n, B, I)."""
    before: dict[str, Tensor]
    """The states that each step started from, after any restart, (n, B, size)."""
    params: Mapping[str, Tensor]
    valid: Tensor | None
    """(n, B) bool: false on padding, where nothing moves."""
    restarts: Tensor | None
    """(n, B) bool: the row began anew before the step."""

    def as_rows(self, begin: int, end: int) -> Steps:
        """The steps begin ... end - 1 as rows of one step, a step's rows next to each other."""
        before = {state: part[begin:end].flatten(0, 1)[None] for state, part in self.before.items()}
        return Steps(self.x[begin:end].flatten(0, 1)[None], before, self.params, None, None)

    def leaves(self, partials: Partials, moment: int | None = None) -> dict[Expr, Tensor]:
        """The values of all leaves, at one step (B, size) or at all of them (n, B, size)."""
        here = slice(None) if moment is None else moment
        found: dict[Expr, Tensor] = {partials.input: self.x[here]}
        for state, leaf in partials.leaf.items():
            found[leaf] = found[cut_leaf(state)] = self.before[state][here]
        return found | {make("param", value=name): value for name, value in self.params.items()}


class Influence(Protocol):
    """How much of ds/dtheta is kept, and in which form."""

    def fresh(self, rows: int, like: Tensor) -> Memory:
        """The influence on an initial state."""
        ...

    def sweep(self, memory: Memory, steps: Steps, signal: Tensor) -> tuple[Memory, dict[str, Tensor]]:
        """Through all steps: the influence after them, and the sum over them of signal (n, B, size) times ds/dtheta."""
        ...


def values(roots: Sequence[Expr], leaves: Mapping[Expr, Tensor], shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """The values of `roots`, each spread to its shape: what does not depend on a row stands in all of them."""
    like = next(iter(leaves.values()))
    found = evaluate(roots, leaves)
    return [
        (part if isinstance(part, Tensor) else like.new_tensor(part)).to(like.dtype).expand(shape)
        for part, shape in zip(found, shapes, strict=True)
    ]


def masked(new: Tensor, old: Tensor, rows: Tensor | None) -> Tensor:
    """`new` in the rows (B,) that are true, `old` in the others."""
    return new if rows is None else torch.where(rows.view(-1, *[1] * (new.dim() - 1)), new, old)
