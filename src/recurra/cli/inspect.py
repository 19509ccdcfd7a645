"""Look inside a trained run: what it remembers, what its gates and units do, what its answers rest on.

Writes one HTML page that opens without network: saliency, gradients by distance, Jacobians, half-lives, eigenvalues,
gates, units with a meaning, integrated gradients, attention, the cell as a graph; and what went wrong where a run
broke. `--beside` puts two runs next to each other, such as an RNN and an LSTM trained on the same text.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recurra.diagnostics.inspection import Case, Inspection

__all__ = ["configure", "run"]

PARTS = (
    "forensics", "saliency", "gradient", "jacobian", "memory", "spectrum", "gates", "units", "attribution",
    "attention", "graph",
)  # fmt: skip
"""Those of `recurra.diagnostics.inspection`, without asking for torch."""

_PATIENCE_S = 2.0


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Add the arguments of this verb."""
    parser.add_argument("run", metavar="RUN", help="the folder of a trained run")
    parser.add_argument(
        "data", nargs="*", metavar="DATA", help="files to look at it by (default: what the run keeps, or draws itself)"
    )
    parser.add_argument("--beside", metavar="RUN2", help="a second run, shown next to the first on the same data")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PART", help=f"one part (may be repeated): {', '.join(PARTS)}"
    )
    parser.add_argument("--out", metavar="FILE", help="where the page goes (default: inspect.html in the run's folder)")
    parser.add_argument("--png", metavar="FOLDER", help="write every picture there as a PNG too (extra: recurra[png])")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON; the page only with --out")
    parser.add_argument("--rows", type=int, default=8, help="rows of the example (default 8)")
    parser.add_argument("--steps", type=int, default=512, help="steps of a row at most (default 512)")
    parser.add_argument("--code", action="append", default=[], metavar="FILE:NAME", help="a task or cell of your own")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return list(words)


def run(arguments: argparse.Namespace) -> int:
    """Write the page, and print where it is."""
    _check(arguments)
    import torch

    from recurra.diagnostics.inspection import inspect

    torch.set_flush_denormal(True)
    cases = [_case(folder, arguments) for folder in (arguments.run, arguments.beside) if folder]
    _tell_apart(cases)
    progress = _Progress(arguments.quiet or arguments.json)
    found = inspect(cases, arguments.only, progress)
    progress.done()
    if arguments.png:
        for path in _write_pictures(found, Path(arguments.png)):
            if not arguments.json:
                print(path)
    if arguments.json:
        print(json.dumps(_plain(found.numbers), ensure_ascii=False, allow_nan=False))
    if arguments.out or not arguments.json:
        path = Path(arguments.out) if arguments.out else Path(arguments.run) / "inspect.html"
        _write_page(found, cases, path, arguments.words)
        if not arguments.json:
            print(path)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    from recurra.base.errors import ConfigError, message, nearest

    for part in arguments.only:
        if part not in PARTS:
            known = ", ".join(nearest(part, PARTS))
            raise ConfigError(message("recurra inspect", f"no part is called {part!r}", f"There are: {known}."))
    if arguments.rows < 1 or arguments.steps < 2:
        fact = f"--rows must be from 1 and --steps from 2, got {arguments.rows} and {arguments.steps}"
        raise ConfigError(message("recurra inspect", fact))
    if arguments.png:
        # Before minutes of work, not after.
        from recurra.diagnostics.picture import check_png

        check_png()


def _case(folder: str, arguments: argparse.Namespace) -> Case:
    from dataclasses import replace

    from recurra.base.errors import ConfigError, message
    from recurra.diagnostics.history import read_spectra
    from recurra.diagnostics.inspection import Case
    from recurra.diagnostics.subject import Inspectable
    from recurra.tasks.load import load
    from recurra.training.log import read_lines

    trained = load(folder)
    if not isinstance(trained, Inspectable):
        raise ConfigError(message(str(folder), "there is no trained recurrent net in this run to look into"))
    found = trained.subject(arguments.data, rows=arguments.rows, steps=arguments.steps)
    subject = replace(found, name=Path(folder).resolve().name)
    logs = [Path(folder) / f"{name}.jsonl" for name in ("metrics", "events")]
    metrics, events = (read_lines(path) if path.exists() else [] for path in logs)
    return Case(subject, metrics, events, read_spectra(Path(folder)))


