"""The long short-term memory in common use."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, tanh

__all__ = ["LSTM"]


class LSTM(Cell):
    """LSTM with forget gate and without peepholes, as in torch, Keras and cuDNN.

        i = σ(W_i x + U_i h + b_i)
        f = σ(W_f x + U_f h + b_f)
        g = tanh(W_g x + U_g h + b_g)
        o = σ(W_o x + U_o h + b_o)
        c' = f ⊙ c + i ⊙ g
        h' = o ⊙ tanh(c')

    x input, h output, c cell state; i, f, o input, forget and output gate. The forget bias starts at 1. Hochreiter and
    Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; forget gate: Gers et al. 2000, doi:10.1162/089976600300015015.
    """

    states = "h", "c"
    initial = {"b.f": 1.0}
    cite = ("hochreiter1997", "gers2000")

    def step(self, x, h, c, W, U, b):
        i = sigmoid(W.i @ x + U.i @ h + b.i)
        f = sigmoid(W.f @ x + U.f @ h + b.f)
        g = tanh(W.g @ x + U.g @ h + b.g)
        o = sigmoid(W.o @ x + U.o @ h + b.o)
        c_next = f * c + i * g
        return o * tanh(c_next), c_next
