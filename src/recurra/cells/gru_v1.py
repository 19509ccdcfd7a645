"""The gated recurrent unit as published."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, tanh

__all__ = ["GRUv1"]


class GRUv1(Cell):
    """GRU, reset before the recurrent product: as published, and as the lectures print it.

        r = σ(W_r x + U_r h + b_r)
        z = σ(W_z x + U_z h + b_z)
        n = tanh(W_n x + U_n (r ⊙ h) + b_n)
        h' = (1 - z) ⊙ h + z ⊙ n

    x input, h output and state, r reset gate, z update gate. Sign convention: z = 1 takes the candidate n and z = 0
    keeps the old state, as in Chung et al. 2014, arXiv:1412.3555; `gru` (torch), ONNX and Cho et al. 2014,
    arXiv:1406.1078v3, have 1 - z in its place, which is the same cell with W_z, U_z and b_z negated.
    """

    states = "h"
    cite = ("chung2014", "cho2014")

    def step(self, x, h, W, U, b):
        r = sigmoid(W.r @ x + U.r @ h + b.r)
        z = sigmoid(W.z @ x + U.z @ h + b.z)
        n = tanh(W.n @ x + U.n @ (r * h) + b.n)
        return (1 - z) * h + z * n
