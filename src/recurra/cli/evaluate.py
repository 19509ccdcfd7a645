"""Measure a trained model: recurra eval RUN [FILE ...]; without a file, on the run's own held-out data.

The files are those that the run's task reads, and its help has the options of that task: recurra eval RUN --help.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from recurra.base.config import Settings
from recurra.base.errors import ConfigError, RecurraError, message
from recurra.base.option import Setting, inputs_of
from recurra.cli.arguments import add_inputs, add_options, input_files, options_from
from recurra.cli.output import print_table
from recurra.cli.spool import spooled

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Add the arguments, those of the run's task among them."""
    parser.add_argument("run", metavar="RUN", help="the folder of a trained run")
    task = _task_among(words)
    read = _inputs(task.settings) if task else []
    if len(read) < 2:
        about = read[0].doc if read else "the data to measure on"
        parser.add_argument("files", nargs="*", metavar="FILE", help=f"{about} (default: the run's own held-out data)")
    else:
        for setting in read:
            parser.add_argument(f"input_{setting.name}", nargs="?", metavar=setting.name.upper(), help=setting.doc)
            parser.add_argument(f"--{setting.name}", metavar="FILE", help=argparse.SUPPRESS)
    if task:
        parser.prog = f"recurra eval {task.name}-RUN"
        add_inputs(parser, task.evaluation)
        add_options(parser, task.evaluation)
    parser.add_argument("--report", metavar="FILE", help="write a page with tables and figures there")
    parser.add_argument("--code", action="append", default=[], metavar="FILE:NAME", help="a task or cell of your own")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, a line for each data set")
    return list(words)


def run(arguments: argparse.Namespace) -> int:
    """Print the measures."""
    import torch

    from recurra.base.files import write_text
    from recurra.tasks.load import dumped, evaluate, task_of
    from recurra.tasks.report import write_evaluation_report
    from recurra.tasks.task import View

    torch.set_flush_denormal(True)
    task = task_of(arguments.run)
    options = options_from(arguments, task.evaluation, "recurra eval")
    options = _with_files(options, input_files(arguments, task.evaluation))
    for name, files in _data_sets(arguments, task.settings):
        predictor, split, measures = evaluate(arguments.run, files, options)
        for path, text in measures.files.items():
            write_text(Path(path), text)
        title = f"{Path(arguments.run).name} on {Path(name).name if name else f'its {split} data'}"
        if arguments.report:
            command = shlex.join(["recurra", *arguments.words])
            write_evaluation_report(task, predictor, measures, Path(arguments.report), title, command)
        if arguments.json:
            source = _source(arguments, name, split)
            print(dumped({"run": arguments.run, **source, **measures.numbers}))
            continue
        plain = {**measures.plain, "source": Path(name).name if name else "", "part": split}
        for table in task.tables(View(settings=predictor.settings, measures=plain, predictor=predictor)):
            print_table(table)
    return 0


def _inputs(kind: type[Settings]) -> list[Setting]:
    """The files that an evaluation reads."""
    return [setting for setting in inputs_of(kind) if setting.input and setting.input.evaluates]


def _data_sets(arguments: argparse.Namespace, kind: type[Settings]) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """Each data set: its name, and its files by setting; several files are one text, or each a data set."""
    read = _inputs(kind)
    if len(read) < 2:
        typed = [spooled(name) for name in getattr(arguments, "files", [])]
        if not typed:
            yield "", None
        elif not read:
            fact = f"a run of the task {_task_name(arguments)} draws its own data and reads no files"
            raise ConfigError(message("recurra eval", fact, hint="leave the files out."))
        elif read[0].several:
            yield arguments.files[0], {read[0].path: typed}
        else:
            for name, path in zip(arguments.files, typed, strict=True):
                yield name, {read[0].path: path}
        return
    files = {}
    for setting in read:
        typed = getattr(arguments, f"input_{setting.name}") or getattr(arguments, setting.name.replace("-", "_"))
        if typed:
            files[setting.path] = spooled(typed)
    yield (getattr(arguments, f"input_{read[0].name}") or "", files or None)


def _task_name(arguments: argparse.Namespace) -> str:
    from recurra.tasks.load import task_of

    return task_of(arguments.run).name


def _source(arguments: argparse.Namespace, name: str, split: str) -> dict[str, Any]:
    several = len(getattr(arguments, "files", [])) > 1
    files = {"files": arguments.files} if several or hasattr(arguments, "files") else {}
    return {"file": name, **files} if name else {"part": split}


def _with_files(options: Any, files: Mapping[str, Any]) -> Any:
    import msgspec

    return msgspec.structs.replace(options, **files)


def _task_among(words: Sequence[str]) -> Any:
    """The task of the first run folder among the words; None where there is none."""
    for word in words:
        if word.startswith("-") or not (Path(word) / "config.toml").is_file():
            continue
        from recurra.tasks.load import task_of

        try:
            return task_of(word)
        except RecurraError:
            # What is wrong with it is reported when the run is loaded.
            return None
    return None
