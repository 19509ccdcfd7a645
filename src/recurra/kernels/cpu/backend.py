"""The native CPU engine as a backend."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from recurra.equations.spec import CellSpec
from recurra.kernels.cpu.compiler import CompileError
from recurra.kernels.cpu.operator import Loop, loop_of, run
from recurra.kernels.cpu.session import Stepper
from recurra.kernels.plan import Hoist
from recurra.kernels.request import Request

__all__ = ["Native", "extra_values"]

# What each number type is computed in; with bfloat16 the weights of the loop stay so, and are widened as they are read.
_COMPUTED = {torch.float32: torch.float32, torch.float64: torch.float64, torch.bfloat16: torch.float32}

_said: set[str] = set()


class Native:
    """Any cell as one compiled loop over time, forward and backward, on the CPU."""

    name = "native"

    def __init__(self) -> None:
        # By cell and number type: why it could not be compiled, or nothing.
        self._faults: dict[tuple[str, torch.dtype], str] = {}

    def refuses(self, request: Request) -> str | None:
        """Another device or number type; an empty batch; no compiler for a cell that was not built with the package."""
        x, dtype = request.x, request.state[0].dtype
        if x.device.type != "cpu":
            return f"it runs on the CPU, x is on {x.device}"
        if dtype not in _COMPUTED:
            return f"it has no code for {dtype}"
        if 0 in (x.shape[0], x.shape[2], *request.state[0].shape):
            return f"nothing to do, x is {tuple(x.shape)}"
        return self._fault(request.spec, _hoist(request), _COMPUTED[dtype])

    def _fault(self, spec: CellSpec, hoist: Hoist, dtype: torch.dtype) -> str | None:
        """Why there is no machine code for a cell; compiles it when it is first asked for."""
        key, loop = loop_of(spec, hoist)
        if (key, dtype) not in self._faults:
            try:
                loop.cell(dtype)
                self._faults[key, dtype] = ""
            except (CompileError, OSError) as error:
                self._faults[key, dtype] = str(error).splitlines()[0]
                self._say(spec.name, str(error))
        return self._faults[key, dtype] or None

    def stepper(self, spec: CellSpec, params: Mapping[str, Tensor], extras: Sequence[Tensor]) -> Stepper | None:
        """Single steps with these parameters, (1, size) extras; None where there is no native code for them."""
        like = next(iter(params.values()))
        if like.device.type != "cpu" or like.dtype not in (torch.float32, torch.float64):
            return None
        if self._fault(spec, "none", like.dtype):
            return None
        return Stepper(loop_of(spec, "none")[1].cell(like.dtype).compiled, params, extras)

    def _say(self, name: str, error: str) -> None:
        """One line, once a process and cell."""
        line = f"recurra: {name} runs on the slower reference: {' '.join(error.split())}"
        if line not in _said:
            _said.add(line)
            print(line, file=sys.stderr)

    def run(self, request: Request) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Outputs (B, T, size) and the final state."""
        if not request.x.shape[1]:
            return request.x.new_zeros(request.x.shape[0], 0, request.state[0].shape[-1]), request.state
        if torch.is_autocast_enabled("cpu"):
            return _autocast(self, request)
        if request.state[0].dtype == torch.bfloat16:
            return _widened(self, request)
        return self._run(request)

    def _run(self, request: Request, half: bool = False) -> tuple[Tensor, tuple[Tensor, ...]]:
        """In the number type of the request; `half`: with the loop's weights rounded to bfloat16."""
        key, loop = loop_of(request.spec, _hoist(request))
        x = request.x
        packed = loop.work.pack(request.params)
        matrices, fixed = loop.sort(packed)
        fixed = [part.contiguous() for part in fixed]
        matrices = [part.to(torch.bfloat16) for part in matrices] if half else matrices
        if request.lengths is not None and bool((request.lengths < x.shape[1]).any()):
            return _ragged(key, loop, request, packed, matrices, fixed)
        # Rows in time order, two axes: with three, torch adds the bias in a pass of its own.
        flat = x.transpose(0, 1).reshape(-1, x.shape[2])
        slices = [_flat(part) for part in loop.work.before(flat, packed)]
        resets = None if request.resets is None else request.resets.t().reshape(-1)
        extras = extra_values(request)
        y, final = _call(key, request, slices, fixed, matrices, request.state, request.initial, extras, None, resets)
        return y.view(x.shape[1], x.shape[0], -1).transpose(0, 1), final


