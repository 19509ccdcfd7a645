"""Two-dimensional recurrent nets over images, in up to four directions, an anti-diagonal at a time.

A pixel waits for the one to its left and the one above, so all pixels of an anti-diagonal can be computed at once. They
are laid out diagonal after diagonal, rows of the image within it, images within those: each diagonal is then one dense
batch of the cell's step, the input products of all pixels are one matrix product beforehand, and no position is
computed that is not in the image. In that layout the left neighbours of a diagonal are the previous diagonal's rows,
and those above the same rows one place further up, with a row of zeros at each end for what lies outside: the shift is
what keeps the engines for sequences, in which the rows of a batch never meet, from running the diagonals as time. So
the loop is here, over the step that the reference backend writes from the cell's equations.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from recurra.base.errors import ConfigError, ShapeError, message
from recurra.equations.cell import Cell
from recurra.kernels.reference.program import program
from recurra.layers.grid_cells import GRID_CELLS
from recurra.layers.unit import Unit, resolve

__all__ = ["DIRECTIONS", "Recurrent2d", "blocks", "diagonals"]

Direction = Literal["down_right", "down_left", "up_right", "up_left"]
DIRECTIONS: tuple[Direction, ...] = ("down_right", "down_left", "up_right", "up_left")
"""Ways to walk an image, by where the walk goes; `down_right` starts at the top left corner."""

_MERGES = ("concat", "sum", "mean")


class Diagonal(NamedTuple):
    """One anti-diagonal: how many of its pixels, and where their neighbours are in the padded one before."""

    pixels: int
    left: int
    up: int


@lru_cache(maxsize=64)
def diagonals(height: int, width: int) -> tuple[tuple[Diagonal, ...], Tensor]:
    """The anti-diagonals of an image, and its pixels (row-major numbers) in their order.

    >>> diagonals(2, 3)[1].tolist()
    [0, 1, 3, 2, 4, 5]
    """
    found, order, before = [], [], 0
    for diagonal in range(height + width - 1):
        first, last = max(0, diagonal - width + 1), min(diagonal, height - 1)
        order += [row * width + diagonal - row for row in range(first, last + 1)]
        # Row r of the one before stands at r - before + 1, behind the padding.
        found.append(Diagonal(last - first + 1, first - before + 1, first - before))
        before = first
    return tuple(found), torch.tensor(order)


def blocks(x: Tensor, block: tuple[int, int], sizes: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """x (B, H, W, C) cut into blocks of h x w pixels, each one input of h w C numbers: (B, H / h, W / w, h w C).

    Sides are rounded up and what is outside an image is 0; `sizes` (B, 2) become those in blocks.
    """
    high, wide = block
    if block == (1, 1):
        return x, sizes
    x = functional.pad(x, (0, 0, 0, -x.shape[2] % wide, 0, -x.shape[1] % high))
    batch, height, width, _ = x.shape
    cut = x.reshape(batch, height // high, high, width // wide, wide, -1).transpose(2, 3)
    small = None if sizes is None else -(-sizes // sizes.new_tensor(block))
    return cut.flatten(3), small


class Recurrent2d(nn.Module):
    """A two-dimensional recurrent layer over images (B, H, W, C).

    >>> import torch
    >>> layer = Recurrent2d("mdlstm", input_size=1, hidden_size=5, block=(2, 2))
    >>> y, corners = layer(torch.zeros(3, 8, 7, 1))
    >>> y.shape, corners[0].h.shape
    (torch.Size([3, 4, 4, 20]), torch.Size([3, 5]))

    Args:
        cell: a name ("mdrnn", "mdlstm", "stable_mdlstm", "leaky_lp"), or a Cell of your own as in grid_cells.
        input_size: C, numbers per pixel.
        hidden_size: units per direction.
        directions: which of DIRECTIONS, each with weights of its own.
        merge: how the directions are joined: "concat", "sum" or "mean".
        block: (h, w); the net walks over blocks of so many pixels (Graves and Schmidhuber 2009: sub-sampling windows).
        initializers: initialiser name or number per parameter or family, as in Recurrent.
        generator: random stream of the initial weights.

    """

    def __init__(
        self,
        cell: str | type[Cell] | Cell,
        input_size: int,
        hidden_size: int,
        *,
        directions: Sequence[Direction] = DIRECTIONS,
        merge: Literal["concat", "sum", "mean"] = "concat",
        block: tuple[int, int] = (1, 1),
        initializers: dict[str, str | float] | None = None,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        _check(input_size, hidden_size, directions, merge, block)
        self.cell = GRID_CELLS[cell]() if isinstance(cell, str) else resolve(cell)
        states = self.cell.spec.states
        half = len(states) // 2
        if states[half:] != tuple(f"{name}_up" for name in states[:half]):
            fact = f"the states of {self.cell.name} must be those of the left neighbour and then the same with _up"
            raise ConfigError(message("Recurrent2d", f"{fact}, got ({', '.join(states)})"))
        self.input_size, self.hidden_size, self.merge = input_size, hidden_size, merge
        self.directions, self.block = tuple(directions), (block[0], block[1])
        sizes = {"I": input_size * block[0] * block[1], "H": hidden_size}
        made = [Unit(self.cell, sizes, initializers=initializers, generator=generator) for _ in directions]
        self.units = cast("list[Unit]", nn.ModuleList(made))
        self.output_width = hidden_size * (len(made) if merge == "concat" else 1)

    def forward(self, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, tuple[Any, ...]]:
        """Walk the images.

        Args:
            x: (B, H, W, C).
            sizes: (B, 2) int64, height and width of each image, which fills the top left of its H x W; each direction
                starts at the image's own corner, and what is beyond changes nothing.

        Returns:
            Outputs (B, H', W', output_width), 0 beyond an image, with H' and W' in blocks, and for each direction the
            states (B, hidden_size) at the corner where its walk ends.

        """
        self._check_call(x, sizes)
        inside = None if sizes is None else _inside(sizes, x.shape[1], x.shape[2])
        if inside is not None:
            x = torch.where(inside.unsqueeze(-1), x, x.new_zeros(()))
        x, sizes = blocks(x, self.block, sizes)
        batch, height, width, _ = x.shape
        steps, order = diagonals(height, width)
        order = order.to(x.device)
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=x.device)
        flat = x.flatten(1, 2)
        outputs, corners = [], []
        for direction, unit in zip(self.directions, self.units, strict=True):
            turned = _turned(direction, height, width, sizes, x.device)
            read = flat[:, turned] if turned.dim() == 1 else _pick(flat, turned)
            states = self._walk(unit, read.transpose(0, 1).index_select(0, order), steps)
            # Every state of every pixel (B, H' W', size), as if each walk went down and right.
            walked = [part.index_select(0, back).transpose(0, 1) for part in states]
            end = (
                turned.new_full((batch,), height * width - 1)
                if sizes is None
                else (sizes[:, 0] - 1) * width + sizes[:, 1] - 1
            )
            rows = torch.arange(batch, device=x.device)
            names = unit.spec.states[: len(states)]
            corners.append(_corner(names)(*(part[rows, end.to(x.device)] for part in walked)))
            # Turning an image over is its own inverse.
            outputs.append(walked[0][:, turned] if turned.dim() == 1 else _pick(walked[0], turned))
        if self.merge == "concat":
            y = torch.cat(outputs, -1)
        else:
            y = torch.stack(outputs).sum(0) / (len(outputs) if self.merge == "mean" else 1)
        y = y.unflatten(1, (height, width))
        if sizes is not None:
            y = y * _inside(sizes, height, width).unsqueeze(-1)
        return y, tuple(corners)

    def _walk(self, unit: Unit, x: Tensor, steps: tuple[Diagonal, ...]) -> list[Tensor]:
        """x (pixels in diagonal order, B, I) -> each state that is handed on, (pixels, B, size)."""
        batch = x.shape[1]
        work = program(unit.spec)
        packed = work.pack(unit.named())
        parts = [diagonal.pixels * batch for diagonal in steps]
        pieces = [piece.split(parts) for piece in work.before(x.flatten(0, 1), packed)]
        sizes = unit.state_sizes[: len(unit.state_sizes) // 2]
        now = [x.new_zeros(0, batch, size) for size in sizes]
        walked: list[list[Tensor]] = []
        for index, diagonal in enumerate(steps):
            around = [functional.pad(part, (0, 0, 0, 0, 1, 1)) for part in now]
            left, up = (
                [part.narrow(0, at, diagonal.pixels).flatten(0, 1) for part in around]
                for at in (diagonal.left, diagonal.up)
            )
            after = work.step(*(piece[index] for piece in pieces), *left, *up, *packed)
            now = [part.unflatten(0, (diagonal.pixels, batch)) for part in after[: len(sizes)]]
            walked.append(now)
        return [torch.cat(parts) for parts in zip(*walked, strict=True)]

    def parameter_count(self) -> int:
        """Numbers in all parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def extra_repr(self) -> str:
        """What print(layer) says of it."""
        kind = f"{self.cell.name}, {len(self.directions)} directions, block {self.block[0]} x {self.block[1]}"
        return f"{kind}, {self.input_size} -> {self.output_width}, {self.parameter_count():,} parameters"

    def _check_call(self, x: Tensor, sizes: Tensor | None) -> None:
        where = "Recurrent2d.forward"
        if x.dim() != 4 or x.shape[3] != self.input_size or 0 in x.shape[:3]:
            fact = f"x must be (B, H, W, C) with C = {self.input_size} and no empty side, got {tuple(x.shape)}"
            raise ShapeError(message(where, fact, hint="channels last; x.movedim(1, -1) turns (B, C, H, W)."))
        like = next(self.parameters())
        if x.dtype != like.dtype:
            raise ShapeError(
                message(where, f"x is {x.dtype}, the weights are {like.dtype}", hint=f"x.to({like.dtype})")
            )
        if sizes is None:
            return
        if tuple(sizes.shape) != (x.shape[0], 2) or sizes.is_floating_point():
            got = f"{tuple(sizes.shape)} {sizes.dtype}"
            raise ShapeError(message(where, f"sizes must be (B, 2) = ({x.shape[0]}, 2) integers, got {got}"))
        for column, name, limit in ((0, "heights", x.shape[1]), (1, "widths", x.shape[2])):
            low, high = int(sizes[:, column].min()), int(sizes[:, column].max())
            if low < 1 or high > limit:
                raise ShapeError(message(where, f"{name} must lie in 1..{limit}, got {low}..{high}"))


