"""The rectified recurrent net."""

from recurra.equations.cell import Cell
from recurra.equations.functions import relu

__all__ = ["ReluRNN"]


class ReluRNN(Cell):
    """Rectified recurrent net; with the identity as U at the start it is the IRNN.

        h' = relu(W x + U h + b)

    x input, h hidden state. U starts as the identity. Le, Jaitly and Hinton 2015, arXiv:1504.00941; np-RNN start
    (`initializers={"U": "np_rnn"}`): Talathi and Vartak 2015, arXiv:1511.03771. torch.nn.RNN (nonlinearity "relu").
    """

    states = "h"
    initial = {"U": "identity", "W": "irnn_input"}
    cite = ("le2015", "talathi2015")

    def step(self, x, h, W, U, b):
        return relu(W @ x + U @ h + b)
