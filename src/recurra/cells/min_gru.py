"""The minimal GRU: no gate sees the state."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid

__all__ = ["MinGRU"]


class MinGRU(Cell):
    """minGRU: a GRU whose gate and candidate read only the input, so that all time steps are computed at once.

        z = σ(W_z x + b_z)
        n = W_n x + b_n
        h' = (1 - z) ⊙ h + z ⊙ n

    x input, h output and state, z update gate, n candidate. z = 1 takes the candidate, as in `gru_v1`. The form of the
    paper's sections, not the one in log space, whose candidates are positive. Feng et al. 2024, arXiv:2410.01201.
    """

    states = "h"
    cite = ("feng2024",)

    def step(self, x, h, W, b):
        z = sigmoid(W.z @ x + b.z)
        n = W.n @ x + b.n
        return (1 - z) * h + z * n
