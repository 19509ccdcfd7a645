"""What the settings of every task begin with, and how they are put together. Without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from msgspec import Meta

from recurra.base import config
from recurra.base.config import Settings
from recurra.base.option import Option, inputs_of

__all__ = ["TaskSettings", "settings_from", "with_inputs"]


class TaskSettings(Settings, frozen=True):
    """What every task can be told; a task adds fields of its own, and other defaults."""

    task: str = ""
    """The task's name; not to be changed."""
    seed: Annotated[int, Option()] = 0
    """Seed of weights, dropout and order."""
    threads: Annotated[int, Meta(ge=0), Option()] = 0
    """CPU threads; 0: as torch chooses."""


Kind = TypeVar("Kind", bound=TaskSettings)


def settings_from(
    kind: type[Kind], overrides: Iterable[str] = (), source: Path | str | None = None, where: str = "settings"
) -> Kind:
    """Return the defaults of a task, over them a TOML file, over that `key=value`.

    Args:
        kind: the struct of the task's settings.
        overrides: `key=value` with dotted keys.
        source: a TOML file, such as a recipe or the config.toml of a run.
        where: what opens the message of an error.

    Raises:
        ConfigError: with every fault at once.

    """
    return config.load(kind, source, overrides) if source else config.parse(kind, {}, overrides, where)


def with_inputs(settings: Kind, files: Mapping[str, Any]) -> Kind:
    """Return the settings with other files to read: dotted name -> file or files; inputs that are not named are unset.

    >>> from recurra.tasks.classify.settings import ClassifySettings
    >>> with_inputs(ClassifySettings(), {"data.file": "cases.ts"}).data.file
    'cases.ts'
    """
    values = config.to_dict(settings)
    for setting in inputs_of(type(settings)):
        *groups, last = setting.path.split(".")
        group = values
        for name in groups:
            group = group.setdefault(name, {})
        group[last] = files.get(setting.path, setting.default)
    return config.parse(type(settings), values)
