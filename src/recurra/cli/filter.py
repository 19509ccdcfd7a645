"""Cancel noise in a recording with an adaptive filter: recurra filter noisy.wav --reference noise.wav --out clean.wav.

The reference is what a second sensor heard of the noise alone (a microphone at the engine, a wire near the mains):
another gain, phase, delay or echo does not matter, it only must not come later. Without one, --mains 50 takes a hum of
that frequency away, and --enhance N parts what repeats (kept with --keep noise) from what does not.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recurra.base.errors import ConfigError, DataError, UnknownName, message, nearest
from recurra.cli.style import bold, dim

if TYPE_CHECKING:
    import numpy as np

    from recurra.classical.filters import AdaptiveFilter
    from recurra.data.signals import Signal

__all__ = ["algorithm_from", "configure", "run"]

WHERE = "recurra filter"


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Add the arguments of this verb."""
    parser.add_argument("file", metavar="FILE", help="the noisy recording: .wav, or .csv with a column per channel")
    parser.add_argument("--column", metavar="NAME", help="its channel (default: the first)")
    source = parser.add_argument_group("the noise", "one of these")
    source.add_argument("--reference", metavar="FILE", help="a recording of the noise; all its channels are used")
    source.add_argument("--reference-column", metavar="NAME", help="one channel of it, or of FILE itself")
    source.add_argument("--mains", metavar="HZ", type=float, nargs="+", help="a hum of these frequencies")
    source.add_argument("--enhance", metavar="N", type=int, help="the recording itself, N samples ago")
    how = parser.add_argument_group("the filter")
    how.add_argument(
        "--algorithm", default="nlms", metavar="NAME", help="nlms (default), lms, rls, ap, sign-error, ..."
    )
    how.add_argument(
        "--taps", type=int, metavar="N", help="samples of the reference it weighs (default 32; --mains: 1)"
    )
    how.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting, such as step=0.02, forgetting=0.9999",
    )
    out = parser.add_argument_group("results")
    out.add_argument("--out", metavar="FILE", help="where the result goes (.wav or .csv)")
    out.add_argument("--keep", choices=["signal", "noise"], default="signal", help="which part goes there")
    out.add_argument("--report", metavar="FILE", help="before and after in pictures, as HTML")
    out.add_argument(
        "--show", type=float, metavar="SECOND", help="where the pictures look closely (default: the middle)"
    )
    out.add_argument("--clean", metavar="FILE", help="the recording without noise, where it is known: gives the SNR")
    out.add_argument("--clean-column", metavar="NAME", help="its channel, or that of FILE")
    out.add_argument(
        "--settle", type=float, default=0.0, metavar="S", help="seconds at the start that the SNR leaves out"
    )
    out.add_argument("--rate", type=float, metavar="HZ", help="samples a second of a .csv")
    out.add_argument("--json", action="store_true", help="print the result as JSON, nothing else")
    out.add_argument("--quiet", action="store_true", help="no progress")
    return list(words)


def run(arguments: argparse.Namespace) -> int:
    """Filter, measure, write."""
    # Said before anything is computed.
    if not arguments.out and not arguments.report and not arguments.clean and not arguments.json:
        hint = "--out clean.wav, --report report.html, or both."
        raise ConfigError(message(WHERE, "nothing was asked for", hint=hint))
    import numpy as np

    from recurra.classical.filters import cancel, snr_db
    from recurra.data.signals import read_signal, write_signal

    signal = read_signal(arguments.file)
    rate = arguments.rate or signal.rate_hz
    noisy = _channel(signal, arguments.column, arguments.file)
    reference = _reference(arguments, signal, noisy, rate)
    taps = (1 if arguments.mains else 32) if arguments.taps is None else arguments.taps
    algorithm = algorithm_from(arguments.algorithm, taps, arguments.set)
    clean = _clean(arguments, signal, noisy)
    skip = round(arguments.settle * (rate or 1))
    if not 0 <= skip < len(noisy):
        raise ConfigError(message(WHERE, f"--settle must leave something, the recording has {len(noisy)} samples"))
    began = time.perf_counter()
    found = cancel(noisy, reference, algorithm, progress=_progress(arguments))
    spent = time.perf_counter() - began
    facts: dict[str, Any] = {
        "algorithm": str(algorithm),
        "samples": len(noisy),
        "seconds": spent,
        "rate_hz": rate,
        "removed_db": 10 * float(np.log10((noisy[skip:] ** 2).sum() / ((found.signal[skip:] ** 2).sum() or np.nan))),
    }
    if clean is not None:
        facts["snr_before_db"] = snr_db(clean[skip:], noisy[skip:])
        facts["snr_after_db"] = snr_db(clean[skip:], found.signal[skip:])
    if arguments.out:
        write_signal(arguments.out, getattr(found, arguments.keep), rate)
        facts["out"] = arguments.out
    if arguments.report:
        from recurra.cli.filter_report import Filtering, write_report

        shown = Filtering(
            name=Path(arguments.file).name,
            noisy=noisy,
            result=found.signal,
            clean=clean,
            rate_hz=rate,
            weights=np.asarray(found.state.weights)[0],
            algorithm=algorithm,
            show_s=arguments.show,
            settle=skip,
            facts=facts,
            command=shlex.join(["recurra", *arguments.words]),
        )
        write_report(shown, Path(arguments.report))
        facts["report"] = arguments.report
    _tell(arguments, facts)
    return 0


