"""Derivatives: each row against finite differences, and derived a second time against torch's double backward."""

from __future__ import annotations

import pytest
import torch

from recurra.cells import CELLS
from recurra.equations import show
from recurra.equations.derive import RULES, gradient, seed
from recurra.equations.expr import Expr, const, make, topological
from recurra.equations.ops import OPS
from recurra.kernels.reference.spelling import SPELLING, evaluate

COMPUTED = {name for name, op in OPS.items() if op.kind != "leaf"}
B, I, H = 2, 4, 3  # noqa: E741

A, C = make("extra", value="a"), make("extra", value="c")
M, X = make("param", value="M"), make("input", value="x")

# One expression per op, over a and c (B, H), x (B, I), M (H, I), smooth where it is tried.
TRIED = {
    "matmul": make("matmul", M, X),
    "matmul_t": make("matmul_t", M, A),
    "outer": make("outer", A, X),
    "add": A + C,
    "sub": A - C,
    "mul": A * C,
    "div": A / C,
    "neg": -A,
    "log": make("log", make("abs", A)),
    "sqrt": make("sqrt", make("abs", A)),
    "minimum": make("minimum", A, C),
    "maximum": make("maximum", A, C),
    "less": make("less", A, C) * A + C,
    "select": make("select", A < C, A * C, C / A),
    "layer_norm": make("layer_norm", A, value=1e-3),
    "rms_norm": make("rms_norm", A, value=1e-3),
    "sum": make("sum", A) * C,
    "mean": make("mean", A * C) * C,
    "largest": make("largest", A * C) * C,
}
TRIED |= {op: make(op, A) for op in ("sigmoid", "tanh", "relu", "exp", "softplus", "abs", "softmax")}


@pytest.fixture
def leaves():
    draw = torch.Generator().manual_seed(3)

    def away_from_zero(*shape):
        value = torch.randn(*shape, generator=draw, dtype=torch.float64)
        return value + 0.3 * value.sign()

    values = {A: away_from_zero(B, H), C: away_from_zero(B, H), X: away_from_zero(B, I), M: away_from_zero(H, I)}
    assert bool(((values[A] - values[C]).abs() > 0.01).all())
    assert bool((values[A] < values[C]).any())
    assert bool((values[C] < values[A]).any())
    return {leaf: value.requires_grad_() for leaf, value in values.items()}


def test_every_op_has_a_row_everywhere():
    assert set(RULES) == COMPUTED
    assert set(SPELLING) == COMPUTED
    assert set(TRIED) == COMPUTED
    # "scale" is how a product with a scalar is written.
    assert set(show._TEXT.ops) == set(show._LATEX.ops) == COMPUTED | {"scale"}


def flowing(outputs, wanted) -> list[Expr]:
    """The gradients, all of which must exist."""
    found = [part for part in gradient(outputs, wanted) if part is not None]
    assert len(found) == len(list(wanted))
    return found


def derived(root, leaves, wanted):
    """The derived gradients of sum(root . seed), evaluated, and the derived expressions."""
    (value,) = evaluate([root], leaves)
    arriving = torch.linspace(-1, 2, value.numel(), dtype=torch.float64).view_as(value).requires_grad_()
    expressions = flowing({root: seed("y")}, wanted)
    return value, arriving, expressions, evaluate(expressions, {**leaves, seed("y"): arriving})


