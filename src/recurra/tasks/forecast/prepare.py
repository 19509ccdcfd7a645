"""What is learnt of the data before any net: scales, sizes, which rows train and which validate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recurra.base.errors import DataError, message
from recurra.data.series.build import read_series, series_from_rows
from recurra.data.series.calendar_features import with_calendar
from recurra.data.series.frequency import Frequency, parse_frequency
from recurra.data.series.scaling import Scale, series_scale
from recurra.data.series.series_set import SeriesSet
from recurra.tasks.forecast.layout import Layout
from recurra.tasks.forecast.settings import DataSettings, ForecastSettings

__all__ = ["Preparation", "Ready", "frequency_of", "prepare", "read_data", "split", "transformed"]

_LONGEST = 720


def read_data(data: DataSettings, source: Any = None) -> SeriesSet:
    """The series that the settings name, each of one channel; `source` instead of the file.

    Raises DataError where the file or a column is not there, or cannot be used.
    """
    given = data.file if source is None else source
    if isinstance(given, str) and not given:
        raise DataError(message("forecast", "no file was named", hint="recurra train forecast data.csv --horizon 24"))
    if data.layout == "rows":
        return series_from_rows(given, data.freq or None)
    return read_series(
        given,
        target=data.target or None,
        id=data.id or None,
        time=data.time or None,
        past=data.past,
        known=data.known,
        static=data.static,
        frequency=data.freq or None,
        duplicates=data.duplicates,
        zone=data.zone or None,
    ).univariate()


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Learnt from the training rows; a run keeps it as series.json."""

    ids: tuple[str, ...]
    location: tuple[float, ...]
    scale: tuple[float, ...]
    scale_kind: str
    covariates: dict[str, tuple[float, float]]
    """Mean and deviation of each covariate."""
    past: tuple[str, ...]
    known: tuple[str, ...]
    static: tuple[str, ...]
    category_names: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    frequency: str
    season: int
    look_back: int
    horizon: int
    calendar: bool
    masked: bool
    named: int
    """Series with an embedding of their own."""
    transform: str = "none"
    """Of the values, before they are scaled."""

    @property
    def layout(self) -> Layout:
        """How windows are packed."""
        sizes = tuple(len(level) for level in self.levels)
        known = len(self.known)
        return Layout(
            self.look_back, self.horizon, len(self.past), known, len(self.static), sizes, self.named, self.masked
        )

    def apply(self, series: SeriesSet) -> Ready:
        """Scaled series with their scales; a series that was not in training is scaled by its own values.

        Raises DataError where covariates are missing or the frequency is another one.
        """
        if self.calendar:
            series = with_calendar(series)
        for kind, wanted, there in (
            ("past", self.past, series.past_names),
            ("known", self.known, series.known_names),
            ("static", self.static, series.static_names),
            ("category", self.category_names, series.category_names),
        ):
            lacking = [name for name in wanted if name not in there]
            if lacking:
                fact = f"the {kind} covariates {', '.join(lacking)} are missing, with which the model was trained"
                raise DataError(message("forecast", fact, f"There are: {', '.join(there) or 'none'}."))
        if self.frequency and series.frequency is not None and str(series.frequency) != self.frequency:
            fact = f"the model was trained on steps of {self.frequency}, these series have steps of {series.frequency}"
            raise DataError(message("forecast", fact, hint="resample the data, or train anew."))
        series = transformed(series, self.transform)
        places = {name: place for place, name in enumerate(self.ids)}
        found = np.array([places.get(name, -1) for name in series.ids], np.int64)
        own = series_scale(series, self.scale_kind)  # pyright: ignore[reportArgumentType]
        known = found >= 0
        at = np.maximum(found, 0)
        location = np.where(known[:, None], np.array(self.location)[at, None], own.location)
        scale = np.where(known[:, None], np.array(self.scale)[at, None], own.scale)
        owner = np.repeat(np.arange(len(series)), series.lengths)
        scaled = replace(
            series,
            values=(series.values - location[owner]) / scale[owner],
            past=self._scaled(series.past, series.past_names, self.past),
            past_names=self.past,
            known=self._scaled(series.known, series.known_names, self.known),
            known_names=self.known,
            static=self._scaled(series.static, series.static_names, self.static),
            static_names=self.static,
            categories=self._recoded(series),
            category_names=self.category_names,
            levels=self.levels,
        )
        return Ready(scaled, Scale(location, scale), found, self.transform)

    def _scaled(self, columns: np.ndarray, there: tuple[str, ...], wanted: tuple[str, ...]) -> np.ndarray:
        if not wanted:
            return np.empty((len(columns), 0))
        parts = []
        for name in wanted:
            mean, spread = self.covariates[name]
            parts.append((columns[:, there.index(name)] - mean) / spread)
        return np.stack(parts, axis=1)

    def _recoded(self, series: SeriesSet) -> np.ndarray:
        """The codes of training; -1 for a level that was not there."""
        if not self.category_names:
            return np.empty((len(series), 0), np.int64)
        columns = []
        for name, levels in zip(self.category_names, self.levels, strict=True):
            at = series.category_names.index(name)
            codes = {level: code for code, level in enumerate(levels)}
            table = np.array([codes.get(level, -1) for level in series.levels[at]] + [-1], np.int64)
            columns.append(table[series.categories[:, at]])
        return np.stack(columns, axis=1)


