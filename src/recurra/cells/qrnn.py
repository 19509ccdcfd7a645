"""The quasi-recurrent network with a window of two."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, tanh

__all__ = ["QRNN"]


class QRNN(Cell):
    """QRNN: a convolution over two steps of the input, then pooling with forget and output gate (fo-pooling).

        z = tanh(V_z p + W_z x + b_z)
        f = σ(V_f p + W_f x + b_f)
        o = σ(V_o p + W_o x + b_o)
        c' = f ⊙ c + (1 - f) ⊙ z
        h' = o ⊙ c'
        p' = x

    x input, p the input before, h output, c cell state, z candidate, f, o forget and output gate. The filters V, W are
    those of a masked convolution of width 2. Bradbury et al. 2016, arXiv:1611.01576.
    """

    states = "h", "c", "p"
    axes = {"p": "I"}
    cite = ("bradbury2016",)

    def step(self, x, h, c, p, V, W, b):  # noqa: ARG002 - the output is handed on, not read
        z = tanh(V.z @ p + W.z @ x + b.z)
        f = sigmoid(V.f @ p + W.f @ x + b.f)
        o = sigmoid(V.o @ p + W.o @ x + b.o)
        c_next = f * c + (1 - f) * z
        return o * c_next, c_next, x
