"""Which backend runs a request: the first in order that does not refuse."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from recurra.base.errors import NoBackend, message, nearest
from recurra.equations.spec import CellSpec
from recurra.kernels.cpu.backend import Native
from recurra.kernels.cpu.session import Stepper
from recurra.kernels.reference.backend import Reference
from recurra.kernels.request import Backend, FusedLayout, Request
from recurra.kernels.scan.backend import Scan
from recurra.kernels.torchnn import TorchNN

__all__ = ["BACKENDS", "choose", "name_of", "run", "run_in_graph", "run_outside_graph", "stepper"]

# Fastest first; the reference takes everything. A new engine is one entry here.
native = Native()
BACKENDS: list[Backend] = [native, TorchNN(), Scan(), Reference()]

_shown: set[str] = set()


def choose(request: Request, only: str | None = None) -> tuple[Backend, dict[str, str]]:
    """The backend for a request, and why each one before it refused.

    Raises NoBackend when `only` names one that refuses or does not exist.
    """
    reasons: dict[str, str] = {}
    for backend in BACKENDS:
        if only is not None and backend.name != only:
            continue
        reason = backend.refuses(request)
        if reason is None:
            return backend, reasons
        reasons[backend.name] = reason
    if only is not None and only not in reasons:
        names = ", ".join(nearest(only, [backend.name for backend in BACKENDS]))
        raise NoBackend(message("dispatch", f"no backend is called {only!r}", f"There are: {names}."))
    raise NoBackend(message("dispatch", f"no backend runs {request.spec.name}", *map(": ".join, reasons.items())))


def run(request: Request, only: str | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Outputs (B, T, size) and final state. RECURRA_SHOW=plan prints which backend ran, and why others did not."""
    backend, reasons = choose(request, only)
    if "plan" in os.environ.get("RECURRA_SHOW", "").split(","):
        _show(request, backend, reasons)
    return backend.run(request)


# Requests of compiled graphs name their spec by a string, as a graph holds tensors and plain values only.
_named: dict[str, tuple[CellSpec, FusedLayout | None]] = {}


def name_of(spec: CellSpec, fused: FusedLayout | None) -> str:
    """A name for a spec in compiled graphs."""
    name = f"{spec.name}:{id(spec)}"
    _named[name] = spec, fused
    return name


@torch.compiler.allow_in_graph
def run_in_graph(
    name: str,
    params: list[Tensor],
    x: Tensor,
    state: list[Tensor],
    initial: list[Tensor],
    extras: list[Tensor],
    only: str | None,
    recompute: bool,
) -> list[Tensor]:
    """`run` for torch.compile, which does not look inside: tensors in the order of the spec -> output, final states."""
    spec, fused = _named[name]
    named = dict(zip(spec.params, params, strict=True))
    masks = {extra.name: value for extra, value in zip(spec.extras, extras, strict=True)}
    request = Request(spec, named, x, tuple(state), tuple(initial), extras=masks, fused=fused, recompute=recompute)
    y, final = choose(request, only)[0].run(request)
    return [y, *final]


# Where rows end early or restart, what is computed depends on values, which a graph cannot know: it breaks there.
run_outside_graph = cast("Callable[..., tuple[Tensor, tuple[Tensor, ...]]]", torch.compiler.disable(run))


def stepper(spec: CellSpec, params: Mapping[str, Tensor], extras: Sequence[Tensor], only: str | None) -> Stepper | None:
    """The native code for single steps with these parameters, packed; None where it cannot run them."""
    if only not in (None, Native.name):
        return None
    return native.stepper(spec, params, extras)


def _show(request: Request, backend: Backend, reasons: dict[str, str]) -> None:
    """One line per new kind of request on standard error."""
    shape = ", ".join(f"{axis}={size}" for axis, size in zip("BTI", request.x.shape, strict=True))
    line = f"recurra plan: {request.spec.name} ({shape}, {request.x.dtype}) runs on {backend.name}"
    line += "".join(f"; {name}: {reason}" for name, reason in reasons.items())
    if line not in _shown:
        _shown.add(line)
        print(line, file=sys.stderr)
