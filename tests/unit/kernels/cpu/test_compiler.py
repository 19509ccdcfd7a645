"""The cache of shared libraries: names, damage, two at once, no compiler. Nothing here needs torch."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from recurra.kernels.cpu import compiler as module
from recurra.kernels.cpu.compiler import (
    ISAS,
    CompileError,
    build,
    cache_folder,
    command,
    compiler,
    digest,
    engine_sources,
)

needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C++ compiler")

TEXT = """
extern "C" __attribute__((visibility("default"))) int answer(void) {{ return {0}; }}
extern "C" __attribute__((visibility("default"))) int width(void) {{ return sizeof(REAL); }}
"""


def answer(path):
    return ctypes.CDLL(str(path)).answer()


@pytest.fixture
def compilations(monkeypatch):
    """How often the compiler ran."""
    runs = []
    real = module.subprocess.run
    monkeypatch.setattr(module.subprocess, "run", lambda line, **how: runs.append(line) or real(line, **how))
    return runs


@needs_compiler
def test_built_once_and_named_by_what_went_in(tmp_path, compilations):
    first = build(TEXT.format(1), "base", folder=tmp_path)
    assert build(TEXT.format(1), "base", folder=tmp_path) == first
    assert len(compilations) == 1
    assert answer(first) == 1
    second = build(TEXT.format(2), "base", folder=tmp_path)
    assert answer(second) == 2
    double = build(TEXT.format(1), "base", "double", tmp_path)
    assert [ctypes.CDLL(str(path)).width() for path in (first, double)] == [4, 8]
    assert len({first, second, double}) == len(compilations) == 3
    # Nothing is left of the building.
    assert {path.suffix for path in tmp_path.iterdir()} == {".so", ".sum"}
    assert len(list(tmp_path.iterdir())) == 6


@needs_compiler
def test_everything_that_matters_is_in_the_name(tmp_path, compilations, monkeypatch):
    names = {build(TEXT.format(3), "base", folder=tmp_path)}
    monkeypatch.setenv("RECURRA_CXXFLAGS", "-DOTHER='a b' -g0")
    names.add(build(TEXT.format(3), "base", folder=tmp_path))
    assert compilations[-1].count("-DOTHER=a b") == 1
    monkeypatch.setattr(module.platform, "machine", lambda: "pdp11")
    names.add(build(TEXT.format(3), "base", folder=tmp_path))
    monkeypatch.setattr(module, "engine_sources", lambda: "another engine")
    names.add(build(TEXT.format(3), "base", folder=tmp_path))
    assert len(names) == len(compilations) == 4


def test_flags_of_the_instruction_sets():
    assert list(ISAS)[-1] == "base"
    for isa, flags in ISAS.items():
        assert set(flags) < set(command(isa))
    assert "-DREAL=double" in command("base", "double")
    # What would break NaN and infinity.
    assert not {"-ffast-math", "-Ofast", "-ffinite-math-only"} & set(command("avx512"))


def test_digest_keeps_its_parts_apart():
    assert digest("ab", "c") != digest("a", "bc")
    assert re.fullmatch(r"[0-9a-f]{24}", digest(engine_sources()))


DAMAGE = {
    "truncated": lambda so, check: so.write_bytes(so.read_bytes()[:1000]),
    "empty": lambda so, check: so.write_bytes(b""),
    "a bit flipped": lambda so, check: so.write_bytes(
        bytes([*(data := so.read_bytes())[:-9], data[-9] ^ 1, *data[-8:]])
    ),
    "wrong checksum": lambda so, check: check.write_text("0" * 32),
    "no checksum": lambda so, check: check.unlink(),
    "no library": lambda so, check: so.unlink(),
}


@needs_compiler
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_seen_and_repaired(damage, tmp_path, compilations):
    number = 10 + list(DAMAGE).index(damage)
    path = build(TEXT.format(number), "base", folder=tmp_path)
    DAMAGE[damage](path, path.with_suffix(".sum"))
    assert build(TEXT.format(number), "base", folder=tmp_path) == path
    assert len(compilations) == 2
    assert answer(path) == number
    build(TEXT.format(number), "base", folder=tmp_path)
    assert len(compilations) == 2


BUILD = """
    import ctypes, sys
    from recurra.kernels.cpu.compiler import build
    text = 'extern "C" __attribute__((visibility("default"))) int answer(void) { return 42; }'
    path = build(text, "base")
    print(path.name, ctypes.CDLL(str(path)).answer(), "torch" in sys.modules)
