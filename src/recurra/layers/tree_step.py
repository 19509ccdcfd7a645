"""The elementwise part of a Tree-LSTM, for all nodes of one height: from what they hear to their states.

Child-sum and N-ary nets differ in what a node hears of its children, which is matrix products; what becomes of it is
the same and stands here once, in torch, and again in C++ (native/tree.cpp), which reads and writes everything once
where torch makes some fifteen passes. Tests hold the two together.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recurra.base.forest import Level
from recurra.kernels.cpu.extension import extension

__all__ = ["native_library", "tree_lstm", "tree_step"]


def tree_lstm(gates: Tensor, forget: Tensor | None, c: Tensor | None, total: Callable[[Tensor], Tensor]) -> Tensor:
    """Tai et al. 2015, eq. 3 and 5-8 (the same as 9 and 11-14): the states [h, c], (m, 2 H).

    gates: (m, 3 H), what input gate, output gate and update are squashed from.
    forget, c: (..., H), what each child's forget gate is squashed from, and its cell state; None for leaves.
    total: how those of one node are added up.
    """
    i, o, u = gates.chunk(3, -1)
    cell = torch.sigmoid(i) * torch.tanh(u)
    if forget is not None and c is not None:
        cell = cell + total(torch.sigmoid(forget) * c)
    return torch.cat((torch.sigmoid(o) * torch.tanh(cell), cell), -1)


def tree_step(
    said: Tensor,
    heard: Tensor | None = None,
    forget: Tensor | None = None,
    children: Tensor | None = None,
    level: Level | None = None,
    native: bool | None = None,
) -> Tensor:
    """States [h, c] (m, 2 H) of a level; of leaves where there is nothing but `said`.

    said: (m, 4 H), or (4 H,) for all nodes alike: i, o, u, f of the input.
    heard: (m, 3 H) i, o, u of the children, with `forget` (c, H); or with forget=None (m, (3 + N) H), behind them one
        forget gate per place.
    children: (c, 2 H), their [h, c].
    native: False never takes the C++; None takes it for float32 on the CPU.
    """
    if native is None:
        native = said.device.type == "cpu" and said.dtype == torch.float32
    library = native_library() if native else None
    if library is not None:
        return _Native.apply(library, level, said, heard, forget, children)
    size = said.shape[-1] // 4
    gates, of_input = said.split((3 * size, size), -1)
    if heard is None or children is None or level is None:
        return tree_lstm(gates, None, None, _nothing)
    if forget is None:
        places = heard[:, 3 * size :].unflatten(-1, (-1, size))
        forget = places.flatten(0, 1).index_select(0, level.parent * places.shape[1] + level.position)
    of_input = of_input if of_input.dim() == 1 else of_input.index_select(0, level.parent)
    return tree_lstm(gates + heard[:, : 3 * size], of_input + forget, children[:, size:], level.total)


def _nothing(parts: Tensor) -> Tensor:
    return parts


@cache
def native_library() -> ctypes.CDLL | None:
    """The C++; None where it cannot be compiled."""
    library = extension(Path(__file__).parent / "native" / "tree.cpp")
    if library is not None:
        for name, pointers in (("tree_forward", 9), ("tree_backward", 11)):
            entry = getattr(library, name)
            entry.argtypes = [ctypes.c_int64] * 7 + [ctypes.c_void_p] * pointers
            entry.restype = None
    return library


def _pointers(*arrays: Tensor | None) -> list[int | None]:
    return [None if array is None else array.data_ptr() for array in arrays]


class _Native(torch.autograd.Function):
    """See native/tree.cpp for every array."""

    @staticmethod
    def forward(
        ctx: Any,
        library: ctypes.CDLL,
        level: Level | None,
        said: Tensor,
        heard: Tensor | None,
        forget: Tensor | None,
        children: Tensor | None,
    ) -> Tensor:
        said = said.contiguous()
        heard, forget, children = (None if part is None else part.contiguous() for part in (heard, forget, children))
        size = said.shape[-1] // 4
        count = said.shape[0] if level is None else level.size
        heard_row = 0 if heard is None else heard.shape[1]
        # Where the forget gates stand: per child, or behind the other gates of the node, one for each place.
        by_node, by_child, by_place = (heard_row, 0, size) if forget is None else (0, size, 0)
        ctx.numbers = count, size, 4 * size if said.dim() == 2 else 0, heard_row, by_node, by_child, by_place
        ctx.library, ctx.level, ctx.apart, ctx.one = library, level, forget is not None, said.dim() == 1
        out, gates = said.new_empty(count, 2 * size), said.new_empty(count, 3 * size)
        f = said.new_empty(0 if level is None else level.children, size)
        index = (None, None) if level is None else (level.first, level.position)
        gates_of = heard[:, 3 * size :] if forget is None and heard is not None else forget
        arrays = _pointers(*index, said, heard, gates_of, children, out, gates, f)
        library.tree_forward(*ctx.numbers, *arrays)
        ctx.save_for_backward(children, out, gates, f)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        children, out, gates, f = ctx.saved_tensors
        level: Level | None = ctx.level
        count, size, _, heard_row, *_ = ctx.numbers
        d_out = d_out.contiguous()
        d_said = out.new_zeros(4 * size) if ctx.one else out.new_zeros(count, 4 * size)
        d_heard = d_forget = d_children = None
        at: int | None = None
        index = (None, None)
        if level is not None:
            full = ctx.apart or level.uniform * size == heard_row - 3 * size
            d_heard = out.new_empty(count, heard_row) if full else out.new_zeros(count, heard_row)
            d_forget = torch.empty_like(f) if ctx.apart else None
            d_children = torch.empty_like(children)
            at = d_forget.data_ptr() if d_forget is not None else d_heard.data_ptr() + 12 * size
            index = level.first, level.position
        given = _pointers(*index, children, out, gates, f, d_out, d_said, d_heard)
        ctx.library.tree_backward(*ctx.numbers, *given, at, *_pointers(d_children))
        return None, None, d_said, d_heard, d_forget, d_children
