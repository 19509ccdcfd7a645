"""What is learnt of the cases before any net: classes, scales, whether there are gaps; and cases as tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recurra.base.errors import DataError, message
from recurra.data.series.series_set import SeriesSet
from recurra.tasks.classify.settings import ClassifySettings

__all__ = ["Preparation", "labels_of", "prepare", "stratified"]

# Rounding leaves a constant channel a deviation of about 1e-16 of its values.
_FLAT = 1e-12


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Learnt from the training cases; a run keeps it as cases.json."""

    channels: tuple[str, ...]
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    """Training cases of each class."""
    location: tuple[float, ...]
    scale: tuple[float, ...]
    normalise: str
    masked: bool
    length: int
    """Steps of the longest training case."""

    @property
    def width(self) -> int:
        """Features per step: the channels, and their mask."""
        return len(self.channels) * (2 if self.masked else 1)

    def pack(self, series: SeriesSet, which: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
        """Cases as x (B, T, width) float32, 0 where missing or padded, and their lengths (B,) int64.

        Raises DataError for another number of channels, a case without a value, and gaps that a net without a mask
        cannot see.
        """
        which = np.arange(len(series)) if which is None else which
        self._check(series, which)
        starts, lengths = series.offsets[:-1][which], series.lengths[which]
        steps = int(lengths.max())
        rows = starts[:, None] + np.arange(steps)
        outside = np.arange(steps) >= lengths[:, None]
        values = series.values[np.where(outside, 0, rows)]
        values[outside] = np.nan
        seen = ~np.isnan(values)
        if self.normalise == "case":
            values = _by_case(values, seen)
        else:
            values = (values - np.array(self.location)) / np.array(self.scale)
        values = np.where(seen, values, 0.0)
        x = np.concatenate([values, seen], axis=2) if self.masked else values
        return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(lengths.astype(np.int64))

    def _check(self, series: SeriesSet, which: np.ndarray) -> None:
        if len(series.names) != len(self.channels):
            fact = f"the cases have {len(series.names)} channels, the model was trained with {len(self.channels)}"
            raise DataError(message("classify", fact, f"Those are: {', '.join(self.channels)}."))
        found = np.array([np.isfinite(one.values).any() for one in (series[int(place)] for place in which)])
        if not found.all():
            raise DataError(message("classify", f"case {series.ids[int(which[np.argmin(found)])]!r} has no value"))
        if self.masked:
            return
        gaps = [int(place) for place in which if np.isnan(series[int(place)].values).any()]
        if gaps:
            fact = f"{len(gaps)} cases have missing values, the first {series.ids[gaps[0]]!r}; this model has no mask"
            hint = "train with --set model.mask=yes; by default a net has one where its training cases have gaps."
            raise DataError(message("classify", fact, hint=hint))


def prepare(series: SeriesSet, settings: ClassifySettings) -> Preparation:
    """What is learnt of the training cases. Raises DataError for no classes, or only one."""
    labels = labels_of(series)
    counts = np.bincount(labels, minlength=len(series.label_names))
    there = [name for name, count in zip(series.label_names, counts, strict=True) if count]
    if len(there) < 2:
        fact = f"there is nothing to tell apart: every case is of class {there[0]!r}"
        raise DataError(message("classify", fact, hint="two classes at least."))
    seen = ~np.isnan(series.values)
    count = np.maximum(seen.sum(0), 1)
    location, scale = np.zeros(len(series.names)), np.ones(len(series.names))
    if settings.data.normalise == "standard":
        location = np.where(seen, series.values, 0.0).sum(0) / count
        spread = np.sqrt((np.where(seen, series.values - location, 0.0) ** 2).sum(0) / count)
        scale = np.where(spread > _FLAT * np.maximum(1.0, np.abs(location)), spread, 1.0)
    gaps = bool((~seen).any())
    return Preparation(
        channels=series.names,
        classes=series.label_names,
        counts=tuple(int(one) for one in counts),
        location=tuple(location.tolist()),
        scale=tuple(scale.tolist()),
        normalise=settings.data.normalise,
        masked=settings.model.mask == "yes" or (settings.model.mask == "auto" and gaps),
        length=int(series.lengths.max()),
    )


def labels_of(series: SeriesSet) -> np.ndarray:
    """(S,) the classes; DataError where there are none."""
    if series.labels is None:
        hint = "a .ts file with @classLabel true, or a table with a column of classes (--label NAME)."
        raise DataError(message("classify", "the cases have no classes", hint=hint))
    return series.labels


def stratified(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of the training and the validation cases, each in rising order: of every class the same share.

    A class gives at least one of two or more, and never its last.

    >>> [len(part) for part in stratified(np.repeat([0, 1], [10, 5]), 0.2, 0)]
    [12, 3]
    """
    chance = np.random.default_rng(seed)
    held = []
    for one in np.unique(labels):
        places = chance.permutation(np.flatnonzero(labels == one))
        size = min(max(1, round(share * len(places))), len(places) - 1) if share else 0
        held.append(places[:size])
    validation = np.sort(np.concatenate(held)) if held else np.empty(0, np.int64)
    return np.setdiff1d(np.arange(len(labels)), validation), validation


def _by_case(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    count = np.maximum(seen.sum(1, keepdims=True), 1)
    mean = np.where(seen, values, 0.0).sum(1, keepdims=True) / count
    spread = np.sqrt((np.where(seen, values - mean, 0.0) ** 2).sum(1, keepdims=True) / count)
    return (values - mean) / np.where(spread > _FLAT * np.maximum(1.0, np.abs(mean)), spread, 1.0)
