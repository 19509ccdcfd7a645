"""The loop as torch operators: autograd, torch.compile and export see two calls with known shapes.

Second derivatives go through the reference: where a gradient must itself have a gradient, the steps are run again in
eager torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import maybe_current_level

from recurra.equations.spec import CellSpec
from recurra.kernels.cpu.again import backward_again
from recurra.kernels.cpu.call import Rows
from recurra.kernels.cpu.describe import describe
from recurra.kernels.cpu.emit import source
from recurra.kernels.cpu.library import Compiled
from recurra.kernels.cpu.passes import Cell, Inputs, Keep, backward, forward, sizes_of, states_kept
from recurra.kernels.cpu.prebuild import cell_key, schedules
from recurra.kernels.cpu.program import CellProgram
from recurra.kernels.plan import Hoist, Stack
from recurra.kernels.reference.program import Program

__all__ = ["Loop", "loop_of", "run", "run_backward", "run_loop"]


class Loop:
    """A spec ready for the operators: what the reference program hands over, and how the native one takes it."""

    def __init__(self, spec: CellSpec, hoist: Hoist) -> None:
        self.native = CellProgram(spec, hoist)
        self.work = Program(spec, self.native.plan, whole=True)
        position = {node: index for index, node in enumerate(self.native.hoisted)}
        self.groups = [[position[node] for node in group] for group in self.work.sliced if hoist != "none"]
        fixed = {node: index for index, node in enumerate(self.native.fixed)}
        matrices = {stack.products[0]: index for index, stack in enumerate(self.native.plan.stacks)}
        # Where each element that `pack` hands over goes: a matrix or a vector of the loop, or only its height is read.
        self.routes: list[tuple[str, int | str]] = []
        for part in self.work.packed:
            if isinstance(part, Stack):
                self.routes.append(("matrix", matrices[part.products[0]]))
            elif part in fixed:
                self.routes.append(("fixed", fixed[part]))
            elif part is not None and part.op == "param" and len(spec.params[str(part.value)]) == 2:
                self.routes.append(("height", spec.params[str(part.value)][0]))
            else:
                self.routes.append(("unused", ""))
        self.cells: dict[torch.dtype, Cell] = {}

    def cell(self, dtype: torch.dtype) -> Cell:
        """The compiled cell for a number type; compiles it when it is first asked for."""
        if dtype not in self.cells:
            self._show()
            self.cells[dtype] = Cell(self.native, self.groups, Compiled(self.native, dtype))
        return self.cells[dtype]

    def _show(self) -> None:
        """On standard error, what RECURRA_SHOW asks for, the first time."""
        asked = os.environ.get("RECURRA_SHOW", "").split(",")
        if "program" in asked and not self.cells:
            print(f"# {describe(self.native)}", file=sys.stderr)
        if "source" in asked and not self.cells:
            print(source(schedules(self.native), "cell"), file=sys.stderr)

    def sort(self, packed: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """The matrices by stack, and the vectors by number."""
        found = dict(zip(self.routes, packed, strict=True))
        count = len(self.native.plan.stacks)
        return [found["matrix", i] for i in range(count)], [found["fixed", i] for i in range(len(self.native.fixed))]

    def unsort(self, matrices: Sequence[Tensor], fixed: Sequence[Tensor], sizes: Mapping[str, int]) -> list[Tensor]:
        """What the reference's step takes as its packed parameters."""
        kinds = {"matrix": matrices, "fixed": fixed}
        heights = {axis: torch.empty(size, 0) for axis, size in sizes.items()}
        return [
            heights.setdefault(at, torch.empty(0)) if isinstance(at, str) else kinds[kind][at]
            for kind, at in self.routes
        ]


_LOOPS: dict[tuple[object, ...], tuple[str, Loop]] = {}
_KEYS: dict[str, Loop] = {}


def loop_of(spec: CellSpec, hoist: Hoist) -> tuple[str, Loop]:
    """The loop of a spec and the name under which the operators find it: a hash of what it computes.

    Each layer has a spec of its own; those that say the same, letter by letter, share one loop.
    """
    said = (spec.states, tuple(spec.after.items()), spec.names, tuple(spec.params.items()))
    whole = (*said, tuple(spec.state_axes.items()), spec.extras, hoist)
    if whole not in _LOOPS:
        loop = Loop(spec, hoist)
        key = f"{spec.name}_{cell_key(source(schedules(loop.native), 'cell') + loop.work.source)}"
        _LOOPS[whole] = key, _KEYS.setdefault(key, loop)
    return _LOOPS[whole]


