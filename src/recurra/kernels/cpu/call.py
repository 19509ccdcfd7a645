"""One run of a program: where every value lives in memory, and the call of the engine."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from ctypes import c_int64, c_void_p
from dataclasses import dataclass

import torch
from torch import Tensor

from recurra.kernels.cpu import abi
from recurra.kernels.cpu.library import engine
from recurra.kernels.cpu.schedule import Place, Product, Schedule, Segment

__all__ = ["Memory", "Rows", "execute", "pack", "padded", "threads_for"]


def padded(width: int) -> int:
    """The width of a row of scratch memory: whole vectors of any instruction set."""
    return -(-width // 16) * 16


@dataclass(frozen=True)
class Rows:
    """Which rows take part in which step.

    Row r of step t stands at offset[t] + r of every sequence. active: how many rows each step has, None for all.
    resets (N,) uint8 by that index, any_reset (T,) uint8.
    """

    steps: int
    batch: int
    offset: Tensor
    active: Tensor | None = None
    resets: Tensor | None = None
    any_reset: Tensor | None = None

    @property
    def plain(self) -> bool:
        """Whether the rows after a step are the rows before the next one, unchanged."""
        return self.active is None and self.resets is None


class Memory:
    """The places of a program with their addresses; keeps every tensor alive until the run is over."""

    def __init__(self, dtype: torch.dtype, batch: int, sizes: Mapping[str, int]) -> None:
        self.dtype, self.batch, self.sizes = dtype, batch, sizes
        self.item = dtype.itemsize
        self.values: list[tuple[int, int, int, int, int, int]] = []
        self.index: dict[Place, int] = {}
        self.held: list[Tensor] = []

    def width(self, place: Place) -> int:
        """Numbers in a row of the place."""
        return 1 if place.axis is None else self.sizes[place.axis]

    def put(self, place: Place, value: tuple[int, int, int, int, int, int]) -> None:
        """Enter (base, step, row, flip, slice, phase)."""
        self.index[place] = len(self.values)
        self.values.append(value)

    def sequence(self, place: Place, tensor: Tensor, column: int = 0) -> None:
        """Rows of all steps: tensor (N, w), the place begins at `column`."""
        self.held.append(tensor)
        stride = tensor.stride(-2) * self.item
        self.put(place, (tensor.data_ptr() + column * self.item, stride, stride, 0, 0, 0))

    def rows(self, place: Place, tensor: Tensor) -> None:
        """(B, w), the same for every step."""
        self.held.append(tensor)
        self.put(place, (tensor.data_ptr(), 0, tensor.stride(0) * self.item, 0, 0, 0))

    def vector(self, place: Place, tensor: Tensor) -> None:
        """(w,), shared by all rows."""
        self.held.append(tensor)
        self.put(place, (tensor.data_ptr(), 0, 0, 0, 0, 0))

    def totals(self, place: Place, tensor: Tensor) -> None:
        """(threads, w), one row per thread."""
        self.held.append(tensor)
        self.put(place, (tensor.data_ptr(), 0, 0, 0, tensor.stride(0) * self.item, 0))

    def scratch(self, places: Sequence[Place], turns: int = 1) -> None:
        """Memory for each row of the batch; with two turns, `places` are the buffer in use and the next one."""
        width = padded(self.width(places[0]))
        buffer = torch.empty(turns * self.batch * width, dtype=self.dtype)
        self.held.append(buffer)
        flip = self.batch * width * self.item if turns == 2 else 0
        for phase, place in enumerate(places):
            self.put(place, (buffer.data_ptr(), 0, width * self.item, flip, 0, phase))


def pack(matrix: Tensor, column: int | None = None, width: int | None = None) -> Tensor:
    """Columns of a matrix (depth, columns) in the engine's layout; a bfloat16 one stays so.

    Any strides; all columns, or `width` of them from `column` on.
    """
    lib = engine().library
    half = matrix.dtype == torch.bfloat16
    matrix = matrix.float() if half else matrix
    depth, columns = matrix.shape
    start, width = (column or 0) * matrix.stride(1), columns if width is None else width
    double = int(matrix.dtype == torch.float64)
    packed = torch.empty(lib.recurra_packed_bytes(double, int(half), depth, width) + 64, dtype=torch.uint8)
    aligned = packed[-packed.data_ptr() % 64 :]
    source = matrix.data_ptr() + start * matrix.element_size()
    threads = torch.get_num_threads()
    lib.recurra_pack(double, int(half), source, depth, width, *matrix.stride(), aligned.data_ptr(), threads)
    return aligned


def threads_for(batch: int, work: int, steps: int = 1) -> tuple[int, int]:
    """(groups, members): groups share no row, the members of one share its rows and split the hidden units.

    `work` is the number of multiplications of one step and row. Splitting the batch needs no synchronisation within
    the loop, but each thread then streams the whole weights for few rows; below 6 rows a thread the units are split
    instead, where a step is long enough to wait for the others at its end.
    """
    threads = torch.get_num_threads()
    if threads == 1 or batch * work * steps < 100_000:
        return 1, 1
    if batch >= 6 * threads or (batch >= threads and work < 10_000):
        return threads, 1
    if batch * work < 4096:
        return 1, 1
    groups = max(1, min(threads, batch // 6))
    while threads % groups:
        groups -= 1
    return groups, threads // groups


class Prepared:
    """A schedule as C structures, all but the addresses of the packed matrices."""

    def __init__(self, schedule: Schedule, functions: Sequence[int], memory: Memory) -> None:
        self.held: list[object] = []
        self.code = (abi.Instruction * len(schedule.instructions))()
        number = 0
        self.products: list[tuple[int, Product]] = []
        for position, (part, places) in enumerate(zip(schedule.instructions, schedule.slots, strict=True)):
            slots = self._array([memory.index[place] for place in places])
            if isinstance(part, Segment):
                size = memory.sizes[part.axis]
                self.code[position] = abi.Instruction(
                    abi.SEGMENT, 0, functions[number], int(part.by_rows), size, len(places), slots
                )
                number += 1
            else:
                widths = self._array([memory.width(place) for place in places])
                line = abi.Instruction(abi.PRODUCT, 1)
                line.operand = memory.index[part.operand]
                line.piece_count, line.widths, line.outputs = len(places), widths, slots
                self.code[position] = line
                self.products.append((position, part))
        if schedule.overtakes:
            self.code[0].barrier = 1

    def _array(self, numbers: Sequence[int]) -> ctypes.Array[c_int64]:
        made = (c_int64 * len(numbers))(*numbers)
        self.held.append(made)
        return made

    def weights(self, position: int, depth: int, packed: Sequence[Tensor]) -> None:
        """Set the matrices of one product."""
        made = (c_void_p * len(packed))(*(part.data_ptr() for part in packed))
        self.held += [made, *packed]
        self.code[position].depth = depth
        self.code[position].packed = made


def execute(
    prepared: Prepared,
    memory: Memory,
    rows: Rows,
    states: Sequence[abi.State],
    threads: tuple[int, int],
    *,
    backward: bool = False,
    half: bool = False,
) -> None:
    """Run; raises RuntimeError when the engine reports an error."""
    call = abi.Call()
    call.dtype = int(memory.dtype == torch.float64)
    call.half_weights, call.steps, call.batch, call.backward = int(half), rows.steps, rows.batch, int(backward)
    call.offset, call.row_step = rows.offset.data_ptr(), 1
    if rows.active is not None:
        call.active, call.interleave = rows.active.data_ptr(), 1
    if rows.resets is not None and rows.any_reset is not None:
        call.resets, call.any_reset = rows.resets.data_ptr(), rows.any_reset.data_ptr()
    call.groups, call.members = threads
    values = (abi.Value * len(memory.values))(*memory.values)
    call.value_count, call.values = len(memory.values), values
    call.instruction_count, call.code = len(prepared.code), prepared.code
    table = (abi.State * len(states))(*states)
    call.state_count, call.states = len(states), table
    status = engine().library.recurra_run(ctypes.byref(call))
    if status:
        raise RuntimeError(f"the native engine stopped with status {status}")
