"""Steps without the layer around them: weights packed once, memory laid out once, one native call per push."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from ctypes import c_int64

import torch
from torch import Tensor

from recurra.kernels.cpu import abi
from recurra.kernels.cpu.call import Memory, Prepared, pack, threads_for
from recurra.kernels.cpu.library import Compiled, engine
from recurra.kernels.cpu.schedule import Place
from recurra.kernels.reference.spelling import evaluate

__all__ = ["Live", "Stepper"]


class Stepper:
    """Runs a cell forward from given states; for as long as the parameters do not change.

    compiled: with the input products inside the loop.

    params: by name, as they are now. extras: (1, size) each.
    """

    def __init__(self, compiled: Compiled, params: Mapping[str, Tensor], extras: Sequence[Tensor]) -> None:
        self.compiled = compiled
        self.program = compiled.program
        spec = self.program.spec
        like = next(iter(params.values()))
        # bfloat16 weights are widened as they are read; states and sums are float32.
        self.half = like.dtype == torch.bfloat16
        self.dtype = torch.float32 if self.half else like.dtype
        self.sizes = {
            axis: size
            for name, axes in spec.params.items()
            for axis, size in zip(axes, params[name].shape, strict=True)
        }
        self.extras = [part.to(self.dtype).contiguous() for part in extras]
        leaves = {spec.symbol(name): value.detach() for name, value in params.items()}
        self.fixed = [value.to(self.dtype).contiguous() for value in evaluate(self.program.fixed, leaves)]
        # Per stack, its matrices as the engine wants them; a parameter is (rows, columns) and reads its columns.
        self.weights = [[pack(params[name].t()) for name in stack.matrices] for stack in self.program.stacks]
        self._runs: dict[int, _Run] = {}
        self.work = sum(params[name].numel() for stack in self.program.stacks for name in stack.matrices)

    def run(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """x (B, T, I), states (B, size) each -> outputs (B, T, size) and the states after; all contiguous, T >= 1."""
        batch = x.shape[0]
        # Taken out while it is in use: another thread that comes meanwhile gets memory of its own.
        run = self._runs.pop(batch, None) or _Run(self, batch)
        found = run(x, states)
        if len(self._runs) >= 8:
            self._runs.clear()
        self._runs[batch] = run
        return found


class _Run:
    """Memory and structures for one batch size."""

    def __init__(self, stepper: Stepper, batch: int) -> None:
        program, spec = stepper.program, stepper.program.spec
        self.memory = memory = Memory(stepper.dtype, batch, stepper.sizes)
        self.output_size = stepper.sizes[spec.output_axis]
        self.input_size = stepper.sizes["I"]
        self.item = memory.item
        self.widths = [stepper.sizes[spec.state_axes[state]] for state in spec.states]
        x, y = Place("x", "x", "I"), Place("out", spec.output, spec.output_axis)
        memory.put(x, (0, 0, 0, 0, 0, 0))
        memory.put(y, (0, 0, 0, 0, 0, 0))
        for index, tensor in enumerate(stepper.fixed):
            memory.vector(Place("fixed", str(index), program.axis(program.fixed[index])), tensor)
        for extra, tensor in zip(spec.extras, stepper.extras, strict=True):
            memory.vector(Place("extra", extra.name, extra.axis), tensor)
        for state, axis in spec.state_axes.items():
            before, after = Place("in", state, axis), Place("out", state, axis)
            memory.scratch((before,) if state == spec.output else (before, after), 2)
        for place in program.infer.places:
            if place not in memory.index:
                memory.scratch((place,), 2 if place.kind == "operand" else 1)
        self.prepared = Prepared(program.infer, stepper.compiled.functions["infer"], memory)
        for position, product in self.prepared.products:
            stack = program.stacks[product.stack]
            self.prepared.weights(position, stepper.sizes[stack.operand_axis], stepper.weights[product.stack])
        self.values = (abi.Value * len(memory.values))(*memory.values)
        self.x, self.y = self.values[memory.index[x]], self.values[memory.index[y]]
        self.states = (abi.State * len(spec.states))()
        for line, (state, axis) in zip(self.states, spec.state_axes.items(), strict=True):
            line.in_, line.out = memory.index[Place("in", state, axis)], memory.index[Place("out", state, axis)]
            line.size, line.carry = stepper.sizes[axis], int(state == spec.output)
        self.call = abi.Call()
        call = self.call
        call.dtype, call.half_weights, call.batch = int(stepper.dtype == torch.float64), int(stepper.half), batch
        # A small step is over before another thread has woken.
        call.groups, call.members = threads_for(batch, stepper.work) if batch * stepper.work > 250_000 else (1, 1)
        call.value_count, call.values = len(memory.values), self.values
        call.instruction_count, call.code = len(self.prepared.code), self.prepared.code
        call.state_count, call.states = len(self.states), self.states
        self.reference = ctypes.byref(call)
        self.function = engine().library.recurra_run
        self._steps = 0
        self._offset = (c_int64 * 0)()

    def __call__(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        batch, steps, _ = x.shape
        if steps != self._steps:
            self._set(steps)
        y = x.new_empty(batch, steps, self.output_size)
        self.x.base, self.y.base = x.data_ptr(), y.data_ptr()
        after = []
        for line, state in zip(self.states, states, strict=True):
            last = torch.empty_like(state)
            line.start, line.last = state.data_ptr(), last.data_ptr()
            after.append(last)
        if self.function(self.reference):
            raise RuntimeError("the native engine stopped")
        return y, after

    def into(self, x: int, y: int, steps: int) -> None:
        """Addresses of x (B, T, I) and of the outputs (B, T, size); the states are those set before."""
        if steps != self._steps:
            self._set(steps)
        self.x.base, self.y.base = x, y
        if self.function(self.reference):
            raise RuntimeError("the native engine stopped")

    def _set(self, steps: int) -> None:
        """Row r of step t stands at t + r T."""
        self._steps = steps
        self._offset = (c_int64 * steps)(*range(steps))
        self.call.steps, self.call.row_step = steps, steps
        self.call.offset = ctypes.addressof(self._offset)
        for value, width in ((self.x, self.input_size), (self.y, self.output_size)):
            value.step, value.row = width * self.item, width * self.item * steps


class Live:
    """A running session: its states stay in memory of their own, and a push allocates nothing but its outputs.

    states (B, size) are copied; `states` holds the current ones and may be written to.
    """

    def __init__(self, stepper: Stepper, states: Sequence[Tensor]) -> None:
        self.stepper = stepper
        self.states = [state.detach().clone().contiguous() for state in states]
        self._run = _Run(stepper, self.states[0].shape[0])
        self.output_size = self._run.output_size
        for line, state in zip(self._run.states, self.states, strict=True):
            line.start = line.last = state.data_ptr()
        self.into = self._run.into
