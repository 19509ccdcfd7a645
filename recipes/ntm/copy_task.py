"""Neural Turing machine on the copy task (Graves et al. 2014): lengths 1 to 20 to learn from, judged up to 120.

    python recipes/ntm/copy_task.py --seeds 0-9 --out runs/ntm-copy

Three to eight minutes per seed on half a core. Seeds that stand in --out are not run again and one that was
stopped goes on where it was, so the same command continues; the last lines are the table of RESULTS.md.

A little noise on the inputs is what carries the machine beyond the lengths it was trained on: it has to decide where a
head goes whatever the bits are. Without it training ends as low, but every second seed fails at length 60. Now and then
a run is thrown off late, so the weights kept are those best on held-out sequences of length 20 and 40.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from recurra.base.rng import Streams, stream
from recurra.data.sets import ntm_copy
from recurra.layers.memory import NTM
from recurra.training import checkpoint

LENGTHS = (10, 20, 40, 60, 80, 100, 120)
# The weights kept are those that do best here: twice as far as training goes, and short of what is asked in the end.
VALIDATION = (20, 40)
EVERY = 250


def build(arguments: argparse.Namespace, seed: int) -> NTM:
    """The machine of the paper: 100 units, 128 x 20 numbers, one head of each kind."""
    return NTM(10, 100, 8, controller=arguments.controller, generator=stream(seed, "init"))


@torch.no_grad()
def judge(net: NTM, length: int, rows: int = 200, name: str = "judge") -> float:
    """Bits per sequence over `rows` sequences that no training saw; the same ones for every seed."""
    batch = ntm_copy.batch(rows, length, generator=stream(length, name))
    return float(ntm_copy.bits_per_sequence(net(batch.x)[0], batch.y))


def train(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One seed, from scratch or from where it was stopped: what the table shows of it, and its curve."""
    net, streams = build(arguments, seed), Streams(seed)
    # A large epsilon, as in Graves' RMSprop: a rare long sequence gone wrong must not throw all weights about.
    optimizer = torch.optim.Adam(net.parameters(), lr=arguments.rate, betas=(0.9, 0.99), eps=1e-3)
    half = arguments.updates // 2
    decay = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda update: min(1.0, (arguments.updates - update) / max(1, arguments.updates - half))
    )
    parts = {"net": net, "optimizer": optimizer, "decay": decay, "streams": streams}
    curve: list[float] = []
    validation: list[float] = []
    best: dict[str, Any] = {}
    spent, total, began = 0.0, 0.0, time.monotonic()
    partial = arguments.out / f"seed-{seed}.partial"
    if partial.exists():
        kept = checkpoint.load(partial)
        for name, part in parts.items():
            part.load_state_dict(kept[name])
        curve, spent, validation, best = kept["curve"], kept["seconds"], kept["validation"], kept["best"]
    for update in range(EVERY * len(curve) + 1, arguments.updates + 1):
        x, y, *_ = ntm_copy.batch(arguments.batch, (1, 20), generator=streams["data"])
        if arguments.noise:
            x = x + arguments.noise * torch.randn(x.shape, generator=streams["noise"])
        bits = ntm_copy.bits_per_sequence(net(x)[0], y)
        optimizer.zero_grad()
        bits.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), arguments.clip, error_if_nonfinite=True)
        optimizer.step()
        decay.step()
        total += float(bits.detach())
        if update % EVERY == 0:
            curve.append(round(total / EVERY, 5))
            total = 0.0
            validation.append(sum(judge(net, length, 64, "validation") for length in VALIDATION))
            if validation[-1] == min(validation):
                best = {name: value.clone() for name, value in net.state_dict().items()}
            now = spent + time.monotonic() - began
            state = {name: part.state_dict() for name, part in parts.items()}
            checkpoint.save(partial, {**state, "curve": curve, "seconds": now, "validation": validation, "best": best})
            said = f"{curve[-1]:.4f} bits per sequence, {validation[-1] / len(VALIDATION):.4f} held out"
            sys.stdout.write(f"seed {seed}  {update} updates, {said}\n")
            sys.stdout.flush()
    net.load_state_dict(best)
    result = {
        "seed": seed,
        "kept": EVERY * (1 + validation.index(min(validation))),
        "bits": {str(length): judge(net, length) for length in LENGTHS},
        "updates_to_1_bit": next((EVERY * (at + 1) for at, bits in enumerate(curve) if bits < 1), None),
        "seconds": round(spent + time.monotonic() - began, 1),
        "curve": curve,
        "validation": validation,
    }
    save_file(net.state_dict(), arguments.out / f"seed-{seed}.safetensors")
    (arguments.out / f"seed-{seed}.json").write_text(json.dumps(result) + "\n", encoding="utf-8")
    partial.unlink()
    return result


def table(results: list[dict[str, Any]]) -> str:
    """Bits per sequence by length: every seed, the median and the worst."""
    rows = [[result["bits"][str(length)] for length in LENGTHS] for result in results]
    columns = list(zip(*rows, strict=True))
    named = [(f"seed {result['seed']}", row) for result, row in zip(results, rows, strict=True)]
    named += [("median", [statistics.median(c) for c in columns]), ("worst", [max(c) for c in columns])]
    head = "| bits per sequence | " + " | ".join(f"length {length}" for length in LENGTHS) + " |"
    lines = [f"| {name} | " + " | ".join(f"{bits:.4f}" for bits in row) + " |" for name, row in named]
    good = sum(row[LENGTHS.index(20)] < 0.1 and row[LENGTHS.index(60)] < 1 for row in rows)
    solved = [result["updates_to_1_bit"] for result in results]
    last = f"{good} of {len(rows)} seeds under 0.1 bits at 20 and under 1 bit at 60"
    return "\n".join([head, "|---" * (len(LENGTHS) + 1) + "|", *lines, f"{last}; updates to 1 bit: {solved}"])


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0-9", help="3, or 0-9")
    parser.add_argument("--out", type=Path, default=Path("runs/ntm-copy"))
    parser.add_argument("--updates", type=int, default=8000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--clip", type=float, default=10.0)
    parser.add_argument("--noise", type=float, default=0.1, help="deviation of what is added to the training inputs")
    parser.add_argument("--controller", default="feedforward", help="feedforward, or the name of a cell")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no further seed after so long")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    first, _, last = arguments.seeds.partition("-")
    results, began = [], time.monotonic()
    for seed in range(int(first), int(last or first) + 1):
        done = arguments.out / f"seed-{seed}.json"
        if done.exists():
            results.append(json.loads(done.read_text(encoding="utf-8")))
        elif time.monotonic() - began < arguments.seconds:
            results.append(train(arguments, seed))
    sys.stdout.write(table(results) + "\n")


if __name__ == "__main__":
    main()
