"""Products with packed weights against numpy: odd sizes, strides, both directions of packing, half weights."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from unit.kernels.cpu.engine_native import ISA_FLAGS, Call, Instruction, Value, address, engine

DTYPES = (np.float32, np.float64)
SIZES = ((1, 1), (3, 5), (16, 16), (33, 100), (64, 48), (67, 257), (130, 129))
ROWS = (1, 2, 3, 4, 5, 7, 8, 13, 14, 15, 16, 29, 31)


def padded(width: int) -> int:
    return -(-width // 16) * 16


def product(isa, a, matrices, half=False, groups=1, members=1):
    """One step with one product; rows of `a` (rows, depth) may be strided."""
    native = engine(isa)
    rows, depth = a.shape
    packed = [native.pack(matrix, half) for matrix in matrices]
    outputs = [np.full((rows, padded(matrix.shape[1])), np.nan, a.dtype) for matrix in matrices]
    values = [Value(address(a), 0, a.strides[0], 0, 0, 0)]
    values += [Value(address(out), 0, out.strides[0], 0, 0, 0) for out in outputs]
    widths = np.array([matrix.shape[1] for matrix in matrices], np.int64)
    places = np.arange(1, len(values), dtype=np.int64)
    pointers = np.array([address(one) for one in packed], np.uintp)
    code = Instruction(
        kind=1, operand=0, depth=depth, piece_count=len(matrices), widths=address(widths), outputs=address(places),
        packed=address(pointers),
    )  # fmt: skip
    offset = np.zeros(1, np.int64)
    call = Call(
        dtype=int(a.dtype == np.float64), half_weights=half, steps=1, batch=rows, offset=address(offset),
        groups=groups, members=members, value_count=len(values), values=(Value * len(values))(*values),
        instruction_count=1, code=(Instruction * 1)(code),
    )  # fmt: skip
    assert native.lib.recurra_run(ctypes.byref(call)) == 0
    return [out[:, : matrix.shape[1]] for out, matrix in zip(outputs, matrices, strict=True)]


def assert_products(have, a, matrices):
    for out, matrix in zip(have, matrices, strict=True):
        want = a.astype(np.float64) @ matrix.astype(np.float64)
        # Rounding grows with the size of the terms, not of their sum.
        scale = np.abs(a).astype(np.float64) @ np.abs(matrix).astype(np.float64)
        limit = 4 * np.sqrt(a.shape[1]) * np.finfo(a.dtype).eps
        assert np.all(np.abs(out - want) <= limit * scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("isa", ISA_FLAGS)
def test_product(isa, dtype):
    draw = np.random.default_rng(0)
    for depth, width in SIZES:
        matrices = [
            draw.normal(size=(depth, width)).astype(dtype),
            draw.normal(size=(width + 3, depth)).astype(dtype).T,
        ]
        for rows in ROWS:
            a = draw.normal(size=(rows, depth + 5)).astype(dtype)[:, :depth]
            assert_products(product(isa, a, matrices), a, matrices)


@pytest.mark.parametrize(("groups", "members"), [(2, 1), (1, 2), (2, 2), (1, 3)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_product_shared_by_threads(dtype, groups, members):
    draw = np.random.default_rng(1)
    a = draw.normal(size=(7, 40)).astype(dtype)
    matrices = [draw.normal(size=(40, width)).astype(dtype) for width in (1, 16, 17, 100)]
    alone = product("base", a, matrices)
    assert_products(alone, a, matrices)
    for one, shared in zip(alone, product("base", a, matrices, groups=groups, members=members), strict=True):
        np.testing.assert_allclose(shared, one, rtol=8 * np.finfo(dtype).eps, atol=64 * np.finfo(dtype).eps)


@pytest.mark.parametrize("isa", ISA_FLAGS)
def test_half_weights(isa):
    draw = np.random.default_rng(2)
    for depth, width in SIZES:
        matrix = draw.normal(size=(depth, width)).astype(np.float32)
        bits = matrix.view(np.uint32).astype(np.uint64)
        rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).astype(np.uint32).view(np.float32)
        assert depth == 1 or np.any(rounded != matrix)
        for rows in (1, 3, 4, 9, 16):
            a = draw.normal(size=(rows, depth)).astype(np.float32)
            assert_products(product(isa, a, [matrix], half=True), a, [rounded])


def test_half_weights_keep_what_is_not_finite():
    odd = np.array([[np.nan, np.inf, -np.inf, -0.0, 3.4e38]], np.float32)
    out = product("base", np.ones((1, 1), np.float32), [odd], half=True)[0]
    # The largest floats round up out of range.
    np.testing.assert_array_equal(out, [[np.nan, np.inf, -np.inf, 0.0, np.inf]])


def test_double_has_no_half_weights():
    native = engine("base")
    assert native.lib.recurra_packed_bytes(1, 1, 8, 8) == -1
    with pytest.raises(AssertionError):
        product("base", np.ones((1, 1)), [], half=True)


@pytest.mark.parametrize("half", [False, True])
def test_packing_is_the_same_along_either_axis_and_shared(half):
    native = engine("base")
    matrix = np.random.default_rng(3).normal(size=(300, 257)).astype(np.float32)
    packed = native.pack(matrix, half)
    np.testing.assert_array_equal(packed, native.pack(np.asfortranarray(matrix), half))
    np.testing.assert_array_equal(packed, native.pack(matrix, half, threads=2))
    np.testing.assert_array_equal(packed, native.pack(np.repeat(matrix, 2, 1)[:, ::2], half))