def _rows(steps: int, batch: int, lengths: Tensor | None, resets: Tensor | None) -> Rows:
    """lengths (B,), longest first; resets (N,) bool in the order of the sequences."""
    if lengths is None:
        offset = torch.arange(steps) * batch
        active = None
    else:
        active = (lengths[:, None] > torch.arange(steps)).sum(0)
        offset = torch.zeros(steps, dtype=torch.int64)
        torch.cumsum(active[:-1], 0, out=offset[1:])
        active = active.contiguous()
    if resets is None:
        return Rows(steps, batch, offset, active)
    flags = resets.to(torch.uint8).contiguous()
    counts = active if active is not None else torch.full((steps,), batch)
    any_reset = torch.stack([part.any() for part in flags.split(counts.tolist())]).to(torch.uint8)
    return Rows(steps, batch, offset, active, flags, any_reset)


def _run_loop(
    slices: Sequence[Tensor],
    fixed: Sequence[Tensor],
    matrices: Sequence[Tensor],
    states: Sequence[Tensor],
    initial: Sequence[Tensor],
    extras: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    steps: int,
    key: str,
    keep: str,
) -> list[Tensor]:
    """Outputs (N, size), final states (B, size), and what is kept for the gradient, each (N, width).

    keep: "nothing", "all" that the gradient needs, or the "states" only; then the rest is computed again.

    Where no row ends early or restarts, the values of the output state before each step are not among them: they are
    the outputs one step late, and lie in front of these in memory.
    """
    rows = _rows(steps, states[0].shape[0], lengths, resets)
    cell = _KEYS[key].cell(states[0].dtype)
    found = forward(cell, Inputs(slices, fixed, matrices, states, initial, extras, rows), _mode(keep))
    sequences = [found.sequences[state] for state in _kept_states(key, rows.plain, keep)]
    return [found.y, *found.final, *sequences, *found.kept]


def _mode(keep: str) -> Keep:
    if keep not in ("nothing", "all", "states"):
        raise ValueError(f"keep must be nothing, all or states, got {keep!r}")
    return keep


def _kept_states(key: str, plain: bool, keep: str) -> list[str]:
    """The states whose values before every step are kept beside the outputs."""
    program = _KEYS[key].native
    output = program.spec.output
    return [state for state in states_kept(program, _mode(keep)) if not (plain and state == output)]


run_loop = torch.library.custom_op("recurra::cpu_loop", _run_loop, mutates_args=())


@run_loop.register_fake
def _(
    slices: Sequence[Tensor],
    fixed: Sequence[Tensor],
    matrices: Sequence[Tensor],
    states: Sequence[Tensor],
    initial: Sequence[Tensor],
    extras: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    steps: int,
    key: str,
    keep: str,
) -> list[Tensor]:
    program = _KEYS[key].native
    spec, batch = program.spec, states[0].shape[0]
    plain = lengths is None and resets is None
    count = slices[0].shape[0] if slices else steps * batch
    # As the forward pass leaves it: behind the values of the first step.
    y = states[0].new_empty(count + batch * plain, states[0].shape[1])[batch * plain :]
    found = [y, *(torch.empty_like(state) for state in states)]
    rows = Rows(steps, batch, torch.empty(0))
    cell = Cell(program, _KEYS[key].groups)
    sizes = sizes_of(cell, Inputs(slices, fixed, matrices, states, initial, extras, rows))
    for state in _kept_states(key, plain, keep):
        found.append(y.new_empty(count, sizes[spec.state_axes[state]]))
    for place in program.kept_places if keep == "all" else ():
        found.append(y.new_empty(count, 1 if place.axis is None else sizes[place.axis]))
    return found


def _run_backward(
    slices: Sequence[Tensor],
    fixed: Sequence[Tensor],
    matrices: Sequence[Tensor],
    states: Sequence[Tensor],
    extras: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    steps: int,
    key: str,
    keep: str,
    outputs: Sequence[Tensor],
    output_gradient: Tensor,
    final_gradients: Sequence[Tensor],
    input_wanted: bool,
) -> list[Tensor]:
    """Gradients of slices, fixed, matrices, states and initial, in this order. `outputs` are those of the forward call.

    Of `slices` only the shapes are read, but for x. Without `input_wanted` the gradient of x is empty.
    """
    loop = _KEYS[key]
    spec = loop.native.spec
    batch = states[0].shape[0]
    rows = _rows(steps, batch, lengths, resets)
    names = _kept_states(key, rows.plain, keep)
    kept = list(outputs[1 + len(spec.states) :])
    sequences = dict(zip(names, kept, strict=False))
    if rows.plain and spec.output in states_kept(loop.native, _mode(keep)):
        sequences[spec.output] = _one_step_late(outputs[0], states[0])
    cell = loop.cell(states[0].dtype)
    inputs = Inputs(slices, fixed, matrices, states, states, extras, rows)
    if keep == "states":
        found = backward_again(cell, inputs, sequences, output_gradient, final_gradients, input_wanted)
    else:
        found = backward(cell, inputs, sequences, kept[len(names) :], output_gradient, final_gradients, input_wanted)
    return [*found.slices, *found.fixed, *found.matrices, *found.states, *found.initial]


