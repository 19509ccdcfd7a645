"""The battery over tasks: what a declaration must come to, whatever the task.

    from recurra.checks.task import CHECKS, Battery
    CHECKS["resumes"](Battery(main, "mine.py:Mine", folder))

or `recurra check-task mine.py:Mine`. Everything is done through the command line, on the files that the task's own
`example` writes. A crash is an exception in the middle of a write, at several moments of the training; an interrupt is
a signal there.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recurra.base.errors import RecurraError
from recurra.base.option import options_of
from recurra.tasks.capability import CAPABILITIES
from recurra.tasks.folder import CONFIG, MEASURES, NOTE, REPORT, WEIGHTS, locked
from recurra.tasks.load import load
from recurra.tasks.registry import task_named
from recurra.training import checkpoint

__all__ = ["CHECKS", "Battery", "CheckFailed", "Ended"]

_MOMENTS = 4
"""Crashes and interrupts of one training."""
_TIMES = ("seconds", "wall_s", "tokens_per_s")
_VOID = frozenset(("meta", "br", "hr", "img", "input", "link", "path", "rect", "line", "circle", "use", "stop"))


class CheckFailed(RecurraError, AssertionError):
    """A task does not keep the contract; the message says where."""


class Ended(NamedTuple):
    """What a command ended with."""

    code: int
    out: str
    err: str


class _Crash(BaseException):
    """Stands for a killed process: nothing in the code under test catches it."""


class Battery:
    """The example of one task, trained once, and ways to train it again.

    Args:
        main: runs the words of a command line in this process and returns its exit code.
        task: the name behind `recurra train`, or `mine.py:Mine`.
        folder: an empty folder to work in.
        seed: of the example.

    """

    def __init__(self, main: Callable[[list[str]], int], task: str, folder: Path, seed: int = 0) -> None:
        self.main, self.folder = main, folder
        name = task.rpartition(" ")[2]
        self.task = task_named(Path(name).name if ".py:" in name else name)
        self.code = ["--code", name] if ":" in name else []
        self.words = ["train", *(task.split() if not self.code else [name])]
        self.example_folder = folder / "example"
        self.example_folder.mkdir(parents=True)
        self.example = self.task.example(self.example_folder, seed)
        self.writes = 0
        """Files that the unbroken training writes, once that is known."""
        self.short = ["--threads", "1", "--set", "train.checkpoint_every=5", "--set", "train.evaluate_every=10"]

    def run(self, *words: str | Path) -> Ended:
        """Run a command."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = self.main([str(word) for word in words])
        return Ended(code, out.getvalue(), err.getvalue())

    def train(self, run: Path, *more: str) -> Ended:
        """Train the example into `run`."""
        words = ["--out", str(run), *self.example, *self.short, *more, "--json"]
        return self.run(*self.words, *words)

    def resume(self, run: Path, *more: str) -> Ended:
        """Continue `run`."""
        return self.run(*self.words, "--out", run, "--resume", *more, "--json")

    def succeed(self, ended: Ended, what: str) -> Ended:
        """Return the end of a command that must have gone well."""
        require(ended.code == 0, f"{what} ended with {ended.code}: {ended.err.strip()}")
        return ended

    def refuse(self, ended: Ended, what: str, *texts: str) -> None:
        """Check a refusal: exit code 2, one message with these texts, no traceback."""
        require(
            ended.code == 2, f"{what} must be refused with exit code 2, ended with {ended.code}: {ended.err[-400:]}"
        )
        require("Traceback" not in ended.err, f"{what}: a traceback instead of a message: {ended.err[-400:]}")
        for text in texts:
            require(text in ended.err, f"{what}: the message must have {text!r}: {ended.err.strip()}")

    @cached_property
    def trained(self) -> Path:
        """The example, trained without a break."""
        run = self.folder / "trained"
        self.succeed(self.train(run), "training on the example")
        return run


def require(holds: bool, fact: str) -> None:
    """Raise CheckFailed with the fact where something does not hold."""
    if not holds:
        raise CheckFailed(fact)


def check_help(battery: Battery) -> None:
    """Options and inputs of the settings are in the help, with their docstrings."""
    ended = battery.succeed(battery.run(*battery.words, "--help"), "--help")
    shown = " ".join(ended.out.split())
    kind = battery.task.settings
    for name, setting in options_of(kind).items():
        require(f"--{name}" in shown, f"--help lacks the option --{name}")
        require(bool(setting.doc), f"the setting {setting.path} has no docstring to be its help")


