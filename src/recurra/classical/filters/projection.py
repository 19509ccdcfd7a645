"""Affine projection: NLMS that satisfies the latest few equations at once, for strongly correlated inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from recurra.base.errors import DataError, message
from recurra.classical.filters.adaptive import AdaptiveFilter, Memory, Sample, check_positive, library

__all__ = ["AffineProjection"]


@dataclass(frozen=True, kw_only=True)
class AffineProjection(AdaptiveFilter):
    """w += step U (U^H U + eps)^-1 conj(d - w^H U), U the `order` latest regressors (Ozeki and Umeda 1984).

    With order 1 it is NLMS.
    """

    order: int = 5
    step: float = 0.5
    eps: float = 1e-3
    takes_complex: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, step=(2.0, False), eps=(math.inf, False))
        if not isinstance(self.order, int) or self.order < 1:
            raise DataError(message("AffineProjection", f"order must be a whole number from 1 on, got {self.order!r}"))

    def _start(self, batch: int, width: int, dtype: np.dtype) -> Memory:
        return np.zeros((batch, self.order, width), dtype), np.zeros((batch, self.order), dtype)

    def _step(self, at: Sample, w: np.ndarray, memory: Memory) -> tuple[np.ndarray, Memory]:
        past = np.concatenate([at.u[:, None], memory[0][:, :-1]], axis=1)
        wanted = np.concatenate([at.d[:, None], memory[1][:, :-1]], axis=1)
        error = wanted - (w.conj()[:, None] * past).sum(-1)
        square = past.conj() @ past.swapaxes(1, 2) + self.eps * np.eye(self.order)
        share = np.linalg.solve(square, error.conj()[..., None])
        return w + self.step * (past * share).sum(1), (past, wanted)

    def _call(self, kind: str, front: list[Any], memory: list[int]) -> None:
        getattr(library(), f"projection_{kind}")(*front, *memory, self.order, self.step, self.eps)
