"""A readout that learns while the stream runs: recursive least squares, one P for all outputs."""

from __future__ import annotations

import numpy as np
from scipy.linalg import get_blas_funcs

from recurra.base.errors import ConfigError, DataError, message
from recurra.reservoir.ridge import Readout

__all__ = ["RecursiveReadout"]

_dsymv, _dsyr = get_blas_funcs(("symv", "syr"), dtype=np.float64)


class RecursiveReadout:
    """Weights (p, O) that at every step minimise the weighted sum of forgetting^age |error|² + delta |weights|².

        k = P f / (forgetting + f' P f),  w += k (target - w' f)',  P = (P - k f' P) / forgetting

    with P = I / delta at first (Plackett 1950; for reservoirs Jaeger 2003; while the output is fed back it is the FORCE
    rule of Sussillo & Abbott 2009). Without forgetting it is ridge regression with ridge = delta, row by row. Only the
    upper half of P is kept: rounding cannot make it asymmetric, which is what makes the plain recursion explode.
    """

    def __init__(self, features: int, outputs: int, *, forgetting: float = 1.0, delta: float = 1e-6) -> None:
        if not 0 < forgetting <= 1 or not delta > 0:
            fact = f"forgetting must be in (0, 1] and delta above 0, got {forgetting} and {delta}"
            raise ConfigError(message("RecursiveReadout", fact))
        self.forgetting, self.delta = forgetting, delta
        self.weights = np.zeros((features, outputs))
        # Fortran order: the BLAS updates it in place.
        self.P = np.asfortranarray(np.eye(features) / delta)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Outputs (..., O)."""
        return features @ self.weights

    def learn(self, features: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Take in one row, features (p,) and target (O,); gives the error (O,) before it was learnt."""
        f = np.asarray(features, dtype=np.float64)
        error = np.asarray(target, dtype=np.float64) - f @ self.weights
        if not np.isfinite(error).all():
            raise DataError(message("RecursiveReadout.learn", "features, target or weights hold NaN or infinity"))
        along = _dsymv(1.0, self.P, f)
        scale = 1.0 / (self.forgetting + f @ along)
        self.weights += np.outer(along * scale, error)
        self.P = _dsyr(-scale, along, a=self.P, overwrite_a=1)
        # Directions that no input excites would grow without bound.
        if self.forgetting < 1 and np.trace(self.P) < 1e10 / self.delta * len(f):
            self.P /= self.forgetting
        return error

    def readout(self) -> Readout:
        """The weights as they are now."""
        return Readout(self.weights.copy(), np.zeros(self.weights.shape[1]))
