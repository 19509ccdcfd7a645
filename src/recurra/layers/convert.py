"""Weights to and from torch.nn, Keras and ONNX, gate by gate; which gate sits where is in cells.interop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from recurra.base.errors import ConfigError, DataError, message
from recurra.cells import CELLS
from recurra.cells.interop import KERAS, ONNX, TORCH, Layout
from recurra.equations.cell import Cell
from recurra.layers.unit import Unit

__all__ = ["Convertible", "from_keras", "from_onnx", "load_torch", "make_torch", "to_keras", "to_onnx"]


class Convertible(Protocol):
    """A stack of recurrent layers whose weights can be exchanged with other tools: `Recurrent`."""

    cell: Cell
    input_size: int
    hidden_size: int
    num_layers: int
    directions: int
    bidirectional: bool
    reverse: bool
    residual: bool
    skip: bool
    dropout: float
    training: bool

    @property
    def merge(self) -> str:
        """How the two directions are joined."""
        ...

    @property
    def units(self) -> Sequence[Unit]:
        """The recurrences: layer by layer, the directions of a layer next to each other."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Iterate over all weights."""
        ...

    def to(self, like: Tensor, /) -> Any:
        """Move the weights to the device and dtype of `like`."""
        ...

    def train(self, mode: bool, /) -> Any:
        """Switch between training and evaluation."""
        ...


Layer = TypeVar("Layer", bound=Convertible)


def _array(tensor: Tensor) -> np.ndarray:
    """As numpy, which has no bfloat16: float32 holds its numbers exactly."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _blocks(unit: Unit, layout: Layout, family: str) -> list[np.ndarray]:
    """The gates of a family in the tool's order and sense; zeros in slots that the cell has no gate for."""
    named = {name: _array(tensor) for name, tensor in unit.named().items()}
    blocks: list[np.ndarray] = []
    for gate in layout.gates:
        if gate is None:
            blocks.append(np.zeros_like(blocks[0]))
            continue
        value = named[_member(family, gate)]
        blocks.append(-value if gate.startswith("-") else value)
    return blocks


def _member(family: str, gate: str) -> str:
    name = gate.lstrip("-")
    return f"{family}.{name}" if name else family


def _inner(unit: Unit, layout: Layout) -> list[np.ndarray]:
    """The second biases: zeros but for the gates that have one."""
    named = {name: _array(tensor) for name, tensor in unit.named().items()}
    size = unit.sizes["H"]
    like = next(iter(named.values()))
    names = [layout.inner(gate) for gate in layout.gates]
    return [np.zeros(size, like.dtype) if name is None else named[name] for name in names]


def _fill(unit: Unit, layout: Layout, family: str, stacked: np.ndarray) -> None:
    """Set the gates of a family from the tool's stacked rows."""
    named = unit.named()
    for gate, block in zip(layout.gates, np.split(np.asarray(stacked), len(layout.gates)), strict=True):
        if gate is not None:
            _set(named[_member(family, gate)], -block if gate.startswith("-") else block)


def _fill_biases(unit: Unit, layout: Layout, outer: np.ndarray, inner: np.ndarray) -> None:
    """Two biases where the cell has two, their sum where it has one."""
    count = len(layout.gates)
    pairs = zip(layout.gates, np.split(np.asarray(outer), count), np.split(np.asarray(inner), count), strict=True)
    named = unit.named()
    for gate, first, second in pairs:
        if gate is None:
            continue
        name = layout.inner(gate)
        if name is not None:
            _set(named[name], second)
            second = np.zeros_like(second)
        total = first + second
        _set(named[_member("b", gate)], -total if gate.startswith("-") else total)


def _set(parameter: Tensor, value: np.ndarray) -> None:
    if tuple(parameter.shape) != value.shape:
        raise DataError(message("weights", f"a gate must be {tuple(parameter.shape)}, got {value.shape}"))
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))


def _layout(tool: Mapping[str, Layout], name: str, cell: Cell) -> Layout:
    """The tool's operator for a cell; a user's cell must not pass for ours because of its name."""
    if cell.name not in tool or cell.spec.fingerprint != CELLS[cell.name]().spec.fingerprint:
        fact = f"{name} has no operator with the equations of {cell.name}"
        raise ConfigError(message(f"to {name}", fact, f"It has: {', '.join(tool)}."))
    return tool[cell.name]


