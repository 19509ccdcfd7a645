"""The hidden Markov model: Baum-Welch, posteriors, Viterbi, sampling, a filter for streams, saving."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from recurra.base.errors import CheckpointError, DataError, ShapeError, message
from recurra.base.files import replacing
from recurra.classical.hmm.categorical import Categorical
from recurra.classical.hmm.emission import Emission, distribution
from recurra.classical.hmm.gaussian import Gaussian
from recurra.classical.hmm.mixture import GaussianMixture
from recurra.classical.hmm.recursion import Smoothing, best_paths, filtered, smoothed
from recurra.classical.hmm.sequences import Sequences, laid

__all__ = ["HMM", "CategoricalHMM", "Decoded", "FilterState", "GaussianHMM", "GaussianMixtureHMM"]

EMISSIONS: dict[str, type[Emission]] = {kind.kind: kind for kind in (Categorical, Gaussian, GaussianMixture)}
TOPOLOGIES = ("ergodic", "left-to-right")


class Decoded(NamedTuple):
    """State paths in the form of x ((N,), (B, T) with -1 on the padding, or a list), and each one's log probability."""

    path: Any
    log_probability: np.ndarray


class FilterState(NamedTuple):
    """What a stream knows after what it has read: constant in size."""

    posteriors: np.ndarray
    """(B, K): probability of each state now, given all observations so far."""
    log_likelihoods: np.ndarray
    """(B,): of all observations so far."""


