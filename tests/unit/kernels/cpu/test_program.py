"""Every program of every cell, walked instruction by instruction with the expression that each place holds."""

from __future__ import annotations

from collections import Counter

import pytest

from recurra.cells import CELLS
from recurra.equations.expr import Expr, is_scalar
from recurra.equations.ops import OPS
from recurra.equations.transform import with_recurrent_dropout, with_zoneout
from recurra.kernels.cpu.prebuild import HOISTS, PROGRAMS, schedules, variants
from recurra.kernels.cpu.program import CellProgram
from recurra.kernels.cpu.schedule import Place, Product, Schedule, Segment, Target
from unit.kernels.odd_cells import ODD

SPECS = {spec.name + f"-{number}": spec for name in CELLS for number, spec in enumerate(variants(CELLS[name]().spec))}
SPECS |= {name: cell().spec for name, cell in ODD.items()}
SPECS |= {f"{name}+options": with_zoneout(with_recurrent_dropout(SPECS[name]), ("h",)) for name in ("a_run_of_terms",)}
MADE: dict[tuple[str, str], CellProgram] = {}

# What is in memory before a program begins. x is read where the products of the input are part of the loop.
GIVEN = {
    "forward": {"in", "extra", "fixed", "hoisted", "x"},
    "infer": {"in", "extra", "fixed", "hoisted", "x"},
    "backward": {"in", "extra", "fixed", "carry", "output gradient", "kept", "x"},
}

every_cell = pytest.mark.parametrize("cell", SPECS)
either_way = pytest.mark.parametrize("hoist", HOISTS)


def made(name: str, hoist: str = "products") -> CellProgram:
    if (name, hoist) not in MADE:
        MADE[name, hoist] = CellProgram(SPECS[name], hoist)
    return MADE[name, hoist]


class Walk:
    """One step on symbols: what stands in each place, how often it was written and whether it was read."""

    def __init__(self, schedule: Schedule, given: set[str]) -> None:
        self.memory = {place: leaf for leaf, place in schedule.leaves.items() if place.kind in given}
        self.writes: Counter[Place] = Counter()
        self.reads: set[Place] = set()
        self.totals: set[Place] = set()
        for part in schedule.instructions:
            self.segment(part) if isinstance(part, Segment) else self.product(part)

    def product(self, part: Product) -> None:
        assert self.memory.get(part.operand) is part.needs[0], f"{part.operand} is not there for product {part.stack}"
        self.reads.add(part.operand)
        # A transposed product reads all pieces, which stand side by side.
        held = set(self.memory.values())
        assert all(need in held for need in part.needs)
        self.reads |= {place for place, value in self.memory.items() if value in part.needs}
        for leaf, place in part.outputs:
            self.write(place, leaf)

    def write(self, place: Place, value: Expr) -> None:
        self.memory[place] = value
        self.writes[place] += 1

    def segment(self, segment: Segment) -> None:
        known: set[Expr] = set()
        for part in segment.passes:
            for node, place in part.loads.items():
                assert self.memory.get(place) is node, f"{place} read before it holds {node}"
                self.reads.add(place)
                # A number per row may be read anywhere; a row only by a sweep over its own axis.
                assert place.axis in (None, segment.axis), f"{place} is not of axis {segment.axis}"
            stored = [target.place for target in part.stores]
            assert not set(stored) & set(part.loads.values()), "a sweep loads what it stores"
            for target in (*part.stores, *part.scalars):
                self.check(target.value, part.loads, known | (set(part.reduces) if target in part.scalars else set()))
                assert (target.place.axis is None) == (target in part.scalars)
            for node in part.reduces:
                self.check(node.args[0], part.loads, known)
            known |= set(part.reduces)
            for target in (*part.stores, *part.scalars):
                self.store(target)

    def store(self, target: Target) -> None:
        if target.total:
            self.totals.add(target.place)
        self.write(target.place, target.value)

    def check(self, node: Expr, loads: dict[Expr, Place], sums: set[Expr]) -> None:
        """Everything that a value needs is loaded, a number, or a sum that an earlier sweep has taken."""
        if node in loads or node in sums or node.op == "const":
            return
        assert OPS[node.op].kind == "map", f"{node} is at hand in no way"
        for arg in node.args:
            self.check(arg, loads, sums)


@pytest.mark.parametrize("program", PROGRAMS)
@either_way
@every_cell
def test_nothing_is_read_before_it_is_written_and_nothing_written_twice(cell, hoist, program):
    walk = Walk(schedules(made(cell, hoist))[program], GIVEN[program])
    assert set(walk.writes.values()) <= {1}
    # What is written and is no result is read: no row is stored for nobody (a sum now and then is).
    results = {"out", "kept", "hoisted gradient", "fixed gradient", "piece gradient", "input gradient", "back"}
    idle = {place for place in walk.writes if place.axis and place.kind not in results} - walk.reads
    assert not idle


