"""Liquid: a column of spiking neurons that is not trained; what it holds of its input is read from its spikes.

(Maass, Natschläger & Markram 2002.) Leaky integrate-and-fire neurons with exponential synapses, integrated exactly
between the steps of the grid (Rotter & Diesmann 1999), so the step bounds the timing of spikes but not the accuracy of
the potentials.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from recurra.base.errors import ConfigError, ShapeError, message
from recurra.reservoir.arrays import Array, lengths_of, like, plain, series

__all__ = ["MAASS_CONNECTIONS", "Liquid", "LiquidState", "Neuron", "traces"]

# Maass et al. 2002, from excitatory (E) or inhibitory (I) to either: scale of the probability, mean weight in nA,
# delay in ms. Their synapses adapt as well; these do not.
MAASS_CONNECTIONS: Mapping[str, tuple[float, float, float]] = {
    "EE": (0.3, 30.0, 1.5),
    "EI": (0.2, 60.0, 0.8),
    "IE": (0.4, -19.0, 0.8),
    "II": (0.1, -19.0, 0.8),
}


class Neuron(NamedTuple):
    """What a neuron is made of; times in ms, potentials in mV above rest, currents in nA, resistance in MOhm."""

    membrane_ms: float = 30.0
    threshold: float = 15.0
    reset: float = 13.5
    resistance: float = 1.0
    background: float = 13.5
    refractory_excitatory_ms: float = 3.0
    refractory_inhibitory_ms: float = 2.0
    synapse_excitatory_ms: float = 3.0
    synapse_inhibitory_ms: float = 6.0


class LiquidState(NamedTuple):
    """What a liquid remembers.

    Potentials v (B, N) in mV, the two synaptic currents (B, N) in nA, the steps each neuron is still refractory (B, N),
    and the spikes that are on their way, (B, D, N): those of the last D steps, the newest last.
    """

    v: Any
    excitatory: Any
    inhibitory: Any
    refractory: Any
    travelling: Any


class Liquid:
    """A column of leaky integrate-and-fire neurons, connected at random, near ones more likely.

        P(a -> b) = C exp(-(distance(a, b) / reach)²)

    input_size: number of input spike trains; each enters a share `input_density` of the neurons. column: neurons along
    each of three axes. inhibitory: share of inhibitory neurons. reach: lambda, in units of the grid. weight_scale: a
    factor on all recurrent weights, which are gamma distributed with a deviation of half their mean.
    input_weight: nA that one input spike adds, to excitatory and to inhibitory neurons. dt_ms: the grid of time.
    initial potentials are drawn between reset and threshold once, as part of the liquid: `initial` gives those.

    >>> liquid = Liquid(4, column=(3, 3, 5), seed=0)
    >>> spikes, state = liquid(np.random.default_rng(0).random((2, 100, 4)) < 0.05)
    >>> spikes.shape, spikes.dtype.name, bool(spikes.any())
    ((2, 100, 45), 'float64', True)
    """

    def __init__(
        self,
        input_size: int,
        *,
        column: tuple[int, int, int] = (3, 3, 15),
        inhibitory: float = 0.2,
        reach: float = 2.0,
        weight_scale: float = 1.0,
        connections: Mapping[str, tuple[float, float, float]] = MAASS_CONNECTIONS,
        input_density: float = 0.3,
        input_weight: tuple[float, float] = (18.0, 9.0),
        neuron: Neuron | None = None,
        dt_ms: float = 1.0,
        seed: int = 0,
    ) -> None:
        where = "Liquid"
        self.neuron = neuron = Neuron() if neuron is None else neuron
        if input_size < 0 or min(column) < 1 or len(column) != 3:
            raise ConfigError(
                message(where, f"column must be three numbers above 0, input_size >= 0, got {column}, {input_size}")
            )
        if not 0 <= inhibitory <= 1 or not 0 <= input_density <= 1 or not reach > 0 or not dt_ms > 0:
            fact = f"shares must be in [0, 1], got {inhibitory} and {input_density}"
            raise ConfigError(message(where, fact, f"reach and dt_ms must be above 0, got {reach} and {dt_ms}"))
        if min(neuron.membrane_ms, neuron.synapse_excitatory_ms, neuron.synapse_inhibitory_ms) <= 0:
            raise ConfigError(message(where, "time constants must be above 0"))
        if neuron.membrane_ms in (neuron.synapse_excitatory_ms, neuron.synapse_inhibitory_ms):
            fact = f"a synapse as slow as the membrane ({neuron.membrane_ms} ms) has no solution of this form"
            raise ConfigError(message(where, fact, hint="make it one part in a thousand longer."))
        self.input_size, self.dt_ms, self.column = input_size, dt_ms, column
        self.units = int(np.prod(column))
        drawn = [np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(4)]
        self.places = np.stack(np.meshgrid(*map(np.arange, column), indexing="ij"), -1).reshape(-1, 3).astype(float)
        self.is_inhibitory = np.zeros(self.units, dtype=bool)
        self.is_inhibitory[drawn[0].permutation(self.units)[: round(inhibitory * self.units)]] = True
        self._connect(connections, reach, weight_scale, drawn[1])
        entering = drawn[2].random((self.units, input_size)) < input_density
        amounts = np.where(self.is_inhibitory, input_weight[1], input_weight[0])[:, None]
        self.input_weights = entering * amounts
        self._start = drawn[3].uniform(neuron.reset, neuron.threshold, self.units)
        pause = np.where(self.is_inhibitory, neuron.refractory_inhibitory_ms, neuron.refractory_excitatory_ms)
        self._pause = np.round(pause / dt_ms).astype(np.int64)

    def _connect(
        self,
        connections: Mapping[str, tuple[float, float, float]],
        reach: float,
        scale: float,
        generator: np.random.Generator,
    ) -> None:
        gaps = ((self.places[:, None] - self.places[None]) ** 2).sum(-1)
        near = np.exp(-gaps / reach**2)
        np.fill_diagonal(near, 0.0)
        # [to, from]
        chance, weight, delay = (np.zeros((self.units, self.units)) for _ in range(3))
        for name, (share, mean, late) in connections.items():
            pairs = np.outer(self.is_inhibitory == (name[1] == "I"), self.is_inhibitory == (name[0] == "I"))
            chance[pairs], weight[pairs], delay[pairs] = share, mean, late
        exists = generator.random(near.shape) < chance * near
        # Gamma with shape 4: mean 1, deviation 1/2.
        drawn = weight * scale * generator.gamma(4.0, 0.25, near.shape) * exists
        self.recurrent_weights = scipy.sparse.csr_array(drawn)
        # A spike takes at least a step: the grid cannot know its effect sooner.
        steps = np.maximum(1, np.round(delay / self.dt_ms)).astype(np.int64)
        self._delays = {}
        for late in np.unique(steps[exists]) if exists.any() else []:
            part = np.where(steps == late, drawn, 0.0)
            self._delays[int(late)] = (
                scipy.sparse.csr_array(np.maximum(part, 0)),
                scipy.sparse.csr_array(np.minimum(part, 0)),
            )
        self.longest_delay = max(self._delays, default=1)

    def initial(self, batch: int = 1) -> LiquidState:
        """No spikes on their way, no currents, potentials as the liquid was made with."""
        zeros = np.zeros((batch, self.units))
        return LiquidState(
            np.tile(self._start, (batch, 1)),
            zeros,
            zeros.copy(),
            np.zeros((batch, self.units), dtype=np.int64),
            np.zeros((batch, self.longest_delay, self.units)),
        )

    def __call__(
        self, x: Array, state: LiquidState | None = None, *, lengths: Array | None = None
    ) -> tuple[Any, LiquidState]:
        """Spikes (B, T, N), 0 or 1 in float64, for input spikes x (B, T, I), counts per step; and the state.

        lengths: (B,); a row ends there, with no spikes beyond and its state as of its end. Chunks with the state handed
        on give exactly what the whole gives. A step: currents decay and potentials move for dt, arriving spikes add to
        the currents, neurons above threshold fire and are held at reset for their refractory time.
        """
        where = "Liquid"
        batch, steps = (x.shape[0], x.shape[1]) if getattr(x, "ndim", 0) == 3 else (0, 0)
        rows = lengths_of(where, lengths, batch, steps)
        given = series(where, "x", x, self.input_size, np.float64, rows)
        now = self.initial(batch) if state is None else LiquidState(*map(plain, state))
        if now.v.shape != (batch, self.units):
            raise ShapeError(message(where, f"state.v must be (B, N) = ({batch}, {self.units}), got {now.v.shape}"))
        spikes = np.zeros((batch, steps, self.units))
        for t in range(steps):
            after, fired = self._step(given[:, t], now)
            if rows is not None:
                alive = t < rows
                fired = fired * alive[:, None]
                after = LiquidState(*(_where(alive, new, old) for new, old in zip(after, now, strict=True)))
            spikes[:, t], now = fired, after
        return like(spikes, x), LiquidState(*(like(part, x) for part in now))

    def _step(self, x: np.ndarray, now: LiquidState) -> tuple[LiquidState, np.ndarray]:
        n, dt = self.neuron, self.dt_ms
        keep = np.exp(-dt / n.membrane_ms)
        v = now.v * keep + n.resistance * n.background * (1 - keep)
        currents = []
        for current, tau in ((now.excitatory, n.synapse_excitatory_ms), (now.inhibitory, n.synapse_inhibitory_ms)):
            fade = np.exp(-dt / tau)
            # The exact share of a fading current that reaches the potential within dt.
            v = v + current * n.resistance * tau / (tau - n.membrane_ms) * (fade - keep)
            currents.append(current * fade)
        held = now.refractory > 0
        v = np.where(held, n.reset, v)
        currents[0] = currents[0] + x @ self.input_weights.T
        for late, (rises, falls) in self._delays.items():
            arriving = now.travelling[:, self.longest_delay - late]
            if arriving.any():
                currents[0] = currents[0] + (rises @ arriving.T).T
                currents[1] = currents[1] + (falls @ arriving.T).T
        fired = (v >= n.threshold) & ~held
        v = np.where(fired, n.reset, v)
        pause = np.where(fired, self._pause, np.maximum(now.refractory - 1, 0))
        travelling = np.concatenate([now.travelling[:, 1:], fired[:, None].astype(np.float64)], axis=1)
        return LiquidState(v, currents[0], currents[1], pause, travelling), fired.astype(np.float64)


def traces(spikes: Array, *, dt_ms: float = 1.0, tau_ms: float = 30.0, start: Array | None = None) -> Any:
    """Spikes (B, T, N) through an exponential filter, as a readout neuron would feel them: (B, T, N).

        r_t = exp(-dt / tau) r_{t-1} + s_t

    start: r (B, N) before the first step, for streams; 0 unless given.
    """
    if not dt_ms > 0 or not tau_ms > 0:
        raise ConfigError(message("traces", f"dt_ms and tau_ms must be above 0, got {dt_ms} and {tau_ms}"))
    given = plain(spikes).astype(np.float64)
    if given.ndim != 3:
        raise ShapeError(message("traces", f"spikes must be (B, T, N), got {given.shape}"))
    keep = np.exp(-dt_ms / tau_ms)
    trace = np.zeros((given.shape[0], given.shape[2])) if start is None else plain(start).astype(np.float64)
    filtered = np.empty_like(given)
    for t in range(given.shape[1]):
        trace = keep * trace + given[:, t]
        filtered[:, t] = trace
    return like(filtered, spikes)


def _where(alive: np.ndarray, new: np.ndarray, old: np.ndarray) -> np.ndarray:
    return np.where(alive.reshape(-1, *[1] * (new.ndim - 1)), new, old)
