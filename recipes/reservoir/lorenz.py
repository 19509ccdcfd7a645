"""Lorenz 63 by an echo state network whose output becomes its input: valid prediction time in Lyapunov times.

    python recipes/reservoir/lorenz.py --units 1000 --seeds 5 --svg lorenz.svg

Data: DOP853 at rtol = atol = 1e-12, dt = 0.02, no noise. Learnt: 10,000 steps (181 Lyapunov times). Judged: from 20
later points, 200 taught steps each, until |error| / sqrt(mean |signal - mean|²) > 0.4 over the three standardised
variables. Lyapunov exponent 0.9056. The figure depends on all of these: coarser data end sooner.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from picture import write_chart

from recurra.data.sets.lorenz import LYAPUNOV_TIME, lorenz
from recurra.diagnostics.chart import Axis, Line, line_chart
from recurra.reservoir.echo_state import EchoStateNetwork
from recurra.reservoir.measure import valid_prediction_time
from recurra.reservoir.reservoir import Reservoir

WASHOUT = 200


def main() -> None:
    """Print one line a seed, and the median over all starts of all seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--steps", type=int, default=10_000, help="of training")
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--horizon", type=int, default=1600, help="steps of each forecast")
    parser.add_argument("--ridge", type=float, default=1e-14)
    parser.add_argument("--loop-noise", type=float, default=1e-8)
    parser.add_argument("--dt", type=float, default=0.02)
    parser.add_argument("--tolerance", type=float, default=1e-12)
    parser.add_argument("--threshold", type=float, default=0.4)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--svg", type=Path, help="where to draw one forecast beside the truth")
    arguments = parser.parse_args()

    learnt, horizon = arguments.steps + WASHOUT + 1, arguments.horizon
    gap = 300
    whole = lorenz(
        learnt + arguments.starts * gap + WASHOUT + horizon,
        dt=arguments.dt,
        rtol=arguments.tolerance,
        atol=arguments.tolerance,
    )
    mean, spread = whole[:learnt].mean(0), whole[:learnt].std(0)
    series = ((whole - mean) / spread)[None]
    starts = learnt + WASHOUT + gap * np.arange(arguments.starts)
    lead = np.concatenate([series[:, at - WASHOUT : at] for at in starts])
    truth = np.concatenate([series[:, at : at + horizon] for at in starts])
    everything, rows, forecast = [], [], truth
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        reservoir = Reservoir(
            arguments.units,
            3,
            spectral_radius=0.5,
            density=min(1.0, 10 / arguments.units),
            input_scaling=0.1,
            bias=1.0,
            seed=seed,
        )
        net = EchoStateNetwork(reservoir, 3, loop_noise=arguments.loop_noise, seed=seed)
        net.fit(series[:, : learnt - 1], series[:, 1:learnt], washout=WASHOUT, ridge=arguments.ridge)
        _, state = net(lead)
        forecast, _ = net.forecast(horizon, state)
        held = valid_prediction_time(
            forecast,
            truth,
            dt=arguments.dt,
            threshold=arguments.threshold,
            lyapunov_time=LYAPUNOV_TIME,
            spread=np.sqrt(3.0),
        )
        everything += held.tolist()
        rows.append({"seed": seed, "median": float(np.median(held)), "least": held.min(), "most": held.max()})
        if not arguments.json:
            say(f"seed {seed:3}  {np.median(held):5.2f} Lyapunov times  ({held.min():.2f} .. {held.max():.2f})")
    low, middle, high = np.percentile(everything, [25, 50, 75])
    about = {name: getattr(arguments, name) for name in ("units", "steps", "dt", "tolerance", "threshold", "starts")}
    if arguments.json:
        say(json.dumps({**about, "solver": "DOP853", "median": middle, "quartiles": [low, high], "seeds": rows}))
    else:
        say(f"median    {middle:5.2f} Lyapunov times  (middle half {low:.2f} .. {high:.2f})")
    if arguments.svg:
        times = (np.arange(horizon) * arguments.dt / LYAPUNOV_TIME).tolist()
        lines = [Line(name, times, v[0, :, 0].tolist()) for name, v in (("truth", truth), ("forecast", forecast))]
        figure = line_chart(lines, Axis("Lyapunov times"), Axis("x, standardised"))
        write_chart(arguments.svg, figure, f"Lorenz: one free-running forecast, {arguments.units} units")


def say(line: str) -> None:
    """One line of result."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
