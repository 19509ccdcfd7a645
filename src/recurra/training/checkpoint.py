"""One file that holds a whole run: tensors in safetensors, the rest as JSON in that file's header.

Being one file, written under another name and renamed, it is never half old and half new; a digest over JSON and
tensors tells a damaged one. Nothing in it is code: no pickle, no class names.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor, nn

from recurra.base.errors import CheckpointError, DataError, message
from recurra.base.files import write_bytes

__all__ = ["VERSION", "load", "load_weights", "restore_weights", "save", "save_weights"]

VERSION = 1
"""Goes up when an old file would be misread."""

_RUN, _WEIGHTS = "recurra checkpoint", "recurra weights"


def save(path: Path | str, content: dict[str, Any]) -> None:
    """Write nested dicts, lists and tuples of tensors, numbers, strings, booleans and None, all of it or nothing.

    Raises CheckpointError where the disk does not take it; the file that was there before is untouched.
    """
    tensors: dict[str, Tensor] = {}
    _write(Path(path), _RUN, tensors, _packed(content, "", tensors))


def load(path: Path | str) -> dict[str, Any]:
    """What `save` wrote, tensors on the CPU.

    Raises CheckpointError where the file is missing, truncated, damaged, of another kind or another version.
    """
    tensors, content = _read(Path(path), _RUN)
    return _unpacked(content, tensors)


def save_weights(path: Path | str, weights: dict[str, Tensor], info: dict[str, Any] | None = None) -> None:
    """Write a model's `state_dict`, under its own names, with a few facts about it (iteration, validation loss)."""
    _write(Path(path), _WEIGHTS, {name: _own(tensor) for name, tensor in weights.items()}, info or {})


def load_weights(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_weights` wrote: the tensors by name and the facts; errors as `load`."""
    return _read(Path(path), _WEIGHTS)


def restore_weights(model: nn.Module, weights: dict[str, Tensor], where: str) -> None:
    """`load_state_dict` that names every weight that is missing, too much or of another shape (CheckpointError)."""
    own = model.state_dict()
    faults = [f"{name} {tuple(own[name].shape)} is missing" for name in own if name not in weights]
    faults += [f"{name} {tuple(tensor.shape)} is too much" for name, tensor in weights.items() if name not in own]
    faults += [
        f"{name} must be {tuple(tensor.shape)}, got {tuple(weights[name].shape)}"
        for name, tensor in own.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if faults:
        more = [f"and {len(faults) - 8} more"] if len(faults) > 8 else []
        hint = "it was saved from another model: compare the settings (cell, sizes, vocabulary)."
        raise CheckpointError(message(where, "the weights are not this model's", *faults[:8], *more, hint=hint))
    model.load_state_dict(weights)


def _write(path: Path, kind: str, tensors: dict[str, Tensor], content: Any) -> None:
    text = json.dumps(content)
    header = {"format": kind, "version": str(VERSION), "json": text, "digest": _digest(text, tensors)}
    try:
        # Through bytes, because the library's own writer does not tell a full disk from other faults.
        write_bytes(path, tensors_to_bytes(tensors, header))
    except DataError as error:
        raise CheckpointError(str(error)) from error


def _read(path: Path, kind: str) -> tuple[dict[str, Tensor], Any]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        hint = "nothing was saved there; leave out --resume to start anew." if not path.exists() else None
        raise CheckpointError(message(str(path), f"cannot be read: {error.strerror}", hint=hint)) from error
    size = f"{len(raw)} bytes"
    hint = "it was cut short or changed after it was written; restore it from a copy, or start anew."
    try:
        tensors = tensors_from_bytes(raw)
        header = _header(raw)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(message(str(path), f"is damaged ({size}): {error}", hint=hint)) from error
    if header.get("format") != kind:
        found = repr(header["format"]) if "format" in header else "without a format"
        raise CheckpointError(message(str(path), f"is no {kind} but a safetensors file {found}"))
    if header.get("version") != str(VERSION):
        fact = f"is a {kind} of version {header.get('version')}, this Recurra reads version {VERSION}"
        raise CheckpointError(message(str(path), fact, hint="read it with the Recurra that wrote it."))
    text = header.get("json", "")
    if header.get("digest") != _digest(text, tensors):
        fact = f"is damaged ({size}): its contents do not match the digest in its header"
        raise CheckpointError(message(str(path), fact, hint=hint))
    return tensors, json.loads(text)


def _header(raw: bytes) -> dict[str, str]:
    """The `__metadata__` of a safetensors file: 8 bytes of length, then JSON."""
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]).get("__metadata__", {})


def _digest(text: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _own(tensor: Tensor) -> Tensor:
    # A copy each: the format has no views, and tied weights share their storage.
    return tensor.detach().to("cpu", copy=True).contiguous()


def _packed(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """JSON for `value`; its tensors go to `tensors` under the path that leads to them."""
    if isinstance(value, Tensor):
        tensors[name] = _own(value)
        return {"$tensor": name}
    if isinstance(value, dict):
        # JSON's keys are strings, torch's optimisers number their parameters.
        return {"$dict": [[key, _packed(item, f"{name}/{key}".lstrip("/"), tensors)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"$tuple": [_packed(item, f"{name}/{index}", tensors) for index, item in enumerate(value)]}
    if isinstance(value, list):
        return [_packed(item, f"{name}/{index}", tensors) for index, item in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"checkpoint: {name} is a {type(value).__name__}; tensors, numbers, strings and lists of them go in"
    )


def _unpacked(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpacked(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        return tensors[value["$tensor"]]
    if "$tuple" in value:
        return tuple(_unpacked(item, tensors) for item in value["$tuple"])
    return {key: _unpacked(item, tensors) for key, item in value["$dict"]}