# --- torch.nn --------------------------------------------------------------------------------------------------------


def load_torch(make: Callable[..., Layer], module: nn.RNNBase) -> Layer:
    """Return the layer made by `make(cell, input_size, hidden_size, num_layers, **options)`, with torch's weights.

    Layers, directions, projection and dropout are those of the torch.nn.LSTM, GRU or RNN.
    """
    cell = next((name for name, layout in TORCH.items() if layout.operator == module.mode), None)
    if cell is None:
        raise ConfigError(message("Recurrent.from_torch", f"no cell for torch mode {module.mode}"))
    layout = TORCH[cell]
    layer = make(
        cell,
        module.input_size,
        module.hidden_size,
        module.num_layers,
        bidirectional=module.bidirectional,
        dropout=module.dropout,
        projection_size=module.proj_size or None,
    )
    layer.to(next(module.parameters()))
    for index, unit in enumerate(layer.units):
        suffix = f"l{index // layer.directions}" + ("_reverse" if index % layer.directions else "")
        weight = {kind: _array(getattr(module, f"{kind}_{suffix}")) for kind in _torch_kinds(module)}
        _fill(unit, layout, "W", weight["weight_ih"])
        _fill(unit, layout, "U", weight["weight_hh"])
        if module.bias:
            _fill_biases(unit, layout, weight["bias_ih"], weight["bias_hh"])
        else:
            for parameter in unit.named().values():
                if parameter.dim() == 1:
                    _set(parameter, np.zeros(tuple(parameter.shape), weight["weight_ih"].dtype))
        if module.proj_size:
            _set(unit.named()["R.h"], weight["weight_hr"])
    layer.train(module.training)
    return layer


def _torch_kinds(module: nn.RNNBase) -> list[str]:
    kinds = ["weight_ih", "weight_hh"]
    return kinds + ["bias_ih", "bias_hh"] * module.bias + ["weight_hr"] * bool(module.proj_size)


def make_torch(layer: Convertible) -> nn.RNNBase:
    """The torch module of the same function; ConfigError where torch has none."""
    layout = _layout(TORCH, "torch", layer.cell)
    if layer.merge != "concat" or layer.residual or layer.skip or layer.reverse:
        raise ConfigError(message("Recurrent.to_torch", "torch has no merge, residual, skip or reverse option"))
    if any(u.zoneout or u.recurrent_dropout or u.weight_drop or u.initial is not None for u in layer.units):
        fact = "torch has no zoneout, recurrent_dropout, weight_drop or learned_initial_state option"
        raise ConfigError(message("Recurrent.to_torch", fact))
    # torch warns of dropout where there is nothing between layers.
    dropout = layer.dropout if layer.num_layers > 1 else 0.0
    options: dict[str, Any] = {"bidirectional": layer.bidirectional, "dropout": dropout, "batch_first": True}
    sizes = layer.input_size, layer.hidden_size, layer.num_layers
    unit = layer.units[0]
    if "P" in unit.sizes:
        options["proj_size"] = unit.sizes["P"]
    if layout.operator.startswith("RNN"):
        module: nn.RNNBase = nn.RNN(*sizes, nonlinearity=layout.operator[4:].lower(), **options)
    else:
        module = getattr(nn, layout.operator)(*sizes, **options)
    module = module.to(next(layer.parameters()))
    for index, unit in enumerate(layer.units):
        suffix = f"l{index // layer.directions}" + ("_reverse" if index % layer.directions else "")
        stacked = {
            "weight_ih": np.concatenate(_blocks(unit, layout, "W")),
            "weight_hh": np.concatenate(_blocks(unit, layout, "U")),
            "bias_ih": np.concatenate(_blocks(unit, layout, "b")),
            "bias_hh": np.concatenate(_inner(unit, layout)),
        }
        if "proj_size" in options:
            stacked["weight_hr"] = _array(unit.named()["R.h"])
        for kind, value in stacked.items():
            _set(getattr(module, f"{kind}_{suffix}"), value)
    return module.train(layer.training)


