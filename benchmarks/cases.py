"""What is measured: pairs of functions that do the same work, ours and the peer's, in groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence

from benchmarks.by_hand import LOOPS, Skeptic
from recurra.equations.spec import CellSpec
from recurra.layers import Recurrent

__all__ = ["GROUPS", "Case", "Missing"]

Shape = tuple[int, int, int, int]


class Case(NamedTuple):
    """Two ways to do one piece of work; `ours` and `peer` each run it once.

    goal: how often ours must fit in the peer's time (below 1: it may take longer). flops: of ours, 0 where it makes no
    sense. same: outputs of both, compared before anything is measured.
    """

    name: str
    against: str
    ours: Callable[[], object]
    peer: Callable[[], object]
    goal: float = 0.0
    flops: float = 0.0
    same: Callable[[], tuple[Tensor, Tensor]] | None = None


class Missing(NamedTuple):
    """A case whose peer is not there."""

    name: str
    why: str


SHAPES: list[Shape] = [
    (32, 100, 64, 128),
    (32, 100, 128, 256),
    (64, 100, 256, 512),
    (20, 35, 650, 650),
    (1, 1000, 128, 128),
]
TORCH = (("lstm", nn.LSTM), ("gru", nn.GRU), ("elman", nn.RNN))


def _label(shape: Shape) -> str:
    return "B={} T={} I={} H={}".format(*shape)


def _train(run: Callable[[], Tensor], module: nn.Module) -> Callable[[], None]:
    def once() -> None:
        module.zero_grad(set_to_none=True)
        run().sum().backward()

    return once


def _infer(run: Callable[[], Tensor]) -> Callable[[], None]:
    def once() -> None:
        with torch.inference_mode():
            run()

    return once


def flops_of(spec: CellSpec, shape: Shape, train: bool) -> float:
    """Multiplications and additions of all matrix products; a backward pass has twice those of the forward pass."""
    batch, steps, inputs, hidden = shape
    sizes = {"I": inputs, "H": hidden, "O": hidden}
    one = 0
    for product in spec.products:
        rows, columns = spec.params[str(product.args[0].value)]
        one += 2 * sizes[rows] * sizes[columns]
    return float(one * batch * steps * (3 if train else 1))


def dense() -> Iterator[Case | Missing]:
    """LSTM, GRU and Elman net against torch.nn, training and inference."""
    for train in (True, False):
        for cell, kind in TORCH:
            for shape in SHAPES:
                batch, steps, inputs, hidden = shape
                module = kind(inputs, hidden, batch_first=True)
                layer = Recurrent.from_torch(module)
                x = torch.randn(batch, steps, inputs)
                ours, peer = (lambda layer=layer, x=x: layer(x)[0]), (lambda module=module, x=x: module(x)[0])
                wide = hidden > 256
                goal = {"lstm": 1.5, "gru": 2.0 if wide else 3.0, "elman": 1.5 if wide else 2.0}[cell]
                if not train:
                    goal = {"lstm": 1.0, "gru": 2.0, "elman": 1.0}[cell]
                way = "train" if train else "infer"
                pair = (_train(ours, layer), _train(peer, module)) if train else (_infer(ours), _infer(peer))
                same = lambda ours=ours, peer=peer: (ours(), peer())  # noqa: E731
                amount = flops_of(layer.units[0].spec, shape, train)
                name = f"{cell} {way} {_label(shape)}"
                yield Case(name, f"torch.nn.{type(module).__name__}", *pair, goal, amount, same)


def ragged() -> Iterator[Case | Missing]:
    """Rows of different lengths: against PackedSequence, and against our own dense cost of the same steps."""
    for shape in SHAPES[:3]:
        batch, steps, inputs, hidden = shape
        lengths = torch.randint(10, steps + 1, (batch,), generator=torch.Generator().manual_seed(0))
        share = float(lengths.sum()) / (batch * steps)
        x = torch.randn(batch, steps, inputs)
        for cell, kind in TORCH[:2]:
            module = kind(inputs, hidden, batch_first=True)
            layer = Recurrent.from_torch(module)

            def packed(module: nn.Module = module, x: Tensor = x, lengths: Tensor = lengths) -> Tensor:
                return module(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))[0].data

            name = f"{cell} train, lengths 10..{steps}, {_label(shape)}"
            ours = _train(lambda layer=layer, x=x, lengths=lengths: layer(x, lengths=lengths)[0], layer)
            yield Case(name, f"torch.nn.{type(module).__name__}, PackedSequence", ours, _train(packed, module), 4.0)
            whole = _train(lambda layer=layer, x=x: layer(x)[0], layer)
            goal = 1 / (1.15 * share)
            yield Case(name, f"our dense batch, {share:.2f} of its steps valid", ours, whole, goal)


CELLS: list[tuple[str, dict[str, float]]] = [
    ("peephole_lstm", {}),
    ("coupled_lstm", {}),
    ("layer_norm_lstm", {}),
    ("gru_v1", {}),
    ("jordan", {}),
    ("lstm", {"recurrent_dropout": 0.25}),
    ("skeptic", {}),
]


def _layer(cell: str, shape: Shape, options: dict[str, float]) -> Recurrent:
    return Recurrent(Skeptic if cell == "skeptic" else cell, shape[2], shape[3], **options)  # type: ignore[arg-type]


def _title(cell: str, options: dict[str, float]) -> str:
    name = "a user's cell" if cell == "skeptic" else cell
    return name + "".join(f" with {key.replace('_', ' ')}" for key in options)


def loops(compiled: bool = False) -> Iterator[Case | Missing]:
    """Cells that torch has not, against the loop that one would write by hand (eager, or compiled)."""
    # torch.compile unrolls the loop and takes about a minute for each.
    for cell, options in [CELLS[0], CELLS[3], CELLS[6]] if compiled else CELLS:
        for shape in SHAPES[:1] if compiled else SHAPES[:2]:
            layer = _layer(cell, shape, options)
            x = torch.randn(*shape[:3])
            step = LOOPS[cell](layer.units[0].named(), options.get("recurrent_dropout", 0.0))
            peer = torch.compile(step) if compiled else step
            ours = lambda layer=layer, x=x: layer(x)[0]  # noqa: E731
            by_hand = lambda peer=peer, x=x: peer(x)  # noqa: E731
            same = None if options else (lambda ours=ours, peer=step, x=x: (ours(), peer(x)))
            name = f"{_title(cell, options)} train {_label(shape)}"
            against = "torch.compile of the loop" if compiled else "a loop in eager torch"
            goal = 3.0 if compiled else 10.0
            yield Case(name, against, _train(ours, layer), _train(by_hand, layer), goal, 0.0, same)


def compiled_loops() -> Iterator[Case | Missing]:
    """As `loops`, the loop compiled by torch: minutes of compiling, which is not measured."""
    return loops(compiled=True)


def own() -> Iterator[Case | Missing]:
    """The same cells against our own LSTM, per floating-point operation."""
    for cell, options in CELLS:
        for shape in SHAPES[:2]:
            layer, plain = _layer(cell, shape, options), Recurrent("lstm", *shape[2:])
            x = torch.randn(*shape[:3])
            ratio = flops_of(layer.units[0].spec, shape, True) / flops_of(plain.units[0].spec, shape, True)
            goal = 1 / ((1.6 if cell == "layer_norm_lstm" else 1.3) * ratio)
            ours = _train(lambda layer=layer, x=x: layer(x)[0], layer)
            peer = _train(lambda plain=plain, x=x: plain(x)[0], plain)
            name = f"{_title(cell, options)} train {_label(shape)}"
            yield Case(name, f"our lstm, which has {1 / ratio:.2f} of its flops", ours, peer, goal)


def halves() -> Iterator[Case | Missing]:
    """bfloat16 against our float32."""
    for shape in ((32, 50, 512, 512), (32, 50, 1024, 1024)):
        layer, half = Recurrent("lstm", *shape[2:]), Recurrent("lstm", *shape[2:]).to(torch.bfloat16)
        x = torch.randn(*shape[:3])
        short = x.to(torch.bfloat16)
        ours = _train(lambda half=half, x=short: half(x)[0].float(), half)
        peer = _train(lambda layer=layer, x=x: layer(x)[0], layer)
        yield Case(f"lstm bfloat16 train {_label(shape)}", "our float32", ours, peer, 2.5)


def scans() -> Iterator[Case | Missing]:
    """Cells that are affine in their state, at T=4096, against the sequential reference and JAX's associative scan."""
    shape = (8, 4096, 64, 128)
    x = torch.randn(*shape[:3])
    for cell in ("min_gru", "min_lstm", "sru", "qrnn", "rglru"):
        layer, slow = Recurrent(cell, *shape[2:]), Recurrent(cell, *shape[2:], backend="reference")
        slow.load_state_dict(layer.state_dict())
        scan = Recurrent(cell, *shape[2:], backend="scan")
        ours = lambda layer=layer, x=x: layer(x)[0]  # noqa: E731
        peer = lambda slow=slow, x=x: slow(x)[0]  # noqa: E731
        same = lambda ours=ours, peer=peer: (ours(), peer())  # noqa: E731
        name = f"{cell} train {_label(shape)}"
        pair = _train(ours, layer), _train(peer, slow)
        yield Case(name, "the sequential reference", *pair, 0.0, 0.0, same)
        yield Case(name, "our scan over time in torch", pair[0], _train(lambda s=scan, x=x: s(x)[0], scan))
    try:
        from benchmarks.jax_peer import associative_min_gru
    except ImportError as error:
        yield Missing("min_gru against jax.lax.associative_scan", str(error))
        return
    layer = Recurrent("min_gru", *shape[2:])
    ours = _train(lambda: layer(x)[0], layer)
    yield Case(
        f"min_gru train {_label(shape)}", "jax.lax.associative_scan, jit", ours, associative_min_gru(layer, x), 0.0
    )


