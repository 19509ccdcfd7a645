"""A net on one page: layers, shapes, parameters, depths, how far it sees, what a stream of it keeps.

Depths are those of Pascanu et al. 2014 and Zhang et al. 2016, as `layers.facts` says; shapes come from one run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra.base.errors import ConfigError, message
from recurra.base.state import leaves
from recurra.layers.facts import Facts, facts_of, feedforward_depth, memory_steps, recurrent_depth
from recurra.layers.unit import Unit

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Row", "Summary", "summary"]


class Row(NamedTuple):
    """One layer. output: the shape it gave, B = 1 first; None where the run did not pass it."""

    name: str
    kind: str
    output: tuple[int, ...] | None
    parameters: int
    facts: Facts | None


class Summary(NamedTuple):
    """Of a whole net.

    parameters, parameter_bytes: each tensor counted once, however often it is used. facts: depths and reach, None
    where a part does not say. causal: as the facts say, or measured where there are none. state_bytes: what one stream
    keeps between two steps, None where the net gives back no state.
    """

    model: str
    rows: tuple[Row, ...]
    parameters: int
    parameter_bytes: int
    facts: Facts | None
    causal: bool | None
    state_bytes: int | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; an infinite reach is the word "infinite"."""
        total = {key: value for key, value in self._asdict().items() if key not in ("rows", "facts")}
        total |= _plain(self.facts)
        total["layers"] = [
            {"name": row.name, "kind": row.kind, "output": row.output, "parameters": row.parameters} | _plain(row.facts)
            for row in self.rows
        ]
        return total

    def lines(self) -> list[tuple[str, str]]:
        """What stands below the table: name and value."""
        facts = self.facts
        told = [("parameters", f"{self.parameters:,} ({self.parameter_bytes:,} bytes)")]
        if facts is not None:
            told.append(("feed-forward depth", f"{facts.feedforward} nonlinear layers from x to y at one step"))
            told.append(("recurrent depth", f"{facts.recurrent:g} from the state before a step to the state after"))
            told.append(("receptive field", f"{_steps(facts.past)} back, {_steps(facts.future)} ahead"))
        if self.causal is not None:
            told.append(("causal", "yes" if self.causal else "no"))
        if self.state_bytes is not None:
            told.append(("state of a stream", f"{self.state_bytes:,} bytes"))
        return told

    def __rich__(self) -> Table:
        """A table for a rich console: `rich.print(summary(...))`."""
        from rich.table import Table

        table = Table(title=self.model, caption="\n".join(f"{name}: {value}" for name, value in self.lines()))
        for heading in ("layer", "kind", "output"):
            table.add_column(heading)
        for heading in ("parameters", "depth", "recurrent"):
            table.add_column(heading, justify="right")
        for row in self.rows:
            depths = ("", "") if row.facts is None else (str(row.facts.feedforward), f"{row.facts.recurrent:g}")
            shape = "" if row.output is None else str(row.output)
            table.add_row(row.name or "(itself)", row.kind, shape, f"{row.parameters:,}", *depths)
        return table

    def __str__(self) -> str:
        """The same as plain text."""
        shown = [(row.name or "(itself)", row.kind, str(row.output or ""), f"{row.parameters:,}") for row in self.rows]
        widths = [max((len(line[k]) for line in shown), default=0) for k in range(4)]
        body = []
        for *words, count in shown:
            left = [word.ljust(width) for word, width in zip(words, widths, strict=False)]
            body.append("  ".join([*left, count.rjust(widths[3])]))
        return "\n".join([self.model, *body, *(f"{name}: {value}" for name, value in self.lines())])


