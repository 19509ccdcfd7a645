"""NARMA-10 by an echo state network: NRMSE on new input, by size.

    python recipes/reservoir/narma.py --units 50 100 200 400 --seeds 5

3,000 steps to learn from, the first 200 left out; judged on 2,000 steps of a new draw. NRMSE is over the deviation of
the judged outputs; 1 is what their mean scores. The ridge is chosen by leaving rows out one at a time.
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np

from recurra.data.sets.narma import narma
from recurra.reservoir.echo_state import EchoStateNetwork
from recurra.reservoir.measure import nrmse
from recurra.reservoir.reservoir import Reservoir

WASHOUT = 200


def main() -> None:
    """Print one line a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs="+", default=[50, 100, 200, 400])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--squares", choices=["none", "half", "all"], default="none", help="squared states in the readout"
    )
    parser.add_argument("--spectral-radius", type=float, default=0.9)
    parser.add_argument("--input-scaling", type=float, default=0.2)
    parser.add_argument("--bias", type=float, default=0.4)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    for units in arguments.units:
        errors, ridges = [], []
        for seed in range(arguments.seeds):
            u, y = narma(3000, seed=2 * seed)
            new_u, new_y = narma(2000 + WASHOUT, seed=2 * seed + 1)
            reservoir = Reservoir(
                units,
                1,
                spectral_radius=arguments.spectral_radius,
                input_scaling=arguments.input_scaling,
                bias=arguments.bias,
                density=min(1.0, 10 / units),
                seed=seed,
            )
            net = EchoStateNetwork(reservoir, 1, squares=arguments.squares)
            # y[t] is what the inputs before t decide.
            fit = net.fit(u[None, :-1], y[None, 1:], washout=WASHOUT, ridge=np.logspace(-12, -2, 21).tolist())
            said = net.predict(new_u[None, :-1])
            errors.append(nrmse(said[:, WASHOUT:], new_y[None, WASHOUT + 1 :]))
            ridges.append(fit.ridge)
        found = {"units": units, "median": float(np.median(errors)), "least": min(errors), "most": max(errors)}
        text = f"N {units:5}  NRMSE {found['median']:.3f}  ({found['least']:.3f} .. {found['most']:.3f})"
        sys.stdout.write((json.dumps({**found, "ridges": ridges}) if arguments.json else text) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
