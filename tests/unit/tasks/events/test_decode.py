"""Probabilities into events: step by step as at once, and against the rule written out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recurra.tasks.events.decode import Rule, TrackDecoder, decode, tracks_of


def by_hand(track, rule):
    """The rule in words, frame by frame, for one class."""
    events, begin, last_end = [], None, None
    for frame, value in enumerate([*track, 0.0]):
        if begin is None and value >= rule.high and frame < len(track):
            begin = frame
        elif begin is not None and value < rule.low:
            long = frame - begin >= rule.least
            waited = last_end is None or begin - last_end > rule.refractory
            if long and waited:
                events.append((begin, frame - 1))
                last_end = frame - 1
            begin = None
    return events


shares = st.lists(st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.4, 0.5]), min_size=2, max_size=2), max_size=40)
rules = st.builds(
    Rule, st.sampled_from([0.3, 0.5, 0.7]), st.sampled_from([0.1, 0.2, 0.3]), st.integers(1, 4), st.integers(0, 5)
)


@settings(max_examples=60)
@given(shares, rules, st.booleans(), st.booleans(), st.integers(0, 40))
def test_step_by_step_is_at_once(rows, rule, point, overlap, cut):
    """Also through a state that was written out and read back at any frame."""
    probabilities = np.array(rows, np.float64).reshape(-1, 2)
    whole = decode(probabilities, rule, point, overlap)
    found, begun = [], []
    tracks = [TrackDecoder(classes, rule, point) for classes in tracks_of(2, point, overlap)]
    for frame, row in enumerate(probabilities):
        if frame == cut:
            saved = [json.loads(json.dumps(track.state())) for track in tracks]
            tracks = [TrackDecoder(track.classes, rule, point) for track in tracks]
            for track, state in zip(tracks, saved, strict=True):
                track.load_state(state)
        for track in tracks:
            if (said := track.push(frame, row[track.classes].tolist())) is not None:
                (found if said[0] == "end" else begun).append(said[1])
    last = len(probabilities) - 1
    found += [said[1] for track in tracks if (said := track.finish(last, last)) is not None]
    found.sort(key=lambda one: (one.start, one.label))
    assert len(found) == len(whole)
    for one, other in zip(found, whole, strict=True):
        assert one[:4] == other[:4]
        assert one.decided == other.decided
        assert one.probability == pytest.approx(other.probability)
    # Each was said to begin when it was long enough, and before it was over.
    assert sorted((one.start, one.decided if not point else one.end) for one in begun) == sorted(
        (one.start, one.start + rule.least - 1) for one in whole
    )


@given(st.lists(st.sampled_from([0.0, 0.15, 0.25, 0.4, 0.6, 0.9]), max_size=60), rules)
def test_against_the_rule_in_words(track, rule):
    found = decode(np.array(track).reshape(-1, 1), rule, False)
    assert [(one.start, one.end) for one in found] == by_hand(track, rule)


def test_hysteresis_least_and_refractory():
    track = np.array([0.4, 0.9, 0.4, 0.1, 0.9, 0.1, 0.0, 0.9, 0.8, 0.0])[:, None]
    assert [d[1:3] for d in decode(track, Rule(0.8, 0.3), True)] == [(1, 2), (4, 4), (7, 8)]
    assert [d[1:3] for d in decode(track, Rule(0.8, 0.3, least=2), True)] == [(1, 2), (7, 8)]
    assert [d[1:3] for d in decode(track, Rule(0.8, 0.3, refractory=2), True)] == [(1, 2), (7, 8)]


def test_moments_of_two_classes_share_a_track():
    """0.3 + 0.4 is an event though neither is one by itself; its class is the likelier one."""
    shares = np.array([[0.0, 0.0], [0.3, 0.4], [0.2, 0.5], [0.0, 0.0]])
    found = decode(shares, Rule(0.6, 0.3), True)
    assert [(one.label, one.start, one.end, one.time, one.decided) for one in found] == [(1, 1, 2, 2, 3)]
    assert decode(shares, Rule(0.6, 0.3), True, overlap=True) == []
