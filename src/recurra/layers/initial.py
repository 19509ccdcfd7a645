"""Initialisers by name. Each fills one gate's parameter, so that gates keep their own fan and their own spectrum."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor

from recurra.base.errors import ConfigError, message, nearest
from recurra.base.registry import Registry
from recurra.equations.spec import CellSpec
from recurra.layers.chrono import Chrono

__all__ = ["INITIALISERS", "check_names", "initialiser_for"]

Initialiser = Callable[[tuple[int, ...], Generator | None], Tensor]

INITIALISERS: Registry[Initialiser] = Registry("initialiser")


def _fans(shape: tuple[int, ...]) -> int:
    """Fan in + fan out; a vector is a diagonal matrix."""
    return sum(shape) * (3 - len(shape))


@INITIALISERS.register("zeros")
def zeros(shape: tuple[int, ...], _: Generator | None) -> Tensor:
    """All 0."""
    return torch.zeros(shape)


@INITIALISERS.register("ones")
def ones(shape: tuple[int, ...], _: Generator | None) -> Tensor:
    """All 1; on a forget bias, the start of Gers et al. 2000 and Jozefowicz et al. 2015."""
    return torch.ones(shape)


@INITIALISERS.register("glorot_uniform")
def glorot_uniform(shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    """U(-a, a), a = sqrt(6 / (fan in + fan out)). Glorot and Bengio 2010."""
    bound = math.sqrt(6 / _fans(shape))
    return (torch.rand(shape, generator=generator) * 2 - 1) * bound


@INITIALISERS.register("glorot_normal")
def glorot_normal(shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    """N(0, 2 / (fan in + fan out)). Glorot and Bengio 2010."""
    return torch.randn(shape, generator=generator) * math.sqrt(2 / _fans(shape))


@INITIALISERS.register("torch_uniform")
def torch_uniform(shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    """U(-a, a), a = 1 / sqrt(H): what torch.nn.LSTM starts from."""
    return (torch.rand(shape, generator=generator) * 2 - 1) / math.sqrt(shape[0])


@INITIALISERS.register("orthogonal")
def orthogonal(shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    """A random orthogonal matrix by QR, uniform over all (Saxe et al. 2014; the sign fix: Mezzadri 2007)."""
    rows, columns = _matrix("orthogonal", shape)
    normal = torch.randn(max(shape), min(shape), generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(normal)
    q = q * torch.sign(torch.diagonal(r))
    return (q if rows >= columns else q.t()).float()


@INITIALISERS.register("identity")
def identity(shape: tuple[int, ...], _: Generator | None) -> Tensor:
    """The identity: IRNN (Le, Jaitly and Hinton 2015)."""
    return torch.eye(*_matrix("identity", shape))


@INITIALISERS.register("irnn_input")
def irnn_input(shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    """N(0, 0.001^2), the input weights of the IRNN (Le, Jaitly and Hinton 2015)."""
    return torch.randn(shape, generator=generator) * 1e-3


@INITIALISERS.register("unit_uniform")
def unit_uniform(shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    """U(0, 1), the recurrent weights of an IndRNN: memories of all lengths. Li et al. 2018, arXiv:1803.04831."""
    return torch.rand(shape, generator=generator)


@INITIALISERS.register("np_rnn")
def np_rnn(shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    """Normalised-positive: (A + I) / its largest eigenvalue, A = R R' / H positive semi-definite.

    So every eigenvalue lies in (0, 1] and the largest is 1. Talathi and Vartak 2015, arXiv:1511.03771.
    """
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ConfigError(message("np_rnn", f"needs a square recurrent matrix, got {shape}"))
    normal = torch.randn(shape, generator=generator, dtype=torch.float64)
    positive = normal @ normal.t() / shape[0] + torch.eye(shape[0], dtype=torch.float64)
    return (positive / torch.linalg.eigvalsh(positive)[-1]).float()


@INITIALISERS.register("griffin_decay")
def griffin_decay(shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    """L with exp(-8 softplus(L)) uniform in 0.9 to 0.999, the decay of an RG-LRU. De et al. 2024, arXiv:2402.19427."""
    decay = 0.9 + 0.099 * torch.rand(shape, generator=generator, dtype=torch.float64)
    return torch.log(torch.expm1(-torch.log(decay) / 8)).float()


def initialiser_for(
    name: str, spec: CellSpec, initial: Mapping[str, str | float], override: Mapping[str, str | float]
) -> Initialiser:
    """How parameter `name` starts: said for it, for its family, by the cell, or by its shape.

    By shape: input matrices Glorot uniform, matrices over a state orthogonal, vectors zero. `override` may be
    `recurra.layers.chrono.chrono(t_max)`, which sets gates.
    """
    if isinstance(override, Chrono) and name not in override and (fill := override.fill(name, spec)) is not None:
        return fill
    family = name.split(".")[0]
    for chosen in (override, initial):
        for key in (name, family):
            if key in chosen:
                return _named(chosen[key], name)
    shape = spec.params[name]
    if len(shape) == 1:
        return INITIALISERS["zeros"]
    return INITIALISERS["glorot_uniform" if shape[1] == "I" else "orthogonal"]


def check_names(override: Mapping[str, str | float], spec: CellSpec, where: str = "initializers") -> None:
    """Raises ConfigError where `override` names a parameter that the cell does not have, or a rule it cannot follow."""
    if isinstance(override, Chrono):
        override.check(spec)
    known = {*spec.params, *spec.families}
    wrong = [name for name in override if name not in known]
    if wrong:
        close = ", ".join(nearest(wrong[0], known))
        raise ConfigError(message(where, f"{spec.name} has no parameter {', '.join(wrong)}", f"It has: {close}."))


def _matrix(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) != 2:
        raise ConfigError(message(name, f"makes matrices, a vector {shape} was asked for"))
    return shape


def _named(value: str | float, name: str) -> Initialiser:
    if isinstance(value, str):
        return INITIALISERS[value]
    if not isinstance(value, (int, float)):
        raise ConfigError(message("initializers", f"{name} must be an initialiser's name or a number, got {value!r}"))
    return lambda shape, _: torch.full(shape, float(value))
