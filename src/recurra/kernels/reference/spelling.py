"""One string per op: its torch. The interpreter and the emitted step share it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from recurra.equations.expr import Expr, topological

__all__ = ["NAMESPACE", "SPELLING", "evaluate", "spell"]

SPELLING: Mapping[str, str] = {
    "matmul": "F.linear({1}, {0})",
    "matmul_t": "{1} @ {0}",
    "outer": "outer({0}, {1})",
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "sigmoid": "torch.sigmoid({0})",
    "tanh": "torch.tanh({0})",
    "relu": "torch.relu({0})",
    "exp": "torch.exp({0})",
    "log": "torch.log({0})",
    # Beyond 40 log(1 + exp(a)) is a in every float type; at torch's own 20 it is not yet in float64.
    "softplus": "F.softplus({0}, threshold=40)",
    "abs": "torch.abs({0})",
    "sqrt": "torch.sqrt({0})",
    "minimum": "smaller({0}, {1})",
    "maximum": "-smaller(-{0}, -{1})",
    "less": "less({0}, {1})",
    "select": "select({0}, {1}, {2})",
    "softmax": "torch.softmax({0}, -1)",
    "layer_norm": "F.layer_norm({0}, {0}.shape[-1:], eps={value})",
    "rms_norm": "F.rms_norm({0}, {0}.shape[-1:], eps={value})",
    "sum": "{0}.sum(-1, keepdim=True)",
    "mean": "{0}.mean(-1, keepdim=True)",
    "largest": "{0}.amax(-1, keepdim=True)",
}


def _outer(a: Tensor, b: Tensor) -> Tensor:
    """a (B, N), b (B, M) -> (N, M), summed over the batch."""
    a, b = torch.atleast_2d(a), torch.atleast_2d(b)
    rows = max(a.shape[0], b.shape[0])
    return a.expand(rows, -1).t() @ b.expand(rows, -1)


def _smaller(a: Tensor | float, b: Tensor | float) -> Tensor:
    """The smaller of two; at a tie the gradient goes to b, as in equations.derive."""
    return torch.where(torch.as_tensor(a < b), a, b)


def _less(a: Tensor | float, b: Tensor | float) -> Tensor:
    like = a if isinstance(a, Tensor) else b
    return torch.as_tensor(a < b).to(like.dtype if isinstance(like, Tensor) else torch.get_default_dtype())


def _select(condition: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    # Two numbers would come out in torch's default type, which may have fewer digits.
    a, b = (condition.new_tensor(part) if isinstance(part, float) else part for part in (a, b))
    return torch.where(condition != 0, a, b)


NAMESPACE: dict[str, Any] = {
    "torch": torch,
    "F": functional,
    "outer": _outer,
    "smaller": _smaller,
    "less": _less,
    "select": _select,
}


def spell(node: Expr, args: Iterable[str]) -> str:
    """The torch expression of one node over the given argument expressions."""
    return SPELLING[node.op].format(*args, value=node.value)


@cache
def _function(op: str, value: float | str | None, arity: int) -> Callable[..., Tensor]:
    names = ["abc"[index] for index in range(arity)]
    body = SPELLING[op].format(*names, value=value)
    return eval(f"lambda {', '.join(names)}: {body}", dict(NAMESPACE))  # noqa: S307 - our own table, no user text


def evaluate(roots: Iterable[Expr], leaves: Mapping[Expr, Tensor]) -> list[Tensor]:
    """The values of `roots`, node by node with nothing rearranged: what the equations say, and slow."""
    roots = list(roots)
    values: dict[Expr, Any] = dict(leaves)
    for node in topological(roots):
        if node in values:
            continue
        if node.op == "const":
            values[node] = node.value
        else:
            args = [values[arg] for arg in node.args]
            if all(isinstance(arg, float) for arg in args):
                # torch's functions take no Python numbers; a tensor without axes gives way to the others' type.
                args = [torch.tensor(arg, dtype=torch.float64) for arg in args]
            values[node] = _function(node.op, node.value, len(args))(*args)
    return [values[root] for root in roots]
