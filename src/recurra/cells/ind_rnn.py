"""The net whose units remember only themselves."""

from recurra.equations.cell import Cell
from recurra.equations.functions import relu

__all__ = ["IndRNN"]


class IndRNN(Cell):
    """Independently recurrent net: each unit reads its own past through one weight; units meet in the next layer.

        h' = relu(W x + u ⊙ h + b)

    x input, h output and state, u the recurrent weights, which start uniform in 0 to 1. Keep |u| below 2^(1/T) for
    memories of T steps. Li et al. 2018, arXiv:1803.04831.
    """

    states = "h"
    initial = {"u": "unit_uniform"}
    cite = ("li2018",)

    def step(self, x, h, W, u, b):
        return relu(W @ x + u * h + b)