def _tell_apart(cases: list[Case]) -> None:
    """Two runs of one name get their cells' names beside it, or numbers."""
    from dataclasses import replace

    if len(cases) == 2 and cases[0].name == cases[1].name:
        for number, case in enumerate(cases, 1):
            case.subject = replace(case.subject, name=f"{case.name} ({number})")


class _Progress:
    """A line on standard error for each part, once the work takes longer than one waits without a word."""

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._began = quiet, time.monotonic()
        self._spoke = False

    def __call__(self, part: str) -> None:
        if not self._quiet and time.monotonic() - self._began > _PATIENCE_S:
            print(f"{time.monotonic() - self._began:5.1f} s  {part}", file=sys.stderr, flush=True)
            self._spoke = True

    def done(self) -> None:
        """The work is over."""
        if self._spoke:
            print(f"{time.monotonic() - self._began:5.1f} s  done", file=sys.stderr)


def _write_pictures(found: Inspection, folder: Path) -> list[Path]:
    from recurra.diagnostics.picture import pictures, write_png

    written: list[Path] = []
    for part, figures in found.figures.items():
        drawn = [(title or figure.title, chart) for figure in figures for title, chart in pictures(figure.chart)]
        for index, (title, chart) in enumerate(drawn, 1):
            path = folder / (f"{part}-{index}.png" if len(drawn) > 1 else f"{part}.png")
            write_png(chart, path, title=title)
            written.append(path)
    return written


def _write_page(found: Inspection, cases: list[Case], path: Path, words: list[str]) -> None:
    import shlex

    from recurra.diagnostics.report import Report, write

    names = [case.name for case in cases]
    leads = list(dict.fromkeys(case.subject.lead for case in cases if case.subject.lead))
    lead = " ".join(f"{lead.rstrip('.')}." for lead in leads)
    page = Report(
        title=" beside ".join(f"Inside {name}" if index == 0 else name for index, name in enumerate(names)),
        lead=lead,
        keys=_keys(found, cases),
        figures=[figure for figures in found.figures.values() for figure in figures],
        command=shlex.join(["recurra", *words]),
    )
    write(page, path)


def _keys(found: Inspection, cases: list[Case]) -> list[Any]:
    """A few numbers at the head: the loss, how much of it is felt far back, and that the run broke where it did."""
    from recurra.diagnostics.report import Key

    keys: list[Key] = []
    for case in cases:
        beside = case.name if len(cases) > 1 else ""
        if case.finite:
            mean = float(case.seen.losses.double().sum()) / max(1, int((case.seen.losses != 0).sum()))
            keys.append(Key("Loss here", f"{mean:.3f}", beside))
        curves = found.numbers.get("gradient", {}).get(case.name, {}).get("by_distance", {})
        # Of the states of a net the one in which most arrives.
        shares = {name: curve[-1] / curve[0] for name, curve in curves.items() if curve[0] > 0}
        if shares:
            name = max(shares, key=shares.__getitem__)
            back = len(curves[name]) - 1
            told = f"{beside}{', ' if beside else ''}{name}, beside the step itself"
            keys.append(Key(f"Gradient {back} {case.subject.unit}s back", f"{shares[name]:.1g}", told))
        health = found.numbers.get("forensics", {}).get(case.name, {})
        if health.get("bad_parameters") or health.get("first_bad_value") or health.get("broke_at") is not None:
            keys.append(Key("Numbers", "not finite", beside))
    return keys


def _plain(value: Any) -> Any:
    """For JSON: a number that is not finite is null."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return value if value - value == 0 else None
    return value
