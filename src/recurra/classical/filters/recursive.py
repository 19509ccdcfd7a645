"""Recursive least squares: at every sample the exact minimum of the exponentially weighted squared error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from recurra.classical.filters.adaptive import AdaptiveFilter, Memory, Sample, check_positive, library

__all__ = ["RLS"]


@dataclass(frozen=True, kw_only=True)
class RLS(AdaptiveFilter):
    """Recursive least squares with forgetting (Plackett 1950), kept sound over millions of samples.

        k = P u / (forgetting + u^H P u),   w += e* k,   P = (P - k u^H P) / forgetting

    forgetting: the weight of a sample halves in ln 2 / (1 - forgetting) samples; 1 is ordinary least squares.
    delta: P begins as identity / delta: how firmly the first weights are held, in units of x².
    P is kept Hermitian (what rounding adds to the contrary grows as forgetting^-t), stops growing at 1e10 times its
    start when the input says nothing new (silence, a single tone), and starts again should it stop being positive.
    """

    forgetting: float = 0.999
    delta: float = 1e-3
    takes_complex: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, forgetting=(1.0, True), delta=(math.inf, False))

    @property
    def _most(self) -> float:
        return 1e10 / self.delta

    def _start(self, batch: int, width: int, dtype: np.dtype) -> Memory:
        return (np.tile(np.eye(width, dtype=dtype) / self.delta, (batch, 1, 1)),)

    def _step(self, at: Sample, w: np.ndarray, memory: Memory) -> tuple[np.ndarray, Memory]:
        u, P = at.u, memory[0]
        width = u.shape[-1]
        k = (P @ u[..., None])[..., 0]
        power = (u.conj() * k).sum(-1).real
        trace = np.abs(P.diagonal(axis1=1, axis2=2)).sum(-1)
        lost = ~(power >= 0) | ~(trace > 0)
        if lost.any():
            P = np.where(lost[:, None, None], np.eye(width) / self.delta, P)
            k = np.where(lost[:, None], u / self.delta, k)
            power = np.where(lost, (np.abs(u) ** 2).sum(-1) / self.delta, power)
        share = 1 / (self.forgetting + power)
        grow = np.where(trace < self._most * width, 1 / self.forgetting, 1.0)
        P = grow[:, None, None] * (P - share[:, None, None] * (k[:, :, None] * k.conj()[:, None, :]))
        return w + (share * at.e.conj())[:, None] * k, ((P + P.conj().swapaxes(1, 2)) / 2,)

    def _call(self, kind: str, front: list[Any], memory: list[int]) -> None:
        getattr(library(), f"rls_{kind}")(*front, *memory, self.forgetting, 1 / self.delta, self._most)
