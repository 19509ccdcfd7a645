"""Python processes with an environment of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def start():
    """Begin a Python process that runs the text; variables that are None are taken from its environment."""

    def begin(code: str, **variables: str | None) -> subprocess.Popen[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
        environment = {name: value for name, value in environment.items() if value is not None}
        line = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
        return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    return begin


@pytest.fixture(scope="session")
def python(start):
    """Run the text to its end: (standard output, standard error); fails where the process does."""

    def run(code: str, timeout_s: float = 240, **variables: str | None) -> tuple[str, str]:
        process = start(code, **variables)
        out, err = process.communicate(timeout=timeout_s)
        assert process.returncode == 0, f"status {process.returncode}\n{err}"
        return out, err

    return run


@pytest.fixture(scope="session")
def tests_path() -> str:
    """A PYTHONPATH with which a process finds the tests' own modules too."""
    return os.pathsep.join([str(Path(__file__).parents[3]), os.environ["PYTHONPATH"]])
