"""Every classic task by name, in the order in which one would teach them."""

from __future__ import annotations

from recurra.base.registry import Registry
from recurra.tasks.classic.adding import ADDING
from recurra.tasks.classic.benchmark import Benchmark
from recurra.tasks.classic.chorales import CHORALES
from recurra.tasks.classic.copy_memory import COPY_MEMORY
from recurra.tasks.classic.counting import COUNTING
from recurra.tasks.classic.digits import PERMUTED_DIGITS, PIXEL_DIGITS
from recurra.tasks.classic.lorenz import LORENZ
from recurra.tasks.classic.machine import ASSOCIATIVE_RECALL, NTM_COPY, REPEAT_COPY
from recurra.tasks.classic.mackey_glass import MACKEY_GLASS
from recurra.tasks.classic.narma10 import NARMA10
from recurra.tasks.classic.random_walk import RANDOM_WALK
from recurra.tasks.classic.reber import EMBEDDED_REBER, REBER
from recurra.tasks.classic.sines import SINES
from recurra.tasks.classic.syllables import LETTERS, SYLLABLES
from recurra.tasks.classic.temporal_order import TEMPORAL_ORDER
from recurra.tasks.classic.timing import GENERATE_SPIKES, MEASURE_SPIKES, PERIODIC
from recurra.tasks.classic.xor_sequence import XOR_SEQUENCE

__all__ = ["TASKS"]

TASKS: Registry[Benchmark] = Registry("task")
for _task in (
    SYLLABLES,
    LETTERS,
    XOR_SEQUENCE,
    REBER,
    EMBEDDED_REBER,
    TEMPORAL_ORDER,
    ADDING,
    COPY_MEMORY,
    COUNTING,
    MEASURE_SPIKES,
    GENERATE_SPIKES,
    PERIODIC,
    PIXEL_DIGITS,
    PERMUTED_DIGITS,
    CHORALES,
    SINES,
    MACKEY_GLASS,
    LORENZ,
    NARMA10,
    RANDOM_WALK,
    NTM_COPY,
    REPEAT_COPY,
    ASSOCIATIVE_RECALL,
):
    TASKS.add(_task.name, _task)
