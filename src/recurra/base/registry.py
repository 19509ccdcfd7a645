"""A name for each thing that can be chosen: cells, initialisers, optimisers, tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from recurra.base.code import entry_point, has_entry_point, is_loaded, named
from recurra.base.errors import UnknownName, message, nearest

__all__ = ["Registry"]

Thing = TypeVar("Thing")


class Registry(Generic[Thing]):
    """Name -> thing; an unknown name lists what exists, nearest first.

    >>> colours = Registry("colour")
    >>> _ = colours.add("red", 0xFF0000)
    >>> colours["red"]
    16711680

    With a `group`, names that are not registered are looked up too: `mine.py:Name` among the classes that the user
    loaded, any other name among the entry points of this group. Nothing is imported because a file names it. A
    registered name comes first, and iteration is over the registered names only.

    Args:
        kind: the word for what is registered, in messages.
        group: the entry points by which installed packages add to it; empty: neither packages nor users do.
        base: the class that classes of users and packages must be subclasses of.

    """

    def __init__(self, kind: str, group: str = "", base: type | None = None) -> None:
        self.kind, self.group, self.base = kind, group, base
        self._things: dict[str, Thing] = {}

    def add(self, name: str, thing: Thing) -> Thing:
        """Enter `thing` under `name`; two things cannot share a name."""
        if name in self._things and self._things[name] is not thing:
            raise ValueError(message(f"{self.kind} registry", f"{name!r} is taken already"))
        self._things[name] = thing
        return thing

    def register(self, name: str) -> Callable[[Thing], Thing]:
        """The decorator form of `add`."""
        return lambda thing: self.add(name, thing)

    def __getitem__(self, name: str) -> Thing:
        if name in self._things:
            return self._things[name]
        if self.group and ":" in name:
            return named(name, self.kind, self.base)
        thing = entry_point(self.group, name, self.base) if self.group else None
        if thing is not None:
            return thing
        known = ", ".join(nearest(name, self._things))
        hint = f"{name}:Name is the class Name of a file." if self.group and name.endswith(".py") else None
        raise UnknownName(message(self.kind, f"no {self.kind} is called {name!r}", f"There are: {known}.", hint=hint))

    def __contains__(self, name: object) -> bool:
        if name in self._things or not self.group or not isinstance(name, str):
            return name in self._things
        return is_loaded(name) if ":" in name else has_entry_point(self.group, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)

    def items(self) -> Iterator[tuple[str, Thing]]:
        """Pairs in the order they were entered."""
        return iter(self._things.items())
