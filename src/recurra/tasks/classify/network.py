"""The nets of classification: x (B, T, width) and lengths -> one logit per class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from recurra.layers.attention import AttentionPooling, Pooling
from recurra.layers.decay import InputDecay
from recurra.layers.feedforward import linear
from recurra.layers.recurrent import Recurrent
from recurra.layers.sequence import last_valid, valid_mask
from recurra.reservoir.layer import ReservoirLayer
from recurra.reservoir.reservoir import Reservoir
from recurra.reservoir.ridge import Ridge
from recurra.tasks.classify.convolution import FullyConvolutional, masked_mean
from recurra.tasks.classify.prepare import Preparation
from recurra.tasks.classify.settings import Architecture

__all__ = ["ClassifyNet", "EchoStateNet", "LstmFcn", "Members", "RecurrentNet", "net_of"]

_RIDGES = np.logspace(-6, 4, 21).tolist()
# Of the column that stands for the intercept: so high that no ridge shrinks it.
_HEIGHT = 1e5


class ClassifyNet(nn.Module):
    """What every net is; the second value is None: a case stands for itself."""

    def forward(
        self, x: Tensor, state: Any = None, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Logits (B, K)."""
        del state, resets
        return self.logits(x, lengths), None

    def logits(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """(B, K)."""
        raise NotImplementedError

    def probabilities(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """(B, K), each row adding up to 1."""
        return torch.softmax(self.logits(x, lengths), -1)

    def relevance(self, x: Tensor, lengths: Tensor | None, classes: Tensor) -> Tensor | None:
        """(B, T) how much each step had to do with these classes (B,); None where the net cannot say."""
        del x, lengths, classes


class RecurrentNet(ClassifyNet):
    """A stack of any cell, its states pooled over time, a linear layer.

    pooling "last" of a bidirectional stack takes what each direction says when it has read everything.
    """

    def __init__(self, width: int, classes: int, model: Architecture, masked: bool, generator: Generator) -> None:
        super().__init__()
        self.channels = width // 2 if masked else width
        self.decay = InputDecay(self.channels) if masked and model.decay else None
        self.body = Recurrent(
            model.cell,
            width,
            model.hidden,
            model.layers,
            bidirectional=model.bidirectional,
            dropout=model.dropout if model.layers > 1 else 0.0,
            generator=generator,
        )
        self.pooling = Pooling(model.pooling, self.body.output_width, generator=generator)
        self.dropout = model.dropout
        self.output = linear(self.body.output_width, classes, generator)

    def states(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """(B, T, F) of the body."""
        if self.decay is not None:
            values, seen = x[..., : self.channels], x[..., self.channels :]
            x = torch.cat([self.decay(values, seen), seen], -1)
        return self.body(x, None, lengths)[0]

    def logits(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """(B, K)."""
        y = self.states(x, lengths)
        if self.pooling.kind == "last" and self.body.bidirectional:
            half = y.shape[2] // 2
            pooled = torch.cat([last_valid(y[..., :half], lengths), y[:, 0, half:]], -1)
        else:
            pooled = self.pooling(y, lengths)
        return self.output(nn.functional.dropout(pooled, self.dropout, self.training))

    def relevance(self, x: Tensor, lengths: Tensor | None, classes: Tensor) -> Tensor | None:
        """The weights of attention, whatever the class."""
        del classes
        if self.pooling.attention is None:
            return None
        return self.pooling.attention(self.states(x, lengths), lengths)[1]


class LstmFcn(ClassifyNet):
    """A recurrent branch beside a fully convolutional one (Karim et al. 2018, doi:10.1109/ACCESS.2017.2779939).

    With the dimension shuffle the branch reads one step per channel: all its values, up to the longest case of
    training (what a longer one has behind that only the convolutions see), 0 behind the end of a shorter one. The
    branch is left out for `fcn`.
    """

    def __init__(self, width: int, classes: int, model: Architecture, length: int, generator: Generator) -> None:
        super().__init__()
        squeeze = model.squeeze and width > 1
        self.fcn = FullyConvolutional(width, model.filters, model.kernels, squeeze=squeeze, generator=generator)
        self.length = length if model.shuffle else 0
        self.branch_dropout, self.body, self.attention = model.branch_dropout, None, None
        features = self.fcn.output_width
        if model.name == "lstm_fcn":
            self.body = Recurrent(model.cell, self.length or width, model.hidden, model.layers, generator=generator)
            if model.pooling == "attention":
                self.attention = AttentionPooling(self.body.output_width, generator=generator)
            features += self.body.output_width
        self.output = linear(features, classes, generator)

    def logits(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """(B, K)."""
        seen, valid = self._convolved(x, lengths)
        features = masked_mean(seen, valid)
        if self.body is not None:
            said = self._branch(self.body, x, lengths)
            features = torch.cat([nn.functional.dropout(said, self.branch_dropout, self.training), features], -1)
        return self.output(features)

    def relevance(self, x: Tensor, lengths: Tensor | None, classes: Tensor) -> Tensor | None:
        """The class activation map (Zhou et al. 2016): what each step adds to the logit of its class, at least 0."""
        seen, _ = self._convolved(x, lengths)
        weights = self.output.weight[classes, -self.fcn.output_width :]
        return torch.einsum("bft,bf->bt", seen, weights).clamp_min(0)

    def _convolved(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if lengths is None or bool((lengths == x.shape[1]).all()):
            return self.fcn(x, None), None
        valid = valid_mask(lengths, x.shape[1])
        x = torch.where(valid.unsqueeze(2), x, x.new_zeros(()))
        return self.fcn(x, valid.unsqueeze(1)), valid.unsqueeze(1)

    def _branch(self, body: Recurrent, x: Tensor, lengths: Tensor | None) -> Tensor:
        inside = lengths
        if self.length:
            if lengths is not None:
                x = torch.where(valid_mask(lengths, x.shape[1]).unsqueeze(2), x, x.new_zeros(()))
            room = self.length - x.shape[1]
            x = nn.functional.pad(x, (0, 0, 0, room)) if room > 0 else x[:, : self.length]
            x, inside = x.transpose(1, 2), None
        y, _ = body(x, None, inside)
        return last_valid(y, inside) if self.attention is None else self.attention(y, inside)[0]


class EchoStateNet(ClassifyNet):
    """A reservoir that reads each case (forwards, and backwards where bidirectional), and a ridge classifier.

    Features: mean, deviation and last of each unit's states. `fit` learns the readout in closed form; the ridge is the
    best by leaving out each training case in turn. Its scores are no logits: probabilities are their shares.
    """

    mean: Tensor
    spread: Tensor
    weights: Tensor
    intercept: Tensor

    def __init__(self, width: int, classes: int, model: Architecture, seed: int) -> None:
        super().__init__()
        self.both, self.washout = model.bidirectional, model.washout
        reservoir = Reservoir(
            model.hidden,
            width,
            spectral_radius=model.radius,
            leak=model.leak,
            input_scaling=model.input_scaling,
            bias=0.2,
            seed=seed,
        )
        # Drawn from the seed, so it need not lie in the weights.
        self.__dict__["reservoir"] = ReservoirLayer(reservoir)
        features = 3 * model.hidden * (2 if self.both else 1)
        for name, shape in (("mean", features), ("spread", features), ("intercept", classes)):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("weights", torch.zeros(features, classes, dtype=torch.float64))
        self.ridge = 0.0

    def features(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """(B, features) float64."""
        lengths = torch.full((len(x),), x.shape[1]) if lengths is None else lengths
        x = x.double()
        reads = [x]
        if self.both:
            places = (lengths[:, None] - 1 - torch.arange(x.shape[1])).remainder(x.shape[1])
            reads.append(x.gather(1, places.unsqueeze(2).expand_as(x)))
        found = []
        for read in reads:
            states, _ = self.__dict__["reservoir"](read, lengths=lengths)
            first = (lengths - 1).clamp_max(self.washout)
            kept = valid_mask(lengths, x.shape[1]) & (torch.arange(x.shape[1]) >= first[:, None])
            count = kept.sum(1, keepdim=True).clamp_min(1)
            inside = torch.where(kept.unsqueeze(2), states, states.new_zeros(()))
            mean = inside.sum(1) / count
            off = torch.where(kept.unsqueeze(2), states - mean.unsqueeze(1), states.new_zeros(()))
            found += [mean, ((off * off).sum(1) / count).sqrt(), last_valid(states, lengths)]
        return torch.cat(found, 1)

    def fit(self, features: Tensor, labels: np.ndarray, weights: np.ndarray) -> None:
        """Learn the readout from features (n, p), classes (n,) and the weight of each case (n,)."""
        self.mean.copy_(features.mean(0))
        spread = features.std(0, correction=0)
        self.spread.copy_(torch.where(spread > 1e-12, spread, torch.ones_like(spread)))
        rows = ((features - self.mean) / self.spread).numpy()
        aims = np.eye(len(self.intercept))[labels] - 1 / len(self.intercept)
        root = np.sqrt(weights)[:, None]
        # The intercept is weighed with its case: a column of its own, hardly shrunk.
        rows = np.concatenate([rows, np.full((len(rows), 1), _HEIGHT)], 1) * root
        chosen = Ridge(rows, aims * root, intercept=False).leave_one_out(rows, aims * root, _RIDGES)
        self.ridge = chosen.ridge
        self.weights.copy_(torch.from_numpy(chosen.readout.weights[:-1]))
        self.intercept.copy_(torch.from_numpy(chosen.readout.weights[-1] * _HEIGHT))

    def logits(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """The logarithms of the shares (B, K)."""
        scores = ((self.features(x, lengths) - self.mean) / self.spread) @ self.weights + self.intercept
        shares = (scores + 1 / scores.shape[1]).clamp_min(1e-6)
        return (shares / shares.sum(1, keepdim=True)).log().to(x.dtype)


class Members(ClassifyNet):
    """Nets of several seeds; probabilities are their mean."""

    def __init__(self, nets: Sequence[ClassifyNet]) -> None:
        super().__init__()
        self.members = nn.ModuleList(nets)

    def probabilities(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """(B, K)."""
        return torch.stack([net.probabilities(x, lengths) for net in self._nets()]).mean(0)

    def logits(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Logarithms of the mean probabilities."""
        return self.probabilities(x, lengths).clamp_min(torch.finfo(torch.float32).tiny).log()

    def relevance(self, x: Tensor, lengths: Tensor | None, classes: Tensor) -> Tensor | None:
        """Mean over the members, each scaled to add up to 1."""
        found = [net.relevance(x, lengths, classes) for net in self._nets()]
        kept = [one / one.sum(1, keepdim=True).clamp_min(1e-12) for one in found if one is not None]
        return torch.stack(kept).mean(0) if kept else None

    def _nets(self) -> list[ClassifyNet]:
        return list(self.members)  # pyright: ignore[reportReturnType]


def net_of(model: Architecture, preparation: Preparation, generator: Generator, seed: int) -> ClassifyNet:
    """One net with fresh weights; ConfigError where settings do not fit each other."""
    width, classes = preparation.width, len(preparation.classes)
    if model.name == "recurrent":
        return RecurrentNet(width, classes, model, preparation.masked, generator)
    if model.name == "esn":
        return EchoStateNet(width, classes, model, seed)
    return LstmFcn(width, classes, model, preparation.length, generator)
