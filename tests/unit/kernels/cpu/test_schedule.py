"""Schedules of small expressions, made by hand: stages, sweeps, scratch memory, what is kept rather than computed."""

from __future__ import annotations

import pytest

from recurra.equations.expr import Expr, const, make
from recurra.kernels.cpu.schedule import Place, Product, Schedule, Segment, Target, expensive, spread_rows

A, B, WIDE = (make("extra", value=name) for name in ("a", "b", "wide"))
M = make("param", value="M")
LEAVES = {A: Place("extra", "a"), B: Place("extra", "b"), WIDE: Place("extra", "wide", "O")}
OUT, OTHER = Place("out", "h"), Place("out", "c")


def axis(node: Expr) -> str | None:
    if node is WIDE:
        return "O"
    if not node.args:
        return None if node.op == "const" else "H"
    if node.op in ("sum", "mean", "largest"):
        return None
    return next((found for found in map(axis, node.args) if found), None)


def schedule(*targets: Target, products: tuple[Product, ...] = (), late: tuple[Target, ...] = ()) -> Schedule:
    return Schedule(list(targets), LEAVES, list(products), axis, late)


def stores(segment: Segment) -> list[list[Place]]:
    return [[target.place for target in part.stores] for part in segment.passes]


def test_elementwise_work_is_one_sweep():
    made = schedule(Target(make("tanh", A + B), OUT), Target(A * B, OTHER))
    (segment,) = made.instructions
    assert isinstance(segment, Segment)
    assert not segment.by_rows
    assert stores(segment) == [[OUT, OTHER]]
    assert set(segment.slots) == {LEAVES[A], LEAVES[B], OUT, OTHER}
    assert set(made.places) == set(segment.slots)


def test_a_sum_ends_a_sweep():
    made = schedule(Target(A - make("mean", A), OUT))
    (segment,) = made.instructions
    assert segment.by_rows
    first, second = segment.passes
    assert (len(first.reduces), stores(segment)) == (1, [[], [OUT]])
    # What is in memory is loaded again rather than put by.
    assert second.loads == {A: LEAVES[A]}


def test_sums_of_sums_take_a_sweep_each():
    (normed,) = spread_rows([make("layer_norm", A * B, value=1e-5)])
    (segment,) = schedule(Target(normed, OUT)).instructions
    assert [len(part.reduces) for part in segment.passes] == [1, 1, 0]


def test_what_is_costly_is_put_by_between_sweeps_and_what_is_cheap_is_not():
    costly, cheap = make("tanh", A), A * B
    (segment,) = schedule(Target(costly - make("mean", costly), OUT)).instructions
    (kept,) = segment.passes[0].stores
    assert (kept.value, kept.place.kind) == (costly, "temp")
    assert segment.passes[1].loads[costly] == kept.place
    (segment,) = schedule(Target(cheap - make("mean", cheap), OUT)).instructions
    assert not segment.passes[0].stores
    assert costly not in segment.passes[1].loads


def test_what_is_stored_anyway_is_stored_at_once():
    costly = make("tanh", A)
    made = schedule(Target(costly - make("mean", costly), OUT), Target(costly, OTHER))
    (segment,) = made.instructions
    assert [place for part in stores(segment) for place in part].count(OTHER) == 1
    assert not [place for place in made.places if place.kind == "temp"]


def test_stages_follow_the_products():
    first, second = make("extra", value="piece 0"), make("extra", value="piece 1")
    gate = make("sigmoid", first)
    between = Place("operand", "1")
    products = (
        Product(1, between, (gate * B,), ((second, Place("piece", "1.0")),)),
        Product(0, LEAVES[A], (A,), ((first, Place("piece", "0.0")),)),
    )
    made = schedule(Target(gate * B, between), Target(gate + second, OUT), products=products)
    kinds = [part.stack if isinstance(part, Product) else stores(part) for part in made.instructions]
    assert (kinds[0], kinds[2]) == (0, 1)
    # The gate is costly and wanted in the last stage too.
    (temp,) = [place for place in made.places if place.kind == "temp"]
    assert set(kinds[1][0]) == {between, temp}
    assert kinds[3] == [[OUT]]
    assert made.instructions[3].passes[0].loads[gate] == temp


def test_what_is_kept_for_later_is_stored_where_it_is_computed():
    piece = make("extra", value="piece 0")
    gate = make("sigmoid", B)
    product = Product(0, LEAVES[A], (A,), ((piece, Place("piece", "0.0")),))
    kept = Place("kept", "0")
    made = schedule(Target(gate * piece, OUT), products=(product,), late=(Target(gate, kept),))
    # Not in a segment of its own before the product.
    assert [isinstance(part, Product) for part in made.instructions] == [True, False]
    assert stores(made.instructions[1]) == [[kept, OUT]] or stores(made.instructions[1]) == [[OUT, kept]]


def test_axes_have_segments_of_their_own():
    made = schedule(Target(make("tanh", WIDE), Place("out", "y", "O")), Target(A * B, OUT))
    assert {part.axis for part in made.instructions} == {"O", "H"}


def test_a_sum_over_another_axis_comes_from_there():
    made = schedule(Target(A * make("mean", WIDE), OUT))
    first, second = made.instructions
    assert (first.axis, second.axis) == ("O", "H")
    ((target,),) = [part.scalars for part in first.passes]
    assert target.place == Place("temp", target.place.name, None)
    assert target.place in second.slots


def test_a_total_is_marked():
    place = Place("fixed gradient", "0")
    (segment,) = schedule(Target(A * B, place, total=True)).instructions
    assert segment.passes[0].stores[0].total


@pytest.mark.parametrize(
    ("node", "costly"),
    [
        (make("tanh", A), True),
        (A / B, True),
        (make("mean", A), True),
        (make("matmul", M, A), True),
        (A * B, False),
        (make("relu", A), False),
        (A, False),
    ],
)
def test_what_is_costly(node, costly):
    assert expensive(node) is costly


def test_norms_and_softmax_written_out():
    rows = [make("layer_norm", A, value=1e-5), make("rms_norm", A, value=0.0), make("softmax", A)]
    for root in spread_rows(rows):
        seen, waiting = set(), [root]
        while waiting:
            node = waiting.pop()
            seen.add(node.op)
            waiting += node.args
        assert not seen & {"layer_norm", "rms_norm", "softmax"}


def test_one_division_a_row():
    (spread,) = spread_rows([A / make("sum", B)])
    assert (spread.op, spread.args[1].op) == ("mul", "div")
    (scalars,) = spread_rows([make("sum", A) / make("sum", B)])
    assert scalars.op == "div"
    (kept,) = spread_rows([A / const(2.0)])
    assert kept.args[0] is A
