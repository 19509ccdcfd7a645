"""The recurrent nets behind the trained detectors: what a row's errors are, in one pass and step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from recurra.base.errors import DataError, message
from recurra.base.state import leaves, map_state
from recurra.data.batch import Batch
from recurra.layers.recurrent import Recurrent
from recurra.tasks.anomaly.settings import AnomalySettings

__all__ = ["AutoEncoder", "ErrorNet", "ForecastErrors", "masked_squares", "net_of", "packed"]

_ROWS = 4096


def packed(values: np.ndarray) -> Tensor:
    """Values (..., C), NaN where missing -> (..., 2 C) float32: 0 there, then where there is one."""
    there = ~np.isnan(values)
    return torch.from_numpy(np.concatenate([np.where(there, values, 0.0), there], axis=-1).astype(np.float32))


def masked_squares(said: Tensor, batch: Batch) -> tuple[Tensor, int]:
    """The sum of squared errors where the target is no NaN, and how many those are."""
    there = ~torch.isnan(batch.y)
    squares = torch.where(there, said - torch.nan_to_num(batch.y), 0.0).square()
    return squares.sum(), int(there.sum())


class ErrorNet(nn.Module):
    """A net, and the normal distribution of the D errors of a row on rows that are normal.

    A row's score is the mean square of its errors in that distribution's own units (Mahalanobis' distance squared, by
    D): about 1 for normal rows.
    """

    error_mean: Tensor
    """(D,)."""
    whitening: Tensor
    """(D, D): errors minus the mean, times this, are independent and of variance 1."""

    def __init__(self, channels: int, errors: int) -> None:
        super().__init__()
        self.channels, self.errors = channels, errors
        self.register_buffer("error_mean", torch.zeros(errors, dtype=torch.float64))
        self.register_buffer("whitening", torch.eye(errors, dtype=torch.float64))

    @property
    def fresh(self) -> dict[str, np.ndarray]:
        """What a stream begins with: arrays by name."""
        raise NotImplementedError

    def errors_of(self, values: np.ndarray) -> np.ndarray:
        """Scaled values (T, C) -> errors (T, J, D), J of them for the score of each row; NaN where there is none."""
        raise NotImplementedError

    def push(self, values: np.ndarray, state: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """One row of B streams (B, C) and what is kept of them -> errors (B, J, D), and what is kept now."""
        raise NotImplementedError

    def targets(self, values: np.ndarray) -> np.ndarray:
        """What the net should say of sequences of scaled values (B, T, C), NaN where nobody knows."""
        raise NotImplementedError

    def fit_errors(self, errors: np.ndarray) -> None:
        """The normal distribution of errors (n, D); rows with NaN are left out.

        Raises DataError where fewer than 2 D are left.
        """
        errors = errors[~np.isnan(errors).any(1)]
        if len(errors) < 2 * self.errors:
            fact = f"{len(errors)} rows have all their errors, {2 * self.errors} are needed to compare {self.errors}"
            raise DataError(message("anomaly", fact, hint="more rows, or smaller net.ahead."))
        mean = errors.mean(0)
        covariance = np.cov(errors.T).reshape(self.errors, self.errors)
        # A channel that is forecast without error has no scale of its own.
        floor = 1e-6 * max(float(np.trace(covariance)) / self.errors, 1e-12)
        variance, axes = np.linalg.eigh(covariance)
        self.error_mean = torch.from_numpy(mean)
        self.whitening = torch.from_numpy(axes / np.sqrt(np.maximum(variance, floor)))

    def scores(self, errors: np.ndarray) -> np.ndarray:
        """Errors (..., J, D) -> scores (...): the mean over J and D; a missing error counts as a usual one would.

        NaN where the newest row has none at all.
        """
        mean, whitening = self.error_mean.numpy(), self.whitening.numpy()
        there = ~np.isnan(errors)
        white = np.where(there, errors - mean, 0.0) @ whitening
        share = there.mean((-1, -2))
        found = (white**2).mean((-1, -2)) / np.where(share > 0, share, 1.0)
        return np.where(there[..., -1, :].any(-1), found, np.nan)


class ForecastErrors(ErrorNet):
    """A net that forecasts each of the next A rows; a row's errors are those of the A forecasts made of it.

    The first `settle` rows of a stream, of which the net's state knows too little, have none. Malhotra et al. 2015
    ("Long short term memory networks for anomaly detection in time series").
    """

    def __init__(
        self,
        channels: int,
        cell: str,
        hidden: int,
        layers: int,
        ahead: int,
        settle: int,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(channels, ahead * channels)
        self.ahead, self.settle = ahead, max(settle, ahead)
        self.body = Recurrent(cell, 2 * channels, hidden, layers, generator=generator)
        self.output = nn.Linear(self.body.output_width, ahead * channels)
        _start(self.output, generator)

    def forward(
        self, x: Tensor, state: Any = None, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """x (B, T, 2 C) -> forecasts (B, T, A C) of the rows 1 ... A ahead."""
        y, state = self.body(x, state, lengths, resets)
        return self.output(y), state

    @property
    def fresh(self) -> dict[str, np.ndarray]:
        """The layer's state, and the forecasts made 1 ... A rows ago."""
        kept = {f"h{place}": leaf[0].numpy() for place, leaf in enumerate(_leaves(self.body.initial_state(1)))}
        said = np.full((self.ahead, self.ahead, self.channels), np.nan)
        return {**kept, "said": said, "count": np.zeros((), np.int64)}

    def errors_of(self, values: np.ndarray) -> np.ndarray:
        """(T, 1, A C)."""
        found = np.full((len(values), self.ahead, self.channels), np.nan)
        with torch.no_grad():
            said = self(packed(values)[None])[0][0].double().numpy().reshape(len(values), self.ahead, self.channels)
        for back in range(1, min(self.ahead, len(values) - 1) + 1):
            found[back:, back - 1] = values[back:] - said[:-back, back - 1]
        found[: self.settle] = np.nan
        return found.reshape(len(values), 1, -1)

    def push(self, values: np.ndarray, state: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Errors (B, 1, A C)."""
        before = state["said"]
        steps = np.arange(self.ahead)
        errors = values[:, None] - before[:, steps, steps]
        errors[state["count"] < self.settle] = np.nan
        kept = _state(self.body.initial_state(1), state)
        with torch.no_grad():
            y, kept = self.body.step(packed(values), kept)
            said = self.output(y).double().numpy().reshape(-1, 1, self.ahead, self.channels)
        after = {f"h{place}": leaf.numpy() for place, leaf in enumerate(_leaves(kept))}
        after |= {"said": np.concatenate([said, before[:, :-1]], axis=1), "count": state["count"] + 1}
        return errors.reshape(len(values), 1, -1), after

    def targets(self, values: np.ndarray) -> np.ndarray:
        """(B, T, A C)."""
        batch, steps, channels = values.shape
        found = np.full((batch, steps, self.ahead, channels), np.nan)
        for back in range(1, min(self.ahead, steps - 1) + 1):
            found[:, :-back, back - 1] = values[:, back:]
        return found.reshape(batch, steps, -1)


class AutoEncoder(ErrorNet):
    """A recurrent encoder reads W rows into its last state, from which a decoder writes them again, the newest first.

    Malhotra et al. 2016 (EncDec-AD). Its decoder is fed its own output; here it is fed the code at every step, which
    is the same in training and in use. A row is judged by the errors of the `judge` newest rows of the window that
    ends with it, so that nothing later is looked at.
    """

    def __init__(
        self,
        channels: int,
        cell: str,
        hidden: int,
        layers: int,
        window: int,
        judge: int,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(channels, channels)
        self.window, self.judge = window, min(judge or max(1, window // 4), window)
        self.encoder = Recurrent(cell, 2 * channels, hidden, layers, generator=generator)
        self.decoder = Recurrent(cell, self.encoder.output_width, hidden, layers, generator=generator)
        self.output = nn.Linear(self.decoder.output_width, channels)
        _start(self.output, generator)

    def forward(
        self, x: Tensor, state: Any = None, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Windows x (B, W, 2 C) -> what was understood of them (B, W, C). The second value is None."""
        del state, lengths, resets
        return self.output(self._written(x, x.shape[1])).flip(1), None

    def _written(self, x: Tensor, steps: int) -> Tensor:
        code = self.encoder(x)[0][:, -1]
        return self.decoder(code[:, None].expand(-1, steps, -1).contiguous())[0]

    @property
    def fresh(self) -> dict[str, np.ndarray]:
        """The window so far."""
        return {"window": np.full((self.window, self.channels), np.nan), "count": np.zeros((), np.int64)}

    def errors_of(self, values: np.ndarray) -> np.ndarray:
        """(T, J, C); rows before the first whole window have none."""
        found = np.full((len(values), self.judge, self.channels), np.nan)
        for first in range(self.window - 1, len(values), _ROWS):
            rows = np.arange(first, min(first + _ROWS, len(values)))
            found[rows] = self._errors(values[rows[:, None] + np.arange(1 - self.window, 1)])
        return found

    def push(self, values: np.ndarray, state: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Errors (B, J, C)."""
        window = np.concatenate([state["window"][:, 1:], values[:, None]], axis=1)
        count = state["count"] + 1
        errors = self._errors(window)
        errors[count < self.window] = np.nan
        return errors, {"window": window, "count": count}

    def targets(self, values: np.ndarray) -> np.ndarray:
        """The windows themselves."""
        return values

    def _errors(self, windows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            # The newest are written first: the rest need not be.
            said = self.output(self._written(packed(windows), self.judge)).flip(1).double().numpy()
        return windows[:, -self.judge :] - said


def net_of(settings: AnomalySettings, channels: int, generator: Generator | None = None) -> ErrorNet:
    """The net of a trained detector with fresh weights."""
    net = settings.net
    if settings.model == "forecast":
        return ForecastErrors(channels, net.cell, net.hidden, net.layers, net.ahead, net.window, generator)
    return AutoEncoder(channels, net.cell, net.hidden, net.layers, net.window, net.judge, generator)


def _start(layer: nn.Linear, generator: Generator | None) -> None:
    nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=generator)
    nn.init.zeros_(layer.bias)


def _leaves(state: Any) -> list[Tensor]:
    return [leaf.detach() for leaf in leaves(state)]


def _state(like: Any, kept: dict[str, np.ndarray]) -> Any:
    places = iter(range(len(kept)))
    return map_state(lambda _: torch.from_numpy(np.ascontiguousarray(kept[f"h{next(places)}"])), like)
