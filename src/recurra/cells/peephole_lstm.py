"""The LSTM whose gates see the cell state."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, tanh

__all__ = ["PeepholeLSTM"]


class PeepholeLSTM(Cell):
    """LSTM with peepholes: the input and forget gate see c, the output gate sees the new c'.

        i = σ(W_i x + U_i h + p_i ⊙ c + b_i)
        f = σ(W_f x + U_f h + p_f ⊙ c + b_f)
        c' = f ⊙ c + i ⊙ tanh(W_g x + U_g h + b_g)
        o = σ(W_o x + U_o h + p_o ⊙ c' + b_o)
        h' = o ⊙ tanh(c')

    x input, h output, c cell state, p peephole weights. The forget bias starts at 1. Gers, Schraudolph and Schmidhuber
    2002, J. Mach. Learn. Res. 3:115; Graves 2013, arXiv:1308.0850.
    """

    states = "h", "c"
    initial = {"b.f": 1.0}
    cite = ("gers2002", "graves2013")

    def step(self, x, h, c, W, U, p, b):
        i = sigmoid(W.i @ x + U.i @ h + p.i * c + b.i)
        f = sigmoid(W.f @ x + U.f @ h + p.f * c + b.f)
        c_next = f * c + i * tanh(W.g @ x + U.g @ h + b.g)
        o = sigmoid(W.o @ x + U.o @ h + p.o * c_next + b.o)
        return o * tanh(c_next), c_next
