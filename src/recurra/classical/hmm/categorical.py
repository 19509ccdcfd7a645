"""Discrete emissions: each state has a probability for each symbol."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from recurra.base.errors import DataError, message
from recurra.classical.hmm.emission import Emission, distribution
from recurra.classical.hmm.recursion import log

__all__ = ["Categorical"]


class Categorical(Emission):
    """probabilities (K, S) of S symbols 0 ... S - 1; prior: Dirichlet, 1 is none, 2 adds one count to every symbol."""

    kind: ClassVar[str] = "categorical"
    discrete: ClassVar[bool] = True
    names: ClassVar[tuple[str, ...]] = ("probabilities",)

    def __init__(self, states: int, symbols: int | None = None, *, prior: float = 1.0) -> None:
        super().__init__(states)
        if prior < 1:
            raise DataError(message("CategoricalHMM", f"emission_prior must be at least 1, got {prior}"))
        self.symbols, self.prior = symbols, prior

    def settings(self) -> dict[str, Any]:
        """Number of symbols and the prior."""
        return {"symbols": self.symbols, "emission_prior": self.prior}

    def set(self, name: str, value: Any) -> None:
        """Set the probabilities."""
        self.parameters[name] = distribution("CategoricalHMM", name, value, (self.states, self.symbols))
        self.symbols = self["probabilities"].shape[1]

    def check(self, where: str, data: np.ndarray) -> None:
        """Symbols beyond the last are refused."""
        if self.symbols is not None and data.max() >= self.symbols:
            at = int(data.argmax())
            raise DataError(
                message(
                    where,
                    f"symbol {data[at]} at step {at} is unknown: the model has the symbols 0 to {self.symbols - 1}",
                    hint="CategoricalHMM(states, symbols=...) with emission_prior above 1 leaves room for unseen ones.",
                )
            )

    def initialise(
        self, data: np.ndarray, labels: np.ndarray | None, given: set[str], chance: np.random.Generator
    ) -> None:
        """Close to the frequencies of the symbols, and different for each state; with labels, those of its steps."""
        if "probabilities" in given:
            return
        self.symbols = int(data.max()) + 1 if self.symbols is None else self.symbols
        counts = np.zeros((self.states, self.symbols))
        if labels is None:
            counts += np.bincount(data, minlength=self.symbols)
        else:
            np.add.at(counts, (labels, data), 1.0)
            counts += 0.1 * np.bincount(data, minlength=self.symbols) / self.states
        counts = counts * chance.uniform(0.5, 1.5, size=counts.shape) + (self.prior - 1)
        self.parameters["probabilities"] = counts / counts.sum(axis=1, keepdims=True)

    def log_density(self, data: np.ndarray) -> np.ndarray:
        """Of shape (N, K)."""
        return log(self["probabilities"]).T[data]

    def update(self, data: np.ndarray, posteriors: np.ndarray, fixed: set[str]) -> None:
        """Expected counts, normalised; a state that nothing visits keeps what it has."""
        if "probabilities" in fixed:
            return
        old = self["probabilities"]
        # One column per state: bincount with weights is far faster than adding at indices.
        counts = np.stack([np.bincount(data, posteriors[:, k], minlength=old.shape[1]) for k in range(self.states)])
        counts += self.prior - 1
        sums = counts.sum(axis=1, keepdims=True)
        self.parameters["probabilities"] = np.where(sums > 0, counts / np.where(sums > 0, sums, 1.0), old)

    def log_prior(self) -> float:
        """Dirichlet."""
        return float((self.prior - 1) * log(self["probabilities"]).sum()) if self.prior > 1 else 0.0

    def sample(self, states: np.ndarray, chance: np.random.Generator) -> np.ndarray:
        """Symbols."""
        upto = np.cumsum(self["probabilities"], axis=1)[states]
        return np.minimum((chance.random(len(states))[:, None] >= upto).sum(axis=1), upto.shape[1] - 1)

    @property
    def free(self) -> int:
        """There are K (S - 1)."""
        return self.states * ((self.symbols or 1) - 1)
