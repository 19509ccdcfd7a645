"""The settings of a training run; tasks nest `TrainConfig` into their own."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from recurra.base.config import Settings
from recurra.base.option import Option

__all__ = [
    "AverageConfig",
    "ClipConfig",
    "GradientConfig",
    "NoiseConfig",
    "OptimConfig",
    "SamplingConfig",
    "ScheduleConfig",
    "StoppingConfig",
    "TrainConfig",
    "WatchConfig",
]

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
NonNegative = Annotated[float, Meta(ge=0)]
Rate = Annotated[float, Meta(gt=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Decay = Annotated[float, Meta(ge=0, lt=1)]


class GradientConfig(Settings, frozen=True):
    """How far the gradient goes back in time, or that it goes forward."""

    style: Literal["full", "chunked", "sliding", "exact", "rtrl", "snap1", "eprop", "uoro"] = "full"
    """full: over each batch; chunked, sliding, exact: truncated BPTT, see training/tbptt.py; the others carry the
    influence of the weights forward and go back nowhere, see training/online/method.py."""
    k1: Positive | None = None
    """Steps between updates; unset: k2, and 1 for the styles that go forward."""
    k2: Positive | None = None
    """Steps that a loss reaches back, of truncated BPTT; unset: k1."""

    def __post_init__(self) -> None:
        """Raise ValueError where k1 and k2 do not fit the style."""
        if self.style == "full":
            if self.k1 is not None or self.k2 is not None:
                raise ValueError("k1 and k2 belong to style chunked, sliding or exact, not to full")
            return
        if self.style in ("rtrl", "snap1", "eprop", "uoro"):
            if self.k2 is not None:
                raise ValueError(
                    f"k2 belongs to truncated BPTT: with style {self.style} a loss reaches to the beginning"
                )
            return
        if self.k1 is None and self.k2 is None:
            raise ValueError(f"style {self.style} needs k1 or k2")
        k1, k2 = self.k1 or self.k2 or 0, self.k2 or self.k1 or 0
        if self.style == "chunked" and k1 != k2:
            raise ValueError(f"style chunked has k1 = k2, got {k1} and {k2}")
        if self.style == "sliding" and k1 > k2:
            raise ValueError(f"style sliding needs k1 <= k2, got {k1} and {k2}")


class OptimConfig(Settings, frozen=True):
    """The optimiser, its weight decay and the L1 and L2 penalties."""

    name: Literal["sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "asgd", "nt_asgd"] = "adamw"
    """asgd and nt_asgd are SGD plus an average of the weights, see training/average.py."""
    learning_rate: Annotated[Rate, Option("rate")] = 2e-3
    """The highest learning rate; the schedule is a factor on it."""
    momentum: Decay = 0.9
    """Of momentum and nesterov."""
    beta1: Decay = 0.9
    """Of adam and adamw."""
    beta2: Decay = 0.99
    """Of adam and adamw."""
    alpha: Decay = 0.95
    """Smoothing of the squared gradient, of rmsprop."""
    epsilon: Rate = 1e-8
    weight_decay: NonNegative = 0.0
    """Decoupled from the gradient for adamw (Loshchilov & Hutter 2019); for the others it is L2."""
    decay: Literal["matrices", "all"] = "matrices"
    """What is decayed and penalised: parameters of two axes or more, or biases, gains and peepholes too."""
    l1: NonNegative = 0.0
    """Adds l1 * sum |w| to the loss."""
    l2: NonNegative = 0.0
    """Adds l2/2 * sum w^2 to the loss."""


class AverageConfig(Settings, frozen=True):
    """An average of the weights, used for evaluation and kept as the result."""

    kind: Literal["none", "ema", "uniform", "triggered"] = "none"
    """ema: exponential; uniform: over all iterations from `start`; triggered: uniform from when validation stalls."""
    decay: Decay = 0.999
    """Of ema; warmed up as min(decay, (1 + n) / (10 + n)) at its n-th update."""
    start: Count = 0
    """First iteration of uniform."""
    patience: Positive = 5
    """Of triggered: evaluations that must all be better than the newest one."""


class ScheduleConfig(Settings, frozen=True):
    """The learning rate by iteration, as a factor on the optimiser's."""

    name: Literal["constant", "step", "exponential", "cosine", "linear", "plateau"] = "constant"
    warmup: Count = 0
    """Iterations of linear warm-up before any of them."""
    every: Positive = 1000
    """Of step and exponential: iterations per `factor`."""
    factor: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """Of step, exponential and plateau: what the rate is multiplied by."""
    after: Count = 0
    """Of step and exponential: iterations before the first drop counts."""
    final: Fraction = 0.01
    """Of cosine and linear: the fraction of the rate left at the end. Of plateau: the floor."""
    total: Count = 0
    """Of cosine and linear: iterations until `final`; 0: the run's."""
    patience: Count = 2
    """Of plateau: evaluations without improvement that are borne before a drop."""
    min_delta: NonNegative = 0.0
    """Of plateau: what counts as an improvement."""


