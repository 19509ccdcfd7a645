"""The run folder of a text model: on what its checkpoints depend, and whether its text is still there."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recurra.base.errors import CheckpointError, DataError, message
from recurra.tasks.folder import Runs, read_note
from recurra.tasks.text.settings import TextSettings

__all__ = ["RUNS", "VOCABULARY", "check_files", "check_text"]

VOCABULARY = "vocabulary.json"

_FIXED = (
    *("seed", "data.level", "data.train", "data.test", "data.batch_size", "data.chunk"),
    *("model.cell", "model.hidden_size", "model.num_layers", "model.embedding_size", "model.tied", "model.residual"),
    *("model.learned_initial_state", "train.gradient", "train.optim.name", "train.average.kind"),
)
"""Settings on which the checkpoint depends; the others (rates, limits, dropout, how often what) may change."""


def _may_change(name: str) -> bool:
    return not any(f"{name}.".startswith(f"{fixed}.") for fixed in _FIXED)


RUNS = Runs("text", TextSettings, (VOCABULARY, "samples.jsonl"), _may_change)


def check_files(folder: Path, settings: TextSettings) -> None:
    """DataError where a file of the text of the run in `folder` is gone."""
    gone = [name for name in settings.data.files if not Path(name).exists()]
    if gone:
        fact = f"the text of the run in {folder} is gone"
        command = f"recurra train text FILE --out {shlex.quote(str(folder))} --resume"
        raise DataError(message(gone[0], fact, hint=f"say where it is now: {command}"))


def check_text(folder: Path, text: Mapping[str, Any]) -> None:
    """CheckpointError where the text is not the one that the run began with."""
    before = read_note(folder).get("text", {})
    if before and before["digest"] != text["digest"]:
        raise CheckpointError(
            message(
                str(folder),
                f"the text has changed since this run began: {before['symbols']:,} symbols then, "
                f"{text['symbols']:,} now",
                hint="a run continues on the text it began with; train on another text in another folder.",
            )
        )
