"""Tokens in columns, a blank line between sequences: the CoNLL shared tasks, CoNLL-U, and one-token-a-line files.

Buchholz and Marsi, CoNLL-X shared task on multilingual dependency parsing, 2006; CoNLL-U and CoNLL-U Plus as in
https://universaldependencies.org/format.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from recurra.base.errors import DataError, message
from recurra.base.files import write_bytes
from recurra.data.text import byte_blocks

__all__ = ["Row", "Sentence", "read_conll", "tagged_text", "write_conll"]

_DOCUMENT = "-DOCSTART-"
_GLOBAL = "# global.columns ="
_CONLLU = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
# Metadata of CoNLL-U: "# sent_id = 1", "# newdoc".
_METADATA = re.compile(r"# *(?:new(?:doc|par)\b|[\w.:-]+ = )")
_FIRST_ID = re.compile(r"0\.1|1|1-\d+")
# CoNLL-U's ranges of a written word (1-2) and empty nodes (1.1) are no tokens.
_GAP_ID = re.compile(r"\d+[-.]\d+")
_BLANK = " \t\r"


class Row(NamedTuple):
    """One line of a file."""

    text: str
    ending: str
    """The line end: a newline, with or without a carriage return, or nothing at the end of the file."""
    kind: Literal["token", "names", "document", "gap", "other"]
    """A token; names of the columns; the start of a document; an ID of CoNLL-U without a token of its own; blank lines,
    comments and separators."""


class Sentence(NamedTuple):
    """One sequence."""

    tokens: tuple[str, ...]
    labels: tuple[str, ...] = ()
    """One for each token; empty where labels were not read."""
    rows: tuple[Row, ...] = ()
    """The lines of the file from the end of the sequence before to the end of this one; all of them together are the
    file. Empty where the sequence is from no file."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines of the tokens as they are in the file; the tokens where there is no file."""
        return tuple(row.text for row in self.rows if row.kind == "token") if self.rows else self.tokens


class _Layout(NamedTuple):
    """What the first lines say of the columns."""

    names: tuple[str, ...]
    names_line: int
    """Index of the line that names them; -1: none."""
    tabs: bool
    width: int
    """Number of columns of the first token."""
    identifier: int | None
    """Column of the IDs of CoNLL-U."""

    def cells(self, text: str) -> list[str]:
        return _cells(text, self.tabs)


def read_conll(
    path: Path | str,
    token: int | str = 0,
    label: int | str = -1,
    *,
    labelled: bool = True,
    header: bool = False,
    separators: Sequence[str] = (),
) -> list[Sentence]:
    """Read the sequences of a file in columns (UTF-8; a name that ends in .gz is decompressed).

    Columns are separated by tabs where the first token's line has some, else by blanks. Comments (lines with #, unless
    they have the columns of a token), lines of -DOCSTART-, and word ranges and empty nodes of CoNLL-U are not tokens.

    Args:
        path: the file.
        token: column of the token: its number from 0, a negative one from the end, or its name.
        label: column of the label.
        labelled: read labels; a file to be tagged has none.
        header: the first line names the columns. A line that has the name of a requested column, a line
            `# global.columns = ...` (CoNLL-U Plus) and the ten columns of CoNLL-U are recognised without it.
        separators: lines that end a sequence as a blank line does, such as <> and <end>.

    Raises:
        DataError: for a file that cannot be read, is not UTF-8 or has no token; with the number of the line where it
            has too few columns, another number of columns while they are counted from the end, or an empty cell; and
            for a column that does not exist.

    Examples:
        >>> read_conll("eng.testa.gz")[0].labels[:4]  # doctest: +SKIP
        ('O', 'O', 'I-ORG', 'O')

    """
    where, ends = str(path), {"", *separators}
    lines = _lines(Path(path))
    layout = _layout(lines, where, (token, label), header, ends)
    columns = [_index(column, layout, where) for column in ((token, label) if labelled else (token,))]
    if len(set(columns)) < len(columns):
        fact = f"the token and its label are both in column {columns[0]} of {layout.width}"
        raise DataError(message(where, fact, hint=_HINT))
    strict = any(_is_negative(column) for column in ((token, label) if labelled else (token,)))
    identifier = layout.identifier if layout.identifier != columns[0] else None

    sentences = list[Sentence]()
    rows, values = list[Row](), list[list[str]]()
    # Rows up to the end of the sequence whose tokens were read; None: it has not ended.
    end: int | None = None
    for number, (text, ending) in enumerate(lines):
        kind = _kind(text, number, layout, identifier, ends, within=bool(values) and end is None)
        if kind == "token":
            if end is not None and values:
                sentences.append(_sentence(rows[:end], values))
                rows, values = rows[end:], []
            cells = layout.cells(text)
            if len(cells) <= max(columns) or (strict and len(cells) != layout.width):
                raise DataError(_wrong_width(f"{where}:{number + 1}", cells, columns, layout.width))
            values.append([cells[column] for column in columns])
            if not all(values[-1]):
                raise DataError(message(f"{where}:{number + 1}", f"has an empty cell: {text!r}"))
            end = None
        rows.append(Row(text, ending, kind))
        boundary = kind == "document" or (kind == "other" and text.strip(_BLANK) in ends)
        if values and end is None and boundary:
            end = len(rows) - (kind == "document")
    sentences.append(_sentence(rows, values))
    return sentences


