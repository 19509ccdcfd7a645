"""The neural Turing machine: a controller that reads and writes a memory by attention (Graves et al. 2014)."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn

from recurra.base.errors import ConfigError, ShapeError, message
from recurra.base.state import leaves, restart
from recurra.equations.cell import Cell
from recurra.kernels.reference.program import program
from recurra.layers.facts import Facts, feedforward_depth
from recurra.layers.memory_step import HeadSizes, memory_run, memory_step
from recurra.layers.sequence import valid_mask
from recurra.layers.stream import Stream
from recurra.layers.unit import Unit, resolve

__all__ = ["NTM", "MemoryStart", "MemoryTrace", "NTMState"]

MemoryStart = Literal["constant", "learned", "random"]
_STARTS = ("constant", "learned", "random")


class NTMState(NamedTuple):
    """Everything a neural Turing machine carries from step to step; K heads, the reading ones first."""

    controller: Any
    """The states of the controller's cell, each (B, H); an empty tuple for a feed-forward one."""
    reads: Tensor
    """What was read last, (B, R, W)."""
    weights: Tensor
    """Where each head last was, (B, K, N), each row summing to 1."""
    memory: Tensor
    """(B, N, W)."""


class MemoryTrace(NamedTuple):
    """What the heads did at every step, for pictures; nothing here has a gradient."""

    reads: Tensor
    """(B, T, R, W)."""
    adds: Tensor
    """(B, T, S, W)."""
    erases: Tensor
    """(B, T, S, W)."""
    weights: Tensor
    """(B, T, K, N)."""


