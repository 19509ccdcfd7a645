"""Text files read in blocks: strict UTF-8 or raw bytes, plain or gzip, never the whole text in memory."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from shlex import quote

import numpy as np

from recurra.base.errors import DataError, message, nearest

__all__ = ["BLOCK_BYTES", "byte_blocks", "character_blocks", "code_points"]

BLOCK_BYTES = 1 << 22
"""How much of a file is in memory at one time."""

_SHOWN = 6


def byte_blocks(path: Path, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The content of one file in blocks; a name that ends in .gz is decompressed on the way.

    Raises DataError when the file is missing, is a folder, cannot be read, or is a damaged gzip file.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        # A pipe can be read once; a corpus is read twice.
        raise DataError(message(str(path), "is not a regular file", hint="save the text to a file first."))
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while block := file.read(block_bytes):
                yield block
    except FileNotFoundError as error:
        raise DataError(message(str(path), "no such file", _beside(path))) from error
    except IsADirectoryError as error:
        raise DataError(
            message(str(path), "is a folder, a text file was expected", hint=f"name the files in it: {path}/*.txt")
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(message(str(path), f"is a damaged gzip file: {error}")) from error
    except OSError as error:
        raise DataError(message(str(path), f"could not be read: {error.strerror or error}")) from error


def character_blocks(paths: Iterable[Path], block_bytes: int = BLOCK_BYTES) -> Iterator[str]:
    """The text of one or more UTF-8 files, in order, in blocks; line ends stay as they are, a byte-order mark goes.

    Raises DataError naming file, byte offset, the offending bytes and the fix when a file is not UTF-8.
    """
    for path in paths:
        decoder = codecs.getincrementaldecoder("utf-8")()
        offset, begun = 0, False
        for block in byte_blocks(path, block_bytes):
            pending = len(decoder.getstate()[0])
            text = _decoded(decoder, block, path, offset - pending, final=False)
            yield text if begun else text.removeprefix("\ufeff")
            offset, begun = offset + len(block), begun or bool(text)
        yield _decoded(decoder, b"", path, offset - len(decoder.getstate()[0]), final=True)


def code_points(text: str) -> np.ndarray:
    """The Unicode code points of a text, uint32 (N,); lone surrogates (bytes of a command line that were no text) stay.

    >>> code_points("aé").tolist()
    [97, 233]
    """
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _decoded(decoder: codecs.IncrementalDecoder, block: bytes, path: Path, start: int, *, final: bool) -> str:
    """The text of a block that begins (with what was pending) at byte `start` of the file."""
    try:
        return decoder.decode(block, final)
    except UnicodeDecodeError as error:
        offset = start + error.start
        wrong = error.object[error.start : error.start + 4]
        raise DataError(
            message(
                str(path),
                f"is not UTF-8 at byte offset {offset}: {wrong.hex(' ')} ({error.reason})",
                *_context(error.object, error.start),
                hint=_advice(path, error.object),
            )
        ) from error


def _beside(path: Path) -> str:
    """What the folder of a file that is not there holds, nearest names first."""
    if not path.parent.is_dir():
        return f"There is no folder {path.parent} either."
    names = nearest(path.name, [found.name for found in path.parent.iterdir() if found.is_file()])
    return (
        f"Files in {path.parent}: {', '.join(names[:_SHOWN])}{' ...' if len(names) > _SHOWN else ''}" if names else ""
    )


def _context(content: bytes, start: int) -> list[str]:
    before = content[max(0, start - 24) : start].decode("utf-8", "ignore")
    return [f"It stands after {before!r}."] if before else []


def _advice(path: Path, content: bytes) -> str:
    head = next(byte_blocks(path, 2), b"")
    if head == b"\x1f\x8b":
        return f"it is a gzip file: rename it to {path.name}.gz, or read it as bytes: --level byte."
    wide = head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    if b"\0" in content and not wide:
        return "it looks like no text at all; read it as bytes: --level byte."
    target = quote(f"{path.stem}.utf8{path.suffix}")
    convert = f"iconv -f {'UTF-16' if wide else 'WINDOWS-1252'} -t UTF-8 {quote(str(path))} > {target}"
    return f"convert it: {convert}, or read it as bytes: --level byte."
