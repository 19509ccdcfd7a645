"""What a wheel is built with: the engine and the cells it is asked for, for every instruction set of the platform.

Runs without torch, from setup.py.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from recurra.base.errors import EquationError
from recurra.equations.spec import CellSpec
from recurra.equations.transform import with_projection, with_recurrent_dropout, with_zoneout
from recurra.kernels.cpu.compiler import ENGINE, ISAS, build, digest, engine_sources
from recurra.kernels.cpu.emit import HEADER, source
from recurra.kernels.cpu.program import CellProgram
from recurra.kernels.cpu.schedule import Schedule
from recurra.kernels.plan import Hoist

__all__ = [
    "HOISTS",
    "PROGRAMS",
    "cell_key",
    "cell_sources",
    "extension_name",
    "isas",
    "prebuild",
    "schedules",
    "variants",
]

# Input products before the loop or inside it: the first is for few rows, the second for many and for single steps.
HOISTS: tuple[Hoist, ...] = ("products", "none")
PROGRAMS = ("forward", "infer", "backward")


def schedules(program: CellProgram) -> dict[str, Schedule]:
    """Every program of a cell by name."""
    return {name: getattr(program, name) for name in PROGRAMS}


def cell_key(text: str, real: str = "float") -> str:
    """What the functions of a cell are named by: a hash of their text."""
    return digest(text, real)


def variants(spec: CellSpec) -> Iterator[CellSpec]:
    """The spec as it is, and with the options of a layer that change its equations."""
    yield spec
    yield with_zoneout(spec, spec.states)
    if spec.recurrent_params:
        yield with_recurrent_dropout(spec)
        yield with_zoneout(with_recurrent_dropout(spec), spec.states)
    try:
        yield with_projection(spec)
    except EquationError:
        # The cell uses its output elementwise as well.
        return


def cell_sources(specs: Iterable[CellSpec]) -> str:
    """The cells with the options of a layer, each under its key."""
    found: dict[str, str] = {}
    for plain in specs:
        for spec in variants(plain):
            for hoist in HOISTS:
                programs = schedules(CellProgram(spec, hoist))
                key = cell_key(source(programs, "cell"))
                found[key] = f"// {spec.name}\n{source(programs, f'cell_{key}')}"
    return HEADER + "\n".join(found.values())


def isas() -> list[str]:
    """The instruction sets worth building for on this machine's architecture."""
    return list(ISAS) if platform.machine().lower() in ("x86_64", "amd64") else ["base"]


def extension_name(stem: str, isa: str, text: str) -> str:
    """What the library of one more C++ file is called."""
    return f"{stem}-{isa}-{digest(engine_sources(), text)}"


def prebuild(folder: Path, specs: Iterable[CellSpec], extensions: Iterable[Path] = ()) -> list[Path]:
    """Build into `folder` the engine, the cells and each C++ file of `extensions`.

    CompileError where there is no compiler.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mark = digest(engine_sources())
    texts = {"engine": (ENGINE / "engine.cpp").read_text(encoding="utf-8"), "cells": cell_sources(specs)}
    others = {path.stem: path.read_text(encoding="utf-8") for path in extensions}
    jobs: list[tuple[str, str, str]] = []
    for isa in isas():
        jobs += [(f"{kind}-{isa}-{mark}", text, isa) for kind, text in texts.items()]
        jobs += [(extension_name(stem, isa, text), text, isa) for stem, text in others.items()]
    with tempfile.TemporaryDirectory() as workplace, ThreadPoolExecutor(os.cpu_count()) as pool:

        def one(job: tuple[str, str, str]) -> Path:
            name, text, isa = job
            target = folder / f"{name}.so"
            shutil.copyfile(build(text, isa, folder=Path(workplace)), target)
            return target

        # Each waits for a compiler: threads are enough to keep the cores busy. The longest texts first.
        made = {job: pool.submit(one, job) for job in sorted(jobs, key=lambda job: -len(job[1]))}
        return [made[job].result() for job in jobs]
