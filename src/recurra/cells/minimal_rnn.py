"""The net that moves in a latent space."""

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, tanh

__all__ = ["MinimalRNN"]


class MinimalRNN(Cell):
    """MinimalRNN: the input is mapped into the space of the state, and a gate mixes the two.

        z = tanh(W x + b_z)
        u = σ(U h + V z + b_u)
        h' = u ⊙ h + (1 - u) ⊙ z

    x input, h output and state, z the input as the state sees it, u update gate (1 keeps h). Chen 2017,
    arXiv:1711.06788.
    """

    states = "h"
    cite = ("chen2017",)

    def step(self, x, h, W, U, V, b):
        z = tanh(W @ x + b.z)
        u = sigmoid(U @ h + V @ z + b.u)
        return u * h + (1 - u) * z
