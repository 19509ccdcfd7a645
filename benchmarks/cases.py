"""What is measured: pairs of functions that do the same work, ours and the peer's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from recurra.kernels.reference.spelling import evaluate
from recurra.layers import Recurrent

__all__ = ["Case", "cases"]


class Case(NamedTuple):
    """Two ways to do one piece of work; `ours` and `peer` each run it once."""

    name: str
    against: str
    ours: Callable[[], object]
    peer: Callable[[], object]


SHAPES = [(32, 100, 64, 128), (32, 100, 128, 256), (64, 100, 256, 512)]


def cases(threads: int) -> Iterator[Case]:
    """All cases, made one at a time."""
    torch.set_num_threads(threads)
    for shape in SHAPES:
        for cell, kind in (("lstm", nn.LSTM), ("gru", nn.GRU), ("elman", nn.RNN)):
            yield _dense(cell, kind, *shape)
    for shape in SHAPES[:2]:
        for cell, kind in (("lstm", nn.LSTM), ("gru", nn.GRU)):
            yield _ragged(cell, kind, *shape)
        for cell in ("peephole_lstm", "gru_v1", "layer_norm_lstm"):
            yield _loop(cell, *shape)
    for hidden in (128, 256):
        yield _step(hidden)


def _train(run: Callable[[], Tensor], module: nn.Module) -> Callable[[], None]:
    def once() -> None:
        module.zero_grad(set_to_none=True)
        run().sum().backward()

    return once


def _label(batch: int, steps: int, inputs: int, hidden: int) -> str:
    return f"B={batch} T={steps} I={inputs} H={hidden}"


def _dense(cell: str, kind: Callable[..., nn.RNNBase], batch: int, steps: int, inputs: int, hidden: int) -> Case:
    module = kind(inputs, hidden, batch_first=True)
    layer = Recurrent.from_torch(module)
    x = torch.randn(batch, steps, inputs)
    name = f"{cell} train {_label(batch, steps, inputs, hidden)}"
    ours, peer = _train(lambda: layer(x)[0], layer), _train(lambda: module(x)[0], module)
    return Case(name, f"torch.nn.{type(module).__name__}", ours, peer)


def _ragged(cell: str, kind: Callable[..., nn.RNNBase], batch: int, steps: int, inputs: int, hidden: int) -> Case:
    module = kind(inputs, hidden, batch_first=True)
    layer = Recurrent.from_torch(module)
    x = torch.randn(batch, steps, inputs)
    lengths = torch.randint(10, steps + 1, (batch,), generator=torch.Generator().manual_seed(0))

    def packed() -> Tensor:
        return module(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))[0].data

    name = f"{cell} train, lengths 10..{steps}, {_label(batch, steps, inputs, hidden)}"
    ours = _train(lambda: layer(x, lengths=lengths)[0], layer)
    return Case(name, f"torch.nn.{type(module).__name__}, PackedSequence", ours, _train(packed, module))


def _loop(cell: str, batch: int, steps: int, inputs: int, hidden: int) -> Case:
    layer = Recurrent(cell, inputs, hidden)
    unit = layer.units[0]
    spec = unit.spec
    x = torch.randn(batch, steps, inputs)

    def by_hand() -> Tensor:
        symbols = {spec.symbol(name): value for name, value in unit.named().items()}
        state: list[Tensor] = list(layer.zero_state(batch)[0])
        outputs = []
        for t in range(steps):
            now = {spec.symbol(name): value for name, value in zip(spec.states, state, strict=True)}
            now[spec.symbol("x")] = x[:, t]
            state = evaluate([spec.after[name] for name in spec.states], {**symbols, **now})
            outputs.append(state[0])
        return torch.stack(outputs, 1)

    name = f"{cell} train {_label(batch, steps, inputs, hidden)}"
    peer = "the equations step by step in eager torch"
    return Case(name, peer, _train(lambda: layer(x)[0], layer), _train(by_hand, layer))


def _step(hidden: int) -> Case:
    layer = Recurrent("lstm", 64, hidden).eval()
    cell = nn.LSTMCell(64, hidden)
    x = torch.randn(1, 64)
    held: dict[str, object] = {"ours": None, "peer": None}

    def ours() -> None:
        with torch.inference_mode():
            for _ in range(100):
                _, held["ours"] = layer.step(x, held["ours"])

    def peer() -> None:
        with torch.inference_mode():
            for _ in range(100):
                held["peer"] = cell(x, held["peer"])

    return Case(f"lstm 100 steps, one stream, I=64 H={hidden}", "torch.nn.LSTMCell", ours, peer)
