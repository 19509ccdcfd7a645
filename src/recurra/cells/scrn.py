"""The net with slow context units."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid

__all__ = ["SCRN"]


class SCRN(Cell):
    """Structurally constrained net: beside the hidden layer, context units that change slowly by construction.

        s' = 0.05 B x + 0.95 s
        h' = σ(A x + R h + P s')

    x input, h output, s context, as many units of each. The paper's alpha is 0.95. Its output layer reads both, U h +
    V s; give the layer's final state or the next layer s where that is wanted. Mikolov et al. 2014, arXiv:1412.7753.
    """

    states = "h", "s"
    cite = ("mikolov2014",)

    def step(self, x, h, s, A, R, P, B):
        s_next = 0.05 * (B @ x) + 0.95 * s
        return sigmoid(A @ x + R @ h + P @ s_next), s_next
