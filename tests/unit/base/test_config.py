"""Settings, their files and their faults."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated, Literal

import msgspec
import pytest

from recurra.base import config
from recurra.base.config import Settings
from recurra.base.errors import ConfigError, DataError

Positive = Annotated[int, msgspec.Meta(ge=1)]


class Adam(Settings, tag="adam", tag_field="name", frozen=True):
    rate: Annotated[float, msgspec.Meta(gt=0)] = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)


class Sgd(Settings, tag="sgd", tag_field="name", frozen=True):
    rate: float = 0.1
    momentum: float = 0.0


class Run(Settings, frozen=True):
    title: str
    hidden: Positive = 256
    layers: Positive = 2
    clip: float | None = 1.0
    patience: int | None = None
    files: list[str] = msgspec.field(default_factory=list)
    optimiser: Adam | Sgd = Adam()

    def __post_init__(self) -> None:
        if self.hidden % self.layers:
            raise ValueError(f"hidden must divide by layers, got {self.hidden} and {self.layers}")


def test_save_then_load_is_the_identity(tmp_path):
    settings = Run(title='näive = "x"', hidden=64, clip=None, files=["a b.txt"], optimiser=Sgd(momentum=0.9))
    config.save(settings, tmp_path / "config.toml")
    assert config.load(Run, tmp_path / "config.toml") == settings


def test_overrides_win_over_the_file(tmp_path):
    config.save(Run(title="x"), tmp_path / "c.toml")
    got = config.load(
        Run,
        tmp_path / "c.toml",
        ["hidden=64", "optimiser.rate=1e-2", "title=12", "clip=none", "patience = 3", 'files=["a", "b"]'],
    )
    assert got == Run(title="12", hidden=64, clip=None, patience=3, files=["a", "b"], optimiser=Adam(rate=0.01))


def test_an_override_makes_the_group_it_needs():
    got = config.parse(Run, {"title": "x"}, ["optimiser.name=sgd", "optimiser.momentum=0.5"])
    assert got.optimiser == Sgd(momentum=0.5)


def test_every_fault_is_in_one_message(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('hiden = 3\nlayers = 0\nclip = "much"\n[optimiser]\nname = "adam"\nbetas = [0.9, "x"]\nrat = 1\n')
    with pytest.raises(ConfigError) as caught:
        config.load(Run, path, ["hidden=1.5", "nonsense", "layers.x=1"])
    text = str(caught.value)
    assert text.splitlines()[0] == f"{path}: 9 settings are wrong."
    for part in (
        "hiden: no such setting; there are: hidden,",
        "layers: expected `int` >= 1, got 0",
        "clip: expected `float | null`, got 'much'",
        "title: is missing and has no default",
        "optimiser.betas[1]: expected `float`, got [0.9, 'x']",
        "optimiser.rat: no such setting; there are: rate, ",
        "hidden: expected `int`, got 1.5",
        "'nonsense': an override reads key=value",
        "layers.x: layers is a value, not a group of settings",
    ):
        assert part in text


def test_a_rule_over_several_fields_is_reported_like_any_other():
    with pytest.raises(ConfigError, match="Run: hidden must divide by layers, got 5 and 2"):
        config.parse(Run, {"title": "x", "hidden": 5})


def test_an_unknown_choice_lists_the_choices():
    with pytest.raises(ConfigError, match=r"optimiser\.name: no such choice as 'adm'; there are: adam, sgd"):
        config.parse(Run, {"title": "x"}, ["optimiser.name=adm"])


def test_a_config_of_another_version(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("config_format = 99\ntitle = 'x'\nwhatever = 1\n")
    with pytest.raises(ConfigError, match=f"is of config format 99, this Recurra reads format {config.FORMAT}"):
        config.load(Run, path)


@pytest.mark.parametrize(
    ("content", "fact"),
    [(b"title = 1\nx y", "is not TOML: .*line 2"), (b"title = '\xff'", "is not UTF-8: byte 0xff at offset 9")],
)
def test_a_damaged_file(tmp_path, content, fact):
    (tmp_path / "c.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=fact):
        config.load(Run, tmp_path / "c.toml")


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="could not be read: No such file"):
        config.load(Run, tmp_path / "c.toml")


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "c.toml"
    config.save(Run(title="old"), path)
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(DataError, match="No space left"):
        config.save(Run(title="new"), path)
    assert config.load(Run, path).title == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_does_not_import_torch():
    code = "import sys, recurra.base.config; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_wrong_choice_lists_the_choices_nearest_first():
    class Kind(Settings, frozen=True):
        name: Literal["sgd", "adam", "adamw"] = "sgd"

    with pytest.raises(ConfigError, match="name: no such choice as 'adamx'; there are: adam, adamw, sgd"):
        config.parse(Kind, {}, ["name=adamx"])


class _Inner(Settings, frozen=True):
    a: int = 1
    b: int = 2


class _Outer(Settings, frozen=True):
    inner: _Inner = _Inner(a=10, b=20)


class _Top(Settings, frozen=True):
    outer: _Outer = _Outer(inner=_Inner(a=100, b=200))


def test_what_a_group_does_not_say_is_as_the_group_above_has_it():
    """Not as in the bare group: one override must not undo a task's own defaults."""
    assert config.parse(_Outer, {}, ["inner.a=5"]).inner == _Inner(5, 20)
    assert config.parse(_Outer, {"inner": {"b": 7}}).inner == _Inner(10, 7)
    assert config.parse(_Top, {"outer": {"inner": {"b": 7}}}).outer.inner == _Inner(100, 7)
    assert config.parse(_Top, {"outer": {}}) == _Top()
