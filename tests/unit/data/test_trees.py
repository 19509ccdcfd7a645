"""Trees from nested lists and brackets, and what is wrong with them."""

from __future__ import annotations

import pytest

from recurra.base.errors import DataError
from recurra.data.trees import forest, from_nested, parse


def test_brackets_and_nested_lists_agree():
    text = "(3 (2 (2 The) (2 Rock)) (4 (3 is) (2 destined)))\n(1 no)"
    first, second = parse(text)
    assert first.words == ["The", "Rock", "is", "destined"]
    assert first.labels == ["3", "2", "2", "2", "4", "3", "2"]
    assert first.parents == [-1, 0, 1, 1, 0, 4, 4]
    assert second == ([-1], ["1"], ["no"])
    nested = from_nested([["The", "Rock"], ["is", "destined"]])
    assert nested.parents == first.parents
    assert nested.words == first.words
    both = forest([first, second])
    assert both.roots.tolist() == [0, 7]
    assert both.leaves.tolist() == [2, 3, 5, 6, 7]


def test_wide_deep_and_unlabelled():
    assert parse("(S (A a) (B b) (C c) (D d))")[0].parents == [-1, 0, 0, 0, 0]
    empty_label = parse("( (S (A a)))")[0]
    assert empty_label.labels == ["", "S", "A"]
    depth = 5000
    deep = parse("(x " * depth + "w" + ")" * depth)[0]
    assert len(deep.parents) == depth
    nested = "w"
    for _ in range(depth):
        nested = [nested]
    assert forest([from_nested(nested), deep]).height == depth


def test_a_non_breaking_space_is_part_of_a_word():
    assert parse("(2 3\u00a01\\/2)")[0].words == ["3\u00a01\\/2"]


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("(1 a", "line 1, column 5: 1 brackets are still open at the end"),
        ("(1 a))", "line 1, column 6: '[)]' closes nothing"),
        ("(1 a)\nb (1 c)", "line 2, column 1: 'b' stands outside all brackets"),
        ("(1)", "line 1, column 3: a node has neither a word nor children"),
        ("(1 (2 a)\n b)", "line 2, column 2: the word 'b' comes too late: the node has children already"),
        ("(1 a (2 b))", "line 1, column 6: a node has a word already, so no children"),
        ("(1 a b)", "line 1, column 6: the word 'b' comes too late: the node has word already"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text, fact):
    with pytest.raises(DataError, match=f"bank.txt: {fact}"):
        parse(text, "bank.txt")


def test_an_empty_list_is_no_node():
    with pytest.raises(DataError, match="node 2 is an empty list"):
        from_nested(["a", []])
    assert parse("") == []
