"""The real-gated linear recurrent unit of Griffin."""

from recurra.equations.cell import Cell
from recurra.equations.functions import exp, sigmoid, softplus, sqrt, tanh

__all__ = ["RGLRU"]


class RGLRU(Cell):
    """RG-LRU, the recurrence of Griffin and Hawk: a decay per unit, slowed down by a gate, and input of matching size.

        r = σ(W_r x + b_r)
        i = σ(W_i x + b_i)
        u = 8 softplus(L) ⊙ r
        t = tanh(u)
        h' = exp(-u) ⊙ h + sqrt(2 t / (1 + t)) ⊙ i ⊙ W_v x

    x input, h output and state, r recurrence gate, i input gate, a = exp(-u) the decay. The paper writes sqrt(1 - a²);
    2 t / (1 + t) is the same number, and keeps its digits where a is near 1. Where the paper gates x itself, here it is
    W_v x, so that the widths may differ. L starts so that the decay at r = 1 is uniform in 0.9 to 0.999, as the paper
    says. De et al. 2024, arXiv:2402.19427.
    """

    states = "h"
    initial = {"L": "griffin_decay"}
    cite = ("de2024",)

    def step(self, x, h, W, b, L):
        r = sigmoid(W.r @ x + b.r)
        i = sigmoid(W.i @ x + b.i)
        u = 8 * softplus(L) * r
        t = tanh(u)
        return exp(-u) * h + sqrt(2 * t / (1 + t)) * i * (W.v @ x)
