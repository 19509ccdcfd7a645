"""From settings to a parser and back: options, inputs and their help are read from the marks at the fields."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recurra.base import config
from recurra.base.code import load_code
from recurra.base.config import Settings
from recurra.base.errors import ConfigError, message
from recurra.base.option import Setting, inputs_of, options_of, override
from recurra.cli.spool import spooled

__all__ = [
    "add_inputs",
    "add_options",
    "add_output",
    "input_files",
    "load_named_code",
    "options_from",
    "overrides_from",
    "settings_of_words",
]


def add_options(parser: Any, kind: type[Settings], *, defaults: bool = True, but: Sequence[str] = ()) -> None:
    """Add an option for each setting that is marked as one, `but` some; `defaults`: say what they are."""
    for name, setting in options_of(kind).items():
        if name in but:
            continue
        about = _help(setting, defaults)
        flag, dest = f"--{name}", _dest(name)
        if setting.default is False:
            parser.add_argument(flag, dest=dest, action="store_const", const="true", help=about)
        elif setting.default is True:
            parser.add_argument(flag, dest=dest, action=argparse.BooleanOptionalAction, help=about)
        else:
            metavar = (setting.option.metavar if setting.option else "") or name.upper()
            parser.add_argument(flag, dest=dest, metavar=metavar, help=about)


def add_inputs(parser: Any, kind: type[Settings], *, but: Sequence[str] = ()) -> None:
    """Add the files that the settings name: by position, or as options that are not called as one of `but`."""
    for setting in inputs_of(kind):
        mark = setting.input
        if setting.name in but:
            continue
        if mark is not None and mark.name:
            count = "+" if setting.several else None
            parser.add_argument(
                f"--{mark.name}", dest=_dest(mark.name), metavar=mark.metavar, nargs=count, help=_help(setting, False)
            )
        elif mark is not None:
            count = "*" if setting.several else "?"
            parser.add_argument(_dest(setting.name), metavar=mark.metavar, nargs=count, help=_help(setting, False))


def add_output(parser: Any, *, progress: str = "no progress") -> None:
    """Add what every command has that gives a result."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON, nothing else")
    parser.add_argument("--quiet", action="store_true", help=progress)


def overrides_from(arguments: argparse.Namespace, kind: type[Settings], *, but: Sequence[str] = ()) -> list[str]:
    """Return `key=value` for every option that was typed; a cell of the user's own is loaded on the way."""
    overrides = []
    for name, setting in options_of(kind).items():
        value = getattr(arguments, _dest(name), None)
        if value is None or name in but:
            continue
        if name == "cell" and ":" in str(value):
            value = load_code(str(value)).reference
        overrides.append(override(setting, str(value).lower() if isinstance(value, bool) else value))
    return overrides


def input_files(
    arguments: argparse.Namespace, kind: type[Settings], folder: Path | None = None, *, but: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the files that were typed by the dotted name of their setting; pipes are stored in `folder`."""
    files: dict[str, Any] = {}
    for setting in inputs_of(kind):
        typed = getattr(arguments, _dest(setting.name), None)
        if typed and setting.name not in but:
            paths = [spooled(path, folder) for path in ([typed] if isinstance(typed, str) else typed)]
            files[setting.path] = paths if setting.several else paths[0]
    return files


def options_from(arguments: argparse.Namespace, kind: type[Settings], where: str) -> Any:
    """Return the options of a verb; ConfigError with every fault."""
    return config.parse(kind, {}, overrides_from(arguments, kind), where)


def settings_of_words(
    kind: type[Settings],
    overrides: Iterable[str],
    files: Mapping[str, Any],
    source: Path | str | None = None,
    where: str = "settings",
) -> Any:
    """Return defaults, over them a TOML file, `key=value`, and files; ConfigError with every fault at once."""
    named = [f"{path}={json.dumps(value, ensure_ascii=False)}" for path, value in files.items()]
    if source:
        return config.load(kind, source, [*overrides, *named])
    return config.parse(kind, {}, [*overrides, *named], where)


def load_named_code(words: Sequence[str]) -> None:
    """Import the user's own tasks and cells that `--code` names, before anything looks them up."""
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name != "--code":
            continue
        if not equals and index + 1 == len(words):
            hint = "--code mine.py:Mine"
            raise ConfigError(message("--code", "names no code", hint=hint))
        load_code(value if equals else words[index + 1])


def _dest(name: str) -> str:
    return f"setting_{name.replace('-', '_')}"


def _help(setting: Setting, defaults: bool) -> str:
    doc = setting.doc[:1].lower() + setting.doc[1:] if setting.doc[1:2].islower() else setting.doc
    doc = doc.rstrip(".")
    if defaults:
        shown = (setting.option.shown if setting.option else "") or _shown(setting.default)
        if shown:
            doc += f" (default {shown})"
    return doc.replace("%", "%%")


def _shown(default: Any) -> str:
    if isinstance(default, bool) or default is None:
        return ""
    if isinstance(default, tuple):
        return ",".join(f"{value:g}" if isinstance(value, float) else str(value) for value in default)
    return f"{default:g}" if isinstance(default, float) else str(default)
