"""The engine and the cells in memory: instruction sets, what a wheel brings, and life without a compiler."""

from __future__ import annotations

import os
import shutil

import pytest
import torch
from tests.tolerances import TOLERANCE

from recurra.cells import CELLS
from recurra.kernels.cpu import compiler, library, prebuild
from recurra.kernels.cpu.compiler import ISAS, CompileError, digest, engine_sources
from recurra.kernels.cpu.emit import segments, source
from recurra.kernels.cpu.library import Compiled, engine, isa
from recurra.kernels.cpu.program import CellProgram

pytestmark = pytest.mark.skipif(compiler.compiler() is None, reason="no C++ compiler")

CAPABLE = {"AVX512": ["avx512", "avx2", "base"], "AVX2": ["avx2", "base"]}.get(
    torch.backends.cpu.get_cpu_capability(), ["base"]
)

# Forward and backward against the reference, one number a cell: the largest relative difference.
COMPARE = """
import torch
from recurra.base.state import leaves
from recurra.layers import Recurrent
from recurra.kernels.cpu.library import isa

for cell in ("gru_v1", "layer_norm_lstm"):
    found = []
    for backend in ("reference", "native"):
        torch.manual_seed(0)
        layer = Recurrent(cell, 5, 19, backend=backend).double()
        x = torch.randn(3, 6, 5, dtype=torch.float64, requires_grad=True)
        y, last = layer(x)
        total = (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum() + sum(
            part.sum() for part in leaves(last)
        )
        found.append([y.detach(), *torch.autograd.grad(total, [x, *layer.parameters()])])
    error = max(float((a - b).abs().max() / b.abs().max().clamp(min=1)) for a, b in zip(*found, strict=True))
    print(cell, isa(), error)
"""


# The best one is what every other test runs.
@pytest.mark.parametrize(
    "name", ["avx512", *(pytest.param(name, marks=pytest.mark.slow) for name in ISAS if name != "avx512")]
)
def test_every_instruction_set_gives_the_same_numbers(name, python):
    if name not in CAPABLE:
        pytest.skip(f"this CPU has no {name}")
    out, err = python(COMPARE, RECURRA_ISA=name)
    assert err == ""
    lines = [line.split() for line in out.splitlines()]
    assert [line[:2] for line in lines] == [["gru_v1", name], ["layer_norm_lstm", name]]
    assert max(float(line[2]) for line in lines) <= TOLERANCE[torch.float64, "gradient"]


RUN = """
import time
from pathlib import Path
import torch
from recurra.equations.cell import Cell
from recurra.equations.functions import tanh
from recurra.kernels.cpu import library
from recurra.kernels.cpu.library import isa
from recurra.layers import Recurrent

library.PREBUILT = Path("nothing was built beforehand")

class Own(Cell):
    states = "h"

    def step(self, x, h, W, U, k):
        return tanh(W @ x + k * (U @ h))

torch.manual_seed(0)
for cell in ("gru", Own, "gru"):
    layer = Recurrent(cell, 4, 5)
    start = time.perf_counter()
    for steps in (3, 2):
        layer(torch.randn(2, steps, 4))[0].sum().backward()
    print(f"{time.perf_counter() - start:.2f} s")
"""


def lines_of(python, **variables):
    out, err = python(RUN, **variables)
    assert out.count(" s\n") == 3
    lines = err.splitlines()
    # One line a cell, however often it runs.
    assert [line.split(" runs on the slower reference: ")[0] for line in lines] == ["recurra: gru", "recurra: own"]
    return [line.split(" runs on the slower reference: ")[1] for line in lines]


def test_without_a_compiler_one_clear_line_a_cell(python, tmp_path):
    for line in lines_of(python, RECURRA_CXX="/nonexistent", CXX=None, PATH="", RECURRA_CACHE=str(tmp_path)):
        assert line == "native engine: no C++ compiler was found. Hint: install g++, or set CXX."
    assert list(tmp_path.iterdir()) == []


def test_with_a_compiler_that_fails(python, tmp_path):
    program = tmp_path / "broken"
    program.write_text("#!/bin/sh\necho the stars are wrong >&2\nexit 1\n")
    program.chmod(0o755)
    for line in lines_of(python, RECURRA_CXX=str(program), RECURRA_CACHE=str(tmp_path / "cache")):
        assert line == f"native engine: {program} failed. the stars are wrong"


def test_a_cache_that_cannot_be_written(python, tmp_path):
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "cache"
    for line in lines_of(python, RECURRA_CACHE=str(folder)):
        assert line == (
            f"native engine: cannot write to the cache folder {folder}: Not a directory. "
            "Hint: set RECURRA_CACHE to another one."
        )


def test_an_instruction_set_that_does_not_exist(python):
    for line in lines_of(python, RECURRA_ISA="mmx"):
        assert line == "native engine: RECURRA_ISA must be one of avx512, avx2, base, got 'mmx'."


