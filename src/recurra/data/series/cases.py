"""Cases with their classes from files, frames and arrays."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from recurra.base.errors import DataError, message
from recurra.base.numbers import is_number
from recurra.data.series.build import find_columns, read_series, value_columns
from recurra.data.series.columns import Columns, read_columns
from recurra.data.series.series_set import SeriesSet
from recurra.data.series.ts_file import read_ts

__all__ = ["cases_of", "class_order", "read_cases"]

_LABELS = ("label", "class", "target", "y_true")


def read_cases(data: Any, source: Any = None, classes: Sequence[str] = (), *, labelled: bool = True) -> SeriesSet:
    """The cases that the settings name, or those of `source`: a file, a frame, or a set.

    Files: .ts (UCR/UEA), a UCR .txt or .tsv with the class first, .npz with X (cases, channels, time) and y, .npy with
    X alone, and long tables (.csv, .tsv, .parquet) with columns of ids, stamps, channels and the class, the same in all
    rows of a case. Steps behind the last value of a case are padding and cut off. classes: the order of codes that a
    trained model has; by default they are sorted. labelled: look for classes at all.

    Raises DataError for no cases, text where numbers should be, infinities, a class that is not among `classes`.
    """
    given = data.file if source is None else source
    if not labelled:
        classes = ()
    if isinstance(given, SeriesSet):
        return _trimmed(_recoded(given, tuple(classes), "cases"), "cases")
    if isinstance(given, str) and not given:
        raise DataError(message("classify", "no file was named", hint="recurra train classify cases.ts --out runs/x"))
    where = str(given) if isinstance(given, str | Path) else "cases"
    kind = _kind(Path(given)) if isinstance(given, str | Path) else "table"
    if kind == "ts":
        found = read_ts(given)
    elif kind == "array":
        found = _arrays(Path(given))
    else:
        found = _table(read_columns(given), data, where, labelled)
    return _trimmed(_recoded(found, tuple(classes), where), where)


def cases_of(X: Any, y: Any = None, classes: Sequence[str] = ()) -> SeriesSet:
    """Cases from arrays: (cases, channels, time), (cases, time), or a list of (channels, time) or (time,).

    y: the class of each case, of any kind. NaN is missing, NaN behind the last value padding. Raises DataError for
    other shapes, infinities, and as many classes as there are no cases.

    >>> cases_of(np.zeros((4, 2, 7)), ["a", "b", "a", "b"]).values.shape
    (28, 2)
    """
    try:
        parts = [np.asarray(part, np.float64) for part in X]
    except (TypeError, ValueError) as error:
        raise DataError(message("cases", f"numbers were expected: {error}")) from error
    wrong = sorted({part.ndim for part in parts} - {1, 2})
    if wrong or not parts:
        fact = f"a case must be (time,) or (channels, time), got {wrong[0]} axes" if parts else "there is not one case"
        raise DataError(message("cases", fact))
    labels, names = (None, ()) if y is None else _coded([_text(one) for one in np.asarray(y).tolist()])
    if labels is not None and len(labels) != len(parts):
        raise DataError(message("cases", f"{len(parts)} cases, but {len(labels)} classes"))
    series = SeriesSet.of([part if part.ndim == 1 else part.T for part in parts], labels=labels, label_names=names)
    return _trimmed(_recoded(series, tuple(classes), "cases"), "cases")


def class_order(label: str) -> tuple[float, str]:
    """The key that sorts classes: numbers by size, before words."""
    try:
        return float(label), label
    except ValueError:
        return float("inf"), label


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    last = suffixes[-1] if suffixes else ""
    if last in (".npz", ".npy"):
        return "array"
    if last in (".ts", ".txt"):
        return "ts"
    if last == ".tsv" and path.is_file() and path.suffix.lower() != ".gz":
        # The archive's own .tsv has no head: the class, then the values.
        with path.open(encoding="utf-8", errors="replace") as lines:
            cells = lines.readline().split()
        return "ts" if cells and all(is_number(cell) for cell in cells) else "table"
    return "table"


def _arrays(path: Path) -> SeriesSet:
    if not path.is_file():
        raise DataError(message(str(path), "no such file"))
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays = dict(loaded) if isinstance(loaded, np.lib.npyio.NpzFile) else {"X": loaded}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(message(str(path), f"could not be read: {error}")) from error
    named = {name.lower(): array for name, array in arrays.items()}
    X, y = named.get("x"), named.get("y", named.get("labels"))
    if X is None or X.ndim not in (2, 3) or X.dtype.kind not in "fiub":
        shape = "none" if X is None else f"{X.shape} {X.dtype}"
        fact = f"X must be (cases, channels, time) or (cases, time) of numbers, got {shape}"
        raise DataError(message(str(path), fact, f"The file has: {', '.join(arrays) or 'nothing'}."))
    return cases_of(X, y)


def _table(table: Columns, data: Any, where: str, labelled: bool) -> SeriesSet:
    id, time = find_columns(table, None, data.id or None, data.time or None)  # noqa: A001
    if id is None:
        fact = f"no column tells the cases apart; there are {', '.join(table)}"
        raise DataError(message(where, fact, hint="unique_id, or --id NAME."))
    lower = {name.lower(): name for name in table}
    label = data.label or next((lower[name] for name in _LABELS if name in lower and lower[name] not in (id, time)), "")
    if labelled and data.label and label not in table:
        raise DataError(message(where, f"no column is called {label!r}", f"There are: {', '.join(table)}."))
    channels = data.channels or value_columns(table, (id, time, label), where)
    series = read_series(table, target=channels, id=id, time=time, frequency=data.freq or None)
    if not labelled or not label:
        return series
    # One class a case, whatever the kind of the column.
    found: dict[str, str] = {}
    for one, said in zip(table[id].astype(str).tolist(), table[label].tolist(), strict=True):
        text = _text(said)
        if found.setdefault(one, text) != text:
            raise DataError(message(where, f"case {one!r} is of class {found[one]!r} and of class {text!r}"))
    empty = [one for one, text in found.items() if not text or text == "nan"]
    if empty:
        raise DataError(message(where, f"{len(empty)} cases have no class in column {label!r}, the first {empty[0]!r}"))
    labels, names = _coded([found[one] for one in series.ids])
    return replace(series, labels=labels, label_names=names)


def _coded(texts: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    names = tuple(sorted(set(texts), key=class_order))
    codes = {name: code for code, name in enumerate(names)}
    return np.array([codes[text] for text in texts], np.int64), names


def _recoded(series: SeriesSet, classes: tuple[str, ...], where: str) -> SeriesSet:
    """With the codes of a trained model."""
    if not classes or series.labels is None or series.label_names == classes:
        return series
    used = [series.label_names[code] for code in np.unique(series.labels)]
    unknown = [name for name in used if name not in classes]
    if unknown:
        fact = f"class {', '.join(unknown)} was not in training, which had {', '.join(classes)}"
        raise DataError(message(where, fact))
    table = np.array([classes.index(name) if name in classes else -1 for name in series.label_names], np.int64)
    return replace(series, labels=table[series.labels], label_names=classes)


def _trimmed(series: SeriesSet, where: str) -> SeriesSet:
    ends = series.ends
    empty = np.flatnonzero(ends == series.offsets[:-1])
    if len(empty):
        fact = f"{len(empty)} of {len(series)} cases have no value, the first {series.ids[int(empty[0])]!r}"
        raise DataError(message(where, fact))
    return series.until(ends)


def _text(label: Any) -> str:
    if isinstance(label, bool):
        return str(label).lower()
    return f"{label:g}" if isinstance(label, float) else str(label).strip()
