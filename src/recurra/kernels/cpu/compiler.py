"""Shared libraries from C++ text: built once, kept on disk by the hash of everything that went in.

Files are written under a temporary name and renamed; of processes that want the same thing at once, one builds and the
others wait for it, where the system has file locks. A checksum beside each library shows one that is damaged, and it is
built again.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from recurra.base.errors import message

__all__ = ["ISAS", "CompileError", "build", "cache_folder", "command", "compiler", "digest", "engine_sources"]

ENGINE = Path(__file__).parent / "engine"

# Flags per instruction set, best first; `base` is what every CPU of the architecture has.
ISAS: dict[str, tuple[str, ...]] = {
    "avx512": ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma", "-mavx2"),
    "avx2": ("-mavx2", "-mfma"),
    "base": (),
}
FLAGS = (
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-shared",
    "-fopenmp",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
)


class CompileError(RuntimeError):
    """The compiler is missing or did not accept its input."""


@cache
def compiler() -> str | None:
    """The C++ compiler: $RECURRA_CXX, $CXX, g++ or clang++; None where there is none."""
    for name in (os.environ.get("RECURRA_CXX"), os.environ.get("CXX"), "g++", "clang++", "c++"):
        if name and shutil.which(name):
            return shutil.which(name)
    return None


def cache_folder() -> Path:
    """$RECURRA_CACHE, or `recurra` in the user's cache folder."""
    given = os.environ.get("RECURRA_CACHE")
    if given:
        return Path(given)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "recurra"


@cache
def engine_sources() -> str:
    """Every file of the engine, one after the other: part of each hash."""
    return "".join(path.read_text(encoding="utf-8") for path in [*sorted(ENGINE.glob("*.[ch]pp")), ENGINE / "abi.h"])


def command(isa: str, real: str = "float") -> list[str]:
    """The flags for one instruction set and number type, those of $RECURRA_CXXFLAGS last."""
    return [*FLAGS, *ISAS[isa], f"-DREAL={real}", *shlex.split(os.environ.get("RECURRA_CXXFLAGS", ""))]


def digest(*parts: str) -> str:
    """What a library is named by."""
    whole = hashlib.blake2b(digest_size=12)
    for part in parts:
        whole.update(part.encode() + b"\0")
    return whole.hexdigest()


def build(text: str, isa: str, real: str = "float", folder: Path | None = None) -> Path:
    """The shared library for `text`, from the cache or built now; CompileError with the compiler's words.

    The name is the hash of the text, the engine's headers and the flags; ctypes may load what comes back.
    """
    flags = command(isa, real)
    # A home folder may be shared by machines of several kinds.
    name = digest(text, engine_sources(), " ".join(flags), sys.platform, platform.machine())
    folder = folder or cache_folder()
    target = folder / f"{name}.so"
    if _sound(target):
        return target
    cxx = compiler()
    if cxx is None:
        raise CompileError(message("native engine", "no C++ compiler was found", hint="install g++, or set CXX."))
    try:
        return _compile([cxx, *flags, f"-I{ENGINE}"], text, folder, target)
    except OSError as error:
        fact = f"cannot write to the cache folder {folder}: {error.strerror or error}"
        raise CompileError(message("native engine", fact, hint="set RECURRA_CACHE to another one.")) from None


def _compile(line: Sequence[str], text: str, folder: Path, target: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(target.with_suffix(".lock")), tempfile.TemporaryDirectory(dir=folder, prefix="build-") as workplace:
        if _sound(target):
            return target
        source = Path(workplace) / "cell.cpp"
        source.write_text(text, encoding="utf-8")
        made = Path(workplace) / "cell.so"
        run = subprocess.run([*line, str(source), "-o", str(made)], capture_output=True, text=True, check=False)
        if run.returncode:
            raise CompileError(message("native engine", f"{line[0]} failed", *run.stderr.strip().splitlines()[:8]))
        check = Path(workplace) / "sum"
        check.write_text(_checksum(made), encoding="utf-8")
        made.replace(target)
        check.replace(_beside(target))
    return target


@contextmanager
def _alone(lock: Path) -> Generator[None]:
    """One process at a time; without file locks (Windows, some network folders) as many as come."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        # Who opened it just now waits on a file without a name, and finds the library when it is let in.
        with suppress(OSError):
            lock.unlink(missing_ok=True)
        os.close(handle)


def _beside(path: Path) -> Path:
    return path.with_suffix(".sum")


def _checksum(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _sound(path: Path) -> bool:
    """Whether the library is there and whole."""
    try:
        return _beside(path).read_text(encoding="utf-8") == _checksum(path)
    except OSError:
        return False
