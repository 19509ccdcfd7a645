"""A forest is a value: many trees of any shapes as index tensors, sorted by height once, for nets that climb them.

Height is the longest way down to a leaf. All nodes of one height can be computed at once, so a net takes as many steps
as the highest tree is high, however many nodes there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recurra.base.errors import DataError, message

__all__ = ["Forest", "Level"]

Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Level:
    """The nodes of one height above 0, m of them, and their c children.

    While a net climbs it keeps a pool: the nodes done whose parents are not. At each level the pool is what was left of
    it and behind that the level below; `take` picks from it first the children of this level's nodes (parent by
    parent, left to right) and then what is left.
    """

    size: int
    take: Tensor
    """Rows of the pool, int64: c children, then the new rest."""
    parent: Tensor
    """(c,) which of the m nodes each child belongs to."""
    position: Tensor
    """(c,) 0 for a node's first child, 1 for its second ..."""
    first: Tensor
    """(m + 1,) where each node's children begin among the c, and at last c."""
    uniform: int
    """How many children every node of the level has, if all have as many; else 0."""

    @property
    def children(self) -> int:
        """c."""
        return self.parent.shape[0]

    def total(self, parts: Tensor) -> Tensor:
        """What belongs to children, (c, F), added up for each node, (m, F)."""
        if self.uniform == 1:
            return parts
        if self.uniform:
            return torch.sum(parts.view(self.size, self.uniform, -1), 1)
        return parts.new_zeros(self.size, parts.shape[1]).index_add(0, self.parent, parts)


