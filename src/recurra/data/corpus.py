"""A text of any size as one array of tokens: in memory while small, memory-mapped from a file when large."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recurra.base.errors import DataError, message
from recurra.base.files import replacing, write_text
from recurra.data.text import byte_blocks, character_blocks
from recurra.data.vocabulary import Level, Unknown, Vocabulary

__all__ = ["IN_MEMORY_BYTES", "Corpus", "Splits", "from_text", "read"]

IN_MEMORY_BYTES = 64 << 20
"""Above this size the tokens live in a file."""

_TOKENS, _VOCABULARY, _NOTE = "tokens.bin", "tokens.vocabulary.json", "tokens.json"


class Splits(NamedTuple):
    """Consecutive parts of one corpus, in this order; views, nothing is copied."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Corpus:
    """Tokens (N,) of an unsigned type and the vocabulary that made them."""

    tokens: np.ndarray
    vocabulary: Vocabulary
    name: str = "text"

    def split(self, train: float = 0.9, test: float = 0.0) -> Splits:
        """The first `train` of the tokens, the last `test`, and between them what is left for validation.

        Raises DataError when a part that was asked for has fewer than two tokens: it holds nothing to predict.
        """
        if not (0 < train <= 1 and 0 <= test <= 1 - train + 1e-9):
            raise DataError(
                message("Corpus.split", f"train {train} and test {test} must be fractions that sum to <= 1")
            )
        size = len(self.tokens)
        first, last = int(size * train), size - int(size * test)
        parts = Splits(self.tokens[:first], self.tokens[first:last], self.tokens[last:])
        asked = (True, train + test < 1 - 1e-9, test > 0)
        for part, tokens, wanted in zip(Splits._fields, parts, asked, strict=True):
            if wanted and len(tokens) < 2:
                raise DataError(
                    message(
                        self.name,
                        f"the {part} part has {_tokens(len(tokens))} of {size}, at least 2 are needed",
                        hint="take a longer text or other shares; to learn anything takes some 100,000 characters.",
                    )
                )
        return parts


def from_text(text: str, level: Level = "char", vocabulary: Vocabulary | None = None, name: str = "text") -> Corpus:
    """The corpus of a text that is in memory; with a vocabulary of its own unless one is given."""
    if vocabulary is None:
        vocabulary = Vocabulary.of(text) if level == "char" else Vocabulary.bytes()
    return _checked(Corpus(vocabulary.encode(text), vocabulary, name))


def read(
    paths: Sequence[Path | str],
    level: Level = "char",
    vocabulary: Vocabulary | None = None,
    unknown: Unknown = "error",
    cache: Path | str | None = None,
    in_memory_bytes: int = IN_MEMORY_BYTES,
) -> Corpus:
    """The corpus of one or more text files, read in order as one text.

    Two passes in blocks (what characters there are; their tokens), so that memory stays flat at any size. Tokens of
    more than `in_memory_bytes` go into a file in the folder `cache` (default: the user's cache folder) and are used
    from there again while the files stay as they are. `vocabulary` is given where a trained model has one; `unknown`
    then says what becomes of characters it lacks.

    Raises DataError: no files, an empty text or one of a single character, a missing file, a folder, invalid UTF-8
    (with file, byte offset and fix), characters that a given vocabulary lacks.
    """
    files = [Path(path) for path in paths]
    if not files:
        raise DataError(message("corpus.read", "no text files were named"))
    name = str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
    key = _key(files, level, vocabulary, unknown)
    folder = Path(cache) if cache is not None else _user_cache() / key
    if (kept := _kept(folder, key, name)) is not None:
        return kept
    if vocabulary is None:
        vocabulary = Vocabulary.of(character_blocks(files)) if level == "char" else Vocabulary.bytes()
    tokens = _gathered(_token_blocks(files, vocabulary, unknown), vocabulary, folder, key, in_memory_bytes)
    return _checked(Corpus(tokens, vocabulary, name))


def _checked(corpus: Corpus) -> Corpus:
    if len(corpus.tokens) < 2:
        fact = "is empty" if len(corpus.tokens) == 0 else "has a single character: there is nothing to predict"
        raise DataError(message(corpus.name, fact, hint="name a file with more text in it."))
    return corpus


def _tokens(count: int) -> str:
    return "1 token" if count == 1 else f"{count} tokens"


def _token_blocks(files: Iterable[Path], vocabulary: Vocabulary, unknown: Unknown) -> Iterator[np.ndarray]:
    if vocabulary.level == "byte":
        for file in files:
            for block in byte_blocks(file):
                yield np.frombuffer(block, dtype=np.uint8)
    else:
        for file in files:
            position = 0
            for text in character_blocks([file]):
                yield vocabulary.encode(text, unknown, where=str(file), start=position)
                position += len(text)


def _gathered(
    blocks: Iterator[np.ndarray], vocabulary: Vocabulary, folder: Path, key: str, in_memory_bytes: int
) -> np.ndarray:
    held: list[np.ndarray] = [np.empty(0, vocabulary.dtype)]
    size_bytes = 0
    for block in blocks:
        held.append(block)
        size_bytes += block.nbytes
        if size_bytes > in_memory_bytes:
            return _write(folder, key, chain(held, blocks), vocabulary)
    return np.concatenate(held)


def _write(folder: Path, key: str, blocks: Iterable[np.ndarray], vocabulary: Vocabulary) -> np.ndarray:
    """Tokens written front to back (a full disk is then an error, where a mapped page would be a crash)."""
    path = folder / _TOKENS
    with replacing(path) as temporary, temporary.open("wb") as file:
        for block in blocks:
            file.write(block.tobytes())
    vocabulary.save(folder / _VOCABULARY)
    tokens = np.memmap(path, vocabulary.dtype, mode="r")
    # Last, so that a key stands only beside files that are whole.
    write_text(folder / _NOTE, json.dumps({"key": key, "count": len(tokens)}))
    return tokens


def _kept(folder: Path, key: str, name: str) -> Corpus | None:
    """The corpus that an earlier run left in the folder, if it is of the same files."""
    try:
        note = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
        if note["key"] != key:
            return None
        vocabulary = Vocabulary.load(folder / _VOCABULARY)
        tokens = np.memmap(folder / _TOKENS, vocabulary.dtype, mode="r")
        return Corpus(tokens, vocabulary, name) if len(tokens) == note["count"] else None
    except (OSError, ValueError, KeyError, TypeError):
        # A cache that cannot be read is made anew; DataError is a ValueError.
        return None


def _key(files: Iterable[Path], level: Level, vocabulary: Vocabulary | None, unknown: Unknown) -> str:
    digest = hashlib.blake2b(f"{level}/{vocabulary and vocabulary.symbols}/{unknown}".encode(errors="surrogatepass"))
    for file in files:
        if file.exists():
            facts = file.stat()
            digest.update(f"{file.resolve()}/{facts.st_size}/{facts.st_mtime_ns}".encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recurra"
