"""Settings that are options of a command, or name a file: said once, at the field, and read from there by everybody.

    class NetSettings(Settings, frozen=True):
        hidden: Annotated[Positive, Option()] = 64
        \"\"\"Units per layer.\"\"\"

gives `--hidden HIDDEN  Units per layer. (default 64)`, the row of the reference and the argument of the estimator.
Does not import torch.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

__all__ = ["Input", "Option", "Setting", "field_docs", "inputs_of", "options_of", "override", "settings_of", "value_at"]


@dataclass(frozen=True)
class Option:
    """Mark of a setting that is an option of the command line.

    Args:
        name: what stands behind the dashes; empty: the name of the field, underscores as dashes.
        metavar: the placeholder of its value in the help; empty: the name in capitals.
        shown: what the help prints as the default where the value itself says nothing ("inferred").

    """

    name: str = ""
    metavar: str = ""
    shown: str = ""


@dataclass(frozen=True)
class Input:
    """Mark of a setting that names a file which the task reads (a tuple: several files).

    Args:
        name: an option of this name; empty: an argument by position.
        metavar: the placeholder in the help.
        evaluates: whether an evaluation of other data has this file too (test cases of a training have not).

    """

    name: str = ""
    metavar: str = "FILE"
    evaluates: bool = True


@dataclass(frozen=True)
class Setting:
    """One setting of a tree of settings, with all that is said of it."""

    path: str
    """Its dotted name, as `--set` takes it."""
    type: Any
    """Its type, annotations included."""
    default: Any
    doc: str
    """The docstring of its field, on one line."""
    option: Option | None
    input: Input | None

    @property
    def name(self) -> str:
        """The name of its option or input."""
        mark = self.option or self.input
        return (mark.name if mark else "") or self.path.rpartition(".")[2].replace("_", "-")

    @property
    def several(self) -> bool:
        """Whether the value is a tuple."""
        return isinstance(self.default, tuple)


@cache
def settings_of(kind: type[msgspec.Struct]) -> tuple[Setting, ...]:
    """Every setting of a struct and of the structs in it, in the order of their fields.

    A field that a subclass gives another default keeps the docstring and the mark of the field that it replaces.
    """
    return tuple(_walk(kind, kind(), ""))


def options_of(kind: type[msgspec.Struct]) -> dict[str, Setting]:
    """The settings that are options, by the name of the option."""
    return {setting.name: setting for setting in settings_of(kind) if setting.option}


def inputs_of(kind: type[msgspec.Struct]) -> list[Setting]:
    """The settings that name files to read, those by position first."""
    marked = [setting for setting in settings_of(kind) if setting.input]
    return sorted(marked, key=lambda setting: bool(setting.input and setting.input.name))


def value_at(settings: msgspec.Struct, path: str) -> Any:
    """The value under a dotted name."""
    value: Any = settings
    for name in path.split("."):
        value = getattr(value, name)
    return value


def override(setting: Setting, text: Any) -> str:
    """The `key=value` that stands for what was typed; the values of a tuple stand between commas."""
    if setting.several and isinstance(text, str) and not text.lstrip().startswith("["):
        text = [part.strip() for part in text.split(",") if part.strip()]
        if get_args(_bare(setting.type))[:1] == (str,):
            return f"{setting.path}={msgspec.json.encode(text).decode()}"
        return f"{setting.path}=[{', '.join(text)}]"
    if isinstance(text, (list, tuple)):
        return f"{setting.path}={json.dumps([*text], ensure_ascii=False)}"
    if _bare(setting.type) is str:
        # Quoted: blanks at its ends are the user's, and 7 is a text too.
        text = json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"{setting.path}={text}"


def field_docs(kind: type) -> Mapping[str, str]:
    """Field -> its docstring on one line, those of base classes included."""
    docs: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base.__module__ in sys.modules and base not in (object, msgspec.Struct):
            docs |= _docs_of(base.__module__).get(base.__qualname__, {})
    return docs


def _walk(kind: type[msgspec.Struct], standing: msgspec.Struct, prefix: str) -> Iterator[Setting]:
    docs, hints = field_docs(kind), [_hints(base) for base in kind.__mro__ if issubclass(base, msgspec.Struct)]
    for field in msgspec.structs.fields(kind):
        value, path = getattr(standing, field.name), prefix + field.encode_name
        if isinstance(value, msgspec.Struct):
            yield from _walk(type(value), value, f"{path}.")
            continue
        marks = [mark for own in hints for mark in _marks(own.get(field.name))]
        option = next((mark for mark in marks if isinstance(mark, Option)), None)
        file = next((mark for mark in marks if isinstance(mark, Input)), None)
        yield Setting(path, field.type, value, docs.get(field.name, ""), option, file)


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    """The annotations that a class itself has, resolved."""
    own = vars(kind).get("__annotations__", {})
    return {name: hint for name, hint in get_type_hints(kind, include_extras=True).items() if name in own}


def _marks(hint: Any) -> tuple[Any, ...]:
    return get_args(hint)[1:] if get_origin(hint) is Annotated else ()


def _bare(hint: Any) -> Any:
    return _bare(get_args(hint)[0]) if get_origin(hint) is Annotated else hint


@cache
def _docs_of(module: str) -> Mapping[str, Mapping[str, str]]:
    """Class -> field -> docstring, from the source of a module; nothing where there is no source."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError, SyntaxError):
        return {}
    docs: dict[str, dict[str, str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            pairs = zip(node.body, node.body[1:], strict=False)
            docs[node.name] = {
                field.target.id: " ".join(str(text.value.value).split())
                for field, text in pairs
                if isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            }
    return docs
