"""Training as a function: what it writes, what it continues, and that it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recurra.base import config
from recurra.base.errors import CheckpointError
from recurra.classical.ngram import KneserNey
from recurra.data.corpus import Corpus, from_text
from recurra.tasks.report import write_report
from recurra.tasks.text.run import load
from recurra.tasks.text.run import train_run as train
from recurra.tasks.text.settings import TextSettings
from recurra.tasks.text.task import baseline_nats
from recurra.training.log import read_lines

SMALL = (
    "model.hidden_size=24",
    "model.num_layers=1",
    "model.embedding_size=0",
    "model.dropout=0.0",
    "model.input_dropout=0.0",
    "data.batch_size=4",
    "data.chunk=20",
    "data.baseline_order=2",
    "train.schedule.warmup=5",
    "train.optim.learning_rate=2e-2",
    "train.average.decay=0.9",
)


def settings(*more: str) -> TextSettings:
    return config.parse(TextSettings, {}, [*SMALL, *more])


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return from_text("abcdefgh" * 250, name="letters")


def test_it_learns_what_can_be_learned(corpus: Corpus, tmp_path: Path) -> None:
    outcome = train(settings("train.epochs=6"), tmp_path / "run", corpus=corpus)
    assert outcome.measures is not None
    assert outcome.measures.scores.nats < 0.2
    assert outcome.predictor.generate("abc", length=13, seed=0) == "defghabcdefgh"
    assert load(tmp_path / "run").generate("abc", length=13, seed=0) == "defghabcdefgh"
    assert outcome.results[0].iteration == 6 * 23  # an epoch: 22 batches of 4 x 20 and a shorter one


def test_truncated_gradients_and_epochs_give_the_schedule_its_length(corpus: Corpus, tmp_path: Path) -> None:
    wanted = settings("train.gradient.style=sliding", "train.gradient.k1=5", "train.gradient.k2=10", "train.epochs=1")
    outcome = train(wanted, tmp_path / "run", corpus=corpus)
    assert outcome.results[0].reason == "epochs"
    assert outcome.results[0].iteration == pytest.approx(1800 / 20, abs=4)
    lines = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert [line["learning_rate"] for line in lines if line["split"] == "train"][-1] < 0.05 * 2e-2


def test_a_longer_run_of_a_finished_one(corpus: Corpus, tmp_path: Path) -> None:
    first = train(settings("train.iterations=10"), tmp_path / "run", corpus=corpus)
    longer = train(settings("train.iterations=20"), tmp_path / "run", corpus=corpus, resume=True)
    assert (first.results[0].iteration, longer.results[0].iteration) == (10, 20)
    assert load(tmp_path / "run").settings.train.iterations == 20


def test_the_baseline_counts_the_same_symbols(corpus: Corpus) -> None:
    tokens, held_out = corpus.tokens[:800].astype(np.int64), np.array([0, 2, 1, 3, 0, 1], dtype=np.int64)
    found = baseline_nats(tokens, held_out, 8, 3)
    with pytest.warns(UserWarning, match="too few"):
        model = KneserNey.fit(tokens, 8, 3)
    total = 0.0
    for position in range(1, len(held_out)):
        total -= np.log(model.probabilities(held_out[max(0, position - 2) : position])[held_out[position]])
    assert found == pytest.approx(total / 5)


def test_a_file_where_the_folder_should_be(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(CheckpointError, match="is a file; a run is a folder"):
        train(settings(), tmp_path / "run", corpus=corpus)
    assert (tmp_path / "run").read_text() == "mine"


def test_a_run_that_has_only_begun_has_a_report(corpus: Corpus, tmp_path: Path) -> None:
    train(settings("train.iterations=10"), tmp_path / "run", corpus=corpus)
    for name in ("weights.safetensors", "metrics.jsonl", "run.json", "held_out.json"):
        (tmp_path / "run" / name).unlink()
    page = write_report(tmp_path / "run").read_text()
    assert "<html" in page
    assert "<svg" not in page
