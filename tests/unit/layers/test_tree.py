"""Nets over trees: the climb against one node at a time, against a NumPy reading of the papers, and their errors."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from recurra.base.errors import ConfigError, ShapeError
from recurra.base.forest import Forest
from recurra.layers.tree import ChildSumTreeLSTM, NaryTreeLSTM, RecursiveNet
from recurra.layers.tree_step import native_library
from tolerances import assert_close

LIMIT = 1e-12

# A lone node, a chain, a star, balanced and lopsided ones, with children on several heights.
SHAPES = [
    [-1],
    [-1, 0, 1, 2],
    [-1, 0, 0, 0],
    [-1, 0, 0, 1, 1, 2, 2],
    [-1, 0, 0, 2, 2, 4, 4, 6, 6],
    [3, 0, 0, -1, 3, 4, 4, 4],
    [1, 2, 3, 4, -1],
]
BINARY = [shape for shape in SHAPES if max(shape.count(node) for node in range(len(shape))) <= 2]


def random_parents(generator, nodes, most):
    """A random tree in which no node has more than `most` children."""
    parents, room = [-1], [most]
    for _ in range(nodes - 1):
        free = [node for node, left in enumerate(room) if left]
        parent = free[int(torch.randint(len(free), (), generator=generator))]
        room[parent] -= 1
        parents.append(parent)
        room.append(most)
    return parents


def many(most, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 25, (12,), generator=generator).tolist()
    return [random_parents(generator, size, most) for size in sizes]


NETS = {
    "recursive": (lambda **k: RecursiveNet(3, 5, **k), 2),
    "recursive, ternary": (lambda **k: RecursiveNet(3, 5, arity=3, **k), 3),
    "child-sum": (lambda **k: ChildSumTreeLSTM(3, 5, **k), 7),
    "binary": (lambda **k: NaryTreeLSTM(3, 5, **k), 2),
    "4-ary": (lambda **k: NaryTreeLSTM(3, 5, arity=4, **k), 4),
}


def built(name, **options):
    make, most = NETS[name]
    net = make(**options, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        for index, value in enumerate(net.parameters()):
            value.add_(torch.randn(value.shape, generator=torch.Generator().manual_seed(index)) * 0.3)
    fits = [shape for shape in SHAPES if max(shape.count(node) for node in range(len(shape))) <= most]
    return net, [*fits, *many(most)]


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def node_by_node(net, x, parents):
    """h and c of every node of one tree by recursion over the equations, in NumPy or torch as x is."""
    torch_side = isinstance(x, torch.Tensor)
    tanh, sig = (torch.tanh, torch.sigmoid) if torch_side else (np.tanh, sigmoid)
    p = {name: value if torch_side else value.detach().numpy() for name, value in net.named_parameters()}
    size, done = net.hidden_size, {}
    zero = x[0, :1] * 0

    def visit(node):
        kids = [child for child, parent in enumerate(parents) if parent == node]
        for child in kids:
            visit(child)
        read = p["weight"] @ x[node] + p["bias"]
        if isinstance(net, RecursiveNet):
            for place, child in enumerate(kids):
                read = read + p["hidden"][:, place * size : (place + 1) * size] @ done[child][0]
            done[node] = tanh(read), None
            return
        i, o, u, f = (read[gate * size : (gate + 1) * size] for gate in range(4))
        c = 0
        if isinstance(net, ChildSumTreeLSTM):
            summed = sum(done[child][0] for child in kids)
            if kids:
                i, o, u = (gate + p["hidden"][k * size : (k + 1) * size] @ summed for k, gate in enumerate((i, o, u)))
            for child in kids:
                c = c + sig(f + p["forget"] @ done[child][0]) * done[child][1]
        else:
            blocks = p["hidden"].reshape(-1, size, net.arity, size)
            for place, child in enumerate(kids):
                h = done[child][0]
                i, o, u = (gate + blocks[k, :, place] @ h for k, gate in enumerate((i, o, u)))
            for place, child in enumerate(kids):
                gate = f
                for other, sibling in enumerate(kids):
                    gate = gate + blocks[3 + place, :, other] @ done[sibling][0]
                c = c + sig(gate) * done[child][1]
        c = c + sig(i) * tanh(u) + zero
        done[node] = sig(o) * tanh(c), c

    visit(list(parents).index(-1))
    return [done[node] for node in range(len(parents))]


@pytest.mark.parametrize("name", NETS)
def test_batched_is_one_node_at_a_time_and_the_equations(name):
    net, shapes = built(name)
    forest = Forest.from_parents(shapes)
    x = torch.randn(
        forest.nodes, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3), requires_grad=True
    )
    h, state = net(x, forest)
    slow, plain, roots, at = [], [], [], 0
    for shape in shapes:
        rows = x[at : at + len(shape)]
        single = node_by_node(net, rows, shape)
        slow += [node[0] for node in single]
        roots.append(single[shape.index(-1)])
        plain += [node[0] for node in node_by_node(net, rows.detach().numpy(), shape)]
        at += len(shape)
    slow = torch.stack(slow)
    assert (h - slow).abs().max() < LIMIT
    assert np.abs(h.detach().numpy() - np.stack(plain)).max() < LIMIT
    assert (state.h - torch.stack([root[0] for root in roots])).abs().max() < LIMIT
    if state.c is not None:
        assert (state.c - torch.stack([root[1] for root in roots])).abs().max() < LIMIT
    weights = torch.randn(h.shape, dtype=h.dtype, generator=torch.Generator().manual_seed(4))
    leaves = [x, *net.parameters()]
    for fast, want in zip(
        torch.autograd.grad((h * weights).sum(), leaves),
        torch.autograd.grad((slow * weights).sum(), leaves),
        strict=True,
    ):
        assert (fast - want).norm() <= LIMIT * max(1.0, float(want.norm()))


@pytest.mark.parametrize("inputs", ["all", "leaves"])
@pytest.mark.parametrize("name", [name for name in NETS if not name.startswith("recursive")])
def test_native_is_torch(name, inputs):
    if native_library() is None:
        pytest.skip("no compiler")
    sizes = {"binary": 2, "4-ary": 4}
    for hidden in (5, 16, 37):
        if name in sizes:
            net = NaryTreeLSTM(3, hidden, arity=sizes[name], inputs=inputs)
        else:
            net = ChildSumTreeLSTM(3, hidden, inputs=inputs)
        exact = copy.deepcopy(net).double()
        forest = Forest.from_parents(built(name)[1])
        x = torch.randn(forest.nodes if inputs == "all" else len(forest.leaves), 3, requires_grad=True)
        z = x.detach().double().requires_grad_()
        found = []
        for layer, read in ((net, x), (exact, z)):
            h, state = layer(read, forest)
            total = (h * torch.linspace(-1, 1, hidden)).sum() + (state.c * state.c).sum()
            found.append(([h, *state], torch.autograd.grad(total, [read, *layer.parameters()])))
        for one, other in zip(found[0][0], found[1][0], strict=True):
            assert_close(one, other, "rounding", "states")
        for one, other in zip(found[0][1], found[1][1], strict=True):
            assert_close(one, other, "gradient rounding", "gradients")
        net.native = False
        assert_close(net(x, forest)[0], found[0][0][0], "value", "torch in float32")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "4-ary")) for name in NETS])
def test_gradcheck(name):
    net, shapes = built(name)
    forest = Forest.from_parents(shapes[:5])
    x = torch.randn(forest.nodes, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: net(x, forest)[0], (x, *net.parameters()))


@pytest.mark.parametrize("name", NETS)
def test_a_tree_does_not_depend_on_its_neighbours(name):
    net, shapes = built(name)
    whole = Forest.from_parents(shapes)
    x = torch.randn(whole.nodes, 3, dtype=torch.float64)
    h, state = net(x, whole)
    at = 0
    for index, shape in enumerate(shapes):
        alone, root = net(x[at : at + len(shape)], Forest.from_parents([shape]))
        assert (alone - h[at : at + len(shape)]).abs().max() < LIMIT
        assert (root.h - state.h[index]).abs().max() < LIMIT
        at += len(shape)


@pytest.mark.parametrize("name", NETS)
def test_inputs_at_the_leaves_are_zeros_elsewhere(name):
    everywhere, shapes = built(name)
    at_leaves, _ = built(name, inputs="leaves")
    at_leaves.load_state_dict(everywhere.state_dict())
    forest = Forest.from_parents(shapes)
    words = torch.randn(forest.leaves.shape[0], 3, dtype=torch.float64)
    x = torch.zeros(forest.nodes, 3, dtype=torch.float64).index_copy(0, forest.leaves, words)
    assert (everywhere(x, forest)[0] - at_leaves(words, forest)[0]).abs().max() < LIMIT


def test_the_order_of_children_counts_where_it_should():
    x = torch.randn(3, 3, dtype=torch.float64)
    forest = Forest.from_parents([[-1, 0, 0]])
    swapped = x[[0, 2, 1]]
    for name, counts in (("child-sum", False), ("binary", True), ("recursive", True)):
        net, _ = built(name)
        apart = float((net(x, forest)[1].h - net(swapped, forest)[1].h).abs().max().detach())
        assert (apart > 1e-3) is counts, name


def test_on_a_chain_child_sum_and_unary_are_one_net_and_an_lstm():
    # With one child each, a Tree-LSTM is an LSTM from the leaf up: torch's, with the gates i f g o.
    size = 5
    net = ChildSumTreeLSTM(3, size).double()
    lstm = torch.nn.LSTM(3, size).double()
    with torch.no_grad():
        i, o, u, f = net.weight.chunk(4)
        lstm.weight_ih_l0.copy_(torch.cat((i, f, u, o)))
        bi, bo, bu, bf = net.bias.chunk(4)
        lstm.bias_ih_l0.copy_(torch.cat((bi, bf, bu, bo)))
        lstm.bias_hh_l0.zero_()
        ui, uo, uu = net.hidden.chunk(3)
        lstm.weight_hh_l0.copy_(torch.cat((ui, net.forget, uu, uo)))
    x = torch.randn(6, 3, dtype=torch.float64)
    forest = Forest.from_parents([[1, 2, 3, 4, 5, -1]])
    assert (net(x, forest)[0] - lstm(x.unsqueeze(1))[0].squeeze(1)).abs().max() < LIMIT


def test_socher_leaves_are_the_words():
    net = RecursiveNet(4, 4, embedded=True, inputs="leaves").double()
    forest = Forest.from_parents([[-1, 0, 0]])
    words = torch.randn(2, 4, dtype=torch.float64)
    h, state = net(words, forest)
    assert (h[1:] - words).abs().max() < LIMIT
    assert (state.h[0] - torch.tanh(net.hidden @ words.flatten() + net.bias)).abs().max() < LIMIT


def test_a_height_of_thousands_and_a_star():
    net = ChildSumTreeLSTM(2, 3)
    chain = [-1, *range(1999)]
    star = [-1] + [0] * 3000
    forest = Forest.from_parents([chain, star])
    h, state = net(torch.randn(forest.nodes, 2), forest)
    h.sum().backward()
    assert forest.height == 1999
    assert bool(torch.isfinite(state.h).all())


def test_errors():
    forest = Forest.from_parents([[-1, 0, 0, 0]])
    with pytest.raises(ShapeError, match=r"x must be \(nodes, I\) = \(4, 3\), got \(3, 3\)"):
        ChildSumTreeLSTM(3, 5)(torch.zeros(3, 3), forest)
    with pytest.raises(ShapeError, match="a node has 3 children, arity is 2"):
        NaryTreeLSTM(3, 5)(torch.zeros(4, 3), forest)
    with pytest.raises(ShapeError, match=r"x is torch.float64, the weights are torch.float32"):
        ChildSumTreeLSTM(3, 5)(torch.zeros(4, 3, dtype=torch.float64), forest)
    with pytest.raises(ShapeError, match=r"leaves \(inputs='leaves'\), I\) = \(3, 3\)"):
        ChildSumTreeLSTM(3, 5, inputs="leaves")(torch.zeros(4, 3), forest)
    with pytest.raises(ConfigError) as caught:
        NaryTreeLSTM(0, -1, arity=0, inputs="some")  # pyright: ignore[reportArgumentType]
    assert all(word in str(caught.value) for word in ("input_size", "hidden_size", "arity", "inputs"))
    with pytest.raises(ConfigError, match="embedded leaves need"):
        RecursiveNet(3, 4, embedded=True)