class HMM:
    """A chain of K hidden states with `emission` densities; its end is free (no probability of stopping).

    start (K,), transition (K, K): probabilities; topology "left-to-right" begins them as a chain that stays or moves on
    by one. A probability of 0 stays 0 in fitting. Priors are Dirichlet: 1 is none, 2 adds one count to all that is
    not 0. Use GaussianHMM, GaussianMixtureHMM or CategoricalHMM.
    """

    def __init__(
        self,
        emission: Emission,
        *,
        start: Any = None,
        transition: Any = None,
        topology: str = "ergodic",
        start_prior: float = 1.0,
        transition_prior: float = 1.0,
        **parameters: Any,
    ) -> None:
        self.emission, self.topology = emission, topology
        K = emission.states
        if not isinstance(K, (int, np.integer)) or K < 1:
            raise DataError(message("HMM", f"states must be a whole number from 1 on, got {K!r}"))
        if topology not in TOPOLOGIES:
            raise DataError(message("HMM", f"topology must be one of {', '.join(TOPOLOGIES)}; got {topology!r}"))
        if min(start_prior, transition_prior) < 1:
            fact = f"start_prior and transition_prior must be at least 1, got {start_prior} and {transition_prior}"
            raise DataError(message("HMM", fact))
        self.start_prior, self.transition_prior = start_prior, transition_prior
        self.start, self.transition = self._first_chain()
        self.history: list[float] = []
        """Log likelihood plus log prior at each iteration of the best start of the last fit; it never falls."""
        self.converged = False
        self.occupancy: np.ndarray | None = None
        """(K,): expected number of steps in each state at the last iteration; about 0 is a dead state."""
        self._given: set[str] = set()
        if start is not None:
            self.start = distribution("HMM", "start", start, (K,))
            self._given.add("start")
        if transition is not None:
            self.transition = distribution("HMM", "transition", transition, (K, K))
            self._given.add("transition")
        for name in emission.names:
            if parameters.get(name) is not None:
                emission.set(name, parameters[name])
                self._given.add(name)

    @property
    def states(self) -> int:
        """How many there are, K."""
        return self.emission.states

    def __getattr__(self, name: str) -> np.ndarray:
        """The emission's parameters by name: means, covariances, weights, probabilities."""
        if not name.startswith("_") and name in self.__dict__.get("emission", _NOTHING).names:
            return self.emission[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def fit(
        self,
        x: Any,
        lengths: Any = None,
        *,
        iterations: int = 100,
        tolerance: float = 1e-6,
        n_init: int = 1,
        seed: int = 0,
        fixed: Sequence[str] = (),
        warm: bool = False,
        domain: str = "scaled",
    ) -> Self:
        """Baum-Welch (Baum et al. 1970) on one or several sequences; forms of x: see `score`.

        Parameters handed to the constructor are where it begins, the others are initialised from the data; `warm` goes
        on from where the last fit ended. fixed: names of parameters that stay as they are.
        tolerance: stop when an iteration gains less than this many nats per step. n_init: starts, the best is kept.
        domain: "scaled" (fast; turns to logarithms where it must) or "log".
        """
        where = "HMM.fit"
        data = self._laid(where, x, lengths)
        unknown = set(fixed) - {"start", "transition", *self.emission.names}
        if unknown:
            known = ", ".join(("start", "transition", *self.emission.names))
            raise DataError(
                message(where, f"fixed has no such parameter: {', '.join(sorted(unknown))}", f"there are: {known}")
            )
        if iterations < 1 or n_init < 1 or not tolerance >= 0:
            fact = "iterations and n_init must be at least 1, tolerance from 0 on"
            raise DataError(message(where, f"{fact}; got {iterations}, {n_init}, {tolerance}"))
        if domain not in ("scaled", "log"):
            raise DataError(message(where, f"domain must be scaled or log, got {domain!r}"))
        if len(data.data) < self.states:
            raise DataError(message(where, f"{len(data.data)} steps are fewer than {self.states} states"))
        best: tuple[list[float], dict[str, Any]] | None = None
        for attempt in range(n_init):
            if not warm:
                self._initialise(data, np.random.default_rng([seed, attempt]))
            self._climb(data, iterations, tolerance, set(fixed), domain)
            if best is None or self.history[-1] > best[0][-1]:
                best = self.history, self._snapshot()
        if best is not None and n_init > 1:
            self.history = best[0]
            self.__dict__.update(best[1]["own"])
            self.emission.parameters = best[1]["emission"]
        return self

    def log_likelihoods(self, x: Any, lengths: Any = None) -> np.ndarray:
        """(B,): natural logarithm of the density of each sequence; -inf where it is impossible."""
        data = self._laid("HMM.log_likelihoods", x, lengths)
        return filtered(self.emission.log_density(data.data), data.offsets, self.start, self.transition).log_likelihoods

    def score(self, x: Any, lengths: Any = None) -> float:
        """The log likelihood of all sequences, in nats.

        x: one sequence (T, F), (B, T, F), or a list of (T, F); symbols without the axis F. With lengths (B,),
        (B, T, F) is padded, and (N, F) holds B sequences one after the other.
        """
        return float(self.log_likelihoods(x, lengths).sum())

    def posteriors(self, x: Any, lengths: Any = None) -> Any:
        """Probability of each state at each step given the whole sequence: (N, K), (B, T, K) or a list, as x came."""
        data = self._laid("HMM.posteriors", x, lengths)
        return data.back(self._smooth("HMM.posteriors", data, "scaled").posteriors)

    def decode(self, x: Any, lengths: Any = None, *, method: str = "viterbi") -> Decoded:
        """The most probable path (viterbi), or the most probable state at each step (posterior)."""
        data = self._laid("HMM.decode", x, lengths)
        if method == "posterior":
            found = self._smooth("HMM.decode", data, "scaled").posteriors
            path, sums = found.argmax(axis=1), np.log(found.max(axis=1))
            score = np.add.reduceat(sums, data.offsets[:-1])
        elif method == "viterbi":
            density = self.emission.log_density(data.data)
            path, score = best_paths(density, data.offsets, self.start, self.transition)
            _possible("HMM.decode", score)
        else:
            raise DataError(message("HMM.decode", f"method must be viterbi or posterior, got {method!r}"))
        return Decoded(data.back(path, padding=-1), score)

    def filter(self, x: Any, state: FilterState | None = None, lengths: Any = None) -> tuple[Any, FilterState]:
        """Probability of each state given what came up to each step, in the form of x; and the state to go on with.

        Chunks of any sizes give what the whole sequence gives; the memory does not grow.

        >>> weather = CategoricalHMM(2, start=[0.5, 0.5], transition=[[0.7, 0.3], [0.3, 0.7]],
        ...                          probabilities=[[0.9, 0.1], [0.2, 0.8]])
        >>> y, state = weather.filter([0, 0])
        >>> y.round(3).tolist()
        [[0.818, 0.182], [0.883, 0.117]]
        """
        where = "HMM.filter"
        data = self._laid(where, x, lengths)
        B, K = len(data), self.states
        start = np.broadcast_to(self.start, (B, K))
        before = np.zeros(B)
        if state is not None:
            if np.shape(state.posteriors) != (B, K):
                fact = f"state.posteriors must be (B, K) = ({B}, {K}), got {np.shape(state.posteriors)}"
                raise ShapeError(message(where, fact))
            start, before = np.asarray(state.posteriors) @ self.transition, np.asarray(state.log_likelihoods)
        found = filtered(self.emission.log_density(data.data), data.offsets, start, self.transition)
        _possible(where, found.log_likelihoods)
        after = FilterState(found.posteriors[data.offsets[1:] - 1], before + found.log_likelihoods)
        return data.back(found.posteriors), after

    def sample(self, steps: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Draw a sequence: observations (T, F) or (T,), and the states (T,) behind them."""
        if steps < 1:
            raise DataError(message("HMM.sample", f"steps must be at least 1, got {steps}"))
        chance = np.random.default_rng(seed)
        upto, draws = np.cumsum(self.transition, axis=1), chance.random(steps)
        path = np.empty(steps, np.int64)
        row = np.cumsum(self.start)
        for t in range(steps):
            path[t] = min(np.searchsorted(row, draws[t] * row[-1], side="right"), self.states - 1)
            row = upto[path[t]]
        return self.emission.sample(path, chance), path

    @property
    def stationary(self) -> np.ndarray:
        """(K,): the distribution of the states that the transitions leave as it is."""
        K = self.states
        left = np.concatenate([self.transition.T - np.eye(K), np.ones((1, K))])
        found = np.linalg.lstsq(left, np.append(np.zeros(K), 1.0), rcond=None)[0]
        return np.clip(found, 0, None) / np.clip(found, 0, None).sum()

    @property
    def free_parameters(self) -> int:
        """How many numbers are estimated; probabilities of 0 are not."""
        chain = int((self.start > 0).sum()) - 1 + int((self.transition > 0).sum()) - self.states
        return chain + self.emission.free

    def aic(self, x: Any, lengths: Any = None) -> float:
        """Akaike's criterion for these data; the lower the better."""
        return -2 * self.score(x, lengths) + 2 * self.free_parameters

    def bic(self, x: Any, lengths: Any = None) -> float:
        """Schwarz's criterion for these data."""
        steps = len(self._laid("HMM.bic", x, lengths).data)
        return -2 * self.score(x, lengths) + math.log(steps) * self.free_parameters

    def save(self, path: str | Path) -> None:
        """Write the model as safetensors: arrays and settings, no code."""
        arrays = {"start": self.start, "transition": self.transition}
        arrays |= {name: self.emission[name] for name in self.emission.names}
        own = {"topology": self.topology, "start_prior": self.start_prior, "transition_prior": self.transition_prior}
        settings = {"states": self.states, **self.emission.settings(), **own}
        about = {"format": "recurra.hmm", "version": "1", "kind": self.emission.kind, "settings": json.dumps(settings)}
        with replacing(Path(path)) as temporary:
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary, about)

    @staticmethod
    def load(path: str | Path) -> HMM:
        """Read what `save` wrote."""
        try:
            with safe_open(path, "numpy") as file:
                about = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise CheckpointError(message(str(path), f"cannot be read as a model: {error}")) from error
        if about.get("format") != "recurra.hmm" or about.get("kind") not in _MODELS:
            raise CheckpointError(message(str(path), "holds no hidden Markov model of this version"))
        return _MODELS[about["kind"]](**json.loads(about["settings"]), **arrays)

    def _laid(self, where: str, x: Any, lengths: Any) -> Sequences:
        data = laid(where, x, lengths, discrete=self.emission.discrete)
        self.emission.check(where, data.data)
        return data

    def _smooth(self, where: str, data: Sequences, domain: str) -> Smoothing:
        density = self.emission.log_density(data.data)
        found = smoothed(density, data.offsets, self.start, self.transition, domain=domain)
        _possible(where, found.log_likelihoods)
        return found

    def _first_chain(self) -> tuple[np.ndarray, np.ndarray]:
        K = self.states
        if self.topology == "ergodic":
            return np.full(K, 1 / K), np.full((K, K), 1 / K)
        move = 0.5 * (np.eye(K) + np.eye(K, k=1))
        return np.eye(K)[0], move / move.sum(axis=1, keepdims=True)

    def _initialise(self, data: Sequences, chance: np.random.Generator) -> None:
        start, transition = self._first_chain()
        labels = None
        if "start" not in self._given:
            self.start = start
        if "transition" not in self._given:
            self.transition = transition
        if self.topology == "left-to-right":
            # Each sequence cut into K parts of equal length.
            labels = np.concatenate([np.arange(T) * self.states // T for T in data.lengths])
        self.emission.initialise(data.data, labels, self._given, chance)

    def _climb(self, data: Sequences, iterations: int, tolerance: float, fixed: set[str], domain: str) -> None:
        self.history, self.converged = [], False
        for done in range(iterations + 1):
            found = self._smooth("HMM.fit", data, domain)
            self.occupancy = found.posteriors.sum(axis=0)
            self.history.append(float(found.log_likelihoods.sum()) + self._log_prior())
            if len(self.history) > 1 and self.history[-1] - self.history[-2] <= tolerance * len(data.data):
                self.converged = True
            if self.converged or done == iterations:
                return
            if "start" not in fixed:
                self.start = _normalised(found.starts, self.start, self.start_prior)
            if "transition" not in fixed:
                self.transition = _normalised(found.transitions, self.transition, self.transition_prior)
            self.emission.update(data.data, found.posteriors, fixed)

    def _log_prior(self) -> float:
        total = self.emission.log_prior()
        for prior, values in ((self.start_prior, self.start), (self.transition_prior, self.transition)):
            if prior > 1:
                total += (prior - 1) * float(np.log(values[values > 0]).sum())
        return total

    def _snapshot(self) -> dict[str, Any]:
        names = ("start", "transition", "converged", "occupancy")
        return {"own": {name: getattr(self, name) for name in names}, "emission": dict(self.emission.parameters)}


class _Nothing:
    names: tuple[str, ...] = ()


_NOTHING = _Nothing()


def _normalised(counts: np.ndarray, old: np.ndarray, prior: float) -> np.ndarray:
    """Counts with the prior's, as probabilities; what was 0 stays 0, and a row without counts stays as it was."""
    counts = np.where(old > 0, counts + (prior - 1), 0.0)
    sums = counts.sum(axis=-1, keepdims=True)
    return np.where(sums > 0, counts / np.where(sums > 0, sums, 1.0), old)


def _possible(where: str, log_likelihoods: np.ndarray) -> None:
    wrong = ~np.isfinite(log_likelihoods)
    if wrong.any():
        raise DataError(
            message(
                where,
                f"sequence {int(wrong.argmax())} is impossible under the model: its likelihood is 0",
                hint="a probability of 0 (start, transition, symbol) excludes it; priors above 1 keep them above 0.",
            )
        )


class CategoricalHMM(HMM):
    """Symbols 0 ... S - 1; probabilities (K, S). emission_prior: Dirichlet.

    >>> weather = CategoricalHMM(2, start=[0.6, 0.4], transition=[[0.7, 0.3], [0.4, 0.6]],
    ...                          probabilities=[[0.1, 0.4, 0.5], [0.6, 0.3, 0.1]])
    >>> path, log_probability = weather.decode([0, 1, 2])
    >>> path.tolist(), round(float(np.exp(log_probability[0])), 5)
    ([1, 0, 0], 0.01344)
    """

    def __init__(self, states: int, symbols: int | None = None, *, emission_prior: float = 1.0, **options: Any) -> None:
        super().__init__(Categorical(states, symbols, prior=emission_prior), **_known(options, Categorical))


class GaussianHMM(HMM):
    """One Gaussian per state; covariance "diag", "full", "spherical" or "tied".

    >>> chain = {"start": [1, 0], "transition": [[0.9, 0.1], [0.2, 0.8]]}
    >>> model = GaussianHMM(2, means=[[0], [4]], covariances=[[1], [1]], **chain)
    >>> x, states = model.sample(2000, seed=1)
    >>> again = GaussianHMM(2).fit(x)
    >>> sorted(again.means.ravel().round(1).tolist())
    [-0.0, 4.0]
    """

    def __init__(
        self,
        states: int,
        covariance: str = "diag",
        *,
        covariance_prior: tuple[float, float] = (0.0, 0.0),
        min_covariance: float = 1e-6,
        **options: Any,
    ) -> None:
        emission = Gaussian(states, covariance, covariance_prior=covariance_prior, min_covariance=min_covariance)
        super().__init__(emission, **_known(options, Gaussian))


class GaussianMixtureHMM(HMM):
    """M Gaussians with weights per state, all of one covariance kind."""

    def __init__(
        self,
        states: int,
        components: int,
        covariance: str = "diag",
        *,
        covariance_prior: tuple[float, float] = (0.0, 0.0),
        min_covariance: float = 1e-6,
        **options: Any,
    ) -> None:
        bounds = {"covariance_prior": covariance_prior, "min_covariance": min_covariance}
        super().__init__(GaussianMixture(states, components, covariance, **bounds), **_known(options, GaussianMixture))


_MODELS: dict[str, type[HMM]] = {"categorical": CategoricalHMM, "gaussian": GaussianHMM, "mixture": GaussianMixtureHMM}


def _known(options: dict[str, Any], emission: type[Emission]) -> dict[str, Any]:
    """The options, all of which must be some model's; TypeError names what is not."""
    names = ("start", "transition", "topology", "start_prior", "transition_prior", *emission.names)
    for name in options:
        if name not in names:
            raise TypeError(f"unexpected option {name!r}; there are {', '.join(names)}")
    return options
