"""The recurrent layer: any cell, stacked, in one direction or both, over batches dense or ragged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from recurra.base.errors import ConfigError, ShapeError, message, nearest
from recurra.equations.cell import Cell
from recurra.layers.convert import load_torch, make_torch
from recurra.layers.sequence import flip, flip_resets, valid_mask
from recurra.layers.stream import Stream
from recurra.layers.unit import Unit, resolve

__all__ = ["MERGES", "Merge", "Recurrent"]

Merge = Literal["concat", "sum", "mean", "mul"]

MERGES = {
    "concat": lambda a, b: torch.cat((a, b), -1),
    "sum": lambda a, b: a + b,
    "mean": lambda a, b: (a + b) / 2,
    "mul": lambda a, b: a * b,
}


class Recurrent(nn.Module):
    """A recurrent layer over (B, T, I) tensors.

    >>> import torch
    >>> layer = Recurrent("peephole_lstm", input_size=8, hidden_size=16)
    >>> y, state = layer(torch.zeros(4, 10, 8))
    >>> y.shape, state[0].c.shape
    (torch.Size([4, 10, 16]), torch.Size([4, 16]))

    Args:
        cell: a name (`recurra cells`, or `mine.py:Name` once it is loaded), a Cell class of your own, or an instance.
        input_size: I, features per step.
        hidden_size: H, units of the cell.
        num_layers: how many are stacked.
        bidirectional: read the sequence in both directions.
        merge: how the directions are joined: "concat", "sum", "mean" or "mul".
        dropout: share of the features set to 0 between layers, as in torch.nn.LSTM.
        recurrent_dropout: share of the state set to 0 where a recurrent product reads it, one mask for all steps.
        weight_drop: share of the entries of the recurrent matrices set to 0, anew in each call (Merity et al. 2018);
            the fused backends stay in use.
        zoneout: probability that a unit keeps its old value, for all states or per state ({"h": 0.05, "c": 0.5}).
        learned_initial_state: state=None starts from parameters instead of zeros.
        reverse: read the sequence backwards (one direction).
        residual: add each layer's input to its output where the widths agree.
        skip: each layer also reads x, and the outputs of all layers are concatenated (Graves 2013).
        projection_size: P, width of a projected output (Sak et al. 2014), for cells that use it in products only.
        output_size: O, width of the output of cells that have an output layer inside (jordan); H when not given.
        initializers: initialiser name or number per parameter or family: {"U": "identity", "b.f": 2.0}.
        generator: random stream of the initial weights.
        backend: insist on one backend ("native", "torchnn", "scan", "reference"); by default the first that can run
            the call.
        recompute: keep only the states for the gradient and compute the rest again, some steps at a time: less memory,
            one forward pass more (the native backend; others do as always).

    """

    def __init__(
        self,
        cell: str | type[Cell] | Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        merge: Merge = "concat",
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_drop: float = 0.0,
        zoneout: float | Mapping[str, float] = 0.0,
        learned_initial_state: bool = False,
        reverse: bool = False,
        residual: bool = False,
        skip: bool = False,
        projection_size: int | None = None,
        output_size: int | None = None,
        initializers: Mapping[str, str | float] | None = None,
        generator: Generator | None = None,
        backend: str | None = None,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        _check(locals())
        self.cell = resolve(cell)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.directions = 2 if bidirectional else 1
        self.bidirectional, self.merge, self.reverse = bidirectional, merge, reverse
        self.dropout, self.residual, self.skip = dropout, residual, skip
        sizes = {"H": hidden_size, "O": output_size or hidden_size}
        if output_size is not None and "O" not in self.cell.spec.axes:
            raise ConfigError(message("Recurrent", f"{self.cell.name} has no output layer inside, so no output_size"))
        if projection_size is not None:
            sizes["P"] = projection_size
        units: list[Unit] = []
        width = input_size
        widths = []
        for _ in range(num_layers):
            for _ in range(self.directions):
                unit = Unit(
                    self.cell,
                    {**sizes, "I": width},
                    recurrent_dropout=recurrent_dropout,
                    weight_drop=weight_drop,
                    zoneout=zoneout,
                    learned_initial_state=learned_initial_state,
                    initializers=initializers,
                    generator=generator,
                    backend=backend,
                    recompute=recompute,
                )
                units.append(unit)
            output = unit.output_size * (2 if bidirectional and merge == "concat" else 1)
            widths.append(output)
            width = output + (input_size if skip else 0)
        # A ModuleList to torch, a list of Units to the type checker.
        self.units = cast("list[Unit]", nn.ModuleList(units))
        self.output_width = sum(widths) if skip else widths[-1]

    @classmethod
    def from_torch(cls, module: nn.RNNBase) -> Recurrent:
        """The same layer as a torch.nn.LSTM, GRU or RNN, weights copied gate by gate; batch first as all of ours."""
        return load_torch(cls, module)

    def to_torch(self) -> nn.RNNBase:
        """The same layer as torch.nn.LSTM, GRU or RNN (batch_first=True); our bias becomes bias_ih."""
        return make_torch(self)

    def forward(
        self,
        x: Tensor | PackedSequence,
        state: Any = None,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Any, Any]:
        """Run over a batch of sequences.

        Args:
            x: (B, T, I), or a PackedSequence, which comes back packed.
            state: as returned by an earlier call (one NamedTuple of (B, size) tensors per layer and direction, the
                directions of a layer next to each other); None is the initial state.
            lengths: (B,) valid steps of each row; the state stands still after them and the output is 0 there.
            resets: (B, T) bool, true where a row starts afresh before it reads that step.

        Returns:
            Outputs (B, T, output_width) and the state after each row's last valid step.

        """
        if isinstance(x, PackedSequence):
            if lengths is not None:
                raise ShapeError(message("Recurrent.forward", "a PackedSequence brings its own lengths"))
            padded, sizes = pad_packed_sequence(x, batch_first=True)
            y, state = self.forward(padded, state, sizes.to(padded.device), resets)
            if x.sorted_indices is not None:
                y, sizes = y[x.sorted_indices], sizes[x.sorted_indices.cpu()]
            # In the order of x, so that its rows and those of anything packed alike still belong together.
            data = pack_padded_sequence(y, sizes, batch_first=True).data
            return PackedSequence(data, x.batch_sizes, x.sorted_indices, x.unsorted_indices), state
        lengths = self._check_call(x, state, lengths, resets)
        if lengths is not None:
            # Whatever stands on the padding, even NaN, must not reach a product: 0 times NaN is NaN in a gradient.
            valid = valid_mask(lengths, x.shape[1])
            x = torch.where(valid.unsqueeze(-1), x, x.new_zeros(()))
            resets = None if resets is None else resets & valid
        final: list[Any] = []
        below, outputs = x, []
        for layer in range(self.num_layers):
            read = torch.cat((below, x), -1) if self.skip and layer else below
            y = self._layer(layer, read, state, lengths, resets, final)
            below = self._join(read, y)
            outputs.append(below)
            if self.dropout and layer < self.num_layers - 1:
                below = nn.functional.dropout(below, self.dropout, self.training)
        return (torch.cat(outputs, -1) if self.skip else below), tuple(final)

    def _layer(
        self, layer: int, x: Tensor, state: Any, lengths: Tensor | None, resets: Tensor | None, final: list[Any]
    ) -> Tensor:
        """One layer in its directions; appends its final states."""
        parts = []
        for direction in range(self.directions):
            index = layer * self.directions + direction
            backwards = self.reverse or direction == 1
            read = flip(x, lengths) if backwards else x
            borders = flip_resets(resets, lengths) if backwards and resets is not None else resets
            y, last = self.units[index](read, None if state is None else state[index], lengths, borders)
            parts.append(flip(y, lengths) if backwards else y)
            final.append(last)
        return MERGES[self.merge](*parts) if len(parts) == 2 else parts[0]

    def _join(self, read: Tensor, y: Tensor) -> Tensor:
        return y + read if self.residual and y.shape == read.shape else y

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One time step, for streams and decoders: x (B, I) and state -> output (B, output_width), next state."""
        if self.bidirectional or self.reverse:
            raise ConfigError(message("Recurrent.step", "a layer that reads backwards needs the whole sequence"))
        if x.dim() != 2 or x.shape[1] != self.input_size:
            raise ShapeError(
                message("Recurrent.step", f"x must be (B, I) = (B, {self.input_size}), got {tuple(x.shape)}")
            )
        if state is None:
            state = self.initial_state(x.shape[0])
        else:
            self.check_state(state, x.shape[0], "Recurrent.step", tuple(x.shape))
        final, outputs, below = [], [], x
        for layer, unit in enumerate(self.units):
            read = torch.cat((below, x), -1) if self.skip and layer else below
            y, last = unit.step(read, state[layer])
            below = self._join(read, y)
            outputs.append(below)
            final.append(last)
            if self.dropout and self.training and layer < self.num_layers - 1:
                below = nn.functional.dropout(below, self.dropout)
        return (torch.cat(outputs, -1) if self.skip else below), tuple(final)

    def stream(self, batch_size: int = 1) -> Stream:
        """A live session: `push` chunks of any length and get exactly what the whole sequence would give."""
        return Stream(self, batch_size)

    def initial_state(self, batch_size: int) -> Any:
        """What state=None means: zeros, or the learned initial state."""
        return tuple(unit.initial_state(batch_size) for unit in self.units)

    def zero_state(self, batch_size: int) -> Any:
        """A state of zeros."""
        return tuple(unit.zero_state(batch_size) for unit in self.units)

    def recurrent_matrices(self) -> dict[str, Tensor]:
        """The square matrices over a state, (H, H), by unit and name: `0.U.i`."""
        found = {}
        for index, unit in enumerate(self.units):
            for name, axes in unit.spec.params.items():
                if len(axes) == 2 and axes[0] == axes[1]:
                    found[f"{index}.{name}"] = unit.named()[name]
        return found

    def parameter_count(self) -> int:
        """Numbers in all parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def extra_repr(self) -> str:
        """What print(layer) says of it."""
        return f"{self.cell.name}, {self.input_size} -> {self.output_width}, {self.parameter_count():,} parameters"

    def _check_call(self, x: Tensor, state: Any, lengths: Any, resets: Tensor | None) -> Tensor | None:
        where = "Recurrent.forward"
        if x.dim() != 3 or x.shape[2] != self.input_size:
            raise ShapeError(
                message(
                    where,
                    f"x must be (B, T, I) = (B, T, {self.input_size}), got {tuple(x.shape)}",
                    f"I = {self.input_size} from input_size of this layer.",
                    hint="batch first; one sequence is x.unsqueeze(0).",
                )
            )
        like = next(self.parameters())
        if x.dtype != like.dtype and not torch.is_autocast_enabled(x.device.type):
            raise ShapeError(
                message(
                    where,
                    f"x is {x.dtype}, the weights are {like.dtype}",
                    hint=f"x.to({like.dtype}), or layer.to(x.dtype).",
                )
            )
        batch, steps = x.shape[:2]
        if state is not None:
            self.check_state(state, batch, where, tuple(x.shape))
        if resets is not None and (tuple(resets.shape) != (batch, steps) or resets.dtype != torch.bool):
            raise ShapeError(
                message(
                    where, f"resets must be (B, T) = ({batch}, {steps}) bool, got {tuple(resets.shape)} {resets.dtype}"
                )
            )
        if lengths is None:
            return None
        lengths = torch.as_tensor(lengths, device=x.device)
        if tuple(lengths.shape) != (batch,) or lengths.is_floating_point():
            got = f"{tuple(lengths.shape)} {lengths.dtype}"
            raise ShapeError(message(where, f"lengths must be (B,) = ({batch},) integers, got {got}"))
        if batch and not torch.compiler.is_compiling() and (int(lengths.min()) < 0 or int(lengths.max()) > steps):
            low, high = int(lengths.min()), int(lengths.max())
            raise ShapeError(message(where, f"lengths must lie in 0..T = 0..{steps}, got {low}..{high}"))
        return lengths

    def check_state(self, state: Any, batch: int, where: str, x_shape: tuple[int, ...]) -> None:
        """Raises ShapeError where `state` is not one of this layer for `batch` rows; the rest is for its words."""
        if not isinstance(state, tuple) or len(state) != len(self.units) or isinstance(state[0], Tensor):
            raise ShapeError(
                message(
                    where,
                    f"state must be a tuple of {len(self.units)} (layers x directions), got {type(state).__name__}",
                    hint="hand back what the last call returned, or layer.zero_state(B).",
                )
            )
        for index, (unit, part) in enumerate(zip(self.units, state, strict=True)):
            unit.check_state(part, batch, where, f"state[{index}]", x_shape)


def _check(given: Mapping[str, Any]) -> None:
    """All mistakes of the arguments at once."""
    faults = [
        f"{name} must be a whole number from 1, got {given[name]!r}"
        for name in ("input_size", "hidden_size", "num_layers", "projection_size", "output_size")
        if given[name] is not None and (not isinstance(given[name], int) or given[name] < 1)
    ]
    rates = {name: given[name] for name in ("dropout", "recurrent_dropout", "weight_drop")}
    zoneout = given["zoneout"]
    rates |= (
        {f"zoneout of {s}": r for s, r in zoneout.items()} if isinstance(zoneout, Mapping) else {"zoneout": zoneout}
    )
    faults += [f"{name} must lie in [0, 1), got {rate!r}" for name, rate in rates.items() if not 0 <= rate < 1]
    if given["merge"] not in MERGES:
        faults.append(f"merge must be one of {', '.join(nearest(str(given['merge']), MERGES))}, got {given['merge']!r}")
    if given["reverse"] and given["bidirectional"]:
        faults.append("reverse and bidirectional cannot both be set: bidirectional reads backwards already")
    if faults:
        raise ConfigError(message("Recurrent", "the arguments do not fit", *faults))
