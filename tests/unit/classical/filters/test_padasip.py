"""padasip's own value-pinned tests (its tests/filters.py, 2023) run on our filters; its live outputs beside ours."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.classical import filters
from recurra.classical.filters import adaptive

# Ours, padasip's class and settings, the third weight of its target, and the sum of y that its tests pin to 7 digits.
PINNED = [
    (filters.GNGD(step=0.9), "FilterGNGD", {"mu": 0.9}, -4, 16.622071160225627),
    (filters.MathewsLMS(step=0.1, rate=0.001), "FilterVSLMS_Mathews", {"mu": 0.1, "ro": 0.001}, -4, 18.46303593650432),
    (
        filters.BenvenisteLMS(step=0.1, rate=0.0002),
        "FilterVSLMS_Benveniste",
        {"mu": 0.1, "ro": 0.0002},
        -4,
        18.048916937718058,
    ),
    (filters.AngLMS(step=0.1, rate=0.0002), "FilterVSLMS_Ang", {"mu": 0.1, "ro": 0.0002}, -4, 18.341053442007972),
    (
        filters.AffineProjection(order=5, step=0.5, eps=0.001),
        "FilterAP",
        {"order": 5, "mu": 0.5, "ifc": 0.001},
        -4,
        15.105550229065491,
    ),
    (filters.LMS(step=0.1), "FilterLMS", {"mu": 0.1}, -4, 18.199308184867885),
    (filters.NLMS(step=0.5, eps=0.01), "FilterNLMS", {"mu": 0.5, "eps": 0.01}, -4, 14.246570369497373),
    (filters.Llncosh(step=1.0, sharpness=3), "FilterLlncosh", {"mu": 1.0, "lambd": 3}, -4, 18.74164638623726),
    (filters.RLS(forgetting=0.9), "FilterRLS", {"mu": 0.9}, -4, 16.80842884997325),
    (filters.LMF(step=0.01), "FilterLMF", {"mu": 0.01}, -1, 16.611322392961064),
    (filters.NLMF(step=0.1), "FilterNLMF", {"mu": 0.1}, -1, 13.989262305958494),
    (filters.SignSignLMS(step=0.1), "FilterSSLMS", {"mu": 0.1}, -1, 12.579327704869938),
    (filters.NormalizedSignSignLMS(step=0.3), "FilterNSSLMS", {"mu": 0.3, "eps": 0.001}, -1, -23.49342599164458),
    (
        filters.GMCC(step=0.3, kernel=0.03, power=2),
        "FilterGMCC",
        {"mu": 0.3, "lambd": 0.03, "alpha": 2},
        -1,
        7.002285017142926,
    ),
]
each = pytest.mark.parametrize(("ours", "theirs", "settings", "third", "total"), PINNED, ids=[p[1] for p in PINNED])


@pytest.fixture(params=["native", "numpy"])
def path(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(adaptive, "library", lambda: None)
    elif adaptive.library() is None:
        pytest.skip("no compiler")
    return request.param


@each
def test_pinned_values(path, ours, theirs, settings, third, total):
    chance = np.random.RandomState(100)
    x = chance.normal(0, 1, (100, 4))
    noise = chance.normal(0, 0.1, 100)
    d = 2 * x[:, 0] + 0.1 * x[:, 1] + third * x[:, 2] + 0.5 * x[:, 3] + noise
    weights = chance.normal(0, 0.5, 4)
    out, _ = ours(x, d, ours.initial(channels=4, weights=weights))
    # assertAlmostEqual of unittest: seven decimals.
    assert abs(out.y.sum() - total) < 5e-8


@each
def test_live_outputs(path, ours, theirs, settings, third, total):
    padasip = pytest.importorskip("padasip")
    chance = np.random.default_rng(3)
    # Small regressors: with larger ones Llncosh with a step of 1 never settles, and any rounding grows.
    x = 0.2 * chance.normal(size=(400, 7))
    d = x @ chance.normal(size=7) * 0.3 + 0.1 * chance.normal(size=400)
    weights = chance.normal(size=7) * 0.1
    y, e, w = getattr(padasip.filters, theirs)(n=7, w=weights.copy(), **settings).run(d, x)
    out, state = ours(x, d, ours.initial(channels=7, weights=weights), weights=True)
    # padasip's covariance update loses its symmetry, and 1e-10 with it, at a forgetting factor of 0.9.
    limit = 1e-6 if theirs == "FilterRLS" else 1e-10
    for have, want in ((out.y, y), (out.e, e), (out.weights, w)):
        assert np.abs(have - want).max() < limit
    assert state.weights.shape == (1, 7)


def test_padasips_single_step():
    out, state = filters.LMS(step=1.0)(np.array([[2.0, 4.0, 3.0]]), np.array([1.0]))
    assert (out.y.tolist(), state.weights.sum()) == ([0.0], 9.0)


def test_rls_with_slow_forgetting_is_theirs(path):
    padasip = pytest.importorskip("padasip")
    chance = np.random.default_rng(4)
    x, noise = chance.normal(size=(300, 5)), chance.normal(size=300)
    d = x @ np.arange(5.0) + noise
    y, _, w = padasip.filters.FilterRLS(n=5, mu=0.999, eps=0.1, w="zeros").run(d, x)
    out, _ = filters.RLS(forgetting=0.999, delta=0.1)(x, d, weights=True)
    assert np.abs(out.y - y).max() < 1e-10
    assert np.abs(out.weights - w).max() < 1e-10
