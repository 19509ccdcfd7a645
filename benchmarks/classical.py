"""Filters, hidden Markov models, autoregression beside their peers: `python -m benchmarks.classical`.

One thread, both sides in one process and in turns; the ratio is taken round by round. No figure is printed while the
tests of these models are red, and none of a case whose two sides differ. Results go to benchmarks/results/ as JSON.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.run import ROOT, line, timed
from recurra import __version__
from recurra.base.files import write_text
from recurra.classical import autoregression, filters
from recurra.classical.hmm import HMM, CategoricalHMM, GaussianHMM, GaussianMixtureHMM

GATE = ["tests/unit/classical"]
AGREE = 1e-6


@dataclass(frozen=True)
class Case:
    """Two functions that compute the same; `same` takes what they give to numbers that must agree."""

    name: str
    ours: Callable[[], object]
    peer: Callable[[], object]
    against: str
    goal: float
    ours_value: Callable[[], np.ndarray]
    peer_value: Callable[[], np.ndarray]


def filter_cases() -> Iterator[Case]:
    import padasip.filters as peers

    chance = np.random.default_rng(0)
    for name, ours, theirs, settings, size, steps in (
        ("LMS", filters.LMS(step=0.005), "FilterLMS", {"mu": 0.005}, 16, 20_000),
        ("NLMS", filters.NLMS(step=0.5), "FilterNLMS", {"mu": 0.5}, 16, 20_000),
        ("sign-sign LMS", filters.SignSignLMS(step=1e-4), "FilterSSLMS", {"mu": 1e-4}, 16, 20_000),
        ("RLS", filters.RLS(forgetting=0.999), "FilterRLS", {"mu": 0.999}, 16, 10_000),
        ("RLS", filters.RLS(forgetting=0.999), "FilterRLS", {"mu": 0.999}, 128, 500),
        ("affine projection, order 5", filters.AffineProjection(), "FilterAP", {"mu": 0.5}, 16, 5_000),
        ("GNGD", filters.GNGD(), "FilterGNGD", {"mu": 1.0}, 16, 20_000),
    ):
        x = chance.normal(size=(steps, size))
        d = x @ chance.normal(size=size) + 0.1 * chance.normal(size=steps)

        def peer(theirs=theirs, size=size, settings=settings, x=x, d=d) -> Any:
            return getattr(peers, theirs)(n=size, w="zeros", **settings).run(d, x)

        def mine(ours=ours, x=x, d=d) -> Any:
            return ours(x, d, weights=True)

        yield Case(
            f"{name}, {size} weights, {steps} samples",
            mine,
            peer,
            "padasip",
            10.0,
            lambda mine=mine: mine()[0].y,
            lambda peer=peer: peer()[0],
        )


def chain(K: int) -> dict[str, Any]:
    chance = np.random.default_rng(1)
    return {"start": chance.dirichlet(np.ones(K)), "transition": chance.dirichlet(np.ones(K) * 2, size=K)}


def hmm_models() -> Iterator[tuple[str, Callable[[], HMM], Callable[[], Any]]]:
    from hmmlearn import hmm

    K, D, M, S = 8, 4, 3, 12
    chance = np.random.default_rng(2)
    means, variances = chance.normal(size=(K, D)) * 2, chance.uniform(0.5, 1.5, size=(K, D))
    flat: dict[str, Any] = {"init_params": "", "tol": -np.inf, "implementation": "scaling"}
    ml: dict[str, Any] = {"covars_prior": 0, "covars_weight": 1, "min_covar": 0}

    def theirs(model: Any, **values: np.ndarray) -> Any:
        model.n_features = S if "emissionprob_" in values else D
        model.startprob_, model.transmat_ = chain(K).values()
        for name, value in values.items():
            setattr(model, name, value.copy())
        return model

    yield (
        "Gaussian diag",
        lambda: GaussianHMM(K, means=means, covariances=variances, **chain(K)),
        lambda: theirs(hmm.GaussianHMM(K, "diag", **flat, **ml), means_=means, covars_=variances),
    )
    full = np.stack([np.diag(v) for v in variances])
    yield (
        "Gaussian full",
        lambda: GaussianHMM(K, "full", means=means, covariances=full, **chain(K)),
        lambda: theirs(hmm.GaussianHMM(K, "full", **flat, **ml), means_=means, covars_=full),
    )
    symbols = chance.dirichlet(np.ones(S), size=K)
    yield (
        "categorical",
        lambda: CategoricalHMM(K, probabilities=symbols, **chain(K)),
        lambda: theirs(hmm.CategoricalHMM(K, **flat), emissionprob_=symbols),
    )
    parts: dict[str, Any] = {
        "weights": chance.dirichlet(np.ones(M), size=K),
        "means": chance.normal(size=(K, M, D)) * 2,
        "covariances": chance.uniform(0.5, 1.5, size=(K, M, D)),
    }
    yield (
        "mixture of 3, diag",
        lambda: GaussianMixtureHMM(K, M, **parts, **chain(K)),
        lambda: theirs(
            hmm.GMMHMM(K, M, covariance_type="diag", **flat),
            weights_=parts["weights"],
            means_=parts["means"],
            covars_=parts["covariances"],
        ),
    )


def hmm_cases() -> Iterator[Case]:
    for kind, ours, theirs in hmm_models():
        truth = ours()
        for shape, lengths in (("50 x 200", [200] * 50), ("1 x 10000", [10_000])):
            x = np.concatenate([truth.sample(T, seed)[0] for seed, T in enumerate(lengths)])
            other = x if x.ndim == 2 else x[:, None]
            rounds = 1 if kind.startswith("mixture") else 5

            def mine(ours=ours, x=x, lengths=lengths, rounds=rounds) -> HMM:
                return ours().fit(x, lengths, iterations=rounds, tolerance=0.0)

            def peer(theirs=theirs, other=other, lengths=lengths, rounds=rounds) -> Any:
                # Ours passes over the data once more, to say what came out.
                model = theirs()
                model.n_iter = rounds
                return model.fit(other, lengths)

            def start(theirs=theirs, other=other, lengths=lengths) -> np.ndarray:
                return np.array([theirs().score(other, lengths)])

            yield Case(
                f"Baum-Welch, {kind}, {shape}, K=8, D=4",
                mine,
                peer,
                "hmmlearn, scaling",
                1.0,
                lambda mine=mine: np.array(mine().history[:1]),
                start,
            )
            if kind == "Gaussian diag":
                model, peer_model = ours(), theirs()
                yield Case(
                    f"likelihood, {kind}, {shape}",
                    lambda model=model, x=x, lengths=lengths: model.score(x, lengths),
                    lambda peer_model=peer_model, other=other, lengths=lengths: peer_model.score(other, lengths),
                    "hmmlearn, scaling",
                    1.0,
                    lambda model=model, x=x, lengths=lengths: np.array([model.score(x, lengths)]),
                    start,
                )
                yield Case(
                    f"Viterbi, {kind}, {shape}",
                    lambda model=model, x=x, lengths=lengths: model.decode(x, lengths),
                    lambda peer_model=peer_model, other=other, lengths=lengths: peer_model.decode(other, lengths),
                    "hmmlearn",
                    1.0,
                    lambda model=model, x=x, lengths=lengths: model.decode(x, lengths).path,
                    lambda peer_model=peer_model, other=other, lengths=lengths: peer_model.decode(other, lengths)[1],
                )


def autoregression_cases() -> Iterator[Case]:
    from statsmodels.tsa.ar_model import AutoReg, ar_select_order

    chance = np.random.default_rng(3)
    x = np.zeros(5000)
    for t in range(2, len(x)):
        x[t] = 0.6 * x[t - 1] - 0.3 * x[t - 2] + chance.normal()
    yield Case(
        "autoregression, 12 lags, 5000 values",
        lambda: autoregression.fit(x, 12),
        lambda: AutoReg(x, 12).fit(),
        "statsmodels",
        1.0,
        lambda: autoregression.fit(x, 12).coefficients,
        lambda: AutoReg(x, 12).fit().params[1:],
    )
    yield Case(
        "order selection up to 30 lags, 5000 values",
        lambda: autoregression.select_order(x, 30),
        lambda: ar_select_order(x, 30),
        "statsmodels",
        1.0,
        lambda: np.array([autoregression.select_order(x, 30).order]),
        lambda: np.array([len(ar_select_order(x, 30).ar_lags or ())]),
    )


def measure(case: Case, rounds: int) -> dict[str, object]:
    """Alternate after a first call of each."""
    have, want = np.asarray(case.ours_value(), float), np.asarray(case.peer_value(), float)
    error = float(np.abs(have - want).max() / max(1.0, np.abs(want).max()))
    if not error < AGREE:
        return {"case": case.name, "missing": f"the two sides differ by {error:.1e}"}
    case.ours()
    case.peer()
    ours, peer = [], []
    for index in range(rounds):
        for function, times in ((case.ours, ours), (case.peer, peer))[:: 1 if index % 2 else -1]:
            times.append(timed(function))
    ratios = sorted(b / a for a, b in zip(ours, peer, strict=True))
    return {
        "case": case.name,
        "against": case.against,
        "ours_ms": statistics.median(ours) * 1e3,
        "peer_ms": statistics.median(peer) * 1e3,
        "ratio": statistics.median(ratios),
        "ratio_middle_half": [ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]],
        "rounds": rounds,
        "goal": case.goal,
    }


def main() -> int:
    """0 when the gate is green and all was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--skip-gate", action="store_true", help="for trying out; nothing is written")
    arguments = parser.parse_args()
    if not arguments.skip_gate:
        print("gate: the tests of the classical models", file=sys.stderr, flush=True)
        if subprocess.run([sys.executable, "-m", "pytest", "-q", "-x", *GATE], cwd=ROOT, check=False).returncode:
            print("the gate is red: no figures", file=sys.stderr)
            return 1
    warnings.simplefilter("ignore")
    load = [os.getloadavg()[0]]
    rows = []
    print(f"{'case':62} {'ours ms':>9} {'peer ms':>9}  ratio (middle half)  goal  against")
    for cases in (filter_cases, hmm_cases, autoregression_cases):
        for case in cases():
            if arguments.only in case.name:
                rows.append(measure(case, arguments.rounds))
                print(line(rows[-1]), flush=True)
    load.append(os.getloadavg()[0])
    if not arguments.skip_gate and not arguments.only:
        print(f"written to {write(rows, load).relative_to(ROOT)}", file=sys.stderr)
    return 0


def write(rows: list[dict[str, object]], load: list[float]) -> Path:
    """The results with what they were measured on."""
    known = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [part.split(":")[1].strip() for part in known.splitlines() if part.startswith("model name")]
    found = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "load": load,
        "command": "python -m benchmarks.classical",
        "versions": {"recurra": __version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in ("numpy", "padasip", "hmmlearn", "statsmodels")},
        "rows": rows,
    }
    path = ROOT / "benchmarks" / "results" / f"{found['date']}-classical.json"
    write_text(path, json.dumps(found, indent=1) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
