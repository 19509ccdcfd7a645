"""The Reber grammar and its embedded form: strings, the symbols that may come next, and their probabilities.

The grammar (Reber 1967, in the drawing of Cleeremans, Servan-Schreiber and McClelland 1989); at every fork both ways
have probability 1/2:

    B -> 1      1: T 2 | P 3      2: S 2 | X 4      3: T 3 | V 5      4: X 3 | S 6      5: P 4 | V 6      6: E

Embedded (Fahlman 1991; Hochreiter and Schmidhuber 1997, experiment 1): B, then T or P, a whole Reber string, the same
letter T or P again, E. The second letter must be remembered over the inner string, which is 5 symbols or longer.

A string takes on average 6 binary choices and has 8 symbols; an embedded one 7 and 12. So no model of the embedded
grammar can spend less than 7 bits a string on average, and one that forgets the second letter needs 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from recurra.base.errors import DataError, message

__all__ = ["ENTROPY_BITS", "SYMBOLS", "chances", "encode", "is_legal", "pair", "strings"]

SYMBOLS = "BTPSXVE"
"""The order of the seven inputs and outputs."""

ENTROPY_BITS = {False: 6.0, True: 7.0}
"""Bits a string, plain and embedded."""

# Node -> symbol -> node. The last node has no way out.
_INNER: dict[Any, dict[str, Any]] = {
    0: {"B": 1},
    1: {"T": 2, "P": 3},
    2: {"S": 2, "X": 4},
    3: {"T": 3, "V": 5},
    4: {"X": 3, "S": 6},
    5: {"P": 4, "V": 6},
    6: {"E": 7},
    7: {},
}


def _embedded() -> dict[Any, dict[str, Any]]:
    graph: dict[Any, dict[str, Any]] = {"start": {"B": "which"}, "which": {}, "last": {"E": "end"}, "end": {}}
    for letter in "TP":
        graph["which"][letter] = (letter, 0)
        for node, ways in _INNER.items():
            graph[letter, node] = {symbol: (letter, after) for symbol, after in ways.items()}
        graph[letter, 7] = {letter: "last"}
    return graph


_GRAPHS = {False: (_INNER, 0), True: (_embedded(), "start")}


def strings(count: int, embedded: bool = True, generator: Generator | None = None) -> list[str]:
    """`count` strings, drawn from the grammar.

    >>> strings(2, embedded=False, generator=torch.Generator().manual_seed(0))
    ['BTXSE', 'BTXSE']
    """
    if count < 1:
        raise DataError(message("reber.strings", f"count must be at least 1, got {count}"))
    graph, start = _GRAPHS[embedded]
    drawn = []
    for _ in range(count):
        node, text = start, ""
        while ways := graph[node]:
            choices = list(ways)
            symbol = (
                choices[int(torch.randint(len(choices), (), generator=generator))] if len(choices) > 1 else choices[0]
            )
            text, node = text + symbol, ways[symbol]
        drawn.append(text)
    return drawn


def chances(text: str, embedded: bool = True) -> Tensor:
    """Probability (T, 7) of each symbol after each prefix of `text` but the whole: row t is what may follow text[:t+1].

    T = len(text) - 1. Raises DataError where `text` is not of the grammar.

    >>> chances("BTXSE", embedded=False)[0].tolist()
    [0.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0]
    """
    rows = torch.zeros(max(len(text) - 1, 0), len(SYMBOLS))
    for at, ways in enumerate(_walk(text, embedded)[1:-1]):
        for symbol in ways:
            rows[at, SYMBOLS.index(symbol)] = 1 / len(ways)
    return rows


def is_legal(text: str, embedded: bool = True) -> bool:
    """Whether `text` is a whole string of the grammar."""
    try:
        _walk(text, embedded)
    except DataError:
        return False
    return True


def encode(text: str) -> Tensor:
    """Symbols as one-hot rows (T, 7)."""
    indices = [SYMBOLS.find(symbol) for symbol in text]
    if not text or min(indices) < 0:
        raise DataError(message("reber.encode", f"{text!r} must be of the symbols {SYMBOLS}"))
    return torch.nn.functional.one_hot(torch.tensor(indices), len(SYMBOLS)).float()


def pair(text: str) -> tuple[Tensor, Tensor]:
    """Inputs (T, 7), all symbols but the last, and as targets the symbol after each (T,) int64."""
    rows = encode(text)
    return rows[:-1], rows[1:].argmax(-1)


def _walk(text: str, embedded: bool) -> Sequence[dict[str, Any]]:
    """What may come before each symbol and at the end."""
    graph, node = _GRAPHS[embedded]
    seen = [graph[node]]
    for at, symbol in enumerate(text):
        if symbol not in graph[node]:
            may = " or ".join(graph[node]) or "the end"
            raise DataError(
                message("reber", f"{text!r} is not of the grammar: symbol {at} must be {may}, got {symbol!r}")
            )
        node = graph[node][symbol]
        seen.append(graph[node])
    if graph[node]:
        raise DataError(message("reber", f"{text!r} is not whole: {' or '.join(graph[node])} must follow"))
    return seen
