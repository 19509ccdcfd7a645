"""The run folder of an anomaly detector: written by training, read back as a detector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from recurra.base.errors import CheckpointError, message
from recurra.base.files import write_text
from recurra.tasks.anomaly.detector import Detector, Judged, NetDetector, OnlineRun
from recurra.tasks.anomaly.network import net_of
from recurra.tasks.anomaly.settings import AnomalySettings
from recurra.tasks.anomaly.table import Rows, read_rows
from recurra.tasks.anomaly.train import fit, note, seen_rows
from recurra.tasks.folder import WEIGHTS, Runs, free, write_note
from recurra.training import checkpoint
from recurra.training.arrays import packed_state, unpacked_state
from recurra.training.progress import Progress

__all__ = ["DETECTOR", "RUNS", "STATE", "AnomalyOutcome", "load", "train_run"]

DETECTOR, STATE = "detector.json", "state.safetensors"

RUNS = Runs("anomaly", AnomalySettings, (DETECTOR, STATE, "training"), free("data.file"))


class AnomalyOutcome(NamedTuple):
    """What a run came to."""

    folder: Path
    detector: Detector | None
    """None where training was interrupted."""
    series: list[Rows]
    judged: tuple[Judged, ...] = ()
    """Of all rows, where training has judged them: the online detector does."""


def train_run(
    settings: AnomalySettings,
    folder: Path | str,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    command: str = "",
) -> AnomalyOutcome:
    """Train into `folder`.

    Raises CheckpointError where the folder holds a run already or, with resume, none or one of other settings;
    DataError for data that cannot be used.
    """
    folder = Path(folder)
    RUNS.check(folder, settings, resume)
    series, channels = read_rows(settings.data.file, settings.data)
    seen = seen_rows(series, settings.data.test)
    with RUNS.opened(folder, settings, resume, command):
        options: dict[str, Any] = {"progress": progress, "resume": resume, "resume_hint": RUNS.continuing(folder)}
        trained = fit(seen, channels, settings, folder=folder / "training", **options)
        if trained.result is not None and trained.result.reason == "interrupted":
            return AnomalyOutcome(folder, None, series)
        detector = trained.detector
        facts: dict[str, Any] = {"channels": channels, "threshold": detector.threshold}
        if isinstance(detector, NetDetector):
            facts["scales"] = detector.scales
            checkpoint.save_weights(folder / WEIGHTS, dict(detector.net.state_dict()), {"task": "anomaly"})
        elif isinstance(detector, OnlineRun):
            checkpoint.save(folder / STATE, packed_state(detector.state))
        write_text(folder / DETECTOR, json.dumps(facts, ensure_ascii=False) + "\n")
        rows = sum(len(one.values) for one in series)
        write_note(folder, result={"series": len(series), "rows": rows, "channels": len(channels), **note(trained)})
        return AnomalyOutcome(folder, detector, series, () if settings.data.test else trained.judged)


def load(folder: Path | str) -> Detector:
    """The detector of a finished run.

    Raises CheckpointError where the folder is no run, is not finished, or its parts are damaged.
    """
    folder = Path(folder)
    settings = RUNS.settings(folder)
    path = folder / DETECTOR
    if not path.exists():
        raise RUNS.unfinished(folder, DETECTOR)
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        channels, threshold = tuple(facts["channels"]), float(facts["threshold"])
        scales = {name: (list(mean), list(spread)) for name, (mean, spread) in facts.get("scales", {}).items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(message(str(path), f"is damaged: {error!r}")) from error
    if settings.model == "online":
        return OnlineRun(settings, channels, threshold, unpacked_state(checkpoint.load(folder / STATE)))
    net = net_of(settings, len(channels))
    weights, _ = checkpoint.load_weights(folder / WEIGHTS)
    checkpoint.restore_weights(net, weights, str(folder / WEIGHTS))
    return NetDetector(settings, channels, threshold, net.eval(), scales)