def tagged_text(sentence: Sentence, labels: Sequence[str], name: str = "PREDICTED") -> str:
    """Return the lines of a sequence with a label as an additional last column; all else is as it was in the file.

    Names of columns get a further name, the starts of documents O and the gaps of CoNLL-U _, so that every line has
    the same number of columns (conlleval asks for it).

    Args:
        sentence: a sequence of `read_conll`, or one without rows.
        labels: a label for each token.
        name: name of the column.

    Raises:
        DataError: where there is not one label for each token.

    """
    if len(labels) != len(sentence.tokens):
        fact = f"{len(labels)} labels for {len(sentence.tokens)} tokens"
        raise DataError(message("conll.tagged_text", fact))
    rows = sentence.rows or (*(Row(token, "\n", "token") for token in sentence.tokens), Row("", "\n", "other"))
    column, pieces = iter(labels), list[str]()
    # In a file of one column without a tab, a blank is what read_conll expects.
    separator = "\t" if any("\t" in row.text for row in rows if row.kind == "token") else " "
    for row in rows:
        cell = {"names": name, "document": "O", "gap": "_"}.get(row.kind)
        cell = next(column) if row.kind == "token" else cell
        blank = " " if row.text.startswith("#") and row.kind == "names" else separator
        pieces.append(row.text + (f"{blank}{cell}" if cell is not None else "") + row.ending)
    return "".join(pieces)


def write_conll(
    path: Path | str, sentences: Iterable[Sentence], labels: Iterable[Sequence[str]], name: str = "PREDICTED"
) -> None:
    """Write the file that the sequences were read from, with the labels as an additional last column."""
    pairs = zip(sentences, labels, strict=True)
    write_bytes(Path(path), "".join(tagged_text(sentence, row, name) for sentence, row in pairs).encode())


_HINT = "columns are numbered from 0, negative ones from the end (0 and -1: the first and the last)."


def _lines(path: Path) -> list[tuple[str, str]]:
    """Return the lines of a file with their ends."""
    content = b"".join(byte_blocks(path))
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line, wrong = content.count(b"\n", 0, error.start) + 1, content[error.start : error.start + 4].hex(" ")
        fact = f"is not UTF-8 at byte offset {error.start}: {wrong} ({error.reason})"
        compressed = content.startswith(b"\x1f\x8b")
        hint = f"rename it to {path.name}.gz." if compressed else "convert it to UTF-8, with iconv for instance."
        raise DataError(message(f"{path}:{line}", fact, hint=hint)) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(message(f"{path}:{line}", "has a null character; the file is not text"))
    # Other line ends of Unicode may be in a token.
    pieces = text.split("\n")
    endings = ["\r\n" if piece.endswith("\r") else "\n" for piece in pieces[:-1]]
    lines = [(piece.removesuffix("\r"), ending) for piece, ending in zip(pieces[:-1], endings, strict=True)]
    return [*lines, (pieces[-1], "")] if pieces[-1] else lines