def _one_step_late(outputs: Tensor, start: Tensor) -> Tensor:
    """The values before each step (N, size), from those after it and the first (B, size).

    The forward pass wrote both into one buffer; where the outputs have been moved since (torch.compile may), they are
    put together again.
    """
    ahead = start.numel()
    whole = outputs.untyped_storage().nbytes() // outputs.element_size()
    if outputs.storage_offset() == ahead and whole == ahead + outputs.numel() and outputs.is_contiguous():
        return outputs.as_strided(outputs.shape, outputs.stride(), 0)
    return torch.cat((start, outputs))[: outputs.shape[0]]


run_backward = torch.library.custom_op("recurra::cpu_loop_backward", _run_backward, mutates_args=())


@run_backward.register_fake
def _(  # The names are those of the operator.
    slices: Sequence[Tensor],
    fixed: Sequence[Tensor],
    matrices: Sequence[Tensor],
    states: Sequence[Tensor],
    extras: Sequence[Tensor],  # noqa: ARG001
    lengths: Tensor | None,  # noqa: ARG001
    resets: Tensor | None,  # noqa: ARG001
    steps: int,  # noqa: ARG001
    key: str,
    keep: str,  # noqa: ARG001
    outputs: Sequence[Tensor],  # noqa: ARG001
    output_gradient: Tensor,  # noqa: ARG001
    final_gradients: Sequence[Tensor],  # noqa: ARG001
    input_wanted: bool,
) -> list[Tensor]:
    like = [*slices, *fixed, *matrices, *states, *states]
    found = [part.new_empty(part.shape) for part in like]
    if _KEYS[key].native.plan.hoist == "none" and not input_wanted:
        found[0] = slices[0].new_empty(0)
    return found


def _setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    slices, fixed, matrices, states, initial, extras, lengths, resets, steps, key, keep = inputs
    # No zeros for what is kept: nothing else reads it.
    ctx.set_materialize_grads(False)
    groups = (slices, fixed, matrices, states, initial, extras)
    _save(ctx, groups, lengths, resets, steps, key, keep, output)


def _save(
    ctx: Any,
    groups: Sequence[Sequence[Tensor]],
    lengths: Tensor | None,
    resets: Tensor | None,
    steps: int,
    key: str,
    keep: str,
    output: Sequence[Tensor],
) -> None:
    """What the gradient needs of a call."""
    ctx.counts = [len(group) for group in groups]
    ctx.input_wanted = any(part.requires_grad for part in groups[0])
    ctx.key, ctx.keep, ctx.steps, ctx.optional = key, keep, steps, (lengths is not None, resets is not None)
    optional = [part for part in (lengths, resets) if part is not None]
    ctx.save_for_backward(*(tensor for group in groups for tensor in group), *optional, *output)


def _gradients(ctx: Any, gradients: Sequence[Tensor | None], operator: Any) -> list[list[Any]]:
    """The gradients of slices, fixed, matrices, states and initial; `operator` is `run_backward` or what it wraps."""
    saved = list(ctx.saved_tensors)
    slices, fixed, matrices, states, initial, extras = (_take(saved, count) for count in ctx.counts)
    lengths, resets = (saved.pop(0) if there else None for there in ctx.optional)
    spec = _KEYS[ctx.key].native.spec
    arrived = [
        torch.zeros_like(value) if gradient is None else gradient
        for value, gradient in zip(saved, gradients[: 1 + len(spec.states)], strict=False)
    ]
    if torch.is_grad_enabled():
        groups = (slices, fixed, matrices, states, initial)
        found = _again(ctx.key, groups, extras, lengths, resets, ctx.steps, arrived)
    else:
        output_gradient = arrived[0].contiguous()
        finals = [part.contiguous() for part in arrived[1:]]
        given = (slices, fixed, matrices, states, extras, lengths, resets, ctx.steps, ctx.key, ctx.keep, saved)
        found = operator(*given, output_gradient, finals, ctx.input_wanted)
    found = list(found)
    parts = [_take(found, count) for count in ctx.counts[:5]]
    if not ctx.input_wanted:
        parts[0] = [None] * ctx.counts[0]
    return parts


