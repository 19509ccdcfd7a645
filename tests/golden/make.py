"""Write the golden runs with the code that `PYTHONPATH` names; see `runs.py`. Not run by the tests."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
from pathlib import Path

import torch
from runs import GOLDEN, RUNS, write_data

from recurra.cli.main import main

__all__ = ["make"]


def make() -> None:
    """Train, record, and take away what is large and not needed."""
    torch.set_num_threads(1)
    os.chdir(GOLDEN)
    write_data(Path("data"))
    for name, golden in RUNS.items():
        run = Path("runs") / name
        shutil.rmtree(run, ignore_errors=True)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(sys.stderr):
            code = main(["train", *golden.train, "--out", str(run)])
        if code:
            raise SystemExit(f"{name}: {code}")
        records = []
        for command in golden.commands:
            text = io.StringIO()
            with contextlib.redirect_stdout(text):
                code = main([str(run) if word == "RUN" else word for word in command])
            if code:
                raise SystemExit(f"{name}: {command}: {code}")
            records.append({"command": command, "output": [json.loads(line) for line in text.getvalue().splitlines()]})
        if name.startswith("task-"):
            import recurra

            records.append({"command": ["evaluate"], "output": [recurra.load(run).evaluate()]})
        Path("expected").mkdir(exist_ok=True)
        Path("expected", f"{name}.json").write_text(json.dumps(records, allow_nan=False) + "\n")
        for path in (*run.rglob("checkpoint"), *run.glob("members"), *run.glob("training")):
            shutil.rmtree(path, ignore_errors=True)
        for file in ("report.html", "spectrum.jsonl", "metrics.jsonl", "samples.jsonl", "held_out.json", "judged.json"):
            (run / file).unlink(missing_ok=True)
        # No path of the machine on which they were made.
        for file in ("config.toml", "run.json"):
            path = run / file
            path.write_text(path.read_text().replace(f"{GOLDEN}/", ""))


if __name__ == "__main__":
    make()
