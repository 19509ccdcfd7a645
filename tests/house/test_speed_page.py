"""The page of speeds is what the tool makes of the committed results."""

from __future__ import annotations

import subprocess
import sys

from house.tree import ROOT


def test_the_page_of_speeds_is_generated():
    done = subprocess.run([sys.executable, "tools/benchmark_table.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run: make docs"
