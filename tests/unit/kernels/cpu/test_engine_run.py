"""The time loop against numpy: a small LSTM, dense and ragged, with resets, in both directions, over threads."""

from __future__ import annotations

import ctypes
import os
from ctypes import c_void_p
from pathlib import Path

import numpy as np
import pytest

from unit.kernels.cpu.engine_native import (
    ISA_FLAGS,
    Call,
    Instruction,
    State,
    Value,
    address,
    compile_native,
    engine,
)

CELL = Path(__file__).with_name("engine_cell.cpp")
LENGTHS = [7, 7, 5, 4, 4, 1]
THREADS = [(1, 1), (2, 1), (1, 2), (2, 2), (3, 1)]


class Problem:
    """Random inputs of one run: x (N, 4H) by index, weights (4, H, H), states (B, H)."""

    def __init__(self, steps, batch, size, dtype: type = np.float64, layout="time", lengths=None, resets=False):
        draw = np.random.default_rng(steps * 100 + batch * 10 + size)
        self.steps, self.batch, self.size, self.dtype = steps, batch, size, dtype
        self.active = None
        self.row_step = 1
        if lengths is not None:
            self.active = np.array([sum(length > t for length in lengths) for t in range(steps)], np.int64)
            self.offset = np.concatenate([[0], np.cumsum(self.active)[:-1]]).astype(np.int64)
        elif layout == "time":
            self.offset = np.arange(steps, dtype=np.int64) * batch
        else:
            self.offset, self.row_step = np.arange(steps, dtype=np.int64), steps
        self.count = int(self.active.sum()) if self.active is not None else steps * batch
        self.x = draw.normal(size=(self.count, 4 * size)).astype(dtype)
        self.weights = (draw.normal(size=(4, size, size)) / np.sqrt(size)).astype(dtype)
        self.start = draw.normal(size=(2, batch, size)).astype(dtype)
        self.initial = draw.normal(size=(2, batch, size)).astype(dtype)
        self.resets = (draw.random(self.count) < 0.3).astype(np.uint8) if resets else None

    def rows(self, t):
        return self.batch if self.active is None else int(self.active[t])

    def index(self, t):
        return self.offset[t] + np.arange(self.rows(t)) * self.row_step

    def step(self, t, h, c):
        gates = self.x[self.index(t)].astype(np.float64).reshape(-1, 4, self.size)
        gates = gates + np.einsum("bk,gkn->bgn", h, self.weights.astype(np.float64))
        i, f, o = (1 / (1 + np.exp(-gates[:, k])) for k in (0, 1, 3))
        c = f * c + i * np.tanh(gates[:, 2])
        h = o * np.tanh(c)
        return h / (1 + (h * h).mean(1, keepdims=True)), c

    def want(self, backward):
        """y by index, last, the sum of c over everything, the gradient of the initial state."""
        y = np.zeros((self.count, self.size))
        last = np.full((2, self.batch, self.size), 7.0)
        state, total, gradient = self.start.astype(np.float64), np.zeros(self.size), np.zeros(self.start.shape)
        for t in reversed(range(self.steps)) if backward else range(self.steps):
            rows = self.rows(t)
            reset = np.zeros(rows, bool) if self.resets is None else self.resets[self.index(t)].astype(bool)
            if not backward:
                state[:, :rows][:, reset] = self.initial[:, :rows][:, reset]
            out = np.stack(self.step(t, state[0, :rows], state[1, :rows]))
            total += out[1].sum(0)
            y[self.index(t)] = out[0]
            if backward:
                y[self.index(t)[reset]] = 0
                gradient[:, :rows][:, reset] += out[:, reset]
                out[:, reset] = 0
            state[:, :rows] = out
            last[:, :rows] = out
        return y, last, total, gradient

    def run(self, isa="base", groups=1, members=1, backward=False, h_in="flip", interleave=False):
        """The same from the engine. h_in: where h of the step before stands; "chain": y itself, one step on."""
        real = "double" if self.dtype == np.float64 else "float"
        cell = compile_native(CELL, isa, real)
        native = engine(isa)
        bytes_ = np.dtype(self.dtype).itemsize
        width = -(-self.size // 16) * 16
        row = width * bytes_
        chained = h_in == "chain"
        y = np.full((self.count + self.batch * chained, width), np.nan, self.dtype)
        buffers = np.full((2, 2, self.batch, width), np.nan, self.dtype)
        products = np.full((4, self.batch, width), np.nan, self.dtype)
        sums = np.zeros((groups * members, self.size), self.dtype)
        last = np.full(self.start.shape, 7, self.dtype)
        gradient = np.zeros_like(self.start)
        flip = self.batch * row
        values = [Value(address(part), 0, row, 0, 0, 0) for part in products]
        values.append(Value(address(self.x), 4 * self.size * bytes_, 4 * self.size * bytes_ * self.row_step, 0, 0, 0))
        values.append(Value(address(buffers[1]), 0, row, flip, 0, 0))  # 5: c in
        values.append(Value(address(buffers[1]), 0, row, flip, 0, 1))  # 6: c out
        ahead = self.batch * row if chained and not backward else 0
        values.append(Value(address(y) + ahead, row, row * self.row_step, 0, 0, 0))  # 7: h out
        values.append(Value(address(sums), 0, 0, 0, self.size * bytes_, 0))  # 8
        if chained:
            back = self.batch * row if backward else 0
            values.append(Value(address(y) + back, row, row * self.row_step, 0, 0, 0))  # 9: h in
        else:
            values.append(Value(address(buffers[0]), 0, row, flip if h_in == "flip" else 0, 0, 0))
        packed = [native.pack(matrix) for matrix in self.weights]
        widths = np.full(4, self.size, np.int64)
        outputs, slots, scaled = np.arange(4), np.arange(9), np.array([7])
        pointers = np.array([address(one) for one in packed], np.uintp)
        code = [
            Instruction(
                kind=1, barrier=1, operand=9, depth=self.size, piece_count=4, widths=address(widths),
                outputs=address(outputs), packed=address(pointers),
            ),
            Instruction(run=ctypes.cast(cell.cell, c_void_p).value, size=self.size, slot_count=9, slots=address(slots)),
            Instruction(
                run=ctypes.cast(cell.scale, c_void_p).value, by_rows=1, size=self.size, slot_count=1,
                slots=address(scaled),
            ),
        ]  # fmt: skip
        states = [
            State(
                value_in, value_out, self.size, carry, address(self.start[k]), address(self.initial[k]),
                address(last[k]), address(gradient[k]),
            )
            for k, (value_in, value_out, carry) in enumerate([(9, 7, int(not chained)), (5, 6, 0)])
        ]  # fmt: skip
        any_reset = None
        if self.resets is not None:
            any_reset = np.array([self.resets[self.index(t)].any() for t in range(self.steps)], np.uint8)
        call = Call(
            int(self.dtype == np.float64), 0, self.steps, self.batch, int(backward), address(self.offset),
            self.row_step, address(self.active), address(self.resets), address(any_reset), int(interleave),
            groups, members,
            len(values), (Value * len(values))(*values), len(code), (Instruction * len(code))(*code),
            len(states), (State * len(states))(*states),
        )  # fmt: skip
        assert native.lib.recurra_run(ctypes.byref(call)) == 0
        if chained:
            y = y[: -self.batch] if backward else y[self.batch :]
        return y[:, : self.size], last, sums.sum(0), gradient


def assert_runs(problem, backward=False, **options):
    limit = 1e-12 if problem.dtype == np.float64 else 2e-6
    names = ("y", "last", "sums", "initial")
    for name, have, want in zip(names, problem.run(backward=backward, **options), problem.want(backward), strict=True):
        error = np.abs(have - want).max(initial=0) / max(1, np.abs(want).max(initial=0))
        assert error <= limit, f"{name}: {error:.1e}"


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize(("groups", "members"), THREADS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dense(dtype, groups, members, backward):
    for layout in ("time", "batch"):
        for size in (1, 33, 64):
            problem = Problem(6, 5, size, dtype, layout)
            for h_in in ("flip", "one"):
                assert_runs(problem, backward, groups=groups, members=members, h_in=h_in)
        assert_runs(Problem(6, 5, 64, dtype), backward, groups=groups, members=members, h_in="chain")


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("interleave", [False, True])
@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize(("groups", "members"), THREADS)
def test_ragged(groups, members, resets, interleave, backward):
    problem = Problem(7, 6, 40, lengths=LENGTHS, resets=resets)
    for h_in in ("flip", "one"):
        assert_runs(problem, backward, groups=groups, members=members, interleave=interleave, h_in=h_in)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize(("groups", "members"), THREADS)
def test_resets(groups, members, backward):
    for layout in ("time", "batch"):
        assert_runs(Problem(9, 4, 48, layout=layout, resets=True), backward, groups=groups, members=members)


def test_rows_that_never_take_part_are_left_alone():
    problem = Problem(4, 5, 8, lengths=[4, 2, 2, 0, 0])
    for backward in (False, True):
        assert_runs(problem, backward, groups=2, interleave=True)
        assert np.all(problem.run(backward=backward)[1][:, 3:] == 7)


@pytest.mark.parametrize(("steps", "batch"), [(0, 3), (3, 0), (0, 0), (1, 1), (20, 1)])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_small(steps, batch, backward):
    for groups, members in THREADS:
        assert_runs(Problem(steps, batch, 32), backward, groups=groups, members=members)


@pytest.mark.parametrize("isa", ISA_FLAGS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_instruction_sets(isa, dtype):
    assert_runs(Problem(12, 17, 100, dtype), isa=isa)
    assert_runs(Problem(12, 1, 128, dtype), isa=isa)


def test_every_run_gives_the_same_bits():
    problem = Problem(10, 6, 64, np.float32)
    for groups, members in THREADS:
        first, second = (problem.run(groups=groups, members=members) for _ in range(2))
        for one, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(one, other)


def test_splitting_the_units_is_splitting_the_batch():
    # One row a group and one row of several members go through the same kernels.
    problem = Problem(10, 2, 64, np.float32)
    wide = Problem(10, 1, 64, np.float32)
    np.testing.assert_array_equal(wide.run(members=2)[0], wide.run()[0])
    np.testing.assert_array_equal(problem.run(members=4)[0], problem.run()[0])


def test_a_wrong_call_is_refused():
    native = engine("base")
    for wrong in ({"dtype": 2}, {"groups": 0}, {"members": -1}, {"dtype": 1, "half_weights": 1}):
        call = Call(**{"steps": 1, "batch": 1, "groups": 1, "members": 1} | wrong)
        assert native.lib.recurra_run(ctypes.byref(call)) != 0


def test_fewer_threads_than_asked_for():
    openmp = engine("base").lib
    openmp.omp_set_dynamic(1)
    try:
        # At most one thread a core comes now.
        members = 2 * (os.cpu_count() or 1)
        assert_runs(Problem(5, 7, 40), groups=1, members=members)
        assert_runs(Problem(5, 7, 40), groups=2, members=members)
    finally:
        openmp.omp_set_dynamic(0)
