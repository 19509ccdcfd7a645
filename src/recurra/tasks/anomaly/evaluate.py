"""A detector on data: scores and alarms of every row, and what they are worth where labels say."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recurra.base.errors import DataError, message
from recurra.data.series.stamps import is_dates, shown
from recurra.tasks.anomaly.detector import Detector, Judged
from recurra.tasks.anomaly.metrics import Events, average_precision, events_of
from recurra.tasks.anomaly.table import Rows

__all__ = ["Judgement", "judged_rows", "labelled"]


@dataclass(frozen=True)
class Judgement:
    """Series with the scores and alarms of their rows."""

    series: Sequence[Rows]
    judged: Sequence[Judged]
    threshold: float
    first: Sequence[int]
    """The row of each series from which on it is measured."""
    tolerance: int = 0
    part: str = "all rows"

    def numbers(self) -> dict[str, Any]:
        """Rows, series, threshold, alarms; with labels also what those are worth (None where nothing can be said)."""
        rows = sum(len(one.values) - at for one, at in zip(self.series, self.first, strict=True))
        alarms = sum(int(one.alarms[at:].sum()) for one, at in zip(self.judged, self.first, strict=True))
        facts: dict[str, Any] = {
            "rows": rows,
            "series": len(self.series),
            "threshold": self.threshold,
            "alarms": alarms,
        }
        known = [
            (one, said, at) for one, said, at in zip(self.series, self.judged, self.first, strict=True)
            if one.labels is not None
        ]  # fmt: skip
        if not known:
            return facts
        parts = [events_of(said.alarms[at:], _labels(one)[at:], self.tolerance) for one, said, at in known]
        events = Events.sum(parts)
        scores = np.concatenate([said.scores[at:] for _, said, at in known])
        labels = np.concatenate([_labels(one)[at:] for one, _, at in known])
        days = sum(_days(one.stamps[at:]) for one, _, at in known)
        return facts | {
            "windows": events.windows,
            "found": events.found,
            "false_alarms": events.false_alarms,
            "tolerance_rows": self.tolerance,
            "precision": _number(events.precision),
            "recall": _number(events.recall),
            "f1": _number(events.f1),
            "pr_auc": _number(average_precision(scores, labels)),
            "anomalous_share": float(labels.mean()),
            "false_alarms_per_day": events.false_alarms / days if days else None,
            "false_alarms_per_1000_rows": 1000 * events.false_alarms / max(rows, 1),
            "delay_rows": float(np.median(events.delays)) if events.delays else None,
            "delay_rows_mean": float(np.mean(events.delays)) if events.delays else None,
        }

    def table(self) -> str:
        """CSV: unique_id, ds, score, alarm for every row; an empty score where there is none."""
        lines = ["unique_id,ds,score,alarm"]
        for one, said in zip(self.series, self.judged, strict=True):
            name = json.dumps(one.id, ensure_ascii=False) if set(one.id) & set(',"\n') else one.id
            for stamp, score, alarm in zip(one.stamps, said.scores.tolist(), said.alarms.tolist(), strict=True):
                lines.append(f"{name},{shown(stamp)},{'' if math.isnan(score) else f'{score:.7g}'},{int(alarm)}")
        return "\n".join(lines) + "\n"


def judged_rows(
    detector: Detector, series: Sequence[Rows], *, judged: Sequence[Judged] = (), test: int = 0, tolerance: int = 0
) -> Judgement:
    """Every row judged; measured are the last `test` rows of each series, all where that is 0.

    judged: what was said of them, where that is known already.
    """
    first = [max(len(one.values) - test, 0) if test else 0 for one in series]
    part = f"the last {test:,} rows of each series, kept from training" if test else "all rows"
    return Judgement(series, judged or detector.judge(series), detector.threshold, first, tolerance, part)


def labelled(series: Sequence[Rows], windows: Mapping[str, Sequence[Sequence[str]]], where: str) -> list[Rows]:
    """Series with labels from windows: {id: [[first stamp, last stamp], ...]}, as NAB's labels are written.

    A series that is not named has no anomaly. Raises DataError for a name that no series has, and for a window
    without a row.
    """
    ids = {one.id for one in series}
    # One file of the benchmark is one series; its label is the only one that fits it.
    found = {
        Path(name).stem if name not in ids and Path(name).stem in ids else name: part for name, part in windows.items()
    }
    if not ids & set(found):
        named = ", ".join(list(found)[:5])
        raise DataError(message(where, f"names no series of the data, but {named}"))
    result = []
    for one in series:
        labels = np.zeros(len(one.values), bool)
        for pair in found.get(one.id, ()):
            labels |= _within(one, pair, where)
        result.append(one._replace(labels=labels))
    return result


def _within(one: Rows, pair: Sequence[str], where: str) -> np.ndarray:
    try:
        first, last = pair
        edges = [np.datetime64(str(edge), "us") if is_dates(one.stamps) else np.int64(edge) for edge in (first, last)]
    except ValueError as error:
        raise DataError(message(where, f"{pair!r} is no window of {one.id!r}: {error}")) from error
    inside = (one.stamps >= edges[0]) & (one.stamps <= edges[1])
    if not inside.any():
        raise DataError(message(where, f"series {one.id!r} has no row from {first} to {last}"))
    return inside


def _labels(one: Rows) -> np.ndarray:
    return np.zeros(len(one.values), bool) if one.labels is None else one.labels


def _days(stamps: np.ndarray) -> float:
    if not is_dates(stamps) or len(stamps) < 2:
        return 0.0
    return float((stamps[-1] - stamps[0]) / np.timedelta64(1, "D"))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
