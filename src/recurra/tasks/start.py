"""Starting from another run: its weights by name where shapes agree, and what it had prepared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recurra.base.errors import CheckpointError, ConfigError, message, nearest
from recurra.tasks.folder import MEMBERS, RunFolder, task_in
from recurra.tasks.task import Task
from recurra.training import checkpoint

__all__ = ["Start", "start_from"]


@dataclass(frozen=True)
class Start:
    """The weights and the preparation of a finished run.

    `weights` are those of its net, or of each member of its ensemble (`members.0. ...`); a member starts from that of
    its own number, modulo their count.

    `rename` maps the beginning of a name there to the beginning of a name here, where a module is called otherwise:
    {"recurrent": "body"} takes a language model's layers into a classifier.
    """

    folder: Path
    task: str
    weights: Sequence[Mapping[str, Tensor]] = field(repr=False)
    prepared: Any = field(repr=False)
    rename: Mapping[str, str] = field(default_factory=dict)

    def prepared_for(self, task: Task) -> Any:
        """Return what the other run prepared, where it is of the same task."""
        return self.prepared if self.task == task.name else None

    def into(self, net: nn.Module, say: Callable[[str], None], member: int = 0) -> dict[str, Any]:
        """Copy weights of the same name and shape into `net`; where rows were added, those rows that were there.

        Args:
            net: the net that starts.
            say: shows a line.
            member: its number in its ensemble, from 0.

        Returns:
            What was taken, what was extended and what is new, as names; also shown by `say`.

        Raises:
            CheckpointError: where nothing fits.

        """
        own, taken, extended = net.state_dict(), [], []
        weights = self._renamed(member)
        for name, tensor in weights.items():
            target = own.get(name)
            if target is None or target.dim() != tensor.dim() or target.dtype != tensor.dtype:
                continue
            if target.shape == tensor.shape:
                taken.append(name)
            elif target.shape[1:] == tensor.shape[1:] and len(target) > len(tensor):
                # A vocabulary or alphabet that grew: what was there keeps its numbers.
                extended.append(name)
            else:
                continue
            with torch.no_grad():
                target[: len(tensor)] = tensor if tensor.dim() else tensor.clone()
        fresh = [name for name in own if name not in {*taken, *extended}]
        if not taken and not extended:
            fact = "no weight of that run has the name and the shape of one of this net"
            details = [f"there: {', '.join(list(weights)[:6])}", f"here: {', '.join(list(own)[:6])}"]
            hint = "the same cell and sizes; --take OLD=NEW where a module is called otherwise."
            raise CheckpointError(message(str(self.folder), fact, *details, hint=hint))
        net.load_state_dict(own)
        say(f"From {self.folder}: {len(taken)} weights taken, {len(extended)} extended, {len(fresh)} new")
        return {"run": str(self.folder), "task": self.task, "taken": taken, "extended": extended, "new": fresh}

    def _renamed(self, member: int) -> dict[str, Tensor]:
        renamed = {}
        for name, tensor in self.weights[member % len(self.weights)].items():
            old = max((old for old in self.rename if f"{name}.".startswith(f"{old}.")), key=len, default=None)
            renamed[name if old is None else f"{self.rename[old]}{name.removeprefix(old)}"] = tensor
        return renamed


def start_from(folder: Path | str, task_named: Callable[[str], Task], take: Mapping[str, str] | None = None) -> Start:
    """Read the run in `folder` to start another one from.

    Args:
        folder: of a finished run, of whatever task.
        task_named: name -> task.
        take: renaming of modules, see `Start`.

    Raises:
        CheckpointError: where the folder is no finished run.
        ConfigError: where `take` names no module of that run.

    """
    path = Path(folder)
    task = task_named(task_in(path) or "text")
    run = RunFolder(task, path)
    run.settings()
    weights = _by_member(checkpoint.load_weights(run.finished())[0])
    for old in take or {}:
        if not any(f"{name}.".startswith(f"{old}.") for name in weights[0]):
            heads = {".".join(name.split(".")[:depth]) for name in weights[0] for depth in (1, 2)}
            known = ", ".join(nearest(old, heads)[:8])
            raise ConfigError(message("--take", f"{path} has no weights called {old!r}", f"There are: {known}."))
    return Start(path, task.name, weights, run.prepared(), take or {})


def _by_member(weights: Mapping[str, Tensor]) -> list[Mapping[str, Tensor]]:
    """Return the weights of each member by their names in it, without what is the ensemble's; those of a single net."""
    members: dict[int, dict[str, Tensor]] = {}
    for name, tensor in weights.items():
        head, _, rest = name.partition(".")
        number, _, inner = rest.partition(".")
        if head == MEMBERS and number.isdecimal():
            members.setdefault(int(number), {})[inner] = tensor
    return [members[number] for number in sorted(members)] or [weights]
