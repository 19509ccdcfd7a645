"""Code of the user's own: tasks and cells named as `mine.py:Name` or `package.module:Name`, or installed by a package.

Only a reference that the user typed is ever imported (`load_code`). A name that comes from a file (the settings of a
run folder) is looked up among the classes that were loaded (`named`), and installed packages are asked through their
entry points (`entry_point`). This module does not import torch.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import linecache
import sys
import traceback
from collections.abc import Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

import msgspec

from recurra.base.errors import ConfigError, UnknownName, message, nearest

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = [
    "Code",
    "Origin",
    "changed",
    "entry_point",
    "has_entry_point",
    "is_loaded",
    "load_code",
    "loaded_references",
    "named",
    "origin",
    "reference_of",
    "register",
]


class Origin(msgspec.Struct, frozen=True):
    """The source of a class, for the notes of a run; it contains no path of this machine."""

    module: str
    """The dotted module; for a file that is no module, the name of the file."""
    name: str
    """The class."""
    file: str | None = None
    """The name of the source file, without its folder."""
    version: str | None = None
    """The version of the installed package that contains the module."""
    digest: str | None = None
    """BLAKE2b of the source file (not of the modules that it imports), 16 bytes in hexadecimal."""


class Code(msgspec.Struct, frozen=True):
    """A class that the user named."""

    reference: str
    """The name of the class in settings: `mine.py:Name`, without the folder, or `package.module:Name`."""
    thing: Any
    """The class."""
    origin: Origin
    path: str
    """The absolute path of the source file; empty for a class without one."""


_LOADED: list[Code] = []


def load_code(reference: str, kind: type | None = None) -> Code:
    """Import the class that the user named, and enter it for `named`.

    The file or module is executed: never call this with a reference that was read from a file.

    Args:
        reference: `path/to/mine.py:Name` or `package.module:Name`.
        kind: the class that it must be a subclass of; None: any class.

    Raises:
        ConfigError: for a reference of another form, a file or module that does not exist or fails, a name that it does
            not have, and a class of another kind.

    """
    source, colon, name = reference.rpartition(":")
    if not colon or not source or not name:
        hint = "path/to/mine.py:Name or package.module:Name"
        raise ConfigError(message(reference or "''", "is no reference to a class of a file or module", hint=hint))
    is_file = source.endswith(".py")
    module, content = _file(source, reference) if is_file else (_module(source, reference), None)
    if not hasattr(module, name):
        fact = f"has no {name!r}"
        raise ConfigError(message(source, fact, _list(nearest(name, _classes(module, kind)), "It has")))
    thing = _checked(reference, getattr(module, name), kind)
    path = getattr(module, "__file__", None) or ""
    file = Path(path).name
    if is_file:
        # Of the content that was run, whatever the file contains by now.
        source_of_class = Origin(file, name, file, digest=_digest(content))
    else:
        source_of_class = Origin(source, name, file or None, _version(source), _digest_of(path))
    return _enter(_normal(reference), thing, source_of_class, path)


def loaded_references() -> list[str]:
    """Return a reference of every loaded class, by which another process on this machine can load it."""
    return [
        f"{code.path}:{code.origin.name}" if _is_file(code.reference) else code.reference
        for code in _LOADED
        if code.path or not _is_file(code.reference)
    ]


def reference_of(thing: type, *, typed: bool = False) -> str:
    """Return the reference of a class as settings have it; with `typed` as a command line on this machine takes it."""
    code = next((code for code in _LOADED if code.thing is thing), None) or register(thing)
    if not typed or not _is_file(code.reference) or not code.path:
        return code.reference
    path = Path(code.path)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}:{code.origin.name}"


def register(thing: type) -> Code:
    """Enter a class that exists already, from a notebook or a test; its reference is `module:Name`.

    A class of the script that is running becomes `script.py:Name`, by which `load_code` can load it later.
    """
    if not isinstance(thing, type):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(message("register", f"takes a class, got {thing!r}"))
    source = _origin_of(thing)
    module = source.file if thing.__module__ == "__main__" and source.file else thing.__module__
    return _enter(f"{module}:{thing.__qualname__}", thing, source, _path_of(thing))


def named(reference: str, word: str, kind: type | None = None) -> Any:
    """Return the class of a reference, if the user loaded it; nothing is imported.

    A file is recognised by its name and the class, wherever it is.

    Args:
        reference: as in the settings.
        word: what it names, for the message: "cell", "task".
        kind: the class that it must be a subclass of; None: any class.

    Raises:
        UnknownName: where the class is not loaded; the message says how to load it.
        ConfigError: where different classes of this name are loaded, or the class is of another kind.

    """
    reference = _normal(reference)
    matches = {code.origin.digest or code.path: code for code in _LOADED if code.reference == reference}
    if len(matches) > 1:
        details = [f"{code.path} (digest {code.origin.digest})" for code in matches.values()]
        fact = f"{len(matches)} different classes are loaded as {reference}"
        raise ConfigError(message(word, fact, *details, hint=f"load one of them: --code path/to/{reference}"))
    if not matches:
        example = f"path/to/{reference}" if _is_file(reference) else reference
        fact = f"{reference} is not loaded; code is imported only where you name it yourself"
        details = _list([code.reference for code in _LOADED], "Loaded") if _LOADED else ""
        hint = f"--code {example} (in Python: recurra.base.code.load_code({example!r}))"
        raise UnknownName(message(word, fact, details, hint=hint))
    return _checked(reference, next(iter(matches.values())).thing, kind)


def is_loaded(reference: str) -> bool:
    """Return whether the user loaded a class of this reference."""
    reference = _normal(reference)
    return any(code.reference == reference for code in _LOADED)


def entry_point(group: str, name: str, kind: type | None = None) -> Any:
    """Return the class that an installed package offers under a name; None where no package does.

    Args:
        group: "recurra.cells" or "recurra.tasks".
        name: of the entry point.
        kind: the class that it must be a subclass of; None: any class.

    Raises:
        ConfigError: where two packages offer the name, the package cannot be imported, or the class is of another kind.

    """
    points = _entry_points(group, name)
    if not points:
        return None
    if len({point.value for point in points}) > 1:
        details = [f"{point.dist.name if point.dist else 'a package'}: {point.value}" for point in points]
        hint = f"name the class instead: {points[0].value}, with --code {points[0].value}"
        raise ConfigError(message(name, f"{len(points)} installed packages offer this name", *details, hint=hint))
    point = points[0]
    try:
        thing = point.load()
    except Exception as error:
        package = point.dist.name if point.dist else "the package"
        fact = f"{package} offers {point.value}, which cannot be imported"
        raise ConfigError(message(name, fact, *_failure(error))) from error
    return _checked(f"{name} ({point.value})", thing, kind)


def has_entry_point(group: str, name: str) -> bool:
    """Return whether an installed package offers a name, without importing the package."""
    return bool(_entry_points(group, name))


def origin(thing: Any) -> Origin:
    """Return the source of a class, or of the class of an object."""
    cls: type = thing if isinstance(thing, type) else type(thing)
    loaded = next((code for code in reversed(_LOADED) if code.thing is cls), None)
    return loaded.origin if loaded else _origin_of(cls)


def changed(before: Mapping[str, Any], thing: Any) -> str:
    """Return a sentence where the source file of a class differs from a run's note of it; else an empty text.

    Args:
        before: the `Origin` in the notes of the run, as plain data.
        thing: the class now. Classes of Recurra itself are not compared: run folders have a version of their own.

    """
    now, digest = origin(thing), before.get("digest")
    if not digest or not now.digest or digest == now.digest or now.module.partition(".")[0] == "recurra":
        return ""
    source = now.file or now.module
    return f"{source} has changed since this run was trained (digest {digest} then, {now.digest} now)"


class _Loader(SourceFileLoader):
    """Loads the source that was hashed, past the bytecode cache, which two edits within a second can deceive."""

    def __init__(self, name: str, path: str, content: bytes) -> None:
        super().__init__(name, path)
        self.content = content

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002
        return self.source_to_code(self.content, self.path)


def _file(source: str, reference: str) -> tuple[ModuleType, bytes]:
    path = Path(source).expanduser().resolve()
    try:
        content = path.read_bytes()
    except OSError as error:
        hint = f"{path} is the path that was tried" if not path.exists() else None
        raise ConfigError(message(reference, f"cannot read {source}: {error.strerror}", hint=hint)) from error
    # Two files of the same name are two modules, and an edited file is a new one.
    identity = _digest(str(path).encode() + b"\0" + content)
    name = f"recurra_code_{path.stem}_{identity}"
    if name in sys.modules:
        return sys.modules[name], content
    loader = _Loader(name, str(path), content)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None:
        raise ConfigError(message(reference, f"{source} is no Python file"))
    module = importlib.util.module_from_spec(spec)
    linecache.checkcache(str(path))
    # Dataclasses, pickle and inspect look their module up.
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, (Exception, SystemExit)):
            raise
        fact = f"{source} fails when it is imported"
        raise ConfigError(message(reference, fact, *_failure(error, path), hint=_beside(error, path))) from error
    return module, content


def _module(source: str, reference: str) -> ModuleType:
    try:
        return importlib.import_module(source)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{source}.".startswith(f"{error.name}."):
            path = Path(*source.split(".")).with_suffix(".py")
            hint = f"{path}:{reference.rpartition(':')[2]} names the file" if path.exists() else None
            raise ConfigError(message(reference, f"no module is called {error.name}", hint=hint)) from error
        raise ConfigError(message(reference, f"{source} fails when it is imported", *_failure(error))) from error


def _failure(error: BaseException, path: Path | None = None) -> list[str]:
    """File, line and text of an exception: the last line in the user's file, or the last line at all."""
    text = str(error)
    if isinstance(error, SyntaxError) and error.filename:
        text, file, line = error.msg, error.filename, error.lineno
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_import(frame.filename)]
        own = [frame for frame in frames if path is not None and frame.filename == str(path)] or frames
        file, line = (own[-1].filename, own[-1].lineno) if own else (None, None)
    position = f"{file}, line {line}: " if file else ""
    return f"{position}{type(error).__name__}: {text}".splitlines()


