"""Further golden runs: settings, losses, covariates and kinds of data that the runs of `runs.py` do not have.

`python tests/golden/record.py` trained them with the code of commit 4828f32; see README.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

__all__ = ["VARIANTS", "Variant", "write_variant_data"]


class Variant(NamedTuple):
    """The words behind `recurra train`, and the commands whose output is recorded.

    RUN stands for the run folder. OUT stands for a file that the command writes; its content is recorded, not the
    standard output.
    """

    train: list[str]
    commands: list[list[str]]


def _settings(**values: object) -> list[str]:
    """Return `--set` options; a double underscore stands for the dot of a setting's name."""
    return [word for name, value in values.items() for word in ("--set", f"{name.replace('__', '.')}={value}")]


_SHORT = ["--iterations", "20", "--quiet", "--threads", "1"]
_SMALL = ["--hidden", "8", *_SHORT]


def _forecast(file: str, *options: str, test: str = "", **settings: object) -> Variant:
    data = f"data/{file}"
    train = ["forecast", data, *options, *_SMALL, *_settings(model__embedding=4, **settings)]
    commands = [
        ["forecast", "RUN", data, "--seed", "3", "--json"],
        ["forecast", "RUN", data, "--out", "OUT", "--quiet"],
        ["backtest", "RUN", data, "--origins", "2", "--json"],
    ]
    if test:
        commands.append(["forecast", "RUN", f"data/{test}", "--json"])
    return Variant(train, commands)


def _classify(file: str, *options: str, live: bool = False, **settings: object) -> Variant:
    data = f"data/{file}"
    commands = [
        ["eval", "RUN", data, "--json"],
        ["classify", "RUN", data, "--json"],
        ["classify", "RUN", data, "--out", "OUT", "--quiet"],
    ]
    if live:
        commands.append(["watch", "RUN", data, "--quiet", "--every", "4"])
    return Variant(["classify", data, *options, *_SMALL, *_settings(**settings)], commands)


def _events(file: str, events: str, *options: str, **settings: object) -> Variant:
    data, table = f"data/{file}", f"data/{events}"
    commands = [
        ["eval", "RUN", data, table, "--json"],
        ["detect", "RUN", data, "--json"],
        ["detect", "RUN", data, "--out", "OUT", "--quiet"],
        ["watch", "RUN", data, "--quiet", "--every", "5"],
    ]
    train = ["events", data, "--events", table, *options, "--rate", "0.02", *_SMALL, *_settings(**settings)]
    return Variant(train, commands)


def _anomaly(model: str, target: str, *options: str, **settings: object) -> Variant:
    data = "data/pumps.csv"
    train = ["anomaly", data, "--model", model, "--target", target, "--label", "fault", "--zone", "Europe/Berlin"]
    commands = [
        ["eval", "RUN", data, "--json"],
        ["eval", "RUN", data, "--tolerance", "3", "--threshold", "0.4", "--json"],
        ["watch", "RUN", data, "--quiet", "--every", "20"],
    ]
    # The online detector carries on the streams of its training data unless told not to. Its run keeps their state,
    # 60 kB for each channel of each stream.
    commands.append([*commands[-1], "--cold"] if model == "online" else ["eval", "RUN", data, "--scores", "OUT"])
    return Variant([*train, "--test", "60", *options, *_SMALL, *_settings(**settings)], commands)


def _task(name: str, *options: str, **settings: object) -> Variant:
    return Variant(["task", name, *options, *_SHORT, *_settings(**settings)], [])


_COVARIATES = ["--target", "y", "--past", "heat", "--known", "promo", "--static", "size", "--horizon", "7"]
_SHOP = [*_COVARIATES, "--season", "7", "--look-back", "14"]
_WAVES = ["--horizon", "6", "--test", "12"]
_MACHINE = {"locations": 8, "width": 4, "batch": 2}
_SERIES = {"learned": 120, "validated": 60, "tested": 60, "window": 40, "washout": 10, "batch": 2}

