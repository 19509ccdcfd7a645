"""Long expressive memory."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, tanh

__all__ = ["LEM"]


class LEM(Cell):
    """Long expressive memory: two states, each with a learned time step of its own.

        a = σ(W_a x + U_a h + b_a)
        d = σ(W_d x + U_d h + b_d)
        z' = (1 - a) ⊙ z + a ⊙ tanh(W_z x + U_z h + b_z)
        h' = (1 - d) ⊙ h + d ⊙ tanh(W_h x + U_h z' + b_h)

    x input, h output (the paper's y), z memory, a and d the time steps, with the paper's Δt = 1. Rusch, Mishra,
    Erichson and Mahoney 2022, arXiv:2110.04744.
    """

    states = "h", "z"
    cite = ("rusch2022",)

    def step(self, x, h, z, W, U, b):
        a = sigmoid(W.a @ x + U.a @ h + b.a)
        d = sigmoid(W.d @ x + U.d @ h + b.d)
        z_next = (1 - a) * z + a * tanh(W.z @ x + U.z @ h + b.z)
        return (1 - d) * h + d * tanh(W.h @ x + U.h @ z_next + b.h), z_next
