"""Watch a stream with a trained run: forecasts, scores or events as JSON lines, each row's at once.

    tail -f load.csv | recurra watch runs/load
    recurra watch runs/load load.csv --follow --state load.state

The stream is CSV with a head (or --columns) or JSON lines; several series are told apart by unique_id. Rows that are
none (no number, a column missing, a stamp that repeats or goes back) are told on standard error and passed over. With
--state a watch that was killed goes on from its last save with the same answers: rows of FILE that it has read are not
read again, and --out is cut back to what was written by then, so that it holds what an uninterrupted watch had written.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from recurra.base.errors import ConfigError, DataError, message

__all__ = ["configure", "run"]

_WHERE = "recurra watch"
_CHUNK = 1 << 16
_PAUSE_S = 0.05


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Add the arguments of this verb."""
    parser.add_argument("run", metavar="RUN", help="the folder of a trained run that answers row by row")
    parser.add_argument("file", nargs="?", metavar="FILE", help="the stream (default: standard input)")
    parser.add_argument("--out", metavar="FILE", help="where the answers go (default: standard output)")
    parser.add_argument("--follow", action="store_true", help="wait for more when FILE ends")
    parser.add_argument("--columns", metavar="NAMES", help="the columns of a stream without a head, between commas")
    parser.add_argument("--id", metavar="NAME", default="", help="column that tells series apart (default: unique_id)")
    parser.add_argument(
        "--time", metavar="NAME", default="", help="column of stamps (default: ds, timestamp, date ...)"
    )
    parser.add_argument("--state", metavar="FILE", help="keep the state there, and go on from it")
    parser.add_argument(
        "--save-every", type=float, default=30.0, metavar="S", help="seconds between saves of the state (default 30)"
    )
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="answer every N-th row of a series, and alarms"
    )
    parser.add_argument("--threshold", type=float, metavar="X", help="of alarms, instead of the run's own")
    parser.add_argument("--cold", action="store_true", help="online detector: forget the training data's streams")
    parser.add_argument(
        "--batch-ms", type=float, default=0.0, metavar="MS", help="wait so long for rows to take together (default 0)"
    )
    parser.add_argument("--code", action="append", default=[], metavar="FILE:NAME", help="a task or cell of your own")
    parser.add_argument("--quiet", action="store_true", help="no counts at the end; bad rows are still told")
    return list(words)


def run(arguments: argparse.Namespace) -> int:
    """Watch until the stream ends, or a signal."""
    if arguments.follow and not arguments.file:
        raise ConfigError(message(_WHERE, "--follow needs a FILE", hint="standard input is followed by itself."))
    if arguments.save_every <= 0 or arguments.batch_ms < 0:
        raise ConfigError(message(_WHERE, "--save-every must be above 0, --batch-ms at least 0"))
    import torch

    from recurra.serving.rows import RowReader
    from recurra.serving.watch import Watch, dumped, live_model
    from recurra.training.interrupt import Interrupt

    torch.set_flush_denormal(True)
    watch = Watch(live_model(arguments.run, **_options(arguments)), every=arguments.every)
    names = [name.strip() for name in arguments.columns.split(",")] if arguments.columns else ()
    reader = RowReader(watch.model.columns, names=names, id=arguments.id, time=arguments.time)
    kept = Path(arguments.state) if arguments.state else None
    source = {"offset": 0, "file": str(Path(arguments.file).resolve()) if arguments.file else ""}
    before = watch.restore(kept) if kept is not None and kept.exists() else None
    if before is not None:
        reader.load_state(before["reader"])
        if before["file"] == source["file"] and source["file"]:
            source["offset"] = int(before["offset"])
    output = _output(arguments.out, int(before["written"]) if before else 0) if arguments.out else sys.stdout

    def tell(answers: Any) -> None:
        for answer in answers:
            print(dumped(answer.record), file=sys.stderr if answer.fault else output)
        output.flush()

    def save() -> None:
        if kept is not None:
            written = output.tell() if arguments.out else 0
            watch.save(kept, {**source, "reader": reader.state(), "written": written})

    saved = time.monotonic()
    with Interrupt() as interrupt, contextlib.ExitStack() as closing:
        if arguments.out:
            closing.callback(output.close)
        stream = _Lines(arguments.file, source["offset"], arguments.follow, arguments.batch_ms / 1000, interrupt)
        closing.callback(stream.close)
        for lines in stream:
            tell(watch.push([row for row in map(reader.read, lines) if row is not None]))
            source["offset"] = stream.offset
            if time.monotonic() - saved >= arguments.save_every:
                save()
                saved = time.monotonic()
        if kept is None and not interrupt.wanted:
            # With a state the stream may go on another day.
            tell(watch.finish())
        save()
    if not arguments.quiet:
        counts = watch.counts()
        print(f"{counts['rows']:,} rows of {counts['series']:,} series, {counts['bad']:,} bad", file=sys.stderr)
    return 0


