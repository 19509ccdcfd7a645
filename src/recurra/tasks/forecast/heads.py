"""What a net says of each future value: a number, quantiles that never cross, or the parameters of a distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Generator, Tensor

from recurra.base.errors import ConfigError, message

__all__ = [
    "HEADS",
    "GaussianHead",
    "Head",
    "HeadKind",
    "NegativeBinomialHead",
    "QuantileHead",
    "StudentHead",
    "head_of",
]

HeadKind = Literal["quantile", "gaussian", "student", "negative_binomial"]

# Below these a scale or a shape is rounding.
_LEAST_SCALE, _LEAST_SHAPE = 1e-4, 1e-4


class Head:
    """From parameters (..., outputs), of a value normalised as z = (y - location) / scale, to a loss and quantiles."""

    outputs: int

    def loss(self, said: Tensor, z: Tensor) -> Tensor:
        """(...,) the loss of each value."""
        raise NotImplementedError

    def quantiles(self, said: Tensor, levels: Sequence[float]) -> Tensor:
        """(..., len(levels)), never crossing."""
        raise NotImplementedError

    def sample(self, said: Tensor, generator: Generator | None = None) -> Tensor:
        """(...,) one draw each."""
        raise NotImplementedError

    def mean(self, said: Tensor) -> Tensor:
        """(...,) the middle: what teacher forcing's absence feeds back where no draw is wanted."""
        return self.quantiles(said, [0.5])[..., 0]


class QuantileHead(Head):
    """Quantiles at `levels`: the middle one free, the others by positive steps from it, so that none cross.

    Learnt by the pinball loss (Koenker and Bassett 1978); with the level 0.5 alone that is half the absolute error.
    """

    def __init__(self, levels: Sequence[float] = (0.5,)) -> None:
        levels = tuple(float(level) for level in levels)
        if not levels or any(not 0 < level < 1 for level in levels) or list(levels) != sorted(set(levels)):
            raise ConfigError(message("quantiles", f"must rise strictly between 0 and 1, got {list(levels)}"))
        self.levels, self.outputs = levels, len(levels)
        self.middle = min(range(len(levels)), key=lambda place: abs(levels[place] - 0.5))

    def ordered(self, said: Tensor) -> Tensor:
        """The quantiles (..., Q) of what the net gave."""
        if self.outputs == 1:
            return said
        at = self.middle
        # Steps of about 0.1 at the start, whatever the net says then.
        steps = torch.nn.functional.softplus(said - 2)
        middle = said[..., at : at + 1]
        above = middle + steps[..., at + 1 :].cumsum(-1)
        below = middle - steps[..., :at].flip(-1).cumsum(-1).flip(-1)
        return torch.cat((below, middle, above), -1)

    def loss(self, said: Tensor, z: Tensor) -> Tensor:
        """Twice the pinball loss, the mean over levels: the CRPS as the levels grow dense."""
        missed = z.unsqueeze(-1) - self.ordered(said)
        levels = said.new_tensor(self.levels)
        return 2 * torch.maximum(levels * missed, (levels - 1) * missed).mean(-1)

    def quantiles(self, said: Tensor, levels: Sequence[float]) -> Tensor:
        """Those learnt; between two of them on a line, outside the outermost one."""
        known, ordered = said.new_tensor(self.levels), self.ordered(said)
        if self.outputs == 1:
            return ordered.expand(*ordered.shape[:-1], len(levels))
        wanted = said.new_tensor(list(levels)).clamp(self.levels[0], self.levels[-1])
        right = torch.searchsorted(known, wanted).clamp(1, self.outputs - 1)
        share = (wanted - known[right - 1]) / (known[right] - known[right - 1])
        return torch.lerp(ordered[..., right - 1], ordered[..., right], share)

    def sample(self, said: Tensor, generator: Generator | None = None) -> Tensor:
        """By the inverse of the distribution that the quantiles sketch."""
        ordered, known = self.ordered(said), said.new_tensor(self.levels)
        if self.outputs == 1:
            return ordered[..., 0]
        draw = torch.rand(said.shape[:-1], generator=generator, dtype=said.dtype).to(said.device)
        draw = draw.clamp(self.levels[0], self.levels[-1])
        right = torch.searchsorted(known, draw).clamp(1, self.outputs - 1).unsqueeze(-1)
        low, high = ordered.gather(-1, right - 1)[..., 0], ordered.gather(-1, right)[..., 0]
        left = known[right[..., 0] - 1]
        return torch.lerp(low, high, (draw - left) / (known[right[..., 0]] - left))


class GaussianHead(Head):
    """Mean and deviation (DeepAR, Salinas et al. 2020)."""

    outputs = 2

    def loss(self, said: Tensor, z: Tensor) -> Tensor:
        """Negative log likelihood in nats, of z."""
        mean, spread = self._named(said)
        return ((z - mean) / spread) ** 2 / 2 + spread.log() + math.log(2 * math.pi) / 2

    def quantiles(self, said: Tensor, levels: Sequence[float]) -> Tensor:
        """Exact."""
        mean, spread = self._named(said)
        z = torch.special.ndtri(said.new_tensor(list(levels)))
        return mean.unsqueeze(-1) + spread.unsqueeze(-1) * z

    def sample(self, said: Tensor, generator: Generator | None = None) -> Tensor:
        """A normal draw."""
        mean, spread = self._named(said)
        return mean + spread * torch.randn(mean.shape, generator=generator, dtype=said.dtype).to(said.device)

    def _named(self, said: Tensor) -> tuple[Tensor, Tensor]:
        return said[..., 0], torch.nn.functional.softplus(said[..., 1]) + _LEAST_SCALE


