"""The gated recurrent unit of torch and cuDNN."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, tanh

__all__ = ["GRU"]


class GRU(Cell):
    """GRU, reset after the recurrent product: the variant of torch, cuDNN and Keras (`reset_after=True`).

        r = σ(W_r x + U_r h + b_r)
        z = σ(W_z x + U_z h + b_z)
        n = tanh(W_n x + b_n + r ⊙ (U_n h + a_n))
        h' = (1 - z) ⊙ n + z ⊙ h

    x input, h output and state, r reset gate, z update gate, a the bias inside the reset. Sign convention: z = 1 keeps
    the old state (in `gru_v1` it takes the candidate). Cho et al. 2014, arXiv:1406.1078v1.
    """

    states = "h"
    cite = ("cho2014",)

    def step(self, x, h, W, U, b, a):
        r = sigmoid(W.r @ x + U.r @ h + b.r)
        z = sigmoid(W.z @ x + U.z @ h + b.z)
        n = tanh(W.n @ x + b.n + r * (U.n @ h + a.n))
        return (1 - z) * n + z * h
