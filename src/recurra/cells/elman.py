"""The simple recurrent net."""

from recurra.equations.cell import Cell
from recurra.equations.functions import tanh

__all__ = ["Elman"]


class Elman(Cell):
    """Elman net: the hidden layer is fed back to itself.

        h' = tanh(W x + U h + b)

    x input, h hidden state. Elman 1990, doi:10.1207/s15516709cog1402_1. torch.nn.RNN (nonlinearity "tanh").
    """

    states = "h"
    cite = ("elman1990",)

    def step(self, x, h, W, U, b):
        return tanh(W @ x + U @ h + b)
