"""Spectra of matrices whose eigenvalues are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.base.errors import ShapeError
from recurra.diagnostics.spectrum import spectral_radius, spectrum


def test_a_rotation_and_a_diagonal() -> None:
    angle = torch.tensor(0.3)
    rotation = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    found = spectrum({"rotation": rotation, "diagonal": torch.diag(torch.tensor([0.1, -2.0, 0.5]))})
    np.testing.assert_allclose(sorted(np.angle(found["rotation"])), [-0.3, 0.3], atol=1e-7)
    np.testing.assert_allclose(found["diagonal"], [-2.0, 0.5, 0.1], rtol=1e-7)
    assert spectral_radius(found["diagonal"]) == pytest.approx(2.0)
    assert spectral_radius(np.zeros(0, dtype=complex)) == 0


def test_a_matrix_that_is_not_square_is_named() -> None:
    with pytest.raises(ShapeError, match=r"layer 0 U must be \(H, H\), got \(2, 3\)"):
        spectrum({"layer 0 U": torch.zeros(2, 3)})
