"""An echo state network in one safetensors file: arrays by name, and what they mean as JSON in its header."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import scipy.sparse
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from recurra.base.errors import CheckpointError, message
from recurra.base.files import write_bytes
from recurra.reservoir.compose import AnyReservoir, DeepReservoir, ParallelReservoir
from recurra.reservoir.reservoir import Reservoir
from recurra.reservoir.ridge import Readout

__all__ = ["Storable", "arrays_of", "load", "reservoir_from", "save"]

VERSION = 1
KINDS = {"parallel": ParallelReservoir, "deep": DeepReservoir}


class Storable(Protocol):
    """What is written of a network; `recurra.reservoir.echo_state.EchoStateNetwork` is one."""

    reservoir: AnyReservoir
    readout: Readout | None
    output_size: int
    input_to_readout: bool
    noise: float
    loop_noise: float
    seed: int

    @property
    def squares(self) -> str:
        """Which states the readout also reads squared: "none", "half" or "all"."""
        ...

    @property
    def store(self) -> np.dtype[Any]:
        """The dtype of stored states."""
        ...


Network = TypeVar("Network", bound=Storable)


def save(net: Storable, path: Path) -> None:
    """Write `net` to `path`, all of it or nothing. What an online readout has learnt is kept, its P is not."""
    kind = next((name for name, cls in KINDS.items() if isinstance(net.reservoir, cls)), "single")
    parts: Any = [net.reservoir] if kind == "single" else getattr(net.reservoir, "parts", ())
    arrays: dict[str, np.ndarray] = {}
    for index, part in enumerate(parts):
        if not isinstance(part, Reservoir):
            fact = f"cannot keep a reservoir of class {type(part).__name__}"
            raise CheckpointError(message("EchoStateNetwork.save", fact))
        for name, value in arrays_of(part).items():
            arrays[f"reservoir.{index}.{name}"] = np.ascontiguousarray(value)
    if net.readout is not None:
        arrays["readout.weights"] = np.ascontiguousarray(net.readout.weights)
        arrays["readout.intercept"] = np.ascontiguousarray(net.readout.intercept)
    about = {
        "version": VERSION,
        "kind": kind,
        "reservoirs": [{"activation": p.activation} for p in parts],
        "output_size": net.output_size,
        "input_to_readout": net.input_to_readout,
        "squares": net.squares,
        "noise": net.noise,
        "loop_noise": net.loop_noise,
        "store": net.store.name,
        "seed": net.seed,
    }
    write_bytes(path, to_bytes(arrays, metadata={"recurra.echo_state_network": json.dumps(about)}))


def load(path: Path, make: Callable[..., Network]) -> Network:
    """Return the network of `path`, made by `make(reservoir, output_size, **options)`.

    Raises CheckpointError where the file is missing, damaged or of another kind.
    """
    where = "EchoStateNetwork.load"
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})["recurra.echo_state_network"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(message(where, f"cannot read {path}: {error}")) from error
    except (KeyError, ValueError) as error:
        raise CheckpointError(message(where, f"{path} does not hold an echo state network")) from error
    if about["version"] != VERSION:
        raise CheckpointError(message(where, f"{path} is of version {about['version']}, this Recurra reads {VERSION}"))
    try:
        parts = [_reservoir(arrays, index, told) for index, told in enumerate(about["reservoirs"])]
        reservoir: AnyReservoir = parts[0] if about["kind"] == "single" else KINDS[about["kind"]](parts)
        options = {
            name: about[name] for name in ("input_to_readout", "squares", "noise", "loop_noise", "store", "seed")
        }
        net = make(reservoir, about["output_size"], **options)
        if "readout.weights" in arrays:
            net.readout = Readout(arrays["readout.weights"], arrays["readout.intercept"])
    except KeyError as error:
        raise CheckpointError(message(where, f"{path} lacks {error}")) from error
    return net


def arrays_of(part: Reservoir) -> dict[str, np.ndarray]:
    """All weights of a reservoir by name; those of W as the three arrays of a CSR matrix."""
    recurrent = part.recurrent_weights
    return {
        "W.values": recurrent.data,
        "W.columns": recurrent.indices,
        "W.starts": recurrent.indptr,
        "W_in": part.input_weights,
        "W_fb": part.feedback_weights,
        "bias": part.bias,
        "leak": part.leak,
        "gain": part.gain,
    }


def reservoir_from(arrays: Mapping[str, np.ndarray], activation: str) -> Reservoir:
    """The reservoir that `arrays_of` was asked about."""
    values, columns, starts = (arrays[f"W.{name}"] for name in ("values", "columns", "starts"))
    units = len(starts) - 1
    return Reservoir.from_weights(
        scipy.sparse.csr_array((values, columns, starts), shape=(units, units)),
        arrays["W_in"],
        W_fb=arrays["W_fb"],
        bias=arrays["bias"],
        leak=arrays["leak"],
        gain=arrays["gain"],
        activation=activation,
        dtype=values.dtype,
    )


def _reservoir(arrays: dict[str, np.ndarray], index: int, told: dict[str, Any]) -> Reservoir:
    start = f"reservoir.{index}."
    own = {name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)}
    return reservoir_from(own, told["activation"])