def _cells(text: str, tabs: bool) -> list[str]:
    # Other blanks of Unicode may be in a token.
    return text.split("\t") if tabs else [cell for cell in text.replace("\t", " ").split(" ") if cell]


def _layout(
    lines: Sequence[tuple[str, str]], where: str, requested: Sequence[int | str], header: bool, ends: set[str]
) -> _Layout:
    names, names_line = tuple[str, ...](), -1
    for number, (text, _) in enumerate(lines):
        if text.startswith(_GLOBAL):
            names, names_line = tuple(text.removeprefix(_GLOBAL).split()), number
            break
    content = [(n, text) for n, (text, _) in enumerate(lines) if text.strip(_BLANK) not in ends]
    # A token may be #, so that such lines count where there are no others.
    content = [(n, text) for n, text in content if not text.startswith("#")] or [
        (n, text) for n, text in content if not _METADATA.match(text)
    ]
    if content and not names:
        number, text = content[0]
        cells = _cells(text, "\t" in text)
        if header or any(str(column) in cells for column in requested if _is_name(column)):
            names, names_line, content = tuple(cells), number, content[1:]
    for _, text in content:
        tabs = "\t" in text
        cells = _cells(text, tabs)
        if _DOCUMENT not in cells:
            names = names or (_CONLLU if tabs and len(cells) == len(_CONLLU) and _FIRST_ID.fullmatch(cells[0]) else ())
            folded = [name.casefold() for name in names]
            identifier = folded.index("id") if "id" in folded else 0 if not names else len(cells)
            if len(cells) <= max(1, identifier) or not _FIRST_ID.fullmatch(cells[identifier]):
                identifier = None
            return _Layout(names, names_line, tabs, len(cells), identifier)
    raise DataError(message(where, "has no token", hint="a token on each line, a blank line between sentences."))


def _kind(
    text: str, number: int, layout: _Layout, identifier: int | None, ends: set[str], *, within: bool
) -> Literal["token", "names", "document", "gap", "other"]:
    if number == layout.names_line:
        return "names"
    if text.strip(_BLANK) in ends:
        return "other"
    cells = layout.cells(text)
    if text.startswith("#"):
        comment = identifier is not None or (not within and (len(cells) != layout.width or _METADATA.match(text)))
        return "other" if comment else "token"
    if _DOCUMENT in cells:
        return "document"
    gap = identifier is not None and identifier < len(cells) and _GAP_ID.fullmatch(cells[identifier])
    return "gap" if gap else "token"


def _sentence(rows: Sequence[Row], values: Sequence[Sequence[str]]) -> Sentence:
    tokens, *labels = zip(*values, strict=True)
    return Sentence(tokens, labels[0] if labels else (), tuple(rows))


def _is_name(column: int | str) -> bool:
    return isinstance(column, str) and not re.fullmatch(r"[+-]?\d+", column)


def _is_negative(column: int | str) -> bool:
    return not _is_name(column) and int(column) < 0


def _index(column: int | str, layout: _Layout, where: str) -> int:
    """Return the number of a column from 0."""
    if _is_name(column):
        if not layout.names:
            raise DataError(message(where, f"its columns have no names, but {column!r} was requested", hint=_HINT))
        folded = [name.casefold() for name in layout.names]
        if column in layout.names:
            return layout.names.index(str(column))
        if str(column).casefold() in folded:
            return folded.index(str(column).casefold())
        raise DataError(message(where, f"there is no column {column!r}", f"Columns: {', '.join(layout.names)}."))
    index = int(column)
    if not -layout.width <= index < layout.width:
        count = f"{layout.width} column{'s' if layout.width > 1 else ''}"
        raise DataError(message(where, f"has {count}, column {index} was requested", hint=_HINT))
    return index % layout.width


def _wrong_width(where: str, cells: Sequence[str], columns: Sequence[int], width: int) -> str:
    count = f"has {len(cells)} column{'s' if len(cells) > 1 else ''}"
    if len(cells) <= max(columns):
        return message(where, f"{count}, column {max(columns)} was requested", hint=_HINT)
    hint = "a column that is counted from the end (label=-1) needs the same number on every line; count from 0."
    return message(where, f"{count}, the first token has {width}", hint=hint)
