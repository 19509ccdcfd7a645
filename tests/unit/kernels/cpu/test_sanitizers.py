"""The engine and emitted cells under AddressSanitizer and UBSan: many shapes, every tail, no report.

Both are compiled with the sanitizers into a cache of their own, and the whole backend runs on them in a process that
has their runtime loaded first. Leaks are another test's business: Python and torch keep things for good.
"""

from __future__ import annotations

import subprocess

import pytest
import torch

from recurra.kernels.cpu.compiler import ISAS, compiler

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -g1"

CAPABLE = {"AVX512": ["avx512", "avx2", "base"], "AVX2": ["avx2", "base"]}.get(
    torch.backends.cpu.get_cpu_capability(), ["base"]
)

WORK = """
import random
import torch
from unittest.mock import patch
from recurra.base.state import leaves
from recurra.kernels.cpu import backend, passes
from recurra.layers import Recurrent
from unit.kernels.odd_cells import ODD

torch.set_num_threads(1)
CELLS = ("lstm", "gru_v1", "layer_norm_lstm", "jordan", "a_run_of_terms", "heights_differ", "rows_and_choices")
SPLITS = [(1, 1), (2, 1), (1, 2), (2, 2), (1, 3)]
SIZES = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 65)
draw = random.Random(1)
count = 0
for cell in CELLS:
    for number in range(ROUNDS):
        dtype = (torch.float32, torch.float64)[number % 2]
        batch, steps = draw.randint(1, 17), draw.randint(1, 7)
        options = {"num_layers": 1, "recompute": draw.random() < 0.3, "learned_initial_state": draw.random() < 0.3}
        if cell in ("heights_differ", "jordan"):
            options["output_size"] = draw.choice(SIZES)
        layer = Recurrent(ODD.get(cell, cell), draw.choice(SIZES), draw.choice(SIZES), backend="native", **options)
        layer.to(dtype)
        x = torch.randn(batch, steps, layer.input_size, dtype=dtype, requires_grad=True)
        call = {}
        if draw.random() < 0.4:
            call["lengths"] = [draw.randint(0, steps) for _ in range(batch)]
        if draw.random() < 0.4:
            call["resets"] = torch.rand(batch, steps) < 0.4
        split, hoist = draw.choice(SPLITS), draw.choice(("products", "none"))
        with (
            patch.object(passes, "threads_for", lambda *_: split),
            patch.object(backend, "_hoist", lambda _: hoist),
        ):
            y, last = layer(x, **call)
            (y.sum() + sum(leaf.sum() for leaf in leaves(last))).backward()
            with torch.no_grad():
                layer(x, **call)
                live = layer.eval().stream()
                for chunk in x[0].split(2):
                    live.push(chunk)
        count += 1
half = Recurrent("gru", 19, 33, backend="native").bfloat16()
half(torch.randn(3, 4, 19, dtype=torch.bfloat16))[0].sum().backward()
print(count, "runs without a report")
"""


def runtime(name: str) -> str:
    """Where the compiler keeps a runtime library; the name itself where it has none."""
    line = [compiler() or "g++", f"-print-file-name={name}"]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    """The variables of a process that compiles with the sanitizers and has their runtime."""
    if compiler() is None:
        pytest.skip("no C++ compiler")
    libraries = [runtime(name) for name in ("libasan.so", "libubsan.so")]
    if not all("/" in library for library in libraries):
        pytest.skip("the compiler has no sanitizers")
    return {
        "RECURRA_CXXFLAGS": FLAGS,
        "RECURRA_CACHE": str(tmp_path_factory.mktemp("sanitized")),
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:exitcode=99",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=98",
    }


@pytest.mark.parametrize("isa", ISAS)
def test_no_report(isa, sanitized, python, tests_path):
    if isa not in CAPABLE:
        pytest.skip(f"this CPU has no {isa}")
    out, err = python(WORK.replace("ROUNDS", "60"), timeout_s=1700, **sanitized, RECURRA_ISA=isa, PYTHONPATH=tests_path)
    assert (out, err) == ("420 runs without a report\n", "")


BROKEN = """
import ctypes
from recurra.kernels.cpu.compiler import build
text = '''
#include <stdlib.h>
extern "C" __attribute__((visibility("default"))) int wrong(int at) {
    volatile size_t size = 8;  // else UBSan, which can see the size, is the first to speak
    char* p = (char*)malloc(size);
    p[at] = 1;
    const int found = p[at] + (1 << at);
    free(p);
    return found;
}
'''
library = ctypes.CDLL(str(build(text, "base")))
library.wrong(AT)
"""


@pytest.mark.parametrize(
    ("at", "report"), [(9, "heap-buffer-overflow"), (-1, "heap-buffer-overflow"), (-100, "AddressSanitizer")]
)
def test_a_mistake_would_be_reported(at, report, sanitized, start):
    process = start(BROKEN.replace("AT", str(at)), **sanitized)
    _, err = process.communicate(timeout=120)
    assert process.returncode
    assert report in err
