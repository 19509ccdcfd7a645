"""The forecasting nets behind one interface: windows in, what the head needs out, in units of the series' own scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Generator, Tensor, nn

from recurra.data.batch import Batch
from recurra.layers.segment import SegmentForecaster
from recurra.tasks.forecast.heads import Head, NegativeBinomialHead
from recurra.tasks.forecast.layout import Layout, Parts

__all__ = ["Context", "ForecastNet", "Said", "SegmentNet", "forecast_loss", "instance"]


class Said(NamedTuple):
    """What a net gives for B windows."""

    parameters: Tensor
    """(B, H, outputs) for the head, of normalised values."""
    location: Tensor
    """(B, 1)."""
    scale: Tensor
    """(B, 1)."""


def instance(values: Tensor, observed: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Location and scale (B, 1) of windows (B, L): `recurra.data.series.instance_scale` on tensors, and "scale".

    scale: 0 and 1 + the mean magnitude, as DeepAR has it.
    """
    count = observed.sum(1, keepdim=True).clamp_min(1)
    one = torch.ones_like(values[:, :1])
    if kind == "none":
        return 0 * one, one
    places = torch.arange(1, values.shape[1] + 1, device=values.device)
    last = values.gather(1, (observed * places).argmax(1, keepdim=True))
    if kind == "last":
        return last, one
    if kind == "scale":
        return 0 * one, 1 + (values.abs() * observed).sum(1, keepdim=True) / count
    mean = (values * observed).sum(1, keepdim=True) / count
    if kind == "mean":
        return mean, one
    spread = ((((values - mean) * observed) ** 2).sum(1, keepdim=True) / count).sqrt()
    return last if kind == "spread" else mean, torch.where(spread > 1e-6, spread, one)