"""


@needs_compiler
def test_four_processes_that_build_the_same_thing(start, tmp_path):
    cache = tmp_path / "new" / "cache"
    running = [start(BUILD, RECURRA_CACHE=str(cache)) for _ in range(4)]
    said = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0] * 4, said
    (line,) = {out for out, _ in said}
    name, *rest = line.split()
    assert rest == ["42", "False"]
    assert {path.name for path in cache.iterdir()} == {name, name.replace(".so", ".sum")}
    assert answer(cache / name) == 42


@needs_compiler
@pytest.mark.skipif(sys.platform == "win32", reason="no file locks")
def test_one_builds_while_the_others_wait(tmp_path, compilations):
    with ThreadPoolExecutor(4) as four:
        paths = set(four.map(lambda _: build(TEXT.format(7), "base", folder=tmp_path), range(4)))
    assert len(compilations) == len(paths) == 1
    assert answer(paths.pop()) == 7
    assert {path.suffix for path in tmp_path.iterdir()} == {".so", ".sum"}


@needs_compiler
def test_a_folder_without_locks(tmp_path, compilations, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError("locks are not supported here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert answer(build(TEXT.format(8), "base", folder=tmp_path)) == 8
    assert len(compilations) == 1


@needs_compiler
def test_the_words_of_the_compiler(tmp_path):
    with pytest.raises(CompileError, match=r"native engine: .* failed\.\n(.|\n)*error: .*no_such_thing") as caught:
        build("int f() { return no_such_thing; }", "base", folder=tmp_path)
    assert len(str(caught.value).splitlines()) <= 9
    assert list(tmp_path.iterdir()) == []


def test_no_compiler(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "compiler", lambda: None)
    with pytest.raises(CompileError, match=r"no C\+\+ compiler was found(.|\n)*Hint: install g\+\+, or set CXX"):
        build(TEXT.format(4), "base", folder=tmp_path)


@needs_compiler
def test_what_is_in_the_cache_needs_no_compiler(tmp_path, monkeypatch):
    path = build(TEXT.format(5), "base", folder=tmp_path)
    monkeypatch.setattr(module, "compiler", lambda: None)
    assert build(TEXT.format(5), "base", folder=tmp_path) == path


@needs_compiler
def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CompileError, match=r"cannot write to the cache folder .*file(.|\n)*Hint: set RECURRA_CACHE"):
        build(TEXT.format(6), "base", folder=tmp_path / "file" / "cache")


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("RECURRA_CACHE", str(tmp_path / "given"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "given"
    monkeypatch.delenv("RECURRA_CACHE")
    assert cache_folder() == tmp_path / "recurra"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "recurra"


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder of programs that do nothing, alone on the PATH."""
    for name in ("g++", "clang++", "my-compiler"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("RECURRA_CXX", raising=False)
    return tmp_path


def find():
    # Not from its memory.
    return compiler.__wrapped__()


def test_which_compiler(programs, monkeypatch):
    assert find() == str(programs / "g++")
    (programs / "g++").unlink()
    assert find() == str(programs / "clang++")
    monkeypatch.setenv("CXX", "my-compiler")
    assert find() == str(programs / "my-compiler")
    monkeypatch.setenv("RECURRA_CXX", str(programs / "clang++"))
    assert find() == str(programs / "clang++")
    monkeypatch.setenv("RECURRA_CXX", str(programs / "absent"))
    assert find() == str(programs / "my-compiler")
    monkeypatch.setenv("PATH", os.devnull)
    assert find() is None
    assert shutil.which("g++") is None


def test_the_part_that_wheels_are_built_with_needs_no_torch(python):
    out, _ = python(
        """
        import sys
        sys.modules["torch"] = None
        from recurra.cells import CELLS
        from recurra.kernels.cpu import compiler, emit, prebuild, program, schedule
        cell = program.CellProgram(CELLS["gru"]().spec)
        print(len(emit.source(prebuild.schedules(cell), "cell")) > 1000)
        """
    )
    assert out == "True\n"
