"""The net whose output is fed back."""

from recurra.equations.cell import Cell
from recurra.equations.functions import tanh

__all__ = ["Jordan"]


class Jordan(Cell):
    """Jordan net: the output, not the hidden layer, is fed back; the output layer is part of the cell.

        h = tanh(W_h x + U_h y + b_h)
        y' = V_y h + b_y

    x input, y output and state (axis O, `output_size`), h hidden layer. The output is linear; put a squashing on top
    where the task has one. Jordan 1986, ICS report 8604, reprinted as doi:10.1016/S0166-4115(97)80111-2.
    """

    states = "y"
    axes = {"y": "O"}
    initial = {"V": "glorot_uniform", "U": "glorot_uniform"}
    cite = ("jordan1986",)

    def step(self, x, y, W, U, V, b):
        h = tanh(W.h @ x + U.h @ y + b.h)
        return V.y @ h + b.y
