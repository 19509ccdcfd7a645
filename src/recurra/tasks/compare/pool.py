"""Worker processes, one a core and each single-threaded, that are handed trials and give records back."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from recurra.base import config
from recurra.base.code import loaded_references
from recurra.base.errors import TrainingError, message
from recurra.tasks.compare.settings import CompareSettings
from recurra.tasks.compare.trial import Trial

__all__ = ["Pool", "pool"]


class Pool:
    """`free()` says whether a worker waits, `give` hands it a trial, `take` waits for the next record."""

    def __init__(self, settings: CompareSettings, jobs: int) -> None:
        self._settings = config.to_dict(settings)
        self._answers: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
        self._limit = jobs
        self._workers: list[subprocess.Popen[str]] = []
        self._running: dict[int, Trial] = {}

    @property
    def running(self) -> list[Trial]:
        """The trials in flight."""
        return list(self._running.values())

    def free(self) -> bool:
        """Whether one more trial could run now."""
        return len(self._running) < self._limit

    def give(self, trial: Trial) -> None:
        """Start a trial."""
        index = next((i for i in range(len(self._workers)) if i not in self._running), None)
        if index is None:
            index = len(self._workers)
            self._workers.append(self._started(index))
        self._running[index] = trial
        stream = self._workers[index].stdin
        if stream is not None:
            stream.write(json.dumps({"settings": self._settings, "trial": trial._asdict()}) + "\n")
            stream.flush()

    def take(self, timeout_s: float | None = None) -> dict[str, Any] | None:
        """The next record; None where there was none in time.

        Raises what a trial raised: a fault of the settings as it is, anything else with its traceback.
        """
        try:
            index, line = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            return None
        trial = self._running.pop(index)
        if not line:
            code = self._workers[index].wait()
            fact = f"the process of {trial.cell}, rate {trial.rate:g}, seed {trial.seed} ended with code {code}"
            hint = "out of memory? fewer --jobs; the same command goes on from here."
            raise TrainingError(message("recurra compare", fact, hint=hint))
        answer = json.loads(line)
        if "error" in answer:
            raise TrainingError(answer["error"])
        return answer

    def close(self) -> None:
        """End all workers now."""
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.wait()
            for stream in (worker.stdin, worker.stdout):
                if stream is not None:
                    stream.close()

    def _started(self, index: int) -> subprocess.Popen[str]:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        command = [sys.executable, "-m", "recurra.tasks.compare.worker", *loaded_references()]
        worker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **threads}
        )
        threading.Thread(target=self._listen, args=(index, worker), daemon=True).start()
        return worker

    def _listen(self, index: int, worker: subprocess.Popen[str]) -> None:
        if worker.stdout is None:
            return
        try:
            for line in worker.stdout:
                self._answers.put((index, line))
        except ValueError:
            # Closed while it was read: the pool is over.
            return
        self._answers.put((index, ""))


@contextmanager
def pool(settings: CompareSettings, jobs: int) -> Generator[Pool]:
    """A pool that is closed however the block ends."""
    made = Pool(settings, jobs)
    try:
        yield made
    finally:
        made.close()
