"""Memory capacity of reservoirs: how much of an input k steps back can still be read from the states (Jaeger 2001b).

python recipes/reservoir/memory.py --units 100 --svg memory.svg
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from picture import write_chart

from recurra.diagnostics.chart import Axis, Line, line_chart
from recurra.reservoir.measure import memory_capacity
from recurra.reservoir.reservoir import Reservoir

KINDS = {
    "linear, radius 0.95": {"activation": "identity", "spectral_radius": 0.95, "input_scaling": 0.1},
    "tanh, radius 0.95, weak input": {"spectral_radius": 0.95, "input_scaling": 0.01},
    "tanh, radius 0.95": {"spectral_radius": 0.95, "input_scaling": 1.0},
    "tanh, radius 0.5": {"spectral_radius": 0.5, "input_scaling": 0.1},
}


def main() -> None:
    """Print one line a kind of reservoir."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--svg", type=Path)
    arguments = parser.parse_args()
    lines = []
    for name, options in KINDS.items():
        curve = memory_capacity(
            Reservoir(arguments.units, 1, density=min(1.0, 10 / arguments.units), seed=arguments.seed, **options)
        )
        lines.append(Line(f"{name}: {curve.capacity:.1f}", curve.delays.tolist(), curve.recalled.tolist()))
        found = {"kind": name, "units": arguments.units, "capacity": curve.capacity}
        text = f"{name:32} capacity {curve.capacity:6.2f} of at most {arguments.units}"
        sys.stdout.write((json.dumps(found) if arguments.json else text) + "\n")
        sys.stdout.flush()
    if arguments.svg:
        figure = line_chart(lines, Axis("delay, steps"), Axis("squared correlation"))
        write_chart(arguments.svg, figure, f"What {arguments.units} units recall of an input k steps back")


if __name__ == "__main__":
    main()
