"""Which backend runs a request: the first in order that does not refuse."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from torch import Tensor

from recurra.base.errors import NoBackend, message, nearest
from recurra.equations.spec import CellSpec
from recurra.kernels.cpu.backend import Native
from recurra.kernels.cpu.session import Stepper
from recurra.kernels.reference.backend import Reference
from recurra.kernels.request import Backend, Request
from recurra.kernels.torchnn import TorchNN

__all__ = ["BACKENDS", "choose", "run", "stepper"]

# Fastest first; the reference takes everything. A new engine is one entry here.
native = Native()
BACKENDS: list[Backend] = [native, TorchNN(), Reference()]

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
