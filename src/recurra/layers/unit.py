"""One cell in one direction: its parameters by name, its options as rewritten equations, its initial state."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from recurra.base.errors import ConfigError, ShapeError, message
from recurra.base.state import restart
from recurra.cells import CELLS
from recurra.cells.interop import TORCH
from recurra.equations.cell import Cell
from recurra.equations.spec import CellSpec
from recurra.equations.transform import with_projection, with_recurrent_dropout, with_zoneout
from recurra.kernels import dispatch
from recurra.kernels.cpu.session import Stepper
from recurra.kernels.reference.program import program
from recurra.kernels.request import FusedLayout, Request
from recurra.layers.initial import check_names, initialiser_for

__all__ = ["Unit", "resolve", "torch_layout"]


def resolve(cell: str | type[Cell] | Cell) -> Cell:
    """Return the cell of a name, a class or an instance.

    A name is one of `recurra cells`, of an installed package, or `mine.py:Name` for a class that the user loaded
    (`recurra.base.code.load_code`); nothing is imported because of a name.
    """
    if isinstance(cell, str):
        return CELLS[cell]()
    if isinstance(cell, type) and issubclass(cell, Cell):
        return cell()
    if isinstance(cell, Cell):
        return cell
    raise ConfigError(message("cell", f"must be a name, a Cell class or a Cell, got {cell!r}"))


@cache
def state_type(name: str, states: tuple[str, ...]) -> Any:
    """The NamedTuple of a cell's states, each (B, size)."""
    return namedtuple(f"{name}_state", states)


@cache
def _torch_names() -> dict[str, str]:
    """Fingerprint -> our cell's name, for the cells that torch has fused."""
    return {CELLS[name]().spec.fingerprint: name for name in TORCH}


def torch_layout(spec: CellSpec) -> FusedLayout | None:
    """The torch operator that computes these equations, if there is one."""
    name = _torch_names().get(spec.fingerprint)
    if name is None:
        return None
    layout = TORCH[name]

    def members(family: str) -> tuple[str, ...]:
        return tuple(f"{family}.{gate}" if gate else family for gate in layout.gates)

    inner = tuple(layout.inner(gate) for gate in layout.gates)
    hold = tuple(layout.hold.get(gate or "") for gate in layout.gates)
    return FusedLayout(layout.operator, members("W"), members("U"), members("b"), inner, hold)


