"""Training a text model: text -> vocabulary -> stream -> loop -> a run folder that predicts."""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import nn

from recurra.base import config
from recurra.base.errors import CheckpointError, ConfigError, message
from recurra.base.rng import Streams
from recurra.classical.ngram import KneserNey
from recurra.data import corpus as corpora
from recurra.data.corpus import Corpus, Splits
from recurra.data.stream import TokenStream
from recurra.data.vocabulary import Vocabulary
from recurra.diagnostics.history import SpectrumRecord
from recurra.tasks.folder import CHECKPOINT, CONFIG, FORMAT, environment, held, read_note, write_note
from recurra.tasks.text.folder import RUNS, VOCABULARY, check_files, check_text
from recurra.tasks.text.model import TextModel, next_symbol_loss
from recurra.tasks.text.run import TextRun, vocabulary_digest
from recurra.tasks.text.score import Score, score
from recurra.tasks.text.settings import TextSettings
from recurra.training.callback import Callback, at
from recurra.training.loop import Result, Trainer
from recurra.training.progress import Progress

__all__ = ["Baseline", "Outcome", "baseline", "read_corpus", "train"]

# Rows and warm-up of the evaluations along the way; the figure at the end is of one stream.
_ROWS, _WARM_UP = 16, 100
_EXCERPT = 8 * 161
# Iterations at which the eigenvalues of the recurrent matrices are written down, for `recurra inspect`.
_LOOKS = (30, 100, 200, 400, 700, 1000, 2000, 4000, 7000, 10000)


@dataclass(frozen=True)
class Baseline:
    """An n-gram model of the same training text on the same validation text."""

    order: int
    nats: float

    @property
    def bits(self) -> float:
        """Bits per symbol."""
        return self.nats / math.log(2)


@dataclass(frozen=True)
class Outcome:
    """A finished (or interrupted) run."""

    run: TextRun
    result: Result
    score: Score | None
    """On the whole validation text, as one stream; None where the run was interrupted."""
    baseline: Baseline | None


def train(
    settings: TextSettings,
    folder: Path | str,
    *,
    corpus: Corpus | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    command: str = "",
    resume_hint: str = "",
) -> Outcome:
    """Train by `settings` into `folder`.

    corpus: the text where it is in memory already; otherwise `settings.data.files` are read.
    resume: continue the run in the folder, bit for bit on the same machine.
    command: what the user typed, for the report.
    resume_hint: what to say continues an interrupted run, where that is not `recurra train text --resume`.

    Raises DataError for a text that cannot be used, CheckpointError where the folder holds a run already (or, with
    resume, none, or one of another text), TrainingError where numbers run away.
    """
    folder = Path(folder)
    progress = progress or Progress("quiet")
    torch.set_flush_denormal(True)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    RUNS.check(folder, settings, resume)
    saved = resume and (folder / CHECKPOINT).exists()
    if resume:
        check_files(folder, settings)
    # A run that was killed while it began may not have written its vocabulary yet.
    known = Vocabulary.load(folder / VOCABULARY) if saved or (resume and (folder / VOCABULARY).exists()) else None
    corpus = corpus or read_corpus(settings, known)
    parts = corpus.split(settings.data.train, settings.data.test)
    streams = Streams(settings.seed)
    tokens = TokenStream(
        parts.train,
        settings.data.batch_size,
        settings.data.chunk,
        generator=streams["data"],
        reset_probability=settings.data.reset_probability,
    )
    torch.manual_seed(settings.seed)  # dropout
    model = TextModel(settings.model, len(corpus.vocabulary), streams["init"])
    run = TextRun(model, corpus.vocabulary, settings, folder)
    limit = settings.data.evaluate_tokens or len(parts.validation)
    trainer = Trainer(
        model,
        next_symbol_loss,
        tokens,
        _bounded(settings, len(tokens)).train,
        evaluate=lambda model: _evaluate(model, parts.validation[:limit]),
        sample=lambda _: run.sample(),
        callbacks=[Callback(at(1, *_LOOKS, then=_LOOKS[-1]), SpectrumRecord())],
        folder=folder,
        streams=streams,
        progress=progress,
        resume_hint=resume_hint or RUNS.continuing(folder),
    )
    note = read_note(folder) if resume else {}
    facts = _facts(corpus, parts, model, command, note)
    with held(folder):
        # Again: another process may have begun here since.
        RUNS.check(folder, settings, resume)
        if resume:
            check_text(folder, facts["text"])
            if saved:
                trainer.resume()
            elif "result" in note:
                hint = "its weights are whole; restore the checkpoint to go on, or train in another folder."
                raise CheckpointError(message(str(folder / CHECKPOINT), "a finished run without checkpoint", hint=hint))
            else:
                progress.say(f"{folder}: no checkpoint was written yet, so the run begins again")
        config.save(settings, folder / CONFIG)
        corpus.vocabulary.save(folder / VOCABULARY)
        write_note(folder, **facts)
        measured = _baseline_of(folder, settings, parts.train, parts.validation, len(corpus.vocabulary), progress)
        result = trainer.train()
        if result.reason == "interrupted":
            return Outcome(run, result, None, measured)
        model.eval()
        final = score(model, parts.validation)
        ended = {"reason": result.reason, "iteration": result.iteration, "wall_s": trainer.wall_s}
        write_note(folder, result={**final.numbers(), **ended})
        return Outcome(run, result, final, measured)


