"""The tables of RESULTS.md and of the how-to page on compare, from what was measured; with --run, measure first.

    python recipes/classic/table.py                       # write the tables; with --check, only say if they are right
    python recipes/classic/table.py --run xor letters     # these rows, then the tables
    python recipes/classic/table.py --run --fresh         # all rows, from the beginning
    python recipes/classic/table.py --chorales FILE       # take what `recurra compare chorales ... --json` printed

The rows stand in rows.toml, their measurements in measured/NAME.jsonl, one line a seed. With --fresh what was measured
is replaced, seed by seed, unless it was measured at this very commit, so that a stopped command continues. What a run
of repeat-copy copies by length is measured by repeat_copy.py.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
from pathlib import Path
from typing import Any

import msgspec
import seeds as runner

from recurra.base.errors import ConfigError, DataError, RecurraError, message
from recurra.base.files import write_text
from recurra.tasks.classic import TASKS

HERE = Path(__file__).parent
RESULTS, COMPARE = HERE / "RESULTS.md", HERE.parents[1] / "docs" / "how-to" / "compare.md"
LENGTHS, CHORALES = HERE / "measured" / "repeat-copy-lengths.jsonl", HERE / "measured" / "compare-chorales.json"
GREFF = {
    "peephole_lstm": "V, vanilla",
    "lstm": "NP",
    "coupled_peephole_lstm": "CIFG",
    "no_output_activation_lstm": "NOAF",
    "no_forget_gate_lstm": "NFG",
    "no_input_gate_lstm": "NIG",
    "no_input_activation_lstm": "NIAF",
    "no_output_gate_lstm": "NOG",
    "full_recurrence_lstm": "FGR",
}
"""What Greff et al. 2017 call our cells."""


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of rows.toml."""

    run: str
    """What stands behind `seeds.py`."""
    seeds: str
    note: str = ""
    value: str | None = None
    """The words behind the task's own metric; "%" first: of a hundred; unset: it is not shown."""
    show: dict[str, str] = {}
    """Other metrics, and the words behind them."""
    published: str = ""

    @property
    def task(self) -> str:
        """Its task."""
        return shlex.split(self.run)[0]

    def numbers(self) -> range:
        """Its seeds."""
        return runner.seed_range(self.seeds)


def rows() -> dict[str, Row]:
    """All rows by name."""
    try:
        return msgspec.toml.decode((HERE / "rows.toml").read_bytes(), type=dict[str, Row])
    except (msgspec.DecodeError, OSError) as error:
        raise ConfigError(message("rows.toml", str(error))) from None


def measured(name: str) -> list[dict[str, Any]]:
    """The lines of a row by seed; none where nothing was measured."""
    return sorted(runner.written(HERE / "measured" / f"{name}.jsonl"), key=lambda line: line["seed"])


def amount(values: list[float], words: str, exact: bool) -> str:
    """Median (least to most), with the words behind."""
    if words.startswith("%") and not exact:
        values = [100 * value for value in values]

    def one(value: float) -> str:
        return f"{value:.1f}" if words.startswith("%") else f"{value:.4g}"

    least, most = one(min(values)), one(max(values))
    spread = f" ({least} to {most})" if least != most else ""
    return f"{one(statistics.median(values))}{spread} {words}".rstrip()


def line(name: str, row: Row) -> str:
    """One line of the table."""
    task, found = TASKS[row.task], [one for one in measured(name) if one["seed"] in row.numbers()]
    command = f"`{row.run}`" + (f" ({row.note})" if row.note else "")
    if not found:
        return f"| {command} |  | not measured yet: `table.py --run {name}` |  |  | {row.published} |  |"
    solved = [one for one in found if one["solved"]]
    outcome = f"{len(solved)} of {len(found)}"
    parts = [f"**{outcome}**" if len(solved) == len(found) else outcome]
    if row.value is not None:
        parts.append(amount([one["value"] for one in found], row.value, task.metric == "percent"))
    parts += [
        amount([one["metrics"][key] for one in found], words, exact=False)
        for key, words in row.show.items()
        if all(key in one["metrics"] for one in found)
    ]
    spent = sorted(one["sequences"] for one in solved)
    until = ""
    if spent:
        until = f"{statistics.median(spent):,.0f}"
    if len(spent) > 1 and spent[0] != spent[-1]:
        until += f", {statistics.mean(spent):,.0f}, {spent[0]:,} to {spent[-1]:,}"
    seconds = f"{statistics.median(one['seconds'] for one in found):.0f}"
    at = ", ".join(sorted({one["commit"] for one in found if one.get("commit")})) or "earlier"
    if any(not one.get("commit") for one in found) and at != "earlier":
        at += ", earlier"
    every = f"{found[0]['seed']} to {found[-1]['seed']}" if len(found) > 1 else str(found[0]["seed"])
    return f"| {command} | {every} | {'; '.join(parts)} | {until} | {seconds} | {row.published} | {at} |"


