"""Characters or bytes <-> token numbers."""

from __future__ import annotations

import codecs
import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from recurra.base.errors import DataError, message
from recurra.base.files import write_text
from recurra.data.text import code_points

__all__ = ["Decoder", "Level", "Unknown", "Vocabulary"]

Level = Literal["char", "byte"]
Unknown = Literal["error", "skip", "replace"]

_FORMAT = 1
_CODE_POINTS = 0x110000
_SHOWN = 8
# Unicode's own decomposition leaves typographic quotes and dashes as they are.
_TYPEWRITER = dict(zip("‘’‚“”„–—−…", ["'", "'", ",", '"', '"', '"', "-", "-", "-", "."], strict=True))


@dataclass(frozen=True)
class Vocabulary:
    """The symbols a model knows; token k is `symbols[k]`, or byte k where the level is byte.

    >>> vocabulary = Vocabulary.of("hello")
    >>> vocabulary.symbols, vocabulary.encode("hole").tolist()
    ('ehlo', [1, 3, 2, 0])
    """

    level: Level
    symbols: str = ""
    """The characters, in order of code point where they are of one text; empty at byte level."""

    def __post_init__(self) -> None:
        """Raise ValueError where a symbol occurs twice."""
        if len(set(self.symbols)) != len(self.symbols):
            raise ValueError("a vocabulary has each symbol once")

    def extended(self, other: Vocabulary) -> Vocabulary:
        """Return this vocabulary with the symbols of another one that it lacks behind its own.

        >>> Vocabulary.of("ab").extended(Vocabulary.of("cab")).symbols
        'abc'
        """
        known = set(self.symbols)
        return Vocabulary(self.level, self.symbols + "".join(char for char in other.symbols if char not in known))

    @classmethod
    def of(cls, blocks: str | Iterable[str]) -> Vocabulary:
        """The vocabulary of the characters that occur in a text, or in any of its blocks."""
        seen = np.zeros(_CODE_POINTS, dtype=bool)
        for block in [blocks] if isinstance(blocks, str) else blocks:
            seen[code_points(block)] = True
        return cls("char", "".join(map(chr, np.flatnonzero(seen))))

    @classmethod
    def bytes(cls) -> Vocabulary:
        """The 256 bytes: no text has a symbol outside of it."""
        return cls("byte")

    def __len__(self) -> int:
        return 256 if self.level == "byte" else len(self.symbols)

    @property
    def dtype(self) -> np.dtype:
        """The smallest unsigned type that holds every token."""
        return np.min_scalar_type(max(len(self) - 1, 0))

    @cached_property
    def _token_of(self) -> np.ndarray:
        """Code point -> token, -1 where there is none."""
        table = np.full(_CODE_POINTS, -1, dtype=np.int32)
        table[code_points(self.symbols)] = np.arange(len(self))
        return table

    def encode(
        self, text: str, unknown: Unknown = "error", *, where: str = "Vocabulary.encode", start: int = 0
    ) -> np.ndarray:
        """Tokens (N,) of a text, in `dtype`.

        A character that the vocabulary lacks raises DataError naming it and its positions, or is left out ("skip"), or
        gives way to its nearest relative ("replace": without accent, in the other case, typewriter punctuation, and at
        last a space). `where` opens the message, and `start` is the position of the text's first character in it.
        """
        if self.level == "byte":
            return np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)
        tokens = self._token_of[code_points(text)]
        missing = np.flatnonzero(tokens < 0)
        if missing.size and unknown == "error":
            raise DataError(self._unseen(text, missing, where, start))
        if missing.size and unknown == "replace":
            for position in missing:
                tokens[position] = self._relative(text[position])
        return tokens[tokens >= 0].astype(self.dtype)

    def decode(self, tokens: np.ndarray | Iterable[int]) -> str:
        """The text of tokens (N,); bytes that are no UTF-8 come out as U+FFFD."""
        decoder = self.decoder()
        return decoder.push(tokens) + decoder.end()

    def decoder(self) -> Decoder:
        """For text that is made token by token."""
        return Decoder(self)

    def save(self, path: Path | str) -> None:
        """Write the vocabulary as JSON, whole or not at all."""
        content = {"format": _FORMAT, "level": self.level, "symbols": self.symbols}
        write_text(Path(path), json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path | str) -> Vocabulary:
        """The vocabulary that `save` wrote; DataError when the file is missing, damaged or of another version."""
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            version, level, symbols = content["format"], content["level"], content["symbols"]
        except OSError as error:
            raise DataError(message(str(path), f"could not be read: {error.strerror or error}")) from error
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(message(str(path), f"is not a vocabulary: {error!r}")) from error
        if version != _FORMAT:
            raise DataError(message(str(path), f"is a vocabulary of format {version!r}, this Recurra reads {_FORMAT}"))
        if level not in ("char", "byte") or not isinstance(symbols, str) or len(set(symbols)) != len(symbols):
            raise DataError(message(str(path), "is not a vocabulary: level or symbols are not as they were written"))
        return cls(level, symbols)

    def _relative(self, character: str) -> int:
        plain = unicodedata.normalize("NFKD", _TYPEWRITER.get(character, character))
        for candidate in (*plain, *plain.swapcase(), " "):
            if (token := self._token_of[ord(candidate)]) >= 0:
                return token
        return -1

    def _unseen(self, text: str, missing: np.ndarray, where: str, start: int) -> str:
        positions: dict[str, list[int]] = {}
        for position in missing.tolist():
            positions.setdefault(text[position], []).append(start + position)
        lines = [
            f"{character!r} (U+{ord(character):04X}) at position {', '.join(map(str, places[:_SHOWN]))}"
            + (f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else "")
            for character, places in list(positions.items())[:_SHOWN]
        ]
        if len(positions) > _SHOWN:
            lines.append(f"and {len(positions) - _SHOWN} more")
        count = "1 character" if len(positions) == 1 else f"{len(positions)} characters"
        return message(
            where,
            f"the text has {count} that the vocabulary of {len(self)} lacks",
            *lines,
            hint='unknown="replace" (--unknown replace) takes the nearest known character, "skip" leaves them out.',
        )


class Decoder:
    """Tokens to text as they come: a character of several bytes appears when its last byte is there."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._symbols = vocabulary.symbols
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace") if vocabulary.level == "byte" else None

    def push(self, tokens: np.ndarray | Iterable[int]) -> str:
        """The text that is complete after these tokens."""
        numbers = tokens.tolist() if isinstance(tokens, np.ndarray) else [int(token) for token in tokens]
        if self._bytes is None:
            return "".join([self._symbols[number] for number in numbers])
        return self._bytes.decode(bytes(numbers))

    def end(self) -> str:
        """What is left when no more tokens come: U+FFFD for a character that was cut, mostly nothing."""
        return self._bytes.decode(b"", True) if self._bytes is not None else ""