def read_corpus(settings: TextSettings, vocabulary: Vocabulary | None = None) -> Corpus:
    """The text that the settings name; with a given vocabulary, in its tokens."""
    if not settings.data.files:
        raise ConfigError(
            message("recurra train text", "no text files were named", hint="recurra train text FILE... --out runs/x")
        )
    # With a run's own vocabulary a text that has changed still gets tokens, and is then told by their digest.
    unknown = "error" if vocabulary is None else "replace"
    return corpora.read(settings.data.files, settings.data.level, vocabulary, unknown)


def baseline(train_tokens: np.ndarray, validation: np.ndarray, vocabulary_size: int, order: int) -> Baseline:
    """Modified Kneser-Ney of this order; the text before the validation text counts as its history."""
    with warnings.catch_warnings():
        # Short texts get fixed discounts; a yardstick need not warn about it.
        warnings.simplefilter("ignore", UserWarning)
        model = KneserNey.fit(train_tokens, vocabulary_size, order)
    # The first symbol is left out, as a network cannot predict it either: both count the same symbols.
    return Baseline(order, max(0.0, model.evaluate(validation[1:], history=validation[:1])))


def _baseline_of(
    folder: Path,
    settings: TextSettings,
    train_tokens: np.ndarray,
    validation: np.ndarray,
    size: int,
    progress: Progress,
) -> Baseline | None:
    order = settings.data.baseline_order
    known = read_note(folder).get("baseline")
    if known and known["order"] == order:
        return Baseline(known["order"], known["nats"])
    if not order or len(train_tokens) > settings.data.baseline_most_tokens or len(train_tokens) < order:
        return None
    found = baseline(train_tokens, validation, size, order)
    write_note(folder, baseline={"order": order, "nats": found.nats, "bits": found.bits})
    progress.say(
        f"{order}-gram, modified Kneser-Ney, on the validation text: {found.nats:.4f} nats, {found.bits:.4f} bits"
    )
    return found


def _evaluate(model: nn.Module, validation: np.ndarray) -> dict[str, float]:
    found = score(model, validation, rows=_ROWS, warm_up=_WARM_UP)
    return {"loss": found.nats, "bits": found.bits}


def _bounded(settings: TextSettings, batches: int) -> TextSettings:
    """Epochs as iterations, so that schedule and progress bar know the end."""
    wanted, gradient = settings.train, settings.train.gradient
    if not wanted.epochs:
        return settings
    if gradient.style == "full":
        most = wanted.epochs * batches
        wanted = msgspec.structs.replace(wanted, iterations=min(most, wanted.iterations or most))
    elif not wanted.iterations and not wanted.schedule.total:
        # The last batch of an epoch may be shorter and give fewer updates; the epochs end the run.
        updates = math.ceil(settings.data.chunk / (gradient.k1 or gradient.k2 or 1))
        length = msgspec.structs.replace(wanted.schedule, total=wanted.epochs * batches * updates)
        wanted = msgspec.structs.replace(wanted, schedule=length)
    return msgspec.structs.replace(settings, train=wanted)


def _facts(corpus: Corpus, parts: Splits, model: TextModel, command: str, before: dict[str, Any]) -> dict[str, Any]:
    commands = [*before.get("commands", []), *([command] if command else [])]
    return {
        "format": FORMAT,
        "task": "text",
        "commands": commands,
        "text": {
            "name": corpus.name,
            "symbols": len(corpus.tokens),
            "digest": hashlib.blake2b(np.ascontiguousarray(corpus.tokens).data, digest_size=16).hexdigest(),
        },
        "train_symbols": len(parts.train),
        # Held-out tokens that the report looks at, so that it needs no file beside the run.
        "excerpt": parts.validation[:_EXCERPT].tolist(),
        "vocabulary_digest": vocabulary_digest(corpus.vocabulary),
        "vocabulary_size": len(corpus.vocabulary),
        "parameters": model.parameter_count(),
        "environment": environment(),
    }
