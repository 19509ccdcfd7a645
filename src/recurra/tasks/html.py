"""Tables of a measurement as HTML."""

from __future__ import annotations

import html

from recurra.tasks.task import Table

__all__ = ["html_table"]


def html_table(table: Table) -> str:
    """Return a table as HTML, its texts escaped."""
    head = "".join(f'<th style="width:auto">{html.escape(cell)}</th>' for cell in table.head)
    rows = []
    for name, *cells in table.rows:
        values = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        rows.append(f'<tr><th scope="row" style="width:auto">{html.escape(name)}</th>{values}</tr>')
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'
