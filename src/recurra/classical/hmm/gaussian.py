"""Gaussian emissions: one Gaussian per state."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from recurra.base.errors import DataError, ShapeError, message
from recurra.classical.hmm.clusters import cluster_means
from recurra.classical.hmm.covariance import (
    KINDS,
    checked_covariance,
    estimated,
    expanded,
    factors,
    gaussian_log_density,
    scatter,
)
from recurra.classical.hmm.emission import Emission

__all__ = ["Gaussian"]


class Gaussian(Emission):
    """means (K, D) and covariances of the kind `covariance`: diag (K, D), full (K, D, D), spherical (K,), tied (D, D).

    covariance_prior: (scale, count), added to the scatter of a state and to its number of steps.
    min_covariance: the least variance, as a share of that of the data.
    """

    kind: ClassVar[str] = "gaussian"
    names: ClassVar[tuple[str, ...]] = ("means", "covariances")

    def __init__(
        self,
        states: int,
        covariance: str = "diag",
        *,
        covariance_prior: tuple[float, float] = (0.0, 0.0),
        min_covariance: float = 1e-6,
    ) -> None:
        super().__init__(states)
        if covariance not in KINDS:
            raise DataError(message("GaussianHMM", f"covariance must be one of {', '.join(KINDS)}; got {covariance!r}"))
        if min(covariance_prior) < 0 or not min_covariance > 0:
            fact = "covariance_prior must be from 0 on and min_covariance above 0"
            raise DataError(message("GaussianHMM", f"{fact}, got {covariance_prior}, {min_covariance}"))
        self.covariance, self.prior, self.min_covariance = covariance, tuple(covariance_prior), min_covariance
        self._least: np.ndarray | None = None

    def settings(self) -> dict[str, Any]:
        """The kind of covariance, its prior and bound."""
        return {
            "covariance": self.covariance,
            "covariance_prior": list(self.prior),
            "min_covariance": self.min_covariance,
        }

    @property
    def lead(self) -> tuple[int, ...]:
        """How the Gaussians are counted: (K,)."""
        return (self.states,)

    @property
    def count(self) -> int:
        """How many Gaussians there are."""
        return int(np.prod(self.lead))

    @property
    def features(self) -> int:
        """The width D of an observation."""
        return self["means"].shape[-1]

    def set(self, name: str, value: Any) -> None:
        """Set means or covariances (after the means)."""
        if name == "means":
            array = np.array(value, dtype=np.float64)
            if array.ndim != len(self.lead) + 1 or array.shape[:-1] != self.lead or not np.isfinite(array).all():
                sizes = ", ".join(map(str, self.lead))
                raise ShapeError(message("HMM", f"means must be ({sizes}, features) and finite, got {array.shape}"))
            self.parameters[name] = array
        else:
            self.parameters[name] = checked_covariance("HMM", value, self.covariance, self.lead, self.features)

    def check(self, where: str, data: np.ndarray) -> None:
        """Observations need as many features as the means."""
        if self.parameters["means"] is not None and data.shape[1] != self.features:
            raise ShapeError(message(where, f"x has {data.shape[1]} features, the model {self.features}"))

    def initialise(
        self, data: np.ndarray, labels: np.ndarray | None, given: set[str], chance: np.random.Generator
    ) -> None:
        """Means of the labelled steps, or of clusters; the covariance of all data for every state."""
        self._bound(data)
        if "means" not in given:
            self.parameters["means"] = self._first_means(data, labels, chance)
        if "covariances" not in given:
            self.parameters["covariances"] = self._whole_covariance(data)

    def _first_means(self, data: np.ndarray, labels: np.ndarray | None, chance: np.random.Generator) -> np.ndarray:
        if labels is None:
            return cluster_means(data, self.states, chance)
        present = [data[labels == k] for k in range(self.states)]
        return np.stack([part.mean(axis=0) if len(part) else data.mean(axis=0) for part in present])

    def _bound(self, data: np.ndarray) -> None:
        """The least variance of each feature."""
        variance = data.var(axis=0)
        if not (variance > 0).all():
            raise DataError(
                message("HMM.fit", f"feature {int((~(variance > 0)).argmax())} is constant", hint="leave it out.")
            )
        self._least = self.min_covariance * variance

    def _whole_covariance(self, data: np.ndarray) -> np.ndarray:
        mean = data.mean(axis=0, keepdims=True)
        diagonal = self.covariance in ("diag", "spherical")
        whole = scatter(data, mean, np.ones((len(data), 1)), diagonal=diagonal)
        least = self._least if self._least is not None else np.zeros(data.shape[1])
        found = estimated(self.covariance, whole, np.array([float(len(data))]), (0.0, 0.0), least)
        if self.covariance == "tied":
            return found
        return np.broadcast_to(found[0], (*self.lead, *found.shape[1:])).copy()

    def _expanded(self) -> np.ndarray:
        return expanded(self["covariances"], self.covariance, self.count, self.features)

    def log_density(self, data: np.ndarray) -> np.ndarray:
        """Of shape (N, K)."""
        return gaussian_log_density(data, self["means"].reshape(self.count, -1), self._expanded())

    def update(self, data: np.ndarray, posteriors: np.ndarray, fixed: set[str]) -> None:
        """Weighted means and covariances; a state that nothing visits keeps what it has."""
        counts = posteriors.sum(axis=0)
        seen = counts > 1e-10
        if "means" not in fixed:
            old = self["means"].reshape(self.count, -1)
            # About the old means: large offsets cost no digits.
            shift = posteriors.T @ data - counts[:, None] * old
            new = np.where(seen[:, None], old + shift / np.where(seen, counts, 1.0)[:, None], old)
            self.parameters["means"] = new.reshape(self["means"].shape)
        if "covariances" not in fixed:
            if self._least is None:
                self._bound(data)
            diagonal = self.covariance in ("diag", "spherical")
            means = self["means"].reshape(self.count, -1)
            sums = scatter(data, means, posteriors, diagonal=diagonal)
            new = estimated(self.covariance, sums, counts, self.prior, self._least)  # pyright: ignore[reportArgumentType]
            if self.covariance != "tied":
                old = self["covariances"].reshape(new.shape)
                kept = seen if min(self.prior) == 0 else np.ones_like(seen)
                new = np.where(kept.reshape(-1, *[1] * (new.ndim - 1)), new, old)
            self.parameters["covariances"] = new.reshape(self["covariances"].shape)

    def log_prior(self) -> float:
        """-(count log det + scale trace of the inverse) / 2 for each covariance."""
        scale, extra = self.prior
        if not scale and not extra:
            return 0.0
        if self.covariance == "tied":
            matrices = self["covariances"][None]
        else:
            matrices = self._expanded()
        if matrices.ndim == 2:
            each = extra * np.log(matrices) + scale / matrices
            return -0.5 * float(each.sum())
        _, determinants = np.linalg.slogdet(matrices)
        traces = np.trace(np.linalg.inv(matrices), axis1=1, axis2=2)
        return -0.5 * float((extra * determinants + scale * traces).sum())

    def sample(self, states: np.ndarray, chance: np.random.Generator) -> np.ndarray:
        """Of shape (T, D)."""
        return self._drawn(states, chance)

    def _drawn(self, which: np.ndarray, chance: np.random.Generator) -> np.ndarray:
        parts = factors(self._expanded())
        noise = chance.normal(size=(len(which), self.features))
        moved = noise * parts[which] if parts.ndim == 2 else (parts[which] @ noise[..., None])[..., 0]
        return self["means"].reshape(self.count, -1)[which] + moved

    @property
    def free(self) -> int:
        """Means and covariances."""
        D = self.features
        square = D * (D + 1) // 2
        of = {"diag": self.count * D, "full": self.count * square, "spherical": self.count, "tied": square}
        return self.count * D + of[self.covariance]
