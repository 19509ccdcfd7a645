"""The one training loop. It knows batches, a model, a loss and a way to a gradient; no cell and no task.

for batch in stream:
    for due in gradient(model, objective, batch, carry):      # forward, backward
        divide by the count, penalise, look, clip, add noise, step, average
        log, evaluate, sample, save
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn, optim

from recurra.base.errors import CheckpointError, ConfigError, DataError, TrainingError, message
from recurra.base.rng import Streams
from recurra.data.batch import Batch
from recurra.training import checkpoint
from recurra.training.average import average_of
from recurra.training.best import Best
from recurra.training.callback import Callback, at, every, looking
from recurra.training.clip import clip_by_norm, clip_by_value, gradient_norm
from recurra.training.config import TrainConfig
from recurra.training.gradient import Carry, Due, GradientMethod, Objective, between
from recurra.training.interrupt import Interrupt
from recurra.training.noise import add_noise
from recurra.training.optim import add_penalty_gradient, optimiser
from recurra.training.progress import Progress
from recurra.training.report import Report, Result
from recurra.training.schedule import Plateau, Schedule, schedule
from recurra.training.snapshot import restore, snapshot
from recurra.training.stopping import Stopping
from recurra.training.stream import Stream
from recurra.training.tbptt import gradient_method
from recurra.training.teacher import scheduled
from recurra.training.watch import Watch

__all__ = ["Trainer"]


class Trainer:
    """Trains `model` on `stream` by the settings `config`; what is passed in replaces what they would build.

    `evaluate(model)` gives named numbers, among them `config.stopping.monitor`; `sample(model)` gives a text; both are
    called in evaluation mode, with averaged weights and without touching the run's random numbers. `folder` is where
    weights.safetensors (the best), checkpoint/latest.safetensors, metrics.jsonl and samples.jsonl go. `streams` are
    the run's random streams, saved with it; `resume_hint` is the command that continues it.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        stream: Stream,
        config: TrainConfig,
        *,
        gradient: GradientMethod | None = None,
        optimizer: optim.Optimizer | None = None,
        rate: Schedule | Plateau | None = None,
        evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
        sample: Callable[[nn.Module], str] | None = None,
        callbacks: Sequence[Callback] = (),
        folder: Path | str | None = None,
        streams: Streams | None = None,
        progress: Progress | None = None,
        resume_hint: str = "the same command with --resume",
    ) -> None:
        self.model, self.objective, self.stream, self.config = model, objective, stream, config
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.gradient = gradient or gradient_method(config.gradient)
        self.optimizer = optimizer or optimiser(model, config.optim)
        self.device = self.parameters[0].device if self.parameters else torch.device("cpu")
        self.schedule = rate or schedule(config.schedule, config.iterations)
        self.average = average_of(model, config.average, config.optim)
        self.watch, self.stopping, self.streams = Watch(config.watch), Stopping(config.stopping), streams
        self.evaluate, self.sample, self.callbacks = evaluate, sample, tuple(callbacks)
        self.folder = Path(folder) if folder else None
        self.report = Report(self.folder, config.tensorboard, progress)
        self.resume_hint = resume_hint
        self.iteration = self.positions = self.skips = 0
        self.metrics: dict[str, float] = {}
        self.carry: Carry | None = None
        self.like: Tensor | None = None
        """One step of zeros shaped as the last inputs: asks the model for the structure of its state."""
        self.rest: Batch | None = None
        """The steps of the present batch that no update has counted yet."""
        self.wall_s_before = 0.0
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._began = time.monotonic()
        self._interrupt = Interrupt()
        # The same parameters; scheduled sampling is a matter of how they are trained.
        self._fed = scheduled(model, config.sampling, lambda: self.iteration)
        self._best = Best(self.folder)
        self.evaluated = self._saved = -1
        if evaluate is None and (isinstance(self.schedule, Plateau) or config.stopping.patience):
            raise ConfigError(message("Trainer", "drop on plateau and early stopping need an evaluation"))

    @property
    def path(self) -> Path | None:
        """The checkpoint of this run."""
        return self.folder / "checkpoint" / "latest.safetensors" if self.folder else None

    @property
    def wall_s(self) -> float:
        """Seconds of training, those before a resume included."""
        return self.wall_s_before + time.monotonic() - self._began

    def resume(self, path: Path | str | None = None) -> Trainer:
        """Continue from a checkpoint (by default this run's own), to the bit on the CPU; raises CheckpointError."""
        path = Path(path) if path else self.path
        if path is None:
            raise CheckpointError(message("Trainer.resume", "a run without a folder has no checkpoint"))
        restore(self, checkpoint.load(path), path)
        self._saved = self.iteration
        if self.stopping.iteration is not None and not self._best.load():
            self.stopping.forget()
            self.report.say(f"{self._best.path} is gone: the next evaluation counts as the best so far.")
        return self

    def train(self) -> Result:
        """Train until a limit is met or Ctrl-C; then the model has the best (averaged) weights."""
        if self.path and self.path.exists() and self._saved < 0:
            hint = f"to continue it: {self.resume_hint}; to begin anew, choose another folder."
            raise CheckpointError(message(str(self.folder), "holds a run already", hint=hint))
        # Denormals slow a peaked softmax's gradient down eightfold on x86.
        torch.set_flush_denormal(True)
        self.report.open(self.iteration, self.config.iterations or None)
        self._began = time.monotonic()
        self.model.train()
        self.optimizer.zero_grad()
        try:
            with self._interrupt:
                return self._finish(self._run())
        except TrainingError as error:
            saved = f"iteration {self._saved} in {self.path}" if self._saved >= 0 else "none"
            raise TrainingError(f"{error}\n  Last checkpoint: {saved}.") from error
        finally:
            self.report.close()

    def _run(self) -> str:
        """Go through batches until there is a reason to stop, and give it."""
        batches = self._batches()
        while (reason := self._reason()) is None:
            self.rest = batch = next(batches)
            steps, before = batch.x.shape[1], None if batch.first else self.carry
            self.like = torch.zeros_like(batch.x[:, :1])
            updates = self.gradient(self._fed, self.objective, batch, before)
            while self._reason() is None and (due := self._next(updates)) is not None:
                self.carry = due.carry
                self.rest = between(batch, due.steps, steps) if due.steps < steps else None
                if not due.count:
                    continue
                if not self._update(due, batch, before):
                    # The state is not finite either: go on with the next batch, from the initial one.
                    self.carry = self.rest = None
                    updates = iter(())
                self._events()
        return reason

    def _batches(self) -> Iterator[Batch]:
        if self.rest is not None:
            yield self.rest
        while True:
            empty = True
            for batch in self.stream:
                empty = False
                yield batch.to(self.device)
            if empty:
                raise DataError(message("Trainer", "the stream gave no batch in a whole epoch"))

    def _next(self, updates: Iterator[Due]) -> Due | None:
        lower = self.config.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=lower):
            return next(updates, None)

    def _update(self, due: Due, batch: Batch, before: Carry | None) -> bool:
        """One iteration: from the summed gradient to new weights. False where loss or gradient were not finite."""
        self.iteration += 1
        loss = float(due.loss_sum) / due.count
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad.div_(due.count)
        penalties = self.config.optim
        add_penalty_gradient(self.model, penalties.l1, penalties.l2, penalties.decay)
        total = gradient_norm(self.parameters)
        norm = float(total)
        verdict = self.watch.look(self.iteration, loss, norm, self.model, batch, before)
        if verdict.event:
            self.report.event(self.iteration, verdict.event, verdict.text)
        if verdict.update:
            self._step(total)
        else:
            self.skips += 1
        self.optimizer.zero_grad()
        self.positions += due.count
        if verdict.event != "nonfinite":
            self.report.add(self.iteration, float(due.loss_sum), due.count, norm)
        return verdict.event != "nonfinite"

    def _step(self, norm: Tensor) -> None:
        clip = self.config.clip
        if clip.value is not None:
            clip_by_value(self.parameters, clip.value)
        if clip.norm is not None:
            clip_by_norm(self.parameters, clip.norm, None if clip.value is not None else norm)
        if self.config.noise.eta:
            add_noise(self.parameters, self.iteration - 1, self.config.noise.eta, self.config.noise.gamma)
        factor = self.schedule(self.iteration)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        self.optimizer.step()
        if self.average:
            self.average.update(self.model, self.iteration)

    def _events(self) -> None:
        """What is due after this iteration, the checkpoint last: it vouches for every line written before it."""
        config, now = self.config, self.iteration
        if every(config.log_every)(now):
            self._log_train()
        if self.evaluate and every(config.evaluate_every)(now):
            self._evaluate()
        if self.sample and at(*config.sample_at, then=config.sample_every)(now):
            with looking(self.model, self.average, self.device):
                text = self.sample(self.model)
            self.report.sample(now, text)
        for callback in self.callbacks:
            if callback.when(now):
                with looking(self.model, self.average, self.device):
                    callback.call(self)
        if every(config.checkpoint_every)(now):
            self._try(self.save)

    def _log_train(self) -> None:
        self.report.train(self.iteration, self.stream.epoch, self.optimizer.param_groups[0]["lr"], self.wall_s)

    def _evaluate(self) -> None:
        """Judge the (averaged) weights; keep them where they are the best so far."""
        if not self.evaluate:
            return
        with looking(self.model, self.average, self.device):
            self.metrics = self.evaluate(self.model)
            better = self.stopping.observe(self.metrics, self.iteration)
            if better:
                self._keep()
        self.evaluated = self.iteration
        self.report.write(self.iteration, self.stream.epoch, "valid", self.metrics, self.wall_s)
        figures = "  ".join(f"{name} {value:.4g}" for name, value in self.metrics.items())
        self.report.say(f"iteration {self.iteration}  valid {figures}{'  (best so far)' if better else ''}")
        cost = self.stopping.cost(self.metrics)
        if isinstance(self.schedule, Plateau) and self.schedule.observe(cost):
            self.report.say(f"iteration {self.iteration}: learning rate drops to {self.schedule.level:g} of its first")
        if self.average and self.average.observe(cost):
            self.report.say(f"iteration {self.iteration}: validation stalls, averaging of the weights begins")

    def judge(self) -> None:
        """Evaluate the weights as they are now, before or between updates."""
        self._evaluate()

    def prefer(self) -> None:
        """Keep the weights that were just judged, whatever better measure others had; for callbacks."""
        self.stopping.forget()
        self.stopping.observe(self.metrics, self.iteration)
        self._keep()

    def _keep(self) -> None:
        info = {"iteration": self.iteration, "metrics": self.metrics}
        self._try(lambda: self._best.keep(self.model, info))

    def save(self) -> None:
        """Write the checkpoint; raises CheckpointError where the disk does not take it (the old one stays)."""
        if self.path:
            checkpoint.save(self.path, snapshot(self))
            self._saved = self.iteration

    def _try(self, write: Callable[[], None]) -> None:
        """Write; where that fails say so and go on: the disk may have room later, and stopping would lose more."""
        try:
            write()
        except CheckpointError as error:
            self.report.say(f"{error}\n  Training goes on. Last checkpoint: iteration {max(self._saved, 0)}.")

    def _reason(self) -> str | None:
        """Why to stop now, None to go on."""
        config = self.config
        reasons = {
            "interrupted": self._interrupt.wanted,
            "patience": self.stopping.exhausted,
            "iterations": 0 < config.iterations <= self.iteration,
            # The epoch counts as handed out with its last batch; that batch may still have updates to give.
            "epochs": self.rest is None and 0 < config.epochs <= self.stream.epoch,
            "minutes": 0 < config.minutes * 60 <= self.wall_s,
        }
        return next((reason for reason, holds in reasons.items() if holds), None)

    def _finish(self, reason: str) -> Result:
        if reason == "interrupted":
            self.save()
            if self.path:
                self.report.say(f"Stopped at iteration {self.iteration}; saved. To continue: {self.resume_hint}")
        else:
            self._log_train()
            if self.evaluated != self.iteration:
                self._evaluate()
            if not self.evaluate:
                with looking(self.model, self.average, self.device):
                    self._keep()
            self._best.write()
            self.save()
            self._best.restore(self.model)
        return Result(self.iteration, reason, self.metrics, self.stopping.best, self.stopping.iteration)
