"""C++ beside a module: built, taken from a wheel, or refused in one line."""

import ctypes
from ctypes import c_double

import pytest

from recurra.kernels.cpu import extension as module
from recurra.kernels.cpu.compiler import CompileError
from recurra.kernels.cpu.extension import extension
from recurra.kernels.cpu.prebuild import extension_name

TWICE = (
    '#include "vec.hpp"\nextern "C" __attribute__((visibility("default"))) double twice(double x) { return 2 * x; }\n'
)


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("RECURRA_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "twice.cpp"
    path.write_text(TWICE)
    return path


def test_a_file_becomes_a_library(source):
    library = extension(source)
    assert library is not None
    library.twice.restype, library.twice.argtypes = c_double, [c_double]
    assert library.twice(1.25) == 2.5


def test_what_does_not_compile_is_said_and_none(source, capfd):
    source.write_text("this is not C++")
    assert extension(source) is None
    said = capfd.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert said[0].startswith("recurra: twice runs its slower way in Python: ")


def test_what_the_wheel_brings_is_taken_and_nothing_is_compiled(source, tmp_path, monkeypatch):
    built = module.build(TWICE, module.isa())
    built.rename(tmp_path / f"{extension_name('twice', module.isa(), TWICE)}.so")

    def refuse(*_):
        raise CompileError("nothing is compiled here")

    monkeypatch.setattr(module, "PREBUILT", tmp_path)
    monkeypatch.setattr(module, "build", refuse)
    assert isinstance(extension(source), ctypes.CDLL)
