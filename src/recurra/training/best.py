"""The best weights so far, in memory and as `weights.safetensors` of the run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from recurra.training.checkpoint import load_weights, restore_weights, save_weights

__all__ = ["Best"]


class Best:
    """Keeps one set of weights; without a folder in memory only."""

    def __init__(self, folder: Path | None) -> None:
        self.path = folder / "weights.safetensors" if folder else None
        self._weights: dict[str, Tensor] | None = None
        self._info: dict[str, Any] = {}
        self._written = True

    def keep(self, model: nn.Module, info: dict[str, Any]) -> None:
        """These are the best now. Raises CheckpointError where the disk does not take them; memory has them then."""
        self._weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        self._info, self._written = info, False
        self.write()

    def write(self) -> None:
        """Write what an earlier attempt could not."""
        if self.path and self._weights is not None and not self._written:
            save_weights(self.path, self._weights, self._info)
            self._written = True

    def load(self) -> bool:
        """Read them back after a resume; false where there is no such file, CheckpointError where it is damaged."""
        if self.path is None or not self.path.exists():
            return False
        self._weights, self._info = load_weights(self.path)
        return True

    def restore(self, model: nn.Module) -> bool:
        """Give them to the model; false where there are none."""
        if self._weights is None:
            return False
        restore_weights(model, self._weights, str(self.path or "best weights"))
        return True
