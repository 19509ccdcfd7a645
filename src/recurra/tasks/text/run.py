"""A trained text model, loaded from its folder: it writes, and it measures texts."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from recurra.base.errors import CheckpointError, DataError, message
from recurra.base.rng import stream
from recurra.data.vocabulary import Unknown, Vocabulary
from recurra.decoding.sampling import Generation, Sampling
from recurra.diagnostics.subject import Subject
from recurra.tasks.folder import read_note
from recurra.tasks.text.folder import RUNS, VOCABULARY
from recurra.tasks.text.model import TextModel
from recurra.tasks.text.score import Score, score
from recurra.tasks.text.settings import TextSettings
from recurra.tasks.text.subject import text_subject
from recurra.training import checkpoint

__all__ = ["TextRun", "load", "vocabulary_digest"]


class TextRun:
    """A model, its vocabulary and its settings; `load(folder)` makes one.

    >>> run = load("runs/shakespeare")                                                          # doctest: +SKIP
    >>> run.generate("ROMEO:", length=200, how=Sampling(temperature=0.8), seed=1)               # doctest: +SKIP
    """

    def __init__(self, model: TextModel, vocabulary: Vocabulary, settings: TextSettings, folder: Path | None) -> None:
        self.model, self.vocabulary, self.settings, self.folder = model.eval(), vocabulary, settings, folder

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
        wanted = self.settings.sample
        how = Sampling(temperature=wanted.temperature)
        text = self.generate(wanted.prompt, length=wanted.length, how=how, seed=self.settings.seed)
        return wanted.prompt.lstrip("\n") + text

    def score(self, text: str | np.ndarray, *, rows: int = 1, unknown: Unknown = "error") -> Score:
        """How well the model predicts `text` (or tokens of its vocabulary); see `recurra.tasks.text.score`."""
        tokens = self.vocabulary.encode(text, unknown) if isinstance(text, str) else text
        return score(self.model, tokens, rows=rows)

    def subject(self, data: Sequence[Path | str] = (), *, rows: int = 8, steps: int = 512) -> Subject:
        """The model with text to look at it by: files, or the excerpt of held-out text that the run keeps.

        Raises DataError where that is empty or too short, or has characters that the run never saw.
        """
        excerpt = read_note(self.folder).get("excerpt", []) if self.folder else []
        return text_subject(self, data, excerpt, rows, steps)


def load(folder: Path | str) -> TextRun:
    """The model of a run with its best weights.

    Raises CheckpointError where the folder is no run, or its parts are missing, damaged, of another version, or do not
    belong together; ConfigError where its config.toml is faulty.
    """
    folder = Path(folder)
    settings = RUNS.settings(folder)
    vocabulary = _vocabulary(folder)
    path = RUNS.finished(folder)
    weights, _ = checkpoint.load_weights(path)
    bias = weights.get("output.bias")
    if bias is not None and len(bias) != len(vocabulary):
        raise CheckpointError(
            message(
                str(folder),
                f"the vocabulary does not belong to the weights: {VOCABULARY} has {len(vocabulary)} symbols, "
                f"{path.name} was trained with {len(bias)}",
                hint=f"restore {VOCABULARY} as it was when the run was trained.",
            )
        )
    model = TextModel(settings.model, len(vocabulary))
    checkpoint.restore_weights(model, weights, str(path))
    return TextRun(model, vocabulary, settings, folder)


def _vocabulary(folder: Path) -> Vocabulary:
    vocabulary = Vocabulary.load(folder / VOCABULARY)
    expected = read_note(folder).get("vocabulary_digest")
    if expected is not None and expected != vocabulary_digest(vocabulary):
        raise CheckpointError(
            message(
                str(folder / VOCABULARY),
                "is not the vocabulary that this run was trained with",
                hint="every symbol would stand for another; restore the file, or train anew.",
            )
        )
    return vocabulary


def vocabulary_digest(vocabulary: Vocabulary) -> str:
    """Tells two vocabularies apart, also where they are equally long."""
    return hashlib.blake2b(f"{vocabulary.level}:{vocabulary.symbols}".encode(), digest_size=8).hexdigest()
