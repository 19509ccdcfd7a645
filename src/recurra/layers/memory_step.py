"""One step of a neural Turing machine's memory, from what the controller says to what it reads back; and whole runs.

A step is written twice, and held together by tests: in torch out of the equations of `ntm_addressing`, and in C++
(native/ntm.cpp, forward and derivative), as the torch version launches about sixty small operations a step. Where the
controller is a feed-forward layer, `memory_run` does whole sequences in C++, row after row, so that a row's memory
stays in the first-level cache; weight gradients are then one product over all steps. Cells go step by step.
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

__all__ = ["HeadSizes", "memory_run", "memory_step", "memory_step_reference", "native_library"]

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
            for function, run, pointers in (
                ("forward", 0, 7),
                ("backward", 0, 11),
                ("forward", 1, 13),
                ("backward", 1, 17),
            ):
                entry = getattr(library, f"ntm_{'run_' if run else ''}{function}_{name}")
                numbers = [ctypes.c_int64] * 9 + [ctypes.c_double] if run else [ctypes.c_int64] * 6
                entry.argtypes = [*numbers, *[ctypes.c_void_p] * pointers, ctypes.c_int]
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


class _NativeRun(torch.autograd.Function):
    """memory here is (B, W, N): see native/ntm.cpp for every array."""

    @staticmethod
    def forward(
        ctx: Any,
        library: ctypes.CDLL,
        sizes: HeadSizes,
        clip: float,
        x: Tensor,
        layer: Tensor,
        layer_bias: Tensor,
        heads: Tensor,
        heads_bias: Tensor,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        x, layer_bias, heads_bias = x.contiguous(), layer_bias.contiguous(), heads_bias.contiguous()
        reads, weights, memory = (part.contiguous() for part in state)
        (batch, steps, inputs), hidden = x.shape, layer.shape[0]
        ctx.numbers = (batch, sizes.locations, sizes.width, sizes.reading, sizes.writing, sizes.shifts)
        ctx.numbers += steps, inputs, hidden, clip
        features = x.new_empty(batch, steps, hidden + sizes.reading * sizes.width)
        raw = x.new_empty(batch, steps, sizes.raw_size)
        all_weights = x.new_empty(batch, steps, sizes.heads, sizes.locations)
        all_memory = x.new_empty(batch, steps, sizes.width, sizes.locations)
        kept_size = sizes.raw_size + sizes.locations + sizes.heads * (4 * sizes.locations + 1)
        kept = x.new_empty(batch, steps, kept_size)
        given = x, layer.t().contiguous(), layer_bias, heads.t().contiguous(), heads_bias, reads, weights, memory
        arrays = *given, features, raw, all_weights, all_memory, kept
        entry = getattr(library, f"ntm_run_forward_{_NAMES[x.dtype]}")
        entry(*ctx.numbers, *[array.data_ptr() for array in arrays], torch.get_num_threads())
        ctx.library = library
        ctx.save_for_backward(x, layer, heads, *arrays[5:])
        last = features[:, -1, hidden:].unflatten(-1, (sizes.reading, sizes.width))
        ctx.mark_non_differentiable(raw, all_weights)
        return features, last.clone(), all_weights[:, -1].clone(), all_memory[:, -1].clone(), raw, all_weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_features: Tensor, *d_state: Tensor) -> tuple[Tensor | None, ...]:
        x, layer, heads, reads, weights, memory, features, raw, all_weights, all_memory, kept = ctx.saved_tensors
        hidden = layer.shape[0]
        d_reads, d_weights, d_memory = (part.clone(memory_format=torch.contiguous_format) for part in d_state[:3])
        d_x, d_raw = torch.empty_like(x), torch.empty_like(raw)
        d_hidden = x.new_empty(*x.shape[:2], hidden)
        given = layer.contiguous(), heads.contiguous(), weights, memory, features, raw, all_weights, all_memory, kept
        made = d_reads, d_weights, d_memory, torch.empty_like(d_memory), d_x, d_hidden, d_raw
        arrays = *given, d_features.contiguous(), *made
        entry = getattr(ctx.library, f"ntm_run_backward_{_NAMES[x.dtype]}")
        entry(*ctx.numbers, *[array.data_ptr() for array in arrays], torch.get_num_threads())
        before = torch.cat((reads.flatten(1).unsqueeze(1), features[:, :-1, hidden:]), 1)
        read = torch.cat((x, before), -1).flatten(0, 1)
        flat_hidden, flat_raw = d_hidden.flatten(0, 1), d_raw.flatten(0, 1)
        d_layer = flat_hidden.t() @ read
        d_heads = flat_raw.t() @ features[..., :hidden].flatten(0, 1)
        return (
            None,
            None,
            None,
            d_x,
            d_layer,
            flat_hidden.sum(0),
            d_heads,
            flat_raw.sum(0),
            d_reads,
            d_weights,
            d_memory,
        )


def memory_run(
    x: Tensor,
    layer: torch.nn.Linear,
    heads: torch.nn.Linear,
    state: tuple[Tensor, Tensor, Tensor],
    sizes: HeadSizes,
    clip: float | None,
) -> tuple[Tensor, ...] | None:
    """All steps of a machine with the controller tanh(layer([x, reads])); None where the C++ cannot run them.

    x (B, T, I), T >= 1; state: reads (B, R, W), weightings (B, K, N), memory (B, N, W). Returns the controller's
    outputs beside the reads (B, T, H + R W), the three parts of the last state, and without gradients what the heads
    were told (B, T, P) and where they were (B, T, K, N).
    """
    tensors = x, layer.weight, heads.weight, *state
    if any(tensor.dtype != x.dtype or tensor.device.type != "cpu" for tensor in tensors) or x.dtype not in _NAMES:
        return None
    library = native_library()
    if library is None:
        return None
    reads, weights, memory = state
    bound = float("inf") if clip is None else clip
    given = x, layer.weight, layer.bias, heads.weight, heads.bias, reads, weights, memory.transpose(1, 2)
    features, reads, weights, memory, raw, all_weights = _NativeRun.apply(library, sizes, bound, *given)
    return features, reads, weights, memory.transpose(1, 2), raw, all_weights
