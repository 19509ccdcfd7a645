"""The computation graph of a cell as SVG, from its equations: nodes are operations, left to right in order of need.

Layered drawing after Sugiyama, Tagawa and Toda 1981: each node a column right of everything it needs, long edges
through invisible stations, columns ordered by the mean place of their neighbours until crossings no longer fall.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple

from recurra.equations.expr import Expr
from recurra.equations.show import text
from recurra.equations.spec import CellSpec

__all__ = ["Box", "cell_graph", "draw", "layout"]


class Box(NamedTuple):
    """One node: what is written in it, what kind it is (for its looks), and the keys of the nodes it needs."""

    label: str
    kind: str
    """input, state, param, affine, gate, op, next."""
    needs: tuple[str, ...]
    name: str = ""
    """The equations' own name of the value, written beside the box."""


_SIGNS = {
    "add": "+", "sub": "−", "mul": "⊙", "div": "÷", "neg": "−", "sigmoid": "σ", "tanh": "tanh", "relu": "relu",
    "exp": "exp", "log": "log", "softplus": "softplus", "abs": "|·|", "sqrt": "√", "minimum": "min", "maximum": "max",
    "less": "<", "select": "where", "softmax": "softmax", "layer_norm": "LN", "rms_norm": "RMS", "sum": "Σ",
    "mean": "mean", "largest": "largest", "matmul": "@",
}  # fmt: skip
_BENT = ("sigmoid", "tanh", "relu", "softplus", "softmax")


def cell_graph(spec: CellSpec, *, detail: bool = False) -> dict[str, Box]:
    """The operations of one step by a key of their own, each behind those it needs.

    A sum of matrix products and biases is one box, `W_i x + U_i h + b_i`, unless `detail` asks for every operation.
    Numbers and lone parameters are written into the operation that reads them.

    >>> from recurra.cells import CELLS
    >>> [box.label for box in cell_graph(CELLS["elman"]().spec).values()]
    ['x', 'h', 'W x + U h + b', 'tanh', "h'"]
    """
    named = {node: name for name, node in reversed(spec.names)}
    boxes: dict[str, Box] = {}
    keys: dict[Expr, str] = {}
    for name in ("x", *spec.states):
        node = spec.symbol(name)
        if name != "x" or node in spec.nodes:
            keys[node] = f"0 {name}"
            boxes[keys[node]] = Box(name, "input" if name == "x" else "state", ())
    inner = set() if detail else _inside_affine(spec, named)
    for node in spec.nodes:
        if node in keys or node in inner or not node.args:
            continue
        key = f"{len(boxes)} {node.op}"
        if not detail and _is_affine(node):
            needs = _unique(keys[leaf] for leaf in _operands(node, keys))
            boxes[key] = Box(_written(node, keys, named), "affine", needs, "")
        else:
            needs = _unique(keys[arg] for arg in node.args if arg in keys)
            boxes[key] = Box(_label(node, keys), "gate" if node.op in _BENT else "op", needs)
        keys[node] = key
        if node in named and not _is_next(spec, node):
            boxes[key] = boxes[key]._replace(name=_plain(named[node]))
    for state, node in spec.after.items():
        needs = (keys[node],) if node in keys else ()
        boxes[f"{state}'"] = Box(f"{state}'", "next", needs)
    return boxes


def _is_next(spec: CellSpec, node: Expr) -> bool:
    return any(node is after for after in spec.after.values())


def _is_affine(node: Expr) -> bool:
    """A sum (or difference) of matrix products and parameters, with a product in it."""
    if node.op == "matmul":
        return True
    return node.op in ("add", "sub") and all(_is_affine(arg) or arg.op == "param" for arg in node.args)


def _inside_affine(spec: CellSpec, named: Mapping[Expr, str]) -> set[Expr]:
    """Nodes that are drawn as part of a larger affine box: those that nothing else reads and that have no name."""
    users: dict[Expr, list[Expr]] = {}
    for node in spec.nodes:
        for arg in node.args:
            users.setdefault(arg, []).append(node)
    nexts = set(spec.after.values())
    return {
        node
        for node in spec.nodes
        if node.args
        and _is_affine(node)
        and node not in named
        and node not in nexts
        and len(users.get(node, [])) == 1
        and _is_affine(users[node][0])
        and users[node][0].op != "matmul"
    }


def _operands(node: Expr, keys: Mapping[Expr, str]) -> list[Expr]:
    """The drawn nodes that an affine box reads."""
    if node in keys:
        return [node]
    return [leaf for arg in node.args for leaf in _operands(arg, keys)]


def _written(node: Expr, keys: Mapping[Expr, str], named: Mapping[Expr, str]) -> str:
    """The sum in full; what is drawn elsewhere under its name, or as a dot where it has none."""
    symbols = {part: _plain(named[part]) if part in named else "·" for part in keys if part.args}
    return text(node, symbols)


