"""Curricula: which level a batch is of, when the next one comes, and that a resumed run draws the same ones."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Generator, nn

from recurra.base.errors import ConfigError
from recurra.data.batch import Batch
from recurra.training.config import TrainConfig
from recurra.training.curriculum import Curriculum, Strategy
from recurra.training.loop import Trainer

LENGTHS = [1, 2, 4, 8]


def made(strategy: Strategy, **options) -> Curriculum:
    def draw(length: int, generator: Generator) -> Batch:
        x = torch.rand(3, length, 1, generator=generator)
        return Batch(x, x)

    return Curriculum(draw, LENGTHS, strategy, torch.Generator().manual_seed(0), per_epoch=10, **options)


def lengths(stream: Curriculum, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        for batch in stream:
            assert batch.first
            found.append(batch.x.shape[1])
            if len(found) == count:
                break
    return found


def test_each_strategy_draws_its_levels():
    assert lengths(made("full"), 25) == [8] * 25
    naive = made("naive")
    assert lengths(naive, 12) == [1] * 12
    assert (naive.epoch, naive.sequences) == (1, 36)
    naive.advance()
    assert lengths(naive, 3) == [2] * 3
    counts = Counter(lengths(made("mixed"), 4000))
    # 4,000 draws of 1/4: standard error 27.
    assert all(abs(counts[length] - 1000) < 120 for length in LENGTHS)
    combined = made("combined")
    combined.advance()
    counts = Counter(lengths(combined, 4000))
    # Half of them naive at level 2, the other half uniform.
    assert abs(counts[2] - 2500) < 140
    assert all(abs(counts[length] - 500) < 100 for length in (1, 4, 8))
    assert Counter(lengths(made("combined", share=0.0), 50)) == {1: 50}


def test_the_next_level_comes_when_progress_stops():
    stream = made("naive")
    assert [stream.observe(value, patience=2) for value in (1.0, 0.9, 0.95, 0.91)] == [False, False, False, True]
    assert stream.level == 2
    # Another level's losses are no yardstick.
    assert [stream.observe(value, patience=2) for value in (3.0, 2.0, 2.0, 2.0)] == [False, False, False, True]
    assert stream.observe(0.01, until=0.1)
    assert stream.level == 8
    assert stream.done
    assert not stream.observe(0.01, until=0.1)
    assert stream.level == 8


def test_a_trainer_advances_it_and_a_resumed_one_goes_on_alike():
    class Gain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(0.0))

        def forward(self, x, state=None, lengths=None, resets=None):
            return x * self.gain, state

    def squared(outputs, batch):
        return (outputs - batch.y).square().sum(), batch.y.numel()

    stream = made("naive")
    config = TrainConfig(iterations=30, evaluate_every=5)
    values = iter([1.0, 1.0, 0.5, 0.5, 0.4, 0.4])
    trainer = Trainer(
        Gain(), squared, stream, config, evaluate=lambda _: {"loss": next(values)}, callbacks=[stream.callback()]
    )
    trainer.train()
    # Stale at the second, fourth and sixth evaluation; each level was looked at anew after that.
    assert stream.level == 8
    saved = stream.state_dict()
    expected = lengths(stream, 7)
    other = made("naive")
    other.load_state_dict(saved)
    assert lengths(other, 7) == expected
    mixed, copy = made("mixed"), made("mixed")
    lengths(mixed, 13)
    copy.load_state_dict(mixed.state_dict())
    assert lengths(copy, 40) == lengths(mixed, 40)
    wrong = Trainer(
        Gain(), squared, made("naive"), config, evaluate=lambda _: {"loss": 1.0}, callbacks=[stream.callback("error")]
    )
    with pytest.raises(ConfigError, match="gives no 'error'"):
        wrong.train()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="no level"):
        Curriculum(lambda level, generator: level, [], "naive", Generator())
    with pytest.raises(ConfigError, match="got strategy 'hard'"):
        made("hard")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="share must lie"):
        made("combined", share=2.0)
    with pytest.raises(ConfigError, match="patience"):
        made("naive").callback(patience=0)
    stream = made("naive")
    stream.load_state_dict({**stream.state_dict(), "index": 3})
    short = Curriculum(lambda level, generator: level, [1], "naive", Generator())
    with pytest.raises(ConfigError, match="saved at level 4, there are 1"):
        short.load_state_dict(stream.state_dict())