def _is_import(filename: str) -> bool:
    return filename in (__file__, importlib.__file__) or filename.startswith("<frozen importlib")


def _beside(error: BaseException, path: Path) -> str | None:
    """A file of one's own imports its neighbour as a script does; here its folder is not on the path."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    neighbour = path.parent / error.name.partition(".")[0]
    if not neighbour.is_dir() and not neighbour.with_suffix(".py").exists():
        return None
    return f"{neighbour.name} is in the folder of {path.name}, which is not on the path: PYTHONPATH={path.parent}"


def _checked(reference: str, thing: Any, kind: type | None) -> Any:
    expected = f"a subclass of {kind.__name__}" if kind else "a class"
    if not isinstance(thing, type):
        raise ConfigError(message(reference, f"must be {expected}, is {type(thing).__name__} {thing!r}"))
    if kind is not None and not issubclass(thing, kind):
        bases = ", ".join(base.__name__ for base in thing.__bases__)
        raise ConfigError(message(reference, f"must be {expected}, is the class {thing.__name__}({bases})"))
    return thing


def _classes(module: ModuleType, kind: type | None) -> list[str]:
    """The classes that a module defines itself, those of a kind only where it has some."""
    classes = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__
    }
    return [name for name, value in classes.items() if kind and issubclass(value, kind)] or list(classes)


def _list(names: list[str], head: str) -> str:
    return f"{head}: {', '.join(names[:8])}." if names else f"{head}: no class."


def _enter(reference: str, thing: Any, source: Origin, path: str) -> Code:
    code = Code(reference, thing, source, path)
    # The newest of an edited file is the one that is meant.
    _LOADED[:] = [other for other in _LOADED if (other.reference, other.path) != (reference, path)]
    _LOADED.append(code)
    return code


def _normal(reference: str) -> str:
    source, _, name = reference.rpartition(":")
    return f"{Path(source).name}:{name}" if source.endswith(".py") else reference


def _is_file(reference: str) -> bool:
    return reference.rpartition(":")[0].endswith(".py")


def _entry_points(group: str, name: str) -> list[EntryPoint]:
    # Late: few start-ups need it.
    from importlib.metadata import entry_points

    return list(entry_points(group=group, name=name))


def _origin_of(cls: type) -> Origin:
    path = _path_of(cls)
    file = Path(path).name or None
    is_file = cls.__module__.startswith("recurra_code_") and file
    module = file if is_file and file else cls.__module__
    return Origin(module, cls.__qualname__, file, None if is_file else _version(cls.__module__), _digest_of(path))


def _path_of(cls: type) -> str:
    return getattr(sys.modules.get(cls.__module__), "__file__", None) or ""


def _digest(content: bytes | None) -> str | None:
    return None if content is None else hashlib.blake2b(content, digest_size=16).hexdigest()


def _digest_of(path: str) -> str | None:
    try:
        return _digest(Path(path).read_bytes()) if path else None
    except OSError:
        return None


def _version(module: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, packages_distributions, version

    package = module.partition(".")[0]
    try:
        return version(package)
    except (PackageNotFoundError, ValueError):
        distributions = packages_distributions().get(package)
        return version(distributions[0]) if distributions else None
