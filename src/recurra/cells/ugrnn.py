"""The gated unit with an update gate only."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, tanh

__all__ = ["UGRNN"]


class UGRNN(Cell):
    """Update-gate net: a vanilla net with one gate that keeps or takes, the easiest gated cell to train.

        u = σ(W_u x + U_u h + b_u)
        h' = u ⊙ h + (1 - u) ⊙ tanh(W_n x + U_n h + b_n)

    x input, h output and state, u update gate (1 keeps h), whose bias starts at 1. Collins, Sohl-Dickstein and Sussillo
    2016, arXiv:1611.09913.
    """

    states = "h"
    initial = {"b.u": 1.0}
    cite = ("collins2016",)

    def step(self, x, h, W, U, b):
        u = sigmoid(W.u @ x + U.u @ h + b.u)
        return u * h + (1 - u) * tanh(W.n @ x + U.n @ h + b.n)
