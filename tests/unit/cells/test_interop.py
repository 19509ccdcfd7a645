"""The tables of gate orders: every gate has its slot, and what they name exists."""

from __future__ import annotations

import pytest

from recurra.base.errors import UnknownName
from recurra.cells import CELLS
from recurra.cells.interop import KERAS, ONNX, TORCH

TABLES = {"TORCH": TORCH, "KERAS": KERAS, "ONNX": ONNX}
ROWS = [(tool, cell) for tool, table in TABLES.items() for cell in table]


@pytest.mark.parametrize(("tool", "cell"), ROWS)
def test_every_parameter_has_its_slot(tool, cell):
    layout, spec = TABLES[tool][cell], CELLS[cell]().spec
    gates = [gate.lstrip("-") for gate in layout.gates if gate is not None]
    held = {f"{family}.{gate}" if gate else family for family in "WUb" for gate in gates}
    held |= {name for gate in layout.gates if (name := layout.inner(gate))}
    held |= {f"p.{gate}" for gate in layout.peepholes}
    assert held == set(spec.params)
    assert len(set(gates)) == len(gates)
    assert set(layout.hold) <= set(gates)


@pytest.mark.parametrize(
    ("table", "cell", "gates"),
    [
        (TORCH, "lstm", "ifgo"),
        (TORCH, "gru", "rzn"),
        (KERAS, "lstm", "ifgo"),
        (KERAS, "gru", "zrn"),
        (ONNX, "lstm", "iofg"),
        (ONNX, "gru", "zrn"),
    ],
)
def test_documented_orders(table, cell, gates):
    assert table[cell].gates == tuple(gates)


def test_turned_gates():
    """Where the other tool's gate is 1 minus ours."""
    turned = {
        (tool, cell) for tool, cell in ROWS if any(gate and gate.startswith("-") for gate in TABLES[tool][cell].gates)
    }
    assert turned == {("KERAS", "gru_v1"), ("ONNX", "gru_v1"), ("ONNX", "coupled_lstm")}


def test_the_registry():
    assert list(CELLS) == [
        "elman",
        "relu_rnn",
        "ind_rnn",
        "jordan",
        "scrn",
        "co_rnn",
        "lstm1997",
        "lstm",
        "peephole_lstm",
        "no_input_gate_lstm",
        "no_forget_gate_lstm",
        "no_output_gate_lstm",
        "no_input_activation_lstm",
        "no_output_activation_lstm",
        "coupled_peephole_lstm",
        "full_recurrence_lstm",
        "coupled_lstm",
        "multiplicative_lstm",
        "slstm",
        "lem",
        "layer_norm_lstm",
        "gru",
        "gru_v1",
        "mut1",
        "mut2",
        "mut3",
        "minimal_gated_unit",
        "ugrnn",
        "janet",
        "li_gru",
        "minimal_rnn",
        "fast_grnn",
        "min_gru",
        "min_lstm",
        "sru",
        "qrnn",
        "rglru",
    ]
    with pytest.raises(UnknownName, match=r"no cell is called 'GRU'(.|\n)*There are: gru, .*gru_v1"):
        _ = CELLS["GRU"]
