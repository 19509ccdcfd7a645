"""A trained text model: it writes, it measures texts, it can be inspected."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from recurra.base.errors import DataError, message
from recurra.base.rng import stream
from recurra.data.corpus import read
from recurra.data.vocabulary import Unknown, Vocabulary
from recurra.decoding.sampling import Generation, Sampling
from recurra.diagnostics.subject import Subject
from recurra.tasks.capability import GenerationOptions
from recurra.tasks.folder import read_note
from recurra.tasks.text.model import TextModel
from recurra.tasks.text.score import Score, score
from recurra.tasks.text.settings import TextSettings

__all__ = ["TextRun", "symbol_names", "text_subject"]

_MINIMUM = 2  # steps of a row below which there is nothing to look back at
_ROOMY = 64  # steps that a row has before a second one is begun
_SIGNS = {" ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍"}


class TextRun:
    """A model, its vocabulary and its settings; `load(folder)` makes one.

    >>> run = load("runs/shakespeare")                                                          # doctest: +SKIP
    >>> run.generate("ROMEO:", length=200, how=Sampling(temperature=0.8), seed=1)               # doctest: +SKIP
    """

    def __init__(self, net: Any, prepared: Vocabulary, settings: TextSettings, folder: Path | None = None) -> None:
        self.net, self.prepared, self.settings, self.folder = net.eval(), prepared, settings, folder

    @property
    def model(self) -> TextModel:
        """The net."""
        return self.net

    @property
    def vocabulary(self) -> Vocabulary:
        """The symbols that it knows."""
        return self.prepared

    def unseen(self, text: str) -> list[str]:
        """The characters of `text` that the vocabulary lacks, each once, in order."""
        if self.vocabulary.level == "byte":
            return []
        known = set(self.vocabulary.symbols)
        return [character for character in dict.fromkeys(text) if character not in known]

    def stream(
        self, prompt: str = "", *, how: Sampling | None = None, seed: int | None = None, unknown: Unknown = "skip"
    ) -> Iterator[str]:
        """Text that continues `prompt` without end, piece by piece as it is made; the prompt itself is not repeated.

        seed: the same seed gives the same text; None draws from torch's own generator.
        unknown: what becomes of characters of the prompt that the vocabulary lacks: "skip", "replace" or "error"
            (DataError). Where nothing is left of a prompt, a line feed stands in for it, or the first symbol.
        """
        tokens = self.vocabulary.encode(prompt, unknown).astype(np.int64)
        if tokens.size == 0:
            tokens = self.vocabulary.encode("\n", "skip").astype(np.int64)
        start = torch.from_numpy(tokens if tokens.size else np.zeros(1, dtype=np.int64))[None]
        start = start.to(next(self.model.parameters()).device)
        generator = None if seed is None else stream(seed, "sample")
        decoder = self.vocabulary.decoder()
        for token in Generation(self.model.step, start, how=how, generator=generator):
            # A piece is empty while a character of several bytes is being made.
            yield decoder.push([int(token)])

    def generate(
        self,
        prompt: str = "",
        *,
        length: int = 300,
        how: Sampling | None = None,
        seed: int | None = None,
        unknown: Unknown = "skip",
    ) -> str:
        """`length` symbols of text that continue `prompt`; see `stream`. DataError for a length below 0."""
        if length < 0:
            raise DataError(message("generate", f"length must be >= 0, got {length}"))
        return "".join(itertools.islice(self.stream(prompt, how=how, seed=seed, unknown=unknown), length))

    def sample(self) -> str:
        """The sample that the settings describe: the same prompt, temperature and seed all along training."""
        sample = self.settings.sample
        how = Sampling(temperature=sample.temperature)
        text = self.generate(sample.prompt, length=sample.length, how=how, seed=self.settings.seed)
        return sample.prompt.lstrip("\n") + text

    def generated(self, options: GenerationOptions) -> Iterator[str]:
        """Yield text that continues the prompt, without end."""
        how = Sampling(
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            repetition_penalty=options.repetition_penalty,
        )
        return self.stream(options.prompt, how=how, seed=options.seed, unknown=options.unknown)

    def score(self, text: str | np.ndarray, *, rows: int = 1, unknown: Unknown = "error") -> Score:
        """How well the model predicts `text` (or tokens of its vocabulary); see `recurra.tasks.text.score`."""
        tokens = self.vocabulary.encode(text, unknown) if isinstance(text, str) else text
        return score(self.model, tokens, rows=rows)

    def subject(self, data: Sequence[Path | str] = (), *, rows: int = 8, steps: int = 512) -> Subject:
        """The model with text to look at it by: files, or the excerpt of held-out text that the run keeps.

        Raises DataError where that is empty or too short, or has characters that the run never saw.
        """
        excerpt = read_note(self.folder).get("excerpt", []) if self.folder else []
        name = self.folder.resolve().name if self.folder else "text"
        return text_subject(self.model, self.vocabulary, name, data, excerpt, rows, steps)


def symbol_names(vocabulary: Vocabulary) -> list[str]:
    """Return how each symbol is displayed: blanks as signs, bytes that are no ASCII letter in hexadecimal."""
    if vocabulary.level == "char":
        return [_SIGNS.get(symbol, symbol) for symbol in vocabulary.symbols]
    return [_SIGNS.get(chr(byte)) or (chr(byte) if 32 < byte < 127 else f"{byte:02x}") for byte in range(256)]


def text_subject(
    model: TextModel,
    vocabulary: Vocabulary,
    run_name: str,
    data: Sequence[Path | str],
    excerpt: Sequence[int],
    rows: int = 8,
    steps: int = 512,
) -> Subject:
    """Return the model on `data`, or on the run's own held-out `excerpt`: rows that follow one another in the text.

    Raises DataError where the text is empty or too short, or has characters that the run never saw.
    """
    if data:
        corpus = read(data, vocabulary.level, vocabulary)
        tokens, name = np.asarray(corpus.tokens[: rows * steps + 1]), corpus.name
    else:
        tokens, name = np.asarray(excerpt, np.int64), "the run's held-out excerpt"
    rows = max(1, min(rows, (len(tokens) - 1) // _ROOMY))
    steps = min(steps, (len(tokens) - 1) // rows)
    if steps < _MINIMUM:
        fact = f"{len(tokens)} symbols are too few to inspect, at least {_MINIMUM + 1} are needed"
        hint = "name a text: recurra inspect RUN FILE; some thousand symbols show most."
        raise DataError(message(name, fact, hint=hint))
    segment = torch.from_numpy(tokens[: rows * steps + 1].astype(np.int64))
    names = symbol_names(vocabulary)
    unit = "character" if vocabulary.level == "char" else "byte"
    inputs = segment[:-1].view(rows, steps)
    return Subject(
        name=run_name,
        model=model,
        inputs=inputs,
        targets=segment[1:].view(rows, steps),
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
