"""Cells of users and of installed packages are as good as ours, by name and as classes."""

from __future__ import annotations

import copy
import pickle
import sys

import pytest
import torch

from recurra.base import code
from recurra.base.code import load_code, register
from recurra.base.errors import ConfigError, UnknownName
from recurra.cells import CELLS
from recurra.cells.lstm import LSTM
from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, tanh
from recurra.layers import Recurrent
from recurra.layers.grid_cells import GRID_CELLS
from recurra.layers.unit import resolve

SOURCE = '''
from recurra import Cell
from recurra.equations.functions import sigmoid, tanh


class Forgetful(Cell):
    """A state that is forgotten by a gate."""

    states = "h"

    def step(self, x, h, W, U, b):
        f = sigmoid(W.f @ x + U.f @ h + b.f)
        return f * tanh(W.h @ x + U.h @ h + b.h)


class LSTM(Forgetful):
    """Called as one of ours, with other equations."""


class NoCell:
    pass
'''


@pytest.fixture(autouse=True)
def empty_table(monkeypatch):
    monkeypatch.setattr(code, "_LOADED", [])


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def test_a_cell_of_a_file_trains_by_name(mine):
    name = load_code(f"{mine}:Forgetful", Cell).reference
    assert name == "mine.py:Forgetful"
    assert name in CELLS
    assert CELLS[name] is not None
    assert resolve(name).name == "forgetful"
    generator = torch.Generator().manual_seed(1)
    layer = Recurrent(name, 3, 8, generator=generator)
    x, target = torch.randn(16, 12, 3, generator=generator), torch.zeros(16, 8)
    optimiser = torch.optim.Adam(layer.parameters(), 0.05)
    losses = []
    for _ in range(20):
        loss = (layer(x)[0][:, -1] - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(other(x)[0], layer(x)[0])


def test_name_class_and_instance_are_the_same(mine):
    own = load_code(f"{mine}:Forgetful").thing
    outputs = []
    for cell in ("mine.py:Forgetful", own, own()):
        layer = Recurrent(cell, 3, 5, generator=torch.Generator().manual_seed(1))
        outputs.append(layer(torch.ones(2, 4, 3))[0])
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(outputs[0], outputs[2])


def test_a_cell_called_as_ours(mine):
    load_code(f"{mine}:LSTM")
    assert CELLS["lstm"] is LSTM
    own = Recurrent("mine.py:LSTM", 3, 5)
    assert own.units[0].fused is None
    assert own.units[0].spec.states == ("h",)
    with pytest.raises(ConfigError):
        own.to_torch()


def test_not_loaded(mine, monkeypatch):
    canary = mine.parent / "canary"
    (mine.parent / "evil.py").write_text(f"open({str(canary)!r}, 'w').close()\n{SOURCE}")
    monkeypatch.chdir(mine.parent)
    monkeypatch.syspath_prepend(str(mine.parent))
    for name in ("evil.py:Forgetful", "evil:Forgetful", f"{mine.parent}/evil.py:Forgetful"):
        assert name not in CELLS
        with pytest.raises(UnknownName, match=r"cell: .*evil.*:Forgetful is not loaded(.|\n)*Hint: --code "):
            resolve(name)
        with pytest.raises(UnknownName, match="is not loaded"):
            Recurrent(name, 3, 5)
    with pytest.raises(UnknownName, match=r"no cell is called 'evil.py'(.|\n)*Hint: evil.py:Name"):
        resolve("evil.py")
    assert not canary.exists()


def test_no_cell(mine):
    load_code(f"{mine}:NoCell")
    with pytest.raises(ConfigError, match=r"must be a subclass of Cell, is the class NoCell"):
        resolve("mine.py:NoCell")
    with pytest.raises(ConfigError, match=r"must be a subclass of Cell"):
        load_code(f"{mine}:NoCell", Cell)


def test_a_registered_class():
    class Plain(Cell):
        states = "h"

        def step(self, x, h, W, U, b):
            return tanh(W @ x + sigmoid(U @ h) + b)

    name = register(Plain).reference
    assert isinstance(resolve(name), Plain)


def test_an_installed_cell(tmp_path, monkeypatch):
    info = tmp_path / "fancy_cells-0.3.dist-info"
    info.mkdir()
    (tmp_path / "fancy_cells_module.py").write_text(SOURCE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fancy-cells\nVersion: 0.3\n")
    entries = ("forgetful = fancy_cells_module:Forgetful", "lstm = fancy_cells_module:LSTM")
    (info / "entry_points.txt").write_text("\n".join(["[recurra.cells]", *entries]))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "forgetful" in CELLS
    # A name of ours stays ours, and asks no package.
    assert CELLS["lstm"] is LSTM
    assert "fancy_cells_module" not in sys.modules
    y, _ = Recurrent("forgetful", 3, 5)(torch.ones(2, 4, 3))
    assert y.shape == (2, 4, 5)
    assert "forgetful" not in list(CELLS)
    own = load_code("fancy_cells_module:LSTM").reference
    assert resolve(own).spec.states == ("h",)
    del sys.modules["fancy_cells_module"]


def test_unknown():
    with pytest.raises(UnknownName, match=r"no cell is called 'lstmm'(.|\n)*There are: lstm, "):
        resolve("lstmm")
    assert "lstmm" not in CELLS
    assert 3 not in CELLS


def test_a_grid_cell_of_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    assert GRID_CELLS[load_code(f"{path}:Forgetful").reference].__name__ == "Forgetful"
    with pytest.raises(UnknownName, match="no grid cell is called 'lstm'"):
        GRID_CELLS["lstm"]
