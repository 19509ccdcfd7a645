"""LMS filters that set their own step: the generalised normalised gradient, and three rules for a variable step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from recurra.classical.filters.adaptive import AdaptiveFilter, Memory, Sample, check_positive, library

__all__ = ["GNGD", "AngLMS", "BenvenisteLMS", "MathewsLMS"]


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(-1)


@dataclass(frozen=True, kw_only=True)
class GNGD(AdaptiveFilter):
    """Generalised normalised gradient descent: NLMS whose eps follows the gradient (Mandic 2004).

    step: as for NLMS. eps: where it begins. rate: how fast it moves.
    """

    step: float = 1.0
    eps: float = 1.0
    rate: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, step=(math.inf, False), eps=(math.inf, False), rate=(math.inf, False))

    def _start(self, batch: int, width: int, dtype: np.dtype) -> Memory:  # noqa: ARG002
        return np.zeros((batch, width)), np.tile([self.eps, 0.0], (batch, 1))

    def _step(self, at: Sample, w: np.ndarray, memory: Memory) -> tuple[np.ndarray, Memory]:
        u, e = at.u, at.e
        last, (eps, last_e) = memory[0], memory[1].T
        eps = eps - self.rate * self.step * e * last_e * _dot(u, last) / (_dot(last, last) + eps) ** 2
        size = self.step / (eps + _dot(u, u))
        return w + (size * e)[:, None] * u, (u.copy(), np.stack([eps, e], axis=-1))

    def _call(self, kind: str, front: list[Any], memory: list[int]) -> None:
        getattr(library(), f"gngd_{kind}")(*front, *memory, self.step, self.rate)


@dataclass(frozen=True, kw_only=True)
class _VariableStep(AdaptiveFilter):
    """LMS with a step of its own for each sample; step: where it begins; rate: how fast it moves."""

    step: float = 0.01
    rate: float = 1e-4
    rule: ClassVar[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, step=(math.inf, False), rate=(math.inf, False))

    def _start(self, batch: int, width: int, dtype: np.dtype) -> Memory:  # noqa: ARG002
        return np.zeros((batch, width)), np.zeros((batch, width)), np.tile([self.step, 0.0], (batch, 1))

    def _trend(self, last: np.ndarray, trend: np.ndarray, step: np.ndarray, last_e: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _step(self, at: Sample, w: np.ndarray, memory: Memory) -> tuple[np.ndarray, Memory]:
        u, e = at.u, at.e
        last, trend, (step, last_e) = memory[0], memory[1], memory[2].T
        if self.rule == MathewsLMS.rule:
            step = step + self.rate * e * last_e * _dot(last, u)
        else:
            trend = self._trend(last, trend, step, last_e)
            step = step + self.rate * e * _dot(last, trend)
        return w + (step * e)[:, None] * u, (u.copy(), trend, np.stack([step, e], axis=-1))

    def _call(self, kind: str, front: list[Any], memory: list[int]) -> None:
        decay = float(getattr(self, "decay", 0.0))
        getattr(library(), f"variable_step_{kind}")(*front, *memory, self.rule, self.rate, decay)


@dataclass(frozen=True, kw_only=True)
class MathewsLMS(_VariableStep):
    """LMS with Mathews and Xie's (1993) step: it grows while errors of neighbouring samples agree."""

    rule: ClassVar[int] = 0


@dataclass(frozen=True, kw_only=True)
class AngLMS(_VariableStep):
    """LMS with Ang and Farhang-Boroujeny's (2001) step; decay: how long a gradient is remembered."""

    decay: float = 0.95
    rule: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, decay=(1.0, False))

    def _trend(self, last: np.ndarray, trend: np.ndarray, step: np.ndarray, last_e: np.ndarray) -> np.ndarray:  # noqa: ARG002
        return self.decay * trend + last_e[:, None] * last


@dataclass(frozen=True, kw_only=True)
class BenvenisteLMS(_VariableStep):
    """LMS with Benveniste, Métivier and Priouret's (1990) step: the exact derivative by the step."""

    rule: ClassVar[int] = 2

    def _trend(self, last: np.ndarray, trend: np.ndarray, step: np.ndarray, last_e: np.ndarray) -> np.ndarray:
        return trend + (last_e - step * _dot(last, trend))[:, None] * last
