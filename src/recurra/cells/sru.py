"""The simple recurrent unit, first version."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, tanh

__all__ = ["SRU"]


class SRU(Cell):
    """SRU, first version: gates that read only the input, and a highway around the memory.

        f = σ(W_f x + b_f)
        r = σ(W_r x + b_r)
        c' = f ⊙ c + (1 - f) ⊙ W_n x
        h' = r ⊙ tanh(c') + (1 - r) ⊙ W_s x

    x input, h output, c cell state, f forget gate, r reset gate. The highway goes through a product, W_s x, so that the
    widths of input and state may differ; with W_s the identity it is the paper's x. In later versions the gates read c
    as well. Lei and Zhang 2017, arXiv:1709.02755v1.
    """

    states = "h", "c"
    cite = ("lei2017",)

    def step(self, x, h, c, W, b):  # noqa: ARG002 - the output is handed on, not read
        f = sigmoid(W.f @ x + b.f)
        r = sigmoid(W.r @ x + b.r)
        c_next = f * c + (1 - f) * (W.n @ x)
        return r * tanh(c_next) + (1 - r) * (W.s @ x), c_next
