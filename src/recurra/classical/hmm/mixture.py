"""Mixture emissions: each state has M Gaussians with weights."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from recurra.base.errors import DataError, message
from recurra.classical.hmm.clusters import cluster_means
from recurra.classical.hmm.covariance import gaussian_log_density
from recurra.classical.hmm.emission import distribution
from recurra.classical.hmm.gaussian import Gaussian
from recurra.classical.hmm.recursion import log

__all__ = ["GaussianMixture"]


class GaussianMixture(Gaussian):
    """weights (K, M), means (K, M, D); covariances diag (K, M, D), full (K, M, D, D), spherical (K, M), tied (D, D)."""

    kind: ClassVar[str] = "mixture"
    names: ClassVar[tuple[str, ...]] = ("weights", "means", "covariances")

    def __init__(self, states: int, components: int, covariance: str = "diag", **options: Any) -> None:
        if components < 1:
            raise DataError(message("GaussianMixtureHMM", f"components must be at least 1, got {components}"))
        self.components = components
        super().__init__(states, covariance, **options)

    def settings(self) -> dict[str, Any]:
        """Those of a Gaussian and the number of components."""
        return {"components": self.components, **super().settings()}

    @property
    def lead(self) -> tuple[int, ...]:
        """How the Gaussians are counted: (K, M)."""
        return self.states, self.components

    def set(self, name: str, value: Any) -> None:
        """Set weights, means or covariances."""
        if name == "weights":
            self.parameters[name] = distribution("GaussianMixtureHMM", name, value, self.lead)
        else:
            super().set(name, value)

    def initialise(
        self, data: np.ndarray, labels: np.ndarray | None, given: set[str], chance: np.random.Generator
    ) -> None:
        """Even weights; clusters of the steps of each state."""
        super().initialise(data, labels, given, chance)
        if "weights" not in given:
            self.parameters["weights"] = np.full(self.lead, 1 / self.components)

    def _first_means(self, data: np.ndarray, labels: np.ndarray | None, chance: np.random.Generator) -> np.ndarray:
        if labels is None:
            centres = cluster_means(data, self.states, chance)
            labels = ((data[:, None] - centres) ** 2).sum(-1).argmin(1)
        parts = [data[labels == k] for k in range(self.states)]
        enough = [part if len(part) >= self.components else data for part in parts]
        return np.stack([cluster_means(part, self.components, chance) for part in enough])

    def _parts(self, data: np.ndarray) -> np.ndarray:
        """(N, K, M): log of weight times density."""
        each = gaussian_log_density(data, self["means"].reshape(self.count, -1), self._expanded())
        return each.reshape(-1, *self.lead) + log(self["weights"])

    def log_density(self, data: np.ndarray) -> np.ndarray:
        """Of shape (N, K)."""
        return _log_sum(self._parts(data))

    def update(self, data: np.ndarray, posteriors: np.ndarray, fixed: set[str]) -> None:
        """Each component takes its share of the steps of its state."""
        parts = self._parts(data)
        total = _log_sum(parts)
        with np.errstate(invalid="ignore"):
            shares = np.exp(parts - total[..., None])
        shares = np.where(np.isfinite(total)[..., None], shares, 0.0) * posteriors[..., None]
        flat = np.ascontiguousarray(shares.reshape(len(data), -1))
        if "weights" not in fixed:
            counts = flat.sum(axis=0).reshape(self.lead)
            sums = counts.sum(axis=1, keepdims=True)
            self.parameters["weights"] = np.where(sums > 1e-10, counts / np.where(sums > 0, sums, 1.0), self["weights"])
        super().update(data, flat, fixed)

    def sample(self, states: np.ndarray, chance: np.random.Generator) -> np.ndarray:
        """Of shape (T, D)."""
        upto = np.cumsum(self["weights"], axis=1)[states]
        chosen = np.minimum((chance.random(len(states))[:, None] >= upto).sum(axis=1), self.components - 1)
        return self._drawn(states * self.components + chosen, chance)

    @property
    def free(self) -> int:
        """Those of the Gaussians, and K (M - 1) weights."""
        return super().free + self.states * (self.components - 1)


def _log_sum(parts: np.ndarray) -> np.ndarray:
    top = parts.max(axis=-1)
    safe = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return safe + np.log(np.exp(parts - safe[..., None]).sum(axis=-1))
