"""The native backend in threads, in processes, in memory, and in copies."""

from __future__ import annotations

import copy
import io
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.utils.checkpoint
from tests.tolerances import assert_close

from recurra.kernels.cpu.compiler import compiler
from unit.kernels.cpu.backend_layers import CELLS, draw, make, results

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler")


@pytest.fixture
def threads():
    """Sets torch's threads, until the end of the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", [(40, 6, 20, 48), (2, 6, 20, 80)], ids=["rows divided", "units divided"])
@pytest.mark.parametrize("ragged", [False, True])
def test_threads(cell, shape, ragged, threads):
    batch, steps, inputs, hidden = shape
    layer = make(cell, inputs, hidden)
    x = draw(batch, steps, inputs)
    call = {"lengths": [steps, 3] * (batch // 2)} if ragged else {}
    found = {}
    for count in (1, 2, 3):
        threads(count)
        found[count], *again = (results(layer, "native", x, **call) for _ in range(3))
        for other in again:
            assert all(torch.equal(a, b) for a, b in zip(found[count], other, strict=True))
    for count in (2, 3):
        for number, (a, b) in enumerate(zip(found[count], found[1], strict=True)):
            assert_close(a, b, "gradient", f"result {number} with {count} threads")


def together(work, count=4):
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count * 4)))


@pytest.mark.parametrize("cell", CELLS)
def test_python_threads_share_a_layer(cell):
    layer = make(cell, 12, 20)
    inputs = [draw(4, 9, 12) + number for number in range(16)]
    want = [results(layer, "native", x) for x in inputs]
    have = together(lambda number: results(layer, "native", inputs[number]))
    for a, b in zip(have, want, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))

    def infer(number):
        with torch.no_grad():
            return layer(inputs[number])[0]

    for y, b in zip(together(infer), want, strict=True):
        assert_close(y, b[0], "value", "inference")


def test_python_threads_each_with_a_stream_of_one_layer():
    layer = make("lstm", 12, 20).eval()
    inputs = [draw(200, 12) + number for number in range(16)]

    def work(number):
        live = layer.stream()
        return torch.cat([live.push(chunk) for chunk in inputs[number].split(2)])

    with torch.no_grad():
        want = [layer(x[None])[0][0] for x in inputs]
    for a, b in zip(together(work), want, strict=True):
        assert_close(a, b, "value", "stream")


def test_python_threads_step_one_layer():
    # Large enough that one is in native code when the next comes.
    layer = make("lstm", 12, 150).eval()
    inputs = [draw(1, 60, 12) + number for number in range(16)]

    def work(number):
        state, outputs = None, []
        with torch.no_grad():
            for moment in inputs[number].unbind(1):
                y, state = layer.step(moment, state)
                outputs.append(y)
        return torch.stack(outputs, 1)

    with torch.no_grad():
        want = [layer(x)[0] for x in inputs]
    for a, b in zip(together(work), want, strict=True):
        assert_close(a, b, "value", "steps")


def test_a_forked_child(python):
    out, err = python(
        """
        import os
        import torch
        from recurra.layers import Recurrent

        torch.set_num_threads(1)
        layer, x = Recurrent("lstm", 5, 40, backend="native"), torch.randn(3, 6, 5)
        want = layer(x)[0].detach()
        children = []
        for _ in range(3):
            child = os.fork()
            if not child:
                y, _ = layer(x)
                y.sum().backward()
                os._exit(0 if torch.equal(y, want) else 1)
            children.append(child)
        print([os.waitpid(child, 0)[1] for child in children])
        """
    )
    assert (out, err) == ("[0, 0, 0]\n", "")


@pytest.mark.slow
def test_memory_is_given_back(python):
    out, _ = python(
        """
        import gc
        import torch
        from recurra.layers import Recurrent

        torch.set_num_threads(1)

        def size():
            gc.collect()
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * 4096 / 2**20

        layer = Recurrent("gru_v1", 32, 96, zoneout=0.1, backend="native")
        x = torch.randn(8, 50, 32, requires_grad=True)
        live = Recurrent("lstm", 32, 96, backend="native").eval().stream()

        def work(count):
            for number in range(count):
                lengths = None if number % 2 else [50, 1, 2, 3, 4, 5, 6, 7]
                y, _ = layer(x, lengths=lengths)
                y.sum().backward()
                if number % 10 == 0:
                    (part,) = torch.autograd.grad(layer(x[:2, :3])[0].sum(), x, create_graph=True)
                    part.square().sum().backward()
                with torch.no_grad():
                    layer(x)
                    live.push(x[0])

        work(60)
        before = size()
        work(300)
        print(size() - before)
        """
    )
    # A call keeps 2 MB for its gradient: one that was not given back would show at once.
    assert float(out) < 8


@pytest.mark.parametrize("cell", CELLS)
def test_copies(cell):
    layer, x = make(cell), draw(3, 4, 5)
    with torch.no_grad():
        want, _ = layer(x)
        step, _ = layer.step(x[:, 0])
        buffer = io.BytesIO()
        torch.save(layer, buffer)
        buffer.seek(0)
        copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), torch.load(buffer, weights_only=False)]
        for other in copies:
            assert torch.equal(other(x)[0], want)
            assert torch.equal(other.step(x[:, 0])[0], step)
            # Apart from its model: it changes, the model does not.
            for parameter in other.parameters():
                parameter.zero_()
            assert not torch.equal(other(x)[0], want)
            assert not torch.equal(other.step(x[:, 0])[0], step)
        assert torch.equal(layer(x)[0], want)
        assert torch.equal(layer.step(x[:, 0])[0], step)
