"""The engine and the segments of a cell in memory: from the package where it was built, else compiled now."""

from __future__ import annotations

import ctypes
import os
from ctypes import c_int64, c_void_p
from functools import cache
from pathlib import Path

import torch

from recurra.base.errors import message
from recurra.kernels.cpu.abi import ABI, Call
from recurra.kernels.cpu.compiler import ENGINE, ISAS, CompileError, build, digest, engine_sources
from recurra.kernels.cpu.emit import HEADER, segments, source
from recurra.kernels.cpu.prebuild import cell_key, schedules
from recurra.kernels.cpu.program import CellProgram
from recurra.kernels.cpu.schedule import Schedule

__all__ = ["PREBUILT", "Compiled", "Engine", "engine", "isa"]

# Where a wheel keeps what was built with it.
PREBUILT = Path(__file__).parent / "prebuilt"


@cache
def isa() -> str:
    """The instruction set in use: the best this CPU has, or $RECURRA_ISA."""
    given = os.environ.get("RECURRA_ISA")
    if given:
        if given not in ISAS:
            raise CompileError(message("native engine", f"RECURRA_ISA must be one of {', '.join(ISAS)}, got {given!r}"))
        return given
    return {"AVX512": "avx512", "AVX2": "avx2"}.get(torch.backends.cpu.get_cpu_capability(), "base")


class Engine:
    """The library of the engine, its functions with their signatures."""

    def __init__(self, path: Path) -> None:
        self.library = ctypes.CDLL(str(path))
        lib = self.library
        lib.recurra_abi.restype = c_int64
        if lib.recurra_abi() != ABI:
            raise CompileError(f"{path.name} speaks another version of the interface")
        lib.recurra_packed_bytes.restype = c_int64
        lib.recurra_packed_bytes.argtypes = [c_int64] * 4
        lib.recurra_pack.restype = None
        lib.recurra_pack.argtypes = [c_int64, c_int64, c_void_p, c_int64, c_int64, c_int64, c_int64, c_void_p, c_int64]
        lib.recurra_run.restype = c_int64
        lib.recurra_run.argtypes = [ctypes.POINTER(Call)]


@cache
def engine() -> Engine:
    """The engine for this machine."""
    text = (ENGINE / "engine.cpp").read_text(encoding="utf-8")
    found = PREBUILT / f"engine-{isa()}-{digest(engine_sources())}.so"
    return Engine(found if found.exists() else build(text, isa()))


@cache
def _prebuilt_cells() -> ctypes.CDLL | None:
    found = PREBUILT / f"cells-{isa()}-{digest(engine_sources())}.so"
    return ctypes.CDLL(str(found)) if found.exists() else None


class Compiled:
    """The segments of one cell for one number type, by program: addresses in the order of the schedule."""

    def __init__(self, program: CellProgram, dtype: torch.dtype) -> None:
        # A cell without the engine is of no use: it must be known here, where a caller can still go elsewhere.
        engine()
        self.program = program
        self.schedules: dict[str, Schedule] = schedules(program)
        self.source = source(self.schedules, "cell")
        real = "double" if dtype == torch.float64 else "float"
        self.key = cell_key(self.source, real)
        self._library = _prebuilt_cells()
        self._prefix = f"cell_{self.key}"
        if real != "float" or not hasattr(self._library, f"{self._prefix}_infer_0"):
            self._prefix = "cell"
            self._library = ctypes.CDLL(str(build(HEADER + self.source, isa(), real)))
        self.functions = {name: self._addresses(name, schedule) for name, schedule in self.schedules.items()}

    def _addresses(self, name: str, schedule: Schedule) -> list[int]:
        return [
            ctypes.cast(getattr(self._library, f"{self._prefix}_{name}_{number}"), c_void_p).value or 0
            for number in range(len(segments(schedule)))
        ]
