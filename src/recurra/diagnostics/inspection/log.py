"""What went wrong in a run, if anything did."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from recurra.diagnostics.forensics import bad_parameters, first_bad, read_log
from recurra.diagnostics.inspection.case import Case, Part
from recurra.diagnostics.report import Figure

__all__ = ["forensics_part", "is_broken"]


def is_broken(case: Case) -> bool:
    """Whether weights or losses are not finite."""
    return bool(bad_parameters(case.subject.model)) or not case.finite


def forensics_part(cases: Sequence[Case]) -> Part:
    """Sentences: the log, the weights, a forward pass."""
    figures: list[Figure] = []
    numbers: dict[str, Any] = {}
    for case in cases:
        log = read_log(case.metrics, case.events)
        weights = bad_parameters(case.subject.model)
        place = None if case.finite and not weights else first_bad(case.subject)
        sentences = log.sentences if case.metrics else ["The run has no log to read."]
        for name, amount in list(weights.items())[:8]:
            sentences = [*sentences, f"Weights that are not finite: {name}, {amount}."]
        if place is not None:
            cause = f"by way of the parameters {place.reads}" if place.reads else "by overflow"
            sentences = [
                *sentences,
                f"On this data the first value that is not finite is {place.value!r} in {place.track}, at "
                f"{case.subject.unit} {place.step} of row {place.row}, {cause}.",
            ]
        numbers[case.name] = {
            "broke_at": log.broke,
            "jumps": [list(jump) for jump in log.jumps],
            "losses_before": [list(pair) for pair in log.losses],
            "bad_parameters": weights,
            "first_bad_value": None if place is None else place._asdict(),
            "sentences": sentences,
        }
        quiet = log.broke is None and not log.jumps and not weights and place is None
        if not quiet:
            items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
            title = "What went wrong" if len(cases) == 1 else f"What went wrong: {case.name}"
            figures.append(Figure(title, f'<ul class="sentences">{items}</ul>'))
    return Part(figures, numbers)
