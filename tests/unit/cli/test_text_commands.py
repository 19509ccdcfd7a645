"""A run from raw text to samples through the real command line: train, generate, eval, report, resume."""

from __future__ import annotations

import html
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import torch

import recurra as package
from recurra.base.errors import DataError
from recurra.tasks.text.run import load
from recurra.training.checkpoint import load as load_checkpoint
from recurra.training.checkpoint import load_weights
from unit.cli.command_line import TINY, Recurra

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
COMMAND = [sys.executable, "-c", "import sys; from recurra.cli.main import main; sys.exit(main())"]


def metrics(folder: Path) -> list[dict]:
    """Everything in metrics.jsonl but the clock."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("wall_s", "tokens_per_s")} for line in lines]


def test_a_run_is_a_folder(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert names >= {
        "config.toml",
        "vocabulary.json",
        "weights.safetensors",
        "metrics.jsonl",
        "samples.jsonl",
        "report.html",
        "checkpoint",
    }
    assert [line["iteration"] for line in metrics(trained) if line["split"] == "valid"] == [4, 8]
    samples = [json.loads(line) for line in (trained / "samples.jsonl").read_text().splitlines()]
    assert [(sample["iteration"], len(sample["text"])) for sample in samples] == [(3, 20), (6, 20)]
    settings = tomllib.loads((trained / "config.toml").read_text())
    assert settings["model"]["hidden_size"] == 8
    assert settings["train"]["optim"]["weight_decay"] == 0.02


def test_train_says_how_it_stands_beside_counting(recurra: Recurra, text_file: Path, tmp_path: Path) -> None:
    ended = recurra("train", "text", text_file, "--out", tmp_path / "run", *TINY)
    assert ended.code == 0
    assert re.search(r"lstm 8 x 1 +\d\.\d{4} +\d\.\d{4}", ended.out)
    assert re.search(r"3-gram, modified Kneser-Ney +\d\.\d{4} +\d\.\d{4}", ended.out)
    assert "iteration 3:\n" in ended.err
    assert str(tmp_path / "run" / "report.html") in ended.out


def test_json_is_only_json(recurra: Recurra, text_file: Path, tmp_path: Path) -> None:
    ended = recurra("train", "text", text_file, "--out", tmp_path / "run", *TINY, "--json")
    facts = json.loads(ended.out)
    assert ended.err == ""
    assert facts["iteration"] == 8
    assert facts["validation"]["positions"] == len(text_file.read_text()) - int(len(text_file.read_text()) * 0.9) - 1
    assert facts["baseline"]["order"] == 3


def test_generate_streams_the_same_text_for_the_same_seed(recurra: Recurra, trained: Path) -> None:
    words = ("generate", trained, "--prompt", "the ", "--length", "60", "--seed", "5")
    first, again = recurra(*words), recurra(*words)
    other = recurra(*words[:-1], "6")
    assert first == again
    assert first.out != other.out
    assert first.out.startswith("the ")
    assert len(first.out) == len("the ") + 60 + 1
    assert first.err == ""


def test_generate_as_json_says_the_seed_it_drew(recurra: Recurra, trained: Path) -> None:
    made = json.loads(recurra("generate", trained, "--length", "30", "--json").out)
    again = json.loads(recurra("generate", trained, "--length", "30", "--json", "--seed", str(made["seed"])).out)
    assert made["text"] == again["text"]
    assert len(made["text"]) == 30


def test_eval_measures_what_training_measured(recurra: Recurra, trained: Path, text_file: Path, tmp_path: Path) -> None:
    text = text_file.read_text()
    held_out = tmp_path / "held_out.txt"
    held_out.write_text(text[int(len(text) * 0.9) :])
    found = json.loads(recurra("eval", trained, held_out, "--json").out)
    note = json.loads((trained / "run.json").read_text())
    assert found["nats"] == pytest.approx(note["result"]["nats"], rel=1e-6)
    shown = recurra("eval", trained, held_out).out
    assert "bits per character" in shown
    assert f"{found['bits']:.4f}" in shown
    assert f"{found['perplexity']:.3f}" in shown


def test_report_is_written_anew_and_whole(recurra: Recurra, a_run: Path) -> None:
    (a_run / "report.html").unlink()
    ended = recurra("report", a_run)
    assert ended.out.strip() == str(a_run / "report.html")
    page = html.unescape((a_run / "report.html").read_text(encoding="utf-8"))
    for part in ("Learning to write", "Gradient norm", "How far back", "Spectrum", "c' = f ⊙ c + i ⊙ g", "3-gram"):
        assert part in page
    assert "recurra train text" in page
    assert "Nothing was recorded" not in page


def test_a_cell_without_square_matrices_has_no_spectrum(recurra: Recurra, text_file: Path, tmp_path: Path) -> None:
    words = ("--cell", "jordan", "--quiet")
    assert recurra("train", "text", text_file, "--out", tmp_path / "run", *TINY, *words).code == 0
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert "Spectrum" not in page
    assert "Nothing was recorded" not in page
    assert "How far back" in page


def test_the_loaded_run_predicts(trained: Path) -> None:
    run = load(trained)
    assert len(run.generate("the", length=15, seed=0)) == 15
    assert 0 < run.score("the cat sat on a mat").nats < 10
    assert not run.model.training
    with pytest.raises(DataError, match="length must be >= 0, got -1"):
        run.generate("the", length=-1)
    with pytest.raises(DataError, match="at least 2 symbols are needed, the text has 1"):
        run.score("t")


def test_bytes_and_other_cells(recurra: Recurra, tmp_path: Path) -> None:
    path = tmp_path / "latin1.txt"
    path.write_bytes("naïve café señor ".encode("latin-1") * 60)
    folder = tmp_path / "run"
    words = ("--level", "byte", "--cell", "gru_v1", "--quiet")
    assert recurra("train", "text", path, "--out", folder, *TINY, *words).code == 0
    ended = recurra("generate", folder, "--length", "20", "--prompt", "日", "--seed", "0")
    assert ended.code == 0
    assert ended.err == ""
    assert "bits per byte" in recurra("eval", folder, path).out


@pytest.mark.slow
def test_resume_goes_on_bit_for_bit_after_a_kill(text_file: Path, recurra: Recurra, tmp_path: Path) -> None:
    words = ["train", "text", str(text_file), *TINY, "--iterations", "40", "--quiet"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert recurra(*words, "--out", whole).code == 0
    process = subprocess.Popen([*COMMAND, *words, "--out", str(broken)], env=ENVIRONMENT)
    latest = broken / "checkpoint" / "latest.safetensors"
    while process.poll() is None and not (latest.exists() and load_checkpoint(latest)["iteration"] >= 4):
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert load_checkpoint(latest)["iteration"] < 40
    assert recurra("train", "text", "--out", broken, "--resume", "--quiet").code == 0
    assert metrics(broken) == metrics(whole)
    weights = [load_weights(folder / "weights.safetensors")[0] for folder in (whole, broken)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0] | weights[1])
    assert json.loads((broken / "run.json").read_text())["commands"][1].endswith("--resume --quiet")


def test_ctrl_c_saves_says_how_to_go_on_and_exits_130(text_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ["train", "text", str(text_file), *TINY, "--iterations", "1000000", "--out", str(folder)]
    process = subprocess.Popen([*COMMAND, *words], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    while not (folder / "checkpoint" / "latest.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"recurra train text --out {folder} --resume" in said
    assert "Traceback" not in said


def test_a_reader_that_goes_away_is_no_error(trained: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "generate", str(trained), "--length", "0"],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert len(process.stdout.read(50)) == 50
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 141
    assert said == b""
