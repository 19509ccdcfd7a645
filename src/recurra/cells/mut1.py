"""The first mutant of Jozefowicz of the architecture search of 2015."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, tanh

__all__ = ["MUT1"]


class MUT1(Cell):
    """MUT1, the best of the evolved cells: the update gate sees the input only.

        z = σ(W_z x + b_z)
        r = σ(W_r x + U_r h + b_r)
        n = tanh(tanh(W_n x) + U_n (r ⊙ h) + b_n)
        h' = z ⊙ n + (1 - z) ⊙ h

    x input, h output and state, z update gate (1 takes the candidate n), r reset gate. The paper squashes the input
    itself, tanh(x_t), which only an input as wide as the state allows; here W_n starts as the identity, and while it
    stays that it is the paper's cell. Jozefowicz, Zaremba and Sutskever 2015, ICML (PMLR 37:2342).
    """

    states = "h"
    initial = {"W.n": "identity"}
    cite = ("jozefowicz2015",)

    def step(self, x, h, W, U, b):
        z = sigmoid(W.z @ x + b.z)
        r = sigmoid(W.r @ x + U.r @ h + b.r)
        n = tanh(tanh(W.n @ x) + U.n @ (r * h) + b.n)
        return z * n + (1 - z) * h
