"""When something happens beside the updates: a rule over iterations, and what is then called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import nn

from recurra.training.average import Average

__all__ = ["Callback", "When", "at", "every", "looking"]

When = Callable[[int], bool]


class Callback(NamedTuple):
    """`call(trainer)` after each iteration for which `when(iteration)` holds.

    It runs as `looking` says, so that what it does changes nothing about the training.
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


@contextmanager
def looking(model: nn.Module, average: Average | None, device: torch.device) -> Iterator[None]:
    """Evaluation mode, averaged weights, no gradients; afterwards model and random numbers are as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.no_grad(), average.applied(model) if average else nullcontext():
        model.eval()
        try:
            yield
        finally:
            model.train()