@pytest.mark.parametrize("op", TRIED)
def test_against_finite_differences(op, leaves):
    root = TRIED[op]
    wanted = [leaf for leaf in leaves if leaf in set(topological([root]))]
    _, arriving, _, found = derived(root, leaves, wanted)
    for leaf, gradients in zip(wanted, found, strict=True):
        value = leaves[leaf].detach()
        assert gradients.shape == value.shape
        numeric = torch.zeros_like(value)
        for place in range(value.numel()):
            ends = []
            for step in (1e-6, -1e-6):
                moved = value.clone()
                moved.view(-1)[place] += step
                ends.append((evaluate([root], {**leaves, leaf: moved})[0] * arriving).sum().item())
            numeric.view(-1)[place] = (ends[0] - ends[1]) / 2e-6
        torch.testing.assert_close(gradients.detach(), numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("op", TRIED)
def test_second_derivatives(op, leaves):
    root = TRIED[op]
    wanted = [leaf for leaf in leaves if leaf in set(topological([root]))]
    value, arriving, expressions, found = derived(root, leaves, wanted)
    inputs = [leaves[leaf] for leaf in wanted]
    first = torch.autograd.grad((value * arriving).sum(), inputs, create_graph=True)
    for ours, theirs in zip(found, first, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    # Once more: the gradient of each gradient, with respect to the leaves and to what arrived.
    again = [*wanted, seed("y")]
    for expression, theirs in zip(expressions, first, strict=True):
        weights = torch.linspace(1, -2, theirs.numel(), dtype=torch.float64).view_as(theirs)
        expected = torch.autograd.grad(
            (theirs * weights).sum(), [*inputs, arriving], retain_graph=True, allow_unused=True
        )
        twice = gradient({expression: seed("z")}, again)
        values = {**leaves, seed("y"): arriving, seed("z"): weights}
        for leaf, ours, want in zip(again, twice, expected, strict=True):
            have = torch.zeros(()) if ours is None else evaluate([ours], values)[0].detach()
            zero = torch.zeros_like(leaves.get(leaf, arriving))
            want = zero if want is None else want.detach()
            torch.testing.assert_close(zero + have, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", CELLS)
def test_whole_steps(name):
    """First and second derivatives of every cell's step, for all states, the input and all parameters."""
    spec = CELLS[name]().spec
    sizes = {"I": 3, "H": 4, "O": 2}
    draw = torch.Generator().manual_seed(5)

    def random(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64).requires_grad_()

    leaves = {spec.symbol("x"): random(B, 3)}
    leaves |= {spec.symbol(s): random(B, sizes[spec.state_axes[s]]) for s in spec.carried}
    leaves |= {spec.symbol(p): random(*(sizes[axis] for axis in axes)) for p, axes in spec.params.items()}
    wanted, inputs = list(leaves), list(leaves.values())
    after = evaluate([spec.after[s] for s in spec.states], leaves)
    seeds = {seed(s): random(*value.shape) for s, value in zip(spec.states, after, strict=True)}
    expressions = flowing({spec.after[s]: seed(s) for s in spec.states}, wanted)
    found = [rows(value, like) for value, like in zip(evaluate(expressions, {**leaves, **seeds}), inputs, strict=True)]
    total = sum((value * arriving).sum() for value, arriving in zip(after, seeds.values(), strict=True))
    assert isinstance(total, torch.Tensor)
    first = torch.autograd.grad(total, inputs, create_graph=True)
    torch.testing.assert_close(found, list(first), rtol=1e-10, atol=1e-12)

    expression, theirs = expressions[1], first[1]
    second = gradient({expression: seed("again")}, wanted)
    weights = random(*theirs.shape)
    expected = torch.autograd.grad((theirs * weights).sum(), inputs, allow_unused=True)
    for ours, want, like in zip(second, expected, inputs, strict=True):
        have = torch.zeros_like(like)
        if ours is not None:
            have = rows(evaluate([ours], {**leaves, **seeds, seed("again"): weights})[0], like)
        torch.testing.assert_close(have, torch.zeros_like(like) if want is None else want, rtol=1e-9, atol=1e-11)


def rows(value, like):
    """A vector parameter's gradient comes one term per batch row."""
    return value.sum(0) if value.dim() > like.dim() else value


@pytest.mark.parametrize("op", ["relu", "abs", "minimum", "maximum"])
def test_at_the_kink_as_documented(op):
    tie = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    other = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    args = (A, C)[: OPS[op].arity]
    root = make(op, *args)
    found = evaluate(flowing({root: const(1.0)}, args), {A: tie, C: other})
    expected = {"relu": [0], "abs": [0]}.get(op, [0, 1])
    assert [value.item() for value in found] == expected
    torch_says = torch.autograd.grad(evaluate([root], {A: tie, C: other})[0].sum(), [tie, other][: len(args)])
    assert [value.item() for value in torch_says] == expected


def test_nothing_flows_where_nothing_depends():
    assert gradient({A + A: seed("y")}, [C, A]) == [None, seed("y") + seed("y")]
    assert gradient({make("less", A, C): seed("y")}, [A]) == [None]


def test_wanted_values_inside():
    inner = make("tanh", A)
    assert gradient({inner * C: seed("y")}, [inner]) == [seed("y") * C]