# --- Keras -----------------------------------------------------------------------------------------------------------


def to_keras(layer: Convertible) -> list[np.ndarray]:
    """What `keras_layer.set_weights` takes, for one layer: kernel, recurrent kernel, bias of each direction."""
    layout = _layout(KERAS, "keras", layer.cell)
    _check_single(layer, "to_keras")
    weights = []
    for unit in layer.units:
        weights += [np.concatenate(_blocks(unit, layout, family)).T for family in "WU"]
        bias = np.concatenate(_blocks(unit, layout, "b"))
        inner = np.concatenate(_inner(unit, layout))
        weights.append(np.stack((bias, inner)) if layout.inner_bias else bias)
    return weights


def from_keras(layer: Convertible, weights: Sequence[np.ndarray]) -> None:
    """Copy `keras_layer.get_weights()` of the matching Keras layer into `layer`."""
    layout = _layout(KERAS, "keras", layer.cell)
    _check_single(layer, "from_keras")
    if len(weights) != 3 * len(layer.units):
        raise DataError(message("from_keras", f"{3 * len(layer.units)} arrays are needed, got {len(weights)}"))
    for index, unit in enumerate(layer.units):
        kernel, recurrent, bias = weights[3 * index : 3 * index + 3]
        _fill(unit, layout, "W", np.asarray(kernel).T)
        _fill(unit, layout, "U", np.asarray(recurrent).T)
        outer, inner = bias if np.ndim(bias) == 2 else (bias, np.zeros_like(bias))
        _fill_biases(unit, layout, outer, inner)


# --- ONNX ------------------------------------------------------------------------------------------------------------


def to_onnx(layer: Convertible) -> dict[str, Any]:
    """One layer as an ONNX operator: `operator`, `attributes` and the inputs W, R, B (and P for peepholes)."""
    layout = _layout(ONNX, "onnx", layer.cell)
    _check_single(layer, "to_onnx")
    units = list(layer.units)
    found: dict[str, Any] = {"operator": layout.operator, "attributes": dict(layout.attributes)}
    found["attributes"] |= {"hidden_size": layer.hidden_size}
    found["attributes"]["direction"] = (
        "bidirectional" if layer.bidirectional else "reverse" if layer.reverse else "forward"
    )
    if "activations" in layout.attributes:
        found["attributes"]["activations"] = list(layout.attributes["activations"]) * len(units)
    found["W"] = np.stack([np.concatenate(_blocks(unit, layout, "W")) for unit in units])
    found["R"] = np.stack([np.concatenate(_blocks(unit, layout, "U")) for unit in units])
    found["B"] = np.stack([np.concatenate(_blocks(unit, layout, "b") + _inner(unit, layout)) for unit in units])
    if layout.peepholes:
        found["P"] = np.stack(
            [np.concatenate([_array(unit.named()[f"p.{gate}"]) for gate in layout.peepholes]) for unit in units]
        )
    return found


def from_onnx(layer: Convertible, weights: Mapping[str, np.ndarray]) -> None:
    """Copy the inputs W, R, B (and P) of an ONNX LSTM, GRU or RNN node into the matching one-layer `layer`."""
    layout = _layout(ONNX, "onnx", layer.cell)
    _check_single(layer, "from_onnx")
    for index, unit in enumerate(layer.units):
        _fill(unit, layout, "W", weights["W"][index])
        _fill(unit, layout, "U", weights["R"][index])
        outer, inner = np.split(np.asarray(weights["B"][index]), 2)
        _fill_biases(unit, layout, outer, inner)
        peepholes = np.split(np.asarray(weights["P"][index]), 3) if layout.peepholes else []
        for gate, block in zip(layout.peepholes, peepholes, strict=True):
            _set(unit.named()[f"p.{gate}"], block)


def _check_single(layer: Convertible, where: str) -> None:
    if layer.num_layers != 1 or layer.residual or layer.skip:
        raise ConfigError(
            message(where, "one layer without residual or skip at a time", hint="convert each layer by itself.")
        )
