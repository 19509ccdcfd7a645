"""Everything a user can hand in that cannot work: exit code 2, one message that names it, and nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from recurra.base.errors import DataError
from recurra.tasks.folder import locked
from unit.cli.command_line import TINY, Ended, Recurra


def refused(ended: Ended, *parts: str) -> None:
    assert ended.code == 2, ended
    assert ended.out == ""
    assert "\nrecurra" in "\n" + ended.err
    assert "Traceback" not in ended.err
    for part in parts:
        assert part in ended.err, ended.err


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["is empty"]),
        (b"x", ["has a single character: there is nothing to predict"]),
        (b"good " * 100 + b"caf\xe9 crema", ["is not UTF-8 at byte offset 503: e9 20 63 72", "iconv", "--level byte"]),
        (
            b"a short text of some sixty characters, which fills no batch.",
            ["shorter than one batch", "8 rows x 10 steps"],
        ),
        (b"0123456789", ["the validation part has 1 token of 10, at least 2 are needed"]),
    ],
    ids=["empty", "one character", "invalid UTF-8", "shorter than a batch", "nothing held out"],
)
def test_a_text_that_cannot_be_learned(recurra: Recurra, tmp_path: Path, content: bytes, parts: list[str]) -> None:
    path, folder = tmp_path / "text.txt", tmp_path / "run"
    path.write_bytes(content)
    refused(recurra("train", "text", path, "--out", folder, *TINY, "--batch", "8"), *parts)
    assert not folder.exists(), "nothing may be left where nothing was begun"


def test_files_that_are_not_there_and_folders(recurra: Recurra, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "run")
    refused(recurra("train", "text", tmp_path / "no.txt", *out), "no.txt: no such file")
    refused(recurra("train", "text", tmp_path, *out), "is a folder, a text file was expected")
    refused(recurra("train", "text", *out), "no text files were named")


def test_settings_are_refused_all_at_once(recurra: Recurra, text_file: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[model]\nhiden_size = 3\n[train]\nepochs = -1\n")
    ended = recurra("train", "text", text_file, "--out", tmp_path / "run", "--config", recipe, "--batch", "zero")
    refused(ended, "3 settings are wrong", "model.hiden_size", "hidden_size", "train.epochs", "data.batch_size")


def test_an_unknown_cell_lists_what_exists(recurra: Recurra, text_file: Path, tmp_path: Path) -> None:
    ended = recurra("train", "text", text_file, "--out", tmp_path / "run", *TINY, "--cell", "lstn")
    refused(ended, "no cell is called 'lstn'", "There are: lstm")
    assert not (tmp_path / "run").exists()


def test_a_run_is_never_overwritten(recurra: Recurra, a_run: Path, text_file: Path) -> None:
    before = contents(a_run)
    refused(recurra("train", "text", text_file, "--out", a_run, *TINY), "holds a run already", "--resume")
    assert contents(a_run) == before


def test_resume_where_there_is_nothing_and_on_another_text(recurra: Recurra, a_run: Path, tmp_path: Path) -> None:
    refused(recurra("train", "text", "--out", tmp_path / "none", "--resume"), "holds no run that could be continued")
    other = tmp_path / "other.txt"
    other.write_text("the cat sat on the mat\n" * 40)
    before = contents(a_run)
    refused(
        recurra("train", "text", other, "--out", a_run, "--resume"),
        "has changed since this run began",
    )
    assert contents(a_run) == before


def test_a_folder_that_is_no_run(recurra: Recurra, a_run: Path) -> None:
    refused(recurra("generate", a_run.parent / "cat"), "no such run", f"Runs in {a_run.parent}: cats")
    refused(recurra("generate", a_run.parent), "is no run: it has no config.toml")


@pytest.mark.parametrize("verb", ["generate", "eval", "report"])
@pytest.mark.parametrize(
    ("symbols", "fact"),
    [("ab", "the weights are not this model's"), (None, "is not what this run was trained with")],
    ids=["another size", "same size, other symbols"],
)
def test_vocabulary_mismatch(
    recurra: Recurra, a_run: Path, text_file: Path, verb: str, symbols: str | None, fact: str
) -> None:
    path = a_run / "vocabulary.json"
    content = json.loads(path.read_text())
    if symbols is None:
        content["symbols"] = content["symbols"][:-1] + "z"
    else:
        content["symbols"] = symbols
        note = json.loads((a_run / "run.json").read_text())
        del note["prepared_digest"]
        (a_run / "run.json").write_text(json.dumps(note))
    path.write_text(json.dumps(content))
    refused(recurra(verb, a_run, *([text_file] if verb == "eval" else [])), fact)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
@pytest.mark.parametrize("name", ["weights.safetensors", "checkpoint/latest.safetensors"])
def test_truncated_weights_and_checkpoint(recurra: Recurra, a_run: Path, name: str, keep: int) -> None:
    path = a_run / name
    path.write_bytes(path.read_bytes()[:keep])
    before = contents(a_run)
    if name == "weights.safetensors":
        ended = recurra("generate", a_run)
    else:
        ended = recurra("train", "text", "--out", a_run, "--resume", "--iterations", "12")
    refused(ended, name, "is damaged")
    assert contents(a_run) == before


def test_one_flipped_bit_is_seen(recurra: Recurra, a_run: Path) -> None:
    path = a_run / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)
    refused(recurra("generate", a_run), "is damaged", "digest")


def test_config_of_another_version(recurra: Recurra, a_run: Path) -> None:
    path = a_run / "config.toml"
    text = path.read_text()
    path.write_text(text.replace("config_format = 1", "config_format = 99"))
    refused(recurra("generate", a_run), "is of config format 99, this Recurra reads format 1")
    path.write_text(text.replace("hidden_size = 8", "hidden_size = 9"))
    refused(recurra("generate", a_run), "the weights are not this model's")
    path.write_text(text + "[")
    refused(recurra("generate", a_run), "is not TOML")


def test_a_run_without_weights(recurra: Recurra, a_run: Path) -> None:
    (a_run / "weights.safetensors").unlink()
    refused(recurra("generate", a_run), "this run has no weights yet", "--resume")


def test_prompt_with_unseen_characters(recurra: Recurra, trained: Path) -> None:
    words = ("generate", trained, "--length", "10", "--seed", "0", "--prompt")
    ended = recurra(*words, "the é☃ cat")
    assert ended.code == 0
    assert ended.out.startswith("the é☃ cat")
    assert (
        "never saw 'é' (U+00E9 latin small letter e with acute), '☃' (U+2603 snowman); it leaves them out" in ended.err
    )
    assert ended.out[10:] == recurra(*words, "the  cat").out[8:]
    assert recurra(*words, "thé cat", "--unknown", "replace").out[7:] == recurra(*words, "the cat").out[7:]
    assert recurra(*words, "☃").code == 0
    refused(recurra(*words, "é", "--unknown", "error"), "'é' (U+00E9", "--unknown skip")


def test_eval_on_unseen_characters_and_no_text(recurra: Recurra, trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("the cat — the dog")
    refused(recurra("eval", trained, path), "'—' (U+2014) at position 8")
    assert recurra("eval", trained, path, "--unknown", "skip").code == 0
    path.write_text("")
    refused(recurra("eval", trained, path), "is empty")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--temperature", "-1"), "temperature must be a finite number >= 0"),
        (("--temperature", "nan"), "temperature must be a finite number >= 0"),
        (("--top-p", "0"), "top_p must lie in (0, 1]"),
        (("--top-k", "-3"), "top_k must be >= 0"),
        (("--length", "-1"), "length: expected `int` >= 0"),
        (("--temperature", "hot"), "temperature: expected `float`"),
    ],
)
def test_sampling_options_out_of_range(recurra: Recurra, trained: Path, words: tuple[str, str], part: str) -> None:
    refused(recurra("generate", trained, *words), part)


def test_unknown_verbs_and_options(recurra: Recurra) -> None:
    refused(recurra("trian"), "no command is called 'trian'", "There are: train")
    refused(recurra("train", "forcast", "x.csv"), "nothing is called 'forcast'", "There are: forecast")
    refused(recurra("train", "--out", "x", "forecast", "x.csv"), "recurra train forecast ...", "before its options")
    refused(recurra("train", "text", "--out", "x", "--hiden", "3"), "unrecognized arguments: --hiden", "--help")
    refused(recurra("train", "images", "--out", "x"), "nothing is called 'images'")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB, where this process may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=False, capture_output=True
        ).returncode
        == 0
    )
    if not mounted:
        pytest.skip("no right to mount a small disk here; the simulated one runs everywhere")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_the_last_checkpoint(recurra: Recurra, text_file: Path, small_disk: Path) -> None:
    folder = small_disk / "run"
    assert recurra("train", "text", text_file, "--out", folder, *TINY, "--quiet").code == 0
    before = contents(folder)
    room = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes(room.f_bavail * room.f_frsize))
    ended = recurra("train", "text", "--out", folder, "--resume", "--iterations", "12")
    refused(ended, "could not be written: No space left on device")
    after = contents(folder)
    assert not [name for name in after if name.endswith(".part")]
    for name in ("weights.safetensors", "checkpoint/latest.safetensors", "config.toml", "vocabulary.json", "run.json"):
        assert after[name] == before[name]
    (small_disk / "filler").unlink()
    assert recurra("train", "text", "--out", folder, "--resume", "--iterations", "12", "--quiet").code == 0


def test_a_disk_that_fills_while_training(recurra: Recurra, a_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same without root: every write of a checkpoint fails as it does on a full disk."""
    before = contents(a_run)
    whole = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if "safetensors" in path.name:
            whole(path, content[: len(content) // 2])
            raise OSError(28, "No space left on device")
        return whole(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        ended = recurra("train", "text", "--out", a_run, "--resume", "--iterations", "12")
    refused(ended, "could not be written: No space left on device", "what was there before is untouched")
    assert "Training goes on" in ended.err, "a failed checkpoint along the way must not end the run"
    after = contents(a_run)
    for name in ("weights.safetensors", "checkpoint/latest.safetensors"):
        assert after[name] == before[name]
    assert not [name for name in after if name.endswith(".part")]
    assert recurra("train", "text", "--out", a_run, "--resume", "--iterations", "12", "--quiet").code == 0


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--hidden", "9"], ["model.hidden_size: 8 then, 9 now"]),
        (["--batch", "5", "--seed", "3"], ["data.batch_size: 4 then, 5 now", "seed: 0 then, 3 now"]),
        (["--set", "train.gradient.style=chunked", "--set", "train.gradient.k1=5"], ["train.gradient.k1: unset then"]),
    ],
)
def test_a_run_goes_on_as_it_began(recurra: Recurra, a_run: Path, words: list[str], parts: list[str]) -> None:
    before = contents(a_run)
    ended = recurra("train", "text", "--out", a_run, "--resume", "--quiet", "--iterations", "9", *words)
    refused(ended, "goes on with the settings it began with", *parts)
    assert contents(a_run) == before, "the settings of a run may not be replaced by others that do not work"
    again = recurra("train", "text", "--out", a_run, "--resume", "--quiet", "--iterations", "9", "--rate", "1e-4")
    assert again.code == 0, again.err


def test_a_text_with_new_characters_has_changed(recurra: Recurra, a_run: Path, text_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text(text_file.read_text(encoding="utf-8") + "snow \N{SNOWMAN}\n", encoding="utf-8")
    refused(
        recurra("train", "text", other, "--out", a_run, "--resume"),
        "has changed since this run began",
    )
    other.unlink()
    refused(
        recurra("train", "text", other, "--out", a_run, "--resume"),
        "is gone",
        "name the file where it is now",
    )


def test_a_finished_run_without_checkpoint_keeps_its_weights(recurra: Recurra, a_run: Path) -> None:
    (a_run / "checkpoint/latest.safetensors").unlink()
    before = contents(a_run)
    refused(recurra("train", "text", "--out", a_run, "--resume"), "a finished run without checkpoint")
    assert contents(a_run) == before


def test_a_run_killed_while_it_began_goes_on(recurra: Recurra, a_run: Path) -> None:
    for path in [*a_run.rglob("*")]:
        if path.is_file() and path.name != "config.toml":
            path.unlink()
    ended = recurra("train", "text", "--out", a_run, "--resume")
    assert ended.code == 0, ended.err
    assert "the run begins again" in ended.err


def test_files_of_others_in_the_folder(recurra: Recurra, text_file: Path, tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text('{"iteration": 5}\n[1]\nno end of line')
    (tmp_path / "weights.safetensors").write_text("years of work")
    before = contents(tmp_path)
    words = ("train", "text", text_file, "--out", tmp_path, "--quiet", *TINY)
    refused(recurra(*words), "files that a run would overwrite: weights.safetensors")
    refused(recurra("train", "text", "--out", tmp_path, "--resume"), "restore its config.toml")
    assert contents(tmp_path) == before
    (tmp_path / "weights.safetensors").unlink()
    assert recurra(*words).code == 0
    assert (tmp_path / "data.jsonl").read_bytes() == before["data.jsonl"]


def test_two_processes_on_one_folder(recurra: Recurra, a_run: Path) -> None:
    words = ("train", "text", "--out", a_run, "--resume", "--quiet", "--iterations", "9")
    with locked(a_run):
        before = contents(a_run)
        refused(recurra(*words), "another process trains there")
        assert contents(a_run) == before
    assert recurra(*words).code == 0


def test_an_empty_folder_name_and_no_standard_input(recurra: Recurra, text_file: Path, tmp_path: Path) -> None:
    refused(recurra("train", "text", "-", "--out", tmp_path / "run"), "no standard input")
    refused(recurra("train", "text", text_file, "--out", ""), "--out is empty")
    assert not (tmp_path / "run").exists()


def test_a_text_from_a_pipe_is_stored_and_trained_on(recurra: Recurra, text_file: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(text_file.read_bytes()))
    writer.start()
    ended = recurra("train", "text", pipe, "--out", tmp_path / "run", "--quiet", *TINY)
    writer.join()
    assert ended.code == 0, ended.err
    assert (tmp_path / "run" / "inputs" / "pipe").read_bytes() == text_file.read_bytes()
    assert recurra("train", "text", "--out", tmp_path / "run", "--resume", "--iterations", "10", "--quiet").code == 0


def test_a_text_from_a_pipe_that_cannot_be_learned_leaves_nothing(recurra: Recurra, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(b"a"))
    writer.start()
    refused(recurra("train", "text", pipe, "--out", tmp_path / "run"), "single character")
    writer.join()
    assert not (tmp_path / "run").exists()


def test_hints_can_be_pasted_into_a_shell(recurra: Recurra, a_run: Path, text_file: Path) -> None:
    spaced = a_run.rename(a_run.parent / "my cats")
    refused(recurra("train", "text", text_file, "--out", spaced), f"--out '{spaced}' --resume")


def test_a_note_that_cannot_be_read(recurra: Recurra, a_run: Path) -> None:
    note = a_run / "run.json"
    content = note.read_text()
    note.write_text(content[: len(content) // 2])
    refused(recurra("generate", a_run), "run.json: is damaged", "or remove it")
    note.write_text(content.replace('"format": 1', '"format": 2'))
    refused(recurra("generate", a_run), "run.json: is of format 2, this Recurra reads format 1")
    note.unlink()
    assert recurra("generate", a_run, "--length", "3").code == 0


def test_figures_are_shown_where_the_report_cannot_be_written(
    recurra: Recurra, text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Path:
        raise DataError("report.html: could not be written: No space left on device.")

    monkeypatch.setattr("recurra.tasks.report.write_report", full)
    ended = recurra("train", "text", text_file, "--out", tmp_path / "run", "--quiet", *TINY)
    assert ended.code == 0
    assert "bits per character" in ended.out
    assert "No space left" in ended.err
    assert "recurra report" in ended.err
