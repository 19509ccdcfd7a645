"""Write docs/reference/settings.md from the settings of the tasks; with --check, only say whether it is up to date."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec

from recurra.base.files import write_text
from recurra.base.option import Setting, settings_of
from recurra.tasks.registry import TASKS, task_named

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "settings.md"
HEAD = """# The settings of every task

Written by `make docs` from the settings themselves. `recurra train TASK --set NAME=VALUE` sets each of them, in
config.toml they are tables and keys, and the options are shorter names of some; `--show-config` prints those of a run.
The classic tasks (`recurra train task NAME --show-config`) have theirs in [their page](../how-to/classic-tasks.md).
"""


def row(setting: Setting) -> str:
    """Return name, option or file, default and meaning of a setting as a row of a table."""
    default = json.dumps(msgspec.to_builtins(setting.default), ensure_ascii=False)
    mark = setting.option or setting.input
    option = ""
    if mark:
        option = setting.input.metavar if setting.input and not setting.input.name else f"`--{setting.name}`"
    cells = (f"`{setting.path}`", option, f"`{default}`", setting.doc)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def page() -> str:
    """Return the page: a section for each task, its training settings in one of their own."""
    sections, shared = [HEAD], dict[str, str]()
    for name in TASKS:
        task = task_named(name)
        settings = settings_of(task.settings)
        own = [setting for setting in settings if not setting.path.startswith("train.") and setting.path != "task"]
        for setting in settings:
            if setting.path.startswith("train."):
                shared.setdefault(setting.path, row(setting))
        rows = ["| setting | option | default | meaning |", "|---|---|---|---|", *map(row, own)]
        sections.append(f"## {name}\n\n{task.title}\n\n" + "\n".join(rows) + "\n")
    rows = ["| setting | option | default | meaning |", "|---|---|---|---|", *shared.values()]
    note = "Of all tasks that train by gradients; a task's own defaults may differ, `--show-config` prints them."
    sections.append(f"## train\n\n{note}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(sections)


def main() -> int:
    """0 when the page says what the settings say, or was made to."""
    fresh = page()
    if "--check" in sys.argv:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != fresh)
    write_text(PAGE, fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