def outside() -> Iterator[Case | Missing]:
    """jax.lax.scan and Keras on JAX, compiled, for lstm and gru."""
    try:
        from benchmarks.jax_peer import scanned
    except ImportError as error:
        yield Missing("lstm and gru against jax.lax.scan", str(error))
        return
    for cell in ("lstm", "gru"):
        for shape in SHAPES[:3]:
            layer = Recurrent(cell, *shape[2:])
            x = torch.randn(*shape[:3])
            ours = _train(lambda layer=layer, x=x: layer(x)[0], layer)
            yield Case(f"{cell} train {_label(shape)}", "jax.lax.scan, jit", ours, scanned(cell, layer, x))
    try:
        from benchmarks.keras_peer import trained
    except ImportError as error:
        yield Missing("lstm and gru against Keras on JAX", str(error))
        return
    for cell in ("lstm", "gru"):
        for shape in SHAPES[:3]:
            layer = Recurrent(cell, *shape[2:])
            x = torch.randn(*shape[:3])
            ours = lambda layer=layer, x=x: layer(x)[0]  # noqa: E731
            peer, outputs = trained(layer, x)
            same = lambda ours=ours, outputs=outputs: (ours(), outputs())  # noqa: E731
            yield Case(f"{cell} train {_label(shape)}", "Keras on JAX, jit", _train(ours, layer), peer, 0.0, 0.0, same)