def _backward(ctx: Any, gradients: list[Tensor | None]) -> tuple[Any, ...]:
    return (*_gradients(ctx, gradients, run_backward), [None] * ctx.counts[5], None, None, None, None, None)


def _take(parts: list[Any], count: int) -> list[Any]:
    """The first `count`, removed from the list."""
    taken = parts[:count]
    del parts[:count]
    return taken


torch.library.register_autograd("recurra::cpu_loop", _backward, setup_context=_setup)


class _Eager(torch.autograd.Function):
    """The operator without the operator: in eager mode its wrapping takes longer than a small loop."""

    @staticmethod
    def forward(ctx: Any, call: tuple[Any, ...], *tensors: Tensor) -> tuple[Tensor, ...]:
        counts, extras, lengths, resets, steps, key, keep = call
        given = list(tensors)
        slices, fixed, matrices, states, initial = (_take(given, count) for count in counts)
        found = _run_loop(slices, fixed, matrices, states, initial, extras, lengths, resets, steps, key, keep)
        ctx.set_materialize_grads(False)
        _save(ctx, (slices, fixed, matrices, states, initial, extras), lengths, resets, steps, key, keep, found)
        return tuple(found[: 1 + counts[3]])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        return None, *(part for group in _gradients(ctx, gradients, _run_backward) for part in group)


def _plain() -> bool:
    """Whether torch runs as written: nothing traces, counts or transforms the calls."""
    return not (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack()
        or maybe_current_level() is not None
        or torch._C._get_tracing_state() is not None
    )


def run(
    slices: Sequence[Tensor],
    fixed: Sequence[Tensor],
    matrices: Sequence[Tensor],
    states: Sequence[Tensor],
    initial: Sequence[Tensor],
    extras: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    steps: int,
    key: str,
    keep: str,
) -> list[Tensor]:
    """As `run_loop`, the shortest way there is: outputs, final states, and perhaps more."""
    groups = (slices, fixed, matrices, states, initial)
    if not _plain() or any(type(part) not in _TENSORS for group in (*groups, extras) for part in group):
        return run_loop(slices, fixed, matrices, states, initial, extras, lengths, resets, steps, key, keep)
    if keep == "nothing":
        return _run_loop(slices, fixed, matrices, states, initial, extras, lengths, resets, steps, key, keep)
    call = (tuple(map(len, groups)), extras, lengths, resets, steps, key, keep)
    return list(_Eager.apply(call, *(part for group in groups for part in group)))


_TENSORS = (Tensor, torch.nn.Parameter)


def _again(
    key: str,
    groups: tuple[list[Tensor], ...],
    extras: list[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    steps: int,
    arrived: list[Tensor],
) -> list[Tensor]:
    """The gradients with a graph of their own, from the steps run once more in eager torch."""
    inputs = [tensor for group in groups for tensor in group]
    outputs = _eager(_KEYS[key], groups, extras, lengths, resets, steps)
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    found = iter(torch.autograd.grad(outputs, wanted, arrived, create_graph=True, allow_unused=True))
    return [next(found) if tensor.requires_grad else None for tensor in inputs]  # type: ignore[misc]


def _eager(
    loop: Loop,
    groups: tuple[list[Tensor], ...],
    extras: list[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    steps: int,
) -> list[Tensor]:
    """The outputs and final states of the operator, by the reference's step."""
    slices, fixed, matrices, states, initial = groups
    batch = states[0].shape[0]
    shapes = Inputs(slices, fixed, matrices, states, initial, extras, Rows(steps, batch, torch.empty(0)))
    wide = [part.to(states[0].dtype) for part in matrices]
    packed = loop.unsort(wide, fixed, sizes_of(Cell(loop.native, loop.groups), shapes))
    counts = [batch] * steps if lengths is None else [int((lengths > t).sum()) for t in range(steps)]
    parts = [part.split(counts) for part in slices]
    masks = [part[0].split(counts) if part.dim() == 3 else None for part in extras]
    borders = None if resets is None else resets.split(counts)
    state = list(states)
    outputs = []
    for t, count in enumerate(counts):
        now = [part[:count] for part in state]
        if borders is not None:
            flags = borders[t].unsqueeze(-1)
            now = [torch.where(flags, new[:count], old) for new, old in zip(initial, now, strict=True)]
        masked = [
            whole[t] if whole is not None else part[:count] if part.shape[0] > 1 else part
            for whole, part in zip(masks, extras, strict=True)
        ]
        after = loop.work.step(*(part[t] for part in parts), *now, *masked, *packed)
        outputs.append(after[0])
        state = [torch.cat((new, old[count:])) for new, old in zip(after, state, strict=True)]
    return [torch.cat(outputs), *state]
