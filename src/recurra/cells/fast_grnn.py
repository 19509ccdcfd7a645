"""The gated cell with one pair of matrices."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, tanh

__all__ = ["FastGRNN"]


class FastGRNN(Cell):
    """FastGRNN: gate and candidate share W and U, so that a model of a few kilobytes will do.

        a = W x + U h
        z = σ(a + b_z)
        h' = (σ(s_zeta) ⊙ (1 - z) + σ(s_nu)) ⊙ tanh(a + b_n) + z ⊙ h

    x input, h output and state, z the gate (1 keeps h). The paper's scalars zeta and nu, in 0 to 1, are one per unit
    here, σ of parameters that start at 1 and -4 as in the authors' code. Kusupati et al. 2018, arXiv:1901.02358.
    """

    states = "h"
    initial = {"s.zeta": 1.0, "s.nu": -4.0}
    cite = ("kusupati2018",)

    def step(self, x, h, W, U, b, s):
        a = W @ x + U @ h
        z = sigmoid(a + b.z)
        return (sigmoid(s.zeta) * (1 - z) + sigmoid(s.nu)) * tanh(a + b.n) + z * h