def check_show_config(battery: Battery) -> None:
    """The settings that --show-config prints give the same settings by --config."""
    words = [*battery.words, "--out", str(battery.folder / "unused"), *battery.example]
    printed = battery.succeed(battery.run(*words, "--show-config"), "--show-config").out
    file = battery.folder / "shown.toml"
    file.write_text(printed, encoding="utf-8")
    if battery.task.command != battery.task.name and not battery.code:
        return
    again = battery.run(*battery.words, "--out", battery.folder / "unused", "--config", file, "--show-config")
    require(again.out == printed, f"--config of what --show-config printed gives other settings: {again.err}")
    require(not (battery.folder / "unused").exists(), "--show-config wrote a folder")


def check_trains(battery: Battery) -> None:
    """Training writes a run with its measures, and prints them."""
    run = battery.trained
    for name in (CONFIG, NOTE, MEASURES, REPORT):
        require((run / name).exists(), f"the run has no {name}")
    measures = json.loads((run / MEASURES).read_text(encoding="utf-8"))
    value: Any = measures
    for name in battery.task.metric.split("."):
        value = value.get(name, value.get("value")) if isinstance(value, Mapping) else None
    require(isinstance(value, (int, float)), f"the measures have no number {battery.task.metric!r}")
    note = json.loads((run / NOTE).read_text(encoding="utf-8"))
    require(bool(note.get("code", {}).get("task", {}).get("digest")), "run.json does not say which code made the run")


def check_loads(battery: Battery) -> None:
    """A run that was moved gives the measures of its training again, and the same predictions."""
    moved = battery.folder / "moved" / "to here"
    shutil.copytree(battery.trained, moved)
    first, second = (
        json.loads(battery.succeed(battery.run("eval", run, *battery.code, "--json"), "eval").out)
        for run in (battery.trained, moved)
    )
    for measures in (first, second):
        measures.pop("run")
    require(first == second, "a moved run gives other measures")
    stored = json.loads((moved / MEASURES).read_text(encoding="utf-8"))
    differing = [name for name, value in first.items() if stored.get(name, value) != value]
    require(not differing, f"eval gives other numbers than training: {', '.join(differing)}")
    predictor = load(moved)
    for verb, capability in CAPABILITIES.items():
        if isinstance(predictor, capability.protocol):
            outputs = [
                battery.succeed(battery.run(verb, run, *battery.code, "--json"), verb).out
                for run in (battery.trained, moved)
            ]
            require(outputs[0] == outputs[1] and bool(outputs[0]), f"recurra {verb} gives other records")


def check_resumes(battery: Battery) -> None:
    """A training that is killed while it writes goes on to the same weights, whichever write it was."""
    moments = _moments(battery)
    for moment in moments:
        run = battery.folder / f"killed-{moment}"
        with _at_write(moment, _crash), contextlib.suppress(_Crash):
            battery.train(run)
        if not (run / CONFIG).exists():
            shutil.rmtree(run, ignore_errors=True)
            battery.succeed(battery.train(run), "training anew")
        else:
            battery.succeed(battery.resume(run), f"resuming after write {moment}")
        _same(battery.trained, run, f"killed at write {moment}")


def check_interrupts(battery: Battery) -> None:
    """SIGTERM and Ctrl-C end a training in order, and it goes on to the same weights."""
    for moment, number in zip(_moments(battery)[1:3], (signal.SIGTERM, signal.SIGINT), strict=False):
        run = battery.folder / f"stopped-{moment}"
        with _at_write(moment, lambda number=number: os.kill(os.getpid(), number)):
            ended = battery.train(run)
        require(ended.code in (0, 130), f"a signal at write {moment} ended with {ended.code}: {ended.err[-300:]}")
        require("Traceback" not in ended.err, f"a signal at write {moment}: a traceback")
        if ended.code == 0:
            continue
        words = "--resume" in ended.err or not (run / CONFIG).exists()
        require(words, f"the interrupted run does not say how to go on: {ended.err.strip()}")
        battery.succeed(battery.resume(run), f"resuming after a signal at write {moment}")
        _same(battery.trained, run, f"stopped at write {moment}")


