"""What a layer asks of a backend: one spec, one direction, one sequence batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from recurra.equations.spec import CellSpec

__all__ = ["Backend", "FusedLayout", "Request"]


@dataclass(frozen=True)
class FusedLayout:
    """The torch operator that computes this very spec, with the parameters in its order (None: zeros)."""

    operator: str
    input_weights: tuple[str, ...]
    recurrent_weights: tuple[str, ...]
    biases: tuple[str, ...]
    inner_biases: tuple[str | None, ...]
    # Per gate slot: the value at which that gate makes the operator keep its state, None where it has no say.
    hold: tuple[int | None, ...]


@dataclass(frozen=True)
class Request:
    """Run `spec` over x (B, T, I) from `state`, forward in time.

    state, initial: one tensor (B, size) per state; `initial` is what a reset goes back to.
    lengths: (B,) int64 or None; from there on the state stands still and the output is 0; x is 0 there.
    resets: (B, T) bool or None; true restarts the row before it reads step t.
    recompute: keep only the states for the gradient and compute the rest again; backends that cannot do not.
    extras: per name of spec.extras, (B, size) or broadcastable for all steps, or (T, B, size) one per step.
    """

    spec: CellSpec
    params: Mapping[str, Tensor]
    x: Tensor
    state: tuple[Tensor, ...]
    initial: tuple[Tensor, ...]
    lengths: Tensor | None = None
    resets: Tensor | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    fused: FusedLayout | None = None
    recompute: bool = False


class Backend(Protocol):
    """A way to run requests."""

    name: str

    def refuses(self, request: Request, /) -> str | None:
        """Why this backend cannot run the request; None when it can."""
        ...

    def run(self, request: Request, /) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Outputs (B, T, size) and the final state."""
        ...