@pytest.mark.slow
def test_a_cache_from_its_first_cell_on(python, tmp_path):
    # The engine comes with the package or is built once; here it is there.
    path = compiler.build((compiler.ENGINE / "engine.cpp").read_text(encoding="utf-8"), isa())
    for part in (path, path.with_suffix(".sum")):
        shutil.copy(part, tmp_path)
    out, err = python(RUN, RECURRA_CACHE=str(tmp_path))
    print(f"two cells compiled and run, the second of them a user's own: {out}")
    assert err == ""
    # A library and a checksum for each of the cells.
    assert len(os.listdir(tmp_path)) == 2 + 2 * 2
    # Cells without the engine are of no use, and that is known before a run.
    (tmp_path / path.name).unlink()
    lines = lines_of(python, RECURRA_CXX="/nonexistent", CXX=None, PATH="", RECURRA_CACHE=str(tmp_path))
    assert {line.split(".")[0] for line in lines} == {"native engine: no C++ compiler was found"}


def test_the_best_instruction_set_is_taken(monkeypatch):
    monkeypatch.delenv("RECURRA_ISA", raising=False)
    assert isa.__wrapped__() == CAPABLE[0]


def test_an_engine_of_another_version_is_refused(tmp_path, monkeypatch):
    text = 'extern "C" __attribute__((visibility("default"))) long recurra_abi(void) { return 999; }'
    path = compiler.build(text, "base", folder=tmp_path)
    with pytest.raises(CompileError, match="another version of the interface"):
        library.Engine(path)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A folder as a wheel has it, with two cells for one instruction set, and no compiler from then on."""
    folder = tmp_path / "prebuilt"
    monkeypatch.setattr(prebuild, "isas", lambda: [isa()])
    # The engine takes long, and it is in the cache.
    monkeypatch.setattr(prebuild, "build", lambda text, isa, folder: compiler.build(text, isa))
    made = prebuild.prebuild(folder, [CELLS[name]().spec for name in ("elman", "gru")])
    monkeypatch.setattr(library, "PREBUILT", folder)
    caches = (engine, library._prebuilt_cells)
    for memory in caches:
        memory.cache_clear()
    monkeypatch.setattr(library, "build", lambda *_: pytest.fail("compiled although it was there"))
    yield made
    monkeypatch.undo()
    for memory in caches:
        memory.cache_clear()


def test_what_a_wheel_brings_is_used(package):
    mark = digest(engine_sources())
    assert [path.name for path in package] == [f"engine-{isa()}-{mark}.so", f"cells-{isa()}-{mark}.so"]
    for name in ("elman", "gru"):
        for spec in prebuild.variants(CELLS[name]().spec):
            compiled = Compiled(CellProgram(spec), torch.float32)
            assert compiled.functions.keys() == set(prebuild.PROGRAMS)
            for program, addresses in compiled.functions.items():
                assert len(addresses) == len(segments(compiled.schedules[program])) > 0
                assert all(addresses)
            assert len({a for addresses in compiled.functions.values() for a in addresses}) == sum(
                map(len, compiled.functions.values())
            )


def test_what_a_wheel_does_not_bring_is_compiled(package, monkeypatch):
    asked = []
    monkeypatch.setattr(library, "build", lambda *given: asked.append(given) or compiler.build(*given))
    Compiled(CellProgram(CELLS["elman"]().spec), torch.float64)
    Compiled(CellProgram(CELLS["minimal_gated_unit"]().spec), torch.float32)
    assert [given[1:] for given in asked] == [(isa(), "double"), (isa(), "float")]


@pytest.mark.slow
def test_every_cell_of_the_registry_is_in_the_wheel():
    text = prebuild.cell_sources([CELLS[name]().spec for name in CELLS])
    keys = set()
    for name in CELLS:
        for spec in prebuild.variants(CELLS[name]().spec):
            for hoist in prebuild.HOISTS:
                keys.add(prebuild.cell_key(source(prebuild.schedules(CellProgram(spec, hoist)), "cell")))
            assert f"// {spec.name}\n" in text
    # Their options make other programs of them, which do not share a name.
    assert len(keys) > 3 * len(CELLS)
    for key in keys:
        assert text.count(f" cell_{key}_infer_0(") == 1


@pytest.mark.slow
def test_a_whole_wheel_for_one_instruction_set(python, tmp_path):
    # Without torch, as when a wheel is built; then without a compiler, as where it is installed.
    folder, cache = tmp_path / "prebuilt", tmp_path / "cache"
    out, _ = python(
        f"""
        import sys
        sys.modules["torch"] = None
        from pathlib import Path
        from recurra.cells import CELLS
        from recurra.kernels.cpu import prebuild
        prebuild.isas = lambda: [{isa()!r}]
        for path in prebuild.prebuild(Path({str(folder)!r}), [CELLS[name]().spec for name in CELLS]):
            print(path.stat().st_size)
        """
    )
    assert len(out.split()) == 2
    code = (
        f"from pathlib import Path\nfrom recurra.kernels.cpu import library\nlibrary.PREBUILT = Path({str(folder)!r})\n"
    )
    single = COMPARE.replace(".double()", "").replace("torch.float64", "torch.float32")
    out, err = python(code + single, PATH="", RECURRA_CXX=None, CXX=None, RECURRA_CACHE=str(cache))
    assert err == ""
    assert max(float(line.split()[2]) for line in out.splitlines()) <= TOLERANCE[torch.float32, "rounding"]
    assert not cache.exists()
