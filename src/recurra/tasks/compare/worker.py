"""One process that runs trials: a JSON line in on standard input, a JSON line out on standard output."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from typing import Any

from recurra.base import config
from recurra.base.code import load_code
from recurra.base.errors import RecurraError, TrainingError
from recurra.tasks.compare.settings import CompareSettings, data_of
from recurra.tasks.compare.trial import Trial
from recurra.tasks.load import plain
from recurra.tasks.registry import task_named
from recurra.tasks.train import train

__all__ = ["main", "outcome"]

_FACTS = ("parameters", "updates", "sequences", "seconds", "reason")


def outcome(settings: CompareSettings, trial: Trial) -> dict[str, Any]:
    """Run a trial: a record for results.jsonl. Numbers that run away are an outcome, other faults are raised."""
    began = time.monotonic()
    record: dict[str, Any] = {**trial._asdict(), "value": None, "watched": None, "failed": None}
    task = task_named(settings.task)
    chosen = settings.task_settings(trial.cell, trial.hidden, trial.rate, trial.seed)
    try:
        result = train(task, chosen, data=data_of(settings.task, settings.overrides))
    except TrainingError as error:
        return record | {"failed": str(error).splitlines()[0], "seconds": time.monotonic() - began}
    if result.measures is None:
        raise KeyboardInterrupt
    # JSON has no NaN.
    value, watched = plain(task.value(result.measures)), plain(task.selected(result))
    return record | {
        "value": value,
        "watched": watched,
        "failed": None if value is not None else f"{task.metric} is not finite",
        "metrics": plain(result.measures.numbers.get("metrics", {task.metric: value})),
        "solved": result.measures.numbers.get("solved"),
        "reason": (result.facts.get("reasons") or [""])[0],
        **{name: result.facts[name] for name in _FACTS if name in result.facts},
    }


def main() -> int:
    """Until standard input ends."""
    import torch

    torch.set_num_threads(1)
    # The classes of the user's own, named on the command line of the comparison.
    for reference in sys.argv[1:]:
        load_code(reference)
    parent = os.getppid()
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    # What a library prints must not come between the lines.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        asked = json.loads(line)
        settings = config.parse(CompareSettings, asked["settings"])
        try:
            answer = outcome(settings, Trial(**asked["trial"]))
        except RecurraError as error:
            answer = {"error": str(error)}
        except Exception:
            answer = {"error": traceback.format_exc(), "bug": True}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
            raise
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return 0


def _follow(parent: int) -> None:
    """End with the process that asked: a trial whose answer nobody reads is a core lost."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