def _cast(request: Request, dtype: torch.dtype) -> Request:
    """The request with every number in `dtype`."""
    params = {name: value.to(dtype) for name, value in request.params.items()}
    extras = {name: value.to(dtype) for name, value in request.extras.items()}
    state, initial = (tuple(part.to(dtype) for part in group) for group in (request.state, request.initial))
    return replace(request, params=params, x=request.x.to(dtype), state=state, initial=initial, extras=extras)


def _widened(native: Native, request: Request) -> tuple[Tensor, tuple[Tensor, ...]]:
    """bfloat16 outside, float32 inside, but for the weights, which are bfloat16 in memory."""
    y, final = native._run(_cast(request, torch.float32), half=True)
    return y.to(torch.bfloat16), tuple(part.to(torch.bfloat16) for part in final)


def _autocast(native: Native, request: Request) -> tuple[Tensor, tuple[Tensor, ...]]:
    """As torch's own layers under autocast: computed from rounded values; the states keep their type."""
    dtype = torch.get_autocast_dtype("cpu")
    with torch.autocast("cpu", enabled=False):
        rounded = _cast(_cast(request, dtype), torch.float32)
        y, final = native._run(rounded, half=dtype == torch.bfloat16)
        states = zip(final, request.state, strict=True)
        return y.to(dtype), tuple(part.to(state.dtype) for part, state in states)


def _hoist(request: Request) -> Hoist:
    """Whether the input products run before the loop, as one, or inside it, where nothing has to go through memory.

    Inside, the weights are read once more per step; from about 8 rows a thread that costs less, unless they are many:
    one row's part of them is worth it up to 16 features (measured for lstm and gru, H from 128 to 650).
    """
    batch, _, width = request.x.shape
    threads = torch.get_num_threads()
    return "none" if batch >= 8 * threads and width * threads <= 16 * batch else "products"


def _flat(part: Tensor) -> Tensor:
    """(N, w) with rows that are contiguous."""
    return part if part.stride(-1) == 1 else part.contiguous()


def extra_values(request: Request) -> list[Tensor]:
    """The extras in order: (1 or B, size), or (1, T B, size) where they change from step to step."""
    spec = request.spec
    widths = {spec.state_axes[name]: value.shape[-1] for name, value in zip(spec.states, request.state, strict=True)}
    found = []
    for extra in spec.extras:
        part = request.extras[extra.name]
        part = part.expand(*part.shape[:-1], widths[extra.axis])
        found.append((part.reshape(1, -1, part.shape[-1]) if part.dim() == 3 else part).contiguous())
    return found


def _call(
    key: str,
    request: Request,
    slices: list[Tensor],
    fixed: list[Tensor],
    matrices: list[Tensor],
    states: tuple[Tensor, ...],
    initial: tuple[Tensor, ...],
    extras: list[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    every = (*slices, *fixed, *matrices, *states, *initial)
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in every)
    keep = "nothing" if not wanted else "states" if request.recompute else "all"
    start, fresh = ([part.contiguous() for part in group] for group in (states, initial))
    steps = request.x.shape[1]
    found = run(slices, fixed, matrices, start, fresh, extras, lengths, resets, steps, key, keep)
    return found[0], tuple(found[1 : 1 + len(states)])


def _ragged(
    key: str, loop: Loop, request: Request, packed: tuple[Tensor, ...], matrices: list[Tensor], fixed: list[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Only the valid steps, the longest rows first, so that those of one step stand together."""
    x, lengths = request.x, request.lengths
    if lengths is None:
        raise ValueError("a request without lengths is not ragged")
    batch, steps = x.shape[:2]
    order = torch.argsort(lengths, descending=True, stable=True)
    back = torch.argsort(order)
    ordered = lengths[order]
    # Row r of step t, in time order: where it stands in (B, T).
    valid = torch.arange(steps)[:, None] < ordered
    where = (order * steps + torch.arange(steps)[:, None])[valid]
    gathered = x.reshape(batch * steps, -1).index_select(0, where)
    slices = [_flat(part) for part in loop.work.before(gathered, packed)]
    resets = None if request.resets is None else request.resets.reshape(-1)[where]
    extras = []
    for part in extra_values(request):
        if part.dim() == 3:
            part = part.index_select(1, (where % steps) * batch + where // steps)
        elif part.shape[0] > 1:
            part = part[order]
        extras.append(part)
    states = tuple(part[order] for part in request.state)
    initial = tuple(part[order] for part in request.initial)
    packed_y, final = _call(key, request, slices, fixed, matrices, states, initial, extras, ordered, resets)
    y = packed_y.new_zeros(batch * steps, packed_y.shape[-1]).index_copy(0, where, packed_y)
    return y.view(batch, steps, -1), tuple(part[back] for part in final)
