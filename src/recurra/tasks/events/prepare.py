"""What is learnt of the streams before any net, and streams as frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recurra.base.errors import DataError, message
from recurra.data.series.series_set import SeriesSet
from recurra.tasks.events.settings import EventSettings
from recurra.tasks.events.truth import Truth, step_seconds

__all__ = ["Preparation", "prepare", "split"]

_FLAT = 1e-12


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Learnt from the training part; a run keeps it, with the rule of decoding, as events.json."""

    channels: tuple[str, ...]
    classes: tuple[str, ...]
    point: bool
    """Events are moments."""
    location: tuple[float, ...]
    scale: tuple[float, ...]
    masked: bool
    step_s: float
    frame: int
    """Steps in one."""
    delay: int
    """Frames between what is answered for and the answer."""
    widen: int
    """Steps."""
    tolerance_s: float

    @property
    def width(self) -> int:
        """Features per step: the channels, and their mask."""
        return len(self.channels) * (2 if self.masked else 1)

    @property
    def frame_s(self) -> float:
        """Seconds in a frame."""
        return self.frame * self.step_s

    def frames(self, values: np.ndarray, where: str = "events") -> np.ndarray:
        """Steps (T, C) or (B, T, C), NaN where missing, as whole frames (..., T // frame, frame * width) float32.

        Raises DataError for another number of channels, infinities, and gaps that a net without a mask cannot see.
        """
        if values.shape[-1] != len(self.channels):
            fact = f"there are {values.shape[-1]} channels, the model was trained with {len(self.channels)}"
            raise DataError(message(where, fact, f"Those are: {', '.join(self.channels)}."))
        self.check(values, where)
        seen = ~np.isnan(values)
        scaled = np.where(seen, (values - np.array(self.location)) / np.array(self.scale), 0.0)
        x = np.concatenate([scaled, seen], axis=-1) if self.masked else scaled
        count = values.shape[-2] // self.frame
        kept = x[..., : count * self.frame, :].astype(np.float32)
        return kept.reshape(*values.shape[:-2], count, self.frame * self.width)

    def check(self, values: np.ndarray, where: str) -> None:
        """DataError for infinities, and for gaps that a net without a mask cannot see."""
        if np.isinf(values).any():
            raise DataError(message(where, f"{int(np.isinf(values).sum())} values are infinite"))
        missing = int(np.isnan(values).sum())
        if missing and not self.masked:
            hint = "train with --set model.mask=yes; by default a net has one where its training part has gaps."
            raise DataError(message(where, f"{missing} values are missing; this model has no mask", hint=hint))

    def middle(self, frame: int) -> int:
        """The step that stands for what the answer of a frame is about."""
        return max(0, frame - self.delay) * self.frame + (self.frame - 1) // 2

    def first(self, frame: int) -> int:
        """The first step of it."""
        return max(0, frame - self.delay) * self.frame

    def last(self, frame: int) -> int:
        """Its last step."""
        return max(0, frame - self.delay) * self.frame + self.frame - 1

    def read(self, frame: int) -> int:
        """The last step that has been read when a frame is answered."""
        return (frame + 1) * self.frame - 1


def split(series: SeriesSet, settings: EventSettings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of each series (S,), counted from its beginning, where training, validation and test part end."""
    ends = series.ends - series.offsets[:-1]
    stops = np.round(ends * (1 - settings.data.test)).astype(np.int64)
    learnt = np.round(ends * (1 - settings.data.test - settings.data.validation)).astype(np.int64)
    return learnt, stops, ends


def prepare(series: SeriesSet, truth: Truth, settings: EventSettings) -> Preparation:
    """What is learnt of the training part. Raises DataError where it has no event, or is shorter than a frame."""
    model, learnt = settings.model, split(series, settings)[0]
    step_s = step_seconds(series, settings.data)
    if int(learnt.max()) < 2 * model.frame:
        fact = f"the longest series has {int(learnt.max())} steps to learn from, a frame has {model.frame}"
        raise DataError(message("events", fact, hint="longer series, or --set model.frame=1"))
    inside = np.concatenate(
        [np.zeros(0, np.int64), *(truth.of(s, 0, int(learnt[s])).label for s in range(len(series)))]
    )
    counts = np.bincount(inside.astype(np.int64), minlength=len(truth.classes))
    absent = [name for name, count in zip(truth.classes, counts, strict=True) if not count]
    if not len(truth.classes) or absent:
        fact = "the training part has no event" + (f" of class {', '.join(absent)}" if truth.classes else "")
        hint = "a smaller validation or test part, or label more."
        raise DataError(message("events", fact, hint=hint))
    values = series.until(series.offsets[:-1] + learnt).values
    seen = ~np.isnan(values)
    empty = [name for place, name in enumerate(series.names) if not seen[:, place].any()]
    if empty:
        raise DataError(message("events", f"channel {', '.join(empty)} has no value in the training part"))
    location, scale = np.zeros(values.shape[1]), np.ones(values.shape[1])
    if settings.data.normalise == "standard":
        location, spread = np.nanmean(values, 0), np.nanstd(values, 0)
    elif settings.data.normalise == "robust":
        location = np.nanmedian(values, 0)
        spread = 1.4826 * np.nanmedian(np.abs(values - location), 0)
    else:
        spread = scale
    scale = np.where(spread > _FLAT * np.maximum(1.0, np.abs(location)), spread, 1.0)
    tolerance_s = settings.decode.tolerance_s or 5 * model.frame * step_s
    widen_s = 0.5 * tolerance_s if model.widen_s is None else model.widen_s
    return Preparation(
        channels=series.names,
        classes=truth.classes,
        point=truth.point,
        location=tuple(location.tolist()),
        scale=tuple(scale.tolist()),
        masked=model.mask == "yes" or (model.mask == "auto" and not bool(seen.all())),
        step_s=step_s,
        frame=model.frame,
        delay=round(model.look_ahead_s / (model.frame * step_s)),
        widen=round(widen_s / step_s),
        tolerance_s=tolerance_s,
    )
