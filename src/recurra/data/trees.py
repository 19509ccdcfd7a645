"""Trees with words at their leaves and labels at their nodes: from nested lists and from Penn Treebank brackets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from recurra.base.errors import DataError, message
from recurra.base.forest import Forest

__all__ = ["Tree", "forest", "from_nested", "parse"]

# A non-breaking space belongs to its word ("8 1\/2" in the Stanford Treebank).
_TOKEN = re.compile(r"\(|\)|[^ \t\r\n()]+")


class Tree(NamedTuple):
    """One tree; its n nodes are numbered from the root down, each before its children, those left to right."""

    parents: list[int]
    """Of each node; -1 at the root."""
    labels: list[str]
    """Of each node; empty where there was none."""
    words: list[str]
    """At the leaves, left to right: what stands at the nodes that are nobody's parent, in their order."""


def from_nested(nested: Any) -> Tree:
    """A tree from lists within lists; whatever is no list or tuple is a leaf.

    >>> from_nested([["the", "cat"], "sat"])
    Tree(parents=[-1, 0, 1, 1, 0], labels=['', '', '', '', ''], words=['the', 'cat', 'sat'])
    """
    parents: list[int] = []
    words: list[str] = []
    # Depth first without recursion: a left-branching sentence may be deeper than Python's stack.
    waiting: list[tuple[Any, int]] = [(nested, -1)]
    while waiting:
        part, parent = waiting.pop()
        parents.append(parent)
        if isinstance(part, (list, tuple)):
            if not part:
                raise DataError(message("trees.from_nested", f"node {len(parents) - 1} is an empty list"))
            waiting += [(child, len(parents) - 1) for child in reversed(part)]
        else:
            words.append(str(part))
    return Tree(parents, [""] * len(parents), words)


def parse(text: str, where: str = "trees.parse") -> list[Tree]:
    """All trees of a text in brackets: "(label child child ...)" or "(label word)", as in the Penn Treebank.

    Raises DataError with line and column where brackets or words do not fit.

    >>> parse("(3 (2 It) (4 (2 works) (2 .)))")[0]
    Tree(parents=[-1, 0, 0, 2, 2], labels=['3', '2', '4', '2', '2'], words=['It', 'works', '.'])
    """
    trees: list[Tree] = []
    tree = Tree([], [], [])
    open_nodes: list[int] = []
    # Per open node: whether it has a label yet, and a word, and how many children.
    labelled: list[bool] = []
    filled: list[str] = []

    def wrong(at: int, fact: str) -> DataError:
        before = text[:at]
        column = at - (before.rfind("\n") + 1) + 1
        return DataError(message(where, f"line {before.count(chr(10)) + 1}, column {column}: {fact}"))

    for found in _TOKEN.finditer(text):
        token, at = found[0], found.start()
        if token == "(":
            if open_nodes and filled[-1] == "word":
                raise wrong(at, "a node has a word already, so no children")
            if open_nodes:
                filled[-1] = "children"
            tree.parents.append(open_nodes[-1] if open_nodes else -1)
            tree.labels.append("")
            open_nodes.append(len(tree.parents) - 1)
            labelled.append(False)
            filled.append("")
        elif token == ")":
            if not open_nodes:
                raise wrong(at, "')' closes nothing")
            if not filled[-1]:
                raise wrong(at, "a node has neither a word nor children")
            for stack in (open_nodes, labelled, filled):
                stack.pop()
            if not open_nodes:
                trees.append(tree)
                tree = Tree([], [], [])
        elif not open_nodes:
            raise wrong(at, f"{token!r} stands outside all brackets")
        elif not labelled[-1] and not filled[-1]:
            tree.labels[open_nodes[-1]] = token
            labelled[-1] = True
        elif filled[-1]:
            raise wrong(at, f"the word {token!r} comes too late: the node has {filled[-1]} already")
        else:
            tree.words.append(token)
            filled[-1] = "word"
    if open_nodes:
        raise wrong(len(text), f"{len(open_nodes)} brackets are still open at the end")
    return trees


def forest(trees: Sequence[Tree]) -> Forest:
    """The trees as one batch; node numbers and the order of words are those of the trees, one after the other."""
    return Forest.from_parents([tree.parents for tree in trees])
