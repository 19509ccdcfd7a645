"""The declaration of sequence labelling: part-of-speech tags, named entities, chunks, secondary structure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn

from recurra.base.errors import DataError, message
from recurra.base.rng import Streams
from recurra.data.batch import Batch
from recurra.data.buckets import BucketStream, padded
from recurra.data.conll import Sentence, read_conll, tagged_text
from recurra.data.spans import has_spans, span_scores
from recurra.diagnostics.subject import Subject
from recurra.tasks.capability import NoOptions, TaggedLine
from recurra.tasks.tag import figures
from recurra.tasks.tag.net import TagEnsemble, TagNet, TagPrepared, TokenScores
from recurra.tasks.tag.settings import TagSettings
from recurra.tasks.task import Measures, Problem, Run, Task
from recurra.training.limits import bounded

__all__ = ["Tag", "TagData", "Tagger"]

_BATCH = 128
_EXAMPLES = 8


class TagData(NamedTuple):
    """Sequences to learn from or to measure on, and those of validation and test where there are files of them."""

    sentences: list[Sentence]
    dev: list[Sentence] | None = None
    test: list[Sentence] | None = None


class Tagger:
    """A trained net with what it knows of words and labels."""

    def __init__(self, net: TagEnsemble, prepared: TagPrepared, settings: TagSettings) -> None:
        self.net, self.prepared, self.settings = net.eval(), prepared, settings
        self.folder: Path | None = None

    def predict(self, sentences: Sequence[Sentence]) -> list[list[str]]:
        """Return a label for each token of each sequence."""
        labels, predicted = self.prepared.labels, [list[str]() for _ in sentences]
        encoded = self.prepared.encode(sentences)
        order = np.argsort([len(x) for x in encoded], kind="stable")
        for begin in range(0, len(order), _BATCH):
            rows = order[begin : begin + _BATCH].tolist()
            batch = padded([(encoded[row], encoded[row][:, 0]) for row in rows])
            for row, codes in zip(rows, self.net.tag(batch.x, batch.lengths).tolist(), strict=True):
                predicted[row] = [labels[code] for code in codes[: len(encoded[row])]]
        return predicted

    def tags(self, data: TagData, options: NoOptions) -> Iterator[TaggedLine]:
        """Yield each sequence with its labels, and its piece of the file with the label as a last column."""
        del options
        for sentence, labels in zip(data.sentences, self.predict(data.sentences), strict=True):
            yield TaggedLine(list(sentence.tokens), labels, tagged_text(sentence, labels))

    def subject(self, data: Sequence[Path | str] = (), *, rows: int = 8, steps: int = 512) -> Subject:
        """Return the first member's net with the first sequences, for the diagnostics."""
        sentences = _read(self.settings, str(data[0]) if data else self.settings.data.file)[:rows]
        x = [x[:steps] for x in self.prepared.encode(sentences)]
        y = [y[:steps].clamp_min(0) for y in self.prepared.codes(sentences)]
        batch = padded(list(zip(x, y, strict=True)))
        net: Any = self.net.members[0]
        with torch.no_grad():
            features = net.embed(batch.x)
        width = features.shape[1]
        return Subject(
            name="tagger",
            model=TokenScores(net.body, net.output),
            inputs=features,
            targets=batch.y,
            losses=_token_losses,
            lengths=batch.lengths,
            steps=[[*s.tokens[:steps], *[""] * width][:width] for s in sentences],
            names=self.prepared.labels,
            unit="token",
            lead=f"On {len(sentences)} sequences, one of {len(self.prepared.labels)} labels for each token",
        )