def _label(node: Expr, keys: Mapping[Expr, str]) -> str:
    """The sign of an operation with the numbers and parameters it reads."""
    sign = _SIGNS[node.op]
    if len(node.args) != 2:
        return " ".join([sign, *(text(arg) for arg in node.args if arg not in keys)])
    left, right = ("" if arg in keys else text(arg) for arg in node.args)
    if node.op == "matmul":
        return left
    return f"{left} {sign} {right}".strip()


def _plain(name: str) -> str:
    return name.replace("_next", "'")


def _unique(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(keys))


# --- Layout ----------------------------------------------------------------------------------------------------------

_ROW, _GAP, _HIGH, _MARGIN = 46.0, 44.0, 28.0, 16.0


class Place(NamedTuple):
    """The middle of a box, and how wide it is; 0 for a station of a long edge."""

    x: float
    y: float
    width: float


def layout(boxes: Mapping[str, Box]) -> tuple[dict[str, Place], dict[tuple[str, str], list[str]]]:
    """Where each box stands, and through which keys each edge goes (its ends and the stations between)."""
    columns = _columns(boxes)
    last = max(columns.values())
    ranks: list[list[str]] = [[] for _ in range(last + 1)]
    for key, column in columns.items():
        ranks[column].append(key)
    routes: dict[tuple[str, str], list[str]] = {}
    neighbours: dict[str, tuple[list[str], list[str]]] = {key: ([], []) for key in boxes}
    for key, box in boxes.items():
        for need in box.needs:
            route = [need]
            for column in range(columns[need] + 1, columns[key]):
                station = f"{need} to {key} at {column}"
                ranks[column].append(station)
                neighbours[station] = ([], [])
                route.append(station)
            route.append(key)
            routes[need, key] = route
            for left, right in pairwise(route):
                neighbours[left][1].append(right)
                neighbours[right][0].append(left)
    ranks = _ordered(ranks, neighbours)
    ys = _heights(ranks, neighbours)
    places: dict[str, Place] = {}
    x = _MARGIN
    for rank in ranks:
        widest = max((_width(boxes[key]) for key in rank if key in boxes), default=0.0)
        for key in rank:
            places[key] = Place(x + widest / 2, ys[key], _width(boxes[key]) if key in boxes else 0.0)
        x += widest + _GAP
    return places, routes


def _columns(boxes: Mapping[str, Box]) -> dict[str, int]:
    columns: dict[str, int] = {}
    for key, box in boxes.items():
        columns[key] = 1 + max((columns[need] for need in box.needs), default=-1)
    last = max((columns[key] for key, box in boxes.items() if box.kind != "next"), default=0) + 1
    readers: dict[str, list[str]] = {}
    for key, box in boxes.items():
        if box.kind == "next":
            columns[key] = last
        for need in box.needs:
            readers.setdefault(need, []).append(key)
    for key, box in reversed(list(boxes.items())):
        # Nearer to its readers where more edges leave than come in: those grow shorter. So gates stand in a column.
        if box.needs and box.kind != "next" and len(readers.get(key, ())) > len(box.needs):
            columns[key] = min(columns[reader] for reader in readers[key]) - 1
    return columns


def _ordered(ranks: list[list[str]], neighbours: Mapping[str, tuple[list[str], list[str]]]) -> list[list[str]]:
    best, least = ranks, _crossings(ranks, neighbours)
    for sweep in range(24):
        side = sweep % 2
        order = range(1, len(ranks)) if side == 0 else range(len(ranks) - 2, -1, -1)
        ranks = [list(rank) for rank in ranks]
        for column in order:
            beside = {key: at for at, key in enumerate(ranks[column - 1 if side == 0 else column + 1])}
            now = {key: at for at, key in enumerate(ranks[column])}
            means = {
                key: sum(beside[other] for other in linked) / len(linked) if (linked := neighbours[key][side]) else at
                for key, at in now.items()
            }
            ranks[column].sort(key=lambda key, means=means: means[key])
        crossings = _crossings(ranks, neighbours)
        if crossings < least:
            best, least = ranks, crossings
    return best


def _crossings(ranks: list[list[str]], neighbours: Mapping[str, tuple[list[str], list[str]]]) -> int:
    total = 0
    for left, right in pairwise(ranks):
        place = {key: at for at, key in enumerate(right)}
        ends = [place[other] for key in left for other in sorted(neighbours[key][1], key=place.__getitem__)]
        total += sum(ends[i] > ends[j] for i in range(len(ends)) for j in range(i + 1, len(ends)))
    return total


