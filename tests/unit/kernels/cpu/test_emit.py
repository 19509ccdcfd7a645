"""The C++ of segments: every op against torch at every tail, bounds, numbers, and the same text in every process."""

from __future__ import annotations

import ctypes
import hashlib
import os
from pathlib import Path

import pytest
import torch
from tests.tolerances import assert_close

from recurra.cells import CELLS
from recurra.equations.expr import Expr, const, make
from recurra.equations.ops import OPS
from recurra.kernels.cpu import emit
from recurra.kernels.cpu.abi import SegmentFunction, Slot
from recurra.kernels.cpu.compiler import build, compiler
from recurra.kernels.cpu.emit import HEADER, SPELLING, segments, source
from recurra.kernels.cpu.library import isa
from recurra.kernels.cpu.prebuild import schedules
from recurra.kernels.cpu.program import CellProgram
from recurra.kernels.cpu.schedule import Place, Schedule, Target
from recurra.kernels.reference.spelling import evaluate

A, B, C, ONE = (make("extra", value=name) for name in ("a", "b", "c", "one"))
SCALAR = make("sum", ONE)  # a number a row that is in memory
LEAVES = {A: Place("extra", "a"), B: Place("extra", "b"), C: Place("extra", "c"), SCALAR: Place("extra", "one", None)}
MAPS = {name: make(name, *(A, B, C)[: op.arity]) for name, op in OPS.items() if op.kind == "map"}
VALUES = {
    **MAPS,
    "number": A * const(0.1) + const(-1e-300) + const(3e38),
    "infinity": make("minimum", A, const(float("inf"))) + make("maximum", B, const(float("-inf"))),
    "nan": A * const(float("nan")),
    "scalar": A * SCALAR - make("tanh", SCALAR),
    "centred": A - make("mean", A),
    "soft": make("exp", A - make("largest", A)) / make("sum", make("exp", A - make("largest", A))),
    "spread": (A - make("mean", A)) / make("sqrt", make("mean", (A - make("mean", A)) * (A - make("mean", A)))),
}
SCALARS = {"total": make("sum", A * B), "most": make("largest", make("tanh", A)), "of sums": make("sum", A) * SCALAR}


def axis(node: Expr) -> str | None:
    if node is SCALAR or node.op in ("const", "sum", "mean", "largest"):
        return None
    return "H" if not node.args else next((found for found in map(axis, node.args) if found), None)


@pytest.fixture(scope="module")
def made():
    """All of it in one segment, and the total of one value over rows."""
    targets = [Target(value, Place("out", name)) for name, value in VALUES.items()]
    targets += [Target(value, Place("number", name, None)) for name, value in SCALARS.items()]
    return Schedule([*targets, Target(A * B, Place("added", "up"), total=True)], LEAVES, [], axis)


def compiled(made, real):
    if compiler() is None:
        pytest.skip("no C++ compiler")
    library = ctypes.CDLL(str(build(HEADER + source({"all": made}, "odd"), isa(), real)))
    (segment,) = segments(made)
    return segment, ctypes.cast(library.odd_all_0, SegmentFunction)


def table(segment, places):
    slots = (Slot * len(segment.slots))()
    for slot, place in zip(slots, segment.slots, strict=True):
        tensor = places[place]
        slot.p, slot.row = tensor.data_ptr(), tensor.stride(0) * tensor.element_size()
    return slots