VARIANTS: dict[str, Variant] = {
    "text-unicode": Variant(
        [
            *("text", "data/letters.txt", "--embedding", "4", "--cell", "gru", "--batch", "2", "--chunk", "8", *_SMALL),
            *_settings(
                data__baseline_order=2,
                data__train=0.8,
                data__test=0.1,
                model__residual="true",
                train__average__kind="none",
            ),
        ],
        [
            ["eval", "RUN", "data/letters.txt", "--json"],
            ["eval", "RUN", "data/text.txt", "--unknown", "replace", "--rows", "3", "--json"],
            [*("generate", "RUN", "--prompt", "zé", "--length", "30", "--seed", "2", "--top-k", "5", "--json")],
            [*("generate", "RUN", "--prompt", "a", "--length", "30", "--temperature", "0", "--seed", "4", "--json")],
        ],
    ),
    "forecast-covariates": _forecast("shop.csv", "--model", "direct", *_SHOP, model__decay="true"),
    "forecast-attention_mse": _forecast(
        "shop.csv", "--model", "attention", *_SHOP, model__loss="mse", model__blend=0.5, model__scale="robust"
    ),
    "forecast-negative_binomial": _forecast(
        *("shop.csv", "--model", "recursive", "--target", "y", "--known", "promo", "--horizon", "7"),
        *("--look-back", "14"),
        model__loss="negative_binomial",
        model__normalise="scale",
        model__paths=20,
        model__scale="none",
    ),
    "forecast-gaussian": _forecast(
        "waves.csv", "--model", "recursive", *_WAVES, model__loss="gaussian", model__paths=20, model__decay="true"
    ),
    "forecast-log": _forecast(
        *("wide.csv", "--target", "p,q", "--horizon", "8", "--season", "16", "--cell", "lstm"),
        model__transform="log",
        model__loss="mae",
        model__normalise="mean",
        model__skip="false",
    ),
    "forecast-rows": _forecast(
        *("rows.csv", "--model", "direct", "--horizon", "4", "--season", "4", "--cell", "lstm"),
        data__layout="rows",
        model__layers=2,
        model__most_series=2,
        calibrate="false",
    ),
    "forecast-tdnn_blend": _forecast(
        "waves.csv", "--model", "tdnn", *_WAVES, model__blend="auto", model__normalise="standard", test="late.csv"
    ),
    "forecast-esn_members": _forecast(
        "waves.csv", "--model", "esn", "--members", "2", *_WAVES, model__blend=0.25, test="late.csv"
    ),
    "forecast-narx_gaussian": _forecast(
        *("waves.csv", "--model", "narx", *_WAVES, "--look-back", "24", "--season", "6"),
        model__loss="gaussian",
        model__delays=6,
        model__paths=20,
    ),
    "forecast-segment_student": _forecast(
        "waves.csv", *_WAVES, model__loss="student", model__segment=4, model__normalise="none", test="late.csv"
    ),
    "classify-decay": _classify(
        *("gaps.csv", "--model", "recurrent", "--cell", "gru", "--layers", "2", "--pooling", "last"),
        model__bidirectional="false",
        model__decay="true",
        data__normalise="case",
    ),
    "classify-attention": _classify(
        *("gaps.csv", "--model", "lstm_fcn", "--channels", "x"),
        model__filters="[4, 4]",
        model__kernels="[5, 3]",
        model__shuffle="false",
        model__pooling="attention",
        data__normalise="none",
    ),
    "classify-washout": _classify(
        "gaps.csv",
        "--model",
        "esn",
        "--members",
        "2",
        model__bidirectional="false",
        model__washout=2,
        model__leak=0.5,
        model__mask="yes",
    ),
    "classify-live_members": _classify(
        "gaps.csv", "--members", "2", "--pooling", "max", live=True, model__bidirectional="false"
    ),
    "classify-ts": _classify(
        "shapes.ts", "--pooling", "max", "--validation", "0", "--test", "data/shapes.ts", smoothing=0.1
    ),
    "events-two": _events(
        *("stream.csv", "spans.csv", "--tolerance", "6", "--look-ahead", "4", "--frame", "2", "--test", "0.2"),
        model__overlap="true",
    ),
    "events-points": _events(
        *("beats.csv", "points.csv", "--rate-hz", "10", "--tolerance", "0.3", "--cell", "lstm", "--layers", "2"),
        data__normalise="robust",
        decode__high=0.5,
        decode__low=0.25,
    ),
    "anomaly-online_pumps": _anomaly(
        "online", "flow", online__members=1, online__units=4, online__memory=50, online__settle=40, quiet=10
    ),
    "anomaly-forecast_pumps": _anomaly(
        *("forecast", "flow,heat", "--cell", "lstm", "--window", "8"),
        net__layers=2,
        net__ahead=2,
        threshold__method="quantile",
        threshold__rate=0.05,
    ),
    "anomaly-autoencoder_pumps": _anomaly(
        "autoencoder", "flow,heat", "--window", "8", net__judge=3, threshold__method="fixed", threshold__value=1.5
    ),
    "task-letters": _task("letters", consonants=5),
    "task-xor_sequence": _task("xor_sequence", tested=20),
    "task-embedded_reber": _task("embedded_reber", strings=16),
    "task-temporal_order": _task("temporal_order", length=20, curriculum="naive", levels=2),
    "task-copy_memory": _task("copy_memory", wait=5, hidden=8, batch=4),
    "task-counting": _task("counting", letters=3, longest=4, tested=8),
    "task-measure_spikes": _task("measure_spikes", period=6, hidden=4, tested=20, batch=4),
    "task-generate_spikes": _task("generate_spikes", period=4, periods=4, tested=20),
    "task-periodic": _task("periodic", period=4, periods=4, tested=20),
    "task-pixel_digits": Variant(
        ["task", "pixel_digits", "--hidden", "4", "--iterations", "3", "--quiet", *_settings(first=100)], []
    ),
    "task-permuted_digits": Variant(
        [
            *("task", "permuted_digits", "--hidden", "4", "--iterations", "3", "--quiet", "--cell", "gru"),
            *_settings(first=100, permutation=3),
        ],
        [],
    ),
    "task-sines": _task("sines", hidden=4, components=2, **_SERIES),
    "task-mackey_glass": _task("mackey_glass", hidden=4, ahead=6, **_SERIES),
    "task-lorenz": _task("lorenz", hidden=4, ahead=3, layers=2, **_SERIES),
    "task-narma10": _task("narma10", hidden=4, cell="gru", **_SERIES),
    "task-random_walk": _task("random_walk", hidden=4, memory=0.5, **{**_SERIES, "tested": 240}),
    "task-ntm_lstm": Variant(
        [
            *("task", "ntm_copy", "--cell", "ntm_lstm", "--hidden", "6", "--iterations", "2", "--quiet"),
            *_settings(longest=3, **_MACHINE),
        ],
        [],
    ),
    "task-repeat_copy": Variant(
        [
            *("task", "repeat_copy", "--hidden", "6", "--iterations", "2", "--quiet"),
            *_settings(longest=2, repeats=2, heads=2, **_MACHINE),
        ],
        [],
    ),
    "task-associative_recall": Variant(
        [
            *("task", "associative_recall", "--hidden", "6", "--iterations", "2", "--quiet"),
            *_settings(items=2, heads=2, **_MACHINE),
        ],
        [],
    ),
}
"""Name -> how the run was made. Chorales are missing: their data set is not in the repository."""


