"""Train a model of text: recurra train text FILE... --out runs/x.
Or a classic task of the papers: recurra train task NAME; recurra train task lists them.

Settings come from, each over the one before: the defaults (a recipe that works), --config FILE, --set key=value, and
the options below. With --resume they come from the run itself.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import msgspec

from recurra.base import config
from recurra.base.errors import ConfigError, DataError, RecurraError, message
from recurra.cli import train_task
from recurra.cli.style import bold, dim
from recurra.tasks.text.settings import TextSettings

__all__ = ["INTERRUPTED", "configure", "progress_of", "run", "show_outcome", "written_report"]

INTERRUPTED = 130

OPTIONS = {
    "level": ("data.level", "symbols are characters (char) or bytes (byte)"),
    "cell": ("model.cell", "the recurrent cell; recurra cells lists them"),
    "hidden": ("model.hidden_size", "units per layer"),
    "layers": ("model.num_layers", "recurrent layers"),
    "embedding": ("model.embedding_size", "width of the symbol table; 0: one-hot"),
    "dropout": ("model.dropout", "on the output of every layer"),
    "epochs": ("train.epochs", "passes over the text"),
    "iterations": ("train.iterations", "updates of the weights; 0: as many as the epochs have"),
    "minutes": ("train.minutes", "stop after so many; 0: no limit"),
    "rate": ("train.optim.learning_rate", "highest learning rate"),
    "batch": ("data.batch_size", "rows read side by side"),
    "chunk": ("data.chunk", "steps the gradient goes back"),
    "seed": ("seed", "of weights, dropout, data order and samples"),
    "threads": ("threads", "CPU threads; 0: torch's choice"),
}
"""Option -> the setting it stands for, and what it says in --help. The types and ranges are those of the setting."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument("task", choices=["text", "task"], help="a model of text, or a classic task")
    told = "text files (UTF-8, or .gz of it), read as one text; or the name of a task"
    parser.add_argument("files", nargs="*", metavar="FILE", help=told)
    parser.add_argument("--out", metavar="FOLDER", help="the run folder to write; a task can do without")
    parser.add_argument("--resume", action="store_true", help="continue the run in that folder")
    parser.add_argument("--config", metavar="FILE", help="settings in TOML, such as a recipe")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting by its dotted name"
    )
    parser.add_argument("--show-config", action="store_true", help="print the settings as TOML and stop")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, nothing else")
    parser.add_argument("--quiet", action="store_true", help="no progress, no samples")
    model = parser.add_argument_group(
        "settings", "a few of them have an option (defaults of text models); --show-config prints all"
    )
    for option, (path, about) in OPTIONS.items():
        default = str(_default(path)).replace("%", "%%")
        model.add_argument(f"--{option}", metavar=option.upper(), help=f"{about} (default {default})")


def run(arguments: argparse.Namespace) -> int:
    """Train, and print how it went."""
    if arguments.task == "task":
        return train_task.run(arguments, OPTIONS)
    if not arguments.out:
        raise ConfigError(
            message(
                "recurra train",
                "--out is empty" if arguments.out == "" else "--out is missing",
                hint="name the run folder: --out runs/x",
            )
        )
    folder = Path(arguments.out)
    settings = settings_from(arguments, folder)
    if arguments.show_config:
        import tomli_w

        print(tomli_w.dumps(config.to_dict(settings)), end="")
        return 0
    from recurra.tasks.text.train import train

    command = shlex.join(["recurra", *arguments.words])
    outcome = train(settings, folder, resume=arguments.resume, progress=progress_of(arguments), command=command)
    if outcome.score is None:
        # The loop has said where it saved and how to go on; with --quiet it has not.
        if arguments.quiet or arguments.json:
            where = shlex.quote(str(folder))
            print(f"interrupted; continue with: recurra train text --out {where} --resume", file=sys.stderr)
        return INTERRUPTED
    report = written_report(folder)
    show_outcome(outcome, report, as_json=arguments.json)
    return 0


