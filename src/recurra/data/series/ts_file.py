"""Files of the UCR and UEA archives: .ts (also of unequal length), and plain .txt with the class first."""

from __future__ import annotations

import contextlib
import gzip
from pathlib import Path

import numpy as np

from recurra.base.errors import DataError, message
from recurra.data.series.series_set import SeriesSet

__all__ = ["read_ts"]


def read_ts(path: str | Path, label_names: tuple[str, ...] = ()) -> SeriesSet:
    """Series with classes from a .ts file (channels between colons, the class last) or a UCR .txt, .tsv or .csv.

    label_names: the classes in the order of their codes, such as those of the training file; by default sorted.
    Values `?` and NaN are missing. Raises DataError, with the line, for what is no number, another number of channels,
    and a class that is not among label_names.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(message(str(path), "no such file"))
    raw = path.read_bytes()
    try:
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(message(str(path), f"is damaged or no text: {error}")) from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith(("#", "%"))]
    data = next((place for place, (_, line) in enumerate(lines) if line.lower() == "@data"), None)
    if data is None:
        found = [_plain(path, number, line) for number, line in lines]
    else:
        head = [line.lower().split() for _, line in lines[:data]]
        classed = next((words[1] == "true" for words in head if words[0] == "@classlabel" and len(words) > 1), False)
        stamped = any(words == ["@timestamps", "true"] for words in head)
        if stamped:
            raise DataError(message(str(path), "time stamps within a .ts file are not read"))
        found = [_case(path, number, line, classed) for number, line in lines[data + 1 :]]
    if not found:
        raise DataError(message(str(path), "holds no series"))
    widths = {case.shape[1] for case, _ in found}
    if len(widths) > 1:
        raise DataError(message(str(path), f"series have {sorted(widths)} channels; all need as many"))
    classes = [label for _, label in found]
    names = label_names or tuple(sorted({label for label in classes if label is not None}, key=_order))
    unknown = sorted({label for label in classes if label is not None} - set(names))
    if unknown:
        raise DataError(message(str(path), f"classes {', '.join(unknown)} are not among {', '.join(names)}"))
    labels = None if None in classes else [names.index(label) for label in classes if label is not None]
    return SeriesSet.of([case for case, _ in found], labels=labels, label_names=names)


def _case(path: Path, number: int, line: str, classed: bool) -> tuple[np.ndarray, str | None]:
    """One line: channels between colons -> (T, C) and its class."""
    *channels, last = line.split(":")
    if not classed:
        channels, last = [*channels, last], None
    parts = [_values(path, number, channel.split(",")) for channel in channels]
    length = max(map(len, parts), default=0)
    if not length:
        raise DataError(message(str(path), f"line {number} holds no values"))
    # Channels of one case may end at different steps: the rest is missing.
    block = np.full((length, len(parts)), np.nan)
    for channel, part in enumerate(parts):
        block[: len(part), channel] = part
    return block, None if last is None else last.strip()


def _plain(path: Path, number: int, line: str) -> tuple[np.ndarray, str | None]:
    cells = line.replace(",", " ").split()
    if len(cells) < 2:
        raise DataError(message(str(path), f"line {number} is no class with values"))
    label = cells[0]
    with contextlib.suppress(ValueError):
        # 1.0000000e+00 and 1 are one class.
        label = f"{float(label):g}"
    values = _values(path, number, cells[1:])
    # Series of the archive that are shorter than the longest are filled up with NaN.
    last = np.flatnonzero(~np.isnan(values))
    return values[: int(last[-1]) + 1 if len(last) else 0, None], label


def _values(path: Path, number: int, cells: list[str]) -> np.ndarray:
    try:
        found = np.array([np.nan if cell.strip() in ("?", "") else float(cell) for cell in cells])
    except ValueError as error:
        raise DataError(message(str(path), f"line {number}: {error}")) from error
    if np.isinf(found).any():
        raise DataError(message(str(path), f"line {number} holds an infinite value"))
    return found


def _order(label: str) -> tuple[float, str]:
    try:
        return float(label), label
    except ValueError:
        return float("inf"), label
