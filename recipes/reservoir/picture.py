"""A chart of Recurra's as an SVG file that stands alone: its legend drawn in, its colours for light and dark."""

from __future__ import annotations

import html
import re
from pathlib import Path

__all__ = ["write_chart"]

STYLE = """<style>
svg{background:#fff;font:13px system-ui,sans-serif}
text{fill:#333}.grid{stroke:#e4e4e4}.base,.mark{stroke:#888}.line{fill:none;stroke-width:1.6}.rule{stroke-dasharray:5 4}
.s0{--c:#2a6fdb}.s1{--c:#d9480f}.s2{--c:#2b8a3e}.s3{--c:#9c36b5}.s4{--c:#b08900}.s5{--c:#0b7285}
.s0,.s1,.s2,.s3,.s4,.s5{stroke:var(--c)}.dot{fill:var(--c);stroke:none}.key{stroke:none;fill:var(--c)}
@media(prefers-color-scheme:dark){svg{background:#151515}text{fill:#ddd}.grid{stroke:#333}
.s0{--c:#6ea8fe}.s1{--c:#ff922b}.s2{--c:#69db7c}.s3{--c:#e599f7}.s4{--c:#ffd43b}.s5{--c:#66d9e8}}
</style>"""
ROW = 20


def write_chart(path: Path, figure: str, title: str) -> None:
    """Write to `path` the SVG within `figure`, which `recurra.diagnostics.chart.line_chart` gives, with its legend."""
    inner = re.search(r'<svg viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>(.*)</svg>', figure, re.DOTALL)
    if inner is None:
        raise SystemExit(f"{path.name}: there is nothing to draw")
    width, height, body = float(inner[1]), float(inner[2]), inner[3].replace('<path class="pointer" d=""/>', "")
    entries = re.findall(r'<li class="(\w+)[^"]*">(.*?)</li>', figure)
    top = 30 + ROW * len(entries)
    parts = [f'<text x="14" y="20" font-weight="600">{html.escape(title)}</text>']
    for row, (style, name) in enumerate(entries):
        y = 38 + ROW * row
        parts.append(
            f'<rect class="{style} key" x="14" y="{y - 8}" width="14" height="4"/><text x="36" y="{y}">{name}</text>'
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height + top:g}" width="{width:g}" '
        f'height="{height + top:g}">{STYLE}{"".join(parts)}<g transform="translate(0 {top})">{body}</g></svg>\n',
        encoding="utf-8",
    )
