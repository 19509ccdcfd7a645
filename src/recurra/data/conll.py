"""Tokens in columns, a blank line between sequences: the CoNLL shared tasks, CoNLL-U, and one-token-a-line files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from recurra.base.errors import DataError, message, nearest
from recurra.data.text import character_blocks

__all__ = ["Sentence", "read_conll"]

_DOCUMENT = "-DOCSTART-"
_GLOBAL = "# global.columns ="
# CoNLL-U's ranges of one written word (1-2) and empty nodes (1.1) are no tokens.
_NO_TOKEN = re.compile(r"\d+[-.]\d+")


class Sentence(NamedTuple):
    """One sequence."""

    tokens: tuple[str, ...]
    labels: tuple[str, ...]
    """One for each token; empty where labels were not asked for."""
    lines: tuple[str, ...]
    """The lines of the tokens as they stand in the file."""


def read_conll(
    path: Path | str,
    token: str = "0",
    label: str = "-1",
    *,
    labelled: bool = True,
    header: bool = False,
    separators: Sequence[str] = (),
) -> list[Sentence]:
    """Read the sequences of a file (UTF-8; .gz is decompressed).

    Cells stand between tabs where a line has some, else between blanks. Lines with # before the first token of a
    sequence are comments where they have another number of cells than the tokens.

    Args:
        path: the file.
        token: column of the token: its number from 0, a negative one from the end, or its name.
        label: column of the label.
        labelled: read labels; a file to be tagged has none.
        header: the first line names the columns (a line `# global.columns = ...` always does).
        separators: lines that end a sequence as a blank one does.

    Raises:
        DataError: for a file that cannot be read or is not UTF-8, one without a token, a line with too few cells and a
            column that is not there, with the number of the line.

    """
    ends, names = {"", *separators}, list[str]()
    sentences, rows, width = list[Sentence](), list[tuple[str, str, str]](), 0
    where = str(path)
    for number, line in enumerate("".join(character_blocks([Path(path)])).split("\n"), 1):
        line = line.rstrip("\r")
        if line.startswith(_GLOBAL):
            names = line.removeprefix(_GLOBAL).split()
            continue
        if line.strip() in ends:
            _close(sentences, rows)
            continue
        cells = line.split("\t") if "\t" in line else line.split()
        if header and not names:
            names = cells
            continue
        comment = line.startswith("#") and not rows and len(cells) != (width or 1)
        if comment or cells[0] == _DOCUMENT or (len(cells) > 1 and _NO_TOKEN.fullmatch(cells[0]) and token != "0"):
            continue
        _check_text(line, where, number)
        width = width or len(cells)
        columns = [token, label] if labelled else [token]
        values = [cells[_index(column, names, len(cells), where, number)] for column in columns]
        if not all(values):
            raise DataError(message(where, f"line {number} has an empty cell: {line!r}"))
        rows.append((values[0], values[-1], line))
    _close(sentences, rows)
    if not sentences:
        raise DataError(message(where, "holds no token", hint="one token a line, a blank line between sentences."))
    if not labelled:
        return [sentence._replace(labels=()) for sentence in sentences]
    return sentences


def _close(sentences: list[Sentence], rows: list[tuple[str, str, str]]) -> None:
    if rows:
        tokens, labels, lines = zip(*rows, strict=True)
        sentences.append(Sentence(tokens, labels, lines))
        rows.clear()


def _index(column: str, names: Sequence[str], width: int, where: str, number: int) -> int:
    try:
        index = int(column)
    except ValueError:
        if not names:
            hint = "number the columns from 0, or --set data.header=true where the first line names them."
            raise DataError(message(where, f"has no names of columns, {column!r} was asked for", hint=hint)) from None
        if column not in names:
            known = ", ".join(nearest(column, names))
            raise DataError(message(where, f"no column is called {column!r}", f"There are: {known}.")) from None
        index = names.index(column)
    if not -width <= index < width:
        fact = f"line {number} has {width} columns, column {column} was asked for"
        raise DataError(message(where, fact, hint="--token and --label number the columns from 0, -1 is the last."))
    return index


def _check_text(line: str, where: str, number: int) -> None:
    if "\x00" in line:
        raise DataError(message(where, f"line {number} is no text: it has a null character"))
