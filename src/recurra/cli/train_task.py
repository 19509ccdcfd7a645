"""`recurra train task NAME`: a classic task of the papers; without a name, which there are.

Settings are the task's own, then --set key=value, then the options; with --resume they come from the run itself.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recurra.base import config
from recurra.base.errors import ConfigError, message
from recurra.cli.style import bold, dim

if TYPE_CHECKING:
    from recurra.tasks.classic.run import TaskResult

__all__ = ["run"]

INTERRUPTED = 130

OPTIONS = {
    "cell": "cell",
    "hidden": "hidden",
    "layers": "layers",
    "batch": "batch",
    "iterations": "train.iterations",
    "epochs": "train.epochs",
    "minutes": "train.minutes",
    "rate": "train.optim.learning_rate",
    "seed": "seed",
    "threads": "threads",
}
"""Option -> the setting it stands for."""


def run(arguments: argparse.Namespace, others: Mapping[str, Any]) -> int:
    """List the tasks, or train one and print how it went; `others`: options of text models, by name."""
    given = [f"--{name}" for name in others if name not in OPTIONS and getattr(arguments, name) is not None]
    if arguments.config:
        given.append("--config")
    if given:
        hint = "recurra train task NAME --show-config prints the settings of a task; --set changes them."
        raise ConfigError(message("recurra train task", f"{', '.join(given)}: for text models only", hint=hint))
    if len(arguments.files) > 1:
        fact = f"one task at a time, got {', '.join(arguments.files)}"
        raise ConfigError(message("recurra train task", fact))
    # Only now: torch takes a second to import.
    from recurra.tasks.classic import TASKS, run_task, task_settings

    if not arguments.files:
        _list(TASKS, arguments.json)
        return 0
    name = arguments.files[0]
    if arguments.out is not None and not arguments.out:
        raise ConfigError(message("recurra train task", "--out is empty", hint="name the run folder: --out runs/x"))
    folder = Path(arguments.out) if arguments.out else None
    settings = task_settings(name, _overrides(arguments), settings=_kept(arguments, folder, name))
    if arguments.show_config:
        import tomli_w

        print(tomli_w.dumps(config.to_dict(settings)), end="")
        return 0
    result = run_task(
        name,
        folder=folder,
        settings=settings,
        resume=arguments.resume,
        progress=_progress(arguments),
        command=shlex.join(["recurra", *arguments.words]),
    )
    if result.reason == "interrupted":
        return INTERRUPTED
    report = None
    if folder:
        from recurra.tasks.classic.report import write_report

        report = write_report(folder)
    _show(result, report, as_json=arguments.json)
    return 0


def _overrides(arguments: argparse.Namespace) -> list[str]:
    named = {path: getattr(arguments, option) for option, path in OPTIONS.items()}
    return [*arguments.set, *(f"{path}={value}" for path, value in named.items() if value is not None)]


def _kept(arguments: argparse.Namespace, folder: Path | None, name: str) -> Any:
    """With --resume the settings of the run itself."""
    if not arguments.resume:
        return None
    if folder is None:
        hint = f"recurra train task {name} --out FOLDER --resume"
        raise ConfigError(message("recurra train task", "--resume needs the folder of the run", hint=hint))
    from recurra.tasks.classic.folder import settings_of

    if not (folder / "config.toml").exists():
        # What is wrong with such a folder is said where a run is opened.
        return None
    settings = settings_of(folder)
    if settings.task != name:
        raise ConfigError(message(str(folder), f"is a run of the task {settings.task}, not of {name}"))
    return settings


def _progress(arguments: argparse.Namespace) -> Any:
    from recurra.training.progress import Progress

    return Progress("quiet" if arguments.quiet or arguments.json else "auto")


def _list(tasks: Any, as_json: bool) -> None:
    if as_json:
        names = ("name", "title", "metric", "rule", "paper", "source")
        print(json.dumps([{name: getattr(task, name) for name in names} for _, task in tasks.items()]))
        return
    width = max(map(len, tasks))
    print(bold("The classic tasks"))
    for name, task in tasks.items():
        print(f"  {name:<{width}}  {task.title}")
        print(dim(f"  {'':<{width}}  {task.source}"))
    print("\nrecurra train task NAME runs one; --out FOLDER keeps the run, with a report.")


def _show(result: TaskResult, report: Path | None, *, as_json: bool) -> None:
    from recurra.tasks.classic import TASKS
    from recurra.tasks.classic.report import told

    if as_json:
        print(json.dumps(result.numbers() | {"report": str(report) if report else None}))
        return
    task = TASKS[result.task]
    verdict = told(task, result.settings, result.metrics)
    print(bold(f"{result.task}: {verdict}"))
    baseline = task.baseline(result.settings)
    rows = [(name, f"{value:.4g}") for name, value in result.metrics.items()]
    if baseline is not None:
        rows.append((f"{task.metric} of the baseline", f"{baseline:.4g}  ({task.baseline_name})"))
    rows += [("sequences", f"{result.sequences:,}"), ("updates", f"{result.updates:,}")]
    rows += [("parameters", f"{result.parameters:,}"), ("seconds", f"{result.seconds:.1f}")]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")
    print(dim(f"  Published: {task.paper}\n  {task.source}"))
    if report:
        print(f"\nThe run is in {result.folder}, its report in {report}")
