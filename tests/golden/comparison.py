"""Comparison of recorded values with those of the present code."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["assert_equal_values"]

RELATIVE, ABSOLUTE = 2e-5, 2e-6
"""Float32 nets on two kinds of CPU sum in another order; on one machine the values are equal."""


def assert_equal_values(actual: Any, expected: Any, path: str) -> None:
    """Raise AssertionError unless structure, texts, booleans and integers are equal, and floats close.

    Keys that `expected` does not have are allowed.
    """
    if isinstance(expected, dict):
        assert isinstance(actual, dict), f"{path}: {actual!r} instead of an object"
        assert expected.keys() <= actual.keys(), f"{path}: without {sorted(expected.keys() - actual.keys())}"
        for name, value in expected.items():
            assert_equal_values(actual[name], value, f"{path}.{name}")
    elif isinstance(expected, list):
        assert isinstance(actual, list), f"{path}: {actual!r} instead of a list"
        assert len(actual) == len(expected), f"{path}: {len(actual)} values instead of {len(expected)}"
        for index, value in enumerate(expected):
            assert_equal_values(actual[index], value, f"{path}[{index}]")
    elif _is_number(expected) and (isinstance(expected, float) or isinstance(actual, float)):
        assert _is_number(actual), f"{path}: {actual!r} instead of {expected!r}"
        close = math.isclose(actual, expected, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
        assert close, f"{path}: {actual!r} instead of {expected!r}"
    else:
        assert type(actual) is type(expected), f"{path}: {actual!r} instead of {expected!r}"
        assert actual == expected, f"{path}: {actual!r} instead of {expected!r}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
