"""The LSTM that only forgets."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, tanh

__all__ = ["JANET"]


class JANET(Cell):
    """JANET, just another network: an LSTM reduced to its forget gate, which writes a little more than it forgets.

        s = W_f x + U_f h + b_f
        h' = σ(s) ⊙ h + (1 - σ(s - 1)) ⊙ tanh(W_n x + U_n h + b_n)

    x input, h output and state, s before the gate; 1 is the paper's beta. The forget bias starts at 1; for memories of
    up to T steps the paper draws it as log U(1, T - 1): `initializers={"b.f": math.log(T / 2)}` is near that. Van der
    Westhuizen and Lasenby 2018, arXiv:1804.04849.
    """

    states = "h"
    initial = {"b.f": 1.0}
    cite = ("van2018",)

    def step(self, x, h, W, U, b):
        s = W.f @ x + U.f @ h + b.f
        return sigmoid(s) * h + (1 - sigmoid(s - 1)) * tanh(W.n @ x + U.n @ h + b.n)
