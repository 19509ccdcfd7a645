"""Commands that need no torch do not wait for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from house.tree import PACKAGE

# Runs the command line as its script does, then says whether torch came along.
SCRIPT = """
import sys
from recurra.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    if stop.code not in (None, 0):
        raise
print("torch imported:", "torch" in sys.modules)
"""


@pytest.mark.skipif(not (PACKAGE / "cli" / "main.py").exists(), reason="the command line is not there yet")
@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["cells"], ["cells", "lstm"], ["train", "text", "--help"], ["train", "forecast", "--help"]],
    ids=" ".join,
)
def test_no_torch(arguments):
    done = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "torch imported: False"
    assert len(done.stdout.splitlines()) > 3
