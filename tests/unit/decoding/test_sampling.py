"""Sampling against distributions computed by hand, at temperatures from 0 over 1e-308 to 1e6."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recurra.base.errors import ConfigError, DataError, ShapeError
from recurra.decoding.sampling import Generation, Sampling, draw, probabilities

LOGITS = torch.tensor([4.0, 2.0, 1.0, 1.0]).log()  # probabilities 1/2, 1/4, 1/8, 1/8


def expect(actual: torch.Tensor, *values: float) -> None:
    torch.testing.assert_close(actual, torch.tensor(values, dtype=torch.float64), rtol=1e-6, atol=1e-12)


def test_temperature_one_is_softmax() -> None:
    expect(probabilities(LOGITS, Sampling()), 0.5, 0.25, 0.125, 0.125)


def test_temperature_is_a_power_of_the_probabilities() -> None:
    expect(probabilities(LOGITS, Sampling(temperature=0.5)), 16 / 22, 4 / 22, 1 / 22, 1 / 22)
    expect(probabilities(LOGITS, Sampling(temperature=1e9)), 0.25, 0.25, 0.25, 0.25)


@pytest.mark.parametrize("temperature", [0.0, 5e-324, 1e-310, 1e-308, 1e-100, 1e-30, 1e-6, 1e-3])
@pytest.mark.parametrize("flush", [False, True])
def test_tiny_temperatures_take_the_likeliest_and_do_not_overflow(temperature: float, flush: bool) -> None:
    logits = torch.tensor([[3.0, -1e30, 1e4], [0.5, float("-inf"), -0.5]])
    torch.set_flush_denormal(flush)
    try:
        probs = probabilities(logits, Sampling(temperature=temperature))
    finally:
        torch.set_flush_denormal(True)  # as tests/conftest.py has it
    assert probs.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_top_k_keeps_exactly_k_even_among_equals() -> None:
    expect(probabilities(LOGITS, Sampling(top_k=2)), 2 / 3, 1 / 3, 0, 0)
    expect(probabilities(LOGITS, Sampling(top_k=3)), 4 / 7, 2 / 7, 1 / 7, 0)
    expect(probabilities(LOGITS, Sampling(top_k=99)), 0.5, 0.25, 0.125, 0.125)


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [
        (1e-9, (1, 0, 0, 0)),
        (0.5, (1, 0, 0, 0)),
        (0.51, (2 / 3, 1 / 3, 0, 0)),
        (0.76, (4 / 7, 2 / 7, 1 / 7, 0)),
        (1.0, (0.5, 0.25, 0.125, 0.125)),
    ],
)
def test_top_p_keeps_the_smallest_set_that_reaches_p(top_p: float, expected: tuple[float, ...]) -> None:
    exact = torch.tensor([4.0, 2.0, 1.0, 1.0], dtype=torch.float64).log()
    expect(probabilities(exact, Sampling(top_p=top_p)), *expected)


def test_top_p_looks_at_what_top_k_left() -> None:
    expect(probabilities(LOGITS, Sampling(top_k=2, top_p=0.6)), 1, 0, 0, 0)


def test_repetition_penalty_scales_log_probabilities_of_the_recent() -> None:
    recent = torch.tensor([0, 0, 2])
    weights = torch.tensor([0.5**2, 0.25, 0.125**2, 0.125], dtype=torch.float64)
    expect(probabilities(LOGITS, Sampling(repetition_penalty=2.0), recent), *(weights / weights.sum()).tolist())


def test_repetition_penalty_ignores_a_constant_added_to_the_logits() -> None:
    how, recent = Sampling(repetition_penalty=1.3), torch.tensor([1])
    torch.testing.assert_close(
        probabilities(LOGITS.double() - 100, how, recent), probabilities(LOGITS.double() + 100, how, recent)
    )


@given(
    st.lists(st.floats(-50, 50, allow_subnormal=False).map(lambda value: round(value, 6)), min_size=1, max_size=12),
    st.floats(0, 10, allow_subnormal=False),
    st.integers(0, 15),
    st.floats(0.01, 1.0),
    st.floats(1.0, 3.0),
)
@settings(deadline=None, max_examples=60)
def test_it_is_a_distribution_and_order_is_kept(
    values: list[float], temperature: float, top_k: int, top_p: float, penalty: float
) -> None:
    how = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, repetition_penalty=penalty)
    logits = torch.tensor(values, dtype=torch.float64)
    probs = probabilities(logits, how, torch.zeros(1, dtype=torch.long))
    assert abs(float(probs.sum()) - 1) < 1e-12
    assert bool((probs >= 0).all())
    assert top_k == 0 or int((probs > 0).sum()) <= top_k
    rest = probs[1:]
    assert all(not (values[i + 1] > values[j + 1] and rest[i] < rest[j]) for i in range(len(rest)) for j in range(i))


@pytest.mark.parametrize("bad", [[float("nan"), 0.0], [float("inf"), 0.0], [float("-inf"), float("-inf")]])
def test_logits_that_are_no_distribution_are_refused(bad: list[float]) -> None:
    with pytest.raises(DataError, match="no distribution to draw from"):
        probabilities(torch.tensor(bad), Sampling())


def test_draws_have_the_frequencies_of_the_distribution() -> None:
    probs = torch.tensor([0.5, 0.0, 0.3, 0.2], dtype=torch.float64)
    n = 40_000
    drawn = draw(probs.expand(n, 4), torch.Generator().manual_seed(1))
    counts = torch.bincount(drawn, minlength=4).double()
    assert counts[1] == 0
    # Pearson's statistic with 2 degrees of freedom exceeds 13.8 with probability 0.001; the seed is fixed.
    kept = probs > 0
    assert float((((counts - n * probs) ** 2)[kept] / (n * probs[kept])).sum()) < 13.8


def test_draw_is_inversion_and_never_picks_a_symbol_without_mass(monkeypatch: pytest.MonkeyPatch) -> None:
    probs = torch.tensor([0.0, 0.1, 0.2, 0.7, 0.0], dtype=torch.float64)
    grid = [(0.0, 1), (0.0999, 1), (0.11, 2), (0.31, 3), (1 - 2**-53, 3)]
    for value, index in grid:
        monkeypatch.setattr(torch, "rand", lambda shape, value=value, **_: torch.full(shape, value).double())
        assert int(draw(probs)) == index


def test_the_same_seed_gives_the_same_stream() -> None:
    def stream(seed: int) -> list[list[int]]:
        made = Generation(counting, torch.tensor([[1], [2]]), generator=torch.Generator().manual_seed(seed))
        return [token.tolist() for token in itertools.islice(made, 50)]

    assert stream(3) == stream(3)
    assert stream(3) != stream(4)


def counting(token: torch.Tensor, state: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that favour (sum of all tokens so far) mod 7: the state matters, and an unread symbol shows."""
    total = token if state is None else state + token
    return 2.0 * torch.nn.functional.one_hot(total % 7, 7), total