def write_variant_data(folder: Path) -> None:
    """Write the seeded inputs of the variants."""
    rng = np.random.default_rng(1)
    sentences = [
        f"{word} {'änöüé'[index % 5]}z\u03b1 {word[::-1]}" for index, word in enumerate(["alpha", "zebra"] * 20)
    ]
    _write(folder / "letters.txt", sentences)
    _write(folder / "shop.csv", ["unique_id,ds,y,heat,promo,size", *_shop(rng)])
    days = np.datetime64("2024-05-01T00:00", "m") + 15 * np.arange(160)
    wave = 3 + np.sin(np.arange(160) * np.pi / 8)
    wide = np.stack([wave, 2 * wave**2], 1) * np.exp(0.05 * rng.normal(size=(160, 2)))
    _write(folder / "wide.csv", ["ds,p,q", *(f"{day},{p:.4f},{q:.4f}" for day, (p, q) in zip(days, wide, strict=True))])
    quarters = np.tile([1.0, 2.0, 4.0, 3.0], 10)
    rows = [scale * quarters + rng.normal(size=40) for scale in (10, 20, 50)]
    cells = [",".join(f"{value:.3f}" for value in row) for row in rows]
    _write(folder / "rows.csv", ["id," + ",".join(f"v{step}" for step in range(1, 41))])
    with (folder / "rows.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"r{number},{row}\n" for number, row in enumerate(cells))
    hours = np.datetime64("2024-02-01T00:00", "m") + 60 * np.arange(40)
    late = 7 + np.sin(np.arange(40) * np.pi / 12) + 0.1 * rng.normal(size=40)
    _write(
        folder / "late.csv", ["unique_id,ds,y", *(f"west,{hour},{y:.4f}" for hour, y in zip(hours, late, strict=True))]
    )
    _write(folder / "gaps.csv", ["unique_id,ds,x,z,label", *_gaps(rng)])
    _write(folder / "shapes.ts", _shapes(rng))
    _write_events(folder, rng)
    _write(folder / "pumps.csv", ["unique_id,ds,flow,heat,fault", *_pumps(rng)])


def _shop(rng: np.random.Generator) -> list[str]:
    days = np.datetime64("2024-01-01", "D") + np.arange(97)
    lines = []
    for name, size, level in (("a", 1.5, 4.0), ("b", 2.5, 9.0), ("c", 0.5, 2.0)):
        promo = rng.integers(0, 2, 97)
        heat = rng.normal(size=97)
        counts = rng.poisson(level * (1 + promo) * (1.5 + np.sin(np.arange(97) * 2 * np.pi / 7)))
        for step, day in enumerate(days):
            future = step >= 90
            missing = future or (name == "b" and step % 17 == 5)
            y = "" if missing else str(counts[step])
            lines.append(f"{name},{day},{y},{'' if future else f'{heat[step]:.3f}'},{promo[step]},{size}")
    return lines


def _gaps(rng: np.random.Generator) -> list[str]:
    lines = []
    for case in range(24):
        label = ("1", "2", "10")[case % 3]
        steps = int(rng.integers(9, 14))
        slope = (-1.0, 0.0, 1.0)[case % 3]
        for step in range(steps):
            x, z = slope * step / 4 + 0.2 * rng.normal(), rng.normal()
            # The last step is observed: padding behind the last value is cut off.
            shown = step == steps - 1 or rng.random() > 0.15
            lines.append(f"g{case},{step},{f'{x:.3f}' if shown else ''},{z:.3f},{label}")
    return lines


def _shapes(rng: np.random.Generator) -> list[str]:
    head = [
        "@problemName shapes",
        "@timeStamps false",
        "@missing false",
        "@univariate true",
        "@equalLength true",
        "@seriesLength 12",
        "@classLabel true flat bump",
        "@data",
    ]
    lines = []
    for case in range(16):
        values = 0.1 * rng.normal(size=12) + (np.exp(-((np.arange(12) - 6) ** 2) / 4) if case % 2 else 0)
        lines.append(",".join(f"{value:.3f}" for value in values) + (":bump" if case % 2 else ":flat"))
    return head + lines


def _write_events(folder: Path, rng: np.random.Generator) -> None:
    stamps = np.datetime64("2024-06-01T12:00:00", "s") + 2 * np.arange(240)
    lines, spans = [], []
    for name in ("m1", "m2"):
        values = 0.2 * rng.normal(size=(240, 2))
        starts = np.arange(10, 225, 24) + rng.integers(0, 4, 9)
        for number, start in enumerate(starts):
            values[start : start + 8, 0] += 2
            spans.append(f"{name},{stamps[start]},{stamps[start + 7]},run")
            if number % 2:
                values[start + 4 : start + 10, 1] -= 2
                spans.append(f"{name},{stamps[start + 4]},{stamps[start + 9]},hit")
        for step, stamp in enumerate(stamps):
            x = "" if step % 29 == 3 else f"{values[step, 0]:.3f}"
            lines.append(f"{name},{stamp},{x},{values[step, 1]:.3f}")
    _write(folder / "stream.csv", ["unique_id,ds,x,z", *lines])
    _write(folder / "spans.csv", ["unique_id,start,end,label", *spans])
    beats, points = 0.2 * rng.normal(size=360), np.arange(8, 350, 18)
    for point in points:
        beats[point - 1 : point + 2] += (1, 3, 1)
    _write(folder / "beats.csv", ["y", *(f"{value:.3f}" for value in beats)])
    _write(folder / "points.csv", ["start", *map(str, points)])


def _pumps(rng: np.random.Generator) -> list[str]:
    lines = []
    for name, level in (("p1", 4.0), ("p2", 20.0)):
        hours = np.datetime64("2024-03-01T00:00:00", "s") + 3600 * np.arange(210)
        flow = level + np.sin(np.arange(210) / 4) + 0.05 * rng.normal(size=210)
        heat = 50 + 0.5 * flow + 0.1 * rng.normal(size=210)
        fault = np.zeros(210, int)
        for row in (120, 185):
            flow[row], heat[row + 1], fault[row : row + 2] = flow[row] + 5, 70, 1
        cells = zip(hours, flow, heat, fault, strict=True)
        lines += [f"{name},{hour}+00:00,{f:.3f},{h:.3f},{k}" for hour, f, h, k in cells]
    return lines


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
