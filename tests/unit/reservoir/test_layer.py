"""The torch layer: same states, frozen, saved by state_dict; and the page that shows it runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from recurra.base.errors import ConfigError
from recurra.reservoir.layer import ReservoirLayer
from recurra.reservoir.reservoir import Reservoir

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "echo-state-network.md"


def layer(seed=0):
    return ReservoirLayer(Reservoir(30, 2, leak=0.5, bias=0.1, seed=seed))


def test_it_is_the_reservoir_in_the_input_s_dtype():
    x = torch.randn(3, 20, 2, generator=torch.Generator().manual_seed(0))
    made = layer()
    y, state = made(x, lengths=torch.tensor([20, 5, 0]))
    assert y.dtype == torch.float32
    np.testing.assert_allclose(y.numpy(), made.reservoir(x.numpy(), lengths=[20, 5, 0])[0], atol=1e-7)
    again, _ = made(x, state)
    assert not torch.equal(again, y)


def test_only_the_head_learns():
    model = torch.nn.ModuleDict({"echo": layer(), "head": torch.nn.Linear(30, 1)})
    assert [name for name, _ in model.named_parameters()] == ["head.weight", "head.bias"]
    x = torch.randn(3, 20, 2, requires_grad=True)
    model["head"](model["echo"](x)[0]).sum().backward()
    assert x.grad is None
    assert model["head"].weight.grad is not None


def test_the_weights_travel_in_the_state_dict(tmp_path):
    one, other = layer(seed=1), layer(seed=2)
    x = torch.ones(1, 9, 2)
    assert not torch.equal(one(x)[0], other(x)[0])
    torch.save(one.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(one(x)[0], other(x)[0])
    assert "Reservoir(30, 2" in repr(other)


def test_feedback_has_no_place_in_a_layer():
    with pytest.raises(ConfigError, match="no feedback"):
        ReservoirLayer(Reservoir(5, 1, feedback_size=1))


def test_the_page_on_echo_state_networks_runs():
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
    assert code.count("Reservoir") > 10
    exec(compile(code, PAGE.name, "exec"), {"__name__": "page"})