def test_greedy_stream_reads_the_whole_prompt_once() -> None:
    made = Generation(counting, torch.tensor([[1, 2, 3]]), how=Sampling(temperature=0))
    assert [int(token) for token in itertools.islice(made, 4)] == [6, 5, 3, 6]  # sums 6, 12, 17, 20


def test_a_stream_can_be_stopped_and_continued() -> None:
    def make(prompt: torch.Tensor, state: torch.Tensor | None, generator: torch.Generator) -> Generation:
        return Generation(counting, prompt, state, generator=generator)

    start = torch.tensor([[5]])
    whole = [int(t) for t in itertools.islice(make(start, None, torch.Generator().manual_seed(0)), 20)]
    generator = torch.Generator().manual_seed(0)
    first = make(start, None, generator)
    head = [int(t) for t in itertools.islice(first, 8)]
    tail = [int(t) for t in itertools.islice(make(first.token[:, None], first.state, generator), 12)]
    assert head + tail == whole


def test_penalty_in_a_stream_forgets_beyond_its_window() -> None:
    def flat(token: torch.Tensor, state: None) -> tuple[torch.Tensor, None]:
        return torch.tensor([[0.3, 0.2, 0.1]]), None

    how = Sampling(temperature=0, repetition_penalty=50.0, repetition_window=2)
    made = Generation(flat, torch.tensor([[0]]), how=how)
    assert [int(t) for t in itertools.islice(made, 5)] == [1, 2, 0, 1, 2]


@pytest.mark.parametrize("shape", [(1, 0), (3,), (1, 1, 1)])
def test_a_prompt_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"prompt must be \(B, P\) with P >= 1"):
        Generation(counting, torch.zeros(shape, dtype=torch.long))


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Sampling(temperature=-1, top_k=-2, top_p=0, repetition_penalty=float("nan"), repetition_window=-1)
    text = str(caught.value)
    assert all(word in text for word in ("temperature", "top_k", "top_p", "repetition_penalty", "repetition_window"))
