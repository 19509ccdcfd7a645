"""The engine compiled for a test, and its structs for ctypes."""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, Structure, c_int64, c_void_p
from pathlib import Path

import numpy as np
import pytest

from recurra.kernels.cpu import compiler

__all__ = [
    "ISA_FLAGS",
    "Call",
    "Engine",
    "Instruction",
    "State",
    "Value",
    "address",
    "aligned",
    "compile_native",
    "engine",
]

SOURCE = compiler.ENGINE
ISA_FLAGS = compiler.ISAS
NEEDS = {"avx512": {"avx512f", "avx512bw", "avx512vl", "avx512dq", "fma"}, "avx2": {"avx2", "fma"}, "base": set()}


@functools.cache
def compile_native(source: Path, isa: str, real: str = "float") -> ctypes.CDLL:
    """The library of one C++ file as users get it; skips the test where this machine cannot build or run it."""
    if compiler.compiler() is None:
        pytest.skip("no C++ compiler")
    cpu = Path("/proc/cpuinfo")
    have = set(cpu.read_text().split()) if cpu.exists() else set()
    if missing := NEEDS[isa] - have:
        pytest.skip(f"this CPU has no {', '.join(sorted(missing))}")
    return ctypes.CDLL(str(compiler.build(source.read_text(encoding="utf-8"), isa, real)))


class Value(Structure):
    """Where a value lives: abi.h."""

    _fields_ = (("base", c_void_p), *((name, c_int64) for name in ("step", "row", "flip", "slice", "phase")))


class Instruction(Structure):
    """A segment or a product: abi.h."""

    _fields_ = (
        ("kind", c_int64),
        ("barrier", c_int64),
        ("run", c_void_p),
        ("by_rows", c_int64),
        ("size", c_int64),
        ("slot_count", c_int64),
        ("slots", c_void_p),
        ("operand", c_int64),
        ("depth", c_int64),
        ("piece_count", c_int64),
        ("widths", c_void_p),
        ("outputs", c_void_p),
        ("packed", c_void_p),
    )


class State(Structure):
    """How a state travels: abi.h."""

    _fields_ = (
        *((name, c_int64) for name in ("in_", "out", "size", "carry")),
        *((name, c_void_p) for name in ("start", "initial", "last", "initial_gradient")),
    )


class Call(Structure):
    """One run: abi.h."""

    _fields_ = (
        *((name, c_int64) for name in ("dtype", "half_weights", "steps", "batch", "backward")),
        ("offset", c_void_p),
        ("row_step", c_int64),
        *((name, c_void_p) for name in ("active", "resets", "any_reset")),
        *((name, c_int64) for name in ("interleave", "groups", "members")),
        ("value_count", c_int64),
        ("values", POINTER(Value)),
        ("instruction_count", c_int64),
        ("code", POINTER(Instruction)),
        ("state_count", c_int64),
        ("states", POINTER(State)),
    )


def address(array: np.ndarray | None) -> int:
    """The pointer to an array's first element; null without one."""
    return 0 if array is None else array.ctypes.data


def aligned(size_bytes: int) -> np.ndarray:
    """Bytes that start at a multiple of 64; all ones, so that what nobody wrote is NaN."""
    memory = np.full(size_bytes + 64, 255, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size_bytes]


class Engine:
    """recurra_pack and recurra_run of one build."""

    def __init__(self, isa: str):
        self.lib = lib = compile_native(SOURCE / "engine.cpp", isa)
        for name in ("abi", "lanes", "packed_bytes", "run"):
            getattr(lib, f"recurra_{name}").restype = c_int64
        lib.recurra_packed_bytes.argtypes = [c_int64] * 4
        lib.recurra_pack.argtypes = [c_int64, c_int64, c_void_p, *[c_int64] * 4, c_void_p, c_int64]
        lib.recurra_pack.restype = None
        lib.recurra_run.argtypes = [POINTER(Call)]
        lib.recurra_lanes.argtypes = [c_int64]

    def pack(self, matrix: np.ndarray, half: bool = False, threads: int = 1) -> np.ndarray:
        """A matrix (depth, width), strided as it may be."""
        dtype = int(matrix.dtype == np.float64)
        depth, width = matrix.shape
        packed = aligned(self.lib.recurra_packed_bytes(dtype, half, depth, width))
        strides = [stride // matrix.itemsize for stride in matrix.strides]
        self.lib.recurra_pack(dtype, half, matrix.ctypes.data, depth, width, *strides, packed.ctypes.data, threads)
        return packed


@functools.cache
def engine(isa: str) -> Engine:
    """The engine built for one instruction set; skips where this CPU has it not."""
    return Engine(isa)
