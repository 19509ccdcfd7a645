"""The LSTM with one gate for forgetting and writing."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, tanh

__all__ = ["CoupledLSTM"]


class CoupledLSTM(Cell):
    """LSTM with coupled gates (CIFG): what is forgotten is what is written, input gate = 1 - forget gate.

        f = σ(W_f x + U_f h + b_f)
        g = tanh(W_g x + U_g h + b_g)
        o = σ(W_o x + U_o h + b_o)
        c' = f ⊙ c + (1 - f) ⊙ g
        h' = o ⊙ tanh(c')

    x input, h output, c cell state. The forget bias starts at 1. Greff et al. 2017, arXiv:1503.04069 (variant CIFG).
    ONNX (`input_forget=1`) couples the other way round, f = 1 - i: the same cell with W, U and b of the gate negated.
    """

    states = "h", "c"
    initial = {"b.f": 1.0}
    cite = ("greff2017",)

    def step(self, x, h, c, W, U, b):
        f = sigmoid(W.f @ x + U.f @ h + b.f)
        g = tanh(W.g @ x + U.g @ h + b.g)
        o = sigmoid(W.o @ x + U.o @ h + b.o)
        c_next = f * c + (1 - f) * g
        return o * tanh(c_next), c_next
