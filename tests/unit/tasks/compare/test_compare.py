"""A comparison: equal sizes, a search that never sees the compared seeds, nothing lost when it is killed."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from recurra.base import config
from recurra.base.errors import CheckpointError, ConfigError, DataError
from recurra.cli.main import main
from recurra.tasks.classic import parameter_count, task_settings
from recurra.tasks.compare import CompareSettings, compare, store
from recurra.tasks.compare.settings import hidden_size
from recurra.tasks.compare.trial import Trial, best_rate, due, rates
from recurra.tasks.compare.worker import outcome
from recurra.tasks.registry import TASKS, task_named

SETTINGS = CompareSettings(
    task="xor_sequence",
    parameters=120,
    trials=2,
    low=1e-3,
    high=1e-1,
    iterations=4,
    overrides=("tested=10", "train.evaluate_every=2", "batch=1"),
)


@pytest.mark.parametrize("cell", ["lstm", "elman", "gru", "ind_rnn"])
@pytest.mark.parametrize("budget", [50, 1000, 20_000])
def test_the_hidden_size_comes_nearest_to_the_budget(cell: str, budget: int):
    settings = msgspec.structs.replace(SETTINGS, parameters=budget)
    hidden, count = hidden_size(settings, cell)

    def counted(units: int) -> int:
        return parameter_count("xor_sequence", settings=task_settings("xor_sequence", cell=cell, hidden=units))

    assert count == counted(hidden)
    for other in (hidden - 1, hidden + 1):
        if other:
            assert abs(counted(other) - budget) >= abs(count - budget)


def test_a_budget_that_no_unit_fits_is_refused():
    with pytest.raises(ConfigError, match="budget of 5 parameters is too small: lstm with one unit has"):
        hidden_size(msgspec.structs.replace(SETTINGS, parameters=5), "lstm")
    with pytest.raises(ValueError, match="from low to high"):
        CompareSettings(task="reber", low=1.0, high=0.1)


def test_rates_fill_the_range_evenly_and_are_the_same_every_time():
    """One in each tenth of the two decades, at a random place within it."""
    ten = msgspec.structs.replace(SETTINGS, trials=10)
    drawn = rates(ten)
    assert drawn == rates(ten) == sorted(drawn)
    assert [int((math.log10(rate) + 3) / 0.2 + 1e-2) for rate in drawn] == [*range(10)]
    other = rates(msgspec.structs.replace(ten, search_seed=1))
    assert not {*drawn} & {*other}
    # Over many seeds the places are uniform: mean 1/2, standard error 0.29 / sqrt(2000).
    places = [
        (math.log10(rate) + 3) / 0.2 % 1
        for seed in range(200)
        for rate in rates(msgspec.structs.replace(ten, search_seed=seed))
    ]
    assert sum(places) / len(places) == pytest.approx(0.5, abs=0.03)
    assert rates(msgspec.structs.replace(SETTINGS, low=0.05, high=0.05)) == []
    assert rates(msgspec.structs.replace(SETTINGS, trials=0)) == []


def test_seeds_follow_when_the_rate_is_known():
    low, high = rates(SETTINGS)
    records = [{"cell": "lstm", "stage": "search", "rate": low, "seed": 1000, "watched": 0.6}]
    waiting = due(SETTINGS, ["lstm", "gru"], [0, 1], records)
    assert [(trial.cell, trial.stage, trial.rate) for trial in waiting] == [
        ("lstm", "search", high),
        ("gru", "search", low),
        ("gru", "search", high),
    ]
    assert best_rate(SETTINGS, "lstm", records) is None
    records.append({"cell": "lstm", "stage": "search", "rate": high, "seed": 1000, "watched": 0.7})
    # The share of right bits: more is better.
    assert best_rate(SETTINGS, "lstm", records) == high
    later = due(SETTINGS, ["lstm"], [0, 1], records)
    assert [(trial.stage, trial.rate, trial.seed) for trial in later] == [("seed", high, 0), ("seed", high, 1)]
    # A rate at which numbers ran away is not chosen, and where all did, the lowest is.
    records[1]["watched"] = None
    assert best_rate(SETTINGS, "lstm", records) == low
    records[0]["watched"] = None
    assert best_rate(SETTINGS, "lstm", records) == low


def test_a_trial_whose_numbers_run_away_is_an_outcome():
    wild = CompareSettings(task="adding", parameters=50, trials=0, low=1e30, high=1e30, iterations=20)
    (trial,) = due(wild, ["relu_rnn"], [0], [])
    record = outcome(wild, trial)
    assert record["value"] is None
    assert json.loads(json.dumps(record, allow_nan=False))["cell"] == "relu_rnn"
    assert record["failed"]


def test_a_comparison_from_end_to_end(tmp_path: Path):
    """Two cells, then a third added to the folder; the second time nothing is run again."""
    first = compare(SETTINGS, ["elman", "lstm"], [0, 1], tmp_path, jobs=2, command="recurra compare ...")
    written = (tmp_path / store.RESULTS).read_text()
    found = store.records(tmp_path)
    assert len(found) == 2 * (2 + 2)
    assert {row.cell for row in first.rows} == {"elman", "lstm"}
    assert all(len(row.values) == 2 and row.failed == 0 for row in first.rows)
    assert first.rows[0].mean >= first.rows[1].mean
    # Workers give what the same trial gives here.
    one = next(record for record in found if record["stage"] == "seed")
    trial = next(
        trial
        for trial in due(SETTINGS, [one["cell"]], [one["seed"]], [r for r in found if r["stage"] == "search"])
        if trial.seed == one["seed"]
    )
    assert outcome(SETTINGS, trial)["value"] == one["value"]
    page = first.report.read_text()
    assert "recurra compare ..." in page
    assert page.count("<svg") >= 2
    assert (tmp_path / "seeds.svg").read_text().startswith("<svg xmlns")
    again = compare(SETTINGS, ["lstm", "elman"], [0, 1], tmp_path)
    assert (tmp_path / store.RESULTS).read_text() == written
    assert again.rows == first.rows
    third = compare(SETTINGS, ["gru"], [0], tmp_path)
    assert {row.cell for row in third.rows} == {"elman", "lstm", "gru"}
    assert (tmp_path / store.RESULTS).read_text().startswith(written)
    with pytest.raises(CheckpointError, match=r"other settings[^\0]*iterations: 4 then, 5 now"):
        compare(msgspec.structs.replace(SETTINGS, iterations=5), ["lstm"], [0], tmp_path)
    with pytest.raises(ConfigError, match="seed 1000 is the one by which rates are chosen"):
        compare(SETTINGS, ["lstm"], [1000], tmp_path)


def test_a_fault_of_the_settings_ends_it_with_its_own_words(tmp_path: Path):
    """Not a failed trial: `data` of the chorales is missing, and no line is written."""
    with pytest.raises(Exception, match="no file of piano rolls was named"):
        compare(CompareSettings(task="chorales", trials=0, iterations=1), ["lstm"], [0], tmp_path)
    assert not (tmp_path / store.RESULTS).exists()


SCRIPT = """
import sys
from recurra.cli.main import main
sys.exit(main(sys.argv[1:]))
"""

COMMAND = (
    *("compare", "xor_sequence", "--cells", "elman,lstm", "--parameters", "120", "--seeds", "0-2", "--trials", "2"),
    *("--rate", "0.001,0.1", "--iterations", "40", "--jobs", "2", "--set", "tested=10"),
    *("--set", "train.evaluate_every=40", "--json"),
)


def started(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, *COMMAND, "--out", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_it_goes_on_and_loses_the_trials_in_flight_only(tmp_path: Path):
    folder = tmp_path / "killed"
    process = started(folder)
    until = time.monotonic() + 120
    while not (folder / store.RESULTS).exists() or (folder / store.RESULTS).read_bytes().count(b"\n") < 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "no trial ends"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    kept = (folder / store.RESULTS).read_bytes()
    # As if it had been killed while it wrote: half a line.
    (folder / store.RESULTS).write_bytes(kept + b'{"cell": "lst')
    ended = started(folder)
    out, err = ended.communicate(timeout=240)
    assert ended.returncode == 0, err
    content = (folder / store.RESULTS).read_bytes()
    assert content.startswith(kept)
    found = store.records(folder)
    keys = [(r["cell"], r["stage"], r["rate"], r["seed"]) for r in found]
    assert len(keys) == len({*keys}) == 2 * (2 + 3)
    # What was run after the restart is what the same trial gives here, undisturbed.
    settings = config.load(CompareSettings, folder / store.CONFIG)
    last = found[-1]
    assert outcome(settings, Trial(*(last[name] for name in Trial._fields)))["value"] == last["value"]
    assert {row["cell"] for row in json.loads(out)["rows"]} == {"elman", "lstm"}


def test_results_that_are_no_json_name_their_line(tmp_path: Path):
    store.prepare(tmp_path, SETTINGS)
    store.add(tmp_path, {"cell": "lstm"})
    (tmp_path / store.RESULTS).write_text('{"cell": "lstm"}\nnonsense\n')
    with pytest.raises(DataError, match="line 2 is not JSON"):
        store.records(tmp_path)
    (tmp_path / store.CONFIG).unlink()
    with pytest.raises(CheckpointError, match=r"holds a results\.jsonl of something else"):
        store.prepare(tmp_path, SETTINGS)


@pytest.mark.parametrize("name", TASKS)
def test_the_command_takes_every_task(name, capsys):
    assert main(["compare", name, "--help"]) == 0
    assert "--cells" in capsys.readouterr().out


def test_files_of_a_task_are_its_inputs_and_the_significance_test_is_not(tmp_path, capsys):
    task_named("tag").example(tmp_path)
    words = ["--cells", "elman,gru", "--seeds", "0-1", "--trials", "1", "--iterations", "3", "--parameters", "9000"]
    words += ["--embedding", "4", "--characters", "0", "--jobs", "1", "--json", "--out", str(tmp_path / "tags")]
    assert main(["compare", "tag", str(tmp_path / "train.txt"), *words]) == 0
    assert {row["cell"] for row in json.loads(capsys.readouterr().out)["rows"]} == {"elman", "gru"}
