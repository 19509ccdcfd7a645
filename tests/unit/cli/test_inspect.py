"""`recurra inspect` on real runs: the page, the numbers, two beside each other, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from recurra.diagnostics.history import FILE, read_spectra
from recurra.training.checkpoint import load_weights, save_weights
from unit.cli.command_line import TINY, Recurra


@pytest.fixture(scope="session")
def simple(text_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Elman net on the same text."""
    from recurra.cli.main import main

    folder = tmp_path_factory.mktemp("simple") / "elman"
    assert main(["train", "text", str(text_file), "--out", str(folder), "--cell", "elman", "--quiet", *TINY]) == 0
    return folder


def test_the_page_stands_alone(recurra: Recurra, a_run: Path, text_file: Path) -> None:
    ended = recurra("inspect", a_run, text_file, "--quiet")
    assert ended == (0, f"{a_run / 'inspect.html'}\n", "")
    page = (a_run / "inspect.html").read_text(encoding="utf-8")
    assert not re.search(r"""src\s*=|url\(|@import|https?://(?!www\.w3\.org/2000/svg)""", page)
    for title in (
        "Inside cats",
        "Which inputs each output depends on",
        "How far back the loss is felt",
        "What becomes of a change of the state",
        "Half-life of each unit",
        "Spectrum of the step, on data",
        "Gate saturation: layer 0",
        "Units with a meaning",
        "What the last answer rests on",
        "The cell as a graph: lstm",
    ):
        assert title in page, title
    assert "of cats.txt" in page


def test_without_data_the_run_s_own_excerpt_is_used(recurra: Recurra, a_run: Path, tmp_path: Path) -> None:
    ended = recurra("inspect", a_run, "--only", "saliency", "--out", tmp_path / "p.html")
    assert ended.code == 0
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert "held-out excerpt" in page
    assert "Gate saturation" not in page


def test_two_beside_each_other(recurra: Recurra, a_run: Path, simple: Path, text_file: Path, tmp_path: Path) -> None:
    ended = recurra(
        "inspect",
        simple,
        text_file,
        "--beside",
        a_run,
        "--only",
        "saliency",
        "--only",
        "gradient",
        "--out",
        tmp_path / "p.html",
        "--json",
    )
    assert ended.code == 0
    numbers = json.loads(ended.out)
    assert set(numbers) == {"saliency", "gradient"}
    assert set(numbers["saliency"]) == {"elman", "cats"}
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert "Inside elman beside cats" in page
    assert "elman: layer 0 h" in page
    # One run twice is told apart.
    twice = json.loads(recurra("inspect", simple, "--beside", simple, "--only", "saliency", "--json").out)
    assert set(twice["saliency"]) == {"elman (1)", "elman (2)"}


def test_json_alone_writes_no_page(recurra: Recurra, a_run: Path) -> None:
    ended = recurra("inspect", a_run, "--json", "--only", "spectrum", "--only", "memory")
    assert ended.code == 0
    assert not (a_run / "inspect.html").exists()
    numbers = json.loads(ended.out)
    assert set(numbers["spectrum"]["cats"]["spectral_radius"]) == {f"layer 0 U.{gate}" for gate in "ifgo"}
    assert len(numbers["memory"]["cats"]["layer 0 c"]) == 8


def test_training_records_its_spectra(trained: Path, recurra: Recurra, a_run: Path) -> None:
    assert (trained / FILE).exists()
    [moment] = read_spectra(trained)
    assert moment.iteration == 1
    assert {name: len(values) for name, values in moment.eigenvalues.items()} == {f"0.U.{gate}": 8 for gate in "ifgo"}
    over = json.loads(recurra("inspect", a_run, "--json", "--only", "spectrum").out)["spectrum"]["cats"]
    assert over["over_training"]["iteration"] == [1]