def check_refuses(battery: Battery) -> None:
    """Nothing is overwritten: a run, a file, a locked folder, another seed on resume."""
    before = _contents(battery.trained)
    battery.refuse(battery.train(battery.trained), "training into a run", "holds a run already", "--resume")
    battery.refuse(battery.resume(battery.trained, "--seed", "99"), "another seed on resume", "seed")
    with locked(battery.trained):
        battery.refuse(battery.resume(battery.trained), "a second process", "another process trains there")
    require(_contents(battery.trained) == before, "a refused training changed the run")
    file = battery.folder / "file"
    file.write_text("mine")
    battery.refuse(battery.train(file), "a file as folder", "is a file")
    battery.refuse(battery.train(file / "run"), "a folder within a file")
    battery.refuse(battery.resume(battery.folder / "nothing"), "resuming nothing", "holds no run")
    require(not (battery.folder / "nothing").exists(), "resuming nothing made a folder")


def check_full_disk(battery: Battery) -> None:
    """A disk that takes nothing more is reported in one message, and the run goes on when there is room."""
    run = battery.folder / "full"
    with _at_write(_moments(battery)[0], _no_space, always=True):
        ended = battery.train(run)
    require("Traceback" not in ended.err, f"a full disk: a traceback: {ended.err[-300:]}")
    require(ended.code == 2, f"a full disk must end with 2, ended with {ended.code}")
    require("space" in ended.err.lower(), f"a full disk: the message does not say so: {ended.err.strip()}")
    if (run / CONFIG).exists():
        battery.succeed(battery.resume(run), "resuming after a full disk")
        _same(battery.trained, run, "after a full disk")


def check_bad_inputs(battery: Battery) -> None:
    """Each input that cannot be used is refused in one message that names the file; no run is begun."""
    noise = np.random.default_rng(0).integers(0, 256, 4096, np.uint8).tobytes()
    for position, word in enumerate(battery.example):
        path = Path(word)
        if not path.is_file():
            continue
        content = path.read_bytes()
        bad = {
            "missing": None,
            "empty": b"",
            "noise": noise,
            "latin": content[:40] + b"\xe9\xff\n" + content[40:],
        }
        for name, data in bad.items():
            file = battery.example_folder / f"{name}{path.suffix}"
            if data is not None:
                file.write_bytes(data)
            _refused_input(battery, position, file, name)
        damaged = battery.example_folder / f"cut{path.suffix}.gz"
        damaged.write_bytes(gzip.compress(content)[:-12])
        _refused_input(battery, position, damaged, "a truncated .gz")
        (battery.example_folder / "folder").mkdir(exist_ok=True)
        _refused_input(battery, position, battery.example_folder / "folder", "a folder")


def check_compressed_inputs(battery: Battery) -> None:
    """Inputs may be compressed by gzip."""
    words = list(battery.example)
    for position, word in enumerate(words):
        if Path(word).is_file() and not word.endswith(".gz"):
            file = Path(f"{word}.gz")
            file.write_bytes(gzip.compress(Path(word).read_bytes()))
            words[position] = str(file)
    run = battery.folder / "compressed"
    battery.succeed(battery.run(*battery.words, "--out", run, *words, *battery.short, "--json"), "training on .gz")
    _same(battery.trained, run, "trained on .gz")


def check_hostile_names(battery: Battery) -> None:
    """Names with markup and terminal escapes are inert in the report and on the terminal."""
    run = battery.folder / "<script>alert(1)</script>\x1b[31m\"'&"
    words = [*battery.words, "--out", str(run), *battery.example, *battery.short, "--quiet"]
    ended = battery.succeed(battery.run(*words), "training into a folder of a hostile name")
    require("<script>alert" not in (run / REPORT).read_text(encoding="utf-8"), "the report has markup of a file name")
    require("\x1b[31m" not in ended.out + ended.err, "a file name reaches the terminal with its escapes")


def check_report(battery: Battery) -> None:
    """The report is a well-formed page with a table or a figure, the settings and the command."""
    battery.succeed(battery.run("report", battery.trained, *battery.code), "recurra report")
    page = (battery.trained / REPORT).read_text(encoding="utf-8")
    _Page().check(page)
    require("<svg" in page or "<table" in page, "the report has neither figure nor table")
    require("recurra train" in page, "the report does not show the command")
    require("http://" not in page.replace("http://www.w3.org", ""), "the report refers to the network")