class StudentHead(Head):
    """Location, scale and degrees of freedom (above 2) of Student's t: robust to outliers."""

    outputs = 3

    def loss(self, said: Tensor, z: Tensor) -> Tensor:
        """Negative log likelihood in nats, of z."""
        location, scale, freedom = self._named(said)
        normaliser = torch.lgamma((freedom + 1) / 2) - torch.lgamma(freedom / 2)
        normaliser = normaliser - (freedom * math.pi).log() / 2 - scale.log()
        return (freedom + 1) / 2 * torch.log1p(((z - location) / scale) ** 2 / freedom) - normaliser

    def quantiles(self, said: Tensor, levels: Sequence[float]) -> Tensor:
        """By scipy's inverse; no gradient."""
        from scipy.stats import t

        location, scale, freedom = (part.detach().double().cpu().numpy()[..., None] for part in self._named(said))
        return torch.from_numpy(location + scale * t.ppf(list(levels), freedom)).to(said)

    def sample(self, said: Tensor, generator: Generator | None = None) -> Tensor:
        """A normal draw over the root of a gamma draw."""
        location, scale, freedom = self._named(said)
        normal = torch.randn(location.shape, generator=generator, dtype=said.dtype).to(said.device)
        chi = 2 * torch._standard_gamma(freedom / 2, generator=generator)  # pyright: ignore[reportPrivateImportUsage]
        return location + scale * normal * (freedom / chi.clamp_min(1e-6)).sqrt()

    def _named(self, said: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        plus = torch.nn.functional.softplus
        return said[..., 0], plus(said[..., 1]) + _LEAST_SCALE, 2 + plus(said[..., 2]) + _LEAST_SHAPE


class NegativeBinomialHead(Head):
    """Mean and dispersion of counts: variance = mean + dispersion * mean^2.

    z is the count over the window's scale; the loss takes the scale back, see `count_loss`.
    """

    outputs = 2

    def loss(self, said: Tensor, z: Tensor) -> Tensor:
        """With a scale of 1."""
        return self.count_loss(said, z, torch.ones_like(z))

    def count_loss(self, said: Tensor, z: Tensor, scale: Tensor) -> Tensor:
        """Negative log likelihood of the count z * scale."""
        mean, dispersion = self._named(said)
        # As in DeepAR: the mean grows with the scale, the dispersion shrinks with its root.
        mean, dispersion = mean * scale, dispersion / scale.sqrt()
        y, size = z * scale, 1 / dispersion
        share = torch.log(dispersion * mean)
        return -(
            torch.lgamma(y + size)
            - torch.lgamma(size)
            - torch.lgamma(y + 1)
            - size * torch.nn.functional.softplus(share)
            + y * (share - torch.nn.functional.softplus(share))
        )

    def quantiles(self, said: Tensor, levels: Sequence[float], scale: Tensor | None = None) -> Tensor:
        """By scipy's inverse, over the scale again; no gradient."""
        from scipy.stats import nbinom

        mean, dispersion = self._named(said)
        scale = torch.ones_like(mean) if scale is None else scale
        big, size = (mean * scale).detach().double(), (scale.sqrt() / dispersion).detach().double()
        share = (size / (size + big)).cpu().numpy()[..., None]
        found = torch.from_numpy(nbinom.ppf(list(levels), size.cpu().numpy()[..., None], share)).to(said)
        return found / scale.unsqueeze(-1)

    def sample(self, said: Tensor, generator: Generator | None = None, scale: Tensor | None = None) -> Tensor:
        """Poisson draws of gamma rates, over the scale again."""
        mean, dispersion = self._named(said)
        scale = torch.ones_like(mean) if scale is None else scale
        size = scale.sqrt() / dispersion
        draw = torch._standard_gamma(size, generator=generator)  # pyright: ignore[reportPrivateImportUsage]
        rate = draw / size * mean * scale
        return torch.poisson(rate, generator=generator) / scale

    def _named(self, said: Tensor) -> tuple[Tensor, Tensor]:
        plus = torch.nn.functional.softplus
        return plus(said[..., 0]) + _LEAST_SCALE, plus(said[..., 1]) + _LEAST_SHAPE


HEADS = ("quantile", "gaussian", "student", "negative_binomial")


def head_of(kind: HeadKind, levels: Sequence[float]) -> Head:
    """The head of this kind; ConfigError for another name."""
    if kind == "quantile":
        return QuantileHead(levels)
    kinds = {"gaussian": GaussianHead, "student": StudentHead, "negative_binomial": NegativeBinomialHead}
    if kind not in kinds:
        raise ConfigError(message("head", f"must be one of {', '.join(HEADS)}, got {kind!r}"))
    return kinds[kind]()
