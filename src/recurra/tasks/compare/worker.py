"""One process that runs trials: a JSON line in on standard input, a JSON line out on standard output."""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
import traceback
from typing import Any

from recurra.base import config
from recurra.base.errors import RecurraError, TrainingError
from recurra.tasks.compare.settings import CompareSettings
from recurra.tasks.compare.trial import Trial

__all__ = ["main", "outcome"]


def outcome(settings: CompareSettings, trial: Trial) -> dict[str, Any]:
    """Run a trial: a record for results.jsonl. Numbers that run away are an outcome, other faults are raised."""
    from recurra.tasks.classic import run_task

    began = time.monotonic()
    record: dict[str, Any] = {**trial._asdict(), "value": None, "watched": None, "failed": None}
    chosen = settings.task_settings(trial.cell, trial.hidden)
    try:
        result = run_task(settings.task, settings=chosen, rate=trial.rate, seed=trial.seed)
    except TrainingError as error:
        return record | {"failed": str(error).splitlines()[0], "seconds": time.monotonic() - began}
    name, _ = settings.watched()
    # JSON has no NaN.
    found = {key: value if math.isfinite(value) else None for key, value in result.metrics.items()}
    return record | {
        "value": found[result.metric],
        "watched": found[name],
        "failed": None if found[result.metric] is not None else f"{result.metric} is not finite",
        "metrics": found,
        "parameters": result.parameters,
        "solved": result.solved,
        "reason": result.reason,
        "updates": result.updates,
        "sequences": result.sequences,
        "seconds": result.seconds,
    }


def main() -> int:
    """Until standard input ends."""
    import torch

    torch.set_num_threads(1)
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