class NTM(nn.Module):
    """Neural Turing machine over (B, T, I) tensors.

    At each step the controller reads the input and what was read from memory at the step before; its output says, by
    one linear layer, where each head goes (content, interpolation, shift, sharpening) and what the writing heads erase
    and add; the output is a linear layer over the controller's output and what is read now.

    >>> import torch
    >>> layer = NTM(input_size=9, hidden_size=32, output_size=8, locations=16, width=6)
    >>> y, state = layer(torch.zeros(4, 10, 9))
    >>> y.shape, state.memory.shape, state.weights.shape
    (torch.Size([4, 10, 8]), torch.Size([4, 16, 6]), torch.Size([4, 2, 16]))

    Stable start (Collier and Beel 2018, arXiv:1807.08518): the memory begins as the constant 1e-6, so that early
    writes stand out; the first reads and weightings are learned. Their clipping of what the controller says to
    [-20, 20] is here too.

    Args:
        input_size: I, features per step.
        hidden_size: H, units of the controller.
        output_size: O, numbers per step; None gives the controller's output and the reads side by side, H + R W.
        locations: N, places in memory.
        width: W, numbers in each place.
        read_heads: R, from 1.
        write_heads: S, from 1.
        shift_range: r; a head may move up to r places either way in one step.
        controller: "feedforward" (one tanh layer), or a cell as Recurrent takes it: name, class or instance.
        memory_start: "constant" 1e-6, "learned" (tanh of a parameter) or "random" (N(0, 0.5^2), the same for every
            sequence): those that Collier and Beel compare.
        clip: bound of the controller's words to the heads; None for no bound.
        generator: random stream of the initial weights.
        native: False never takes the C++ step; None takes it where it can run (CPU, float32 or float64).

    """

    memory_constant: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int | None = None,
        *,
        locations: int = 128,
        width: int = 20,
        read_heads: int = 1,
        write_heads: int = 1,
        shift_range: int = 1,
        controller: str | type[Cell] | Cell = "lstm",
        memory_start: MemoryStart = "constant",
        clip: float | None = 20.0,
        generator: Generator | None = None,
        native: bool | None = None,
    ) -> None:
        super().__init__()
        _check(locals())
        self.input_size, self.hidden_size, self.output_size = input_size, hidden_size, output_size
        self.sizes = HeadSizes(read_heads, write_heads, locations, width, 2 * shift_range + 1)
        self.clip, self.native, self.memory_start = clip, native, memory_start
        read_size = read_heads * width
        self.unit: Unit | None = None
        if controller == "feedforward":
            self.layer = nn.Linear(input_size + read_size, hidden_size)
            _fill(self.layer, generator)
        else:
            sizes = {"I": input_size + read_size, "H": hidden_size, "O": hidden_size}
            self.unit = Unit(resolve(controller), sizes, generator=generator)
        self.heads = nn.Linear(hidden_size, self.sizes.raw_size)
        _fill(self.heads, generator)
        self.output_width = hidden_size + read_size if output_size is None else output_size
        self.output = None if output_size is None else nn.Linear(hidden_size + read_size, output_size)
        if self.output is not None:
            _fill(self.output, generator)
        # Glorot for a matrix from 1 to n units, as in Collier and Beel's program.
        self.first_reads = nn.Parameter(_uniform((read_heads, width), math.sqrt(6 / (1 + width)), generator))
        self.first_weights = nn.Parameter(
            _uniform((self.sizes.heads, locations), math.sqrt(6 / (1 + locations)), generator)
        )
        if memory_start == "learned":
            bound = math.sqrt(6 / (1 + locations * width))
            self.first_memory = nn.Parameter(_uniform((locations, width), bound, generator))
        else:
            constant = torch.full((locations, width), 1e-6)
            if memory_start == "random":
                constant = torch.randn(locations, width, generator=generator) * 0.5
            self.register_buffer("memory_constant", constant.to(torch.get_default_dtype()))

    def forward(
        self,
        x: Tensor,
        state: NTMState | None = None,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, NTMState]:
        """Run over a batch of sequences.

        Args:
            x: (B, T, I).
            state: as an earlier call returned it; None is the initial state.
            lengths: (B,) valid steps of each row; the state stands still after them and the output is 0 there.
            resets: (B, T) bool, true where a row starts afresh before it reads that step.

        Returns:
            Outputs (B, T, output_width) and the state after each row's last valid step.

        """
        self._check_call(x, state, lengths, resets)
        return self._run(x, state, lengths, resets, None)

    def step(self, x: Tensor, state: NTMState | None = None) -> tuple[Tensor, NTMState]:
        """One time step: x (B, I) and state -> output (B, output_width) and the next state."""
        if x.dim() != 2:
            raise ShapeError(message("NTM.step", f"x must be (B, I) = (B, {self.input_size}), got {tuple(x.shape)}"))
        y, after = self(x.unsqueeze(1), state)
        return y.squeeze(1), after

    def stream(self, batch_size: int = 1) -> Stream:
        """A live session: `push` chunks of any length and get exactly what the whole sequence would give."""
        return Stream(self, batch_size)

    # What a stream reads of a layer; with `skip` it does not take the short cut of stacked cells.
    bidirectional = reverse = residual = False
    skip = True
    dropout = 0.0
    units: tuple[Unit, ...] = ()

    @torch.no_grad()
    def trace(self, x: Tensor, state: NTMState | None = None) -> tuple[Tensor, MemoryTrace]:
        """Outputs, and what every head did at every step of x (B, T, I)."""
        self._check_call(x, state, None, None)
        heard: list[tuple[Tensor, ...]] = []
        y, _ = self._run(x, state, None, None, heard)
        raw, reads, weights = (torch.stack(parts, 1) for parts in zip(*heard, strict=True))
        changing = raw[..., raw.shape[-1] - self.sizes.writing * 2 * self.sizes.width :]
        erases, adds = changing.unflatten(-1, (self.sizes.writing, 2, self.sizes.width)).unbind(-2)
        return y, MemoryTrace(reads, torch.tanh(adds), torch.sigmoid(erases), weights)

    def initial_state(self, batch_size: int) -> NTMState:
        """What state=None means: an empty memory, and the learned first reads and places."""
        memory = torch.tanh(self.first_memory) if self.memory_start == "learned" else self.memory_constant
        return NTMState(
            self.unit.initial_state(batch_size) if self.unit is not None else (),
            torch.tanh(self.first_reads).expand(batch_size, -1, -1),
            torch.softmax(self.first_weights, -1).expand(batch_size, -1, -1),
            memory.expand(batch_size, -1, -1),
        )

    def _run(
        self,
        x: Tensor,
        state: NTMState | None,
        lengths: Tensor | None,
        resets: Tensor | None,
        heard: list[tuple[Tensor, ...]] | None,
    ) -> tuple[Tensor, NTMState]:
        batch, steps = x.shape[:2]
        fresh = self.initial_state(batch) if state is None or resets is not None else state
        now = fresh if state is None else state
        valid = None if lengths is None else valid_mask(torch.as_tensor(lengths, device=x.device), steps)
        if valid is not None:
            # Whatever stands on the padding, even NaN, must not reach a product: 0 times NaN is NaN in a gradient.
            x = torch.where(valid.unsqueeze(-1), x, x.new_zeros(()))
        if self.unit is None and self.native is not False and steps and valid is None and resets is None:
            ran = memory_run(x, self.layer, self.heads, now[1:], self.sizes, self.clip)
            if ran is not None:
                y, *parts, raw, weights = ran
                if heard is not None:
                    reads = y[..., self.hidden_size :].unflatten(-1, (self.sizes.reading, self.sizes.width))
                    heard += zip(raw.unbind(1), reads.unbind(1), weights.unbind(1), strict=True)
                return y if self.output is None else self.output(y), NTMState((), *parts)
        advance = self._controller()
        outputs = []
        for t, moment in enumerate(x.unbind(1)):
            if resets is not None:
                now = restart(now, fresh, resets[:, t] if valid is None else resets[:, t] & valid[:, t])
            h, inner = advance(torch.cat((moment, now.reads.flatten(1)), -1), now.controller)
            raw = self.heads(h)
            if self.clip is not None:
                raw = raw.clamp(-self.clip, self.clip)
            reads, weights, memory = memory_step(now.memory, now.weights, raw, self.sizes, self.native)
            after = NTMState(inner, reads, weights, memory)
            now = after if valid is None else restart(now, after, valid[:, t])
            outputs.append(torch.cat((h, reads.flatten(1)), -1))
            if heard is not None:
                heard.append((raw, reads, weights))
        width = self.hidden_size + self.sizes.reading * self.sizes.width
        y = torch.stack(outputs, 1) if outputs else x.new_zeros(batch, 0, width)
        y = y if self.output is None else self.output(y)
        return (y if valid is None else y * valid.unsqueeze(-1)), now

    def _controller(self) -> Any:
        """(B, I + R W), states -> (B, H), states; a cell's weights are stacked once for all steps."""
        unit = self.unit
        if unit is None:
            return lambda x, _: (torch.tanh(self.layer(x)), ())
        work = program(unit.spec)
        packed = work.pack(unit.named())

        def advance(x: Tensor, states: Any) -> tuple[Tensor, Any]:
            after = unit.state_type(*work.step(*work.before(x, packed), *states, *packed))
            return after[0], after

        return advance

    def facts(self) -> Facts:
        """What a model summary says: the heads are one layer more, on the way to the output and around the loop."""
        controller = 1 if self.unit is None else feedforward_depth(self.unit.spec)
        return Facts(controller + 1, controller + 1, math.inf)

    def parameter_count(self) -> int:
        """Numbers in all parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def extra_repr(self) -> str:
        """What print(layer) says of it."""
        kind = "feedforward" if self.unit is None else self.unit.cell.name
        return f"{kind}, memory {self.sizes.locations} x {self.sizes.width}, {self.parameter_count():,} parameters"

    def _check_call(self, x: Tensor, state: NTMState | None, lengths: Tensor | None, resets: Tensor | None) -> None:
        where = "NTM.forward"
        if x.dim() != 3 or x.shape[2] != self.input_size:
            raise ShapeError(message(where, f"x must be (B, T, {self.input_size}), got {tuple(x.shape)}"))
        like = self.first_reads
        if x.dtype != like.dtype:
            raise ShapeError(
                message(where, f"x is {x.dtype}, the weights are {like.dtype}", hint=f"x.to({like.dtype})")
            )
        batch, steps = x.shape[:2]
        if lengths is not None:
            lengths = torch.as_tensor(lengths)
            if tuple(lengths.shape) != (batch,) or lengths.is_floating_point():
                raise ShapeError(message(where, f"lengths must be (B,) = ({batch},) integers, got {lengths}"))
            if batch and (int(lengths.min()) < 0 or int(lengths.max()) > steps):
                raise ShapeError(message(where, f"lengths must lie in 0..T = 0..{steps}, got {lengths.tolist()}"))
        if resets is not None and (tuple(resets.shape) != (batch, steps) or resets.dtype != torch.bool):
            got = f"{tuple(resets.shape)} {resets.dtype}"
            raise ShapeError(message(where, f"resets must be (B, T) = ({batch}, {steps}) bool, got {got}"))
        if state is not None:
            self.check_state(state, batch, where, tuple(x.shape))

    def check_state(self, state: Any, batch: int, where: str, x_shape: tuple[int, ...]) -> None:
        """Raise ShapeError unless `state` is a state of this layer for `batch` rows, those of x (`x_shape`)."""
        with torch.no_grad():
            shapes = [tuple(leaf.shape) for leaf in leaves(self.initial_state(batch))]
        got = [tuple(leaf.shape) for leaf in leaves(state)] if isinstance(state, NTMState) else type(state).__name__
        if got != shapes:
            raise ShapeError(
                message(
                    where,
                    f"state must be an NTMState of tensors {shapes}, got {got}",
                    f"B = {batch} from x {x_shape}.",
                    hint="layer.initial_state(B)",
                )
            )


def _fill(layer: nn.Linear, generator: Generator | None) -> None:
    """N(0, 1 / fan in) cut at two deviations, and no bias."""
    deviation = 1 / math.sqrt(layer.in_features)
    nn.init.trunc_normal_(layer.weight, 0.0, deviation, -2 * deviation, 2 * deviation, generator=generator)
    nn.init.zeros_(layer.bias)


def _uniform(shape: tuple[int, ...], bound: float, generator: Generator | None) -> Tensor:
    return ((torch.rand(shape, generator=generator) * 2 - 1) * bound).to(torch.get_default_dtype())


def _check(given: dict[str, Any]) -> None:
    """Raises ConfigError with all mistakes at once."""
    names = ("input_size", "hidden_size", "locations", "width", "read_heads", "write_heads")
    faults = [
        f"{name} must be a whole number from 1, got {given[name]!r}"
        for name in (*names, *(["output_size"] if given["output_size"] is not None else []))
        if not isinstance(given[name], int) or isinstance(given[name], bool) or given[name] < 1
    ]
    reach, locations = given["shift_range"], given["locations"]
    if not isinstance(reach, int) or reach < 0:
        faults.append(f"shift_range must be a whole number from 0, got {reach!r}")
    elif isinstance(locations, int) and 2 * reach + 1 > locations >= 1:
        faults.append(f"shift_range {reach} asks for {2 * reach + 1} locations or more, there are {locations}")
    if given["memory_start"] not in _STARTS:
        faults.append(f"memory_start must be one of {', '.join(_STARTS)}, got {given['memory_start']!r}")
    if given["clip"] is not None and not given["clip"] > 0:
        faults.append(f"clip must be above 0 or None, got {given['clip']}")
    if faults:
        raise ConfigError(message("NTM", "the arguments do not fit", *faults))
