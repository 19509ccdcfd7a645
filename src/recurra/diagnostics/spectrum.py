"""Eigenvalues of the matrices that carry the state from step to step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recurra.base.errors import ShapeError, message

__all__ = ["spectral_radius", "spectrum", "step_spectrum"]


def spectrum(matrices: Mapping[str, Tensor]) -> dict[str, NDArray[np.complex128]]:
    """The eigenvalues of each (H, H) matrix, largest modulus first, by the matrix's name.

    Pass `layer.recurrent_matrices()`. Computed in float64 by LAPACK's geev. For a plain RNN, eigenvalues outside the
    unit circle mean that gradients can explode, all well inside that they vanish (Pascanu, Mikolov and Bengio, On the
    difficulty of training recurrent neural networks, 2013); gates loosen that bond, which is what they are for.
    """
    found: dict[str, NDArray[np.complex128]] = {}
    for name, matrix in matrices.items():
        if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ShapeError(message("spectrum", f"{name} must be (H, H), got {tuple(matrix.shape)}"))
        values = np.linalg.eigvals(matrix.detach().double().cpu().numpy()).astype(np.complex128)
        found[name] = values[np.argsort(-np.abs(values), kind="stable")]
    return found


def step_spectrum(jacobians: NDArray[np.float64]) -> NDArray[np.complex128]:
    """The eigenvalues of the linearised step at each data point, (T, S), largest modulus first.

    jacobians: (T, S, S) from `recurra.diagnostics.jacobian`. Unlike those of the recurrent matrix they contain the
    gates and the slopes of the nonlinearities where the data drives them.
    """
    if jacobians.ndim != 3 or jacobians.shape[1] != jacobians.shape[2]:
        raise ShapeError(message("step_spectrum", f"jacobians must be (T, S, S), got {jacobians.shape}"))
    values = np.linalg.eigvals(jacobians).astype(np.complex128)
    return np.take_along_axis(values, np.argsort(-np.abs(values), axis=1, kind="stable"), 1)


def spectral_radius(eigenvalues: NDArray[np.complex128]) -> float:
    """The largest modulus; 0 for no eigenvalues."""
    return float(np.abs(eigenvalues).max(initial=0.0))
