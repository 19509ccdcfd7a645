"""Train a model: recurra train TASK ... --out runs/x; without a task, which there are."""

from __future__ import annotations

import argparse
import inspect
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from recurra.base import config
from recurra.base.code import entry_point, load_code
from recurra.base.errors import ConfigError, RecurraError, message, nearest
from recurra.cli.arguments import add_inputs, add_options, input_files, overrides_from, settings_of_words
from recurra.cli.output import inert, print_table, progress_of
from recurra.cli.spool import discard_spooled
from recurra.cli.style import bold, dim
from recurra.tasks.registry import FAMILIES, TASKS, settings_named

__all__ = ["INTERRUPTED", "configure", "run", "show", "written_report"]

INTERRUPTED = 130

_SETTINGS = """Settings come from, each over the one before: the defaults (a recipe that works), --config FILE, --set
key=value, and the options below. With --resume they come from the run itself."""


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Add the arguments of the task that the first word names; gives the words behind it."""
    name = words[0] if words else ""
    if name in ("", "-h", "--help", "help"):
        print(_overview(), file=sys.stdout if name else sys.stderr)
        parser.exit(0 if name else 2)
    if name.startswith("-"):
        named = [word for word in words if word in {*TASKS, *FAMILIES}]
        example = f"recurra train {named[0] if named else 'TASK'} ..."
        parser.error(f"the task comes before its options: {example}")
    if name in FAMILIES:
        return _configure_family(parser, name, words[1:])
    kind = _settings(parser, name)
    parser.prog = f"recurra train {name}"
    parser.description = f"{inspect.cleandoc(kind.__doc__ or '')}\n\n{_SETTINGS}"
    add_inputs(parser, kind)
    _add_common(parser)
    add_options(parser.add_argument_group("settings", "--show-config prints all"), kind)
    parser.set_defaults(task=name, kind=kind)
    return list(words[1:])


def run(arguments: argparse.Namespace) -> int:
    """Train, and print how it went."""
    if arguments.task is None:
        return _list(arguments)
    folder = _folder(arguments)
    try:
        return _run(arguments, folder)
    finally:
        if folder is not None and not (folder / "config.toml").exists():
            discard_spooled(folder)


def _run(arguments: argparse.Namespace, folder: Path | None) -> int:
    kind = arguments.kind or _task(arguments).settings
    settings = _chosen(arguments, kind, folder)
    if arguments.show_config:
        import tomli_w

        print(tomli_w.dumps(config.to_dict(settings)), end="")
        return 0
    task = _task(arguments)
    if folder is None and task.needs_folder:
        fact = "--out is missing"
        raise ConfigError(message(f"recurra train {task.command}", fact, hint="name the run folder: --out runs/x"))
    from recurra.tasks.train import train

    command = shlex.join(["recurra", *arguments.words])
    try:
        outcome = train(
            task,
            settings,
            folder,
            resume=arguments.resume,
            progress=progress_of(arguments),
            command=command,
            start=_start(arguments),
            notes=_origin(task, settings),
        )
    except KeyboardInterrupt:
        if folder is not None and (folder / "config.toml").exists():
            _say_how_to_resume(task, folder)
        raise
    if outcome.interrupted:
        # The loop has said where it saved and how to go on; with --quiet it has not.
        if folder is not None and (arguments.quiet or arguments.json):
            _say_how_to_resume(task, folder)
        return INTERRUPTED
    show(outcome, written_report(folder) if folder else None, as_json=arguments.json)
    return 0


def written_report(folder: Path) -> Path | None:
    """Write the report of a finished run; None, and why on standard error, where it could not be written."""
    from recurra.tasks.report import write_report

    try:
        return write_report(folder)
    except RecurraError as error:
        # The figures of hours of training are shown all the same.
        print(f"recurra: no report: {error}\n  Later: recurra report {shlex.quote(str(folder))}", file=sys.stderr)
        return None


def show(outcome: Any, report: Path | None, *, as_json: bool) -> None:
    """Print the measures of a finished run on standard output."""
    from recurra.tasks.folder import read_note
    from recurra.tasks.load import dumped
    from recurra.tasks.task import View

    folder = outcome.folder
    note = read_note(folder) if folder else {"result": outcome.facts}
    if as_json:
        places = {"folder": str(folder) if folder else None, "report": str(report) if report else None}
        print(dumped({**outcome.task.result(outcome.facts, outcome.measures, note), **places}))
        return
    measures = {"part": outcome.split, **outcome.measures.plain}
    view = View(
        settings=outcome.settings,
        measures=measures,
        predictor=outcome.predictor,
        note=note,
        folder=folder,
    )
    for table in outcome.task.tables(view):
        print_table(table)
    if folder:
        print(inert(f"\nThe run is in {folder}" + (f", its report in {report}" if report else "")))
        if outcome.task.next_command:
            print(dim(inert(outcome.task.next_command.format(run=shlex.quote(str(folder))))))


def _settings(parser: argparse.ArgumentParser, name: str) -> type[Any]:
    """The settings of a task by name, or of the user's own by `mine.py:Name`."""
    if name in TASKS:
        return settings_named(name)
    kind = load_code(name).thing if ":" in name else entry_point("recurra.tasks", name)
    if kind is None:
        known = ", ".join(nearest(name, [*TASKS, *FAMILIES]))
        parser.exit(2, f"recurra train: nothing is called {name!r}\n  There are: {known}.\n")
    return kind.settings