def _output(path: str, written: int) -> TextIO:
    """The file, cut back to `written` bytes."""
    try:
        # It stays open as long as the watch runs.
        output = Path(path).open("a+", encoding="utf-8")  # noqa: SIM115
        output.seek(0, os.SEEK_END)
        if output.tell() < written:
            fact = f"has {output.tell():,} bytes, of {written:,} that were written before"
            raise DataError(message(path, fact, hint="is it another file? Then give another --state."))
        output.truncate(written)
        output.seek(0, os.SEEK_END)
    except OSError as error:
        raise DataError(message(path, f"could not be written: {error.strerror}")) from error
    return output


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was typed; the live model of the run says which of it it has."""
    options: dict[str, Any] = {}
    if arguments.threshold is not None:
        options["threshold"] = arguments.threshold
    if arguments.cold:
        options["cold"] = True
    return options


class _Lines:
    """The lines of a file or of standard input, as many at a time as there are; `offset`: bytes behind the last."""

    def __init__(self, file: str | None, offset: int, follow: bool, gather_s: float, interrupt: Any) -> None:
        self.offset, self.follow, self.gather_s, self.interrupt = offset, follow, gather_s, interrupt
        if file is None:
            self.handle, self.waits = sys.stdin.fileno(), True
            return
        try:
            self.handle = os.open(file, os.O_RDONLY)
        except OSError as error:
            raise DataError(message(file, f"could not be read: {error.strerror}")) from error
        size = os.fstat(self.handle).st_size
        if offset > size:
            fact = f"has {size:,} bytes, of which {offset:,} were read before"
            raise DataError(message(file, fact, hint="is it another file? Then give another --state."))
        os.lseek(self.handle, offset, os.SEEK_SET)
        self.waits = False

    def __iter__(self) -> Iterator[list[str]]:
        rest = b""
        while not self.interrupt.wanted:
            block = self._read()
            if block is None:
                continue
            if self.gather_s and block:
                until = time.monotonic() + self.gather_s
                while not self.interrupt.wanted and (left := until - time.monotonic()) > 0:
                    if (more := self._read(left)) == b"":
                        break
                    block += more or b""
            if not block:
                if self.follow:
                    self._check()
                    time.sleep(_PAUSE_S)
                    continue
                # A last line without its end is whole where nothing follows.
                if rest:
                    self.offset += len(rest)
                    yield [rest.decode("utf-8", "replace")]
                return
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            if lines:
                self.offset += sum(len(line) + 1 for line in lines)
                yield [line.decode("utf-8", "replace") for line in lines]

    def close(self) -> None:
        """Give the file back; standard input stays open."""
        if not self.waits:
            os.close(self.handle)

    def _check(self) -> None:
        if os.fstat(self.handle).st_size < self.offset:
            raise DataError(message("recurra watch", "the file has become shorter than what was read of it"))

    def _read(self, most_s: float = 0.2) -> bytes | None:
        """What there is; b"" at the end, None where nothing came in time (a signal may have)."""
        if self.waits:
            import select

            try:
                ready = select.select([self.handle], [], [], most_s)[0]
            except (OSError, ValueError):
                # Not every system can wait for every kind of input.
                ready = [self.handle]
            if not ready:
                return None
        return os.read(self.handle, _CHUNK)
