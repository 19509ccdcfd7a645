"""Dispatch: which backend runs, why the others did not, and what is said of it."""

from __future__ import annotations

import pytest
import torch

from recurra.base.errors import NoBackend
from recurra.cells import CELLS
from recurra.kernels import dispatch
from recurra.kernels.request import Request
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


X = torch.zeros(2, 3, 4)


def test_fastest_first_and_the_reference_last():
    assert [backend.name for backend in dispatch.BACKENDS] == ["torchnn", "reference"]


@pytest.mark.parametrize("name", CELLS)
def test_which_backend_runs_a_cell(name, shown):
    fused = name in ("lstm", "gru", "elman", "relu_rnn")
    line = shown(Recurrent(name, 4, 5), X)
    assert line.startswith(f"recurra plan: {name} (B=2, T=3, I=4, torch.float32) runs on ")
    reason = f"reference; torchnn: the equations of {name} are not those of torch's LSTM, GRU or RNN"
    assert line.endswith(("torchnn" if fused else reason) + "\n")
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
def test_reasons(options, x, reason, shown):
    line = shown(Recurrent("lstm", 4, 5, **options), x)
    assert "runs on reference; torchnn: " in line
    assert reason in line


def test_a_reset_inside_is_refused_and_one_at_the_start_is_not(shown):
    layer, resets = Recurrent("gru", 4, 5), torch.zeros(2, 3, dtype=torch.bool)
    resets[0, 0] = True
    assert shown(layer, X, resets=resets).endswith("runs on torchnn\n")
    resets[0, 1] = True
    assert "cannot restart a row inside the sequence" in shown(layer, X, resets=resets)


def test_dropout_does_not_matter_in_eval_mode(shown):
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
    with pytest.raises(NoBackend, match=r"no backend is called 'torchn'(.|\n)*There are: torchnn, reference"):
        Recurrent("lstm", 4, 5, backend="torchn")(X)


def test_insisting_is_heard(shown):
    assert shown(Recurrent("lstm", 4, 5, backend="reference"), X).endswith("runs on reference\n")


def test_torchnn_does_not_run_what_it_refuses():

    cell = CELLS["gru_v1"]().spec
    with pytest.raises(ValueError, match="it refuses"):
        TorchNN().run(Request(cell, {}, X, (), ()))
