"""The plan: what runs once, what runs before the loop, what is stacked, what is left in the step."""

from __future__ import annotations

import pytest

from recurra.cells import CELLS
from recurra.equations.transform import with_recurrent_dropout, with_zoneout
from recurra.kernels.plan import Plan
from unit.kernels.odd_cells import ODD

EVERY = {name: CELLS[name]() for name in CELLS} | {name: cell() for name, cell in ODD.items()}


def stacks(found):
    """Per stack: the matrices, and what is added to each product."""
    names = [[str(matrix.value) for matrix in stack.matrices] for stack in found]
    return [(rows, bool(stack.addends)) for rows, stack in zip(names, found, strict=True)]


@pytest.mark.parametrize(
    ("name", "before", "inside"),
    [
        # Matrices of each stack, and whether the sums are done in the product.
        ("elman", [(["W"], True)], [(["U"], True)]),
        ("lstm", [([f"W.{g}" for g in "ifgo"], True)], [([f"U.{g}" for g in "ifgo"], True)]),
        # The bias of the candidate stands inside the reset, so its recurrent product is added to nothing known earlier.
        ("gru", [(["W.r", "W.z", "W.n"], True)], [(["U.r", "U.z", "U.n"], False)]),
        ("gru_v1", [(["W.r", "W.z", "W.n"], True)], [(["U.r", "U.z"], True), (["U.n"], True)]),
        ("jordan", [(["W.h"], True)], [(["U.h"], True), (["V.y"], False)]),
        ("minimal_gated_unit", [(["W.f", "W.n"], True)], [(["U.f"], True), (["U.n"], True)]),
        # Normalised before they are added.
        ("layer_norm_lstm", [([f"W.{g}" for g in "ifgo"], False)], [([f"U.{g}" for g in "ifgo"], False)]),
        # Peepholes are added to the same sums, which changes nothing for the products.
        ("peephole_lstm", [([f"W.{g}" for g in "ifgo"], True)], [([f"U.{g}" for g in "ifgo"], True)]),
        ("scalars_added", [(["W.g"], False)], [(["U.i", "U.g"], False)]),
        ("product_used_twice", [(["W"], False)], [(["U"], False)]),
        ("product_is_a_state_too", [(["W"], False)], [(["U"], False)]),
        ("input_product_used_twice", [(["W"], False)], [(["U.a", "U.b"], False)]),
    ],
)
def test_stacks(name, before, inside):
    plan = Plan(EVERY[name].spec)
    assert stacks(plan.input_stacks) == before
    assert stacks(plan.stacks) == inside


@pytest.mark.parametrize("name", EVERY)
def test_each_value_is_computed_where_it_can_be(name):
    spec = EVERY[name].spec
    plan = Plan(spec)
    below = {}
    for node in plan.nodes:
        below[node] = {node.op}.union(*(below[arg] for arg in node.args))
        touches_state, touches_input = "state" in below[node] or "extra" in below[node], "input" in below[node]
        assert plan.kind(node) == ("body" if touches_state else "hoisted" if touches_input else "fixed")
    assert all("state" in below[node] for node in plan.body)
    assert not any({"state", "extra"} & below[node] for node in (*plan.hoisted, *plan.fixed))
    assert len(plan.roots) == len(spec.states)


@pytest.mark.parametrize("name", EVERY)
def test_stacks_hold_every_product_once(name):
    plan = Plan(EVERY[name].spec)
    held = [product for stack in (*plan.input_stacks, *plan.stacks) for product in stack.products]
    assert len(set(held)) == len(held)
    assert set(held) == {node for node in plan.nodes if node.op == "matmul" and plan.kind(node) != "fixed"}
    for stack in (*plan.input_stacks, *plan.stacks):
        assert all(product.args[1] is stack.operand for product in stack.products)
        assert len(stack.pieces) == len(stack.products)
        for product, addend, total in zip(stack.products, stack.addends, stack.sums, strict=False):
            assert set(total.args) == {product, addend}


@pytest.mark.parametrize("name", EVERY)
def test_the_body_is_in_order(name):
    plan = Plan(EVERY[name].spec)
    known = {node for node in plan.nodes if not node.args or plan.kind(node) != "body"}
    for node in plan.body:
        assert set(node.args) <= known
        known.add(node)
    assert set(plan.roots) <= known


def test_parameters_among_themselves_run_once():
    plan = Plan(EVERY["parameters_among_themselves"].spec)
    assert sorted(node.op for node in plan.fixed) == ["mul", "sigmoid"]
    assert not any(node.op == "exp" for node in (*plan.body, *plan.hoisted))


def test_what_needs_no_state_is_hoisted():
    plan = Plan(EVERY["deep_input"].spec)
    assert sorted(stack.operand.op for stack in plan.input_stacks) == ["input", "mul", "tanh"]
    assert not [node for node in plan.body if node.op == "sum"]
    assert [node.op for node in plan.body].count("matmul") == 1
    assert [str(stack.matrices[0].value) for stack in plan.stacks] == ["U.a"]


def test_options_keep_the_input_product_outside():
    plan = Plan(with_zoneout(with_recurrent_dropout(EVERY["lstm"].spec), ("h", "c")))
    assert stacks(plan.input_stacks) == [([f"W.{g}" for g in "ifgo"], True)]
    assert stacks(plan.stacks) == [([f"U.{g}" for g in "ifgo"], True)]
    assert plan.stacks[0].operand.op == "mul"


def test_users():
    plan = Plan(EVERY["elman"].spec)
    (root,) = plan.roots
    assert plan.users[root] == []
    assert all(node in plan.users[arg] for node in plan.nodes for arg in node.args)
