"""The LSTM variants of Greff et al.: each is the peephole LSTM with one thing changed, and is derived from it.

NP, without peepholes, is `lstm`; FGR, with full gate recurrence, adds equations and has a file of its own.
"""

from __future__ import annotations

from functools import cached_property

from recurra.cells.peephole_lstm import PeepholeLSTM
from recurra.equations.expr import Expr, const, make
from recurra.equations.spec import CellSpec
from recurra.equations.transform import with_replaced

__all__ = [
    "CoupledPeepholeLSTM",
    "NoForgetGateLSTM",
    "NoInputActivationLSTM",
    "NoInputGateLSTM",
    "NoOutputActivationLSTM",
    "NoOutputGateLSTM",
]


def _gate(spec: CellSpec, name: str) -> Expr:
    """The value that the equations call `name`."""
    return dict(spec.names)[name]


class _Variant(PeepholeLSTM):
    """The peephole LSTM with the nodes of `changes` replaced."""

    cite = ("greff2017",)

    def changes(self, spec: CellSpec) -> dict[Expr, Expr]:
        """What is replaced in `spec` by what."""
        raise NotImplementedError

    @cached_property
    def spec(self) -> CellSpec:
        """The equations as data; derived once per instance."""
        spec = PeepholeLSTM().spec
        return with_replaced(spec, self.name, self.changes(spec))


class NoInputGateLSTM(_Variant):
    """Peephole LSTM without input gate (NIG).

        f = σ(W_f x + U_f h + p_f ⊙ c + b_f)
        c' = f ⊙ c + tanh(W_g x + U_g h + b_g)
        o = σ(W_o x + U_o h + p_o ⊙ c' + b_o)
        h' = o ⊙ tanh(c')

    Letters as in `peephole_lstm`, with i = 1. Greff et al. 2017, arXiv:1503.04069 (variant NIG).
    """

    def changes(self, spec: CellSpec) -> dict[Expr, Expr]:
        """The gate stands open."""
        return {_gate(spec, "i"): const(1.0)}


class NoForgetGateLSTM(_Variant):
    """Peephole LSTM without forget gate (NFG).

        i = σ(W_i x + U_i h + p_i ⊙ c + b_i)
        c' = c + i ⊙ tanh(W_g x + U_g h + b_g)
        o = σ(W_o x + U_o h + p_o ⊙ c' + b_o)
        h' = o ⊙ tanh(c')

    Letters as in `peephole_lstm`, with f = 1. Greff et al. 2017, arXiv:1503.04069 (variant NFG).
    """

    initial = {}

    def changes(self, spec: CellSpec) -> dict[Expr, Expr]:
        """The gate stands open."""
        return {_gate(spec, "f"): const(1.0)}


class NoOutputGateLSTM(_Variant):
    """Peephole LSTM without output gate (NOG).

        i = σ(W_i x + U_i h + p_i ⊙ c + b_i)
        f = σ(W_f x + U_f h + p_f ⊙ c + b_f)
        c' = f ⊙ c + i ⊙ tanh(W_g x + U_g h + b_g)
        h' = tanh(c')

    Letters as in `peephole_lstm`, with o = 1. Greff et al. 2017, arXiv:1503.04069 (variant NOG).
    """

    def changes(self, spec: CellSpec) -> dict[Expr, Expr]:
        """The gate stands open."""
        return {_gate(spec, "o"): const(1.0)}


class NoInputActivationLSTM(_Variant):
    """Peephole LSTM without input activation (NIAF).

        i = σ(W_i x + U_i h + p_i ⊙ c + b_i)
        f = σ(W_f x + U_f h + p_f ⊙ c + b_f)
        c' = f ⊙ c + i ⊙ (W_g x + U_g h + b_g)
        o = σ(W_o x + U_o h + p_o ⊙ c' + b_o)
        h' = o ⊙ tanh(c')

    Letters as in `peephole_lstm`; what is written is not squashed. Greff et al. 2017, arXiv:1503.04069 (variant NIAF).
    """

    def changes(self, spec: CellSpec) -> dict[Expr, Expr]:
        """The squashing that stands in c' goes."""
        (written,) = (node for node in spec.nodes if node.op == "tanh" and node is not make("tanh", spec.after["c"]))
        return {written: written.args[0]}


class NoOutputActivationLSTM(_Variant):
    """Peephole LSTM without output activation (NOAF).

        i = σ(W_i x + U_i h + p_i ⊙ c + b_i)
        f = σ(W_f x + U_f h + p_f ⊙ c + b_f)
        c' = f ⊙ c + i ⊙ tanh(W_g x + U_g h + b_g)
        o = σ(W_o x + U_o h + p_o ⊙ c' + b_o)
        h' = o ⊙ c'

    Letters as in `peephole_lstm`; what is read is not squashed. Greff et al. 2017, arXiv:1503.04069 (variant NOAF).
    """

    def changes(self, spec: CellSpec) -> dict[Expr, Expr]:
        """The squashing of c' goes."""
        return {make("tanh", spec.after["c"]): spec.after["c"]}


class CoupledPeepholeLSTM(_Variant):
    """Peephole LSTM with coupled gates (CIFG): forget gate = 1 - input gate.

        i = σ(W_i x + U_i h + p_i ⊙ c + b_i)
        c' = (1 - i) ⊙ c + i ⊙ tanh(W_g x + U_g h + b_g)
        o = σ(W_o x + U_o h + p_o ⊙ c' + b_o)
        h' = o ⊙ tanh(c')

    Letters as in `peephole_lstm`, with f = 1 - i, which starts at σ(1). Without peepholes it is `coupled_lstm`, where
    the gate that is kept is f. Greff et al. 2017, arXiv:1503.04069 (variant CIFG).
    """

    initial = {"b.i": -1.0}

    def changes(self, spec: CellSpec) -> dict[Expr, Expr]:
        """What is not written is kept."""
        return {_gate(spec, "f"): 1 - _gate(spec, "i")}