def test_weights_that_are_not_finite_get_forensics_instead_of_a_crash(recurra: Recurra, a_run: Path) -> None:
    path = a_run / "weights.safetensors"
    weights, info = load_weights(path)
    weights["recurrent.units.0.U.f"][2, 3] = torch.nan
    save_weights(path, weights, info)
    ended = recurra("inspect", a_run, "--quiet")
    assert ended.code == 0, ended.err
    page = (a_run / "inspect.html").read_text(encoding="utf-8")
    assert "What went wrong" in page
    assert "recurrent.units.0.U.f, 1 of 64 entries" in page
    assert "Which inputs" not in page


def test_pngs(recurra: Recurra, a_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    refused = recurra("inspect", a_run, "--png", tmp_path / "png")
    assert refused.code == 2
    assert "pip install 'recurra[png]'" in refused.err
    assert not (a_run / "inspect.html").exists(), "it is said before the work, not after"
    drawer = SimpleNamespace(svg_to_bytes=lambda **_: b"\x89PNG")
    monkeypatch.setitem(sys.modules, "resvg_py", drawer)
    ended = recurra("inspect", a_run, "--png", tmp_path / "png", "--only", "saliency", "--only", "graph", "--quiet")
    written = {path.name for path in (tmp_path / "png").iterdir()}
    assert written == {"saliency-1.png", "saliency-2.png", "graph.png"}
    assert all(str(tmp_path / "png" / name) in ended.out for name in written)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere"], "no such run"),
        (["RUN", "--only", "gate"], "no part is called 'gate'"),
        (["RUN", "missing.txt"], "missing.txt"),
        (["RUN", "EMPTY"], "is empty"),
        (["RUN", "GREEK"], "α"),
        (["RUN", "--steps", "1"], "--steps from 2"),
        (["RUN", "--beside", "nowhere"], "no such run"),
    ],
)
def test_bad_input_gets_a_message_and_no_traceback(
    recurra: Recurra, a_run: Path, tmp_path: Path, words: list[str], says: str
) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "greek.txt").write_text("αβγ" * 99, encoding="utf-8")
    places = {"RUN": a_run, "EMPTY": tmp_path / "empty.txt", "GREEK": tmp_path / "greek.txt"}
    ended = recurra("inspect", *(places.get(word, word) for word in words))
    assert ended.code == 2
    assert ended.out == ""
    assert says in ended.err
    assert "Traceback" not in ended.err


def test_a_folder_that_is_no_run(recurra: Recurra, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    ended = recurra("inspect", tmp_path / "plain")
    assert ended.code == 2
    assert "is no run" in ended.err


def test_a_run_without_weights(recurra: Recurra, a_run: Path) -> None:
    shutil.copytree(a_run, a_run.parent / "young")
    (a_run.parent / "young" / "weights.safetensors").unlink()
    ended = recurra("inspect", a_run.parent / "young")
    assert ended.code == 2
    assert "no weights yet" in ended.err


def test_a_cell_is_drawn(recurra: Recurra, tmp_path: Path) -> None:
    ended = recurra("cells", "gru", "--graph", tmp_path / "gru.svg")
    assert ended.out == f"{tmp_path / 'gru.svg'}\n"
    assert (tmp_path / "gru.svg").read_text(encoding="utf-8").startswith("<svg")
    assert "one cell is drawn at a time" in recurra("cells", "--graph", tmp_path / "all.svg").err
    assert "must end in .svg" in recurra("cells", "gru", "--graph", tmp_path / "gru.png").err


def test_the_run_s_own_report_shows_the_glance(recurra: Recurra, a_run: Path) -> None:
    assert recurra("report", a_run).code == 0
    page = (a_run / "report.html").read_text(encoding="utf-8")
    for title in ("Which inputs each output depends on", "Gate saturation", "The cell as a graph", "How far back"):
        assert title in page
    assert "What went wrong" not in page
    path = a_run / "weights.safetensors"
    weights, info = load_weights(path)
    weights["recurrent.units.0.b.o"][1] = torch.inf
    save_weights(path, weights, info)
    assert recurra("report", a_run).code == 0
    page = (a_run / "report.html").read_text(encoding="utf-8")
    assert "What went wrong" in page
    assert "recurrent.units.0.b.o, 1 of 8 entries" in page
