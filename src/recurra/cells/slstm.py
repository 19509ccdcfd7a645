"""The scalar LSTM of xLSTM, with exponential gates."""

from recurra.equations.cell import Cell
from recurra.equations.functions import exp, maximum, minimum, sigmoid, softplus, tanh, where

__all__ = ["SLSTM"]


class SLSTM(Cell):
    """sLSTM of xLSTM: an exponential input gate, a normaliser n, and a stabiliser m that keeps exp from overflowing.

        k = W_i x + U_i h + b_i
        d = m - softplus(-(W_f x + U_f h + b_f))
        m' = where([0 < n], max(d, k), k)
        i = exp(k - m')
        f = exp(min(d - m', 0))
        c' = f ⊙ c + i ⊙ tanh(W_z x + U_z h + b_z)
        n' = f ⊙ n + i
        h' = σ(W_o x + U_o h + b_o) ⊙ c' / n'

    x input, h output, c cell state; k is the logarithm of the input gate, d that of the forget gate plus m. The forget
    gate is a sigmoid, whose logarithm is -softplus(-a). From the state of zeros nothing has been stored yet, n = 0,
    and m' begins at k, as in the authors' code; f, which then meets zeros only, must not overflow either. One head: U
    is whole, where the paper's is block-diagonal. The forget bias starts at 1. Beck et al. 2024, arXiv:2405.04517, eq.
    8 to 17.
    """

    states = "h", "c", "n", "m"
    initial = {"b.f": 1.0}
    cite = ("beck2024",)

    def step(self, x, h, c, n, m, W, U, b):
        k = W.i @ x + U.i @ h + b.i
        d = m - softplus(-(W.f @ x + U.f @ h + b.f))
        m_next = where(n > 0, maximum(d, k), k)
        i = exp(k - m_next)
        f = exp(minimum(d - m_next, 0))
        c_next = f * c + i * tanh(W.z @ x + U.z @ h + b.z)
        n_next = f * n + i
        return sigmoid(W.o @ x + U.o @ h + b.o) * c_next / n_next, c_next, n_next, m_next