@dataclass(frozen=True)
class Forest:
    """B trees with N nodes in all, numbered one tree after the other as they were given.

    >>> forest = Forest.from_parents([[-1, 0, 0, 2, 2], [-1]])
    >>> forest.nodes, forest.trees, forest.height, forest.roots.tolist(), forest.leaves.tolist()
    (6, 2, 2, [0, 5], [1, 3, 4, 5])
    """

    parents: Tensor
    """(N,) int64, -1 at a root."""
    tree: Tensor
    """(N,) which tree a node belongs to."""
    roots: Tensor
    """(B,) the root of each tree."""
    leaves: Tensor
    """The nodes without children, in order."""
    order: Tensor
    """(N,) all nodes by height, those of one height in their own order."""
    rank: Tensor
    """(N,) where each node stands in `order`."""
    levels: tuple[Level, ...]
    """Heights 1, 2, ..."""
    arity: int
    """The largest number of children."""

    @property
    def nodes(self) -> int:
        """N."""
        return self.parents.shape[0]

    @property
    def trees(self) -> int:
        """B."""
        return self.roots.shape[0]

    @property
    def height(self) -> int:
        """Of the highest tree; 0 where all are single nodes."""
        return len(self.levels)

    @classmethod
    def from_parents(cls, parents: Sequence[Sequence[int] | Array]) -> Forest:
        """From one array per tree: the parent of every node within its tree, -1 at the root.

        A node's children are in the order of their numbers. Raises DataError for a tree without nodes, without a root
        or with several, for a parent that does not exist, and for a cycle.
        """
        where = "Forest.from_parents"
        if not len(parents):
            raise DataError(message(where, "no trees were given"))
        arrays = [_checked(array, index) for index, array in enumerate(parents)]
        sizes = np.array([len(array) for array in arrays])
        starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        tree = np.repeat(np.arange(len(arrays)), sizes)
        joined = np.concatenate(arrays)
        joined = np.where(joined >= 0, joined + starts[tree], -1)
        count = np.bincount(joined[joined >= 0], minlength=len(joined))
        height = _heights(joined, count, tree, starts)
        order = np.argsort(height, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        return cls(
            torch.as_tensor(joined),
            torch.as_tensor(tree),
            torch.as_tensor(np.flatnonzero(joined < 0)),
            torch.as_tensor(np.flatnonzero(count == 0)),
            torch.as_tensor(order),
            torch.as_tensor(rank),
            tuple(_levels(joined, height, order, rank, count)),
            int(count.max()),
        )

    def to(self, device: torch.device | str) -> Forest:
        """The same forest on `device`."""

        def move(part: Any) -> Any:
            if isinstance(part, Tensor):
                return part.to(device)
            if isinstance(part, Level):
                return replace(part, **{f.name: move(getattr(part, f.name)) for f in fields(part)})
            return tuple(move(level) for level in self.levels) if part is self.levels else part

        return replace(self, **{f.name: move(getattr(self, f.name)) for f in fields(self)})


def _checked(array: Sequence[int] | Array, index: int) -> Array:
    where, given = "Forest.from_parents", np.asarray(array)
    if given.ndim != 1 or not given.size:
        raise DataError(message(where, f"tree {index} must be a list of parents, got shape {given.shape}"))
    if not np.issubdtype(given.dtype, np.integer):
        raise DataError(message(where, f"the parents of tree {index} must be whole numbers, got {given.dtype}"))
    parents = given.astype(np.int64)
    roots = int((parents == -1).sum())
    if roots != 1:
        raise DataError(message(where, f"tree {index} must have one root (parent -1), it has {roots}"))
    outside = np.flatnonzero((parents < -1) | (parents >= len(parents)))
    if outside.size:
        node = int(outside[0])
        fact = f"node {node} of tree {index} has parent {parents[node]}, there are nodes 0..{len(parents) - 1}"
        raise DataError(message(where, fact))
    return parents


def _heights(parents: Array, count: Array, tree: Array, starts: Array) -> Array:
    """Every leaf climbs at once; the last to pass a node has come the longest way."""
    # Up to the roots by doubling: whoever is still below somebody after N steps runs in a circle.
    above = parents
    for _ in range(max(1, len(parents).bit_length())):
        if (above < 0).all():
            break
        above = np.where(above >= 0, above[above], -1)
    if (above >= 0).any():
        node = int(np.flatnonzero(above >= 0)[0])
        fact = f"node {node - starts[tree[node]]} of tree {tree[node]} is its own ancestor or below one that is"
        raise DataError(message("Forest.from_parents", fact))
    height = np.zeros(len(parents), np.int64)
    passed = np.zeros(len(parents), np.bool_)
    climbing = np.flatnonzero(count == 0)
    step = 0
    while climbing.size:
        # Whoever has climbed to the same node goes on as one.
        above = parents[climbing]
        passed[:] = False
        passed[above[above >= 0]] = True
        climbing = np.flatnonzero(passed)
        step += 1
        height[climbing] = step
    return height


def _levels(parents: Array, height: Array, order: Array, rank: Array, count: Array) -> list[Level]:
    below = np.flatnonzero(parents >= 0)
    below = below[np.argsort(rank[parents[below]], kind="stable")]
    of = parents[below]
    # A node's children stand together: the place within the run is the position.
    position = np.arange(len(below)) - np.searchsorted(rank[of], rank[of], "left")
    sizes = np.bincount(height)
    ends = np.cumsum(sizes)
    level_of = height[of]
    place = np.zeros(len(parents), np.int64)
    rest, done = np.empty(0, np.int64), order[: sizes[0]]
    levels: list[Level] = []
    for level in range(1, len(sizes)):
        nodes = order[ends[level - 1] : ends[level]]
        first, last = np.searchsorted(level_of, (level, level + 1))
        children = below[first:last]
        pool = np.concatenate((rest, done))
        place[pool] = np.arange(len(pool))
        waits = (parents[pool] >= 0) & (height[parents[pool]] > level)
        rest, done = pool[waits], nodes
        counts = count[nodes]
        levels.append(
            Level(
                len(nodes),
                torch.as_tensor(place[np.concatenate((children, rest))]),
                torch.as_tensor(rank[of[first:last]] - (ends[level - 1])),
                torch.as_tensor(position[first:last]),
                torch.as_tensor(np.concatenate(([0], np.cumsum(counts)))),
                int(counts[0]) if (counts == counts[0]).all() else 0,
            )
        )
    return levels
