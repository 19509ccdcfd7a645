"""The models by themselves: known values, forms of input, fitting, streams, files, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.base.errors import CheckpointError, DataError, ShapeError
from recurra.classical.hmm import HMM, CategoricalHMM, FilterState, GaussianHMM, GaussianMixtureHMM, recursion

STAYS = [[0.95, 0.05, 0.0], [0.0, 0.9, 0.1], [0.1, 0.0, 0.9]]


def three_states(**options) -> GaussianHMM:
    means, variances = [[-4.0, 0.0], [0.0, 3.0], [4.0, -1.0]], [[1.0, 0.5], [0.3, 1.0], [1.0, 2.0]]
    given = {"start": [0.6, 0.2, 0.2], "transition": STAYS, "means": means, "covariances": variances}
    return GaussianHMM(3, **{**given, **options})


def test_the_doctor_of_wikipedia():
    # Rainy/Sunny and walk/shop/clean, "Hidden Markov model" and "Viterbi algorithm".
    model = CategoricalHMM(
        2, start=[0.6, 0.4], transition=[[0.7, 0.3], [0.4, 0.6]], probabilities=[[0.1, 0.4, 0.5], [0.6, 0.3, 0.1]]
    )
    path, score = model.decode([0, 1, 2])
    assert path.tolist() == [1, 0, 0]
    assert np.exp(score[0]) == pytest.approx(0.01344, abs=1e-12)
    assert np.abs(model.posteriors([0, 1, 2])[0] * 0.033612 - [0.007788, 0.025824]).max() < 1e-12
    assert np.exp(model.score([0, 1, 2])) == pytest.approx(0.033612, abs=1e-12)


def test_the_umbrella_of_russell_and_norvig():
    model = CategoricalHMM(
        2, start=[0.5, 0.5], transition=[[0.7, 0.3], [0.3, 0.7]], probabilities=[[0.9, 0.1], [0.2, 0.8]]
    )
    seen = [0, 0, 1, 0, 0]
    assert model.score(seen) == pytest.approx(-3.3725, abs=5e-5)
    path, score = model.decode(seen)
    assert path.tolist() == [0, 0, 1, 0, 0]
    assert score[0] == pytest.approx(-4.4590, abs=5e-5)
    # Their figures for two days: 0.818 and 0.883 filtered.
    filtered, _ = model.filter(seen[:2])
    assert filtered[:, 0].round(3).tolist() == [0.818, 0.883]


def test_the_four_forms_of_input_agree():
    model = three_states()
    parts = [model.sample(T, T)[0] for T in (5, 1, 12)]
    joined, padded = np.concatenate(parts), np.full((3, 12, 2), np.nan)
    for row, part in zip(padded, parts, strict=True):
        row[: len(part)] = part
    by_list, by_pad = model.posteriors(parts), model.posteriors(padded, [5, 1, 12])
    by_join = model.posteriors(joined, [5, 1, 12])
    assert isinstance(by_list, list)
    assert by_pad.shape == (3, 12, 3)
    assert not by_pad[1, 1:].any()
    for row, (a, start, T) in enumerate(zip(by_list, (0, 5, 6), (5, 1, 12), strict=True)):
        assert np.array_equal(a, by_pad[row, :T])
        assert np.array_equal(a, by_join[start : start + T])
        assert np.array_equal(a, model.posteriors(parts[row]))
    assert (model.decode(padded, [5, 1, 12]).path[0, 5:] == -1).all()
    scores = [model.log_likelihoods(form, lengths) for form, lengths in ((parts, None), (padded, [5, 1, 12]))]
    assert np.array_equal(*scores)
    assert model.score(torch.from_numpy(joined), torch.tensor([5, 1, 12])) == scores[0].sum()


@pytest.mark.parametrize("sizes", [(1,) * 50, (17, 33), (49, 1)])
@pytest.mark.parametrize("fast", [True, False])
def test_a_stream_in_chunks_is_the_whole(sizes, fast, monkeypatch):
    if not fast:
        monkeypatch.setattr(recursion, "library", lambda: None)
    model = three_states()
    x = np.stack([model.sample(50, seed)[0] for seed in range(2)])
    whole, end = model.filter(x)
    state, at, parts = None, 0, []
    for size in sizes:
        y, state = model.filter(x[:, at : at + size], state)
        parts.append(y)
        at += size
    assert isinstance(state, FilterState)
    assert np.abs(np.concatenate(parts, axis=1) - whole).max() < 1e-12
    assert np.abs(state.log_likelihoods - model.log_likelihoods(x)).max() < 1e-10
    # The last step has no future: filtering is smoothing there.
    assert np.abs(end.posteriors - model.posteriors(x)[:, -1]).max() < 1e-12


MODELS = {
    "gaussian diag": lambda: GaussianHMM(3),
    "gaussian full": lambda: GaussianHMM(3, "full"),
    "gaussian spherical": lambda: GaussianHMM(3, "spherical"),
    "gaussian tied": lambda: GaussianHMM(3, "tied", covariance_prior=(0.5, 3.0)),
    "gaussian with priors": lambda: GaussianHMM(
        3, "full", covariance_prior=(0.5, 3.0), start_prior=2.0, transition_prior=1.5
    ),
    "mixture": lambda: GaussianMixtureHMM(3, 2),
    "mixture full": lambda: GaussianMixtureHMM(2, 3, "full"),
    "left to right": lambda: GaussianHMM(4, topology="left-to-right"),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("fast", [True, False])
def test_likelihood_never_falls(name, fast, monkeypatch):
    if not fast:
        monkeypatch.setattr(recursion, "library", lambda: None)
    truth = three_states()
    x = [truth.sample(40, seed)[0] for seed in range(4)]
    # The bound on the variances is in force too.
    x[0][:20] = x[0][0]
    model = MODELS[name]().fit(x, iterations=15, tolerance=0.0)
    assert len(model.history) > 3
    assert (np.diff(model.history) > -1e-9 * abs(model.history[-1])).all()
    assert model.history[-1] > model.history[0] + 1


def test_symbols_never_fall():
    chance = np.random.default_rng(0)
    x = chance.integers(6, size=(5, 80))
    model = CategoricalHMM(3, 8, emission_prior=1.2).fit(x, iterations=60, tolerance=0.0)
    assert (np.diff(model.history) > -1e-9).all()
    assert model.probabilities.shape == (3, 8)
    assert (model.probabilities[:, 6:] > 0).all()
    plain = CategoricalHMM(3).fit(x, iterations=5)
    assert plain.probabilities.shape == (3, 6)


def test_a_known_model_is_found_again():
    truth = three_states()
    x = [truth.sample(500, seed)[0] for seed in range(20)]
    found = GaussianHMM(3).fit(x)
    assert found.converged
    order = np.argsort(found.means[:, 0])
    assert np.abs(found.means[order] - truth.means).max() < 0.1
    assert np.abs(found.covariances[order] - truth.covariances).max() < 0.15
    assert np.abs(found.transition[np.ix_(order, order)] - STAYS).max() < 0.02
    # No worse than the truth on what it was fitted to.
    assert found.score(x) >= truth.score(x)
    decoded = found.decode(x[0]).path
    assert (np.argsort(order)[decoded] == truth.sample(500, 0)[1]).mean() > 0.98


def test_left_to_right_keeps_its_zeros_and_finds_the_segments():
    chance = np.random.default_rng(0)
    x = [
        np.concatenate([chance.normal(mean, 0.3, size=(T, 1)) for mean, T in ((0, 8), (3, 15), (-2, 5))])
        for _ in range(9)
    ]
    model = GaussianHMM(3, topology="left-to-right", transition_prior=2.0).fit(x)
    assert model.start.tolist() == [1.0, 0.0, 0.0]
    assert not np.tril(model.transition, -1).any()
    assert model.transition[0, 2] == 0
    assert np.abs(model.means[:, 0] - [0, 3, -2]).max() < 0.15
    assert model.decode(x[0]).path.tolist() == [0] * 8 + [1] * 15 + [2] * 5


def test_a_better_of_several_starts_is_kept():
    truth = three_states()
    x, _ = truth.sample(300, 5)
    one = [GaussianHMM(3).fit(x, seed=3, iterations=8, n_init=n) for n in (1, 6)]
    assert one[1].history[-1] >= one[0].history[-1]
    assert one[1].score(x) == pytest.approx(one[1].history[-1], abs=1e-8)


def test_a_dead_state_keeps_what_it_has_and_shows():
    x, _ = three_states().sample(200, 1)
    far = [[-4.0, 0.0], [4.0, -1.0], [1e6, 1e6]]
    model = GaussianHMM(3, means=far, covariances=np.ones((3, 2))).fit(x, iterations=5)
    assert model.means[2].tolist() == far[2]
    assert np.isfinite(model.transition).all()
    assert model.transition.sum(axis=1) == pytest.approx(1)
    assert model.occupancy is not None
    assert model.occupancy[2] < 1e-6


def test_fixed_parameters_and_warm_starts():
    x, _ = three_states().sample(300, 2)
    model = three_states().fit(x, iterations=3, fixed=["means", "transition"])
    assert np.array_equal(model.means, three_states().means)
    assert np.array_equal(model.transition, STAYS)
    assert not np.array_equal(model.covariances, three_states().covariances)
    first = GaussianHMM(3).fit(x, iterations=3, tolerance=0)
    both = GaussianHMM(3).fit(x, iterations=6, tolerance=0)
    first.fit(x, iterations=3, tolerance=0, warm=True)
    assert first.history[-1] == pytest.approx(both.history[-1], abs=1e-9)


def test_offsets_cost_no_digits():
    x, _ = three_states().sample(400, 3)
    near, far = GaussianHMM(3, "full").fit(x, iterations=5), GaussianHMM(3, "full").fit(x + 1e5, iterations=5)
    assert np.abs(far.means - 1e5 - near.means).max() < 1e-6
    assert np.abs(far.covariances - near.covariances).max() < 1e-6


def test_samples_follow_the_model():
    model = GaussianMixtureHMM(
        2,
        2,
        weights=[[0.25, 0.75], [1.0, 0.0]],
        means=[[[0.0], [4.0]], [[-9.0], [99.0]]],
        covariances=np.full((2, 2, 1), 0.25),
        start=[0.5, 0.5],
        transition=[[0.8, 0.2], [0.6, 0.4]],
    )
    x, path = model.sample(40_000, 0)
    assert np.abs(np.bincount(path) / 40_000 - model.stationary).max() < 0.01
    first = x[path == 0, 0]
    assert (first > 2).mean() == pytest.approx(0.75, abs=0.01)
    assert first[first > 2].std() == pytest.approx(0.5, abs=0.01)
    assert x.max() < 20


@pytest.mark.parametrize("name", [*MODELS, "categorical"])
def test_saved_is_loaded(name, tmp_path):
    if name == "categorical":
        x = np.random.default_rng(0).integers(5, size=200)
        model: HMM = CategoricalHMM(3, emission_prior=1.5).fit(x, iterations=3)
    else:
        x, _ = three_states().sample(150, 0)
        model = MODELS[name]().fit(x, iterations=3)
    model.save(tmp_path / "model.safetensors")
    again = HMM.load(tmp_path / "model.safetensors")
    assert type(again) is type(model)
    assert again.score(x) == pytest.approx(model.score(x), abs=1e-9)
    assert again.emission.settings() == model.emission.settings()
    assert again.topology == model.topology


def test_a_file_that_is_no_model(tmp_path):
    (tmp_path / "x").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be read as a model"):
        HMM.load(tmp_path / "x")
    with pytest.raises(CheckpointError, match="cannot be read"):
        HMM.load(tmp_path / "none")


def good() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(30, 2))


@pytest.mark.parametrize(
    ("make", "error", "fact"),
    [
        (lambda: GaussianHMM(0), DataError, "states must be a whole number"),
        (lambda: GaussianHMM(2, "round"), DataError, "covariance must be one of"),
        (lambda: GaussianHMM(2, topology="ring"), DataError, "topology must be one of"),
        (lambda: GaussianHMM(2, start=[0.5, 0.6]), DataError, "start must sum to 1, it sums to 1.1"),
        (lambda: GaussianHMM(2, transition=[[1, 0], [0.5, 0.4]]), DataError, "row 1 of transition must sum to 1"),
        (lambda: GaussianHMM(2, transition=[[1.5, -0.5], [0.5, 0.5]]), DataError, "probabilities from 0 on, got -0.5"),
        (lambda: GaussianHMM(2, start=[np.nan, 1]), DataError, "probabilities from 0 on, got nan"),
        (lambda: GaussianHMM(2, start=[1.0]), ShapeError, r"start must be \(2\), got \(1,\)"),
        (lambda: GaussianHMM(2, means=np.zeros((3, 2))), ShapeError, "means must be"),
        (lambda: GaussianHMM(1, means=[[0.0]], covariances=[[0.0]]), DataError, "variances must be finite and above 0"),
        (
            lambda: GaussianHMM(1, "full", means=[[0.0, 0]], covariances=[np.ones((2, 2))]),
            DataError,
            "positive definite",
        ),
        (lambda: GaussianHMM(1, "full", means=[[0.0, 0]], covariances=[[[1, 2], [0, 1]]]), DataError, "symmetric"),
        (lambda: GaussianHMM(1, start_prior=0.5), DataError, "at least 1"),
        (lambda: GaussianHMM(1, men=[0]), TypeError, "unexpected option 'men'"),
        (lambda: GaussianHMM(2).score(good()), DataError, "has no means yet"),
        (lambda: GaussianHMM(2).fit(np.zeros((0, 2))), DataError, "is empty"),
        (lambda: GaussianHMM(2).fit([]), ShapeError, "x must be"),
        (lambda: GaussianHMM(2).fit(np.zeros(5)), ShapeError, r"x must be \(T, F\)"),
        (lambda: GaussianHMM(2).fit([np.zeros((3, 2)), np.zeros((3, 1))]), ShapeError, "different widths"),
        (lambda: GaussianHMM(2).fit([good(), good()[:0]]), DataError, "sequence 1 is empty"),
        (lambda: GaussianHMM(2).fit(good(), [10, 10]), ShapeError, "lengths sum to 20, x has 30 steps"),
        (lambda: GaussianHMM(2).fit(good()[None], [31]), ShapeError, "numbers up to 30"),
        (lambda: GaussianHMM(2).fit(good(), [15.0, 15.0]), ShapeError, "whole numbers"),
        (lambda: GaussianHMM(40).fit(good()), DataError, "30 steps are fewer than 40 states"),
        (lambda: GaussianHMM(2).fit(np.where(good() > 1, np.nan, good())), DataError, "not finite at step"),
        (lambda: GaussianHMM(2).fit(good() * [1, 0]), DataError, "feature 1 is constant"),
        (lambda: GaussianHMM(2).fit(good(), fixed=["mean"]), DataError, "no such parameter: mean"),
        (lambda: GaussianHMM(2).fit(good(), iterations=0), DataError, "at least 1"),
        (lambda: GaussianHMM(2).fit(good(), domain="linear"), DataError, "scaled or log"),
        (lambda: three_states().score(np.zeros((4, 3))), ShapeError, "x has 3 features, the model 2"),
        (lambda: three_states().decode(good(), method="best"), DataError, "viterbi or posterior"),
        (lambda: three_states().sample(0), DataError, "at least 1"),
        (lambda: GaussianMixtureHMM(2, 0), DataError, "components must be at least 1"),
        (lambda: CategoricalHMM(2).fit(np.array([0.5, 1.0])), DataError, "whole numbers, got dtype float64"),
        (lambda: CategoricalHMM(2).fit(np.array([1, -1])), DataError, "count from 0, got -1 at step 1"),
        (lambda: CategoricalHMM(2, 3).fit(np.array([0, 3])), DataError, "symbol 3 at step 1 is unknown"),
        (lambda: CategoricalHMM(1, emission_prior=0.0), DataError, "at least 1"),
        (lambda: CategoricalHMM(1, probabilities=[[1.0, 0.0]]).score([0, 1]), DataError, None),
        (lambda: three_states().filter(good(), FilterState(np.ones((2, 3)), np.zeros(2))), ShapeError, r"\(1, 3\)"),
    ],
)
def test_what_is_refused(make, error, fact):
    if fact is None:
        assert make() == -np.inf
        return
    with pytest.raises(error, match=fact):
        make()


def test_an_impossible_sequence_is_named():
    model = CategoricalHMM(1, probabilities=[[1.0, 0.0]])
    for ask in (model.posteriors, model.decode, model.fit, model.filter):
        with pytest.raises(DataError, match="sequence 1 is impossible under the model"):
            ask(np.array([[0, 0], [0, 1]]))
