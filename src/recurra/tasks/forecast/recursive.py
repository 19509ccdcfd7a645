"""One step at a time, each from the last: an autoregressive net whose forecasts are sample paths.

Salinas et al., DeepAR: probabilistic forecasting with autoregressive recurrent networks, 2020. In training each step
reads the true value before it; a forecast reads its own draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from recurra.base.state import map_state
from recurra.layers.decay import InputDecay
from recurra.layers.feedforward import linear
from recurra.layers.recurrent import Recurrent
from recurra.layers.tdnn import TimeDelay
from recurra.tasks.forecast.heads import Head, NegativeBinomialHead
from recurra.tasks.forecast.layout import Layout, Parts
from recurra.tasks.forecast.network import Context, ForecastNet, instance

__all__ = ["RecursiveNet", "Tapped"]

# Rows of sample paths that run at once.
_ROWS = 4096


class Tapped(nn.Module):
    """The last `delays` inputs through tanh units and, beside them, through linear ones: the body of a NARX.

    Its one memory is the delay line, so in training (the open loop: true values on the line) no gradient goes back
    through time. x (B, T, width) -> (B, T, 2 size), with the line as state, as `Recurrent`.
    """

    def __init__(self, width: int, size: int, delays: int, generator: Generator | None = None) -> None:
        super().__init__()
        options = {"activation": "linear", "padding": "causal", "generator": generator}
        self.delays = TimeDelay(width, 2 * size, delays, **options)  # pyright: ignore[reportArgumentType]
        self.size, self.output_width = size, 2 * size

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """All steps."""
        y, line = self.delays(x, state)
        return torch.cat((torch.tanh(y[..., : self.size]), y[..., self.size :]), -1), line

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One: x (B, width)."""
        y, line = self(x.unsqueeze(1), state)
        return y[:, 0], line


class RecursiveNet(ForecastNet):
    """z_t from z_{t-1}, whether it was seen, the covariates of t, and the state.

    Past-only covariates are read one step late, and not at all beyond the origin. With `delays` the state is not a
    cell's but the last so many inputs: a NARX net, open loop in training, closed loop in the forecast.
    """

    taught = True
    """The training stream puts the future into x."""

    def __init__(
        self,
        layout: Layout,
        head: Head,
        *,
        levels: Sequence[float] = (0.5,),
        normalise: str = "scale",
        cell: str = "lstm",
        hidden_size: int = 64,
        num_layers: int = 1,
        embedding: int = 16,
        dropout: float = 0.1,
        decay: bool = False,
        paths: int = 200,
        delays: int = 0,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(layout, head, normalise, levels)
        self.context = Context(layout, embedding, generator)
        self.decay = InputDecay(1) if decay else None
        self.paths = paths
        width = 3 + 2 * layout.past + layout.known + self.context.width
        if delays:
            self.recurrent = Tapped(width, hidden_size, delays, generator)
        else:
            self.recurrent = Recurrent(cell, width, hidden_size, num_layers, dropout=dropout, generator=generator)
        self.output = linear(self.recurrent.output_width, head.outputs, generator)

    def layer_input(self, parts: Parts, location: Tensor, scale: Tensor) -> Tensor:
        """With the future shown: teacher forcing. Where it is not shown, steps read that nothing was seen."""
        future = (parts.future - location) / scale * parts.shown
        values = torch.cat((parts.values, future), 1)
        seen = torch.cat((parts.observed, parts.shown), 1)
        return self._inputs(parts, values[:, :-1], seen[:, :-1], scale)

    def answered(self, x: Tensor, parts: Parts) -> Tensor:
        """Each step of the horizon from the steps before it."""
        del parts
        y, _ = self.recurrent(x)
        return self.output(y[:, -self.layout.horizon :])

    def raw_quantiles(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Of sample paths."""
        paths, location, scale = self.normalised_paths(x, self.paths, generator)
        levels = paths.new_tensor(self.levels)
        return paths.quantile(levels, dim=1).permute(1, 2, 0), location, scale

    def sample(self, x: Tensor, paths: int, generator: Generator | None = None) -> Tensor:
        """Paths (B, paths, H) in the units of x; each is one possible future as a whole."""
        found, location, scale = self.normalised_paths(x, paths, generator)
        return found * scale.unsqueeze(1) + location.unsqueeze(1)

    @torch.no_grad()
    def normalised_paths(
        self, x: Tensor, paths: int, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(B, paths, H), and location and scale (B, 1); free running."""
        parts = self.layout.parts(x)
        location, scale = instance(parts.values, parts.observed, self.normalise)
        parts = parts._replace(values=(parts.values - location) / scale * parts.observed)
        size = max(1, _ROWS // paths)
        found = []
        for begin in range(0, len(x), size):
            rows = slice(begin, begin + size)
            some = parts._make(part[rows] for part in parts)
            found.append(self._run(some, scale[rows], paths, generator))
        return torch.cat(found), location, scale

    def _run(self, parts: Parts, scale: Tensor, paths: int, generator: Generator | None) -> Tensor:
        batch = len(parts.values)
        inputs = self._inputs(parts, parts.values, parts.observed, scale)
        y, state = self.recurrent(inputs)
        many = map_state(lambda part: part.repeat_interleave(paths, 0), state)
        said = self.output(y[:, -1]).repeat_interleave(paths, 0)
        wide = scale.repeat_interleave(paths, 0)
        known = parts.known.repeat_interleave(paths, 0)
        rest = self._constant(parts, scale).repeat_interleave(paths, 0)
        drawn: list[Tensor] = []
        for step in range(self.layout.horizon):
            value = self._draw(said, wide[:, 0], generator)
            drawn.append(value)
            if step + 1 == self.layout.horizon:
                break
            ones = torch.ones_like(value)
            read = [value.unsqueeze(1), ones.unsqueeze(1)]
            read.append(value.new_zeros(len(value), 2 * self.layout.past))
            # The covariates of the step that is said, not of the one that was read.
            read.append(known[:, step + 1])
            y, many = self.recurrent.step(torch.cat([*read, rest], 1), many)
            said = self.output(y)
        return torch.stack(drawn, 1).view(batch, paths, -1)

    def _draw(self, said: Tensor, scale: Tensor, generator: Generator | None) -> Tensor:
        if isinstance(self.head, NegativeBinomialHead):
            return self.head.sample(said, generator, scale)
        return self.head.sample(said, generator)

    def _inputs(self, parts: Parts, values: Tensor, seen: Tensor, scale: Tensor) -> Tensor:
        """(B, T, width): step t holds the value of t and the known covariates of t + 1."""
        steps, back = values.shape[1], self.layout.look_back
        read = values.unsqueeze(-1)
        if self.decay is not None:
            read = self.decay(read, seen.unsqueeze(-1))
        past = values.new_zeros(len(values), steps, 2 * self.layout.past)
        past[:, :back] = parts.past[:, :steps]
        known = torch.cat((parts.known_back, parts.known), 1)[:, 1 : steps + 1]
        found = [read, seen.unsqueeze(-1), past, known]
        rest = self._constant(parts, scale).unsqueeze(1).expand(-1, steps, -1)
        return torch.cat([*found, rest], -1)

    def _constant(self, parts: Parts, scale: Tensor) -> Tensor:
        """What is the same at all steps: the window's scale, the series' own numbers."""
        context = self.context(parts)
        return scale.log() if context is None else torch.cat((scale.log(), context), -1)
