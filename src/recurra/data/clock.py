"""A time stamp as it comes down a stream: one text at a time, fast, and in the order that it has."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from recurra.base.errors import DataError, message

__all__ = ["Moment", "moment"]

Moment = tuple[float, bool]
"""A number that rises with time, and whether it is a date: then seconds since 1970, on the clock of its zone."""

_EPOCH = datetime(1970, 1, 1)


def moment(text: str, zone: str | None = None) -> Moment:
    """The moment of a stamp: a number, or a date with or without an offset; dates with one are shown by `zone`'s clock.

    Raises DataError for what is neither.

    >>> moment("1970-01-02 00:00:01"), moment("17"), moment("1970-01-01T02:00:00+01:00")
    ((86401.0, True), (17.0, False), (3600.0, True))
    """
    try:
        date = datetime.fromisoformat(text.strip().replace("/", "-"))
        # Eight digits could be either; as in tables they are a date.
    except ValueError:
        return _number(text), False
    if date.tzinfo is not None:
        date = date.astimezone(ZoneInfo(zone) if zone else UTC).replace(tzinfo=None)
    return (date - _EPOCH).total_seconds(), True


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if value - value != 0:
        fact = f"{text!r} is no date and no number"
        raise DataError(message("time stamp", fact, hint="dates as 2016-07-01 or 2016-07-01 00:15:00."))
    return value
