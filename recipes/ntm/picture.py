"""The figure of the neural Turing machine's paper: inputs and outputs over time, and where each head is.

python recipes/ntm/picture.py runs/ntm-copy/seed-1.safetensors ntm-copy.svg --length 40
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file

from recurra.base.rng import stream
from recurra.data.sets import ntm_copy
from recurra.diagnostics.panels import Panel, panel_chart
from recurra.layers.memory import NTM


def main() -> None:
    """Run one sequence through the machine and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("svg", type=Path)
    parser.add_argument("--length", type=int, default=40)
    a = parser.parse_args()
    net = NTM(10, 100, 8, controller="feedforward")
    net.load_state_dict(load_file(a.weights))
    batch = ntm_copy.batch(1, a.length, generator=stream(a.length, "picture"))
    y, trace = net.trace(batch.x)
    reading, writing = trace.weights[0, :, 0].T, trace.weights[0, :, 1].T
    # The places that the machine used, and a few around them.
    used = (torch.maximum(reading, writing).amax(1) > 0.3).nonzero().squeeze(1)
    low, high = max(0, int(used.min()) - 3), min(len(reading), int(used.max()) + 4)
    shown = torch.sigmoid(y[0]).T.clone()
    # What the machine says before it is asked counts for nothing.
    shown[:, : -a.length] = float("nan")
    places = f"places {low} to {high - 1}"
    written = [
        Panel("inputs", batch.x[0].T, low=0, high=1),
        Panel("what is added", trace.adds[0, :, 0].T, low=-1, high=1),
        Panel("where it writes", writing[low:high], "time", places, 0, 1),
    ]
    read = [
        Panel("outputs", shown, low=0, high=1),
        Panel("what is read", trace.reads[0, :, 0].T),
        Panel("where it reads", reading[low:high], "time", places, 0, 1),
    ]
    label = f"A neural Turing machine copies {a.length} vectors"
    a.svg.write_text(panel_chart([written, read], label=label), encoding="utf-8")


if __name__ == "__main__":
    main()
