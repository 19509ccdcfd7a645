"""The C structures of engine/abi.h, as ctypes sees them."""

from __future__ import annotations

from ctypes import CFUNCTYPE, POINTER, Structure, c_int64, c_void_p

__all__ = ["ABI", "PRODUCT", "SEGMENT", "Call", "Instruction", "Slot", "State", "Value"]

ABI = 1
SEGMENT, PRODUCT = 0, 1


class Slot(Structure):
    """Address of row 0, and bytes from row to row."""

    _fields_ = [("p", c_void_p), ("row", c_int64)]


class Value(Structure):
    """base + offset[t] step + r row + (parity ^ phase) flip + thread slice."""

    _fields_ = [
        ("base", c_void_p),
        ("step", c_int64),
        ("row", c_int64),
        ("flip", c_int64),
        ("slice", c_int64),
        ("phase", c_int64),
    ]


class Instruction(Structure):
    """A segment or a product."""

    _fields_ = [
        ("kind", c_int64),
        ("barrier", c_int64),
        ("run", c_void_p),
        ("by_rows", c_int64),
        ("size", c_int64),
        ("slot_count", c_int64),
        ("slots", POINTER(c_int64)),
        ("operand", c_int64),
        ("depth", c_int64),
        ("piece_count", c_int64),
        ("widths", POINTER(c_int64)),
        ("outputs", POINTER(c_int64)),
        ("packed", POINTER(c_void_p)),
    ]


class State(Structure):
    """How a state travels from step to step."""

    _fields_ = [
        ("in_", c_int64),
        ("out", c_int64),
        ("size", c_int64),
        ("carry", c_int64),
        ("start", c_void_p),
        ("initial", c_void_p),
        ("last", c_void_p),
        ("initial_gradient", c_void_p),
    ]


class Call(Structure):
    """One run of a program over a batch of sequences."""

    _fields_ = [
        ("dtype", c_int64),
        ("half_weights", c_int64),
        ("steps", c_int64),
        ("batch", c_int64),
        ("backward", c_int64),
        ("offset", c_void_p),
        ("row_step", c_int64),
        ("active", c_void_p),
        ("resets", c_void_p),
        ("any_reset", c_void_p),
        ("interleave", c_int64),
        ("groups", c_int64),
        ("members", c_int64),
        ("value_count", c_int64),
        ("values", POINTER(Value)),
        ("instruction_count", c_int64),
        ("code", POINTER(Instruction)),
        ("state_count", c_int64),
        ("states", POINTER(State)),
    ]


# The signature of a segment: slots, rows, from, to, size.
SegmentFunction = CFUNCTYPE(None, POINTER(Slot), c_int64, c_int64, c_int64, c_int64)
