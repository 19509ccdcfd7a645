"""The declaration of text models: characters or bytes in, the next one out."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from torch import Generator, nn

from recurra.base.config import Settings
from recurra.base.errors import ConfigError, message
from recurra.base.option import Option
from recurra.base.rng import Streams
from recurra.classical.ngram import KneserNey
from recurra.data import corpus as corpora
from recurra.data.corpus import Corpus, Splits
from recurra.data.stream import TokenStream
from recurra.data.vocabulary import Vocabulary
from recurra.diagnostics.history import SpectrumRecord
from recurra.diagnostics.report import Figure, Key, Sample
from recurra.tasks.task import Measures, Problem, Run, Table, Task, View
from recurra.tasks.text import figures
from recurra.tasks.text.model import TextModel, next_symbol_loss
from recurra.tasks.text.score import score
from recurra.tasks.text.settings import TextSettings
from recurra.tasks.text.writer import TextRun
from recurra.training.callback import Callback, at
from recurra.training.config import Positive
from recurra.training.limits import bounded

__all__ = ["Text", "TextData", "TextEvaluation", "baseline_nats"]

# Rows and warm-up of the evaluations along the way; the figure at the end is of one stream.
_ROWS, _WARM_UP = 16, 100
_EXCERPT = 8 * 161
# Iterations at which the eigenvalues of the recurrent matrices are recorded, for `recurra inspect`.
_SPECTRA = (30, 100, 200, 400, 700, 1000, 2000, 4000, 7000, 10000)


class TextEvaluation(Settings, frozen=True):
    """Options of the evaluation of a text model."""

    rows: Annotated[Positive, Option()] = 1
    """Segments read side by side, each warmed up on the 256 symbols before it: above 1 faster, and not exact."""
    unknown: Annotated[Literal["error", "skip", "replace"], Option()] = "error"
    """Characters that the model never saw: error, skip or replace."""


@dataclass(frozen=True)
class TextData:
    """A text: as a corpus with its splits to train on, as tokens or as files to measure."""

    corpus: Corpus | None = None
    splits: Splits | None = None
    tokens: np.ndarray | None = None
    files: tuple[str, ...] = ()

    @classmethod
    def of(cls, corpus: Corpus, settings: TextSettings) -> TextData:
        """Return the data of a corpus in memory."""
        return cls(corpus, corpus.split(settings.data.train, settings.data.test))

    def recoded(self, vocabulary: Vocabulary) -> Splits:
        """Return the splits in the tokens of another vocabulary that has all symbols of this text."""
        if self.corpus is None or self.splits is None:
            raise TypeError("there is no text to train on")
        own = self.corpus.vocabulary
        if own == vocabulary or own.level == "byte":
            return self.splits
        table = vocabulary.encode(own.symbols)
        return Splits(*(table[tokens] for tokens in self.splits))


class Text(Task):
    """See `TextSettings`."""

    settings = TextSettings
    prepared = Vocabulary
    prepared_file = "vocabulary.json"
    evaluation = TextEvaluation
    metric = "bits"
    next_command = 'recurra generate {run} --prompt "..." writes with it.'
    fixed = (
        *("task", "seed", "data.level", "data.train", "data.test", "data.batch_size", "data.chunk"),
        *("model.cell", "model.hidden_size", "model.num_layers", "model.embedding_size", "model.tied"),
        *("model.residual", "model.learned_initial_state"),
        *("train.gradient", "train.optim.name", "train.average.kind"),
    )
    """Settings on which the checkpoint depends; the others (rates, limits, dropout, logging) may change on resume."""

    def read(self, settings: Any, prepared: Any = None, *, labelled: bool = True) -> TextData:
        """Read the text; that of an evaluation is read where it is known what becomes of unknown characters."""
        del labelled
        if not settings.data.files:
            hint = "recurra train text FILE... --out runs/x"
            raise ConfigError(message("recurra train text", "no text files were named", hint=hint))
        if prepared is not None:
            return TextData(files=settings.data.files)
        return TextData.of(corpora.read(settings.data.files, settings.data.level), settings)

    of = staticmethod(TextData.of)

    def prepare(self, settings: Any, data: Any, before: Any = None) -> Vocabulary:
        """Collect the symbols; those that another run knew keep their numbers, new ones are added."""
        del settings
        own = data.corpus.vocabulary
        return before.extended(own) if before is not None and before.level == own.level else own

    def net(self, settings: Any, prepared: Any, generator: Generator | None, member: int = 0) -> TextModel:
        """Make the model."""
        del member
        return TextModel(settings.model, len(prepared), generator)

    def problem(self, settings: Any, prepared: Any, data: Any, net: nn.Module, streams: Streams) -> Problem:
        """Cross entropy of the next symbol, the state carried from chunk to chunk."""
        splits = data.recoded(prepared)
        tokens = TokenStream(
            splits.train,
            settings.data.batch_size,
            settings.data.chunk,
            generator=streams["data"],
            reset_probability=settings.data.reset_probability,
        )
        validation = splits.validation[: settings.data.evaluate_tokens or len(splits.validation)]

        def evaluate(model: nn.Module) -> dict[str, float]:
            result = score(model, validation, rows=_ROWS, warm_up=_WARM_UP)
            return {"loss": result.nats, "bits": result.bits}

        gradient = settings.train.gradient
        updates = math.ceil(settings.data.chunk / (gradient.k1 or gradient.k2 or 1))
        writer = TextRun(net, prepared, settings)
        return Problem(
            model=net,
            objective=next_symbol_loss,
            stream=tokens,
            evaluate=evaluate,
            sample=lambda _: writer.sample(),
            callbacks=[Callback(at(1, *_SPECTRA, then=_SPECTRA[-1]), SpectrumRecord())],
            config=bounded(settings.train, len(tokens), updates),
        )

    def train(self, run: Run, data: Any) -> TextRun:
        """Train one loop, after an n-gram model of the same text was measured."""
        settings, prepared = run.settings, run.prepare(data)
        splits = data.recoded(prepared)
        run.note(
            text={"name": data.corpus.name, "symbols": len(data.corpus.tokens)},
            train_symbols=len(splits.train),
            # Held-out tokens that the report looks at, so that it needs no file beside the run.
            excerpt=splits.validation[:_EXCERPT].tolist(),
            vocabulary_size=len(prepared),
        )

        def build(streams: Streams) -> Problem:
            problem = self.problem(settings, prepared, data, self.net(settings, prepared, streams["init"]), streams)
            # Not before it is clear that there is something to train.
            self._baseline(run, splits, len(prepared))
            return problem

        net = run.loop(".", build)
        return self.predictor(settings, prepared, net, None)

    def predictor(self, settings: Any, prepared: Any, net: Any, arrays: Mapping[str, Any] | None) -> TextRun:
        """Make the model that writes."""
        del arrays
        return TextRun(net, prepared, settings)

    def held_out(self, predictor: Any, data: Any) -> tuple[str, TextData]:
        """Return the validation text, all of it."""
        if data.splits is None:
            data = TextData.of(corpora.read(data.files, predictor.settings.data.level), predictor.settings)
        return "validation", TextData(tokens=data.recoded(predictor.prepared).validation)

    def measure(self, predictor: Any, data: Any, options: Any) -> Measures:
        """Nats and bits per symbol, perplexity; every symbol but the first counts once."""
        tokens = data.tokens
        if tokens is None:
            vocabulary = predictor.vocabulary
            tokens = corpora.read(data.files, vocabulary.level, vocabulary, options.unknown).tokens
        result = score(predictor.model, tokens, rows=options.rows)
        return Measures(numbers=result.numbers(), scores=result)

    def facts(self, run: Run, predictor: Any, data: Any) -> dict[str, Any]:
        """Return how the loop ended."""
        del predictor, data
        ended = run.results[0]
        return {"reason": ended.reason, "iteration": ended.iteration, "wall_s": run.wall_s}

    def result(self, facts: Mapping[str, Any], measures: Measures, note: Mapping[str, Any]) -> dict[str, Any]:
        """Return the measures of the validation text under a name of their own, beside the n-gram model's."""
        return {**facts, **measures.numbers, "validation": measures.numbers, "baseline": note.get("baseline")}

    def may_change(self, name: str) -> bool:
        """All settings may change but those on which the checkpoint depends."""
        return not any(f"{name}.".startswith(f"{fixed}.") for fixed in self.fixed)

    def example(self, folder: Path, seed: int = 0) -> list[str]:
        """Write sentences of a small language."""
        chance = random.Random(seed)
        words = "the cat sat on a mat and the dog ran to see what the cat had seen there".split()  # noqa: SIM905
        lines = [" ".join(chance.choices(words, k=8)) for _ in range(60)]
        (folder / "text.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        sizes = ["--hidden", "8", "--layers", "1", "--embedding", "4", "--batch", "4", "--chunk", "10"]
        return [str(folder / "text.txt"), *sizes, "--iterations", "40", "--set", "data.baseline_order=3"]

    def lead(self, view: View) -> str:
        """See `Task`."""
        return figures.lead(view)

    def keys(self, view: View) -> list[Key]:
        """See `Task`."""
        return figures.keys(view)

    def samples(self, view: View) -> list[Sample]:
        """See `Task`."""
        return figures.samples(view)

    def tables(self, view: View) -> list[Table]:
        """See `Task`."""
        return figures.tables(view)

    def figures(self, view: View) -> list[Figure]:
        """See `Task`."""
        return figures.figures(view)

    def _baseline(self, run: Run, splits: Splits, size: int) -> None:
        data = run.settings.data
        order = data.baseline_order
        if not order or not order <= len(splits.train) <= data.baseline_most_tokens:
            return
        nats = run.step(f"baseline-{order}", baseline_nats, splits.train, splits.validation, size, order)
        bits = nats / math.log(2)
        run.note(baseline={"order": order, "nats": nats, "bits": bits})
        run.say(f"{order}-gram, modified Kneser-Ney, on the validation text: {nats:.4f} nats, {bits:.4f} bits")


def baseline_nats(train_tokens: np.ndarray, validation: np.ndarray, vocabulary_size: int, order: int) -> float:
    """Return nats per symbol of a modified Kneser-Ney model; the text before the validation text is its history."""
    with warnings.catch_warnings():
        # Short texts get fixed discounts; a baseline need not warn about it.
        warnings.simplefilter("ignore", UserWarning)
        model = KneserNey.fit(train_tokens, vocabulary_size, order)
    # The first symbol is left out, as a network cannot predict it either: both count the same symbols.
    return max(0.0, model.evaluate(validation[1:], history=validation[:1]))
