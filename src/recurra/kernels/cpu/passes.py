"""The forward and the backward pass of a compiled cell over tensors in time order.

Layout of every sequence: (N, width), row r of step t at offset[t] + r; N is T * B where no row ends early.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from recurra.equations.expr import Expr
from recurra.kernels.cpu import abi
from recurra.kernels.cpu.call import Memory, Prepared, Rows, execute, pack, padded, threads_for
from recurra.kernels.cpu.library import Compiled
from recurra.kernels.cpu.program import CellProgram
from recurra.kernels.cpu.schedule import Place

__all__ = ["Cell", "Gradients", "Inputs", "Keep", "Result", "backward", "forward", "sizes_of", "states_kept"]

Keep = Literal["nothing", "all", "states"]


@dataclass
class Inputs:
    """What the loop reads.

    slices: per slice of the cell (N, width), or x (N, I) where the products of the input are in the loop.
    fixed: vectors (w,). matrices: per stack (K, sum of widths); bfloat16 where the loop's weights are rounded.
    states, initial: per state (B, size). extras: (1 or B, size), or (1, N, size) where they change from step to step.
    """

    slices: Sequence[Tensor]
    fixed: Sequence[Tensor]
    matrices: Sequence[Tensor]
    states: Sequence[Tensor]
    initial: Sequence[Tensor]
    extras: Sequence[Tensor]
    rows: Rows


@dataclass
class Result:
    """Outputs (N, size), final states, the values before every step by state, and what else was kept."""

    y: Tensor
    final: list[Tensor]
    sequences: dict[str, Tensor]
    kept: list[Tensor]


class Cell:
    """A compiled cell with the grouping of its inputs: which hoisted values stand side by side in one slice."""

    def __init__(self, program: CellProgram, slices: Sequence[Sequence[int]], compiled: Compiled | None = None) -> None:
        self.program = program
        self._compiled = compiled
        # Indices into program.hoisted.
        self.groups = [list(group) for group in slices]
        self.reads_input = program.plan.hoist == "none"
        self.slices = [[self.program.hoisted[i] for i in group] for group in slices]

    @property
    def compiled(self) -> Compiled:
        """The machine code; without it a cell can only say how large things are."""
        if self._compiled is None:
            raise ValueError("this cell was not compiled")
        return self._compiled

    def axis(self, node: Expr) -> str | None:
        """The axis of an input value."""
        return self.program.axis(node)

    def columns(self, sizes: Mapping[str, int]) -> dict[int, tuple[int, int]]:
        """Hoisted value -> its slice and the column it begins at."""
        found = {}
        for number, group in enumerate(self.groups):
            column = 0
            for index in group:
                found[index] = (number, column)
                axis = self.axis(self.program.hoisted[index])
                column += sizes[axis] if axis else 1
        return found


def sizes_of(cell: Cell, inputs: Inputs) -> dict[str, int]:
    """The width of every axis."""
    program = cell.program
    sizes = {program.spec.state_axes[s]: v.shape[-1] for s, v in zip(program.spec.states, inputs.states, strict=True)}
    if cell.reads_input:
        sizes["I"] = inputs.slices[0].shape[-1]
    for group, tensor in zip(cell.slices, inputs.slices, strict=False):
        axes = [cell.axis(node) for node in group]
        if axes[0] and axes[0] not in sizes and len(set(axes)) == 1:
            sizes[axes[0]] = tensor.shape[-1] // len(axes)
    for node, tensor in zip(program.fixed, inputs.fixed, strict=True):
        axis = cell.axis(node)
        if axis:
            sizes.setdefault(axis, tensor.shape[-1])
    for stack, matrix in zip(program.stacks, inputs.matrices, strict=True):
        sizes.setdefault(stack.operand_axis, matrix.shape[0])
        if len(set(stack.piece_axes)) == 1:
            sizes.setdefault(stack.piece_axes[0], matrix.shape[1] // len(stack.piece_axes))
    return sizes


def _enter_common(cell: Cell, memory: Memory, inputs: Inputs) -> None:
    """The input, vectors and masks: the same in both directions."""
    program = cell.program
    if cell.reads_input:
        memory.sequence(Place("x", "x", "I"), inputs.slices[0])
    for index, tensor in enumerate(inputs.fixed):
        memory.vector(Place("fixed", str(index), cell.axis(program.fixed[index])), tensor)
    for extra, tensor in zip(program.spec.extras, inputs.extras, strict=True):
        place = Place("extra", extra.name, extra.axis)
        if tensor.dim() == 3:
            memory.sequence(place, tensor)
        elif tensor.shape[0] == 1:
            memory.vector(place, tensor)
        else:
            memory.rows(place, tensor)


def _work(inputs: Inputs) -> int:
    """Multiplications of one row and step; elementwise work counts as some of them for each unit of the states."""
    return sum(matrix.numel() for matrix in inputs.matrices) + 16 * sum(state.shape[1] for state in inputs.states)


def states_kept(program: CellProgram, keep: Keep) -> list[str]:
    """The states whose values before every step are kept."""
    if keep == "states":
        return list(program.spec.states)
    return [state for state in program.spec.states if keep == "all" and state in program.sequences]


def _half(inputs: Inputs) -> bool:
    """Whether the weights of the loop are bfloat16; everything else is float32 then, sums too."""
    return any(matrix.dtype == torch.bfloat16 for matrix in inputs.matrices)


def forward(cell: Cell, inputs: Inputs, keep: Keep) -> Result:
    """All steps; what is kept of them: nothing, all that the backward pass needs, or the states only."""
    program, rows = cell.program, inputs.rows
    spec = program.spec
    like = inputs.states[0]
    sizes = sizes_of(cell, inputs)
    memory = Memory(like.dtype, rows.batch, sizes)
    count = inputs.slices[0].shape[0] if inputs.slices else rows.steps * rows.batch
    _enter_common(cell, memory, inputs)
    for index, (number, column) in cell.columns(sizes).items():
        axis = cell.axis(program.hoisted[index])
        memory.sequence(Place("hoisted", str(index), axis), inputs.slices[number], column)
    y, sequences, carried = _state_memory(program, memory, inputs, count, keep)
    kept = []
    if keep == "all":
        for place in program.kept_places:
            tensor = like.new_empty(count, memory.width(place))
            memory.sequence(place, tensor)
            kept.append(tensor)
    schedule = program.forward if keep == "all" else program.infer
    name = "forward" if keep == "all" else "infer"
    _scratch(schedule.places, memory)
    prepared = Prepared(schedule, cell.compiled.functions[name], memory)
    _pack_forward(program, prepared, inputs.matrices, sizes)
    final = [state.clone() for state in inputs.states]
    states = []
    for state, start, last, initial in zip(spec.states, inputs.states, final, inputs.initial, strict=True):
        axis = spec.state_axes[state]
        line = abi.State(memory.index[Place("in", state, axis)], memory.index[Place("out", state, axis)], sizes[axis])
        line.carry = int(state in carried)
        line.start, line.last = start.data_ptr(), last.data_ptr()
        if rows.resets is not None:
            line.initial = initial.data_ptr()
        states.append(line)
    threads = threads_for(rows.batch, _work(inputs), rows.steps)
    execute(prepared, memory, rows, states, threads, half=_half(inputs))
    return Result(y, final, sequences, kept)


def _state_memory(
    program: CellProgram, memory: Memory, inputs: Inputs, count: int, keep: Keep
) -> tuple[Tensor, dict[str, Tensor], set[str]]:
    """Where each state lives before and after a step; the outputs, the kept sequences, and the states to be copied."""
    spec, rows, like = program.spec, inputs.rows, inputs.states[0]
    sequences: dict[str, Tensor] = {}
    carried: set[str] = set()
    y = like.new_empty(0)
    for state in spec.states:
        axis = spec.state_axes[state]
        width = memory.sizes[axis]
        before, after = Place("in", state, axis), Place("out", state, axis)
        output, kept = state == spec.output, state in states_kept(program, keep)
        if (output or kept) and rows.plain:
            # One buffer with a step more: the values after a step are those before the next one.
            whole = like.new_empty(count + rows.batch, width)
            memory.sequence(before, whole[:count])
            memory.sequence(after, whole[rows.batch :])
            sequences[state] = whole[:count]
            if output:
                y = whole[rows.batch :]
            continue
        if not output and not kept:
            memory.scratch((before, after), 2)
            continue
        carried.add(state)
        if kept:
            sequences[state] = like.new_empty(count, width)
            memory.sequence(before, sequences[state])
        else:
            memory.scratch((before,), 2)
        if output:
            y = like.new_empty(count, width)
            memory.sequence(after, y)
        else:
            memory.scratch((after,))
    return y, sequences, carried


def _scratch(places: Sequence[Place], memory: Memory) -> None:
    """Memory for what lives within a step."""
    for place in places:
        if place in memory.index:
            continue
        # An operand that other threads read must outlive the step: its writer may be one step ahead.
        memory.scratch((place,), 2 if place.kind == "operand" else 1)


def _pack_forward(
    program: CellProgram, prepared: Prepared, matrices: Sequence[Tensor], sizes: Mapping[str, int]
) -> None:
    for position, product in prepared.products:
        matrix = matrices[product.stack]
        parts, column = [], 0
        for axis in program.stacks[product.stack].piece_axes:
            parts.append(pack(matrix, column, sizes[axis]))
            column += sizes[axis]
        prepared.weights(position, matrix.shape[0], parts)


@dataclass
class Gradients:
    """What the backward pass yields, shaped as the inputs."""

    slices: list[Tensor]
    fixed: list[Tensor]
    matrices: list[Tensor]
    states: list[Tensor]
    initial: list[Tensor]


def backward(
    cell: Cell,
    inputs: Inputs,
    sequences: Mapping[str, Tensor],
    kept: Sequence[Tensor],
    output_gradient: Tensor,
    final_gradients: Sequence[Tensor],
    input_wanted: bool = True,
) -> Gradients:
    """Gradients of all inputs; output_gradient (N, size), final_gradients (B, size) per state, contiguous.

    `inputs.slices` give shapes only: their values are not read.
    """
    program, rows = cell.program, inputs.rows
    spec = program.spec
    like = inputs.states[0]
    sizes = sizes_of(cell, inputs)
    memory = Memory(like.dtype, rows.batch, sizes)
    threads = threads_for(rows.batch, _work(inputs), rows.steps)
    _enter_common(cell, memory, inputs)
    slices = [] if cell.reads_input else [torch.empty(part.shape, dtype=part.dtype) for part in inputs.slices]
    if program.reads_input:
        slices = [torch.empty(inputs.slices[0].shape, dtype=like.dtype)]
        memory.sequence(Place("input gradient", "x", "I"), slices[0])
    for index, (number, column) in cell.columns(sizes).items():
        axis = cell.axis(program.hoisted[index])
        memory.sequence(Place("hoisted gradient", str(index), axis), slices[number], column)
    for state, tensor in sequences.items():
        memory.sequence(Place("in", state, spec.state_axes[state]), tensor)
    for place, tensor in zip(program.kept_places, kept, strict=True):
        memory.sequence(place, tensor)
    memory.sequence(Place("output gradient", spec.output, spec.output_axis), output_gradient)
    totals = []
    for index, tensor in enumerate(inputs.fixed):
        total = tensor.new_zeros(threads[0] * threads[1], padded(tensor.shape[0]))
        memory.totals(Place("fixed gradient", str(index), cell.axis(program.fixed[index])), total)
        totals.append(total)
    count = output_gradient.shape[0]
    pieces: list[Tensor] = []
    for number, (stack, matrix) in enumerate(zip(program.stacks, inputs.matrices, strict=True)):
        if stack.addend is not None:
            where, column = cell.columns(sizes)[stack.addend]
            pieces.append(slices[where][:, column : column + matrix.shape[1]])
            continue
        if stack.twin is not None:
            pieces.append(like)
            continue
        whole = like.new_empty(count, matrix.shape[1])
        column = 0
        for i, axis in enumerate(stack.piece_axes):
            memory.sequence(Place("piece gradient", f"{number}.{i}", axis), whole, column)
            column += sizes[axis]
        pieces.append(whole)
    for state in spec.states:
        axis = spec.state_axes[state]
        memory.scratch((Place("carry", state, axis), Place("back", state, axis)), 2)
    _scratch(program.backward.places, memory)
    prepared = Prepared(program.backward, cell.compiled.functions["backward"], memory)
    for position, product in prepared.products:
        matrix = inputs.matrices[product.stack]
        prepared.weights(position, matrix.shape[1], [pack(matrix.t())])
    states, before, initial = [], [], []
    for state, arriving in zip(spec.states, final_gradients, strict=True):
        axis = spec.state_axes[state]
        line = abi.State(
            memory.index[Place("carry", state, axis)], memory.index[Place("back", state, axis)], sizes[axis]
        )
        before.append(arriving.clone())
        initial.append(torch.zeros_like(arriving))
        line.start, line.last = arriving.data_ptr(), before[-1].data_ptr()
        if rows.resets is not None:
            line.initial_gradient = initial[-1].data_ptr()
        states.append(line)
    execute(prepared, memory, rows, states, threads, backward=True, half=_half(inputs))
    for number, stack in enumerate(program.stacks):
        if stack.twin is not None:
            other, first = stack.twin
            column = sum(sizes[axis] for axis in program.stacks[other].piece_axes[:first])
            pieces[number] = pieces[other][:, column : column + inputs.matrices[number].shape[1]]
    matrices = []
    for stack, piece, matrix in zip(program.stacks, pieces, inputs.matrices, strict=True):
        if stack.operand.kind == "x":
            matrices.append(inputs.slices[0].t() @ piece)
            if input_wanted:
                part = piece @ matrix.t().to(piece.dtype)
                slices = [slices[0].add_(part)] if slices else [part]
            continue
        operand = sequences[stack.operand.name] if stack.operand.kind == "in" else kept[int(stack.operand.name)]
        matrices.append(operand.t() @ piece)
    if cell.reads_input and not (slices and input_wanted):
        slices = [like.new_zeros(0)]
    fixed = [total.sum(0)[: tensor.shape[0]] for total, tensor in zip(totals, inputs.fixed, strict=True)]
    matrices = [part.to(matrix.dtype) for part, matrix in zip(matrices, inputs.matrices, strict=True)]
    return Gradients(slices, fixed, matrices, before, initial)
