"""What single hidden units do over an example, and which of them stand for something a person has a word for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from recurra.base.errors import ShapeError, message
from recurra.diagnostics.observe import Track

__all__ = ["Found", "character_features", "search", "track_activity"]

Array = NDArray[np.float64]
# Rows and steps from which a correlation says anything, and values of a feature that are enough of a change.
_LEAST_STEPS, _LEAST_SHARE = 50, 0.01


class Found(NamedTuple):
    """A unit that follows a feature."""

    feature: str
    track: str
    """Which state of which layer: `layer 0 c`."""
    unit: int
    correlation: float
    """Pearson's, over all valid steps of the example; negative where the unit falls when the feature rises."""


def track_activity(tracks: Mapping[str, Track]) -> dict[str, Array]:
    """The states of watched units in the order of time: (B, T, size) by `layer 0 h`, NaN on the padding."""
    found: dict[str, Array] = {}
    for track in tracks.values():
        valid = track.valid().numpy()
        for state, values in track.states().items():
            numbers = values.detach().double().cpu().numpy().copy()
            numbers[~valid] = np.nan
            found[f"{track.name} {state}"] = track.in_time(torch.from_numpy(numbers)).numpy()
    return found


def character_features(rows: Sequence[Sequence[str]]) -> dict[str, Array]:
    """What a person would see in a text, character by character: (B, T) by name, NaN behind a row's end.

    rows: characters, blanks as they are or as the signs that a Subject shows. Those that never change are left out.
    """
    length = max((len(row) for row in rows), default=0)
    found: dict[str, Array] = {}
    for name, feature in _FEATURES.items():
        values = np.full((len(rows), length), np.nan)
        for index, row in enumerate(rows):
            values[index, : len(row)] = feature([_PLAIN.get(symbol, symbol) for symbol in row])
        seen = values[np.isfinite(values)]
        # Of a mark that is there once or twice any unit may look like its detector.
        share = np.mean(seen != np.median(seen)) if seen.size else 0.0
        if share >= _LEAST_SHARE:
            found[name] = values
    return found


def search(activity: Mapping[str, Array], features: Mapping[str, Array], most: int | None = None) -> list[Found]:
    """For each feature the unit that follows it best, the clearest first.

    activity: (B, T, H) by state, as from `track_activity`. features: (B, T) by name; NaN is left out. Every unit of
    every state is tried, so with few steps the best of many is chance: below 50 steps nothing is looked for.
    """
    best: list[Found] = []
    for name, feature in features.items():
        hits: list[Found] = []
        for track, values in activity.items():
            if values.shape[:2] != feature.shape:
                fact = f"{name} must be (B, T) = {values.shape[:2]} as the units of {track}, got {feature.shape}"
                raise ShapeError(message("search", fact))
            known = np.isfinite(feature) & np.isfinite(values).all(2)
            if known.sum() < _LEAST_STEPS:
                continue
            strength = _correlation(values[known], feature[known])
            unit = int(np.argmax(np.abs(strength)))
            hits.append(Found(name, track, unit, float(strength[unit])))
        if hits:
            best.append(max(hits, key=lambda hit: abs(hit.correlation)))
    return sorted(best, key=lambda hit: -abs(hit.correlation))[:most]


def _correlation(values: Array, feature: Array) -> Array:
    """Pearson's correlation of each column (N, H) with the feature (N,); 0 for a column that never changes."""
    left, right = values - values.mean(0), feature - feature.mean()
    size = np.sqrt((left**2).sum(0) * (right**2).sum())
    return np.divide(right @ left, size, out=np.zeros(values.shape[1]), where=size > 1e-12)


_PLAIN = {"␣": " ", "⏎": "\n", "⇥": "\t", "␍": "\r"}
Feature = Callable[[list[str]], Sequence[float]]


def _since(starts: Callable[[str], bool]) -> Feature:
    """Steps since a character of this kind."""

    def feature(row: list[str]) -> list[float]:
        counted, found = 0, []
        for symbol in row:
            counted = 0 if starts(symbol) else counted + 1
            found.append(float(counted))
        return found

    return feature


def _is(kind: Callable[[str], bool]) -> Feature:
    return lambda row: [float(kind(symbol)) for symbol in row]


def _between(opening: str, closing: str) -> Feature:
    """1 inside, from the opening mark on; where both are one sign each turns the other way, and a paragraph ends it."""

    def feature(row: list[str]) -> list[float]:
        inside, found = False, []
        for index, symbol in enumerate(row):
            if symbol in opening and not (inside and symbol in closing):
                inside = True
            elif symbol in closing or (symbol == "\n" and row[index - 1 : index] == ["\n"]):
                inside = False
            found.append(float(inside))
        return found

    return feature


def _sentence(row: list[str]) -> list[float]:
    """1 from the end of a sentence to the first letter of the next."""
    after, found = False, []
    for symbol in row:
        if symbol in ".!?":
            after = True
        elif symbol.isalpha():
            after = False
        found.append(float(after))
    return found


_FEATURES: dict[str, Feature] = {
    "inside quotation marks": _between('"“«„', '"”»'),
    "inside brackets": _between("([{", ")]}"),
    "place in the line": _since(lambda symbol: symbol == "\n"),
    "place in the word": _since(lambda symbol: not (symbol.isalpha() or symbol == "'")),
    "between words": _is(lambda symbol: symbol in " \n\t"),
    "end of a line": _is(lambda symbol: symbol == "\n"),
    "between sentences": _sentence,
    "capital letter": _is(str.isupper),
    "vowel": _is(lambda symbol: symbol.lower() in set("aeiou")),
    "digit": _is(str.isdigit),
    "punctuation": _is(lambda symbol: bool(re.fullmatch(r"[,.;:!?]", symbol))),
}
