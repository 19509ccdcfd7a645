"""The real-gated linear recurrent unit of Griffin."""

from recurra.equations.cell import Cell
from recurra.equations.functions import exp, sigmoid, softplus, sqrt

__all__ = ["RGLRU"]


class RGLRU(Cell):
    """RG-LRU, the recurrence of Griffin and Hawk: a decay per unit, slowed down by a gate, and input of matching size.

        r = σ(W_r x + b_r)
        i = σ(W_i x + b_i)
        a = exp(-8 softplus(L) ⊙ r)
        h' = a ⊙ h + sqrt(1 - a ⊙ a) ⊙ i ⊙ W_v x

    x input, h output and state, r recurrence gate, i input gate, a decay. Where the paper gates x itself, here it is
    W_v x, so that the widths may differ. L starts so that the decay at r = 1 is uniform in 0.9 to 0.999, as the paper
    says. De et al. 2024, arXiv:2402.19427.
    """

    states = "h"
    initial = {"L": "griffin_decay"}
    cite = ("de2024",)

    def step(self, x, h, W, b, L):
        r = sigmoid(W.r @ x + b.r)
        i = sigmoid(W.i @ x + b.i)
        a = exp(-(8 * softplus(L) * r))
        return a * h + sqrt(1 - a * a) * i * (W.v @ x)
