"""The options of every command and the settings of every kind, as the command line itself prints them."""

from __future__ import annotations

import contextlib
import io
import os
import re
import tomllib
from collections.abc import Iterable
from typing import Any
from unittest import mock

from recurra.cli.main import main

__all__ = ["EVALUATED", "KINDS", "REFUSED", "UNSET", "options", "settings"]

KINDS = ("text", "forecast", "classify", "events", "anomaly")
"""What `recurra train` trains; the classic tasks besides: "task NAME"."""

EVALUATED = {
    "eval (text)": "text-char",
    "eval (classify)": "classify-fcn",
    "eval (events)": "events-table",
    "eval (anomaly)": "anomaly-forecast",
}
"""Options of `recurra eval RUN` depend on the kind of the run; name -> a golden run of that kind."""

UNSET = {
    "train.gradient.k1": ("train.gradient.style=chunked", "train.gradient.k1=4"),
    "train.gradient.k2": ("train.gradient.style=chunked", "train.gradient.k2=4"),
    "train.clip.value": ("train.clip.value=0.5",),
    "train.clip.norm": ("train.clip.norm=0.5",),
    "model.widen_s": ("model.widen_s=2",),
    "decode.high": ("decode.high=0.75",),
    "decode.low": ("decode.low=0.25",),
    "decode.least_s": ("decode.least_s=2",),
    "decode.refractory_s": ("decode.refractory_s=2",),
    "forget_bias": ("forget_bias=1",),
    "input_bias": ("input_bias=1",),
}
"""Settings without a default, which --show-config leaves out, and overrides by which it prints them."""

REFUSED = ("--chunk", "--config", "--dropout", "--embedding", "--level")
"""Options that `recurra train task --help` listed and every classic task refused: they are of text models."""

# An option at the beginning of its line in the help of argparse, with its other names.
_OPTION = re.compile(r"^\s+(-{1,2}[a-zA-Z][\w-]*(?: [^-\s]\S*)?(?:, -{1,2}[a-zA-Z][\w-]*)*)", re.MULTILINE)
_NAME = re.compile(r"(?<![\w-])-{1,2}[a-zA-Z][\w-]*")


def options(words: Iterable[str]) -> list[str]:
    """Return the options that `recurra WORDS --help` lists."""
    # Widths of the terminal must not change where lines break.
    with mock.patch.dict(os.environ, {"COLUMNS": "120"}):
        text = _output([*words, "--help"])
    return sorted({name for match in _OPTION.finditer(text) for name in _NAME.findall(match.group(1))})


def settings(kind: str, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Return the settings that `recurra train KIND --show-config` prints, by dotted name."""
    words = ["train", *kind.split(), "--show-config", *(word for pair in overrides for word in ("--set", pair))]
    # A classic task needs no run folder.
    text = _output(words if kind.startswith("task ") else [*words, "--out", "no-such-run"])
    return _flattened(tomllib.loads(text))


def _output(words: list[str]) -> str:
    text, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(errors):
        code = main(words)
    if code:
        raise RuntimeError(f"recurra {' '.join(words)}: exit code {code}: {errors.getvalue()}")
    return text.getvalue()


def _flattened(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flattened(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
