"""The minimal LSTM: no gate sees the state."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid

__all__ = ["MinLSTM"]


class MinLSTM(Cell):
    """minLSTM: gates that read only the input, and that share one unit of weight between the old state and the new.

        f = σ(W_f x + b_f)
        i = σ(W_i x + b_i)
        n = W_n x + b_n
        h' = f / (f + i) ⊙ h + i / (f + i) ⊙ n

    x input, h output and state, f forget gate, i input gate, n candidate. Length-independent scaling: the two weights
    sum to 1. The form of the paper's sections, not the one in log space. Feng et al. 2024, arXiv:2410.01201.
    """

    states = "h"
    cite = ("feng2024",)

    def step(self, x, h, W, b):
        f = sigmoid(W.f @ x + b.f)
        i = sigmoid(W.i @ x + b.i)
        n = W.n @ x + b.n
        return f / (f + i) * h + i / (f + i) * n
