"""The second mutant of the architecture search of 2015."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, tanh

__all__ = ["MUT2"]


class MUT2(Cell):
    """MUT2, an evolved cell: a GRU whose reset gate adds the input itself.

        z = σ(W_z x + U_z h + b_z)
        r = σ(W_r x + U_r h + b_r)
        n = tanh(W_n x + U_n (r ⊙ h) + b_n)
        h' = z ⊙ n + (1 - z) ⊙ h

    x input, h output and state, z update gate (1 takes the candidate n), r reset gate. The paper adds x_t to the reset
    gate without a matrix, which only an input as wide as the state allows; here W_r starts as the identity, and while
    it stays that it is the paper's cell. Learned, it makes the cell `gru_v1` to the letter. Jozefowicz, Zaremba and
    Sutskever 2015, ICML (PMLR 37:2342).
    """

    states = "h"
    initial = {"W.r": "identity"}
    cite = ("jozefowicz2015",)

    def step(self, x, h, W, U, b):
        z = sigmoid(W.z @ x + U.z @ h + b.z)
        r = sigmoid(W.r @ x + U.r @ h + b.r)
        n = tanh(W.n @ x + U.n @ (r * h) + b.n)
        return z * n + (1 - z) * h