class ClipConfig(Settings, frozen=True):
    """Limits on the gradient, applied to the whole accumulated one."""

    norm: Rate | None = 1.0
    """Largest Euclidean norm over all parameters (Pascanu et al. 2013)."""
    value: Rate | None = None
    """Largest absolute value of each entry (Graves 2013); applied before the norm."""


class NoiseConfig(Settings, frozen=True):
    """Gaussian noise on the gradient, of variance eta / (1 + update)^gamma (Neelakantan et al. 2015)."""

    eta: NonNegative = 0.0
    """0: none. The paper chose from 0.01, 0.3 and 1."""
    gamma: NonNegative = 0.55


class SamplingConfig(Settings, frozen=True):
    """Scheduled sampling: how often a model that predicts its next input is fed the true one (Bengio et al. 2015)."""

    schedule: Literal["none", "linear", "exponential", "inverse_sigmoid"] = "none"
    """none: always the true one (teacher forcing). The others say how its probability p falls with the iteration i."""
    k: Rate = 1000.0
    """Of exponential, p = k^i, below 1; of inverse_sigmoid, p = k / (k + exp(i / k)), at least 1."""
    slope: NonNegative = 1e-4
    """Of linear, p = max(least, 1 - slope i)."""
    least: Fraction = 0.0
    """Of linear."""
    feed: Literal["draw", "arg_max"] = "draw"
    """What of the model's own is fed to one that reads symbols: one drawn from its distribution, or the likeliest."""

    def __post_init__(self) -> None:
        """Raise ValueError where k does not fit the schedule."""
        if self.schedule == "exponential" and self.k >= 1:
            raise ValueError(f"schedule exponential needs k below 1, got {self.k:g}")
        if self.schedule == "inverse_sigmoid" and self.k < 1:
            raise ValueError(f"schedule inverse_sigmoid needs k of at least 1, got {self.k:g}")


class WatchConfig(Settings, frozen=True):
    """What happens when numbers go wrong."""

    nonfinite: Literal["stop", "skip"] = "stop"
    """A NaN or infinite loss or gradient: stop with an error, or skip the update. It never reaches the weights."""
    most_skips: Positive = 10
    """With skip: so many in a row stop the run all the same."""
    spike: Literal["ignore", "warn", "skip", "stop"] = "warn"
    """A loss far above the recent ones."""
    spike_threshold: Rate = 8.0
    """Robust standard deviations (1.4826 MAD) above the median of the last `window` losses."""
    window: Annotated[int, Meta(ge=10)] = 100


class StoppingConfig(Settings, frozen=True):
    """Which measure says what is best, and when to give up on more."""

    monitor: str = "loss"
    """The name of a value that evaluation gives."""
    mode: Literal["min", "max"] = "min"
    patience: Count = 0
    """Evaluations without improvement after which training ends; 0: never."""
    min_delta: NonNegative = 0.0
    """What counts as an improvement."""


class TrainConfig(Settings, frozen=True):
    """One training run. An iteration is one update of the weights."""

    iterations: Annotated[Count, Option()] = 0
    """Iterations to train for; 0: no limit."""
    epochs: Annotated[Count, Option()] = 0
    """Passes over the data to train for; 0: no limit."""
    minutes: Annotated[NonNegative, Option()] = 0.0
    """Wall-clock minutes to train for; 0: no limit. A run that ends by the clock is not reproducible."""
    gradient: GradientConfig = GradientConfig()
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    average: AverageConfig = AverageConfig()
    clip: ClipConfig = ClipConfig()
    noise: NoiseConfig = NoiseConfig()
    sampling: SamplingConfig = SamplingConfig()
    watch: WatchConfig = WatchConfig()
    stopping: StoppingConfig = StoppingConfig()
    log_every: Positive = 10
    """Iterations per line of metrics.jsonl."""
    evaluate_every: Count = 500
    """Iterations between evaluations; 0: only at the end."""
    checkpoint_every: Count = 500
    """Iterations between checkpoints; 0: only at the end."""
    sample_at: tuple[Positive, ...] = (100, 300, 700, 2000)
    """Iterations at which a sample is drawn."""
    sample_every: Count = 5000
    """After the last of those: every so many; 0: never again."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: autocast; weights, optimiser and loss stay float32."""
    tensorboard: bool = False
    """Write TensorBoard events too (needs recurra[track])."""

    def __post_init__(self) -> None:
        """Raise ValueError where no limit is given."""
        if not (self.iterations or self.epochs or self.minutes or self.stopping.patience):
            raise ValueError("nothing ends this run: set iterations, epochs, minutes or stopping.patience")
