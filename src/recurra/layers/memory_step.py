"""One step of a neural Turing machine's memory, from what the controller says to what it reads back.

Written twice, and held together by tests: in torch out of the equations of `ntm_addressing`, and in C++ (forward and
derivative in one pass each over a memory that stays in the first-level cache), which is what makes training on a CPU
bearable: the torch version launches about sixty small operations a step.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from recurra.kernels.cpu.extension import extension
from recurra.layers.ntm_addressing import address, erase_and_add, read

__all__ = ["HeadSizes", "memory_step", "memory_step_reference", "native_library"]

_NAMES = {torch.float32: "f32", torch.float64: "f64"}


class HeadSizes(NamedTuple):
    """How many heads of which kind, and what they say."""

    reading: int
    writing: int
    locations: int
    width: int
    shifts: int

    @property
    def heads(self) -> int:
        """K, the reading ones first."""
        return self.reading + self.writing

    @property
    def parts(self) -> tuple[int, ...]:
        """Widths of one head's numbers: key, strength, gate, shift, sharpening."""
        return (self.width, 1, 1, self.shifts, 1)

    @property
    def raw_size(self) -> int:
        """P, all numbers that the controller gives in one step: every head's parts, then erase and add per writer."""
        return self.heads * sum(self.parts) + self.writing * 2 * self.width


def memory_step_reference(memory: Tensor, previous: Tensor, raw: Tensor, sizes: HeadSizes) -> tuple[Tensor, ...]:
    """What a step is: memory (B, N, W), weightings (B, K, N), raw (B, P) -> reads (B, R, W), weightings, memory.

    Every head looks at the memory as the last step left it; then the writing heads change it. Ranges: keys and what is
    added by tanh, strength by softplus, sharpening by 1 + softplus, gates and erasing by sigmoid, shifts by softmax
    (those of Collier and Beel 2018).
    """
    addressing, changing = raw.split((sizes.heads * sum(sizes.parts), sizes.writing * 2 * sizes.width), -1)
    parts = addressing.unflatten(-1, (sizes.heads, -1)).split(sizes.parts, -1)
    key, strength, gate, by, power = parts
    weights = address(
        memory,
        previous,
        torch.tanh(key),
        functional.softplus(strength.squeeze(-1), threshold=40),
        torch.sigmoid(gate.squeeze(-1)),
        torch.softmax(by, -1),
        1 + functional.softplus(power.squeeze(-1), threshold=40),
    )
    reads = read(memory, weights[:, : sizes.reading])
    erase, add = changing.unflatten(-1, (sizes.writing, 2, sizes.width)).unbind(-2)
    return reads, weights, erase_and_add(memory, weights[:, sizes.reading :], torch.sigmoid(erase), torch.tanh(add))


@cache
def native_library() -> ctypes.CDLL | None:
    """The C++ of a step; None where it cannot be compiled."""
    library = extension(Path(__file__).parent / "native" / "ntm.cpp")
    if library is not None:
        for name in _NAMES.values():
            for function, pointers in ((f"ntm_forward_{name}", 7), (f"ntm_backward_{name}", 11)):
                entry = getattr(library, function)
                entry.argtypes = [ctypes.c_int64] * 6 + [ctypes.c_void_p] * pointers + [ctypes.c_int]
                entry.restype = None
    return library


class _Native(torch.autograd.Function):
    """memory here is (B, W, N): see native/ntm.cpp for every array."""

    @staticmethod
    def forward(
        ctx: Any, library: ctypes.CDLL, memory: Tensor, previous: Tensor, raw: Tensor, sizes: HeadSizes
    ) -> tuple[Tensor, ...]:
        memory, previous, raw = memory.contiguous(), previous.contiguous(), raw.contiguous()
        batch = memory.shape[0]
        reads = memory.new_empty(batch, sizes.reading, sizes.width)
        weights, after = torch.empty_like(previous), torch.empty_like(memory)
        kept = memory.new_empty(batch, sizes.raw_size + sizes.locations + sizes.heads * (4 * sizes.locations + 1))
        ctx.numbers = batch, sizes.locations, sizes.width, sizes.reading, sizes.writing, sizes.shifts
        arrays = memory, previous, raw, reads, weights, after, kept
        entry = getattr(library, f"ntm_forward_{_NAMES[memory.dtype]}")
        entry(*ctx.numbers, *[array.data_ptr() for array in arrays], torch.get_num_threads())
        ctx.library = library
        ctx.save_for_backward(memory, previous, raw, weights, kept)
        return reads, weights, after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_reads: Tensor, d_weights: Tensor, d_after: Tensor) -> tuple[Tensor | None, ...]:
        memory, previous, raw, weights, kept = ctx.saved_tensors
        d_memory, d_previous, d_raw = torch.empty_like(memory), torch.empty_like(previous), torch.empty_like(raw)
        # The native code uses the weightings' gradient up, so it gets one of its own.
        given = d_reads.contiguous(), d_weights.contiguous().clone(), d_after.contiguous()
        arrays = memory, previous, raw, weights, kept, *given, d_memory, d_previous, d_raw
        entry = getattr(ctx.library, f"ntm_backward_{_NAMES[memory.dtype]}")
        entry(*ctx.numbers, *[array.data_ptr() for array in arrays], torch.get_num_threads())
        return None, d_memory, d_previous, d_raw, None


def memory_step(
    memory: Tensor, previous: Tensor, raw: Tensor, sizes: HeadSizes, native: bool | None = None
) -> tuple[Tensor, ...]:
    """`memory_step_reference` by the fastest way there is.

    native: None takes the C++ for float32 and float64 on the CPU; False never does. The memory that comes back is a
    transposed view, which the next step takes without copying.
    """
    if native is None:
        native = memory.device.type == "cpu" and memory.dtype in _NAMES and raw.dtype == memory.dtype
    library = native_library() if native else None
    if library is None:
        return memory_step_reference(memory, previous, raw, sizes)
    reads, weights, after = _Native.apply(library, memory.transpose(1, 2), previous, raw, sizes)
    return reads, weights, after.transpose(1, 2)
