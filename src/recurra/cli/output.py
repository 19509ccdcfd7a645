"""The one printer: tables for the terminal, records as CSV or JSON lines, escapes of other people's text made inert."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from recurra.cli.style import bold, dim

__all__ = ["inert", "print_table", "progress_of", "write_records"]

# Control characters but tab and line feed: a label from a file must not move the cursor or colour the terminal.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def inert(text: str) -> str:
    r"""Return the text with its control characters as visible escapes.

    >>> inert("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return _CONTROLS.sub(lambda match: f"\\x{ord(match.group()):02x}", text)


def print_table(table: Any) -> None:
    """Print a `recurra.tasks.task.Table`: names to the left, numbers to the right."""
    print(bold(inert(table.title)))
    rows = [tuple(inert(cell) for cell in row) for row in table.rows]
    lines = [*([table.head] if table.head else []), *rows]
    if lines:
        widths = [max(len(row[column]) for row in lines if column < len(row)) for column in range(max(map(len, lines)))]
        for number, row in enumerate(lines):
            cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=False)]
            line = f"  {'  '.join([f'{row[0]:<{widths[0]}}', *cells])}".rstrip()
            print(dim(line) if table.head and not number else line)
    for note in table.notes:
        print(f"  {inert(note)}")


def progress_of(arguments: Any) -> Any:
    """Return a bar on a terminal, plain lines elsewhere, nothing when quiet; on standard error."""
    from recurra.training.progress import Progress

    return Progress("quiet" if arguments.quiet or arguments.json else "auto")


def write_records(records: Iterable[Any], arguments: Any, items: str) -> int:
    """Write records (`recurra.tasks.capability.Record`) as JSON lines, or as CSV to `--out` or standard output."""
    if arguments.json:
        for record in records:
            print(json.dumps(record.json(), ensure_ascii=False))
        return 0
    from recurra.base.files import write_text

    text, writer, count = io.StringIO(), None, 0
    for record in records:
        count += 1
        plain = record.text()
        if plain is not None:
            text.write(plain)
            continue
        for row in record.rows():
            if writer is None:
                writer = csv.DictWriter(text, list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)
    if not arguments.out:
        print(text.getvalue(), end="")
        return 0
    write_text(Path(arguments.out), text.getvalue())
    if not arguments.quiet:
        print(f"{count:,} {items}: {arguments.out}", file=sys.stderr)
    return 0
