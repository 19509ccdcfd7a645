"""Time-delay neural nets: each layer sees a few frames of the layer below, with the same weights at all times.

Waibel, Hanazawa, Hinton, Shikano and Lang, Phoneme recognition using time-delay neural networks, IEEE Transactions on
Acoustics, Speech and Signal Processing 37, 1989, doi:10.1109/29.21701. With gaps between the frames: Peddinti, Povey
and Khudanpur, A time delay neural network architecture for efficient modeling of long temporal contexts, Interspeech
2015.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from torch import Generator, Tensor, nn

from recurra.base.errors import ConfigError, ShapeError, message
from recurra.layers.delay import last_frames, prepend, tapped
from recurra.layers.facts import Facts
from recurra.layers.feedforward import ACTIVATIONS, Activation, check_activation
from recurra.layers.sequence import blank_padding, check_lengths, check_sequence

__all__ = ["TDNN", "Context", "Padding", "TimeDelay", "WaibelTDNN"]

Context = int | Sequence[int]
Padding = Literal["valid", "causal"]


class TimeDelay(nn.Module):
    """One layer: y_t = a(sum over k of W_k x_(t + offset k) + b).

    >>> import torch
    >>> layer = TimeDelay(16, 8, context=3)
    >>> y, line = layer(torch.zeros(1, 15, 16))
    >>> y.shape, line.shape
    (torch.Size([1, 13, 8]), torch.Size([1, 2, 16]))

    Args:
        input_size: I, features per frame.
        output_size: O, units.
        context: how many frames in a row, or their offsets in time: (-2, 0, 2). Only their distances matter here: the
            first output is that of the first frame for which the context is complete.
        activation: "tanh", "sigmoid", "relu" or "linear".
        padding: "valid": as many frames fewer come out as the context spans. "causal": silence (0) stands before the
            first frame, one output per frame, which waits for no later one.
        generator: random stream of the initial weights.

    The state is the delay line (B, D, I): the frames that later outputs still need. Fed in pieces with the state handed
    on, the outputs are exactly those of the whole. With "valid", a ragged batch ends with the call: its state is None.

    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        context: Context,
        *,
        activation: Activation = "tanh",
        padding: Padding = "valid",
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        where = "TimeDelay"
        offsets = tuple(range(1 - context, 1)) if isinstance(context, int) else tuple(context)
        faults = []
        if input_size < 1 or output_size < 1:
            faults.append(f"input_size and output_size must be whole numbers from 1, got {input_size}, {output_size}")
        if not offsets or any(a >= b for a, b in itertools.pairwise(offsets)):
            faults.append(f"context must be a number from 1 or rising offsets, got {context!r}")
        if padding not in ("valid", "causal"):
            faults.append(f"padding must be 'valid' or 'causal', got {padding!r}")
        if faults:
            raise ConfigError(message(where, "the arguments do not fit", *faults))
        self.input_size, self.output_size, self.output_width = input_size, output_size, output_size
        self.offsets, self.padding = offsets, padding
        self.activation = check_activation(where, activation)
        self.span = offsets[-1] - offsets[0]
        # Row o holds W_k[o] one k after the other.
        weight = torch.empty(output_size, len(offsets) * input_size)
        self.weight = nn.Parameter(nn.init.xavier_uniform_(weight, generator=generator))
        self.bias = nn.Parameter(torch.zeros(output_size))

    @classmethod
    def from_conv(
        cls, module: nn.Conv1d, *, activation: Activation = "linear", padding: Padding = "valid"
    ) -> TimeDelay:
        """The same layer as a torch.nn.Conv1d of stride 1, without groups and without padding of its own."""
        if module.groups != 1 or module.stride != (1,) or module.padding != (0,):
            fact = "a Conv1d must have stride 1, padding 0 and one group"
            raise ConfigError(message("TimeDelay.from_conv", fact, hint='padding="causal" is ours.'))
        size, gap = module.kernel_size[0], module.dilation[0]
        offsets = [gap * (k + 1 - size) for k in range(size)]
        layer = cls(module.in_channels, module.out_channels, offsets, activation=activation, padding=padding)
        layer = layer.to(module.weight)
        with torch.no_grad():
            layer.weight.copy_(module.weight.transpose(1, 2).flatten(1))
            if module.bias is not None:
                layer.bias.copy_(module.bias)
        return layer

    def forward(
        self, x: Tensor, state: Tensor | None = None, lengths: Tensor | Sequence[int] | None = None
    ) -> tuple[Tensor, Any]:
        """x (B, T, I) -> outputs (B, T', O) and the delay line; 0 from `output_lengths(lengths)` on."""
        where = "TimeDelay.forward"
        check_sequence(where, x, self.input_size, self.weight)
        lengths = check_lengths(where, lengths, x)
        self._check_line(where, state, x, lengths)
        x = blank_padding(x, lengths)
        line = self.initial_state(x.shape[0]) if state is None else state
        frames = prepend(line, x)
        y = ACTIVATIONS[self.activation](self._product(frames))
        y = blank_padding(y, self.output_lengths(lengths))
        if lengths is not None and self.padding == "valid":
            return y, None
        after = last_frames(frames, self.span, None if lengths is None else lengths + line.shape[1])
        return y, after

    def _product(self, frames: Tensor) -> Tensor:
        """(B, N, I) -> (B, N - span, O), before the activation."""
        taps = [offset - self.offsets[0] for offset in self.offsets]
        gaps = {b - a for a, b in itertools.pairwise(taps)}
        if len(gaps) != 1 or frames.shape[1] <= self.span or not frames.shape[0]:
            return nn.functional.linear(tapped(frames, taps), self.weight, self.bias)
        # Frames at one distance are torch's convolution, which copies none of them.
        kernel = self.weight.unflatten(1, (len(taps), self.input_size)).transpose(1, 2)
        return nn.functional.conv1d(frames.transpose(1, 2), kernel, self.bias, dilation=gaps.pop()).transpose(1, 2)

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One frame x (B, I) -> (B, O) and the line; with "valid" padding, NaN until the context is complete."""
        y, after = self.forward(x.unsqueeze(1), state)
        return y[:, 0] if y.shape[1] else x.new_full((x.shape[0], self.output_size), math.nan), after

    def initial_state(self, batch_size: int) -> Tensor:
        """What state=None means: silence (causal), or nothing (valid)."""
        size = self.span if self.padding == "causal" else 0
        return self.weight.new_zeros(batch_size, size, self.input_size)

    def output_lengths(self, lengths: Tensor | None) -> Tensor | None:
        """How many frames come out of rows of these lengths."""
        if lengths is None or self.padding == "causal":
            return lengths
        return (lengths - self.span).clamp(min=0)

    def facts(self) -> Facts:
        """One layer; past and future by the offsets."""
        depth = int(self.activation != "linear")
        if self.padding == "causal":
            return Facts(depth, 0, self.span, 0)
        return Facts(depth, 0, max(0, -self.offsets[0]), max(0, self.offsets[-1]))

    def extra_repr(self) -> str:
        """For print(model)."""
        return f"{self.input_size} -> {self.output_size}, offsets {self.offsets}, {self.activation}, {self.padding}"

    def _check_line(self, where: str, line: Tensor | None, x: Tensor, lengths: Tensor | None) -> None:
        if line is None:
            return
        if lengths is not None and self.padding == "valid":
            fact = "a ragged batch cannot go on from a state where padding is 'valid'"
            raise ShapeError(message(where, fact, hint="padding='causal' gives every row one output per frame."))
        low = self.span if self.padding == "causal" else 0
        fits = line.dim() == 3 and line.shape[::2] == (x.shape[0], self.input_size)
        if not fits or not low <= line.shape[1] <= self.span:
            fact = f"state must be (B, D, I) = ({x.shape[0]}, {self.span}, {self.input_size}), got {tuple(line.shape)}"
            raise ShapeError(message(where, fact, hint="hand back what the last call returned."))


class TDNN(nn.Module):
    """A stack of time-delay layers.

    >>> net = TDNN(40, [(32, 5), (32, (-1, 2)), (16, (-3, 3))])
    >>> net.facts().receptive_field
    14

    layers: (output_size, context) of each, from below. Everything else as in `TimeDelay`; the state is a tuple with one
    delay line per layer.
    """

    def __init__(
        self,
        input_size: int,
        layers: Sequence[tuple[int, Context]],
        *,
        activation: Activation = "tanh",
        last: Activation | None = None,
        padding: Padding = "valid",
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        if not layers:
            raise ConfigError(message("TDNN", "needs at least one layer (output_size, context)"))
        self.input_size = input_size
        built: list[TimeDelay] = []
        width = input_size
        for index, (size, context) in enumerate(layers):
            bend = last if last is not None and index == len(layers) - 1 else activation
            built.append(TimeDelay(width, size, context, activation=bend, padding=padding, generator=generator))
            width = size
        self.layers = cast("list[TimeDelay]", nn.ModuleList(built))
        self.output_width = width

    def forward(
        self, x: Tensor, state: Any = None, lengths: Tensor | Sequence[int] | None = None
    ) -> tuple[Tensor, Any]:
        """x (B, T, I) -> outputs (B, T', O) and the delay lines."""
        if state is not None and (not isinstance(state, tuple) or len(state) != len(self.layers)):
            fact = f"state must be a tuple of {len(self.layers)} delay lines, got {type(state).__name__}"
            raise ShapeError(message("TDNN.forward", fact))
        check_sequence("TDNN.forward", x, self.input_size, self.layers[0].weight)
        lengths = check_lengths("TDNN.forward", lengths, x)
        lines: list[Any] = []
        for index, layer in enumerate(self.layers):
            x, line = layer(x, None if state is None else state[index], lengths)
            lengths = layer.output_lengths(lengths)
            lines.append(line)
        return x, tuple(lines)

    def initial_state(self, batch_size: int) -> Any:
        """What state=None means."""
        return tuple(layer.initial_state(batch_size) for layer in self.layers)

    def output_lengths(self, lengths: Tensor | None) -> Tensor | None:
        """How many frames come out of rows of these lengths."""
        for layer in self.layers:
            lengths = layer.output_lengths(lengths)
        return lengths

    def facts(self) -> Facts:
        """Depth and reach of the stack."""
        total = Facts()
        for layer in self.layers:
            total = total.then(layer.facts())
        return total


class WaibelTDNN(nn.Module):
    """The net of the 1989 paper for B, D, G: 16 mel coefficients, 8 units of 3 frames, 3 units of 5, 3 outputs over 9.

    >>> import torch
    >>> net = WaibelTDNN()
    >>> net(torch.zeros(2, 15, 16))[0].shape, net.connections(15)
    (torch.Size([2, 1, 3]), 6233)

    All units are sigmoid. An output sums its unit of the second hidden layer over 9 frames, with one fixed weight for
    all of them, and has a bias; so the net sees 15 frames (150 ms), and over a longer x it gives a verdict for each 15
    in a row. In pieces, with the state handed on, it is exact.
    """

    FRAMES = 9

    def __init__(
        self, input_size: int = 16, classes: int = 3, *, hidden_size: int = 8, generator: Generator | None = None
    ) -> None:
        super().__init__()
        self.input_size, self.output_width = input_size, classes
        layers = [(hidden_size, 3), (classes, 5)]
        self.hidden = TDNN(input_size, layers, activation="sigmoid", generator=generator)
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """x (B, T, 16) -> verdicts (B, T - 14, 3) in 0..1 and the state: the delay lines."""
        lines, line = (None, None) if state is None else state
        hidden, lines = self.hidden(x, lines)
        frames = hidden if line is None else prepend(line, hidden)
        if frames.shape[1] < self.FRAMES:
            evidence = frames.new_zeros(frames.shape[0], 0, self.output_width)
        else:
            evidence = frames.unfold(1, self.FRAMES, 1).sum(-1)
        return torch.sigmoid(evidence + self.bias), (lines, last_frames(frames, self.FRAMES - 1))

    def initial_state(self, batch_size: int) -> Any:
        """What state=None means."""
        return self.hidden.initial_state(batch_size), self.bias.new_zeros(batch_size, 0, self.output_width)

    def connections(self, frames: int) -> int:
        """Connections, each unit's bias among them, when the net is laid out over so many frames: 6,233 for 15."""
        total = 0
        for layer in self.hidden.layers:
            frames = max(frames - layer.span, 0)
            total += frames * layer.output_size * (layer.weight.shape[1] + 1)
        return total + max(frames - self.FRAMES + 1, 0) * self.output_width * (self.FRAMES + 1)

    def facts(self) -> Facts:
        """15 frames, three layers."""
        return self.hidden.facts().then(Facts(1, 0, self.FRAMES - 1, 0))
