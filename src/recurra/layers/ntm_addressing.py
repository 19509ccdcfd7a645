"""How a neural Turing machine's heads find their place: by content, by the last place, by shift (Graves et al. 2014).

Everything here is plain torch on values that are in range already (a key, a strength >= 0, a gate in 0..1, a shift
that sums to 1, a sharpening >= 1), one function per equation of section 3.3. `memory_step.py` puts them together.
Axes: B rows, N locations, W numbers in each, K heads, V = 2 r + 1 allowed shifts from -r to r.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "EPSILON",
    "address",
    "content_weighting",
    "cosine",
    "erase_and_add",
    "interpolate",
    "read",
    "sharpen",
    "shift",
]

EPSILON = 1e-8
"""Added to the product of norms under the cosine: locations of zeros are like no key, and have a gradient."""


def cosine(memory: Tensor, key: Tensor) -> Tensor:
    """Cosine of each key (B, K, W) with each location of memory (B, N, W): (B, K, N). Eq. 6."""
    norms = torch.linalg.vector_norm(key, dim=-1).unsqueeze(-1) * torch.linalg.vector_norm(memory, dim=-1).unsqueeze(1)
    return key @ memory.transpose(1, 2) / (norms + EPSILON)


def content_weighting(memory: Tensor, key: Tensor, strength: Tensor) -> Tensor:
    """Softmax over the locations of strength (B, K) times the cosine: (B, K, N). Eq. 5."""
    return torch.softmax(strength.unsqueeze(-1) * cosine(memory, key), -1)


def interpolate(content: Tensor, previous: Tensor, gate: Tensor) -> Tensor:
    """gate (B, K) of the content weighting, the rest of the previous one: (B, K, N). Eq. 7."""
    gate = gate.unsqueeze(-1)
    return gate * content + (1 - gate) * previous


def shift(weighting: Tensor, by: Tensor) -> Tensor:
    """Circular convolution of weightings (B, K, N) with `by` (B, K, V); its last entry moves r locations on. Eq. 8.

    >>> shift(torch.eye(4)[:1, None], torch.tensor([[[0.0, 0.0, 1.0]]]))
    tensor([[[0., 1., 0., 0.]]])
    """
    reach = by.shape[-1] // 2
    moved = [weighting.roll(offset, -1) for offset in range(-reach, reach + 1)]
    return (torch.stack(moved, -1) * by.unsqueeze(-2)).sum(-1)


def sharpen(weighting: Tensor, power: Tensor) -> Tensor:
    """weighting ** power (B, K), summing to 1 again. Eq. 9.

    As softmax(power * log(weighting)): the powers themselves leave the range of float32 where many locations share
    the weight and the power is large, and 0 / 0 is what other programs then report as NaN.
    """
    least = torch.finfo(weighting.dtype).tiny
    return torch.softmax(power.unsqueeze(-1) * weighting.clamp_min(least).log(), -1)


def address(
    memory: Tensor, previous: Tensor, key: Tensor, strength: Tensor, gate: Tensor, by: Tensor, power: Tensor
) -> Tensor:
    """The weightings (B, K, N) of K heads, from content to sharpening (figure 2 of the paper)."""
    content = content_weighting(memory, key, strength)
    return sharpen(shift(interpolate(content, previous, gate), by), power)


def read(memory: Tensor, weighting: Tensor) -> Tensor:
    """What K heads read, (B, K, W). Eq. 2."""
    return weighting @ memory


def erase_and_add(memory: Tensor, weighting: Tensor, erase: Tensor, add: Tensor) -> Tensor:
    """Memory (B, N, W) after all heads have erased and then all have added; erase and add (B, K, W). Eq. 3 and 4."""
    kept = (1 - weighting.unsqueeze(-1) * erase.unsqueeze(-2)).prod(1)
    return memory * kept + weighting.transpose(1, 2) @ add
