"""Named random streams: the same seed gives the same weights whatever the data order draws, and the reverse."""

from __future__ import annotations

import hashlib

import torch

__all__ = ["Streams", "stream"]


def stream(seed: int, name: str) -> torch.Generator:
    """A generator of its own for (seed, name), on the CPU.

    >>> bool(torch.rand(1, generator=stream(0, "init")) == torch.rand(1, generator=stream(0, "data")))
    False
    """
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    generator = torch.Generator()
    generator.manual_seed(int.from_bytes(digest, "little") >> 1)
    return generator


class Streams:
    """The streams of one run (init, data, sample ...), made when first asked for; saved and resumed together."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._generators: dict[str, torch.Generator] = {}

    def __getitem__(self, name: str) -> torch.Generator:
        if name not in self._generators:
            self._generators[name] = stream(self.seed, name)
        return self._generators[name]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Each stream's position as a uint8 tensor."""
        return {name: generator.get_state() for name, generator in self._generators.items()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Put every stream back where `state_dict` saw it."""
        for name, value in state.items():
            self[name].set_state(value)
