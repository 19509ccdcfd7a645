"""One file with everything in it; what is wrong with a file is said with its name, the fact and what to do."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from recurra.base.errors import CheckpointError
from recurra.training import checkpoint
from recurra.training.checkpoint import load, load_weights, restore_weights, save, save_weights

CONTENT = {
    "iteration": 3,
    "best": math.inf,
    "loss": 0.1 + 0.2,
    "none": None,
    "flags": [True, "text ä", (1, 2.5)],
    "state": {0: {"step": torch.tensor(4.0)}, "1": {"step": torch.tensor(5, dtype=torch.int64)}},
    "bytes": torch.arange(7, dtype=torch.uint8),
    "mask": torch.tensor([[True, False]]),
    "half": torch.randn(3, 2, dtype=torch.float32).to(torch.bfloat16),
    "empty": {},
}


def same(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def test_everything_comes_back_as_it_was(tmp_path: Path):
    save(tmp_path / "run" / "c.safetensors", CONTENT)
    assert same(load(tmp_path / "run" / "c.safetensors"), CONTENT)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_subnormal=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
    max_leaves=8,
)


@given(plain)
def test_any_nesting_of_plain_values_comes_back(tmp_path_factory: pytest.TempPathFactory, value):
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    save(path, {"value": value})
    assert same(load(path)["value"], value)


def test_tied_and_strided_tensors_are_written_whole(tmp_path: Path):
    whole = torch.arange(12.0).view(3, 4)
    save(tmp_path / "c", {"a": whole, "b": whole, "c": whole[:, 1], "d": whole.T})
    back = load(tmp_path / "c")
    assert torch.equal(back["a"], back["b"])
    assert torch.equal(back["c"], whole[:, 1])
    assert torch.equal(back["d"], whole.T)


def test_what_cannot_be_written_is_named():
    with pytest.raises(TypeError, match="a/b is a set"):
        save("never", {"a": {"b": {1}}})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(tmp_path / "latest.safetensors", {"iteration": 3, "w": torch.arange(100.0)})
    return tmp_path / "latest.safetensors"


@pytest.mark.parametrize("kept", [0, 4, 8, 60, 200, -1])
def test_a_truncated_file_is_told_from_a_good_one(saved: Path, kept: int):
    raw = saved.read_bytes()
    saved.write_bytes(raw[:kept])
    with pytest.raises(
        CheckpointError, match=rf"latest\.safetensors: is damaged \({len(raw[:kept])} bytes\)"
    ) as caught:
        load(saved)
    assert "Hint: it was cut short or changed" in str(caught.value)


def test_any_changed_byte_is_noticed(saved: Path):
    raw = saved.read_bytes()
    for position in range(0, len(raw), 3):
        saved.write_bytes(raw[:position] + bytes([raw[position] ^ 0x55]) + raw[position + 1 :])
        with pytest.raises(CheckpointError):
            load(saved)


def test_a_file_of_another_version_says_which(saved: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checkpoint, "VERSION", 2)
    with pytest.raises(CheckpointError, match="is a recurra checkpoint of version 1, this Recurra reads version 2"):
        load(saved)


def test_a_missing_file_says_so(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"none\.safetensors: cannot be read: No such file") as caught:
        load(tmp_path / "none.safetensors")
    assert "nothing was saved there" in str(caught.value)


def test_other_peoples_files_are_not_mistaken(tmp_path: Path, saved: Path):
    save_file({"w": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="is no recurra checkpoint but a safetensors file without a format"):
        load(tmp_path / "foreign.safetensors")
    save_weights(tmp_path / "weights.safetensors", {"w": torch.zeros(2)})
    with pytest.raises(CheckpointError, match="is no recurra checkpoint but a safetensors file 'recurra weights'"):
        load(tmp_path / "weights.safetensors")
    (tmp_path / "text").write_text(json.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match="is damaged"):
        load(tmp_path / "text")


def test_weights_keep_their_names_and_facts(tmp_path: Path):
    net = nn.Linear(3, 2)
    save_weights(tmp_path / "w", net.state_dict(), {"iteration": 7, "metrics": {"loss": 1.5}})
    weights, info = load_weights(tmp_path / "w")
    assert info == {"iteration": 7, "metrics": {"loss": 1.5}}
    other = nn.Linear(3, 2)
    restore_weights(other, weights, "w")
    assert torch.equal(other.weight, net.weight)


def test_every_weight_that_does_not_fit_is_named():
    weights = {"weight": torch.zeros(2, 4), "gain": torch.zeros(1)}
    with pytest.raises(CheckpointError) as caught:
        restore_weights(nn.Linear(3, 2), weights, "runs/x")
    for part in ("runs/x", "bias (2,) is missing", "gain (1,) is too much", "weight must be (2, 3), got (2, 4)"):
        assert part in str(caught.value)


def test_a_failed_write_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch):
    before = saved.read_bytes()

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CheckpointError, match=r"latest\.safetensors: could not be written: No space left on device"):
        save(saved, {"w": torch.zeros(3)})
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["latest.safetensors"]