@dataclass(frozen=True)
class Ready:
    """Series as the nets read them."""

    series: SeriesSet
    scale: Scale
    """(S, 1), of the target."""
    places: np.ndarray
    """(S,) the number of each series in training, -1 for a new one."""
    transform: str = "none"

    def back(self, values: np.ndarray, series: np.ndarray) -> np.ndarray:
        """Scaled values (B, ...) of series (B,) in the data's own units."""
        shape = (-1, *[1] * (values.ndim - 1))
        found = values * self.scale.scale[series, 0].reshape(shape) + self.scale.location[series, 0].reshape(shape)
        return np.exp(found) if self.transform == "log" else found


def transformed(series: SeriesSet, transform: str) -> SeriesSet:
    """The logarithms of the values, where that is asked for; DataError where a value is not positive."""
    if transform != "log":
        return series
    wrong = np.argwhere(series.values <= 0)
    if len(wrong):
        row = int(wrong[0, 0])
        name = series.ids[int(np.searchsorted(series.offsets, row, side="right")) - 1]
        fact = f"{len(wrong)} values are not positive, the first {series.values[row, 0]:g} of series {name!r}"
        hint = "a logarithm there is none of; --set model.transform=none"
        raise DataError(message("forecast", fact, hint=hint))
    return replace(series, values=np.log(series.values))


def split(series: SeriesSet, settings: ForecastSettings) -> tuple[np.ndarray, np.ndarray]:
    """Rows of each series (counted from its beginning) where validation begins and where it ends (S,).

    The last `data.test` rows are behind that, and left alone. Raises DataError where too little is left.
    """
    lengths = series.ends - series.offsets[:-1] - settings.data.test
    held = np.full(len(series), settings.data.validation) if settings.data.validation else lengths // 10
    stops = lengths - np.maximum(held, settings.horizon)
    if (stops < 2).all():
        fact = f"the longest series has {int(lengths.max())} rows to learn from; {settings.horizon} ahead need more"
        hint = f"{2 * settings.horizon + 2} rows at least, or a shorter horizon."
        raise DataError(message("forecast", fact, hint=hint))
    return np.maximum(stops, 0), np.maximum(lengths, 0)


def prepare(series: SeriesSet, settings: ForecastSettings) -> tuple[Preparation, np.ndarray, np.ndarray]:
    """What is learnt of the training rows, and the rows where training and validation end.

    Raises DataError for series without a value, or too short.
    """
    stops, ends = split(series, settings)
    train = series.until(series.offsets[:-1] + stops)
    # A series too short to be learnt from is still forecast, and scaled by what there is of it.
    measured = series.until(series.offsets[:-1] + np.where(stops > 0, stops, ends))
    empty = [one.id for one in measured if np.isnan(one.values).all()]
    if empty:
        fact = f"{len(empty)} of {len(series)} series have no value in their training rows, the first {empty[0]!r}"
        raise DataError(message("forecast", fact, hint="leave them out of the table."))
    model = settings.model
    train, measured = (transformed(one, model.transform) for one in (train, measured))
    frequency = series.frequency
    season = settings.season or (frequency.season if frequency is not None else 1)
    dated = with_calendar(train) if settings.data.calendar and model.name not in _PLAIN else train
    calendar = dated is not train
    scale = series_scale(measured, model.scale)
    look_back = model.look_back or _look_back(stops, settings.horizon, season)
    inside = train.lengths < look_back + settings.horizon
    named = len(series) if 1 < len(series) <= model.most_series else 0
    return (
        Preparation(
            ids=series.ids,
            location=tuple(scale.location[:, 0].tolist()),
            scale=tuple(scale.scale[:, 0].tolist()),
            scale_kind=model.scale,
            covariates=_covariate_scales(dated),
            past=dated.past_names,
            known=dated.known_names,
            static=dated.static_names,
            category_names=dated.category_names,
            levels=dated.levels,
            frequency="" if frequency is None else str(frequency),
            season=season,
            look_back=look_back,
            horizon=settings.horizon,
            calendar=calendar,
            masked=bool(np.isnan(train.values).any() or inside.any()),
            named=named,
            transform=model.transform,
        ),
        stops,
        ends,
    )


_PLAIN = ("ridge", "naive", "seasonal_naive", "drift")


def _look_back(stops: np.ndarray, horizon: int, season: int) -> int:
    """Three horizons or seven seasons, but no more than leaves half of a usual series for targets."""
    usual = int(np.median(stops[stops > 1]))
    wanted = min(max(3 * horizon, 7 * season, 8), max(_LONGEST, horizon))
    most = max(1, (usual - min(horizon, usual // 2)) // 2)
    found = min(wanted, most)
    return found // season * season if found >= season else found


def _covariate_scales(series: SeriesSet) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for columns, names in (
        (series.past, series.past_names),
        (series.known, series.known_names),
        (series.static, series.static_names),
    ):
        for place, name in enumerate(names):
            seen = columns[:, place][~np.isnan(columns[:, place])]
            spread = float(seen.std()) if len(seen) else 0.0
            mean = float(seen.mean()) if len(seen) else 0.0
            # The calendar is scaled already, and a year may not be over.
            ready = name.startswith("calendar.")
            found[name] = (0.0, 1.0) if ready else (mean, spread if spread > 1e-12 else 1.0)
    return found


def frequency_of(preparation: Preparation) -> Frequency | None:
    """The spacing of the training series."""
    return parse_frequency(preparation.frequency) if preparation.frequency else None
