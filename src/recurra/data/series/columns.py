"""Tables as columns: CSV, TSV and Parquet files (also .gz), pandas and polars frames; each column an array."""

from __future__ import annotations

import csv
import gzip
import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recurra.base.errors import DataError, MissingExtra, message
from recurra.base.numbers import is_number

__all__ = ["Columns", "as_frame", "frame_kind", "read_columns"]

Columns = dict[str, np.ndarray]
"""Name -> (n,) array: float64, int64, datetime64 or str (object arrays of str)."""

_MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-nan"}


def read_columns(source: Any) -> Columns:
    """The columns of a file (.csv, .tsv, .txt, .parquet; .gz of the text kinds) or of a pandas or polars frame.

    A text column of numbers becomes float64, with NaN for an empty cell and for NA, NaN, null and ?. Raises DataError
    where there is no such file, no row, or a row of another length; MissingExtra for Parquet without a reader.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.is_file():
            raise DataError(message(str(path), "is a folder" if path.is_dir() else "no such file"))
        names = [suffix.lower() for suffix in path.suffixes]
        return _parquet(path) if names[-1:] == [".parquet"] else _text(path)
    if isinstance(source, Mapping):
        return {str(name): _array(np.asarray(column)) for name, column in source.items()}
    kind = frame_kind(source)
    if kind == "pandas":
        return _pandas(source)
    if kind == "polars":
        return {name: _array(source[name].to_numpy()) for name in source.columns}
    raise DataError(message("read_columns", f"a file or a frame was expected, got {type(source).__name__}"))


def frame_kind(source: Any) -> str | None:
    """The library of a frame, pandas or polars, None for anything else; imports neither."""
    for name in ("pandas", "polars"):
        module = sys.modules.get(name)
        if module is not None and isinstance(source, module.DataFrame):
            return name
    return None


def as_frame(columns: Columns, kind: str | None) -> Any:
    """Columns as a frame of this kind; as they are for None."""
    if kind == "pandas":
        import pandas

        return pandas.DataFrame(columns)
    if kind == "polars":
        import polars  # pyright: ignore[reportMissingImports]

        return polars.DataFrame(columns)
    return columns


def _text(path: Path) -> Columns:
    raw = path.read_bytes()
    if path.suffix.lower() == ".gz" or raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError) as error:
            raise DataError(message(str(path), f"is damaged: {error}")) from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(message(str(path), f"is not UTF-8: byte {raw[error.start]:#04x} at {error.start}")) from error
    first = text.split("\n", 1)[0]
    mark = max(",;\t", key=first.count)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=mark) if row]
    if len(rows) < 2:
        raise DataError(message(str(path), "holds no row under its head" if rows else "is empty"))
    head = [name.strip() or f"column{place}" for place, name in enumerate(rows[0])]
    if all(is_number(cell) for cell in rows[0]):
        # No head: the first row is data already.
        head = [f"column{place}" for place in range(len(rows[0]))]
        rows.insert(0, head)
    twice = sorted({name for name in head if head.count(name) > 1})
    if twice:
        raise DataError(message(str(path), f"two columns are called {', '.join(twice)}"))
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(head):
            fact = f"line {line} has {len(row)} cells, the head has {len(head)}"
            raise DataError(message(str(path), fact))
    return {
        name: _array(np.array(cells, object)) for name, cells in zip(head, zip(*rows[1:], strict=True), strict=True)
    }


def _parquet(path: Path) -> Columns:
    try:
        import polars  # pyright: ignore[reportMissingImports]

        return read_columns(polars.read_parquet(path))
    except ImportError:
        pass
    try:
        import pandas

        return _pandas(pandas.read_parquet(path))
    except ImportError as error:
        hint = "pip install pyarrow pandas, or polars; or save the table as CSV."
        raise MissingExtra(message(str(path), "Parquet needs polars, or pandas with pyarrow", hint=hint)) from error


def _pandas(frame: Any) -> Columns:
    found: Columns = {}
    if frame.index.name is not None:
        frame = frame.reset_index()
    for name in frame.columns:
        column = frame[name]
        zone = getattr(column.dtype, "tz", None)
        if zone is not None:
            # Offsets go into the text, as a file has them.
            found[str(name)] = np.array([stamp.isoformat() for stamp in column], object)
        else:
            found[str(name)] = _array(column.to_numpy())
    if not len(frame):
        raise DataError(message("read_columns", "the frame has no rows"))
    return found


def _array(values: np.ndarray) -> np.ndarray:
    """One of the kinds that `Columns` names."""
    if values.dtype.kind == "M":
        return values.astype("datetime64[us]")
    if values.dtype.kind in "iu":
        return values.astype(np.int64)
    if values.dtype.kind in "fb":
        return values.astype(np.float64)
    texts = ["" if _absent(value) else str(value).strip() for value in values.tolist()]
    try:
        numbers = np.array([np.nan if text.lower() in _MISSING else float(text) for text in texts])
    except ValueError:
        return np.array(texts, object)
    return numbers


def _absent(value: Any) -> bool:
    # NaN, NaT and pandas.NA are not equal to themselves, or refuse to say.
    if value is None:
        return True
    same = value == value
    return not (isinstance(same, bool | np.bool_) and bool(same))