def table() -> str:
    """The table in Markdown."""
    head = (
        "| command (`python recipes/classic/seeds.py ...`) | seeds | solved; median (least to most) | "
        "sequences: median, mean, least to most | seconds | published | code |\n|---|---|---|---|---|---|---|"
    )
    return "\n".join([head, *(line(name, row) for name, row in rows().items())])


def lengths_table() -> str:
    """What the runs of repeat-copy copy, one line a seed."""
    head = (
        "| seed | bits a sequence: mean, median | cost more than 1 bit | with an all-zero vector: share, bits | "
        "others | bits at 10 x 10 | 15 x 7 | 20 x 5 | 12 x 10 | 10 x 12 |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    made = [head]
    for found in runner.written(LENGTHS):
        place = {end: i for i, end in enumerate(found["ends"])}
        corners = [
            found["grid"][place[length]][place[repeats]]
            for length, repeats in ((10, 10), (15, 7), (20, 5), (12, 10), (10, 12))
        ]
        made.append(
            f"| {found['seed']} | {found['mean']:.2g}, {found['median']:.2g} | {found['over_1_bit']:.2%} | "
            f"{found['zero_vector']:.1%}, {found['with_zero_vector']:.3g} | {found['without_zero_vector']:.2g} | "
            + " | ".join(f"{corner:.3g}" for corner in corners)
            + " |"
        )
    return "\n".join(made)


def chorales_table(rows: list[dict[str, Any]] | None = None) -> str:
    """The variants of the LSTM on the chorales, best first; None: those that were kept."""
    made = [
        "| cell | Greff's name | units | parameters | rate | nats a frame, test | sd | best | worst | p |\n"
        "|---|---|---|---|---|---|---|---|---|---|"
    ]
    for place, row in enumerate(json.loads(CHORALES.read_text(encoding="utf-8")) if rows is None else rows):
        mean = f"{row['mean']:.3f}" if place else f"**{row['mean']:.3f}**"
        p = "" if row["p"] is None else f"{row['p']:.4f}"
        made.append(
            f"| {row['cell']} | {GREFF[row['cell']]} | {row['hidden']} | {row['parameters']:,} | {row['rate']:.3f} | "
            f"{mean} | {row['spread']:.3f} | {row['best']:.3f} | {row['worst']:.3f} | {p} |"
        )
    return "\n".join(made)


def take_chorales(path: Path) -> None:
    """Keep the rows that `recurra compare ... --json` printed; DataError where the file is not that."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        chorales_table(rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(message(str(path), f"is not what recurra compare --json prints: {error!r}")) from None
    write_text(CHORALES, json.dumps(rows, indent=1) + "\n")


SECTIONS = ((RESULTS, "rows", table), (RESULTS, "lengths", lengths_table), (COMPARE, "chorales", chorales_table))
"""The pages, the names of the tables there, and what makes them."""


def rewritten(text: str, path: Path) -> str:
    """A page with its tables of today."""
    for page, name, made in SECTIONS:
        if page != path:
            continue
        marks = f"<!-- table.py {name} -->", f"<!-- /table.py {name} -->"
        before, begin, rest = text.partition(marks[0])
        _, end, after = rest.partition(marks[1])
        if not begin or not end:
            raise ConfigError(message(path.name, f"needs the lines {marks[0]} and {marks[1]}"))
        text = f"{before}{begin}\n\n{made()}\n\n{end}{after}"
    return text


def measure(name: str, row: Row, fresh: bool, keep: Path | None) -> int:
    """Run what is missing of a row; the exit status."""
    path = HERE / "measured" / f"{name}.jsonl"
    arguments = [*shlex.split(row.run), "--out", str(path)]
    if keep is not None:
        arguments += ["--keep", str(keep / name)]
    return runner.main([*arguments, "--seeds", row.seeds, *(["--again"] if fresh else [])])


def main() -> int:
    """Measure what is asked for, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", nargs="*", metavar="NAME", help="rows to measure; without a name all")
    parser.add_argument("--fresh", action="store_true", help="also what was measured at another commit")
    parser.add_argument("--keep", type=Path, help="a folder of run folders")
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 where a table is another one")
    parser.add_argument("--chorales", type=Path, metavar="FILE", help="the output of recurra compare chorales --json")
    options = parser.parse_args()
    try:
        known = rows()
        for name in (options.run or known) if options.run is not None else ():
            if name not in known:
                raise ConfigError(message("--run", f"there is no row {name}", hint="one of " + ", ".join(known)))
            print(f"{name}: seeds.py {known[name].run}", file=sys.stderr)
            status = measure(name, known[name], options.fresh, options.keep)
            if status:
                return status
        if options.chorales:
            take_chorales(options.chorales)
        changed = False
        for path in (RESULTS, COMPARE):
            old = path.read_text(encoding="utf-8")
            new = rewritten(old, path)
            if new != old and not options.check:
                write_text(path, new)
            changed = changed or new != old
        if options.check:
            return int(changed)
    except RecurraError as error:
        print(f"table.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