class Context(nn.Module):
    """Numbers of the series as a whole: its own embedding, its categories', its static covariates (B, width)."""

    def __init__(self, layout: Layout, embedding: int, generator: Generator | None = None) -> None:
        super().__init__()

        def table(rows: int, width: int) -> nn.Embedding:
            # Row 0 stands for what was never seen; it starts at 0 and dropout of names teaches it.
            made = nn.Embedding(rows + 1, width)
            nn.init.normal_(made.weight, std=0.3, generator=generator)
            with torch.no_grad():
                made.weight[0].zero_()
            return made

        self.series = table(layout.series, embedding) if layout.series else None
        widths = [min(embedding, 2 + levels // 2) for levels in layout.categories]
        pairs = zip(layout.categories, widths, strict=True)
        self.codes = cast("list[nn.Embedding]", nn.ModuleList(table(levels, width) for levels, width in pairs))
        self.width = (embedding if layout.series else 0) + sum(widths) + layout.static

    def forward(self, parts: Parts) -> Tensor | None:
        """None where there is nothing to say."""
        found = [] if self.series is None else [self.series(parts.series)]
        found += [table(parts.codes[:, place]) for place, table in enumerate(self.codes)]
        found += [parts.static] if parts.static.shape[1] else []
        return torch.cat(found, -1) if found else None


class ForecastNet(nn.Module):
    """What every net is: windows x (B, L + H, width) as `Layout` packs them -> `Said`."""

    offsets: Tensor
    """(H, Q) what calibration adds to the normalised quantiles."""

    def __init__(self, layout: Layout, head: Head, normalise: str, levels: Sequence[float] = (0.5,)) -> None:
        super().__init__()
        self.layout, self.head, self.normalise, self.levels = layout, head, normalise, tuple(levels)
        self.register_buffer("offsets", torch.zeros(layout.horizon, len(self.levels)))

    def forward(
        self, x: Tensor, state: Any = None, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> tuple[Said, Any]:
        """The second value is None: a window stands for itself."""
        del state, lengths, resets
        parts = self.layout.parts(x)
        location, scale = instance(parts.values, parts.observed, self.normalise)
        values = (parts.values - location) / scale * parts.observed
        return Said(self.parameters_of(parts._replace(values=values), location, scale), location, scale), None

    def parameters_of(self, parts: Parts, location: Tensor, scale: Tensor) -> Tensor:
        """(B, H, outputs), from parts whose values are normalised."""
        return self.answered(self.layer_input(parts, location, scale), parts)

    def layer_input(self, parts: Parts, location: Tensor, scale: Tensor) -> Tensor:
        """What the recurrence reads (B, T, F)."""
        raise NotImplementedError

    def answered(self, x: Tensor, parts: Parts) -> Tensor:
        """(B, H, outputs) from that."""
        raise NotImplementedError

    def quantiles(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """(B, H, Q) at `levels`, in the units of x; rising along Q. The generator is for nets that draw paths."""
        found, location, scale = self.raw_quantiles(x, generator)
        found = found + self.offsets
        # Calibration moves each level by itself; two that came to cross change places.
        return found.sort(-1).values * scale.unsqueeze(-1) + location.unsqueeze(-1)

    def raw_quantiles(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised and without calibration: (B, H, Q), and location and scale (B, 1)."""
        del generator
        said, _ = self(x)
        if isinstance(self.head, NegativeBinomialHead):
            wide = said.scale.expand(said.parameters.shape[:2])
            return self.head.quantiles(said.parameters, self.levels, wide), said.location, said.scale
        return self.head.quantiles(said.parameters, self.levels), said.location, said.scale

    def beside(self, parts: Parts) -> Tensor | None:
        """What the recurrence reads beside each value (B, L, F): a mask where there are gaps, covariates."""
        found = [parts.observed.unsqueeze(-1)] if self.layout.masked else []
        found += [parts.past, parts.known_back]
        joined = torch.cat(found, -1)
        return joined if joined.shape[-1] else None

    @property
    def beside_width(self) -> int:
        """F of `beside`."""
        return self.layout.masked + 2 * self.layout.past + self.layout.known


class SegmentNet(ForecastNet):
    """`SegmentForecaster` with everything that a window brings."""

    def __init__(
        self,
        layout: Layout,
        head: Head,
        *,
        levels: Sequence[float] = (0.5,),
        normalise: str = "last",
        cell: str = "gru",
        hidden_size: int = 128,
        num_layers: int = 1,
        segment: int = 24,
        embedding: int = 16,
        dropout: float = 0.3,
        skip: bool = True,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(layout, head, normalise, levels)
        self.context = Context(layout, embedding, generator)
        self.net = SegmentForecaster(
            cell,
            look_back=layout.look_back,
            horizon=layout.horizon,
            segment=segment,
            hidden_size=hidden_size,
            outputs=head.outputs,
            num_layers=num_layers,
            inputs=self.beside_width,
            known=layout.known,
            context=self.context.width,
            dropout=dropout,
            skip=skip,
            generator=generator,
        )
        # The first forecast is the skip's, with narrow quantiles.
        with torch.no_grad():
            self.net.output.weight.mul_(0.1)

    def layer_input(self, parts: Parts, location: Tensor, scale: Tensor) -> Tensor:
        """The embedded segments."""
        del location, scale
        return self.net.embedded(parts.values, self.beside(parts))

    def answered(self, x: Tensor, parts: Parts) -> Tensor:
        """One pass of the segments, and one step for those ahead."""
        return self.decoded(self.net.recurrent(x)[1], parts)

    def decoded(self, state: Any, parts: Parts) -> Tensor:
        """(B, H, outputs) from the state after the last segment."""
        known = parts.known if self.layout.known else None
        return self.net.decoded(state, parts.values, known, self.context(parts))


def forecast_loss(head: Head, mean_error: bool = False) -> Any:
    """The objective: the head's loss in normalised units, summed over observed targets; y is (B, H), NaN missing.

    mean_error: the squared error of the head's first output instead.
    """

    def objective(outputs: Said, batch: Batch) -> tuple[Tensor, int]:
        y = batch.y
        seen = ~torch.isnan(y)
        z = (torch.where(seen, y, outputs.location) - outputs.location) / outputs.scale
        if isinstance(head, NegativeBinomialHead):
            losses = head.count_loss(outputs.parameters, z, outputs.scale.expand_as(z))
        elif mean_error:
            losses = (outputs.parameters[..., 0] - z) ** 2
        else:
            losses = head.loss(outputs.parameters, z)
        return torch.where(seen, losses, losses.new_zeros(())).sum(), int(seen.sum())

    return objective
