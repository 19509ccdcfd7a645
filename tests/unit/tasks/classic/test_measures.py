"""The measures of the classic tasks against what they must give by arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recurra.data.buckets import padded
from recurra.data.sets import counting, reber
from recurra.layers.sequence import valid_mask
from recurra.tasks.classic import task_settings
from recurra.tasks.classic.counting import reach
from recurra.tasks.classic.machine import answer_bits, answer_losses
from recurra.tasks.classic.random_walk import chance, skill
from recurra.tasks.classic.reber import excess_bits, legal_first
from recurra.tasks.classic.series import nrmse, split


@pytest.fixture(scope="module")
def grammar() -> tuple[list[str], Tensor, Tensor]:
    texts = reber.strings(200, True, torch.Generator().manual_seed(0))
    chances = nn.utils.rnn.pad_sequence([reber.chances(text) for text in texts], batch_first=True)
    lengths = padded([reber.pair(text) for text in texts]).lengths
    assert lengths is not None
    return texts, chances, valid_mask(lengths, chances.shape[1])


def test_the_grammar_itself_spends_no_bit_too_many(grammar: tuple[list[str], Tensor, Tensor]) -> None:
    _, chances, valid = grammar
    logits = (chances + 1e-12).double().log()
    assert float(excess_bits(logits, chances, valid).abs().max()) < 1e-7
    assert bool((legal_first(logits, chances) | ~valid).all())


def test_a_net_that_forgets_the_second_letter_spends_one_bit_more(grammar: tuple[list[str], Tensor, Tensor]) -> None:
    texts, chances, valid = grammar
    known = chances.clone()
    for row, text in enumerate(texts):
        # The last letter but one: T or P, as if both were possible.
        known[row, len(text) - 3] = torch.tensor([0, 0.5, 0.5, 0, 0, 0, 0])
    excess = excess_bits((known + 1e-12).double().log(), chances, valid)
    torch.testing.assert_close(excess, torch.ones(len(texts), dtype=torch.float64), rtol=0, atol=1e-6)
    right = (legal_first((known + 1e-12).log(), chances) | ~valid).all(1)
    assert not right.any()


def test_legal_first_wants_all_legal_ones_on_top() -> None:
    chances = torch.tensor([[0.0, 0.5, 0.5, 0, 0, 0, 0]]).expand(3, 7).unsqueeze(1)
    logits = torch.tensor([[0.0, 2, 1, 0, 0, 0, 0.5], [0.0, 2, 1, 0, 1.5, 0, 0], [0.0, 2, 1, 0, 1, 0, 0]]).unsqueeze(1)
    assert legal_first(logits, chances)[:, 0].tolist() == [True, False, False]


class Counter(nn.Module):
    """Says the sets of a^n b^n right up to n = `most` and forgets the end beyond."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, x: Tensor, state: object = None, lengths: Tensor | None = None) -> tuple[Tensor, None]:
        _, y, *_ = counting.batch([int((row.argmax(-1) == 1).sum()) for row in x])
        logits = torch.where(y > 0.5, 1.0, -1.0)
        if lengths is not None:
            logits[(lengths - 1) // 2 > self.most] = -1.0
        return logits, None


@pytest.mark.parametrize("most", [0, 1, 49, 50, 51, 99, 120])
def test_reach_is_the_last_n_before_the_first_mistake(most: int) -> None:
    assert reach(Counter(most), 100, 2) == min(most, 100)


def test_nrmse_by_numpy() -> None:
    rng = np.random.default_rng(0)
    y, f = rng.normal(size=(500, 3)), rng.normal(size=(500, 3))
    expected = np.sqrt(np.mean((y - f) ** 2) / np.mean(np.var(y, axis=0)))
    assert nrmse(torch.from_numpy(f), torch.from_numpy(y)) == pytest.approx(expected, rel=1e-10)


def test_a_series_is_cut_without_overlap() -> None:
    settings = task_settings("sines", ["learned=300", "validated=20", "tested=30"])
    parts = split(np.arange(350)[:, None], np.arange(1, 351)[:, None], settings)
    assert [int(x[0, 0]) for x, _ in parts] == [0, 300, 320]
    assert [len(x) for x, _ in parts] == [300, 20, 30]
    assert all(torch.equal(y, x + 1) for x, y in parts)


def test_forecasts_of_noise_are_seldom_taken_for_skill() -> None:
    """Under the null hypothesis p is uniform: over 2,000 trials 5 % and 1 % lie below 0.05 and 0.01."""
    rng = np.random.default_rng(0)
    found = np.array(
        [chance(*torch.from_numpy(rng.normal(size=(2, 300)) * np.array([[0.1], [1.0]]))) for _ in range(2000)]
    )
    for level in (0.05, 0.01):
        assert abs((found < level).mean() - level) < 4 * math.sqrt(level * (1 - level) / 2000)


def test_a_real_forecast_is_seen_and_its_skill_is_the_squared_correlation() -> None:
    rng = np.random.default_rng(1)
    seen = rng.normal(size=40_000)
    y = 0.3 * seen + math.sqrt(1 - 0.09) * rng.normal(size=40_000)
    assert skill(torch.from_numpy(0.3 * seen), torch.from_numpy(y)) == pytest.approx(0.09, abs=0.01)
    assert chance(torch.from_numpy(0.3 * seen), torch.from_numpy(y)) < 1e-12
    assert chance(torch.zeros(100), torch.randn(100, generator=torch.Generator().manual_seed(0))) == 1.0


def test_bits_of_an_answer_belong_to_the_last_steps() -> None:
    from recurra.data.batch import Batch

    y = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]])
    logits = torch.zeros(2, 5, 2)
    nats, rows = answer_bits(logits, Batch(torch.zeros(2, 5, 3), y))
    assert (float(nats) / rows / math.log(2), rows) == (pytest.approx(2.0), 2)
    each = answer_losses(logits, y)
    assert each.shape == (2, 5)
    assert not each[:, :4].any()
    assert float(each.sum()) == pytest.approx(float(nats))
