"""The LSTM whose gates also see the gates of the step before."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, tanh

__all__ = ["FullRecurrenceLSTM"]


class FullRecurrenceLSTM(Cell):
    """Peephole LSTM with full gate recurrence (FGR): every gate also reads all three gates of the step before.

        i' = σ(W_i x + U_i h + p_i ⊙ c + R_ii i + R_fi f + R_oi o + b_i)
        f' = σ(W_f x + U_f h + p_f ⊙ c + R_if i + R_ff f + R_of o + b_f)
        c' = f' ⊙ c + i' ⊙ tanh(W_g x + U_g h + b_g)
        o' = σ(W_o x + U_o h + p_o ⊙ c' + R_io i + R_fo f + R_oo o + b_o)
        h' = o' ⊙ tanh(c')

    x input, h output, c cell state, i, f, o the gates, which are states here; R_fi leads from the forget gate to the
    input gate. With R = 0 it is `peephole_lstm`. The forget bias starts at 1. Greff et al. 2017, arXiv:1503.04069
    (variant FGR); the connections are those of the first LSTM, Hochreiter and Schmidhuber 1997.
    """

    states = "h", "c", "i", "f", "o"
    initial = {"b.f": 1.0}
    cite = ("greff2017", "hochreiter1997")

    def step(self, x, h, c, i, f, o, W, U, p, R, b):
        # From the input gate to the forget gate: R.if would not be Python.
        R_if = getattr(R, "if")
        i_next = sigmoid(W.i @ x + U.i @ h + p.i * c + R.ii @ i + R.fi @ f + R.oi @ o + b.i)
        f_next = sigmoid(W.f @ x + U.f @ h + p.f * c + R_if @ i + R.ff @ f + R.of @ o + b.f)
        c_next = f_next * c + i_next * tanh(W.g @ x + U.g @ h + b.g)
        o_next = sigmoid(W.o @ x + U.o @ h + p.o * c_next + R.io @ i + R.fo @ f + R.oo @ o + b.o)
        return o_next * tanh(c_next), c_next, i_next, f_next, o_next