def check_inspect(battery: Battery) -> None:
    """`recurra inspect` works, or refuses in one line."""
    ended = battery.run("inspect", battery.trained, *battery.code, "--only", "saliency", "--quiet")
    if ended.code != 0:
        battery.refuse(ended, "recurra inspect")


def check_starts_from(battery: Battery) -> None:
    """Another run can start from this one, and says what it took."""
    if not (battery.trained / WEIGHTS).exists():
        return
    run = battery.folder / "started"
    battery.succeed(battery.train(run, "--from", str(battery.trained), "--seed", "7"), "--from")
    note = json.loads((run / NOTE).read_text(encoding="utf-8"))
    require("from" in note, "run.json does not say which run it started from")
    for name, facts in note.get("start", {}).items():
        require(bool(facts["taken"]), f"loop {name!r} took no weight of the same run of the same task")
        new = ", ".join(facts["new"])
        require(not facts["new"], f"loop {name!r} of the same settings and files did not take {new}")


CHECKS: Mapping[str, Callable[[Battery], None]] = {
    "help": check_help,
    "show-config": check_show_config,
    "trains": check_trains,
    "loads": check_loads,
    "resumes": check_resumes,
    "interrupts": check_interrupts,
    "refuses": check_refuses,
    "full-disk": check_full_disk,
    "bad-inputs": check_bad_inputs,
    "compressed-inputs": check_compressed_inputs,
    "hostile-names": check_hostile_names,
    "report": check_report,
    "inspect": check_inspect,
    "starts-from": check_starts_from,
}
"""Name -> check; each raises CheckFailed."""


def _refused_input(battery: Battery, position: int, file: Path, what: str) -> None:
    words = [*battery.example]
    words[position] = str(file)
    run = battery.folder / "refused"
    ended = battery.run(*battery.words, "--out", run, *words, *battery.short, "--json")
    battery.refuse(ended, f"input {what}", file.name)
    require(not run.exists(), f"input {what}: a run was begun")


def _moments(battery: Battery) -> Sequence[int]:
    """Writes of a training at which it is broken off, spread over all of it, the first and the last among them."""
    if not battery.writes:
        counted: list[Path] = []
        with _at_write(0, lambda: None, counted):
            battery.succeed(battery.train(battery.folder / "counted"), "training")
        battery.writes = len(counted)
    return sorted({int(moment) for moment in np.linspace(1, battery.writes, _MOMENTS)})


@contextlib.contextmanager
def _at_write(
    moment: int, act: Callable[[], None], counted: list[Path] | None = None, *, always: bool = False
) -> Iterator[None]:
    """Within the block `act` is called at the write of this number (and with `always` at every later one)."""
    original, seen = Path.replace, counted if counted is not None else []

    def replace(path: Path, target: Any) -> Path:
        seen.append(path)
        if len(seen) == moment or (always and len(seen) > moment):
            act()
        return original(path, target)

    Path.replace = replace  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        Path.replace = original


def _crash() -> None:
    raise _Crash


def _no_space() -> None:
    raise OSError(28, "No space left on device")


def _same(one: Path, other: Path, where: str) -> None:
    """Weights, what was prepared and what was measured are equal."""
    if (one / WEIGHTS).exists():
        first, second = (checkpoint.load_weights(run / WEIGHTS)[0] for run in (one, other))
        require(first.keys() == second.keys(), f"{where}: other weights")
        differing = [name for name in first if not bool((first[name] == second[name]).all())]
        require(not differing, f"{where}: {', '.join(differing[:4])} differ from those of the unbroken training")
    measures = [_untimed(json.loads((run / MEASURES).read_text(encoding="utf-8"))) for run in (one, other)]
    require(measures[0] == measures[1], f"{where}: other measures than the unbroken training")


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _untimed(item) for name, item in value.items() if name not in _TIMES}
    return value


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class _Page(HTMLParser):
    """Counts that every tag is closed."""

    def check(self, page: str) -> None:
        self.open: list[str] = []
        self.feed(page)
        require(not self.open, f"the report leaves tags open: {self.open[-3:]}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        # The end tags of these may be left out.
        while self.open and self.open[-1] != tag and self.open[-1] in ("p", "li", "td", "th", "tr"):
            self.open.pop()
        require(bool(self.open) and self.open[-1] == tag, f"the report closes {tag} where {self.open[-1:]} is open")
        self.open.pop()
