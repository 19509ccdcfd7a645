"""No option, no setting and no default of the earlier release is lost; new ones are allowed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from golden.surface import EVALUATED, UNSET, options, settings

GOLDEN = Path(__file__).parent
SURFACE = json.loads((GOLDEN / "surface.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("command", SURFACE["options"])
def test_options_are_not_lost(command, monkeypatch):
    monkeypatch.chdir(GOLDEN)
    words = ["eval", f"runs/{EVALUATED[command]}"] if command in EVALUATED else command.split()
    lost = set(SURFACE["options"][command]) - set(options(words))
    assert not lost, f"recurra {' '.join(words)} --help has no {', '.join(sorted(lost))}"


@pytest.mark.parametrize("kind", SURFACE["settings"])
def test_settings_and_defaults_are_not_lost(kind):
    expected, actual = SURFACE["settings"][kind], settings(kind)
    lost = sorted(expected.keys() - actual.keys())
    assert not lost, f"recurra train {kind} --show-config has no {', '.join(lost)}"
    changed = {name: (value, actual[name]) for name, value in expected.items() if actual[name] != value}
    assert not changed, f"defaults of recurra train {kind} were and are: {changed}"


@pytest.mark.parametrize("kind", SURFACE["unset"])
def test_settings_without_a_default_are_not_lost(kind):
    defaults = settings(kind)
    for name in SURFACE["unset"][kind]:
        assert name not in defaults, f"{name} of recurra train {kind} had no default"
        assert name in settings(kind, UNSET[name]), f"recurra train {kind} has no setting {name}"
