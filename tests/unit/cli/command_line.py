"""What the tests of the command line share: a small text, the smallest run, and what a command ends with."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

TEXT = "the cat sat on a mat and the dog ran to see what the cat had seen there again"
TINY = [
    *("--hidden", "8", "--layers", "1", "--embedding", "4", "--batch", "4", "--chunk", "10", "--iterations", "8"),
    *("--set", "train.evaluate_every=4", "--set", "train.checkpoint_every=2", "--set", "train.sample_at=[3, 6]"),
    *("--set", "train.log_every=1", "--set", "sample.length=20", "--set", "data.baseline_order=3", "--threads", "1"),
]


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Recurra = Callable[..., Ended]
