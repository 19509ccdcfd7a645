"""Record the variants, the predictions in Python and the surface with the code that `PYTHONPATH` names; see README.md.

The tests never run it.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from predictions import predictions
from surface import EVALUATED, KINDS, REFUSED, UNSET, options, settings
from variants import VARIANTS, write_variant_data

import recurra
from recurra.cli.main import main

__all__ = ["output", "record_predictions", "record_surface", "record_variants"]

GOLDEN = Path(__file__).parent
_DROPPED_FOLDERS = ("checkpoint", "members", "training")
_DROPPED_FILES = ("report.html", "*.jsonl", "held_out.json", "judged.json")


def record_variants() -> None:
    """Train every variant, record the output of its commands, and delete what prediction does not need."""
    write_variant_data(Path("data"))
    for name, variant in VARIANTS.items():
        run = Path("runs") / name
        shutil.rmtree(run, ignore_errors=True)
        with contextlib.redirect_stdout(io.StringIO()):
            code = main(["train", *variant.train, "--out", str(run)])
        if code:
            raise SystemExit(f"{name}: exit code {code}")
        records = [{"command": command, **output(run, command)} for command in variant.commands]
        _write(Path("expected", f"{name}.json"), records)
        _shrink(run)
        print(name, file=sys.stderr)


def record_predictions() -> None:
    """Record the predictions of every run folder, those of `runs.py` included."""
    Path("predictions").mkdir(exist_ok=True)
    for run in sorted(Path("runs").iterdir()):
        _write(Path("predictions", f"{run.name}.json"), predictions(run))


def record_surface() -> None:
    """Record the options of every command, and the settings of every kind with their defaults."""
    from recurra.cli.main import VERBS
    from recurra.tasks.classic import TASKS

    commands = {verb: [verb] for verb in VERBS if verb not in ("train", "eval")}
    commands |= {f"train {kind}": ["train", kind] for kind in (*KINDS, "task")}
    commands |= {name: ["eval", f"runs/{run}"] for name, run in EVALUATED.items()}
    defaults, unset = {}, {}
    for kind in (*KINDS, *(f"task {name}" for name in TASKS)):
        defaults[kind] = settings(kind)
        unset[kind] = [name for name in UNSET if name not in defaults[kind] and _accepts(kind, name)]
    listed = {name: options(words) for name, words in commands.items()}
    listed["train task"] = [name for name in listed["train task"] if name not in REFUSED]
    _write_surface({"options": listed, "settings": defaults, "unset": unset})


def _write_surface(values: dict[str, dict[str, Any]]) -> None:
    # A line for each command or kind: shorter than an indented file, and differences can still be read.
    sections = []
    for section, entries in values.items():
        lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(value)}" for name, value in entries.items())
        sections.append(f"{json.dumps(section)}: {{\n{lines}\n}}")
    Path("surface.json").write_text("{\n" + ",\n".join(sections) + "\n}\n", encoding="utf-8")


def _accepts(kind: str, name: str) -> bool:
    try:
        return name in settings(kind, UNSET[name])
    except RuntimeError:
        return False


def output(run: Path, command: list[str]) -> dict[str, Any]:
    """Run one command and return its JSON lines as "output", or the rows of the file that it wrote as "csv"."""
    text = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "out.csv"
        words = [{"RUN": str(run), "OUT": str(file)}.get(word, word) for word in command]
        with contextlib.redirect_stdout(text):
            code = main(words)
        if code:
            raise SystemExit(f"{run}: {command}: exit code {code}")
        if "OUT" in command:
            return {"csv": list(csv.reader(file.read_text(encoding="utf-8").splitlines()))}
    return {"output": [json.loads(line) for line in text.getvalue().splitlines()]}


def _shrink(run: Path) -> None:
    for name in _DROPPED_FOLDERS:
        shutil.rmtree(run / name, ignore_errors=True)
    for pattern in _DROPPED_FILES:
        for path in run.glob(pattern):
            path.unlink()
    # No path of the machine on which they were made.
    for name in ("config.toml", "run.json"):
        path = run / name
        path.write_text(path.read_text(encoding="utf-8").replace(f"{GOLDEN}/", ""), encoding="utf-8")


def _write(path: Path, values: Any) -> None:
    text = json.dumps(values, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    print(recurra.__file__, file=sys.stderr)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    os.chdir(GOLDEN)
    steps = {"variants": record_variants, "predictions": record_predictions, "surface": record_surface}
    for name in sys.argv[1:] or steps:
        steps[name]()
