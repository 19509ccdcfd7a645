"""The run folder of a classification: written by training, read back as a classifier."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from torch import Generator

from recurra.base.files import write_text
from recurra.data.series.series_set import SeriesSet
from recurra.tasks.classify.cases import read_cases
from recurra.tasks.classify.classifier import Classifier
from recurra.tasks.classify.metrics import Scores, scores
from recurra.tasks.classify.network import Members, net_of
from recurra.tasks.classify.prepare import Preparation, labels_of
from recurra.tasks.classify.settings import ClassifySettings
from recurra.tasks.classify.train import Trained, fit
from recurra.tasks.folder import MEMBERS, WEIGHTS, Runs, free, write_note
from recurra.training import checkpoint
from recurra.training.progress import Progress

__all__ = ["CASES", "HELD", "RUNS", "ClassifyOutcome", "load", "train_run"]

CASES, HELD = "cases.json", "held_out.json"

RUNS = Runs("classify", ClassifySettings, (CASES, HELD), free("data.file", "data.test"))

_EXAMPLES = 6
_MOST_POINTS = 600


class ClassifyOutcome(msgspec.Struct):
    """What a run came to."""

    folder: Path
    trained: Trained
    scores: Scores | None
    """On the test cases where there are any, else on the validation cases, which chose the weights."""
    part: str


def train_run(
    settings: ClassifySettings,
    folder: Path | str,
    *,
    cases: SeriesSet | None = None,
    test: SeriesSet | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    command: str = "",
) -> ClassifyOutcome:
    """Train into `folder`, and measure on the test cases; without any on the validation cases, or those learnt.

    Raises CheckpointError where the folder holds a run already or, with resume, none or one of other settings;
    DataError for cases that cannot be used, those of the test included, before training begins.
    """
    folder = Path(folder)
    RUNS.check(folder, settings, resume)
    cases = read_cases(settings.data) if cases is None else cases
    labels_of(cases)
    if test is None and settings.data.test:
        test = read_cases(settings.data, settings.data.test, cases.label_names)
    if test is not None:
        labels_of(test)
    with RUNS.opened(folder, settings, resume, command):
        hint = RUNS.continuing(folder)
        trained = fit(cases, settings, folder=folder / MEMBERS, progress=progress, resume=resume, resume_hint=hint)
        if trained.interrupted:
            return ClassifyOutcome(folder, trained, None, "")
        classifier = trained.classifier
        kept = dataclasses.asdict(classifier.preparation)
        write_text(folder / CASES, json.dumps(kept, ensure_ascii=False) + "\n")
        checkpoint.save_weights(folder / WEIGHTS, dict(classifier.net.state_dict()), {"task": "classify"})
        part = "test" if test is not None else "validation" if len(trained.held) else "training"
        shown = test if test is not None else cases.select(trained.held) if len(trained.held) else cases
        said = classifier.probabilities(shown)
        found = scores(labels_of(shown), said)
        numbers = {"part": part, **found.numbers(classifier.classes), "examples": _examples(classifier, shown, said)}
        write_text(folder / HELD, json.dumps(numbers, ensure_ascii=False) + "\n")
        facts = {"all_cases": len(cases), "channels": len(cases.names), "part": part}
        write_note(folder, result={**trained.summary(), **facts})
        return ClassifyOutcome(folder, trained, found, part)


def load(folder: Path | str) -> Classifier:
    """The classifier of a finished run.

    Raises CheckpointError where the folder is no run, is not finished, or its parts are damaged.
    """
    folder = Path(folder)
    settings = RUNS.settings(folder)
    path = RUNS.finished(folder)
    preparation: Preparation = RUNS.read_json(folder, CASES, Preparation)
    seeds = range(settings.seed, settings.seed + settings.members)
    net = Members([net_of(settings.model, preparation, Generator(), seed) for seed in seeds])
    weights, _ = checkpoint.load_weights(path)
    checkpoint.restore_weights(net, weights, str(path))
    return Classifier(net, preparation, settings)


def _examples(classifier: Classifier, cases: SeriesSet, said: np.ndarray) -> list[dict[str, Any]]:
    """Cases that were told wrongly, the surest first, then right ones; as plain values for the report."""
    truth, chosen = labels_of(cases), said.argmax(1)
    sure = said[np.arange(len(said)), chosen]
    wrong = np.flatnonzero(truth != chosen)
    order = wrong[np.argsort(-sure[wrong], kind="stable")][:_EXAMPLES]
    if len(order) < _EXAMPLES:
        # One right case of each class, the least sure.
        right = np.flatnonzero(truth == chosen)
        first = [
            right[truth[right] == one][np.argmin(sure[right][truth[right] == one])] for one in np.unique(truth[right])
        ]
        order = np.concatenate([order, np.array(first, np.int64)[: _EXAMPLES - len(order)]])
    relevance = classifier.relevance(cases, order, chosen[order]) if len(order) else None
    found = []
    for place, which in enumerate(order.tolist()):
        one = cases[which]
        stride = max(1, -(-len(one.values) // _MOST_POINTS))
        found.append(
            {
                "id": one.id,
                "truth": classifier.classes[int(truth[which])],
                "said": classifier.classes[int(chosen[which])],
                "probability": float(said[which, chosen[which]]),
                "stride": stride,
                "values": [_plain(column[::stride]) for column in one.values.T],
                "channels": list(cases.names),
                "relevance": None if relevance is None else _plain(relevance[place][::stride]),
            }
        )
    return found


def _plain(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(f"{value:.5g}") for value in values.tolist()]
