"""Every model beside hmmlearn: likelihood, posteriors, Viterbi paths, and Baum-Welch from the same start."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.classical.hmm import HMM, CategoricalHMM, GaussianHMM, GaussianMixtureHMM

hmm = pytest.importorskip("hmmlearn.hmm")

K, D, M, LENGTHS = 4, 3, 2, [60, 1, 35, 104]
KINDS = ["diag", "full", "spherical", "tied"]


def chain(seed: int) -> dict:
    chance = np.random.default_rng(seed)
    return {"start": chance.dirichlet(np.ones(K)), "transition": chance.dirichlet(np.ones(K) * 2, size=K)}


def covariances(kind: str, seed: int, lead: tuple[int, ...]) -> np.ndarray:
    chance = np.random.default_rng(seed)
    roots = chance.normal(size=(*lead, D, D)) * 0.5
    full = roots @ roots.swapaxes(-1, -2) + np.eye(D)
    return {
        "full": full,
        "diag": full.diagonal(axis1=-2, axis2=-1).copy(),
        "spherical": full[..., 0, 0].copy(),
        "tied": full.reshape(-1, D, D)[0],
    }[kind]


def gaussian(kind: str):
    means = np.random.default_rng(1).normal(size=(K, D)) * 2
    ours = GaussianHMM(K, kind, means=means, covariances=covariances(kind, 2, (K,)), **chain(3))
    theirs = hmm.GaussianHMM(
        K, kind, init_params="", tol=-np.inf, min_covar=0, covars_prior=0, covars_weight=1, implementation="scaling"
    )
    theirs.n_features = D
    theirs.means_, theirs.covars_ = means, covariances(kind, 2, (K,))
    return ours, theirs


def mixture(kind: str):
    chance = np.random.default_rng(4)
    means, weights = chance.normal(size=(K, M, D)) * 2, chance.dirichlet(np.ones(M), size=K)
    own = covariances(kind, 5, (K, M))
    # hmmlearn's tied mixtures have a matrix for each state; ours has one for the model.
    ours = GaussianMixtureHMM(K, M, kind, weights=weights, means=means, covariances=own, **chain(6))
    theirs = hmm.GMMHMM(K, M, covariance_type=kind, init_params="", tol=-np.inf, min_covar=0, implementation="scaling")
    theirs.n_features = D
    theirs.means_, theirs.weights_ = means, weights
    theirs.covars_ = np.stack([own] * K) if kind == "tied" else own
    theirs._init_covar_priors()
    theirs._fix_priors_shape()
    return ours, theirs


def categorical():
    probabilities = np.random.default_rng(7).dirichlet(np.ones(5), size=K)
    ours = CategoricalHMM(K, probabilities=probabilities, **chain(8))
    theirs = hmm.CategoricalHMM(K, init_params="", tol=-np.inf, implementation="scaling")
    theirs.n_features = 5
    theirs.emissionprob_ = probabilities
    return ours, theirs


CASES = {f"gaussian {kind}": lambda kind=kind: gaussian(kind) for kind in KINDS}
CASES |= {f"mixture {kind}": lambda kind=kind: mixture(kind) for kind in KINDS}
CASES["categorical"] = categorical


def both(name: str) -> tuple[HMM, object, np.ndarray]:
    ours, theirs = CASES[name]()
    theirs.startprob_, theirs.transmat_ = ours.start, ours.transition
    x = np.concatenate([ours.sample(T, seed)[0] for seed, T in enumerate(LENGTHS)])
    return ours, theirs, x


def as_theirs(x: np.ndarray) -> np.ndarray:
    return x[:, None] if x.ndim == 1 else x


def along(model: HMM, x: np.ndarray, path: np.ndarray) -> float:
    """The log probability of the observations and these states."""
    ends = np.cumsum(LENGTHS)
    moves = np.setdiff1d(np.arange(1, len(path)), ends)
    total = model.emission.log_density(x)[np.arange(len(path)), path].sum()
    return (
        total
        + np.log(model.transition[path[moves - 1], path[moves]]).sum()
        + np.log(model.start[path[ends - LENGTHS]]).sum()
    )


@pytest.mark.parametrize("name", CASES)
def test_likelihood_posteriors_and_paths(name):
    ours, theirs, x = both(name)
    want, posteriors = theirs.score_samples(as_theirs(x), LENGTHS)
    assert abs(ours.score(x, LENGTHS) - want) < 1e-10 * abs(want)
    assert np.abs(ours.posteriors(x, LENGTHS) - posteriors).max() < 1e-10
    score, path = theirs.decode(as_theirs(x), LENGTHS)
    decoded = ours.decode(x, LENGTHS)
    assert abs(decoded.log_probability.sum() - score) < 1e-10 * abs(score)
    # Repeated symbols make paths that are equal but for rounding; otherwise it is the same path.
    if name == "categorical":
        assert abs(along(ours, x, path) - along(ours, x, decoded.path)) < 1e-10
    else:
        assert np.array_equal(decoded.path, path)
    score, path = theirs.decode(as_theirs(x), LENGTHS, algorithm="map")
    decoded = ours.decode(x, LENGTHS, method="posterior")
    assert np.array_equal(decoded.path, path)


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("mixture")])
def test_baum_welch_from_the_same_start(name, steps):
    ours, theirs, x = both(name)
    theirs.n_iter = steps
    theirs.fit(as_theirs(x), LENGTHS)
    ours.fit(x, LENGTHS, iterations=steps, tolerance=0.0)
    assert np.abs(np.array(ours.history[:-1]) - list(theirs.monitor_.history)[-steps:]).max() < 1e-8
    pairs = [(ours.start, theirs.startprob_), (ours.transition, theirs.transmat_)]
    if name == "categorical":
        pairs.append((ours.probabilities, theirs.emissionprob_))
    else:
        kept = theirs._covars_
        pairs += [(ours.means, theirs.means_), (ours.covariances, kept[:, 0] if name.endswith("spherical") else kept)]
    for have, want in pairs:
        assert np.abs(have - want).max() < 1e-8 * max(1.0, np.abs(want).max())


# Not spherical: its count has a prior there that cannot be turned off.
@pytest.mark.parametrize("kind", ["diag", "full"])
def test_one_step_of_mixtures(kind):
    ours, theirs, x = both(f"mixture {kind}")
    old = ours.means
    theirs.n_iter = 1
    theirs.fit(x, LENGTHS)
    ours.fit(x, LENGTHS, iterations=1, tolerance=0.0)
    # hmmlearn takes the scatter about the old means, which adds the square of how far they moved; ours is about the
    # new ones, the maximum. (Which is why its likelihood may fall, and ours may not.)
    moved = ours.means - old
    added = {
        "diag": moved**2,
        "full": moved[..., :, None] * moved[..., None, :],
    }[kind]
    pairs = [
        (ours.start, theirs.startprob_),
        (ours.transition, theirs.transmat_),
        (ours.weights, theirs.weights_),
        (ours.means, theirs.means_),
        (ours.covariances + added, theirs.covars_),
    ]
    for have, want in pairs:
        assert np.abs(have - want).max() < 1e-8 * max(1.0, np.abs(want).max())


def test_priors_are_theirs():
    ours, theirs, x = both("gaussian diag")
    ours.start_prior, ours.transition_prior, ours.emission.prior = 2.0, 1.5, (0.3, 2.0)
    theirs.startprob_prior, theirs.transmat_prior, theirs.covars_prior, theirs.covars_weight = 2.0, 1.5, 0.3, 3.0
    theirs.n_iter = 3
    theirs.fit(x, LENGTHS)
    ours.fit(x, LENGTHS, iterations=3, tolerance=0.0)
    for have, want in (
        (ours.start, theirs.startprob_),
        (ours.transition, theirs.transmat_),
        (ours.means, theirs.means_),
        (ours.covariances, theirs.covars_.diagonal(axis1=1, axis2=2)),
    ):
        assert np.abs(have - want).max() < 1e-8
    assert (np.diff(ours.history) >= 0).all()
    discrete, other, symbols = both("categorical")
    discrete.emission.prior = other.emissionprob_prior = 3.0
    other.n_iter = 2
    other.fit(symbols[:, None], LENGTHS)
    discrete.fit(symbols, LENGTHS, iterations=2, tolerance=0.0)
    assert np.abs(discrete.probabilities - other.emissionprob_).max() < 1e-8


@pytest.mark.parametrize("name", ["gaussian diag", "gaussian full", "categorical"])
def test_criteria_and_the_stationary_distribution(name):
    ours, theirs, x = both(name)
    assert ours.aic(x, LENGTHS) == pytest.approx(theirs.aic(as_theirs(x), LENGTHS), rel=1e-12)
    assert ours.bic(x, LENGTHS) == pytest.approx(theirs.bic(as_theirs(x), LENGTHS), rel=1e-12)
    assert np.abs(ours.stationary - theirs.get_stationary_distribution()).max() < 1e-10


def test_the_logarithms_of_both_agree():
    ours, theirs, x = both("gaussian full")
    theirs.implementation = "log"
    theirs.n_iter = 2
    theirs.fit(x, LENGTHS)
    ours.fit(x, LENGTHS, iterations=2, tolerance=0.0, domain="log")
    assert np.abs(ours.covariances - theirs.covars_).max() < 1e-8
