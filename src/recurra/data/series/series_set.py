"""Many series of different lengths in memory: values, what is missing, covariates, classes, time stamps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from recurra.base.errors import DataError, message, nearest
from recurra.data.series.frequency import Frequency

__all__ = ["Series", "SeriesSet"]


class Series(NamedTuple):
    """One series of a set; arrays are views of the set's."""

    id: str
    stamps: np.ndarray
    values: np.ndarray
    """(T, C), NaN where missing."""
    past: np.ndarray
    known: np.ndarray


def _none(rows: int = 0) -> np.ndarray:
    return np.empty((rows, 0))


@dataclass(frozen=True, kw_only=True)
class SeriesSet:
    """S series end to end: N rows in all, series s in rows offsets[s] to offsets[s + 1]; C channels.

    Each series lies on the regular grid of `frequency`: where the data had no row for a stamp, there is one of NaN.
    A missing value is NaN and stays NaN: nothing is filled in.
    """

    ids: tuple[str, ...]
    offsets: np.ndarray
    """(S + 1,) int64."""
    values: np.ndarray
    """(N, C) float64; the targets of a forecast, the channels of a classification."""
    stamps: np.ndarray
    """(N,) datetime64[us] (UTC where there was a zone) or int64."""
    names: tuple[str, ...] = ("y",)
    """Of the channels."""
    past: np.ndarray = field(default_factory=_none)
    """(N, P) covariates that nobody knows ahead."""
    past_names: tuple[str, ...] = ()
    known: np.ndarray = field(default_factory=_none)
    """(N, K) covariates known ahead; rows behind the last value of a series are its future."""
    known_names: tuple[str, ...] = ()
    static: np.ndarray = field(default_factory=_none)
    """(S, R) numbers of a series as a whole."""
    static_names: tuple[str, ...] = ()
    categories: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.int64))
    """(S, G) int64 codes of a series as a whole; -1: a level that `levels` lacks."""
    category_names: tuple[str, ...] = ()
    levels: tuple[tuple[str, ...], ...] = ()
    """The names behind the codes of each category."""
    labels: np.ndarray | None = None
    """(S,) int64: the class of each series."""
    label_names: tuple[str, ...] = ()
    frequency: Frequency | None = None
    zone: str | None = None
    """The time zone whose clock calendar features follow."""

    def __post_init__(self) -> None:
        """Fill in empty parts; raise DataError where sizes do not fit each other."""
        rows, count = len(self.values), len(self.ids)
        for name, size in (("past", rows), ("known", rows), ("static", count)):
            if getattr(self, name).shape == (0, 0):
                object.__setattr__(self, name, _none(size))
        if self.categories.shape == (0, 0):
            object.__setattr__(self, "categories", np.empty((count, 0), np.int64))
        sizes = {
            "values": (self.values, (rows, len(self.names))),
            "stamps": (self.stamps, (rows,)),
            "past": (self.past, (rows, len(self.past_names))),
            "known": (self.known, (rows, len(self.known_names))),
            "static": (self.static, (count, len(self.static_names))),
            "categories": (self.categories, (count, len(self.category_names))),
            "offsets": (self.offsets, (count + 1,)),
        }
        wrong = [
            f"{name} must be {shape}, got {part.shape}" for name, (part, shape) in sizes.items() if part.shape != shape
        ]
        if wrong or (len(self.offsets) and int(self.offsets[-1]) != rows):
            raise DataError(message("SeriesSet", "; ".join(wrong) or f"offsets end at {self.offsets[-1]}, not {rows}"))

    @classmethod
    def of(
        cls,
        values: Sequence[np.ndarray] | np.ndarray,
        *,
        ids: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        labels: Sequence[int] | np.ndarray | None = None,
        label_names: Sequence[str] = (),
        frequency: Frequency | None = None,
    ) -> SeriesSet:
        """From arrays: one (T,) per series, or (T, C), or one array (S, T, C); stamps are 0, 1, 2 ...

        Raises DataError for no series, other shapes, channels that differ in number, and infinities.

        >>> SeriesSet.of([np.arange(3.0), np.arange(5.0)]).lengths.tolist()
        [3, 5]
        """
        parts = [np.asarray(part, np.float64) for part in values]
        parts = [part[:, None] if part.ndim == 1 else part for part in parts]
        widths = {part.shape[1:] for part in parts}
        if not parts or len(widths) != 1 or parts[0].ndim != 2:
            fact = f"each series must be (T,) or (T, C) with one C, got shapes {sorted(widths)} after T"
            raise DataError(message("SeriesSet.of", fact if parts else "there is not one series"))
        joined = np.concatenate(parts)
        if np.isinf(joined).any():
            raise DataError(message("SeriesSet.of", f"{int(np.isinf(joined).sum())} values are infinite"))
        lengths = [len(part) for part in parts]
        return cls(
            ids=tuple(map(str, range(len(parts)) if ids is None else ids)),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            values=joined,
            stamps=np.concatenate([np.arange(length) for length in lengths]),
            names=tuple(names or (("y",) if joined.shape[1] == 1 else map(str, range(joined.shape[1])))),
            labels=None if labels is None else np.asarray(labels, np.int64),
            label_names=tuple(label_names),
            frequency=frequency or Frequency(1, ""),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Series]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, which: int | str) -> Series:
        """One series, by its place or its id; DataError with the nearest ids where there is none."""
        if isinstance(which, str):
            if which not in self.ids:
                near = ", ".join(nearest(which, self.ids)[:5])
                raise DataError(message("SeriesSet", f"no series is called {which!r}", f"There are: {near}."))
            which = self.ids.index(which)
        rows = slice(int(self.offsets[which]), int(self.offsets[which + 1]))
        return Series(self.ids[which], self.stamps[rows], self.values[rows], self.past[rows], self.known[rows])

    @property
    def lengths(self) -> np.ndarray:
        """(S,) rows of each series."""
        return np.diff(self.offsets)

    @property
    def observed(self) -> np.ndarray:
        """(N, C) bool: where there is a value."""
        return ~np.isnan(self.values)

    @property
    def ends(self) -> np.ndarray:
        """(S,) the row behind each series' last value in any channel: where its future begins."""
        seen = self.observed.any(1)
        last = np.maximum.accumulate(np.where(seen, np.arange(len(self.values)) + 1, 0))
        ends = np.array([last[stop - 1] if stop else 0 for stop in self.offsets[1:]], np.int64)
        return np.maximum(ends, self.offsets[:-1])

    def select(self, keep: Sequence[int] | np.ndarray) -> SeriesSet:
        """These series, in this order."""
        keep = np.asarray(keep, np.int64)
        starts, stops = self.offsets[:-1][keep], self.offsets[1:][keep]
        return self._cut(keep, starts, stops)

    def rows(self, start: int = 0, stop: int | None = None) -> SeriesSet:
        """Rows start to stop of every series, counted from the end where negative; as slices of a list."""
        lengths = self.lengths
        first = np.minimum(start if start >= 0 else np.maximum(lengths + start, 0), lengths)
        last = lengths if stop is None else np.minimum(stop if stop >= 0 else np.maximum(lengths + stop, 0), lengths)
        base = self.offsets[:-1]
        return self._cut(np.arange(len(self)), base + first, base + np.maximum(last, first))

    def until(self, ends: np.ndarray) -> SeriesSet:
        """Each series up to row ends[s] (counted within the whole set, as `ends` is)."""
        return self._cut(np.arange(len(self)), self.offsets[:-1], np.asarray(ends, np.int64))

    def univariate(self) -> SeriesSet:
        """Each channel as a series of its own: S * C of one channel, called id/channel where there is more than one.

        Covariates, categories and stamps are repeated.
        """
        channels = len(self.names)
        if channels == 1:
            return self
        single = len(self) == 1
        parts = [
            replace(
                self,
                ids=tuple(name if single else f"{one}/{name}" for one in self.ids),
                values=self.values[:, [c]],
                names=("y",),
            )
            for c, name in enumerate(self.names)
        ]
        joined = parts[0].join(*parts[1:])
        # The channels of one series next to each other.
        return joined.select(np.arange(len(joined)).reshape(channels, -1).T.ravel())

    def join(self, *others: SeriesSet) -> SeriesSet:
        """All series of sets of one kind, one after the other."""
        sets = [self, *others]
        for other in others:
            if other.names != self.names or other.past_names != self.past_names or other.levels != self.levels:
                raise DataError(message("SeriesSet.join", "the sets differ in channels, covariates or categories"))
        shifts = np.cumsum([0, *(len(one.values) for one in sets)])
        offsets = [one.offsets[:-1] + shift for one, shift in zip(sets, shifts, strict=False)]
        labels = [one.labels for one in sets if one.labels is not None]
        stacked = {
            name: np.concatenate([getattr(one, name) for one in sets])
            for name in ("values", "stamps", "past", "known", "static", "categories")
        }
        return replace(
            self,
            ids=tuple(name for one in sets for name in one.ids),
            offsets=np.concatenate([*offsets, shifts[-1:]]).astype(np.int64),
            labels=np.concatenate(labels) if len(labels) == len(sets) else None,
            **stacked,
        )

    def with_known(self, columns: np.ndarray, names: Sequence[str]) -> SeriesSet:
        """With more covariates (N, k) that are known ahead."""
        return replace(
            self,
            known=np.concatenate([self.known, columns], axis=1),
            known_names=(*self.known_names, *names),
        )

    def extended(self, steps: int) -> SeriesSet:
        """Each series has `steps` rows behind its last value: rows that are there stay, the rest is NaN.

        Stamps go on by the frequency, or by 1 for numbers.
        """
        frequency = self.frequency or Frequency(1, "")
        ends = self.ends
        want = ends - self.offsets[:-1] + steps
        parts: dict[str, list[np.ndarray]] = {"values": [], "stamps": [], "past": [], "known": []}
        for index, size in enumerate(want):
            begin = int(self.offsets[index])
            have = min(int(self.offsets[index + 1]) - begin, int(size))
            more = int(size) - have
            for name in ("values", "past", "known"):
                part = getattr(self, name)[begin : begin + have]
                parts[name].append(np.concatenate([part, np.full((more, part.shape[1]), np.nan)]))
            stamps = self.stamps[begin : begin + have]
            if more:
                first = stamps[0] if have else np.int64(0)
                stamps = np.concatenate([stamps, frequency.stamps(first, np.arange(have, have + more))])
            parts["stamps"].append(stamps)
        offsets = np.concatenate([[0], np.cumsum(want)]).astype(np.int64)
        return replace(self, offsets=offsets, **{name: np.concatenate(part) for name, part in parts.items()})

    def _cut(self, keep: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> SeriesSet:
        lengths = np.maximum(stops - starts, 0)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        whole = len(keep) == len(self) and bool(
            (starts == self.offsets[:-1]).all() and (stops == self.offsets[1:]).all()
        )
        if whole and (keep == np.arange(len(self))).all():
            return self
        rows = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
        return replace(
            self,
            ids=tuple(self.ids[index] for index in keep),
            offsets=offsets,
            values=self.values[rows],
            stamps=self.stamps[rows],
            past=self.past[rows],
            known=self.known[rows],
            static=self.static[keep],
            categories=self.categories[keep],
            labels=None if self.labels is None else self.labels[keep],
        )