def _configure_family(parser: argparse.ArgumentParser, family: str, words: Sequence[str]) -> list[str]:
    """A family has many tasks: their options are the same, their defaults are shown by --show-config."""
    kind = settings_named(family, FAMILIES)
    parser.prog = f"recurra train {family}"
    parser.description = f"{inspect.cleandoc(kind.__doc__ or '')}\n\n{_SETTINGS}"
    parser.add_argument("names", nargs="*", metavar="NAME", help="the task; without one, which there are")
    _add_common(parser)
    add_options(parser.add_argument_group("settings", "--show-config prints all of a task"), kind, defaults=False)
    parser.set_defaults(task=None, kind=None, family=family)
    return list(words)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="FOLDER", help="the run folder to write")
    parser.add_argument("--resume", action="store_true", help="continue the run in that folder")
    parser.add_argument("--config", metavar="FILE", help="settings in TOML, such as a recipe")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting by its dotted name"
    )
    parser.add_argument("--show-config", action="store_true", help="print the settings as TOML and stop")
    parser.add_argument("--from", dest="start", metavar="RUN", help="start from the weights of another run")
    parser.add_argument(
        "--take",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="a module of that run that is called otherwise here, such as recurrent=body",
    )
    parser.add_argument("--code", action="append", default=[], metavar="FILE:NAME", help="a task or cell of your own")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, nothing else")
    parser.add_argument("--quiet", action="store_true", help="no progress, no samples")


def _task(arguments: argparse.Namespace) -> Any:
    from recurra.tasks.registry import task_named

    name = arguments.task
    return load_code(name).thing() if ":" in name else task_named(name)


def _list(arguments: argparse.Namespace) -> int:
    """Without a name which tasks a family has; with one, train it."""
    from importlib import import_module

    if len(arguments.names) > 1:
        fact = f"one task at a time, got {', '.join(arguments.names)}"
        raise ConfigError(message(f"recurra train {arguments.family}", fact))
    if arguments.names:
        arguments.task = arguments.names[0]
        return run(arguments)
    tasks = import_module(FAMILIES[arguments.family]).TASKS
    if arguments.json:
        print(json.dumps([task.summary() for _, task in tasks.items()]))
        return 0
    width = max(map(len, tasks))
    for name, task in tasks.items():
        facts = task.summary()
        print(f"  {bold(f'{name:<{width}}')}  {facts['title']}")
        print(dim(f"  {'':<{width}}  {facts['source']}"))
    print(f"\nrecurra train {arguments.family} NAME runs one; --out FOLDER stores the run, with a report.")
    return 0


def _folder(arguments: argparse.Namespace) -> Path | None:
    where, hint = f"recurra train {arguments.task}", "name the run folder: --out runs/x"
    if arguments.out == "":
        raise ConfigError(message(where, "--out is empty", hint=hint))
    if arguments.resume and not arguments.out:
        raise ConfigError(message(where, "--resume needs the folder of the run", hint="--out FOLDER --resume"))
    if arguments.resume and arguments.config:
        fact = "--resume continues with the run's own settings, --config names others"
        raise ConfigError(message(where, fact))
    return Path(arguments.out) if arguments.out else None


def _chosen(arguments: argparse.Namespace, kind: type[Any], folder: Path | None) -> Any:
    own = folder / "config.toml" if folder else None
    source = own if arguments.resume and own is not None and own.exists() else arguments.config
    if source == own and folder is not None and source is not None:
        from recurra.tasks.folder import RunFolder

        # A run of another task is told from one with faulty settings.
        RunFolder(_task(arguments), folder).settings()
    spool = None if arguments.show_config else folder
    files = input_files(arguments, kind, spool)
    overrides = [*arguments.set, *overrides_from(arguments, kind)]
    if not kind().task:
        # A task of the user's own is called by where it comes from.
        overrides.append(f"task={json.dumps(_task(arguments).name)}")
    return settings_of_words(kind, overrides, files, source, f"recurra train {arguments.task}")


def _start(arguments: argparse.Namespace) -> Any:
    if not arguments.start:
        if arguments.take:
            raise ConfigError(message("recurra train", "--take needs --from RUN"))
        return None
    from recurra.tasks.registry import task_named
    from recurra.tasks.start import start_from

    take: dict[str, str] = {}
    for pair in arguments.take:
        old, equals, new = pair.partition("=")
        if not equals or not old:
            raise ConfigError(message("--take", f"reads OLD=NEW, got {pair!r}", hint="--take recurrent=body"))
        take[old] = new
    return start_from(arguments.start, task_named, take)


def _origin(task: Any, settings: Any) -> Mapping[str, Any]:
    """Which code of the user's own made the run: module, version, digest."""
    from recurra.base.code import origin
    from recurra.cells import CELLS

    own = {"task": origin(type(task))}
    cell = task.cell(settings)
    if cell and cell in CELLS:
        own["cell"] = origin(CELLS[cell])
    return {"code": msgspec.to_builtins(own)}


def _say_how_to_resume(task: Any, folder: Path) -> None:
    from recurra.tasks.folder import RunFolder

    print(f"interrupted; continue with: {RunFolder(task, folder).resume_command}", file=sys.stderr)


def _overview() -> str:
    lines = ["usage: recurra train TASK ...", ""]
    kinds = {name: settings_named(name) for name in TASKS} | {name: settings_named(name, FAMILIES) for name in FAMILIES}
    for name, kind in kinds.items():
        title = inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0]
        lines.append(f"  {name:<10}{' '.join(title.split())}")
    lines += ["", "A task of your own: recurra train mine.py:Mine ...", "recurra train TASK --help says more."]
    return "\n".join(lines)
