"""The LSTM whose transition depends on the input."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, tanh

__all__ = ["MultiplicativeLSTM"]


class MultiplicativeLSTM(Cell):
    """Multiplicative LSTM: the gates read h through a product with the input, so each input has its own transition.

        m = W_m x ⊙ U_m h
        i = σ(W_i x + V_i m + b_i)
        f = σ(W_f x + V_f m + b_f)
        g = tanh(W_g x + V_g m + b_g)
        o = σ(W_o x + V_o m + b_o)
        c' = f ⊙ c + i ⊙ g
        h' = o ⊙ tanh(c')

    x input, h output, c cell state, m the intermediate state. The forget bias starts at 1. Krause, Lu, Murray and
    Renals 2016, arXiv:1609.07959.
    """

    states = "h", "c"
    initial = {"b.f": 1.0}
    cite = ("krause2016",)

    def step(self, x, h, c, W, U, V, b):
        m = (W.m @ x) * (U.m @ h)
        i = sigmoid(W.i @ x + V.i @ m + b.i)
        f = sigmoid(W.f @ x + V.f @ m + b.f)
        g = tanh(W.g @ x + V.g @ m + b.g)
        o = sigmoid(W.o @ x + V.o @ m + b.o)
        c_next = f * c + i * g
        return o * tanh(c_next), c_next
