"""The verbs that turn a file into records with a trained run: forecast, classify, detect, tag.

The model must have the capability of the verb; options and columns are those of the capability
(`recurra.tasks.capability`), the file is read as in training.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from recurra.base.errors import ConfigError, message
from recurra.cli.arguments import add_options, options_from
from recurra.cli.output import write_records
from recurra.cli.spool import spooled
from recurra.tasks.capability import CAPABILITIES, abilities

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Add the arguments of the verb that `parser.prog` ends with."""
    verb = parser.prog.split()[-1]
    capability = CAPABILITIES[verb]
    parser.set_defaults(verb=verb)
    parser.add_argument("run", metavar="RUN", help="the folder of a trained run")
    parser.add_argument("file", nargs="?", metavar="FILE", help="the data (default: the run's own file)")
    parser.add_argument("--out", metavar="FILE", help="file to write (default: standard output)")
    add_options(parser, capability.options)
    parser.add_argument("--code", action="append", default=[], metavar="FILE:NAME", help="a task or cell of your own")
    parser.add_argument("--json", action="store_true", help="print JSON lines, one for each record")
    parser.add_argument("--quiet", action="store_true", help="print nothing beside the result")
    return list(words)


def run(arguments: argparse.Namespace) -> int:
    """Write the records."""
    import torch

    from recurra.base.option import inputs_of
    from recurra.tasks.load import load, task_of
    from recurra.tasks.settings import with_inputs

    torch.set_flush_denormal(True)
    where, capability = f"recurra {arguments.verb}", CAPABILITIES[arguments.verb]
    options = options_from(arguments, capability.options, where)
    task, predictor = task_of(arguments.run), load(arguments.run)
    if not isinstance(predictor, capability.protocol):
        able = ", ".join(abilities(predictor)) or "can be evaluated and inspected"
        fact = f"is a run of the task {task.name}, which {able}; it does not do what recurra {arguments.verb} needs"
        raise ConfigError(message(arguments.run, fact))
    settings = predictor.settings
    if arguments.file:
        first = inputs_of(task.settings)[0]
        path = spooled(arguments.file)
        settings = with_inputs(settings, {first.path: (path,) if first.several else path})
    data = task.read(settings, predictor.prepared, labelled=False)
    records = getattr(predictor, capability.method)(data, options)
    return write_records(records, arguments, capability.items)
