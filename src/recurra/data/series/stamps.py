"""Time stamps: whole numbers, or dates as datetime64 in microseconds; with an offset or a time zone they become UTC."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from recurra.base.errors import DataError, message

__all__ = ["is_dates", "local", "parse_stamps", "shown", "to_utc"]

_OFFSET = re.compile(r"(Z|[+-]\d\d:?\d\d)$")
_NUMBER = re.compile(r"[+-]?\d+(\.0*)?$")
_SHOWN = 3


def is_dates(stamps: np.ndarray) -> bool:
    """Whether stamps are dates rather than whole numbers."""
    return np.issubdtype(stamps.dtype, np.datetime64)


def shown(stamp: np.datetime64 | np.int64) -> str:
    """A stamp as people write it: 2016-07-01 00:00:00, or 1821."""
    if not isinstance(stamp, np.datetime64):
        return str(int(stamp))
    text = str(stamp.astype("datetime64[us]")).replace("T", " ")
    return text.removesuffix(".000000").removesuffix(" 00:00:00")


def parse_stamps(texts: Sequence[str], where: str = "stamps") -> tuple[np.ndarray, bool]:
    """Stamps from text, and whether they bore an offset from UTC (then they are in UTC now).

    Whole numbers stay whole numbers; everything else must be a date: 2016-07, 2016-07-01, 2016/07/01 00:15,
    2016-07-01T00:15:00.5+02:00. Raises DataError with the first lines that are neither, or where only some have an
    offset.

    >>> parse_stamps(["2016-07-01 02:00+02:00", "2016-07-01 03:00+02:00"])[0].astype(str).tolist()
    ['2016-07-01T00:00:00.000000', '2016-07-01T01:00:00.000000']
    >>> parse_stamps(["1821", "1822"])[0].tolist()
    [1821, 1822]
    """
    texts = [text.strip() for text in texts]
    empty = [line for line, text in enumerate(texts) if not text]
    if empty:
        fact = f"{len(empty)} of {len(texts)} stamps are empty, the first in row {empty[0] + 1}"
        raise DataError(message(where, fact))
    if all(_NUMBER.match(text) and len(text) != 8 for text in texts):
        return np.array([int(float(text)) for text in texts], dtype=np.int64), False
    compact = [f"{text[:4]}-{text[4:6]}-{text[6:]}" if re.fullmatch(r"\d{8}", text) else text for text in texts]
    plain = [text.replace("/", "-") for text in compact]
    # A date alone ends in "-01", which is no offset.
    found = [_OFFSET.search(text) if ":" in text or text.endswith("Z") else None for text in plain]
    with_offset = sum(match is not None for match in found)
    if 0 < with_offset < len(plain):
        fact = f"{with_offset} of {len(plain)} stamps have an offset from UTC, the others none"
        raise DataError(message(where, fact, hint="write all of them alike."))
    bare = [text if match is None else text[: match.start()].rstrip() for text, match in zip(plain, found, strict=True)]
    try:
        stamps = np.array(bare, dtype="datetime64[us]")
    except ValueError:
        wrong = [text for text, one in zip(texts, bare, strict=True) if not _is_date(one)]
        fact = f"{len(wrong)} of {len(texts)} are no date and no whole number: {', '.join(map(repr, wrong[:_SHOWN]))}"
        raise DataError(message(where, fact, hint="dates as 2016-07-01 or 2016-07-01 00:15:00.")) from None
    if np.isnat(stamps).any():
        raise DataError(message(where, f"{int(np.isnat(stamps).sum())} stamps are missing (NaT)"))
    if not with_offset:
        return stamps, False
    minutes = np.array([_minutes(match.group()) if match else 0 for match in found], dtype="timedelta64[m]")
    return stamps - minutes, True


def to_utc(stamps: np.ndarray, zone: str, where: str = "stamps") -> np.ndarray:
    """Wall-clock dates of `zone` -> UTC. An hour that a clock shows twice is first the earlier, then the later one.

    Raises DataError for a zone that nobody knows.
    """
    known = _zone(zone, where)
    seen: set[int] = set()
    offsets = np.empty(len(stamps), dtype="timedelta64[us]")
    cache: dict[tuple[int, int], np.timedelta64] = {}
    hour = stamps.astype("datetime64[h]").astype(np.int64)
    for row, (stamp, key) in enumerate(zip(stamps.astype(np.int64).tolist(), hour.tolist(), strict=True)):
        fold = int(stamp in seen)
        seen.add(stamp)
        if (key, fold) not in cache:
            clock = datetime(1970, 1, 1) + (datetime.fromtimestamp(key * 3600, UTC) - datetime.fromtimestamp(0, UTC))
            shift = clock.replace(tzinfo=known, fold=fold).utcoffset()
            cache[key, fold] = np.timedelta64(round(shift.total_seconds()) if shift else 0, "s")
        offsets[row] = cache[key, fold]
    return stamps - offsets


def local(stamps: np.ndarray, zone: str | None) -> np.ndarray:
    """UTC dates -> what a clock in `zone` shows; as they are without a zone."""
    if zone in (None, "UTC") or not is_dates(stamps):
        return stamps
    known = _zone(zone, "stamps")
    hours, place = np.unique(stamps.astype("datetime64[h]"), return_inverse=True)
    shifts = [
        datetime.fromtimestamp(int(hour) * 3600, UTC).astimezone(known).utcoffset() for hour in hours.astype(np.int64)
    ]
    seconds = np.array([shift.total_seconds() if shift else 0 for shift in shifts])
    return stamps + seconds.astype("timedelta64[s]")[place]


def _zone(zone: str, where: str) -> ZoneInfo:
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise DataError(message(where, f"no time zone is called {zone!r}", hint="such as Europe/Berlin.")) from error


def _minutes(text: str) -> int:
    if text == "Z":
        return 0
    digits = text[1:].replace(":", "")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return -minutes if text[0] == "-" else minutes


def _is_date(text: str) -> bool:
    try:
        np.datetime64(text, "us")
    except ValueError:
        return False
    return True
