"""Echo state network: a fixed random reservoir and a linear readout that is solved for, or learnt on the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import Tensor

from recurra.base.errors import ConfigError, DataError, ShapeError, TrainingError, message
from recurra.reservoir import storage
from recurra.reservoir.arrays import Array, lengths_of, like, plain, series, valid
from recurra.reservoir.compose import AnyReservoir
from recurra.reservoir.recursive import RecursiveReadout
from recurra.reservoir.ridge import Readout, Ridge, Selection, choose_by_folds

__all__ = ["EchoState", "EchoStateNetwork", "Fit"]

# Steps that run at once while fitting: their states are all that is held.
CHUNK = 8192


class EchoState(NamedTuple):
    """Where a network stands: the reservoir's state, and the output (B, O) that would be fed back next."""

    reservoir: Any
    y: Any


class Fit(NamedTuple):
    """What fitting gave.

    The state after the last step, the ridge taken, the mean squared training error (O,), and how the ridge was chosen
    (None where it was given).
    """

    state: EchoState
    ridge: float
    error: np.ndarray
    selection: Selection | None


class EchoStateNetwork:
    """y_t = W_out [x_t, h_t] + c over the states h of a reservoir (Jaeger 2001); only W_out and c are learnt.

    reservoir: a `Reservoir`, `ParallelReservoir` or `DeepReservoir`. With `feedback_size` = output_size it reads its
    last output: the wanted one while a teacher is given, its own when it runs free. Without, `forecast` feeds the
    output back as input, for which both must be equally wide.
    input_to_readout: whether W_out sees x. squares: "none", "all" (h² beside h), or "half" (every second unit squared,
    which breaks the symmetry h(-x) = -h(x) at no cost; Lu et al. 2017).
    noise: deviation of what is added inside the units while fitting; it steadies closed loops (Jaeger 2001).
    loop_noise: deviation of what is added, while fitting, to what a closed loop will have to make itself (the feedback,
    or the input without one). As little as 1e-7 teaches the readout not to amplify its own errors.
    store: dtype in which states are kept where fitting has to keep them; the solution is in float64 either way.

    >>> from recurra.reservoir.reservoir import Reservoir
    >>> t = np.arange(400.0)
    >>> wave = np.sin(t / 5)[None, :, None]
    >>> net = EchoStateNetwork(Reservoir(50, 1, seed=1), 1)
    >>> fit = net.fit(wave[:, :-1], wave[:, 1:], washout=50, ridge=1e-10)
    >>> y, state = net.forecast(20, fit.state)
    >>> bool(np.abs(y[0, :, 0] - np.sin((t[-1] + np.arange(20)) / 5)).max() < 1e-4)
    True
    """

    def __init__(
        self,
        reservoir: AnyReservoir,
        output_size: int,
        *,
        input_to_readout: bool = True,
        squares: Literal["none", "half", "all"] = "none",
        noise: float = 0.0,
        loop_noise: float = 0.0,
        store: Any = np.float64,
        seed: int = 0,
    ) -> None:
        where = "EchoStateNetwork"
        if output_size < 1 or not noise >= 0 or not loop_noise >= 0:
            fact = f"output_size must be at least 1, noises at least 0, got {output_size}, {noise} and {loop_noise}"
            raise ConfigError(message(where, fact))
        if reservoir.feedback_size not in (0, output_size):
            fact = (
                f"the reservoir's feedback_size must be 0 or output_size = {output_size}, got {reservoir.feedback_size}"
            )
            raise ConfigError(message(where, fact))
        if squares not in ("none", "half", "all"):
            raise ConfigError(message(where, f"squares must be 'none', 'half' or 'all', got {squares!r}"))
        self.reservoir, self.output_size = reservoir, output_size
        self.input_to_readout, self.squares = input_to_readout, squares
        self.noise, self.loop_noise = noise, loop_noise
        self.store, self.seed = np.dtype(store), seed
        self.features = reservoir.input_size * input_to_readout + reservoir.units * (1 + (squares == "all"))
        self.readout: Readout | None = None
        self.online: RecursiveReadout | None = None

    def initial(self, batch: int = 1) -> EchoState:
        """Units at rest, output 0."""
        return EchoState(self.reservoir.initial(batch), np.zeros((batch, self.output_size)))

    # --- learning ---

    def fit(
        self,
        x: Array | None,
        y: Array,
        *,
        state: EchoState | None = None,
        lengths: Array | None = None,
        washout: int = 0,
        ridge: float | Sequence[float] = 1e-8,
        choose: Literal["leave one out", "folds"] = "leave one out",
        folds: int = 5,
    ) -> Fit:
        """Solve for the readout that gives y (B, T, O) for x (B, T, I), or for None where the reservoir reads nothing.

        washout: first steps of each row that are run but not learnt from, while the start still echoes.
        ridge: one value, or several to choose from, by the error on rows left out one at a time (exact) or in
        contiguous `folds`; all candidates cost one factorisation (one more per fold).

        Raises DataError when nothing is left to learn from. Warns when there are about as many weights as rows.
        """
        where = "EchoStateNetwork.fit"
        inputs, aims, rows = self._checked(where, x, y, lengths)
        if not washout >= 0:
            raise DataError(message(where, f"washout must be at least 0, got {washout}"))
        ended = rows if rows is not None else np.full(len(aims), aims.shape[1])
        count = int(np.maximum(ended - washout, 0).sum())
        if count < 1:
            longest = int(ended.max(initial=0))
            raise DataError(message(where, f"a washout of {washout} leaves no step of rows of at most {longest} steps"))
        collected = _Collected(state if state is not None else self.initial(len(aims)))
        pieces = self._pieces(inputs, aims, rows, washout, collected)
        candidates = np.atleast_1d(np.asarray(ridge, dtype=np.float64)).tolist()
        selection = None
        if len(candidates) == 1:
            solver = Ridge(pieces=_gathered(pieces, 4 * self.features))
            chosen, self.readout = candidates[0], solver.readout(candidates[0])
        else:
            ((features, targets),) = _gathered(pieces, count, self.store)
            if choose == "leave one out":
                solver = Ridge(features, targets)
                selection = solver.leave_one_out(features, targets, candidates)
            elif choose == "folds":
                cuts = np.linspace(0, count, folds + 1).astype(int)
                parts = [(features[a:b], targets[a:b]) for a, b in pairwise(cuts)]
                selection, solver = choose_by_folds(parts, candidates)
            else:
                raise ConfigError(message(where, f"choose must be 'leave one out' or 'folds', got {choose!r}"))
            chosen, self.readout = selection.ridge, selection.readout
        solver.warn_if_critical(chosen, where)
        self.online = None
        after = EchoState(_kinds(collected.state.reservoir, y), like(collected.state.y, y))
        return Fit(after, chosen, solver.training_error(chosen), selection)

    def partial_fit(
        self,
        x: Array | None,
        y: Array,
        state: EchoState | None = None,
        *,
        forgetting: float = 1.0,
        delta: float = 1e-6,
        force: bool = False,
    ) -> tuple[Any, EchoState]:
        """Learn step by step by recursive least squares; gives what was said before each step was learnt, and a state.

        x (B, T, I), y (B, T, O); rows are learnt from in order of time. forgetting and delta count in the first call.
        force: the reservoir reads its own output while it learns, not the wanted one (FORCE, Sussillo & Abbott 2009).
        """
        where = "EchoStateNetwork.partial_fit"
        inputs, aims, _ = self._checked(where, x, y, None)
        if force and not self.reservoir.feedback_size:
            raise ConfigError(message(where, "force needs a reservoir with feedback"))
        if self.online is None:
            self.online = RecursiveReadout(self.features + 1, self.output_size, forgetting=forgetting, delta=delta)
            if self.readout is not None:
                self.online.weights[:] = np.concatenate([self.readout.weights, self.readout.intercept[None]])
        now = self._state(where, state, len(aims))
        said = np.empty(aims.shape)
        steps = aims.shape[1]
        # While it reads the teacher its states do not depend on what it learns.
        for at, until in [(t, t + 1) for t in range(steps)] if force else [(0, steps)]:
            taught = now.y[:, None] if force else aims[:, at:until]
            features, after = self._states(inputs[:, at:until], now, None, taught, None, shifted=force)
            rows = np.concatenate([features, np.ones((*features.shape[:2], 1))], axis=2)
            for t in range(until - at):
                for b in range(len(aims)):
                    said[b, at + t] = aims[b, at + t] - self.online.learn(rows[b, t], aims[b, at + t])
            now = EchoState(after, self.online(rows[:, -1]) if force else aims[:, until - 1])
        self.readout = Readout(self.online.weights[:-1].copy(), self.online.weights[-1].copy())
        return like(said, y), EchoState(_kinds(now.reservoir, y), like(now.y, y))

    # --- running ---

    def __call__(
        self,
        x: Array,
        state: EchoState | None = None,
        *,
        lengths: Array | None = None,
        teacher: Array | None = None,
    ) -> tuple[Any, EchoState]:
        """Outputs (B, T, O), float64, for x (B, T, I), and the state to go on from.

        teacher: (B, T, O), what is fed back instead of the network's own output. lengths: (B,); outputs beyond are 0.
        Chunks with the state handed on give what the whole gives.
        """
        where = "EchoStateNetwork"
        readout = self._fitted(where)
        batch, steps = (x.shape[0], x.shape[1]) if getattr(x, "ndim", 0) == 3 else (0, 0)
        rows = lengths_of(where, lengths, batch, steps)
        inputs = series(where, "x", x, self.reservoir.input_size, np.float64, rows)
        taught = None if teacher is None else series(where, "teacher", teacher, self.output_size, np.float64, rows)
        now = self._state(where, state, batch)
        if self.reservoir.feedback_size and taught is None:
            return self._free(inputs, now, rows, x)
        features, after = self._states(inputs, now, rows, taught, None)
        outputs = readout(features)
        if rows is not None:
            outputs *= valid(rows, steps)[..., None]
        return like(outputs, x), EchoState(
            _kinds(after, x), like(_last(outputs if taught is None else taught, now.y, rows), x)
        )

    def predict(self, x: Array, **options: Any) -> Any:
        """The outputs alone."""
        return self(x, **options)[0]

    def forecast(self, steps: int, state: EchoState, x: Array | None = None) -> tuple[Any, EchoState]:
        """The next `steps` outputs (B, steps, O), each made from the one before, and the state after them.

        A network with feedback reads its last output there, and x (B, steps, I), the inputs to come, if it has inputs.
        One without reads its last output as its input: that output, `state.y`, is the first value of the forecast.
        """
        where = "EchoStateNetwork.forecast"
        readout = self._fitted(where)
        if steps < 0:
            raise DataError(message(where, f"steps must be at least 0, got {steps}"))
        now = self._state(where, state, len(state.y))
        if self.reservoir.feedback_size:
            given = np.zeros((len(now.y), steps, 0)) if x is None else x
            inputs = series(where, "x", given, self.reservoir.input_size, np.float64)
            if inputs.shape[:2] != (len(now.y), steps):
                raise ShapeError(message(where, f"x must hold {steps} steps of {len(now.y)} rows, got {inputs.shape}"))
            return self._free(inputs, now, None, state.y)
        if x is not None or self.reservoir.input_size != self.output_size:
            sizes = f"input_size = {self.reservoir.input_size} and output_size = {self.output_size}"
            fact = f"without feedback the output becomes the input: x must be None and {sizes} equal"
            raise ConfigError(message(where, fact))
        outputs = np.empty((len(now.y), steps, self.output_size))
        for t in range(steps):
            outputs[:, t] = now.y
            features, after = self._states(now.y[:, None], now, None, None, None)
            now = EchoState(after, readout(features[:, 0]))
            _check_bounded(where, now.y, t)
        return like(outputs, state.y), EchoState(_kinds(now.reservoir, state.y), like(now.y, state.y))

    def _free(self, inputs: np.ndarray, now: EchoState, rows: np.ndarray | None, kind: Any) -> tuple[Any, EchoState]:
        readout = self._fitted("EchoStateNetwork")
        outputs = np.zeros((*inputs.shape[:2], self.output_size))
        for t in range(inputs.shape[1]):
            alive = None if rows is None else (t < rows).astype(np.int64)
            features, after = self._states(inputs[:, t : t + 1], now, alive, now.y[:, None], None, shifted=True)
            y = readout(features[:, 0])
            if alive is not None:
                outputs[:, t] = np.where(alive[:, None], y, 0)
                y = np.where(alive[:, None], y, now.y)
            else:
                outputs[:, t] = y
            _check_bounded("EchoStateNetwork", y, t)
            now = EchoState(after, y)
        return like(outputs, kind), EchoState(_kinds(now.reservoir, kind), like(now.y, kind))

    # --- keeping ---

    def save(self, path: str | Path) -> None:
        """Write everything to one safetensors file; `EchoStateNetwork.load` reads it."""
        storage.save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> EchoStateNetwork:
        """The network of a file that `save` wrote; CheckpointError where it is none."""
        return storage.load(Path(path), cls)

    # --- inside ---

    def _checked(
        self, where: str, x: Array | None, y: Array, lengths: Array | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        batch, steps = (y.shape[0], y.shape[1]) if getattr(y, "ndim", 0) == 3 else (0, 0)
        rows = lengths_of(where, lengths, batch, steps)
        aims = series(where, "y", y, self.output_size, np.float64, rows)
        given = np.zeros((batch, steps, 0)) if x is None else x
        inputs = series(where, "x", given, self.reservoir.input_size, np.float64, rows)
        if inputs.shape[:2] != aims.shape[:2]:
            raise ShapeError(message(where, f"x is {inputs.shape}, y is {aims.shape}: B and T must be equal"))
        return inputs, aims, rows

    def _fitted(self, where: str) -> Readout:
        if self.readout is None:
            raise TrainingError(message(where, "there is no readout yet", hint="call fit(x, y) first."))
        return self.readout

    def _state(self, where: str, state: EchoState | None, batch: int) -> EchoState:
        if state is None:
            return self.initial(batch)
        y = plain(state.y).astype(np.float64)
        if y.shape != (batch, self.output_size):
            fact = f"state.y must be (B, O) = ({batch}, {self.output_size}), got {y.shape}"
            raise ShapeError(message(where, fact, hint=f"net.initial({batch}) makes a fresh one."))
        return EchoState(_kinds(state.reservoir, y), y)

    def _states(
        self,
        inputs: np.ndarray,
        now: EchoState,
        rows: np.ndarray | None,
        teacher: np.ndarray | None,
        noise: np.ndarray | None,
        *,
        shifted: bool = False,
    ) -> tuple[np.ndarray, Any]:
        """Features (B, T, p) and the reservoir's state.

        teacher: the outputs of these steps, or with `shifted` of those before them.
        """
        back = None
        if self.reservoir.feedback_size and teacher is not None:
            back = teacher if shifted else np.concatenate([now.y[:, None], teacher], axis=1)[:, : teacher.shape[1]]
        states, after = self.reservoir(inputs, now.reservoir, lengths=rows, feedback=back, noise=noise)
        parts = [inputs] if self.input_to_readout else []
        if self.squares == "half":
            states = states.copy()
            states[..., 1::2] **= 2
        parts += [states, states**2] if self.squares == "all" else [states]
        return np.concatenate(parts, axis=2, dtype=np.float64) if len(parts) > 1 else states.astype(np.float64), after

    def _pieces(
        self, inputs: np.ndarray, aims: np.ndarray, rows: np.ndarray | None, washout: int, collected: _Collected
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows to learn from, chunk after chunk of time; `collected` ends with the last state."""
        generator = np.random.default_rng(self.seed)
        batch, steps = aims.shape[:2]
        now = self._state("EchoStateNetwork.fit", collected.state, batch)
        size = max(1, CHUNK // batch)
        for at in range(0, steps, size):
            until = min(at + size, steps)
            ended = None if rows is None else np.clip(rows - at, 0, until - at)
            noise = None
            if self.noise:
                noise = generator.normal(0.0, self.noise, (batch, until - at, self.reservoir.units))
                noise = noise.astype(self.reservoir.dtype)
            aim, x = aims[:, at:until], inputs[:, at:until]
            fed, shifted = aim, False
            if self.loop_noise and self.reservoir.feedback_size:
                fed, shifted = np.concatenate([now.y[:, None], aim], axis=1)[:, : until - at], True
                fed = fed + generator.normal(0.0, self.loop_noise, fed.shape)
            elif self.loop_noise:
                x = x + generator.normal(0.0, self.loop_noise, x.shape)
            features, after = self._states(x, now, ended, fed, noise, shifted=shifted)
            now = EchoState(after, _last(aim, now.y, ended))
            taken = np.broadcast_to(np.arange(at, until) >= washout, (batch, until - at))
            taken = taken if ended is None else taken & valid(ended, until - at)
            if taken.any():
                yield features[taken], aim[taken]
        collected.state = now


class _Collected:
    """The state that a generator of pieces leaves behind."""

    def __init__(self, state: EchoState) -> None:
        self.state = state


def _gathered(
    pieces: Iterator[tuple[np.ndarray, np.ndarray]], least: int, store: Any = np.float64
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pieces joined until they have `least` rows: a factorisation per small piece would cost more than its rows."""
    features: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    for feature, target in pieces:
        features.append(feature.astype(store))
        targets.append(target)
        if sum(map(len, features)) >= least:
            yield np.concatenate(features), np.concatenate(targets)
            features, targets = [], []
    if features:
        yield np.concatenate(features), np.concatenate(targets)


def _last(values: np.ndarray, before: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
    """(B, O): the value at each row's last valid step; `before` where it has none."""
    if not values.shape[1]:
        return before
    if rows is None:
        return values[:, -1].copy()
    at = np.maximum(rows - 1, 0)
    return np.where(rows[:, None] > 0, values[np.arange(len(rows)), at], before)


def _kinds(state: Any, pattern: Any) -> Any:
    """A reservoir's state, or a tuple of such, with leaves of the pattern's kind."""
    if isinstance(state, np.ndarray | Tensor):
        return like(plain(state), pattern)
    parts = [_kinds(part, pattern) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def _check_bounded(where: str, y: np.ndarray, t: int) -> None:
    if not np.isfinite(y).all():
        raise DataError(
            message(
                where,
                f"the closed loop left every bound at its step {t}",
                hint="a larger ridge, noise while fitting, or a smaller spectral radius steadies it.",
            )
        )
