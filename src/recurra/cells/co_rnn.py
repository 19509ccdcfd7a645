"""The net of coupled oscillators."""

from recurra.equations.cell import Cell
from recurra.equations.functions import tanh

__all__ = ["CoRNN"]


class CoRNN(Cell):
    """Coupled oscillatory net: each unit is a damped oscillator, driven by the input and by the others.

        push = tanh(W x + U h + V v + b)
        v' = v + 0.042 (push - 2.7 h - 4.7 v)
        h' = h + 0.042 v'

    x input, h output and position, v velocity. Step, frequency and damping are the arguments of the cell,
    `CoRNN(dt=0.042, gamma=2.7, epsilon=4.7)`, to be tuned per task; the defaults are the paper's for pixel digits.
    Explicit in the damping, as the authors' code. Rusch and Mishra 2021, arXiv:2010.00951.
    """

    states = "h", "v"
    cite = ("rusch2021",)

    def __init__(self, dt: float = 0.042, gamma: float = 2.7, epsilon: float = 4.7) -> None:
        self.dt, self.gamma, self.epsilon = dt, gamma, epsilon

    def step(self, x, h, v, W, U, V, b):
        push = tanh(W @ x + U @ h + V @ v + b)
        v_next = v + self.dt * (push - self.gamma * h - self.epsilon * v)
        return h + self.dt * v_next, v_next