def algorithm_from(name: str, taps: int, settings: list[str]) -> AdaptiveFilter:
    """The filter called `name`; ConfigError or UnknownName for what it cannot be."""
    from recurra.classical.filters import ALGORITHMS

    if name not in ALGORITHMS:
        there = ", ".join(nearest(name, ALGORITHMS))
        raise UnknownName(message(WHERE, f"no algorithm is called {name!r}", f"There are: {there}"))
    kind = ALGORITHMS[name]
    known = {field.name: type(field.default) for field in fields(kind) if field.default is not MISSING}
    values: dict[str, Any] = {"taps": taps}
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in known:
            there = ", ".join(nearest(key, known))
            raise ConfigError(message(WHERE, f"{name} has no setting {key!r}", f"There are: {there}"))
        try:
            values[key] = known[key](value)
        except ValueError as error:
            raise ConfigError(message(WHERE, f"{key} must be a number, got {value!r}")) from error
    return kind(**values)


def _channel(signal: Signal, column: str | None, file: str) -> np.ndarray:
    if column is None:
        return signal.values[:, 0]
    if column not in signal.names:
        raise DataError(message(file, f"has no channel {column!r}", f"There are: {', '.join(signal.names)}"))
    return signal.values[:, signal.names.index(column)]


def _reference(arguments: argparse.Namespace, signal: Signal, noisy: np.ndarray, rate: float | None) -> np.ndarray:
    from recurra.classical.filters import delayed, sine_pair
    from recurra.data.signals import read_signal

    outside = bool(arguments.reference or arguments.reference_column)
    given = [outside, arguments.mains is not None, arguments.enhance is not None]
    if sum(given) != 1:
        fact = "name one source of the noise: --reference FILE, --mains HZ or --enhance N"
        raise ConfigError(message(WHERE, f"{fact}; {sum(given)} were given"))
    if arguments.mains is not None:
        if not rate:
            raise ConfigError(message(WHERE, "--mains needs the samples a second of a .csv", hint="--rate 360"))
        return sine_pair(arguments.mains, rate, len(noisy))
    if arguments.enhance is not None:
        return delayed(noisy, arguments.enhance)
    other = read_signal(arguments.reference) if arguments.reference else signal
    name = arguments.reference or arguments.file
    if len(other.values) != len(noisy):
        fact = f"has {len(other.values)} samples, {arguments.file} has {len(noisy)}"
        raise DataError(message(name, fact, hint="both must begin and end together."))
    if other.rate_hz and rate and other.rate_hz != rate:
        raise DataError(message(name, f"has {other.rate_hz:g} samples a second, {arguments.file} has {rate:g}"))
    return _channel(other, arguments.reference_column, name) if arguments.reference_column else other.values


def _clean(arguments: argparse.Namespace, signal: Signal, noisy: np.ndarray) -> np.ndarray | None:
    if not arguments.clean and not arguments.clean_column:
        return None
    from recurra.data.signals import read_signal

    name = arguments.clean or arguments.file
    clean = _channel(read_signal(arguments.clean) if arguments.clean else signal, arguments.clean_column, name)
    if len(clean) != len(noisy):
        raise DataError(message(name, f"has {len(clean)} samples, {arguments.file} has {len(noisy)}"))
    return clean


def _progress(arguments: argparse.Namespace) -> Any:
    """A line that counts on a terminal; nothing elsewhere, for it takes seconds at most."""
    if arguments.quiet or arguments.json or not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        end = "\n" if done == total else ""
        print(f"\rfiltered {done:,} of {total:,} samples", end=end, file=sys.stderr, flush=True)

    return show


def _tell(arguments: argparse.Namespace, facts: dict[str, Any]) -> None:
    if arguments.json:
        print(json.dumps(facts))
        return
    print(bold(facts["algorithm"]))
    times = ""
    if facts["rate_hz"]:
        length = facts["samples"] / facts["rate_hz"]
        times = f" ({length:.1f} s of recording, {length / facts['seconds']:,.0f} times as fast as it plays)"
    print(f"  {facts['samples']:,} samples in {facts['seconds']:.3f} s{times}")
    if "snr_after_db" in facts:
        print(f"  SNR {facts['snr_before_db']:.2f} dB before, {facts['snr_after_db']:.2f} dB after")
    else:
        print(f"  {facts['removed_db']:.2f} dB of the power taken away")
    for name, what in (("out", "result"), ("report", "report")):
        if name in facts:
            print(dim(f"  {what} in {facts[name]}"))
