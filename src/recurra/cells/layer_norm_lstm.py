"""The LSTM with normalised gates."""

from recurra.equations.cell import Cell
from recurra.equations.functions import layer_norm, sigmoid, tanh

__all__ = ["LayerNormLSTM"]


class LayerNormLSTM(Cell):
    """LSTM with layer normalisation on each gate's input and recurrent product and on the cell state at the output.

        i = σ(s_i ⊙ LN(W_i x) + t_i ⊙ LN(U_i h) + b_i)
        f = σ(s_f ⊙ LN(W_f x) + t_f ⊙ LN(U_f h) + b_f)
        g = tanh(s_g ⊙ LN(W_g x) + t_g ⊙ LN(U_g h) + b_g)
        o = σ(s_o ⊙ LN(W_o x) + t_o ⊙ LN(U_o h) + b_o)
        c' = f ⊙ c + i ⊙ g
        h' = o ⊙ tanh(s_c ⊙ LN(c') + b_c)

    x input, h output, c cell state; LN subtracts the mean and divides by the standard deviation (eps 1e-5) over the
    units of one gate; s, t gains. Ba, Kiros and Hinton 2016, arXiv:1607.06450, supplement eq. 20 to 22, there with the
    statistics of all four gates together; one gate at a time is the form of tf.contrib's LayerNormBasicLSTMCell.
    """

    states = "h", "c"
    initial = {"b.f": 1.0, "s": 1.0, "t": 1.0}
    cite = ("ba2016",)

    def step(self, x, h, c, W, U, s, t, b):
        i = sigmoid(s.i * layer_norm(W.i @ x) + t.i * layer_norm(U.i @ h) + b.i)
        f = sigmoid(s.f * layer_norm(W.f @ x) + t.f * layer_norm(U.f @ h) + b.f)
        g = tanh(s.g * layer_norm(W.g @ x) + t.g * layer_norm(U.g @ h) + b.g)
        o = sigmoid(s.o * layer_norm(W.o @ x) + t.o * layer_norm(U.o @ h) + b.o)
        c_next = f * c + i * g
        return o * tanh(s.c * layer_norm(c_next) + b.c), c_next
