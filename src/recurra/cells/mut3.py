"""The third mutant of the architecture search of 2015."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, tanh

__all__ = ["MUT3"]


class MUT3(Cell):
    """MUT3, an evolved cell: a GRU whose update gate sees the squashed state.

        z = σ(W_z x + U_z tanh(h) + b_z)
        r = σ(W_r x + U_r h + b_r)
        n = tanh(W_n x + U_n (r ⊙ h) + b_n)
        h' = z ⊙ n + (1 - z) ⊙ h

    x input, h output and state, z update gate (1 takes the candidate n), r reset gate. Jozefowicz, Zaremba and
    Sutskever 2015, ICML (PMLR 37:2342).
    """

    states = "h"
    cite = ("jozefowicz2015",)

    def step(self, x, h, W, U, b):
        z = sigmoid(W.z @ x + U.z @ tanh(h) + b.z)
        r = sigmoid(W.r @ x + U.r @ h + b.r)
        n = tanh(W.n @ x + U.n @ (r * h) + b.n)
        return z * n + (1 - z) * h
