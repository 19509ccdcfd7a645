"""Everything a training run has to remember, as one value for a checkpoint, and back.

What is restored: weights, their average, optimiser, plateau, guard, best so far, random streams and torch's own, place
in the data, carried state, the unread rest of a batch, and the sums behind the next line of the log.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from recurra.base.errors import CheckpointError, message
from recurra.base.state import leaves, map_state
from recurra.data.batch import Batch
from recurra.training.checkpoint import restore_weights
from recurra.training.gradient import Carry, Model
from recurra.training.report import Interval, Report

__all__ = ["Resumable", "restore", "snapshot"]

_PLAIN = ("iteration", "positions", "skips", "evaluated", "metrics")
_PARTS = ("optimizer", "stream", "watch", "stopping", "average", "schedule", "streams")


class Resumable(Protocol):
    """The attributes of a training run that a checkpoint stores; `recurra.training.loop.Trainer` has them."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    device: torch.device
    report: Report
    carry: Carry | None
    like: Tensor | None
    rest: Batch | None
    wall_s_before: float

    @property
    def wall_s(self) -> float:
        """Seconds of training, those before a resume included."""
        ...


def snapshot(trainer: Resumable) -> dict[str, Any]:
    """The run between two updates."""
    content: dict[str, Any] = {name: getattr(trainer, name) for name in _PLAIN}
    for name in _PARTS:
        part = getattr(trainer, name)
        content[name] = part.state_dict() if hasattr(part, "state_dict") else None
    content["wall_s"] = trainer.wall_s
    content["interval"] = tuple(trainer.report.interval)
    content["weights"] = dict(trainer.model.state_dict())
    content["random"] = _random_state()
    content["carry"] = _packed_carry(trainer.carry, trainer.like)
    content["rest"] = None if trainer.rest is None else tuple(trainer.rest)
    return content


def restore(trainer: Resumable, content: dict[str, Any], path: Path) -> None:
    """Put the run back to where `snapshot` saw it.

    Raises CheckpointError where the model, the optimiser or the kind of run is another.
    """
    restore_weights(trainer.model, content["weights"], str(path))
    for name in _PARTS:
        part = getattr(trainer, name)
        if (content[name] is not None) != hasattr(part, "state_dict"):
            had, has = ("with", "without") if content[name] is not None else ("without", "with")
            hint = "continue with the settings of the saved run."
            raise CheckpointError(message(str(path), f"was saved {had} {name}, this run is {has}", hint=hint))
        if content[name] is not None and name != "optimizer":
            part.load_state_dict(content[name])
    try:
        trainer.optimizer.load_state_dict(content["optimizer"])
    except ValueError as error:
        raise CheckpointError(message(str(path), f"the optimiser is another one: {error}")) from error
    for name in _PLAIN:
        setattr(trainer, name, content[name])
    trainer.wall_s_before = content["wall_s"]
    trainer.report.interval = Interval(*content["interval"])
    trainer.like = None
    trainer.carry = None
    if content["carry"]:
        trainer.like = content["carry"]["like"].to(trainer.device)
        trainer.carry = _unpacked_carry(trainer.model, content["carry"], trainer.device, path)
    trainer.rest = None if content["rest"] is None else Batch(*content["rest"]).to(trainer.device)
    # Last: finding out the structure of a state may have drawn random numbers.
    _set_random_state(content["random"])


def _packed_carry(carry: Carry | None, like: Tensor | None) -> dict[str, Any] | None:
    if carry is None or like is None:
        return None
    tensors = {"x": carry.x, "resets": carry.resets, "lengths": carry.lengths, "like": like}
    memory = None if carry.memory is None else list(carry.memory)
    return {"state": leaves(carry.state), "memory": memory, **tensors}


def _unpacked_carry(model: torch.nn.Module, packed: dict[str, Any], device: torch.device, path: Path) -> Carry:
    """The state's tensors in the structure that the model gives its states; `like` is one step of input to ask with."""
    saved = [leaf.to(device) for leaf in packed["state"]]
    others: dict[str, Any] = {
        name: None if packed[name] is None else packed[name].to(device) for name in ("x", "resets", "lengths")
    }
    # Checkpoints of before there were online gradients have no memory.
    if packed.get("memory") is not None:
        others["memory"] = tuple(part.to(device) for part in packed["memory"])
    if not saved:
        return Carry(None, **others)
    structure = _structure(model, packed["like"].to(device))
    shapes = [tuple(leaf.shape) for leaf in leaves(structure)]
    if shapes != [tuple(leaf.shape) for leaf in saved]:
        got = ", ".join(str(tuple(leaf.shape)) for leaf in saved)
        fact = f"the carried state must be {', '.join(map(str, shapes))}, got {got}"
        raise CheckpointError(message(str(path), fact, hint="the model or the batch size is another one."))
    rest = iter(saved)
    return Carry(map_state(lambda _: next(rest), structure), **others)


def _structure(model: Model, x: Tensor) -> Any:
    was_training = bool(getattr(model, "training", False))
    if isinstance(model, torch.nn.Module):
        model.eval()
    with torch.no_grad():
        _, state = model(x, None, lengths=None, resets=None)
    if isinstance(model, torch.nn.Module):
        model.train(was_training)
    return state


def _random_state() -> dict[str, Tensor | None]:
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _set_random_state(state: dict[str, Tensor | None]) -> None:
    if state["cpu"] is not None:
        torch.set_rng_state(state["cpu"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
