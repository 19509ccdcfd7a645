"""One HTML file that tells how a run went and opens anywhere: no network, no plotting library, no files beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from recurra.base.files import write_text

__all__ = ["Figure", "Key", "Report", "Sample", "render", "write"]


class Key(NamedTuple):
    """One key figure at the head of the page: what it is, the number, and what it should be compared with."""

    name: str
    value: str
    note: str = ""


class Figure(NamedTuple):
    """A chart (SVG from `recurra.diagnostics.chart`), its heading, and a sentence on how to read it."""

    title: str
    chart: str
    note: str = ""


class Sample(NamedTuple):
    """What the model wrote at one point of training."""

    heading: str
    text: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything the page shows; any part may be empty and is then left out."""

    title: str
    lead: str = ""
    keys: Sequence[Key] = ()
    figures: Sequence[Figure] = ()
    samples: Sequence[Sample] = ()
    equations: str = ""
    equations_title: str = "The cell"
    citation: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    command: str = ""
    footer: str = ""


def render(report: Report) -> str:
    """The page as text."""
    folder = resources.files("recurra.diagnostics") / "page"
    read = {name: (folder / name).read_text(encoding="utf-8") for name in ("report.html", "report.css", "report.js")}
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(read["report.html"]).render(
        report=report,
        figures=[figure._replace(chart=Markup(figure.chart)) for figure in report.figures],
        settings=list(_flat(report.settings)),
        style=Markup(read["report.css"]),
        script=Markup(read["report.js"]),
    )


def write(report: Report, path: Path) -> None:
    """Write the page to `path`, whole or not at all."""
    write_text(path, render(report))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, _shown(value)))
    return rows


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_shown, value)) or "none"
    # A lone line feed would look like nothing.
    return repr(value) if isinstance(value, str) and value != value.strip() else str(value)
