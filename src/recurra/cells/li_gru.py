"""The light GRU of speech recognition."""

from recurra.equations.cell import Cell
from recurra.equations.functions import relu, sigmoid

__all__ = ["LiGRU"]


class LiGRU(Cell):
    """Light GRU: no reset gate, and a rectified candidate.

        z = σ(W_z x + U_z h + b_z)
        n = relu(W_n x + U_n h + b_n)
        h' = z ⊙ h + (1 - z) ⊙ n

    x input, h output and state, z update gate (1 keeps h). Made for batch normalisation of the input products, which
    keeps the rectified state in bounds: `recurra.layers.normalisation.InputBatchNorm("li_gru", ...)`. Ravanelli et al.
    2018, arXiv:1803.10225.
    """

    states = "h"
    cite = ("ravanelli2018",)

    def step(self, x, h, W, U, b):
        z = sigmoid(W.z @ x + U.z @ h + b.z)
        n = relu(W.n @ x + U.n @ h + b.n)
        return z * h + (1 - z) * n
