"""Dispatch: which backend runs, why the others did not, and what is said of it."""

from __future__ import annotations

import pytest
import torch

from recurra.base.errors import NoBackend
from recurra.cells import CELLS
from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid
from recurra.kernels import dispatch
from recurra.kernels.cpu.compiler import CompileError
from recurra.kernels.cpu.operator import Loop
from recurra.kernels.reference.backend import Reference
from recurra.kernels.request import Request
from recurra.kernels.scan.backend import Scan
from recurra.kernels.torchnn import TorchNN
from recurra.layers import Recurrent


@pytest.fixture
def shown(monkeypatch, capsys):
    """What RECURRA_SHOW=plan prints for one call of a layer."""
    monkeypatch.setattr(dispatch, "_shown", set())
    monkeypatch.setenv("RECURRA_SHOW", "plan")

    def call(layer, *args, **kwargs):
        layer(*args, **kwargs)
        return capsys.readouterr().err

    return call


@pytest.fixture
def without_native(monkeypatch):
    """As on a machine for which there is no machine code: torch's own operators, the scan, then the reference."""
    monkeypatch.setattr(dispatch, "BACKENDS", [TorchNN(), Scan(), Reference()])


X = torch.zeros(2, 3, 4)


def test_fastest_first_and_the_reference_last():
    names = [backend.name for backend in dispatch.BACKENDS]
    assert (names[0], names[-3:]) == ("native", ["torchnn", "scan", "reference"])
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", CELLS)
def test_the_native_engine_runs_every_cell(name, shown):
    line = shown(Recurrent(name, 4, 5), X)
    assert line == f"recurra plan: {name} (B=2, T=3, I=4, torch.float32) runs on native\n"


@pytest.mark.parametrize(
    ("layer", "x", "reason"),
    [
        (Recurrent("elman", 4, 5), torch.zeros(0, 3, 4), "nothing to do, x is (0, 3, 4)"),
        (Recurrent("elman", 4, 5).half(), X.half(), "torch.float16"),
        (Recurrent("elman", 4, 5).to("meta"), X.to("meta"), "meta"),
    ],
)
def test_what_the_native_engine_leaves_to_others(layer, x, reason, shown):
    line = shown(layer, x)
    assert "; native: " in line
    assert reason in line


def test_insisting_on_native_for_what_it_refuses():
    with pytest.raises(NoBackend, match=r"native: .* torch.float16"):
        Recurrent("gru", 4, 5, backend="native").half()(X.half())


def test_a_cell_that_cannot_be_compiled_runs_all_the_same(monkeypatch, capsys, shown):
    class Unlucky(Cell):
        states = "h"

        def step(self, x, h, W, k):
            return sigmoid(k * h) + W @ x

    def fail(self, dtype):
        raise CompileError("native engine: the compiler ate it.\n  Hint: feed it.")

    monkeypatch.setattr(Loop, "cell", fail)
    layer = Recurrent(Unlucky, 4, 5)
    first = shown(layer, X)
    line = "recurra: unlucky runs on the slower reference: native engine: the compiler ate it. Hint: feed it.\n"
    assert first.count(line) == 1
    assert "runs on reference; native: native engine: the compiler ate it." in first
    # Said once a process and cell: not for another call, another layer, or another number type.
    again = shown(layer, X) + shown(Recurrent(Unlucky, 4, 6), X) + shown(layer.double(), X.double())
    assert "slower reference" not in again
    with pytest.raises(NoBackend, match="the compiler ate it"):
        Recurrent(Unlucky, 4, 5, backend="native")(X)


@pytest.mark.parametrize("name", CELLS)
def test_which_backend_runs_a_cell(name, shown, without_native):
    fused = name in ("lstm", "gru", "elman", "relu_rnn")
    line = shown(Recurrent(name, 4, 5), X)
    assert line.startswith(f"recurra plan: {name} (B=2, T=3, I=4, torch.float32) runs on ")
    reason = f"; torchnn: the equations of {name} are not those of torch's LSTM, GRU or RNN"
    no_scan = f"; scan: {name} is not affine and elementwise in what it carries from step to step"
    scanned = CELLS[name]().spec.is_affine_elementwise
    assert line.endswith(("torchnn" if fused else f"scan{reason}" if scanned else f"reference{reason}{no_scan}") + "\n")
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "x", "reason"),
    [
        ({}, torch.zeros(2, 0, 4), "no empty batch or sequence, x is (2, 0, 4)"),
        ({}, torch.zeros(0, 3, 4), "no empty batch or sequence, x is (0, 3, 4)"),
        ({"zoneout": 0.1}, X, "the equations of lstm are not those"),
        ({"recurrent_dropout": 0.1}, X, "the equations of lstm are not those"),
        ({"projection_size": 3}, X, "the equations of lstm are not those"),
    ],
)
def test_reasons(options, x, reason, shown, without_native):
    line = shown(Recurrent("lstm", 4, 5, **options), x)
    assert "runs on reference; torchnn: " in line
    assert reason in line


def test_a_reset_inside_is_refused_and_one_at_the_start_is_not(shown, without_native):
    layer, resets = Recurrent("gru", 4, 5), torch.zeros(2, 3, dtype=torch.bool)
    resets[0, 0] = True
    assert shown(layer, X, resets=resets).endswith("runs on torchnn\n")
    resets[0, 1] = True
    assert "cannot restart a row inside the sequence" in shown(layer, X, resets=resets)


def test_dropout_does_not_matter_in_eval_mode(shown, without_native):
    layer = Recurrent("lstm", 4, 5, recurrent_dropout=0.5).eval()
    assert shown(layer, X).endswith("runs on torchnn\n")


def test_a_plan_is_shown_once(shown):
    layer = Recurrent("gru", 4, 5)
    assert shown(layer, X)
    assert shown(layer, X) == ""
    assert "T=1" in shown(layer, X[:, :1])


def test_nothing_is_shown_unasked(capsys, monkeypatch):
    monkeypatch.delenv("RECURRA_SHOW", raising=False)
    Recurrent("gru", 4, 5)(X)
    assert capsys.readouterr() == ("", "")


def test_a_backend_that_refuses():
    with pytest.raises(NoBackend, match=r"no backend runs gru_v1(.|\n)*torchnn: the equations of gru_v1 are not"):
        Recurrent("gru_v1", 4, 5, backend="torchnn")(X)


def test_a_backend_that_does_not_exist():
    with pytest.raises(NoBackend, match=r"no backend is called 'torchn'(.|\n)*There are: torchnn, .*native.*reference"):
        Recurrent("lstm", 4, 5, backend="torchn")(X)


def test_insisting_is_heard(shown):
    assert shown(Recurrent("lstm", 4, 5, backend="reference"), X).endswith("runs on reference\n")


def test_torchnn_does_not_run_what_it_refuses():

    cell = CELLS["gru_v1"]().spec
    with pytest.raises(ValueError, match="it refuses"):
        TorchNN().run(Request(cell, {}, X, (), ()))
