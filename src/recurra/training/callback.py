"""When something happens beside the updates: a rule over iterations, and what is then called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Callback", "When", "at", "every"]

When = Callable[[int], bool]


class Callback(NamedTuple):
    """`call(trainer)` after each iteration for which `when(iteration)` holds.

    It runs in evaluation mode, without gradients and on random numbers of its own, so that looking changes nothing.
    """

    when: When
    call: Callable[[Any], None]


def every(iterations: int) -> When:
    """At every so many iterations; never where that is 0."""
    return lambda iteration: bool(iterations) and iteration % iterations == 0


def at(*iterations: int, then: int = 0) -> When:
    """At these iterations, and after the last of them at the multiples of `then`.

    >>> when = at(100, 300, 700, 2000, then=5000)
    >>> [iteration for iteration in range(1, 10_001) if when(iteration)]
    [100, 300, 700, 2000, 5000, 10000]
    """
    chosen = frozenset(iterations)
    last = max(chosen, default=0)
    return lambda iteration: iteration in chosen or (bool(then) and iteration > last and iteration % then == 0)
