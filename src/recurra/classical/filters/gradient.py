"""Filters that follow the instantaneous gradient: LMS and what differs from it in the error, the data or the step.

    w <- (1 - step * leak) w + step / norm * conj(f(e)) g(u)

The step multiplies e u; Widrow's 2 mu is our step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from recurra.base.errors import DataError, message
from recurra.classical.filters.adaptive import AdaptiveFilter, Memory, Sample, check_positive, library

__all__ = [
    "GMCC",
    "LMF",
    "LMS",
    "NLMF",
    "NLMS",
    "Llncosh",
    "NormalizedSignSignLMS",
    "SignDataLMS",
    "SignErrorLMS",
    "SignSignLMS",
]

_RULES = {"plain": 0, "sign": 1, "cube": 2, "tanh": 3, "correntropy": 4}


@dataclass(frozen=True, kw_only=True)
class _Gradient(AdaptiveFilter):
    """One rule for all of them; a subclass says which error, which data, and whether the step is normalised."""

    step: float = 0.01
    leak: float = 0.0
    rule: ClassVar[str] = "plain"
    by_sign: ClassVar[bool] = False
    normalized: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, step=(math.inf, False))
        if not 0 <= self.leak * self.step < 1:
            fact = f"leak must be from 0 to below 1 / step = {1 / self.step:g}, got {self.leak!r}"
            raise DataError(message(type(self).__name__, fact))

    @property
    def _eps(self) -> float:
        return float(getattr(self, "eps", 0.0))

    @property
    def _shape(self) -> tuple[float, float]:
        """The parameters of f."""
        return 0.0, 0.0

    def _shaped(self, e: np.ndarray) -> np.ndarray:
        return e

    def _start(self, batch: int, width: int, dtype: np.dtype) -> Memory:  # noqa: ARG002
        return ()

    def _step(self, at: Sample, w: np.ndarray, memory: Memory) -> tuple[np.ndarray, Memory]:
        u = at.u
        size = self.step / (self._eps + (np.abs(u) ** 2).sum(-1)) if self.normalized else self.step
        move = (size * self._shaped(at.e).conj())[:, None] * (np.sign(u) if self.by_sign else u)
        return (1 - self.step * self.leak) * w + move, memory

    def _call(self, kind: str, front: list[Any], memory: list[int]) -> None:  # noqa: ARG002
        settings = [_RULES[self.rule], int(self.normalized), self.step, self._eps, 1 - self.step * self.leak]
        if self.by_sign:
            library().sign_data_real(*front, *settings)  # pyright: ignore[reportOptionalMemberAccess]
        else:
            getattr(library(), f"gradient_{kind}")(*front, *settings, *self._shape)


@dataclass(frozen=True, kw_only=True)
class LMS(_Gradient):
    """Least mean squares, w += step e* u (Widrow and Hoff 1960, "Adaptive switching circuits": the Adaline).

    step: stable in the mean square below 2 / ((N + 2) s²) for white Gaussian regressors of variance s²;
    `step_bounds` says it for yours. leak: w is drawn to 0 by that much per unit of step (leaky LMS).

    >>> x = np.random.default_rng(0).normal(size=2000)
    >>> d = np.convolve(x, [0.5, -0.3, 0.2])[:2000]
    >>> out, state = LMS(taps=3, step=0.05)(x, d)
    >>> [round(float(w), 6) for w in state.weights[0]]
    [0.5, -0.3, 0.2]
    """

    takes_complex: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class NLMS(_Gradient):
    """Normalised LMS, w += step e* u / (eps + |u|²), stable for 0 < step < 2 (Nagumo and Noda 1967)."""

    step: float = 0.5
    eps: float = 1e-3
    normalized: ClassVar[bool] = True
    takes_complex: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class SignErrorLMS(_Gradient):
    """w += step sign(e) u: the least mean absolute error; one burst moves it no further than one step."""

    rule: ClassVar[str] = "sign"

    def _shaped(self, e: np.ndarray) -> np.ndarray:
        return np.sign(e)


@dataclass(frozen=True, kw_only=True)
class SignDataLMS(_Gradient):
    """w += step e sign(u): LMS without a product in the update."""

    by_sign: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class SignSignLMS(SignErrorLMS):
    """w += step sign(e) sign(u) (Lucky 1966); padasip's SSLMS."""

    by_sign: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class NormalizedSignSignLMS(SignSignLMS):
    """w += step sign(e) sign(u) / (eps + |u|²); padasip's NSSLMS."""

    eps: float = 1e-3
    normalized: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class LMF(_Gradient):
    """Least mean fourth, w += step e³ u (Walach and Widrow 1984): for noise with short tails. Keep the step small."""

    rule: ClassVar[str] = "cube"

    def _shaped(self, e: np.ndarray) -> np.ndarray:
        return e**3


@dataclass(frozen=True, kw_only=True)
class NLMF(LMF):
    """Normalised least mean fourth, w += step e³ u / (eps + |u|²)."""

    step: float = 0.1
    eps: float = 1e-3
    normalized: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class Llncosh(_Gradient):
    """Least log of the hyperbolic cosine, w += step tanh(sharpness e) u (Liu et al. 2019): robust to outliers."""

    sharpness: float = 3.0
    rule: ClassVar[str] = "tanh"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, sharpness=(math.inf, False))

    @property
    def _shape(self) -> tuple[float, float]:
        return self.sharpness, 0.0

    def _shaped(self, e: np.ndarray) -> np.ndarray:
        return np.tanh(self.sharpness * e)


@dataclass(frozen=True, kw_only=True)
class GMCC(_Gradient):
    """Generalised maximum correntropy (Chen et al. 2016): an outlier hardly moves the weights.

    f(e) = kernel power exp(-kernel |e|^power) |e|^(power - 1) sign(e)
    """

    kernel: float = 0.03
    power: float = 2.0
    rule: ClassVar[str] = "correntropy"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, kernel=(math.inf, False))
        if not 1 <= self.power < math.inf:
            raise DataError(message("GMCC", f"power must be from 1 on, got {self.power!r}"))

    @property
    def _shape(self) -> tuple[float, float]:
        return self.kernel, self.power

    def _shaped(self, e: np.ndarray) -> np.ndarray:
        size = np.abs(e)
        weight = self.kernel * self.power * np.exp(-self.kernel * size**self.power)
        return weight * size ** (self.power - 1) * np.sign(e)
