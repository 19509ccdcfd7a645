"""The first LSTM."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid

__all__ = ["LSTM1997"]


class LSTM1997(Cell):
    """The LSTM of 1997: no forget gate, so that the error inside a cell flows back unchanged.

        i = σ(W_i x + U_i h + b_i)
        o = σ(W_o x + U_o h + b_o)
        c' = c + i ⊙ (4 σ(W_g x + U_g h + b_g) - 2)
        h' = o ⊙ (2 σ(c') - 1)

    x input, h output, c cell state. Memory blocks of one cell each; what is written lies in (-2, 2), what is read in
    (-1, 1). The paper truncates the gradient at the gates; here it is whole. Its experiments start b_i or b_o below
    0, which keeps the gates shut at first. Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735.
    """

    states = "h", "c"
    cite = ("hochreiter1997",)

    def step(self, x, h, c, W, U, b):
        i = sigmoid(W.i @ x + U.i @ h + b.i)
        o = sigmoid(W.o @ x + U.o @ h + b.o)
        c_next = c + i * (4 * sigmoid(W.g @ x + U.g @ h + b.g) - 2)
        return o * (2 * sigmoid(c_next) - 1), c_next
