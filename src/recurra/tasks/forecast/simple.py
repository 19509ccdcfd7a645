"""Baselines in the nets' clothes: the naive forecasts, ridge regression, and several nets as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Generator, Tensor, nn

from recurra.tasks.forecast.heads import QuantileHead
from recurra.tasks.forecast.layout import Layout, Parts
from recurra.tasks.forecast.naive import naive_forecast
from recurra.tasks.forecast.network import ForecastNet, Said, instance

__all__ = ["Members", "NaiveNet", "RidgeNet"]


class NaiveNet(ForecastNet):
    """One of `naive_forecast`; its quantiles are all the same until they are calibrated."""

    def __init__(self, layout: Layout, kind: str, season: int, normalise: str, levels: Sequence[float]) -> None:
        super().__init__(layout, QuantileHead(), normalise, levels)
        self.kind, self.season = kind, season

    def parameters_of(self, parts: Parts, location: Tensor, scale: Tensor) -> Tensor:
        """From normalised values: each of the three moves and stretches with them."""
        del location, scale
        back = parts.values.double().masked_fill(parts.observed == 0, float("nan")).cpu().numpy()
        said = naive_forecast(back, self.layout.horizon, self.kind, self.season)  # pyright: ignore[reportArgumentType]
        return torch.from_numpy(np.nan_to_num(said)).to(parts.values).unsqueeze(-1)


class RidgeNet(ForecastNet):
    """One linear map from the look-back to the horizon for all series; `fit_ridge` finds it."""

    def __init__(self, layout: Layout, normalise: str, levels: Sequence[float]) -> None:
        super().__init__(layout, QuantileHead(), normalise, levels)
        self.skip = nn.Linear(layout.look_back, layout.horizon)
        nn.init.zeros_(self.skip.weight)
        nn.init.zeros_(self.skip.bias)

    def layer_input(self, parts: Parts, location: Tensor, scale: Tensor) -> Tensor:
        """The values (B, L, 1)."""
        del location, scale
        return parts.values.unsqueeze(-1)

    def answered(self, x: Tensor, parts: Parts) -> Tensor:
        """(B, H, 1)."""
        del parts
        return self.skip(x.squeeze(-1)).unsqueeze(-1)


class Members(ForecastNet):
    """Nets of different seeds as one: each quantile is the median of theirs, calibrated together.

    ridge, share: of a closed-form regression in what is said; it errs elsewhere than the nets do.
    """

    share: Tensor
    """(), where there is a ridge."""

    def __init__(self, nets: Sequence[ForecastNet], ridge: RidgeNet | None = None, share: float = 0.0) -> None:
        first = nets[0]
        super().__init__(first.layout, first.head, first.normalise, first.levels)
        self.members = cast("list[ForecastNet]", nn.ModuleList(nets))
        self.ridge = ridge
        if ridge is not None:
            self.register_buffer("share", torch.tensor(share))

    def raw_quantiles(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The median over members; an even number's is the mean of the middle two."""
        said, linear, location, scale = self.apart(x, generator)
        return (said if linear is None else said + self.share * (linear - said)), location, scale

    def apart(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """What the nets say and what the ridge says, both (B, H, Q) and normalised alike; location and scale (B, 1)."""
        found = [net.raw_quantiles(x, generator) for net in self.members]
        said, location, scale = found[0]
        if len(found) > 1:
            said = torch.stack([one for one, _, _ in found]).quantile(0.5, dim=0)
        if self.ridge is None:
            return said, None, location, scale
        linear, middle, spread = (part.to(said) for part in self.ridge.raw_quantiles(x))
        linear = (linear * spread.unsqueeze(-1) + (middle - location).unsqueeze(-1)) / scale.unsqueeze(-1)
        return said, linear, location, scale

    def parameters_of(self, parts: Parts, location: Tensor, scale: Tensor) -> Tensor:
        """Of the first member."""
        return self.members[0].parameters_of(parts, location, scale)

    def said(self, x: Tensor) -> Said:
        """Location and scale of windows, with nothing said."""
        parts = self.layout.parts(x)
        location, scale = instance(parts.values, parts.observed, self.normalise)
        return Said(x.new_zeros(len(x), self.layout.horizon, 0), location, scale)
