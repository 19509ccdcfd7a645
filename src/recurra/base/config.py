"""Settings: a msgspec Struct <-> a TOML file <-> `key=value` on the command line.

Every fault of a file is found and reported at once, each with its dotted path. Does not import torch.
"""

from __future__ import annotations

import re
import tomllib
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import msgspec
import tomli_w

from recurra.base.errors import ConfigError, message, nearest
from recurra.base.files import write_text

__all__ = ["FORMAT", "Settings", "load", "parse", "save", "to_dict"]

FORMAT = 1
"""The version of the files that `save` writes; it goes up when an old file would be misread."""

_FORMAT_KEY = "config_format"
_NONE = "none"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every group of settings derives from: immutable, named fields, nothing unknown accepted.

    Ranges go into the type (`Annotated[int, msgspec.Meta(ge=1)]`); what depends on several fields is checked in
    `__post_init__`, which raises ValueError with the bare fact. A subclass says `frozen=True` again: type checkers
    do not inherit it.
    """


Kind = TypeVar("Kind", bound=msgspec.Struct)


class _Raw(str):
    """The right side of `key=value`: its type is only known once the field is."""

    __slots__ = ()


def load(kind: type[Kind], path: Path | str, overrides: Iterable[str] = ()) -> Kind:
    """Read settings of `kind` from a TOML file, then apply `overrides` such as `"optimiser.rate=1e-3"`.

    Raises ConfigError naming every fault: a missing or malformed file, another format version, unknown keys (with the
    nearest names), wrong types and values out of range.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(message(str(path), f"could not be read: {error.strerror or error}")) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            message(str(path), f"is not UTF-8: byte {error.object[error.start]:#04x} at offset {error.start}")
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(message(str(path), f"is not TOML: {error}")) from error
    version = values.pop(_FORMAT_KEY, FORMAT)
    if version != FORMAT:
        raise ConfigError(
            message(
                str(path),
                f"is of config format {version!r}, this Recurra reads format {FORMAT}",
                hint="read it with the Recurra that wrote it, or remove the line "
                f"`{_FORMAT_KEY}` and mend what is then reported.",
            )
        )
    return parse(kind, values, overrides, where=str(path))


def parse(kind: type[Kind], values: Mapping[str, Any], overrides: Iterable[str] = (), where: str = "settings") -> Kind:
    """Settings of `kind` from a nested dict, then `key=value` overrides; `where` opens the error message.

    >>> class Net(Settings, frozen=True):
    ...     hidden: Annotated[int, msgspec.Meta(ge=1)] = 256
    >>> parse(Net, {}, ["hidden=64"])
    Net(hidden=64)
    """
    faults: list[str] = []
    tree = _copy(values)
    for override in overrides:
        _apply(tree, override, faults)
    settings = _struct(kind, tree, "", faults)
    if faults:
        count = "1 setting is" if len(faults) == 1 else f"{len(faults)} settings are"
        raise ConfigError(message(where, f"{count} wrong", *faults))
    return cast(Kind, settings)


def to_dict(settings: msgspec.Struct) -> dict[str, Any]:
    """The settings as nested plain values, as they stand in a file; an unset optional one is left out."""
    return _plain(settings)


def save(settings: msgspec.Struct, path: Path | str) -> None:
    """Write the settings as TOML, whole or not at all; `load` gives an equal value back."""
    write_text(Path(path), tomli_w.dumps({_FORMAT_KEY: FORMAT, **to_dict(settings)}))


def _plain(settings: msgspec.Struct) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    tag = settings.__struct_config__.tag
    if tag is not None:
        plain[settings.__struct_config__.tag_field or "type"] = tag
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        if value is None:
            # TOML has no null. Leaving the key out says None only where None is the default.
            if field.default is not None:
                plain[field.encode_name] = _NONE
        else:
            plain[field.encode_name] = (
                _plain(value) if isinstance(value, msgspec.Struct) else msgspec.to_builtins(value)
            )
    return plain


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _copy(cast(Mapping[str, Any], value)) if isinstance(value, Mapping) else value
        for key, value in values.items()
    }


def _apply(tree: dict[str, Any], override: str, faults: list[str]) -> None:
    name, equals, text = override.partition("=")
    name = name.strip()
    if not equals or not name:
        faults.append(f"{override!r}: an override reads key=value, for example hidden=256")
        return
    *groups, last = name.split(".")
    for depth, group in enumerate(groups):
        inner = tree.setdefault(group, {})
        if not isinstance(inner, dict):
            faults.append(f"{name}: {'.'.join(groups[: depth + 1])} is a value, not a group of settings")
            return
        tree = cast(dict[str, Any], inner)
    tree[last] = _Raw(text.strip())