def _heights(ranks: list[list[str]], neighbours: Mapping[str, tuple[list[str], list[str]]]) -> dict[str, float]:
    """Each as near to the middle of its neighbours as the order and the room between boxes allow."""
    ys = {key: at * _ROW for rank in ranks for at, key in enumerate(rank)}
    for _ in range(60):
        for rank in ranks:
            wanted = [
                sum(ys[other] for side in neighbours[key] for other in side) / count
                if (count := sum(map(len, neighbours[key])))
                else ys[key]
                for key in rank
            ]
            ys.update(zip(rank, _spread(wanted, _ROW), strict=True))
    top = min(ys.values())
    return {key: y - top + _MARGIN + _HIGH for key, y in ys.items()}


def _spread(wanted: list[float], room: float) -> list[float]:
    """Heights in order and at least `room` apart with the least squared move (pool adjacent violators)."""
    blocks: list[list[float]] = []  # sum of wished starts, count
    for index, y in enumerate(wanted):
        blocks.append([y - index * room, 1.0])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += count
    starts = [total / count for total, count in blocks for _ in range(int(count))]
    return [start + index * room for index, start in enumerate(starts)]


def _width(box: Box) -> float:
    return max(_HIGH, 14.0 + 7.4 * len(box.label))


# --- Drawing ---------------------------------------------------------------------------------------------------------

_STYLE = (
    "text{font:13px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:#1d1f23;text-anchor:middle}"
    ".name{font-style:italic;fill:#62666e;font-size:12px}.edge{fill:none;stroke:#8b8f96;stroke-width:1.3}"
    ".tip{fill:#8b8f96}.box{stroke-width:1.3}"
    ".input,.param{fill:#ecece6;stroke:#b9b9b2}.state,.next{fill:#d9e6f5;stroke:#1f5fa8}"
    ".affine{fill:#f5f5f0;stroke:#b9b9b2}.gate{fill:#f8e2d3;stroke:#c2571a}.op{fill:#fdfdfb;stroke:#8b8f96}"
)
_DARK = (
    "text{fill:#e6e5e0}.name{fill:#9b9fa6}.edge{stroke:#7a7f87}.tip{fill:#7a7f87}"
    ".input,.param{fill:#2b2f34;stroke:#565b62}.state,.next{fill:#1c3450;stroke:#6fa8e8}"
    ".affine{fill:#1e2125;stroke:#565b62}.gate{fill:#4a2d1b;stroke:#ec935c}.op{fill:#16181b;stroke:#7a7f87}"
)


def draw(spec: CellSpec, *, detail: bool = False) -> str:
    """The graph as SVG that stands alone, in the reader's light or dark.

    Blue: states before and after the step. Orange: nonlinearities. Grey: the input and what is linear.
    """
    boxes = cell_graph(spec, detail=detail)
    places, routes = layout(boxes)
    width = max(place.x + place.width / 2 for place in places.values()) + _MARGIN
    height = max(place.y for place in places.values()) + _HIGH / 2 + _MARGIN
    parts = [_edge([places[key] for key in route]) for route in routes.values()]
    for key, box in boxes.items():
        parts.append(_box(box, places[key]))
    # Within a page the style must not reach the other drawings.
    scoped = _scoped(_STYLE)
    dark = f"@media(prefers-color-scheme:dark){{{_scoped(_DARK)}}}"
    name = html.escape(f"computation graph of {spec.name}", quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="graph" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" aria-label="{name}">'
        f"<style>{scoped}{dark}</style>{''.join(parts)}</svg>\n"
    )


def _scoped(style: str) -> str:
    rules = [rule for rule in style.split("}") if rule]
    return "".join(
        ",".join(f".graph {one}" for one in selector.split(",")) + "{" + body + "}"
        for selector, _, body in (rule.partition("{") for rule in rules)
    )


def _box(box: Box, place: Place) -> str:
    left, top = place.x - place.width / 2, place.y - _HIGH / 2
    round_ = _HIGH / 2 if box.kind in ("op", "gate", "state", "next", "input") else 5
    parts = (
        f'<rect class="box {box.kind}" x="{left:.1f}" y="{top:.1f}" width="{place.width:.1f}" height="{_HIGH:g}" '
        f'rx="{round_:g}"/><text x="{place.x:.1f}" y="{place.y + 4.5:.1f}">{html.escape(box.label)}</text>'
    )
    if box.name:
        parts += f'<text class="name" x="{place.x:.1f}" y="{top - 4:.1f}">{html.escape(box.name)}</text>'
    return parts


def _edge(route: list[Place]) -> str:
    start, end = route[0], route[-1]
    x, y = start.x + start.width / 2, start.y
    path = f"M{x:.1f} {y:.1f}"
    stop = end.x - end.width / 2 - 5
    for place in route[1:]:
        to = stop if place is end else place.x
        bend = (to - x) * 0.5
        path += f"C{x + bend:.1f} {y:.1f} {to - bend:.1f} {place.y:.1f} {to:.1f} {place.y:.1f}"
        x, y = to, place.y
    tip = f'<path class="tip" d="M{stop + 5:.1f} {end.y:.1f}l-7 -3.6v7.2z"/>'
    return f'<path class="edge" d="{path}"/>{tip}'
