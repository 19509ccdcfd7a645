"""The gated unit with a single gate."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, tanh

__all__ = ["MinimalGatedUnit"]


class MinimalGatedUnit(Cell):
    """Minimal gated unit: one gate both forgets and resets.

        f = σ(W_f x + U_f h + b_f)
        n = tanh(W_n x + U_n (f ⊙ h) + b_n)
        h' = (1 - f) ⊙ h + f ⊙ n

    x input, h output and state, f the gate: 1 takes the candidate n. Zhou et al. 2016, arXiv:1603.09420.
    """

    states = "h"
    cite = ("zhou2016",)

    def step(self, x, h, W, U, b):
        f = sigmoid(W.f @ x + U.f @ h + b.f)
        n = tanh(W.n @ x + U.n @ (f * h) + b.n)
        return (1 - f) * h + f * n
