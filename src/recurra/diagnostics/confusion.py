"""The picture of a confusion matrix, with its counts as a table."""

from __future__ import annotations

import html
from collections.abc import Sequence

from recurra.diagnostics.heatmap import heatmap

__all__ = ["confusion_chart"]

_SHORT = 3


def confusion_chart(
    counts: Sequence[Sequence[int]], names: Sequence[str], *, row_label: str = "label", column_label: str = "predicted"
) -> str:
    """Return HTML: a heat map of counts (K, K), rows are the labels, shaded by their shares, and the counts below."""
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    # The squares are narrow: long names are numbered, and the table below says which is which.
    short = list(names) if max(map(len, names)) <= _SHORT else [str(number + 1) for number in range(len(names))]
    chart = heatmap(shares, short, short, row_label=row_label, column_label=column_label, label="confusion")
    full = [name if name == mark else f"{mark} {name}" for mark, name in zip(short, names, strict=True)]
    head = "".join(f'<th style="width:auto">{html.escape(name)}</th>' for name in full)
    rows = [
        f'<tr><th scope="row" style="width:auto">{html.escape(name)}</th>'
        + "".join(f"<td>{count:,}</td>" for count in row)
        + "</tr>"
        for name, row in zip(full, counts, strict=True)
    ]
    table = f'<table><tr><th style="width:auto"></th>{head}</tr>{"".join(rows)}</table>'
    return f'{chart}<div class="wide">{table}</div>'
