"""Accuracy on sets of the UCR/UEA archive: LSTM-FCN, a GRU with attention, an echo state network; default splits.

    python recipes/classify/ucr.py FOLDER --out ucr.jsonl [--sets GunPoint] [--models esn] [--seeds 5]

One setting for all sets, the last weights (no case is held out: the smallest set has 36), nothing chosen by the test
cases of a set while it trains. Results are added to the file line by line, so a stopped run goes on where it was;
at the end all lines of the file are summed up.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from recurra.data.series.cases import read_cases
from recurra.tasks.classify.run import fit_cases
from recurra.tasks.classify.settings import ClassifySettings
from recurra.tasks.settings import settings_from

SETS = ("ArrowHead", "GunPoint", "ItalyPowerDemand", "BasicMotions", "JapaneseVowels")
MODELS = {
    "lstm_fcn": ("model.name=lstm_fcn", "model.hidden=8", "model.filters=[32, 64, 32]", "model.pooling=last"),
    "lstm_fcn_wide": ("model.name=lstm_fcn", "model.hidden=8", "model.pooling=last"),
    "gru": ("model.name=recurrent", "model.cell=gru", "model.hidden=32", "train.iterations=300"),
    "esn": ("model.name=esn", "model.hidden=200"),
}
MORE = ("data.validation=0", "train.evaluate_every=0", "train.checkpoint_every=0")


def main() -> None:
    """Train what the file lacks, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the .ts files are")
    parser.add_argument("--out", type=Path, default=Path("ucr.jsonl"))
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--models", nargs="*", default=["lstm_fcn", "gru", "esn"], choices=list(MODELS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--most", type=int, default=0, help="stop after so many new results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    done = {(row["set"], row["model"], row["seed"]) for row in lines(arguments.out)}
    wanted = [
        (one, model, seed) for model in arguments.models for one in arguments.sets for seed in range(arguments.seeds)
    ]
    left = [key for key in wanted if key not in done]
    for one, model, seed in left[: arguments.most or None]:
        settings = settings_from(ClassifySettings, [*MORE, *MODELS[model], f"seed={seed}"])
        cases = read_cases(settings.data, found(arguments.folder, f"{one}_TRAIN"))
        test = read_cases(settings.data, found(arguments.folder, f"{one}_TEST"), cases.label_names)
        began, worked = time.monotonic(), time.process_time()
        classifier = fit_cases(cases, settings)
        spent = {"wall_s": time.monotonic() - began, "cpu_s": time.process_time() - worked}
        score = classifier.evaluate(test)
        row = {"set": one, "model": model, "seed": seed, "accuracy": score.accuracy, "log_loss": score.log_loss}
        with arguments.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**row, **{name: round(value, 1) for name, value in spent.items()}}) + "\n")
        sys.stdout.write(f"{one} {model} {seed}: {score.accuracy:.4f} ({spent['cpu_s']:.0f} CPU s)\n")
        sys.stdout.flush()
    sys.stdout.write(table(lines(arguments.out)))


def table(rows: list[dict]) -> str:
    """Mean, spread and worst by set and model."""
    said = ["| set | model | seeds | mean | deviation | worst | best | CPU s |", "|---|---|---|---|---|---|---|---|"]
    for one in SETS:
        for model in MODELS:
            part = [row for row in rows if row["set"] == one and row["model"] == model]
            if part:
                a = np.array([row["accuracy"] for row in part])
                figures = f"{a.mean():.3f} | {a.std():.3f} | {a.min():.3f} | {a.max():.3f}"
                said.append(f"| {one} | {model} | {len(a)} | {figures} | {np.mean([r['cpu_s'] for r in part]):.0f} |")
    return "\n".join(said) + "\n"


def lines(path: Path) -> list[dict]:
    """What is done already."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def found(folder: Path, name: str) -> Path:
    """The file, packed or not."""
    return next(path for path in (folder / f"{name}.ts", folder / f"{name}.ts.gz") if path.exists())


if __name__ == "__main__":
    main()