@lru_cache(maxsize=64)
def _corner(names: tuple[str, ...]) -> Any:
    """The NamedTuple of what is handed on, each (B, size)."""
    return namedtuple("corner_state", names)


def _inside(sizes: Tensor, height: int, width: int) -> Tensor:
    """(B, 2) -> (B, H, W) bool, true on pixels that exist."""
    rows = torch.arange(height, device=sizes.device) < sizes[:, :1]
    columns = torch.arange(width, device=sizes.device) < sizes[:, 1:]
    return rows.unsqueeze(2) & columns.unsqueeze(1)


def _turned(direction: str, height: int, width: int, sizes: Tensor | None, device: torch.device) -> Tensor:
    """Where each pixel comes from when the image is turned so that the walk goes down and right.

    (H W,), or (B, H W) where images have sizes of their own; padding stays where it is.
    """
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    if sizes is not None:
        rows, columns = rows.expand(len(sizes), -1), columns.expand(len(sizes), -1)
    high = height if sizes is None else sizes[:, :1].to(device)
    wide = width if sizes is None else sizes[:, 1:].to(device)
    if direction.startswith("up"):
        rows = torch.where(rows < high, high - 1 - rows, rows)
    if direction.endswith("left"):
        columns = torch.where(columns < wide, wide - 1 - columns, columns)
    return (rows.unsqueeze(-1) * width + columns.unsqueeze(-2)).flatten(-2)


def _pick(flat: Tensor, index: Tensor) -> Tensor:
    """Rows index (B, P) of flat (B, P, F)."""
    return flat.gather(1, index.unsqueeze(-1).expand(-1, -1, flat.shape[2]))


def _check(input_size: int, hidden_size: int, directions: Sequence[str], merge: str, block: tuple[int, int]) -> None:
    """Raises ConfigError with all mistakes at once."""
    faults = [
        f"{name} must be a whole number from 1, got {value!r}"
        for name, value in (("input_size", input_size), ("hidden_size", hidden_size))
        if not isinstance(value, int) or isinstance(value, bool) or value < 1
    ]
    wrong = [name for name in directions if name not in DIRECTIONS]
    if wrong or not directions or len(set(directions)) < len(directions):
        faults.append(f"directions must be some of {', '.join(DIRECTIONS)}, each once, got {', '.join(directions)}")
    if merge not in _MERGES:
        faults.append(f"merge must be one of {', '.join(_MERGES)}, got {merge!r}")
    if len(block) != 2 or any(not isinstance(side, int) or side < 1 for side in block):
        faults.append(f"block must be two whole numbers from 1, got {block!r}")
    if faults:
        raise ConfigError(message("Recurrent2d", "the arguments do not fit", *faults))