class Unit(nn.Module):
    """A cell over time, in one direction.

    Parameters are registered under their names: `unit.W.i`, or `unit.b` where a family has no gates.
    """

    def __init__(
        self,
        cell: Cell,
        sizes: Mapping[str, int],
        *,
        recurrent_dropout: float = 0.0,
        weight_drop: float = 0.0,
        zoneout: float | Mapping[str, float] = 0.0,
        learned_initial_state: bool = False,
        initializers: Mapping[str, str | float] | None = None,
        generator: Generator | None = None,
        backend: str | None = None,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.cell = cell
        self.backend = backend
        self.recompute = recompute
        self.spec = with_projection(cell.spec) if "P" in sizes else cell.spec
        for axis in self.spec.axes:
            if axis not in sizes:
                raise ConfigError(
                    message(
                        "Recurrent",
                        f"{cell.name} has the axis {axis}, for which a layer has no size",
                        hint="H, O or I.",
                    )
                )
        if not self.spec.params:
            raise ConfigError(message("Recurrent", f"{cell.name} has no parameters", hint="a layer learns something."))
        self.sizes = {axis: size for axis, size in sizes.items() if axis in self.spec.axes}
        self._state_type = state_type(self.spec.name, self.spec.states)
        self.recurrent_dropout = recurrent_dropout
        self.weight_drop = weight_drop
        self.zoneout = _zoneout(zoneout, self.spec)
        self.fused = torch_layout(self.spec)
        self._spec_eval = with_zoneout(self.spec, self.zoneout) if self.zoneout else self.spec
        dropped = self.spec
        if recurrent_dropout:
            dropped = with_recurrent_dropout(cell.spec)
            dropped = with_projection(dropped) if "P" in sizes else dropped
        self._spec_train = with_zoneout(dropped, self.zoneout) if self.zoneout else dropped
        self._graph_names = self._name_specs()
        self.state_sizes = tuple(self.sizes[self.spec.state_axes[state]] for state in self.spec.states)
        self._register(initializers or {}, generator)
        self.initial = (
            nn.ParameterList(torch.zeros(size) for size in self.state_sizes) if learned_initial_state else None
        )
        # What the parameters were, their storages, and what runs single steps with them.
        self._packed: tuple[tuple[Any, ...] | None, list[Tensor], Stepper | tuple[Tensor, ...]] | None = None

    @property
    def state_type(self) -> Any:
        """The NamedTuple of the states."""
        return self._state_type

    def __getstate__(self) -> dict[str, Any]:
        # A copy has other parameters, so what was packed is not for it; a class made at run time cannot be pickled.
        return {**self.__dict__, "_packed": None, "_state_type": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._state_type = state_type(self.spec.name, self.spec.states)
        self._graph_names = self._name_specs()

    def _name_specs(self) -> list[str]:
        """What compiled graphs call the equations in evaluation and in training."""
        specs = (self._spec_eval, self._spec_train)
        return [dispatch.name_of(spec, self.fused if spec is self.spec else None) for spec in specs]

    @property
    def draws(self) -> bool:
        """Whether training draws masks for a whole sequence."""
        return bool(self._spec_train.extras or self.weight_drop)

    @property
    def output_size(self) -> int:
        """Width of the output."""
        return self.state_sizes[0]

    def _register(self, initializers: Mapping[str, str | float], generator: Generator | None) -> None:
        check_names(initializers, self.spec)
        check_names(self.cell.initial, self.spec, f"{type(self.cell).__name__}.initial")
        # Where each parameter is kept: walking the modules would cost a small step more than the step itself.
        self._slots: list[tuple[dict[str, Any], str]] = []
        for name, axes in self.spec.params.items():
            shape = tuple(self.sizes[axis] for axis in axes)
            fill = initialiser_for(name, self.spec, self.cell.initial, initializers)
            value = nn.Parameter(fill(shape, generator).to(torch.get_default_dtype()).contiguous())
            family, _, gate = name.partition(".")
            owner: nn.Module = self
            if gate:
                if family not in self._modules:
                    self.add_module(family, nn.Module())
                owner = self.get_submodule(family)
            owner.register_parameter(gate or family, value)
            self._slots.append((owner._parameters, gate or family))

    def _tensors(self) -> list[Tensor]:
        """The parameters in order; under torch's parametrizations, what those are computed from."""
        try:
            return [owner[name] for owner, name in self._slots]
        except KeyError:
            return list(self.parameters())

    def named(self) -> dict[str, Tensor]:
        """The parameters by the names of the equations."""
        found = {}
        for name in self.spec.params:
            family, _, gate = name.partition(".")
            found[name] = getattr(getattr(self, family), gate) if gate else getattr(self, family)
        return found

    def initial_state(self, batch: int) -> Any:
        """What `state=None` means: the learned state, or zeros; each (B, size)."""
        if self.initial is not None:
            return self.state_type(*(value.expand(batch, -1) for value in self.initial))
        return self.zero_state(batch)

    def zero_state(self, batch: int) -> Any:
        """Zeros, each (B, size)."""
        like = next(self.parameters())
        return self.state_type(*(like.new_zeros(batch, size) for size in self.state_sizes))

    def forward(
        self, x: Tensor, state: Any = None, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """x (B, T, I) -> outputs (B, T, size) and the final state."""
        batch = x.shape[0]
        initial = self.initial_state(batch)
        state = initial if state is None else state
        if resets is not None and x.shape[1]:
            # A restart before the first step is a matter of the initial state, and every backend can do that.
            state = restart(state, initial, resets[:, 0])
            later = resets[:, 1:]
            resets = functional.pad(later, (1, 0)) if torch.compiler.is_compiling() or bool(later.any()) else None
        spec = self._spec_train if self.training else self._spec_eval
        params = self._dropped() if self.training and self.weight_drop else self.named()
        extras = self._extras(spec, x.shape[1], batch)
        fused = self.fused if spec is self.spec else None
        if torch.compiler.is_compiling() and lengths is None and resets is None:
            parts = list(params.values()), x, list(state), list(initial), list(extras.values())
            y, *final = dispatch.run_in_graph(
                self._graph_names[spec is self._spec_train], *parts, self.backend, self.recompute
            )
            return y, self.state_type(*final)
        request = Request(spec, params, x, tuple(state), tuple(initial), lengths, resets, extras, fused, self.recompute)
        run = dispatch.run_outside_graph if torch.compiler.is_compiling() else dispatch.run
        y, final = run(request, self.backend)
        return y, self.state_type(*final)

    def _dropped(self) -> dict[str, Tensor]:
        """The parameters with entries of the recurrent matrices dropped, one mask for the whole call."""
        recurrent = self.cell.spec.recurrent_params
        return {
            name: functional.dropout(value, self.weight_drop) if name in recurrent else value
            for name, value in self.named().items()
        }

    def _extras(self, spec: CellSpec, steps: int, batch: int) -> dict[str, Tensor]:
        """Masks and rates of this call, drawn from torch's global stream."""
        like = next(self.parameters())
        drawn: dict[str, Tensor] = {}
        for extra in spec.extras:
            kind, _, state = extra.name.partition("_")
            size = self.sizes[extra.axis]
            if kind == "drop":
                keep = 1 - self.recurrent_dropout
                drawn[extra.name] = like.new_empty(batch, size).bernoulli_(keep) / keep
            elif self.training:
                drawn[extra.name] = like.new_empty(steps, batch, size).bernoulli_(self.zoneout[state])
            else:
                drawn[extra.name] = like.new_full((1, 1), self.zoneout[state])
        return drawn

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """x (B, I) and state -> output (B, size) and the next state, straight through the step function.

        Without gradients the stacked weights are kept between calls, until a parameter changes; what cannot be seen,
        as by anyone in torch, is a change in place of `parameter.data`.
        """
        if self.training and self.draws:
            raise ConfigError(
                message(
                    "Recurrent.step",
                    "recurrent dropout, weight drop and zoneout draw masks for a whole sequence, not for single steps",
                    hint="call layer.eval() first, or run the sequence through the layer.",
                )
            )
        spec = self._spec_eval
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *state, *self._tensors())):
            work = program(spec)
            extras = self._extras(spec, 1, x.shape[0]) if spec.extras else {}
            packed = work.pack(self.named())
            after = work.step(*work.before(x, packed), *state, *(extras[extra.name] for extra in spec.extras), *packed)
            return after[0], self.state_type(*after)
        y, after = self.advance(x.unsqueeze(1), state)
        return y.squeeze(1), after

    def advance(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """x (B, T, I) and state -> outputs (B, T, size) and the state after; no gradients, no checks.

        The weights are kept as the kernels want them, until a parameter changes.
        """
        kernel = self.kernel()
        if x.shape[0] and x.shape[1] and isinstance(kernel, Stepper) and x.dtype == kernel.dtype:
            y, after = kernel.run(x.contiguous(), [part.contiguous() for part in state])
            return y, self.state_type(*after)
        work = program(self._spec_eval)
        extras = self._extras(self._spec_eval, 1, x.shape[0])
        now = [extras[extra.name] for extra in self._spec_eval.extras]
        packed = work.pack(self.named()) if isinstance(kernel, Stepper) else kernel
        outputs = []
        for moment in x.unbind(1):
            state = work.step(*work.before(moment, packed), *state, *now, *packed)
            outputs.append(state[0])
        y = torch.stack(outputs, 1) if outputs else x.new_zeros(x.shape[0], 0, self.output_size)
        return y, self.state_type(*state)

    def kernel(self) -> Stepper | tuple[Tensor, ...]:
        """What runs single steps: native code with its weights, or the stacked weights of the reference's step.

        The same object until a parameter changes.
        """
        tensors = self._tensors()
        # Tensors made in inference mode do not count their changes.
        key = None if tensors[0].is_inference() else tuple([(part.data_ptr(), part._version) for part in tensors])
        if self._packed is None or key is None or self._packed[0] != key:
            # The storages are held, so that no later parameter can be given the address of one of these.
            self._packed = (key, [tensor.detach() for tensor in tensors], self._kernel())
        return self._packed[2]

    def _kernel(self) -> Stepper | tuple[Tensor, ...]:
        with torch.no_grad():
            widths = [self.sizes[extra.axis] for extra in self._spec_eval.extras]
            extras = self._extras(self._spec_eval, 1, 1) if widths else {}
            values = [value.expand(1, width) for value, width in zip(extras.values(), widths, strict=True)]
            native = dispatch.stepper(self._spec_eval, self.named(), values, self.backend)
            return native or tuple(part.contiguous() for part in program(self._spec_eval).pack(self.named()))

    def check_state(self, state: Any, batch: int, where: str, what: str, x_shape: tuple[int, ...]) -> None:
        """Raises ShapeError that names the state, what it must be and why."""
        fields = getattr(state, "_fields", self.spec.states)
        if not isinstance(state, tuple) or len(state) != len(self.spec.states) or fields != self.spec.states:
            raise ShapeError(
                message(
                    where,
                    f"{what} must be the states ({', '.join(self.spec.states)}) of {self.cell.name}, got {fields}",
                )
            )
        like = self._tensors()[0]
        for name, size, value in zip(self.spec.states, self.state_sizes, state, strict=True):
            axis = self.spec.state_axes[name]
            if tuple(value.shape) != (batch, size):
                option = {"H": "hidden_size", "O": "output_size", "P": "projection_size"}.get(axis, "input_size")
                raise ShapeError(
                    message(
                        where,
                        f"{what}.{name} must be (B, {axis}) = ({batch}, {size}), got {tuple(value.shape)}",
                        f"B = {batch} from x {x_shape}; {axis} = {size} from cell {self.cell.name}({option}={size}).",
                        hint=f"layer.zero_state({batch}) makes a fresh state; is this one from another layer?",
                    )
                )
            if value.dtype != like.dtype and not torch.is_autocast_enabled(like.device.type):
                raise ShapeError(
                    message(
                        where,
                        f"{what}.{name} is {value.dtype}, the weights are {like.dtype}",
                        hint="recurra.base.state.to(state, dtype).",
                    )
                )


def _zoneout(rates: float | Mapping[str, float], spec: CellSpec) -> dict[str, float]:
    """Rate per state, those that are 0 left out."""
    if isinstance(rates, Mapping):
        unknown = [state for state in rates if state not in spec.states]
        if unknown:
            raise ConfigError(
                message("zoneout", f"{spec.name} has no state {unknown[0]}", f"It has: {', '.join(spec.states)}.")
            )
        return {state: rate for state, rate in rates.items() if rate}
    return dict.fromkeys(spec.states, rates) if rates else {}