@either_way
@every_cell
def test_results_of_the_forward_programs(cell, hoist):
    program = made(cell, hoist)
    after = {Place("out", state, axis) for state, axis in program.spec.state_axes.items()}
    for name in ("forward", "infer"):
        walk = Walk(schedules(program)[name], GIVEN[name])
        results = {place for place in walk.writes if place.kind not in ("temp", "piece", "operand")}
        kept = set(program.kept_places) if name == "forward" else set()
        assert results == after | kept
        assert not walk.totals
    walk = Walk(program.forward, GIVEN["forward"])
    for node, place in zip(program.kept, program.kept_places, strict=True):
        assert walk.memory[place] is node
        assert (place.axis is None) == is_scalar(node)


@either_way
@every_cell
def test_results_of_the_backward_program(cell, hoist):
    program = made(cell, hoist)
    spec = program.spec
    walk = Walk(program.backward, GIVEN["backward"])
    wanted = {Place("back", state, axis) for state, axis in spec.state_axes.items()}
    leaves = {"hoisted gradient": program.hoisted, "fixed gradient": program.fixed}
    for kind, nodes in leaves.items():
        wanted |= {Place(kind, str(number), program.axis(node)) for number, node in enumerate(nodes)}
    if program.reads_input:
        wanted.add(Place("input gradient", "x", "I"))
    for number, stack in enumerate(program.stacks):
        if stack.addend is None and stack.twin is None:
            wanted |= {Place("piece gradient", f"{number}.{i}", axis) for i, axis in enumerate(stack.piece_axes)}
    assert {place for place in walk.writes if place.kind not in ("temp", "operand gradient")} == wanted
    assert walk.totals == {place for place in wanted if place.kind == "fixed gradient"}
    # It reads only states that the forward pass keeps, and everything that is kept.
    read = {place.name for place in walk.reads if place.kind == "in"}
    operands = {stack.operand for stack in program.stacks}
    assert read <= program.sequences
    assert program.sequences <= read | {place.name for place in operands if place.kind == "in"}
    assert set(program.kept_places) <= walk.reads | operands


@every_cell
def test_what_is_hoisted(cell):
    # Inside the loop there is nothing that was computed before it from x.
    assert not made(cell, "none").hoisted
    assert all(stack.addend is None for stack in made(cell, "none").stacks)
    reads = {place.kind for place in made(cell, "products").forward.places}
    assert "x" not in reads


# Numbers of width H that the gradient needs, per unit and step, beside the states before each step.
KEPT = {
    "elman": (1, {"h"}),
    "relu_rnn": (1, {"h"}),
    "jordan": (1, {"y"}),
    # i, f, g, o and tanh of the next c.
    "lstm": (5, {"h", "c"}),
    "peephole_lstm": (5, {"h", "c"}),
    "coupled_lstm": (4, {"h", "c"}),
    # r, z, n and U_n h + b, on which r acts.
    "gru": (4, {"h"}),
    # r, z, n and r * h, the operand of the second product.
    "gru_v1": (4, {"h"}),
    "minimal_gated_unit": (3, {"h"}),
}


@pytest.mark.parametrize("cell", KEPT)
def test_what_is_kept_for_the_gradient(cell):
    program = made(f"{cell}-0")
    count, states = KEPT[cell]
    assert [place.axis for place in program.kept_places] == ["H"] * count
    assert program.sequences == states


def test_what_layer_norm_keeps():
    # The five squashed values, and for each of the nine norms its centred input, its mean and its mean square.
    axes = [place.axis for place in made("layer_norm_lstm-0").kept_places]
    assert axes.count("H") <= 5 + 9
    assert axes.count(None) <= 2 * 9


@pytest.mark.parametrize(
    ("cell", "infer", "backward"),
    [
        ("elman", "P S", "S P"),
        ("lstm", "P S", "S P"),
        ("peephole_lstm", "P S", "S P"),
        ("coupled_lstm", "P S", "S P"),
        # The product leads to a sum with what came through the cell, so one more segment ends the step.
        ("gru", "P S", "S P S"),
        ("gru_v1", "P S P S", "S P S P S"),
        ("minimal_gated_unit", "P S P S", "S P S P S"),
        # Norms are sweeps within one segment, not segments of their own.
        ("layer_norm_lstm", "P R", "R P"),
    ],
)
def test_shape_of_a_step(cell, infer, backward):
    def shape(schedule):
        letters = ["P" if isinstance(part, Product) else "SR"[part.by_rows] for part in schedule.instructions]
        return " ".join(letters)

    program = made(f"{cell}-0")
    assert (shape(program.infer), shape(program.backward)) == (infer, backward)
    assert shape(program.forward) == infer


@either_way
@pytest.mark.parametrize("cell", CELLS)
def test_products_are_those_of_the_plan(cell, hoist):
    program = made(f"{cell}-0", hoist)
    every = list(range(len(program.plan.stacks)))
    for schedule in (program.forward, program.infer):
        assert sorted(part.stack for part in schedule.instructions if isinstance(part, Product)) == every
    # The gradient of x is one product for all steps, after the loop.
    back = [number for number in every if program.stacks[number].operand.kind != "x"]
    assert sorted(part.stack for part in program.backward.instructions if isinstance(part, Product)) == back
    matrices = [name for stack in program.stacks for name in stack.matrices]
    assert sorted(matrices) == sorted(set(matrices))
    if hoist == "none":
        assert set(matrices) == {name for name, axes in program.spec.params.items() if len(axes) == 2}