def summary(
    model: nn.Module, input_size: int | None = None, *, example: Tensor | tuple[Any, ...] | None = None, steps: int = 16
) -> Summary:
    """What there is to say of `model`, after one run of it in evaluation mode.

    >>> from recurra.layers import Recurrent
    >>> told = summary(Recurrent("lstm", 3, 8, num_layers=2), input_size=3)
    >>> told.parameters, told.facts.feedforward, told.facts.recurrent, told.causal, told.state_bytes
    (928, 2, 1.0, True, 128)

    input_size: I; the net then reads zeros (1, steps, I). example: what it is called with instead, one row (B = 1): a
    tensor, as tokens (1, T) int64, or a tuple of all its arguments.
    """
    if (input_size is None) == (example is None):
        raise ConfigError(message("summary", "either input_size or an example must be given"))
    like = next(model.parameters(), torch.zeros(()))
    if input_size is not None:
        example = torch.zeros(1, steps, input_size, dtype=like.dtype, device=like.device)
    arguments = example if isinstance(example, tuple) else (example,)
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        first = next(iter(leaves(output)), None) if isinstance(output, (Tensor, tuple)) else None
        if first is not None:
            shapes[module] = tuple(first.shape)

    listed = [(name, module, own) for name, module, own in _listed(model)]
    hooks = [module.register_forward_hook(note) for _, module, _ in listed]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            output = model(*arguments)
        facts = facts_of(model)
        causal = facts.causal if facts is not None else _measured_causal(model, arguments)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    rows = tuple(Row(name, _kind(module), shapes.get(module), own, _facts(module)) for name, module, own in listed)
    parameters = list(model.parameters())
    state = output[1] if isinstance(output, tuple) and len(output) > 1 else None
    return Summary(
        type(model).__name__,
        rows,
        sum(parameter.numel() for parameter in parameters),
        sum(parameter.numel() * parameter.element_size() for parameter in parameters),
        facts,
        causal,
        None if state is None else sum(leaf.numel() * leaf.element_size() for leaf in leaves(state)),
    )


def _listed(model: nn.Module) -> Iterator[tuple[str, nn.Module, int]]:
    """The modules that hold parameters, a cell with all of its own as one; how many each holds itself."""
    inside: set[nn.Module] = set()
    seen: set[Tensor] = set()
    for name, module in model.named_modules():
        if module in inside:
            continue
        whole = isinstance(module, Unit)
        if whole:
            inside |= set(module.modules())
        own = [parameter for parameter in module.parameters(recurse=whole) if parameter not in seen]
        seen |= set(own)
        if own:
            yield name, module, sum(parameter.numel() for parameter in own)


def _kind(module: nn.Module) -> str:
    return module.cell.name if isinstance(module, Unit) else type(module).__name__


def _facts(module: nn.Module) -> Facts | None:
    if isinstance(module, Unit):
        return Facts(feedforward_depth(module.spec), recurrent_depth(module.spec), memory_steps(module.spec))
    return facts_of(module)


def _measured_causal(model: nn.Module, arguments: tuple[Any, ...]) -> bool | None:
    """Whether outputs stay as they are when only later inputs change; None where that cannot be told."""
    x = arguments[0]
    if len(arguments) != 1 or not isinstance(x, Tensor) or x.dim() < 2 or x.shape[1] < 2 or not x.is_floating_point():
        return None
    half = x.shape[1] // 2
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(x.shape, generator=generator).to(x)
    after = before.clone()
    after[:, half:] = torch.randn(x.shape, generator=generator).to(x)[:, half:]
    with torch.no_grad():
        first, second = (next(iter(leaves(model(value)))) for value in (before, after))
    if first.dim() < 2 or first.shape[1] != x.shape[1]:
        return None
    return bool(torch.equal(first[:, :half], second[:, :half]))


def _steps(count: float) -> str:
    return "all steps" if math.isinf(count) else f"{count:g} steps"


def _plain(facts: Facts | None) -> dict[str, Any]:
    if facts is None:
        return {}
    named = {"feedforward_depth": facts.feedforward, "recurrent_depth": facts.recurrent}
    named |= {"past_steps": facts.past, "future_steps": facts.future}
    return {key: "infinite" if math.isinf(value) else value for key, value in named.items()}