def written_report(folder: Path) -> Path | None:
    """The report of a finished run; None, and why on standard error, where it could not be written."""
    from recurra.tasks.text.report import write_report

    try:
        return write_report(folder)
    except RecurraError as error:
        # The figures of hours of training are shown all the same.
        print(f"recurra: no report: {error}\n  Later: recurra report {shlex.quote(str(folder))}", file=sys.stderr)
        return None


def settings_from(arguments: argparse.Namespace, folder: Path) -> TextSettings:
    """Defaults, config file (or the run's own), --set, options; ConfigError with every fault at once."""
    overrides = [*arguments.set]
    for option, (path, _) in OPTIONS.items():
        if (value := getattr(arguments, option)) is not None:
            overrides.append(f"{path}={value}")
    if arguments.resume and arguments.config:
        raise ConfigError(
            message("recurra train", "--resume continues with the run's own settings, --config names others")
        )
    source = folder / "config.toml" if arguments.resume and (folder / "config.toml").exists() else arguments.config
    where = "settings" if source is None else str(source)
    settings = (
        config.load(TextSettings, source, overrides) if source else config.parse(TextSettings, {}, overrides, where)
    )
    if arguments.files:
        files = tuple(_absolute(name) for name in arguments.files)
        settings = msgspec.structs.replace(settings, data=msgspec.structs.replace(settings.data, files=files))
    return settings


def _absolute(name: str) -> str:
    """The file's whole path, by which a resume finds it from anywhere; /dev/stdin becomes the file behind it."""
    if name == "-":
        hint = "save it first: ... > text.txt; recurra train text text.txt"
        raise DataError(message("recurra train text", "the text is read twice, standard input only once", hint=hint))
    path = Path(name).resolve()
    # A pipe resolves to a name that is none; what was typed says more.
    return str(path if path.exists() else Path(name).absolute())


def progress_of(arguments: argparse.Namespace) -> Any:
    """A bar on a terminal, plain lines elsewhere, nothing when quiet; on standard error, results go to the other."""
    from recurra.training.progress import Progress

    return Progress("quiet" if arguments.quiet or arguments.json else "auto")


def show_outcome(outcome: Any, report: Path | None, *, as_json: bool) -> None:
    """The figures of a finished run on standard output."""
    found, measured, folder = outcome.score, outcome.baseline, outcome.run.folder
    if as_json:
        facts = {
            "folder": str(folder),
            "iteration": outcome.result.iteration,
            "reason": outcome.result.reason,
            "parameters": outcome.run.model.parameter_count(),
            "validation": found.numbers(),
            "baseline": {"order": measured.order, "nats": measured.nats, "bits": measured.bits} if measured else None,
            "report": str(report) if report else None,
        }
        print(json.dumps(facts))
        return
    unit = "character" if outcome.run.vocabulary.level == "char" else "byte"
    settings = outcome.run.settings.model
    rows = [(f"{settings.cell} {settings.hidden_size} x {settings.num_layers}", found.bits, found.nats)]
    if measured:
        rows.append((f"{measured.order}-gram, modified Kneser-Ney", measured.bits, measured.nats))
    width = max(len(name) for name, _, _ in rows)
    print(bold(f"On {found.positions:,} held-out {unit}s"))
    print(dim(f"  {'':<{width}}  bits per {unit}   nats   perplexity"))
    for name, bits, nats in rows:
        print(f"  {name:<{width}}  {bits:>{9 + len(unit)}.4f}  {nats:6.4f}   {2**bits:10.3f}")
    print(f"\nThe run is in {folder}" + (f", its report in {report}" if report else ""))
    print(dim(f'recurra generate {shlex.quote(str(folder))} --prompt "..." writes with it.'))


def _default(path: str) -> Any:
    value: Any = TextSettings()
    for name in path.split("."):
        value = getattr(value, name)
    return value
