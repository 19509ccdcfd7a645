"""The README stays true: its example prints its number, its table is the registry's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_example_prints_its_number():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code
    said = re.findall(r"# (-?\d+\.\d+)$", code[1].strip().splitlines()[-1])
    ran = subprocess.run([sys.executable, "-c", code[1]], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == said


def test_the_table_is_the_registry():
    ran = subprocess.run([sys.executable, ROOT / "tools" / "readme_table.py", "--check"], check=False)
    assert ran.returncode == 0, "run: make docs"


def test_the_page_of_settings_is_up_to_date():
    ran = subprocess.run([sys.executable, ROOT / "tools" / "settings_page.py", "--check"], check=False)
    assert ran.returncode == 0, "run: make docs"


def test_every_command_exists():
    from recurra.cli.main import VERBS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for verb in re.findall(r"^recurra (\w+)", text, re.MULTILINE):
        assert verb in VERBS, verb
    for target in re.findall(r"^make (\w+)", text, re.MULTILINE):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text(encoding="utf-8"), target


def test_the_page_on_layers_runs():
    text = (ROOT / "docs" / "how-to" / "use-a-layer.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    assert code.count("layer") > 10
    exec(compile(code, "use-a-layer.md", "exec"), {})


def test_the_page_on_machine_code_prints_what_it_says(capsys):
    text = (ROOT / "docs" / "ideas" / "equations-to-machine-code.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, object] = {}
    for code, said in blocks:
        exec(compile(code, "equations-to-machine-code.md", "exec"), names)
        assert capsys.readouterr().out.strip() == said.strip()
