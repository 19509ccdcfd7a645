"""The pages on filters and hidden Markov models run, top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = Path(__file__).resolve().parents[3] / "docs" / "how-to"


@pytest.mark.parametrize("name", ["cancel-noise.md", "hidden-markov.md"])
def test_the_page_runs(name):
    text = (PAGES / name).read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    assert code.count("assert") >= 4
    exec(compile(code, name, "exec"), {})


def test_every_setting_of_the_command_line_is_one():
    from recurra.cli.filter import algorithm_from

    text = (PAGES / "cancel-noise.md").read_text(encoding="utf-8")
    named = re.findall(r"--algorithm (\S+?)[`,; ](?: *--taps \d+)? ?(?:--set (\S+?)`)?", text)
    assert len(named) > 4
    for algorithm, setting in named:
        algorithm_from(algorithm, 4, [setting] if setting else [])
