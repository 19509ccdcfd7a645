"""Builds the native engine and the cells of the registry into the wheel; everything else is in pyproject.toml.

Where there is no C++ compiler the wheel is made without them, and says so: cells are then compiled when first used, or
run on the reference. An editable install compiles at first use, too.
"""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.dist import Distribution

sys.path.insert(0, str(Path(__file__).parent / "src"))


class BuildWithNative(build_py):
    """The Python files, and beside them what was compiled."""

    def run(self) -> None:
        """As always, then the libraries."""
        super().run()
        if self.editable_mode:
            return
        from recurra.cells import CELLS
        from recurra.kernels.cpu.compiler import CompileError
        from recurra.kernels.cpu.prebuild import prebuild

        try:
            folder = Path(self.build_lib) / "recurra" / "kernels" / "cpu" / "prebuilt"
            extensions = sorted((Path(__file__).parent / "src" / "recurra").glob("**/native/*.cpp"))
            prebuild(folder, [CELLS[name]().spec for name in CELLS], extensions)
        except CompileError as error:
            self.warn(f"built without the native engine: {error}")


class PlatformWheel(bdist_wheel):
    """One wheel per platform for every Python: the libraries do not touch Python's own interface."""

    def finalize_options(self) -> None:
        """A wheel with compiled parts."""
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self) -> tuple[str, str, str]:
        """Any Python 3, this platform."""
        return "py3", "none", super().get_tag()[2]


class NativeDistribution(Distribution):
    """Has compiled parts, so it is installed where such things go."""

    def has_ext_modules(self) -> bool:
        """So setuptools is told."""
        return True


setup(distclass=NativeDistribution, cmdclass={"build_py": BuildWithNative, "bdist_wheel": PlatformWheel})
