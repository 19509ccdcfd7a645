"""The vector functions against numpy in twice the precision, on every instruction set this CPU has."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

import numpy as np
import pytest
import torch

from unit.kernels.cpu.engine_native import ISA_FLAGS, address, compile_native

SOURCE = Path(__file__).with_name("engine_vec.cpp")
REALS = {"float": (np.float32, np.float64), "double": (np.float64, np.longdouble)}
# Largest error in ulp: what vec.hpp states, for both types.
ULP = {"exp": 1.1, "log": 0.9, "tanh": 2.6, "sigmoid": 2.4, "softplus": 1.8, "sqrt": 0.5}
WANT = {
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(0, x),
    "sqrt": np.sqrt,
}
INF, NAN = np.inf, np.nan

every = pytest.mark.parametrize("isa", ISA_FLAGS)
both = pytest.mark.parametrize("real", REALS)


@pytest.fixture(autouse=True)
def subnormal_numbers():
    """The other tests flush them to zero."""
    torch.set_flush_denormal(False)
    yield
    torch.set_flush_denormal(True)


def apply(isa, real, name, *inputs):
    """One function of vec.hpp over arrays."""
    lib = compile_native(SOURCE, isa, real)
    arrays = [np.ascontiguousarray(one, REALS[real][0]) for one in inputs]
    out = np.full(arrays[0].shape, 7, arrays[0].dtype)
    pointers = (ctypes.c_void_p * len(arrays))(*(address(one) for one in arrays))
    getattr(lib, f"f_{name}")(pointers, ctypes.c_void_p(address(out)), ctypes.c_int64(out.size))
    return out


def samples(name, dtype):
    draw = np.random.default_rng(5)
    if name in ("log", "sqrt"):
        decades = np.log10(np.finfo(dtype).max) - 1
        return np.concatenate([10 ** draw.uniform(-decades, decades, 40001), draw.uniform(0.3, 3, 40000)]).astype(dtype)
    x = np.concatenate([draw.normal(size=60001) * 4, draw.normal(size=20000) * 10 ** draw.uniform(-12, 0, 20000)])
    # Up to where the results stay normal numbers.
    far = -np.log(np.finfo(dtype).smallest_normal) - 1
    return np.concatenate([x, draw.uniform(-far, far, 40000)]).astype(dtype)


@every
@both
@pytest.mark.parametrize("name", ULP)
def test_error(isa, real, name):
    dtype, wide = REALS[real]
    if np.finfo(wide).eps >= np.finfo(dtype).eps:
        pytest.skip("this platform has no longer double")
    x = samples(name, dtype)
    have, want = apply(isa, real, name, x), WANT[name](x.astype(wide))
    ulp = np.abs(have - want) / np.spacing(np.abs(want).astype(dtype)).astype(wide)
    worst = np.argmax(ulp)
    assert ulp[worst] <= ULP[name], f"{name}({x[worst]!r}) = {have[worst]!r}: {ulp[worst]:.2f} ulp"


SPECIAL = {
    "exp": ([INF, -INF, NAN, 1000, -1e4, 0, -0.0], [INF, 0, NAN, INF, 0, 1, 1]),
    "log": ([INF, 0, -0.0, -1, -INF, NAN, 1], [INF, -INF, -INF, NAN, NAN, NAN, 0]),
    "tanh": ([INF, -INF, NAN, 50, -50, 0, 1e30], [1, -1, NAN, 1, -1, 0, 1]),
    "sigmoid": ([INF, -INF, NAN, 1e4, -1e4, 0, -0.0], [1, 0, NAN, 1, 0, 0.5, 0.5]),
    "softplus": ([INF, -INF, NAN, 1e4, -1e4, 50, 41.5], [INF, 0, NAN, 1e4, 0, 50, 41.5]),
    "sqrt": ([INF, -INF, NAN, 0, 4, -1], [INF, NAN, NAN, 0, 2, NAN]),
    "abs": ([INF, -INF, NAN, -0.0, -3, 3], [INF, INF, NAN, 0, 3, 3]),
    "relu": ([INF, -INF, NAN, -3, 3, 0], [INF, 0, NAN, 0, 3, 0]),
}


@every
@both
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(isa, real, name):
    x, want = SPECIAL[name]
    np.testing.assert_array_equal(apply(isa, real, name, x), want)


@every
@both
def test_smallest_numbers(isa, real):
    info = np.finfo(REALS[real][0])
    tiny = np.array([info.smallest_subnormal, info.smallest_normal, -info.smallest_normal], info.dtype)
    np.testing.assert_allclose(
        apply(isa, real, "log", tiny[:2]), np.log(tiny[:2].astype(np.longdouble)), rtol=2 * info.eps
    )
    np.testing.assert_array_equal(apply(isa, real, "tanh", tiny), tiny)
    np.testing.assert_array_equal(np.signbit(apply(isa, real, "tanh", [0.0, -0.0])), [False, True])
    below = np.log(np.longdouble(info.smallest_normal)) - 3
    have, want = apply(isa, real, "exp", [below])[0], np.exp(np.longdouble(info.dtype.type(below)))
    assert abs(have - want) <= info.smallest_subnormal


@every
@both
def test_bounded(isa, real):
    x = np.concatenate([np.linspace(0, 50, 20011), 2.0 ** np.arange(-60, 10)])
    for name in ("tanh", "sigmoid"):
        y = apply(isa, real, name, np.concatenate([x, -x]))
        assert np.abs(y).max() == 1
        assert y.min() >= -1
    np.testing.assert_array_equal(apply(isa, real, "tanh", -x), -apply(isa, real, "tanh", x))


@every
@both
def test_choices(isa, real):
    values = [1.0, 2.0, -1.0, 0.0, -0.0, INF, -INF, NAN]
    a, b = (grid.ravel() for grid in np.meshgrid(values, values))
    # The reference: a where a < b; -minimum(-a, -b).
    for name, want in (
        ("min", np.where(a < b, a, b)),
        ("max", -np.where(-a < -b, -a, -b)),
        ("less", (a < b).astype(float)),
        ("select", np.where(a != 0, b, a + 5)),
    ):
        have = apply(isa, real, name, a, b, a + 5) if name == "select" else apply(isa, real, name, a, b)
        np.testing.assert_array_equal(have, want)
        if name in ("min", "max"):
            np.testing.assert_array_equal(np.signbit(have)[want == 0], np.signbit(want)[want == 0])


@every
@both
def test_reductions(isa, real):
    lanes = compile_native(SOURCE, isa, real).lanes()
    x = np.random.default_rng(6).normal(size=(50, lanes)).astype(REALS[real][0])
    np.testing.assert_allclose(
        apply(isa, real, "hsum", x).ravel()[:50], x.sum(1), rtol=0, atol=8 * lanes * np.finfo(x.dtype).eps
    )
    np.testing.assert_array_equal(apply(isa, real, "hmax", x).ravel()[:50], x.max(1))
    assert np.isnan(apply(isa, real, "hsum", np.where(np.arange(lanes) == lanes - 1, NAN, 1.0))[0])
    assert np.signbit(apply(isa, real, "splat", np.full(lanes, -0.0))).all()


@every
@both
def test_parts_touch_nothing_beyond_them(isa, real):
    lib = compile_native(SOURCE, isa, real)
    dtype = np.dtype(REALS[real][0])
    # Two pages, the second without access: the arrays end where the first does.
    with mmap.mmap(-1, 2 * mmap.PAGESIZE) as pages:
        memory = np.frombuffer(pages, np.uint8)
        libc = ctypes.CDLL(None)
        libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        assert libc.mprotect(address(memory) + mmap.PAGESIZE, mmap.PAGESIZE, 0) == 0
        for count in range(1, 2 * lib.lanes()):
            end = memory[mmap.PAGESIZE - count * dtype.itemsize : mmap.PAGESIZE].view(dtype)
            end[:] = -np.arange(1, count + 1)
            pointer = (ctypes.c_void_p * 1)(address(end))
            lib.f_abs(pointer, ctypes.c_void_p(address(end)), ctypes.c_int64(count))
            np.testing.assert_array_equal(end, np.arange(1, count + 1))
        libc.mprotect(address(memory) + mmap.PAGESIZE, mmap.PAGESIZE, 3)
        del memory, end
