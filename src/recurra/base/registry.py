"""A name for each thing that can be chosen: cells, initialisers, optimisers, tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from recurra.base.errors import UnknownName, message, nearest

__all__ = ["Registry"]

Thing = TypeVar("Thing")


class Registry(Generic[Thing]):
    """Name -> thing; an unknown name lists what exists, nearest first.

    >>> colours = Registry("colour")
    >>> _ = colours.add("red", 0xFF0000)
    >>> colours["red"]
    16711680
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
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
        if name not in self._things:
            known = ", ".join(nearest(name, self._things))
            raise UnknownName(message(self.kind, f"no {self.kind} is called {name!r}", f"There are: {known}."))
        return self._things[name]

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)

    def items(self) -> Iterator[tuple[str, Thing]]:
        """Pairs in the order they were entered."""
        return iter(self._things.items())