def _struct(
    kind: type[msgspec.Struct],
    values: dict[str, Any],
    path: str,
    faults: list[str],
    standing: msgspec.Struct | None = None,
) -> msgspec.Struct | None:
    """The settings in `values`; what they do not say is as in `standing`, the group's default in the one above."""
    fields = msgspec.structs.fields(kind)
    known = [field.encode_name for field in fields]
    before = len(faults)
    for key in values:
        if key not in known and key != kind.__struct_config__.tag_field:
            faults.append(f"{path}{key}: no such setting; there are: {', '.join(nearest(key, known))}")
    given: dict[str, Any] = {}
    for field in fields:
        default = _default(field) if standing is None else getattr(standing, field.name)
        if field.encode_name in values:
            given[field.name] = _value(field.type, values[field.encode_name], path + field.encode_name, faults, default)
        elif standing is not None:
            given[field.name] = default
        elif field.required:
            faults.append(f"{path}{field.encode_name}: is missing and has no default")
    if len(faults) > before:
        return None
    try:
        return kind(**given)
    except (ValueError, TypeError) as error:
        faults.append(f"{path.rstrip('.') or kind.__name__}: {error}")
        return None


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    return None if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _value(expected: Any, value: Any, path: str, faults: list[str], default: Any = None) -> Any:
    kinds, optional = _structs_of(expected)
    if isinstance(value, str) and value.lower() == _NONE and optional:
        return None
    if isinstance(value, dict) and kinds:
        chosen = _tagged(kinds, cast(dict[str, Any], value), path, faults, default)
        standing = default if type(default) is chosen else None
        return _struct(chosen, cast(dict[str, Any], value), f"{path}.", faults, standing) if chosen else None
    attempts: list[Any] = _readings(value) if isinstance(value, _Raw) else [value]
    fault = ""
    for attempt in attempts:
        try:
            return msgspec.convert(attempt, expected, strict=True)
        except msgspec.ValidationError as error:
            # The first reading is the one the user meant; a bare string is only tried after it.
            fault = fault or _fault(path, str(error), attempt, _choices(expected))
    faults.append(fault)
    return None


def _readings(raw: _Raw) -> list[Any]:
    """What the text of an override can mean: a TOML value where it is one, else (or failing that) the text itself."""
    try:
        return [tomllib.loads(f"value = {raw}")["value"], str(raw)]
    except tomllib.TOMLDecodeError:
        return [str(raw)]


def _choices(expected: Any) -> list[str]:
    """The words that a Literal type allows."""
    if get_origin(expected) is Annotated:
        return _choices(get_args(expected)[0])
    return [str(choice) for choice in get_args(expected)] if get_origin(expected) is Literal else []


def _fault(path: str, reason: str, value: Any, choices: list[str]) -> str:
    if choices:
        return f"{path}: no such choice as {value!r}; there are: {', '.join(nearest(str(value), choices))}"
    found = re.search(r" - at `\$(.*)`$", reason)
    if found:
        reason, path = reason[: found.start()], path + found.group(1)
    reason = re.sub(r", got `\w+`$", "", reason).replace("`object`", "a group of settings").replace("`array`", "a list")
    return f"{path}: {reason[0].lower()}{reason[1:]}, got {value!r}"


def _structs_of(expected: Any) -> tuple[list[type[msgspec.Struct]], bool]:
    """The Struct classes among the alternatives of a type, and whether None is one of them."""
    if get_origin(expected) is Annotated:
        return _structs_of(get_args(expected)[0])
    if get_origin(expected) in (Union, types.UnionType):
        parts = [_structs_of(part) for part in get_args(expected)]
        return [kind for kinds, _ in parts for kind in kinds], any(optional for _, optional in parts)
    if isinstance(expected, type) and issubclass(expected, msgspec.Struct):
        return [expected], False
    return [], expected is type(None)


def _tagged(
    kinds: list[type[msgspec.Struct]], values: dict[str, Any], path: str, faults: list[str], default: Any
) -> type[msgspec.Struct] | None:
    """The one Struct of a tagged union that `values` is about; where they do not say, that of the default."""
    if len(kinds) == 1:
        return kinds[0]
    if (kinds[0].__struct_config__.tag_field or "type") not in values:
        same = [kind for kind in kinds if type(default) is kind]
        if same:
            return same[0]
    tags = {str(kind.__struct_config__.tag): kind for kind in kinds}
    key = kinds[0].__struct_config__.tag_field or "type"
    tag = str(values.get(key, ""))
    if tag not in tags:
        fact = f"{path}.{key}: no such choice as {tag!r}" if tag else f"{path}.{key}: is missing"
        faults.append(f"{fact}; there are: {', '.join(nearest(tag, tags))}")
    return tags.get(tag)