class Tag(Task):
    """See `TagSettings`."""

    settings = TagSettings
    page = figures
    prepared = TagPrepared
    metric, mode = "score", "max"
    next_command = "recurra tag {run} FILE --out tagged.txt"

    def read(self, settings: Any, prepared: Any = None, *, labelled: bool = True) -> TagData:
        """Read the sequences, and those of validation and test."""
        data = settings.data
        if not data.file:
            raise DataError(message("tag", "no file was named", hint="recurra train tag train.txt --out runs/x"))
        sentences = _read(settings, data.file, labelled)
        if prepared is not None and not labelled:
            return TagData(sentences)
        dev, test = (_read(settings, file) if file else None for file in (data.dev, data.test))
        return TagData(sentences, dev, test)

    def prepare(self, settings: Any, data: Any, before: Any = None) -> TagPrepared:
        """Collect words, characters and labels; what another run knew keeps its numbers."""
        training, _ = _split(settings, data)
        fold = settings.data.fold
        tokens = Counter(token.lower() if fold else token for s in training for token in s.tokens)
        words = [word for word, count in tokens.items() if count >= settings.data.minimum]
        known = before.words if before else ()
        words = [*known, *sorted(set(words) - set(known))]
        characters = before.characters if before else ""
        present = {char for s in training for token in s.tokens for char in token}
        labels = {label for s in training for label in s.labels}
        return TagPrepared(
            words=tuple(words),
            rare=tuple(tokens[word] == 1 for word in words),
            characters=characters + "".join(sorted(present - set(characters))),
            labels=tuple(sorted(labels)) if not before or labels - set(before.labels) else before.labels,
            fold=fold,
        )

    def net(self, settings: Any, prepared: Any, generator: Generator | None, member: int = 0) -> TagNet:
        """Make one member."""
        del member
        return TagNet(settings.model, prepared, generator)

    def ensemble(self, settings: Any, prepared: Any, nets: Sequence[Any]) -> TagEnsemble:
        """Average the scores of the members."""
        del settings, prepared
        return TagEnsemble(nets)

    def problem(self, settings: Any, prepared: Any, data: Any, net: Any, streams: Streams) -> Problem:
        """Log-likelihood of the label sequences; the weights of the best validation score are used."""
        training, validation = _split(settings, data)
        pairs = list(zip(prepared.encode(training), prepared.codes(training), strict=True))

        def objective(scores: Tensor, batch: Batch) -> tuple[Tensor, int]:
            count = batch.lengths.sum() if batch.lengths is not None else batch.y.numel()
            return net.losses(scores, batch.y, batch.lengths).sum(), int(count)

        def evaluate(model: Any) -> dict[str, float]:
            tagger = Tagger(TagEnsemble([model]), prepared, settings)
            return {"score": _numbers(validation, tagger.predict(validation))["score"]}

        stream = BucketStream(pairs, settings.batch, generator=streams["data"])
        return Problem(
            model=net,
            objective=objective,
            stream=stream,
            evaluate=evaluate if validation else None,
            config=bounded(settings.train, len(stream)),
        )

    def predictor(self, settings: Any, prepared: Any, net: Any, arrays: Mapping[str, Any] | None) -> Tagger:
        """Make the tagger."""
        del arrays
        return Tagger(net, prepared, settings)

    def held_out(self, predictor: Any, data: Any) -> tuple[str, TagData]:
        """Test sequences where there are any, else those of validation, which selected the weights."""
        if data.test is not None:
            return "test", TagData(data.test)
        _, validation = _split(predictor.settings, data)
        return ("validation", TagData(validation)) if validation else ("training", data)

    def measure(self, predictor: Any, data: Any, options: Any) -> Measures:
        """Accuracy of tokens and sequences, and F1 of spans where labels are such, as conlleval counts them."""
        del options
        predicted = predictor.predict(data.sentences)
        wrong = [
            {"tokens": s.tokens, "labels": s.labels, "predicted": labels}
            for s, labels in zip(data.sentences, predicted, strict=True)
            if list(s.labels) != labels
        ]
        details = {"confusion": _confusion(data.sentences, predicted), "examples": wrong[:_EXAMPLES]}
        return Measures(numbers=_numbers(data.sentences, predicted), details=details, scores=predicted)

    def facts(self, run: Run, predictor: Any, data: Any) -> dict[str, Any]:
        """Count sequences, words and labels."""
        training, _ = _split(run.settings, data)
        prepared = predictor.prepared
        return {"sequences": len(training), "words": len(prepared.words), "labels": len(prepared.labels)}

    def example(self, folder: Path, seed: int = 0) -> list[str]:
        """Write sentences whose tags follow from word and context."""
        rng, tags = np.random.default_rng(seed), {"the": "DET", "a": "DET", "can": "", "dog": "NOUN", "runs": "VERB"}
        lines = []
        for _ in range(60):
            words = rng.choice(list(tags), size=int(rng.integers(2, 8)))
            for before, word in zip(["", *words[:-1]], words, strict=True):
                lines.append(f"{word} {tags[str(word)] or ('NOUN' if tags.get(str(before)) == 'DET' else 'AUX')}")
            lines.append("")
        (folder / "train.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        sizes = ["--hidden", "8", "--embedding", "8", "--characters", "4", "--batch", "8"]
        return [
            str(folder / "train.txt"),
            *sizes,
            "--epochs",
            "0",
            "--iterations",
            "60",
            "--rate",
            "0.03",
            "--dropout",
            "0.1",
        ]


def _token_losses(scores: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(scores.transpose(1, 2), labels, reduction="none")


def _read(settings: TagSettings, path: str, labelled: bool = True) -> list[Sentence]:
    data = settings.data
    options: dict[str, Any] = {"labelled": labelled, "header": data.header, "separators": data.separators}
    return read_conll(path, data.token, data.label, **options)


def _split(settings: TagSettings, data: TagData) -> tuple[list[Sentence], list[Sentence]]:
    """Training and validation sequences."""
    share = settings.data.validation
    if data.dev is not None or not share:
        return data.sentences, data.dev or []
    order = torch.randperm(len(data.sentences), generator=torch.Generator().manual_seed(settings.seed)).tolist()
    validation = set(order[: min(max(1, round(share * len(order))), len(order) - 1)])
    pairs = [(index in validation, sentence) for index, sentence in enumerate(data.sentences)]
    return [s for inside, s in pairs if not inside], [s for inside, s in pairs if inside]


def _numbers(sentences: Sequence[Sentence], predicted: Sequence[Sequence[str]]) -> dict[str, Any]:
    labels = [label for s in sentences for label in s.labels]
    hits = [one == other for one, other in zip(labels, (label for row in predicted for label in row), strict=True)]
    complete = sum(list(s.labels) == list(row) for s, row in zip(sentences, predicted, strict=True))
    numbers: dict[str, Any] = {
        "sequences": len(sentences),
        "tokens": len(labels),
        "accuracy": sum(hits) / len(hits),
        "sequence_accuracy": complete / len(sentences),
    }
    if not has_spans(labels):
        return {**numbers, "score": numbers["accuracy"]}
    scores = span_scores([s.labels for s in sentences], predicted)
    rows = {
        kind: {"spans": s.reference, "precision": s.precision, "recall": s.recall, "f1": s.f1}
        for kind, s in scores.items()
    }
    overall = rows.pop("")
    return {**numbers, **overall, "by_type": rows, "score": overall["f1"] or 0.0}


def _confusion(sentences: Sequence[Sentence], predicted: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Counts of the most frequent labels, the others together."""
    counts = Counter(
        pair for s, row in zip(sentences, predicted, strict=True) for pair in zip(s.labels, row, strict=True)
    )
    frequent = Counter(label for s in sentences for label in s.labels).most_common(12)
    names = [label for label, _ in frequent]
    index = {label: number for number, label in enumerate(names)}
    table = np.zeros((len(names) + 1, len(names) + 1), np.int64)
    for (label, other), count in counts.items():
        table[index.get(label, len(names)), index.get(other, len(names))] += count
    full = bool(table[-1].any() or table[:, -1].any())
    names = [*names, "others"] if full else names
    return {"names": names, "counts": (table if full else table[:-1, :-1]).tolist()}