def streams() -> Iterator[Case | Missing]:
    """One step at a time, many steps at once, many sessions at once; 100 steps in all."""
    for hidden in (64, 128, 256):
        layer = Recurrent("lstm", 64, hidden).eval()
        cell = nn.LSTMCell(64, hidden)
        x = torch.randn(100, 64)
        held: list[tuple[Tensor, Tensor] | None] = [None]

        def peer(cell: nn.Module = cell, x: Tensor = x, held: list[tuple[Tensor, Tensor] | None] = held) -> None:
            with torch.inference_mode():
                for one in x.unsqueeze(1).unbind(0):
                    held[0] = cell(one, held[0])

        live = layer.stream()
        name = f"lstm stream I=64 H={hidden}"
        yield Case(f"{name}, 100 steps", "torch.nn.LSTMCell", lambda live=live, x=x: [live.push(v) for v in x], peer)
        yield _onnx(name, layer, x)
        at_once = lambda live=live, x=x: [live.push(part) for part in x.split(10)]  # noqa: E731
        yield Case(f"{name}, 10 pushes of 10 steps", "torch.nn.LSTMCell", at_once, peer)
        many = layer.stream(32)
        wide = torch.randn(32, 64)
        lots: list[tuple[Tensor, Tensor] | None] = [None]

        def peers(cell: nn.Module = cell, x: Tensor = wide, held: list[tuple[Tensor, Tensor] | None] = lots) -> None:
            with torch.inference_mode():
                for _ in range(100):
                    held[0] = cell(x, held[0])

        ours = lambda many=many, wide=wide: [many.push(wide) for _ in range(100)]  # noqa: E731
        yield Case(f"{name}, 32 sessions, 100 steps", "torch.nn.LSTMCell", ours, peers)


def _onnx(name: str, layer: Recurrent, x: Tensor) -> Case | Missing:
    """100 steps one by one, beside ONNX Runtime."""
    try:
        from benchmarks.onnx_peer import stepped
    except ImportError as error:
        return Missing(f"{name} against ONNX Runtime", str(error))
    rows = list(x.numpy()[:, None])
    live, run, fresh = layer.stream(), stepped(layer, 1), stepped(layer, 1)

    def same() -> tuple[Tensor, Tensor]:
        want = [torch.from_numpy(fresh(row).copy()) for row in rows]
        return layer(x[None])[0][0], torch.cat(want)

    return Case(
        f"{name}, 100 steps",
        "ONNX Runtime, one step a call",
        lambda: [live.push(v) for v in x],
        lambda: [run(row) for row in rows],
        same=same,
    )


def products() -> Iterator[Case | Missing]:
    """Nothing of ours: the machine's own rate of matrix products, for the shares of the peak."""
    for size in (1024, 2048):
        a, b = torch.randn(size, size), torch.randn(size, size)
        run = lambda a=a, b=b: functional.linear(a, b)  # noqa: E731
        yield Case(f"sgemm {size}", "itself", run, run, 0.0, 2.0 * size**3)


GROUPS: dict[str, Callable[[], Iterator[Case | Missing]]] = {
    "sgemm": products,
    "dense": dense,
    "ragged": ragged,
    "loops": loops,
    "own": own,
    "streams": streams,
    "scans": scans,
    "outside": outside,
    "bfloat16": halves,
    "compiled": compiled_loops,
}
