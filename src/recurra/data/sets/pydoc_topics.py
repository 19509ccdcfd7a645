"""English prose that every CPython carries: the language reference behind `help("topics")`, some 700,000 characters.

Its text differs between Python versions, so figures on it compare within one version only.
"""

from __future__ import annotations

import importlib

from recurra.base.errors import DataError, message

__all__ = ["text"]


def text() -> str:
    """All topics in order of their names, separated by blank lines; the same for every run of one Python version."""
    try:
        topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except ImportError as error:
        raise DataError(
            message(
                "pydoc_topics.text",
                "this Python was installed without pydoc_data",
                hint="any text file serves as well: recurra train text FILE --out runs/x",
            )
        ) from error
    return "\n\n".join(topics[name].strip() for name in sorted(topics)) + "\n"
