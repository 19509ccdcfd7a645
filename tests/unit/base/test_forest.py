"""Forests: numbering, heights, levels, and what is no tree."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.base.errors import DataError
from recurra.base.forest import Forest


def heights(parents):
    def below(node):
        return 1 + max((below(child) for child, parent in enumerate(parents) if parent == node), default=-1)

    return [below(node) for node in range(len(parents))]


def test_levels_hold_every_child_once_and_in_order():
    generator = np.random.default_rng(0)
    shapes = []
    for size in (1, 2, 7, 30, 64):
        parents = [-1, *(int(generator.integers(node)) for node in range(1, size))]
        order = generator.permutation(size)
        mixed = np.full(size, -1)
        for node, parent in enumerate(parents):
            mixed[order[node]] = -1 if parent < 0 else order[parent]
        shapes.append(mixed)
    forest = Forest.from_parents(shapes)
    want = np.concatenate([heights(list(shape)) for shape in shapes])
    assert forest.height == want.max()
    assert (np.sort(want, kind="stable") == want[forest.order]).all()
    assert (forest.order[forest.rank] == torch.arange(forest.nodes)).all()
    # Climbing with node numbers in place of states, every node meets its own children, left to right.
    parents = forest.parents.tolist()
    pool = forest.order[: int((torch.from_numpy(want) == 0).sum())]
    at = len(pool)
    for level in forest.levels:
        nodes = forest.order[at : at + level.size]
        at += level.size
        children, rest = pool[level.take].tensor_split((level.children,))
        for local, node in enumerate(nodes.tolist()):
            mine = [child for child, parent in enumerate(parents) if parent == node]
            assert children[level.parent == local].tolist() == mine
            assert level.position[level.parent == local].tolist() == list(range(len(mine)))
        pool = torch.cat((rest, nodes))
    assert at == forest.nodes
    assert set(pool.tolist()) <= set(forest.roots.tolist())


def test_roots_leaves_and_trees():
    forest = Forest.from_parents([[2, 2, -1], [-1], [-1, 0]])
    assert forest.roots.tolist() == [2, 3, 4]
    assert forest.leaves.tolist() == [0, 1, 3, 5]
    assert forest.tree.tolist() == [0, 0, 0, 1, 2, 2]
    assert forest.arity == 2
    assert forest.to("cpu").levels[0].uniform == 0
    assert Forest.from_parents([[-1, 0, 0], [-1, 0, 0]]).levels[0].uniform == 2


@pytest.mark.parametrize(
    ("trees", "fact"),
    [
        ([], "no trees were given"),
        ([[-1], []], "tree 1 must be a list of parents"),
        ([[[-1]]], "tree 0 must be a list of parents"),
        ([[-1.0, 0.5]], "must be whole numbers, got float64"),
        ([[-1, -1]], "tree 0 must have one root .parent -1., it has 2"),
        ([[0]], "it has 0"),
        ([[-1], [-1, 7]], "node 1 of tree 1 has parent 7, there are nodes 0..1"),
        ([[-1, -3]], "has parent -3"),
        ([[-1], [-1, 2, 1]], "node 1 of tree 1 is its own ancestor"),
        ([[-1, 1, 1]], "node 1 of tree 0 is its own ancestor"),
        ([[-1, 2, 3, 1, 3]], "is its own ancestor or below one that is"),
    ],
)
def test_what_is_no_tree(trees, fact):
    with pytest.raises(DataError, match=fact):
        Forest.from_parents(trees)
