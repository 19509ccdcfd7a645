"""The rule of decoding, chosen on the validation part: the one with the best F1, and in the middle of equals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from recurra.tasks.events.decode import Rule
from recurra.tasks.events.detector import Detector, tally
from recurra.tasks.events.settings import DecodingSettings
from recurra.tasks.events.truth import Truth

__all__ = ["Stretch", "choose", "curve", "f1_of"]

HIGHS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
RATIOS = (0.3, 0.5, 0.7, 1.0)

Stretch = tuple[np.ndarray, Truth, int, int]
"""Probabilities (F, K) of a series from its beginning on, its events, and the rows from where to where it counts."""


def choose(detector: Detector, stretches: Sequence[Stretch], given: DecodingSettings) -> tuple[Rule, float]:
    """A rule and its F1 (mean over the classes): thresholds first, then the least length (of equals the
    shortest, which is known soonest), then the refractory time.

    What is given stays as it is.
    """
    frame_s = detector.preparation.frame_s
    base = Rule(0.5, 0.25, 1, 0)
    if given.least_s is not None:
        base = base._replace(least=max(1, round(given.least_s / frame_s)))
    if given.refractory_s is not None:
        base = base._replace(refractory=round(given.refractory_s / frame_s))
    highs = [given.high] if given.high is not None else list(HIGHS)
    if given.low is not None:
        pairs = [base._replace(high=high, low=given.low) for high in highs if high >= given.low]
        pairs = pairs or [base._replace(high=given.low, low=given.low)]
    else:
        pairs = [base._replace(high=high, low=high * ratio) for ratio in RATIOS for high in highs]
    rule, best = _best(detector, stretches, pairs)
    shortest, gap = _sizes(stretches, detector)
    if given.least_s is None and shortest > 1:
        lengths = sorted({1, *(max(1, round(shortest * share)) for share in (0.1, 0.25, 0.5, 0.75))})
        rule, best = _best(detector, stretches, [rule._replace(least=least) for least in lengths], True)
    if given.refractory_s is None and gap > 1:
        waits = sorted({0, *(int(gap * share) for share in (0.1, 0.25, 0.5))})
        rule, best = _best(detector, stretches, [rule._replace(refractory=wait) for wait in waits])
    return rule, best


def curve(detector: Detector, stretches: Sequence[Stretch]) -> list[tuple[float, float | None, float | None]]:
    """(threshold, precision, recall) over all classes together, the rest of the rule as it is."""
    ratio = detector.rule.low / detector.rule.high
    found = []
    for high in (0.01, 0.02, *HIGHS, 0.98, 0.99):
        rule = detector.rule._replace(high=high, low=high * ratio)
        true = false = missed = 0
        for counts in _tallies(detector, stretches, rule):
            true, false, missed = true + counts[0], false + counts[1], missed + counts[2]
        precision = true / (true + false) if true + false else None
        found.append((high, precision, true / (true + missed) if true + missed else None))
    return found


def f1_of(detector: Detector, stretches: Sequence[Stretch], rule: Rule) -> float:
    """Mean F1 over the classes that occur in the stretches, 0 where none does."""
    sums: dict[int, np.ndarray] = {}
    for place, counts in enumerate(_tallies(detector, stretches, rule)):
        label = place % len(detector.classes)
        sums[label] = sums.get(label, np.zeros(3, np.int64)) + np.array(counts)
    there = [2 * t / (2 * t + f + m) for t, f, m in sums.values() if t + m]
    return float(np.mean(there)) if there else 0.0


def _tallies(detector: Detector, stretches: Sequence[Stretch], rule: Rule) -> Iterable[tuple[int, int, int]]:
    """(true, false, missed) of each stretch and class."""
    for shares, truth, first, last in stretches:
        found = detector.decode(shares, rule)
        whole = tally(truth, found, detector.preparation, detector.settings, first, last)
        for counts in whole.by_class:
            yield counts.true, counts.false, counts.missed


def _best(
    detector: Detector, stretches: Sequence[Stretch], rules: Sequence[Rule], first: bool = False
) -> tuple[Rule, float]:
    """The rule with the best F1; of equals the first one, or one in their middle."""
    values = [f1_of(detector, stretches, rule) for rule in rules]
    top = max(values)
    if first:
        return rules[values.index(top)], top
    # Candidates next to each other are alike: the middle of the longest run of equals is the safest.
    runs: list[list[int]] = []
    for place, value in enumerate(values):
        if value < top - 1e-12:
            continue
        along = place and rules[place] >= rules[place - 1]
        if runs and along and runs[-1][-1] == place - 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    longest = max(runs, key=len)
    return rules[longest[len(longest) // 2]], top


def _sizes(stretches: Sequence[Stretch], detector: Detector) -> tuple[float, float]:
    """Frames of a short event, and between two that are close: tenths of the true ones."""
    preparation = detector.preparation
    lengths, gaps = [], []
    for _, truth, first, last in stretches:
        part = (truth.start >= first) & (truth.start < last)
        more = 2 * preparation.widen if preparation.point else 0
        lengths.append(truth.end[part] - truth.start[part] + 1 + more)
        ends = np.maximum.accumulate(truth.end[part]) if part.any() else truth.end[part]
        gaps.append(np.maximum(truth.start[part][1:] - ends[:-1], 0))
    joined, between = np.concatenate(lengths), np.concatenate(gaps)
    short = float(np.quantile(joined, 0.1)) if len(joined) else 1.0
    gap = float(np.quantile(between, 0.05)) if len(between) else 0.0
    return short / preparation.frame, gap / preparation.frame
