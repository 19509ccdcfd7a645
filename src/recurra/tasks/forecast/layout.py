"""Windows as the one tensor that the training loop hands to a model: what each of its columns is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recurra.data.series.series_set import SeriesSet
from recurra.data.series.window import Window

__all__ = ["Layout", "Parts"]


class Parts(NamedTuple):
    """The columns of a batch, apart again; N: missing values are 0 in `values`."""

    values: Tensor
    """(B, L)."""
    observed: Tensor
    """(B, L), 1 where there is a value."""
    past: Tensor
    """(B, L, 2 P): covariates, then where they are seen."""
    known_back: Tensor
    """(B, L, K) of the look-back."""
    known: Tensor
    """(B, H, K) of the horizon."""
    static: Tensor
    """(B, R)."""
    codes: Tensor
    """(B, G) int64, 0 for an unknown level."""
    series: Tensor
    """(B,) int64, 0 for an unknown series."""
    future: Tensor
    """(B, H) the values to come where they are shown (teacher forcing), else 0."""
    shown: Tensor
    """(B, H), 1 where they are."""


class Layout(NamedTuple):
    """Sizes: look-back, horizon, and how many covariates of each kind. x is (B, L + H, width)."""

    look_back: int
    horizon: int
    past: int = 0
    known: int = 0
    static: int = 0
    categories: tuple[int, ...] = ()
    """Levels of each category."""
    series: int = 0
    """How many series have an embedding of their own; 0: none."""
    masked: bool = False
    """Whether the training data has gaps: then the nets read where values are missing."""

    @property
    def width(self) -> int:
        """Columns of x."""
        return 2 + 2 * self.past + self.known + self.static + len(self.categories) + 1

    @classmethod
    def of(cls, series: SeriesSet, look_back: int, horizon: int, most_series: int = 0) -> Layout:
        """The layout for a set of univariate series; up to `most_series` get an embedding each."""
        own = len(series) if 1 < len(series) <= most_series else 0
        levels = tuple(len(level) for level in series.levels)
        inside = np.concatenate([one.values[: one_end - start, 0] for one, one_end, start in _ended(series)])
        return cls(
            look_back,
            horizon,
            len(series.past_names),
            len(series.known_names),
            len(series.static_names),
            levels,
            own,
            bool(np.isnan(inside).any()),
        )

    def pack(
        self, window: Window, series: SeriesSet, places: np.ndarray | None = None, *, show: bool = False
    ) -> Tensor:
        """x (B, L + H, width) of windows over univariate series; `show`: the future too, for teacher forcing.

        places: (S,) the number that each series of the set had in training, -1 for a new one; None: these are those.
        """
        back, batch = self.look_back, len(window.origin)
        x = np.zeros((batch, back + self.horizon, self.width), np.float32)
        values = window.values[..., 0]
        x[..., 0], x[..., 1] = np.nan_to_num(values), ~np.isnan(values)
        if not show:
            x[:, back:, :2] = 0
        at = 2
        x[:, :back, at : at + self.past] = np.nan_to_num(window.past)
        x[:, :back, at + self.past : at + 2 * self.past] = ~np.isnan(window.past)
        at += 2 * self.past
        x[..., at : at + self.known] = np.nan_to_num(window.known)
        at += self.known
        if self.static:
            x[:, :1, at : at + self.static] = np.nan_to_num(series.static[window.series])[:, None]
        at += self.static
        if self.categories:
            x[:, :1, at:-1] = series.categories[window.series][:, None] + 1
        numbers = window.series if places is None else places[window.series]
        # Exact in float32 up to 16 million.
        x[:, 0, -1] = numbers + 1 if self.series else 0
        return torch.from_numpy(x)

    def parts(self, x: Tensor) -> Parts:
        """The columns of x."""
        back, at = self.look_back, 2 + 2 * self.past
        behind = at + self.known
        end = behind + self.static
        return Parts(
            x[:, :back, 0],
            x[:, :back, 1],
            x[:, :back, 2:at],
            x[:, :back, at:behind],
            x[:, back:, at:behind],
            x[:, 0, behind:end],
            x[:, 0, end:-1].long(),
            x[:, 0, -1].long(),
            x[:, back:, 0],
            x[:, back:, 1],
        )


def _ended(series: SeriesSet) -> list[tuple]:
    return list(zip(series, series.ends, series.offsets[:-1], strict=True))