CANARY = 12345.0


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("size", [1, 2, 7, 15, 16, 17, 31, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_op_at_every_tail(dtype, size, rows, made):
    segment, run = compiled(made, "double" if dtype == torch.float64 else "float")
    draw = torch.Generator().manual_seed(size)
    leaves = {leaf: torch.randn(rows, size, generator=draw).to(dtype) for leaf in (A, B, C)}
    leaves[ONE] = leaves[SCALAR] = torch.randn(rows, 1, generator=draw).to(dtype)
    # Beyond each row stands a number that must stay.
    places = {}
    for place in segment.slots:
        places[place] = torch.full((rows, (1 if place.axis is None else size) + 1), CANARY, dtype=dtype)
    for leaf, place in LEAVES.items():
        places[place][:, :-1] = leaves[leaf]
    added = places[Place("added", "up")] = torch.full((1, size + 1), CANARY, dtype=dtype)
    added[:, :-1] = 1.0
    slots = table(segment, places)
    # One vector for all rows.
    slots[segment.slots.index(Place("added", "up"))].row = 0
    run(slots, rows, 0, size, size)
    wanted = dict(zip([*VALUES, *SCALARS], evaluate([*VALUES.values(), *SCALARS.values()], leaves), strict=True))
    for name, want in wanted.items():
        have = places[Place("number", name, None) if name in SCALARS else Place("out", name)][:, :-1]
        if name == "spread" and size == 1:
            # Nothing divided by nothing, here and there.
            assert have.isnan().all()
            continue
        want = want.expand_as(have)
        finite = want.isfinite()
        assert torch.equal(have[~finite].nan_to_num(), want[~finite].nan_to_num()), name
        assert_close(have[finite], want[finite], "value", name)
    assert_close(added[:, :-1], 1 + (leaves[A] * leaves[B]).sum(0, keepdim=True), "value", "total")
    for place, tensor in places.items():
        assert (tensor[:, -1] == CANARY).all(), f"{place} was written beyond its end"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_part_of_the_units(dtype):
    # As threads that share rows do: from a multiple of 16 on, and nothing beside it.
    split = Schedule([Target(make("tanh", A) * B, Place("out", "h"))], LEAVES, [], axis)
    segment, run = compiled(split, "double" if dtype == torch.float64 else "float")
    places = {place: torch.full((2, 45), CANARY, dtype=dtype) for place in segment.slots}
    for leaf in (A, B):
        places[LEAVES[leaf]].copy_(torch.rand(2, 45))
    run(table(segment, places), 2, 16, 32, 45)
    out = places[Place("out", "h")]
    want = torch.tanh(places[LEAVES[A]]) * places[LEAVES[B]]
    assert_close(out[:, 16:32], want[:, 16:32], "value", "a part")
    assert (out[:, :16] == CANARY).all()
    assert (out[:, 32:] == CANARY).all()
    run(table(segment, places), 2, 32, 45, 45)
    assert_close(out[:, 16:], want[:, 16:], "value", "two parts")


def test_a_spelling_for_every_elementwise_op():
    assert set(SPELLING) == set(MAPS)
    for name, text in SPELLING.items():
        assert [f"{{{number}}}" in text for number in range(4)] == [number < OPS[name].arity for number in range(4)]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.1, "splat((real)0.1)"),
        (-1.0, "splat((real)-1.0)"),
        (1e-300, "splat((real)1e-300)"),
        (float("inf"), "splat((real)__builtin_inf())"),
        (float("-inf"), "splat(-(real)__builtin_inf())"),
        (float("nan"), 'splat((real)__builtin_nan(""))'),
    ],
)
def test_numbers(number, text):
    assert emit._number(const(number)) == text


def test_what_is_no_elementwise_work_is_refused():
    with pytest.raises(ValueError, match="a matmul cannot stand inside a segment"):
        source({"p": Schedule([Target(make("matmul", C, A), Place("out", "h"))], LEAVES, [], axis)}, "cell")


def test_functions_are_numbered_in_the_order_of_the_schedule():
    made = schedules(CellProgram(CELLS["gru_v1"]().spec))
    text = source(made, "cell_x")
    for name, schedule in made.items():
        count = len(segments(schedule))
        at = [text.index(f"void cell_x_{name}_{number}(const Slot* slots") for number in range(count)]
        assert at == sorted(at)
        assert f"cell_x_{name}_{count}(" not in text
    assert text.count('extern "C"') == sum(len(segments(schedule)) for schedule in made.values())


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_the_text_is_the_same_in_every_process(start, every):
    code = """
        import hashlib
        from recurra.cells import CELLS
        from recurra.kernels.cpu.emit import source
        from recurra.kernels.cpu.prebuild import cell_sources, schedules
        from recurra.kernels.cpu.program import CellProgram
        from unit.kernels.odd_cells import ODD
        texts = [cell_sources([CELLS[name]().spec for name in [*CELLS][::EVERY]])]
        texts += [source(schedules(CellProgram(ODD[name]().spec)), "cell") for name in ODD]
        print(hashlib.sha256("".join(texts).encode()).hexdigest())
    """
    code = code.replace("EVERY", str(every))
    path = os.pathsep.join([str(Path(__file__).parents[3]), os.environ["PYTHONPATH"]])
    running = [start(code, PYTHONHASHSEED=seed, PYTHONPATH=path) for seed in ("0", "1")]
    said = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    (digest,) = {out for out, _ in said}
    assert len(digest.strip()) == hashlib.sha256().digest_size * 2
