"""Cells for nets over images: a step reads what lies to the left and what lies above.

They are equations like any other cell's, in the same language, with this convention: the first half of the states is
what the left neighbour hands on, the second half, named `..._up`, the same of the neighbour above; a step gives the
new values once for each. `Recurrent2d` walks them over an image; in sequences they have no meaning.
"""

from __future__ import annotations

from recurra.base.registry import Registry
from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, tanh

__all__ = ["GRID_CELLS", "MDLSTM", "MDRNN", "LeakyLP", "StableMDLSTM"]

GRID_CELLS: Registry[type[Cell]] = Registry("grid cell", group="recurra.grid_cells", base=Cell)


@GRID_CELLS.register("mdrnn")
class MDRNN(Cell):
    """Multi-dimensional recurrent net.

        h' = tanh(W x + U h + V h_up + b)

    Graves, Fernandez and Schmidhuber 2007, arXiv:0705.2011.
    """

    states = "h", "h_up"

    def step(self, x, h, h_up, W, U, V, b):  # noqa: ANN201, D102
        h_next = tanh(W @ x + U @ h + V @ h_up + b)
        return h_next, h_next


@GRID_CELLS.register("mdlstm")
class MDLSTM(Cell):
    """Multi-dimensional LSTM with peepholes: one forget gate for each neighbour.

        i = σ(W_i x + U_i h + V_i h_up + p_i ⊙ c + q_i ⊙ c_up + b_i)
        f = σ(W_f x + U_f h + V_f h_up + p_f ⊙ c + b_f)
        k = σ(W_k x + U_k h + V_k h_up + q_k ⊙ c_up + b_k)
        c' = f ⊙ c + k ⊙ c_up + i ⊙ tanh(W_g x + U_g h + V_g h_up + b_g)
        o = σ(W_o x + U_o h + V_o h_up + p_o ⊙ c' + b_o)
        h' = o ⊙ tanh(c')

    f and k forget what comes from the left and from above. Their sum may pass 1, so c can grow without bound over a
    large image; see StableMDLSTM. Graves, Fernandez and Schmidhuber 2007, arXiv:0705.2011, eq. 11-17.
    """

    states = "h", "c", "h_up", "c_up"

    def step(self, x, h, c, h_up, c_up, W, U, V, p, q, b):  # noqa: ANN201, D102
        i = sigmoid(W.i @ x + U.i @ h + V.i @ h_up + p.i * c + q.i * c_up + b.i)
        f = sigmoid(W.f @ x + U.f @ h + V.f @ h_up + p.f * c + b.f)
        k = sigmoid(W.k @ x + U.k @ h + V.k @ h_up + q.k * c_up + b.k)
        g = tanh(W.g @ x + U.g @ h + V.g @ h_up + b.g)
        c_next = f * c + k * c_up + i * g
        o = sigmoid(W.o @ x + U.o @ h + V.o @ h_up + p.o * c_next + b.o)
        h_next = o * tanh(c_next)
        return h_next, c_next, h_next, c_next


@GRID_CELLS.register("stable_mdlstm")
class StableMDLSTM(Cell):
    """Multi-dimensional LSTM that cannot grow: one forget gate over a weighted mean of both neighbours' cells.

        l = σ(W_l x + U_l h + V_l h_up + b_l)
        m = l ⊙ c + (1 - l) ⊙ c_up
        c' = f ⊙ m + i ⊙ g,  h' = o ⊙ tanh(c'),  with i, f, o = σ and g = tanh of (W x + U h + V h_up + b)

    The stable cell of Leifert et al. 2016, "Cells in multidimensional recurrent neural networks", JMLR 17(97).
    """

    states = "h", "c", "h_up", "c_up"
    initial = {"b.f": 1.0}  # noqa: RUF012 - as in every cell

    def step(self, x, h, c, h_up, c_up, W, U, V, b):  # noqa: ANN201, D102
        i = sigmoid(W.i @ x + U.i @ h + V.i @ h_up + b.i)
        f = sigmoid(W.f @ x + U.f @ h + V.f @ h_up + b.f)
        share = sigmoid(W.l @ x + U.l @ h + V.l @ h_up + b.l)
        g = tanh(W.g @ x + U.g @ h + V.g @ h_up + b.g)
        o = sigmoid(W.o @ x + U.o @ h + V.o @ h_up + b.o)
        c_next = f * (share * c + (1 - share) * c_up) + i * g
        h_next = o * tanh(c_next)
        return h_next, c_next, h_next, c_next


@GRID_CELLS.register("leaky_lp")
class LeakyLP(Cell):
    """The leaky low-pass cell: a running mean in two dimensions, read before and after its update.

        m = l ⊙ c + (1 - l) ⊙ c_up
        c' = f ⊙ m + (1 - f) ⊙ tanh(W_g x + U_g h + V_g h_up + b_g)
        h' = tanh(o ⊙ c' + r ⊙ m),  with l, f, o, r = σ of (W x + U h + V h_up + b)

    |c| stays below 1 on any image. Leifert et al. 2016, "Cells in multidimensional recurrent neural networks",
    JMLR 17(97).
    """

    states = "h", "c", "h_up", "c_up"

    def step(self, x, h, c, h_up, c_up, W, U, V, b):  # noqa: ANN201, D102
        f = sigmoid(W.f @ x + U.f @ h + V.f @ h_up + b.f)
        share = sigmoid(W.l @ x + U.l @ h + V.l @ h_up + b.l)
        g = tanh(W.g @ x + U.g @ h + V.g @ h_up + b.g)
        o = sigmoid(W.o @ x + U.o @ h + V.o @ h_up + b.o)
        r = sigmoid(W.r @ x + U.r @ h + V.r @ h_up + b.r)
        mean = share * c + (1 - share) * c_up
        c_next = f * mean + (1 - f) * g
        h_next = tanh(o * c_next + r * mean)
        return h_next, c_next, h_next, c_next
