"""`recurra cells`: at once, without torch, and from the equations that run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from recurra.cells import CELLS
from recurra.equations.show import equations
from unit.cli.command_line import Recurra


def test_the_list_has_every_cell_with_equations_count_and_source(recurra: Recurra) -> None:
    shown = recurra("cells").out
    for name, cell in CELLS.items():
        spec = cell().spec
        assert f"\n{name}  {spec.parameter_formula} parameters" in "\n" + shown
        assert all(f"    {line}" in shown for line in equations(spec).splitlines())
    assert shown.count("doi:") + shown.count("arXiv:") >= len(CELLS)
    assert "\x1b" not in shown


def test_one_cell_in_full(recurra: Recurra) -> None:
    shown = recurra("cells", "lstm").out
    assert "    c' = f ⊙ c + i ⊙ g\n" in shown
    assert "parameters  W.i W.f W.g W.o (H, I)\n" in shown
    assert "count       4HI + 4HH + 4H\n" in shown
    assert "1 matrix product that waits for the state before" in shown
    assert "2 matrix products, one after the other that wait" in recurra("cells", "gru_v1").out


def test_parameters_are_counted(recurra: Recurra) -> None:
    shown = recurra("cells", "lstm", "--params", "128", "256").out
    assert shown.splitlines()[0] == "lstm: 4HI + 4HH + 4H = 394,240 parameters for I = 128, H = 256"
    counts = [int(line.split()[-1].replace(",", "")) for line in shown.splitlines()[1:]]
    assert sum(counts) == 4 * (256 * 128 + 256 * 256 + 256)
    assert len(recurra("cells", "--params", "128", "256").out.splitlines()) == len(CELLS)
    assert "= 66 parameters for I = 2, H = 4, O = 6" in recurra("cells", "jordan", "--params", "2", "4", "6").out


def test_latex_cite_and_json(recurra: Recurra) -> None:
    latex = recurra("cells", "lstm", "--latex").out
    assert latex.startswith("\\begin{aligned}")
    assert "c' &= f \\odot c + i \\odot g" in latex
    cited = recurra("cells", "lstm", "--cite").out
    assert cited.startswith("@article{hochreiter1997,")
    assert "10.1162/neco.1997.9.8.1735" in cited
    assert recurra("cells", "--cite").out.count("@") == len({key for _, cell in CELLS.items() for key in cell.cite})
    facts = json.loads(recurra("cells", "gru", "--json").out)
    assert facts["states"] == {"h": "H"}
    assert facts["parameters"]["U.n"] == ["H", "H"]
    assert [one["name"] for one in json.loads(recurra("cells", "--json").out)] == [name for name, _ in CELLS.items()]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["lstn"], ["no cell is called 'lstn'", "There are: lstm"]),
        (["lstm", "--params", "3"], ["lstm has the sizes I, H", "got 3"]),
        (["lstm", "--params", "3", "0"], ["all at least 1; got 3 0"]),
        (["lstm", "--json", "--latex"], ["not allowed with"]),
    ],
)
def test_faults(recurra: Recurra, words: list[str], parts: list[str]) -> None:
    ended = recurra("cells", *words)
    assert ended.code == 2
    assert all(part in ended.err for part in parts)


@pytest.mark.parametrize("words", [["--help"], ["cells"], ["cells", "lstm", "--latex"], ["train", "--help"]])
def test_it_answers_within_half_a_second_of_cpu_and_without_torch(words: list[str]) -> None:
    program = (
        "import sys, time\n"
        "from recurra.cli.main import main\n"
        f"code = main({words!r})\n"
        "print(time.process_time(), 'torch' in sys.modules, file=sys.stderr)\n"
        "sys.exit(code)"
    )
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={**os.environ, "NO_COLOR": "1"}
    )
    cpu_s, torch_imported = ended.stderr.split()
    assert torch_imported == "False"
    # CPU time, because other tests run beside this one; the wall clock is only there to be read in a failure.
    assert float(cpu_s) < 0.5, f"{time.monotonic() - began:.2f} s on the wall"
    assert ended.stdout


def test_help_names_every_verb(recurra: Recurra) -> None:
    shown = recurra().out
    for verb in ("cells", "train", "generate", "eval", "report", "demo"):
        assert f"\n  {verb} " in shown
        assert recurra(verb, "--help").out.startswith(f"usage: recurra {verb}")
    kinds = recurra("train", "--help").out
    for kind in ("text", "task", "forecast", "classify", "events", "anomaly"):
        assert f"\n  {kind} " in kinds
        assert f"recurra train {kind}" in kinds
    nothing = recurra("train")
    assert (nothing.code, nothing.out, nothing.err) == (2, "", kinds)
    assert recurra("--version").out.startswith("recurra ")
