"""What a state says about an observation: the interface of emissions, and the checks they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from recurra.base.errors import DataError, ShapeError, message

__all__ = ["Emission", "distribution"]


class Emission(ABC):
    """The densities of K states. Parameters are arrays in `parameters`; None until they are given or fitted."""

    kind: ClassVar[str]
    discrete: ClassVar[bool] = False
    names: ClassVar[tuple[str, ...]]

    def __init__(self, states: int) -> None:
        self.states = states
        self.parameters: dict[str, np.ndarray | None] = dict.fromkeys(self.names)

    def __getitem__(self, name: str) -> np.ndarray:
        value = self.parameters[name]
        if value is None:
            raise DataError(
                message("HMM", f"the model has no {name} yet", hint="fit it, or give them to the constructor.")
            )
        return value

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What the constructor needs besides parameters, for saving."""

    @abstractmethod
    def set(self, name: str, value: Any) -> None:
        """Set a parameter; DataError or ShapeError where it cannot be one."""

    @abstractmethod
    def check(self, where: str, data: np.ndarray) -> None:
        """Raise where observations (N,) or (N, F) do not fit the parameters."""

    @abstractmethod
    def initialise(
        self, data: np.ndarray, labels: np.ndarray | None, given: set[str], chance: np.random.Generator
    ) -> None:
        """Set the parameters that are not `given`; labels (N,): a first guess of the states, or None."""

    @abstractmethod
    def log_density(self, data: np.ndarray) -> np.ndarray:
        """Of shape (N, K)."""

    @abstractmethod
    def update(self, data: np.ndarray, posteriors: np.ndarray, fixed: set[str]) -> None:
        """Maximise the expected log density plus `log_prior`, parameters in `fixed` left as they are."""

    def log_prior(self) -> float:
        """The log density of the parameters under their prior, up to a constant."""
        return 0.0

    @abstractmethod
    def sample(self, states: np.ndarray, chance: np.random.Generator) -> np.ndarray:
        """One observation for each entry of `states` (T,)."""

    @property
    @abstractmethod
    def free(self) -> int:
        """How many numbers are estimated."""


def distribution(where: str, name: str, value: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """Probabilities of `shape` (None: any size) whose last axis sums to one; errors name the row and its sum."""
    array = np.array(value, dtype=np.float64)
    if array.ndim != len(shape) or any(want not in (None, have) for have, want in zip(array.shape, shape, strict=True)):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ShapeError(message(where, f"{name} must be ({wanted}), got {array.shape}"))
    if not (array >= 0).all():
        raise DataError(message(where, f"{name} must be probabilities from 0 on, got {array[~(array >= 0)][0]}"))
    sums = array.sum(axis=-1)
    wrong = np.argwhere(~(np.abs(sums - 1) < 1e-6))
    if len(wrong):
        row = tuple(wrong[0].tolist())
        of = f"row {', '.join(map(str, row))} of {name}" if row else name
        raise DataError(message(where, f"{of} must sum to 1, it sums to {sums[row]:.6g}"))
    return array / sums[..., None]
