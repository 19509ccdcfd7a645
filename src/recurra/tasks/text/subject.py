"""A text run as the diagnostics see it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from recurra.base.errors import DataError, message
from recurra.data.corpus import read
from recurra.diagnostics.subject import Subject
from recurra.tasks.text.model import TextModel

if TYPE_CHECKING:
    from recurra.tasks.text.run import TextRun

__all__ = ["symbol_names", "text_subject"]

_LEAST = 2  # steps of a row below which there is nothing to look back at
_ROOMY = 64  # steps that a row has before a second one is begun
_SHOWN = {" ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍"}


def symbol_names(run: TextRun) -> list[str]:
    """How each symbol of the vocabulary is shown: blanks as signs, bytes that are no ASCII letter in hexadecimal."""
    if run.vocabulary.level == "char":
        return [_SHOWN.get(symbol, symbol) for symbol in run.vocabulary.symbols]
    return [_SHOWN.get(chr(byte)) or (chr(byte) if 32 < byte < 127 else f"{byte:02x}") for byte in range(256)]


def text_subject(
    run: TextRun, data: Sequence[Path | str], excerpt: Sequence[int], rows: int = 8, steps: int = 512
) -> Subject:
    """The model on `data`, or on the run's own held-out `excerpt`: rows that follow one another in the text.

    Raises DataError where the text is empty or too short, or has characters that the run never saw.
    """
    if data:
        corpus = read(data, run.vocabulary.level, run.vocabulary)
        tokens, name = np.asarray(corpus.tokens[: rows * steps + 1]), corpus.name
    else:
        tokens, name = np.asarray(excerpt, np.int64), "the run's held-out excerpt"
    rows = max(1, min(rows, (len(tokens) - 1) // _ROOMY))
    steps = min(steps, (len(tokens) - 1) // rows)
    if steps < _LEAST:
        fact = f"{len(tokens)} symbols are too few to look at, at least {_LEAST + 1} are needed"
        hint = "name a text: recurra inspect RUN FILE; some thousand symbols show most."
        raise DataError(message(name, fact, hint=hint))
    stretch = torch.from_numpy(tokens[: rows * steps + 1].astype(np.int64))
    names = symbol_names(run)
    unit = "character" if run.vocabulary.level == "char" else "byte"
    inputs = stretch[:-1].view(rows, steps)
    return Subject(
        name=run.folder.resolve().name if run.folder else "text",
        model=run.model,
        inputs=inputs,
        targets=stretch[1:].view(rows, steps),
        losses=_losses,
        embed=_embed,
        answer=_answer,
        steps=[[names[token] for token in row] for row in inputs.tolist()],
        names=names,
        unit=unit,
        lead=f"On {rows * steps:,} {unit}s of {Path(name).name if data else name}",
    )


def _embed(model: nn.Module, inputs: Tensor) -> Tensor:
    return cast("TextModel", model).input(inputs)


def _answer(model: nn.Module, x: Tensor, lengths: Tensor | None) -> Tensor:
    text = cast("TextModel", model)
    return text.output(text.recurrent(x, lengths=lengths)[0])


def _losses(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs.transpose(1, 2), targets, reduction="none")
