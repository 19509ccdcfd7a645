"""Settings laid over a task's own defaults, also those inside its parts."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from recurra.base import config

__all__ = ["laid_over", "settings_from"]

_FORMAT_KEY = "config_format"

Kind = TypeVar("Kind", bound=msgspec.Struct)


def settings_from(
    kind: type[Kind], overrides: Iterable[str] = (), source: Path | str | None = None, where: str = "settings"
) -> Kind:
    """The defaults of a task, over them a TOML file, over that `key=value`.

    A file or override that names one value of `train` leaves the task's other ones as they are. Raises ConfigError with
    every fault.
    """
    values = config.to_dict(kind())
    if source is None:
        return config.parse(kind, values, overrides, where)
    try:
        given = tomllib.loads(Path(source).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        given = {_FORMAT_KEY: None}
    if given.pop(_FORMAT_KEY, config.FORMAT) != config.FORMAT:
        # Cannot be read, or of another format: the loader says what is wrong.
        return config.load(kind, source, overrides)
    return config.parse(kind, laid_over(values, given), overrides, str(source))


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """The union of two trees; where both have a value, the upper one's.

    >>> laid_over({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
    {'a': {'b': 1, 'c': 3}}
    """
    found = dict(below)
    for name, value in above.items():
        before = found.get(name)
        found[name] = laid_over(before, value) if isinstance(before, dict) and isinstance(value, Mapping) else value
    return found
