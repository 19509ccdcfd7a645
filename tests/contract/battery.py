"""The contract every cell keeps on every backend. Run over the registry, and over a user's own cell."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from tests.tolerances import assert_close
from torch import Tensor

from recurra.base.state import leaves
from recurra.equations.cell import Cell
from recurra.kernels.cpu.compiler import compiler
from recurra.kernels.cpu.library import PREBUILT
from recurra.kernels.reference.spelling import evaluate
from recurra.layers import Recurrent

# Awkward on purpose: no multiple of 16, three different widths, one step, two, and many.
INPUT, HIDDEN, OUTPUT = 5, 7, 3
LENGTHS = (1, 2, 63)
# How far random weights lie from their start. Without an output gate 0.3 makes a chaotic net, which over 63 steps
# amplifies each rounding of float32, on every backend, until nothing could be said of gates.
SPREAD = {"no_output_gate_lstm": 0.2}
# States that cannot be just any number: what has been stored in an sLSTM weighs at least 1.
DOMAIN = {"slstm": {"n": lambda value: 1 + value.abs()}}


def make(
    cell: str | type[Cell] | Cell,
    dtype: torch.dtype = torch.float64,
    sizes: tuple[int, int] = (INPUT, HIDDEN),
    **options: object,
) -> Recurrent:
    """A layer with random weights of unequal gates, and an output width of its own where the cell has one."""
    generator = torch.Generator().manual_seed(11)
    probe = Recurrent(cell, *sizes)
    if "O" in probe.cell.spec.axes:
        options.setdefault("output_size", OUTPUT)
    layer = Recurrent(cell, *sizes, generator=generator, **options)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in layer.parameters():
            # Every parameter its own values: zeros and ones of the initialisers would hide swapped gates.
            parameter.add_(torch.randn(parameter.shape, generator=generator) * SPREAD.get(probe.cell.name, 0.3))
    return layer.to(dtype)


def draw(layer: Recurrent, batch: int, steps: int, seed: int = 3) -> tuple[Tensor, tuple]:
    """x (B, T, I) and a state that is not zero."""
    generator = torch.Generator().manual_seed(seed)
    like = next(layer.parameters())
    x = torch.randn(batch, steps, layer.input_size, generator=generator, dtype=torch.float64).to(like.dtype)
    domain = DOMAIN.get(layer.cell.name, {})
    state = []
    for part in layer.zero_state(batch):
        drawn = part._asdict()
        for name, leaf in drawn.items():
            value = torch.randn(leaf.shape, generator=generator, dtype=torch.float64)
            drawn[name] = domain[name](value) if name in domain else value
        state.append(type(part)(*(value.to(like.dtype) for value in drawn.values())))
    return x, tuple(state)


def by_hand(layer: Recurrent, x: Tensor, state: tuple, lengths: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
    """The definition: row by row, step by step, node by node; one layer, one direction."""
    unit = layer.units[0]
    spec, named = unit.spec, unit.named()
    rows, finals = [], []
    for row in range(x.shape[0]):
        now = [leaf[row : row + 1] for leaf in state[0]]
        outputs = []
        for t in range(x.shape[1]):
            if lengths is not None and t >= lengths[row]:
                outputs.append(torch.zeros_like(now[0]))
                continue
            symbols = {spec.symbol("x"): x[row : row + 1, t]}
            symbols |= {spec.symbol(name): value for name, value in zip(spec.states, now, strict=True)}
            symbols |= {spec.symbol(name): value for name, value in named.items()}
            now = evaluate([spec.after[name] for name in spec.states], symbols)
            outputs.append(now[0])
        rows.append(torch.stack(outputs, 1))
        finals.append(now)
    return torch.cat(rows), [torch.cat(parts) for parts in zip(*finals, strict=True)]


def everything(layer: Recurrent, x: Tensor, state: tuple, run: object = None, **call: object) -> dict[str, Tensor]:
    """Outputs, final state, and the gradient of a fixed random projection of both, for every input there is."""
    x = x.detach().clone().requires_grad_()
    state = tuple(type(part)(*(leaf.detach().clone().requires_grad_() for leaf in part)) for part in state)
    if run is None:
        y, last = layer(x, state, **call)
        finals = leaves(last)
    else:
        y, finals = run(layer, x, state, **call)  # type: ignore[operator]
    generator = torch.Generator().manual_seed(5)
    weight = [torch.randn(value.shape, generator=generator, dtype=torch.float64).to(y.dtype) for value in (y, *finals)]
    total = sum((value * w).sum() for value, w in zip((y, *finals), weight, strict=True))
    wanted = {"x": x, **{f"state {i}": leaf for i, leaf in enumerate(leaves(state))}, **dict(layer.named_parameters())}
    gradients = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
    found = {"y": y, **{f"final {i}": value for i, value in enumerate(finals)}}
    for (name, value), gradient in zip(wanted.items(), gradients, strict=True):
        found[f"gradient of {name}"] = torch.zeros_like(value) if gradient is None else gradient
    return found


def compare(have: dict[str, Tensor], want: dict[str, Tensor], what: str) -> None:
    """All quantities of `everything`, each against its own tolerance."""
    assert have.keys() == want.keys()
    for name, value in have.items():
        quantity = "gradient" if name.startswith("gradient") else "value"
        if value.dtype == torch.float32 and want[name].dtype == torch.float64:
            quantity = {"gradient": "gradient rounding", "value": "rounding"}[quantity]
        assert_close(value, want[name], quantity, f"{what}: {name}")


def backends(cell: str | type[Cell] | Cell) -> Iterator[str]:
    """The backends that run this cell at all."""
    yield "reference"
    if compiler() or PREBUILT.exists():
        yield "native"
    if Recurrent(cell, 1, 1).units[0].fused is not None:
        yield "torchnn"
    if Recurrent(cell, 1, 1).cell.spec.is_affine_elementwise:
        yield "scan"
