"""The same cells as one would write them in torch: stacked weights, the input product first, a Python loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, softplus, tanh

__all__ = ["LOOPS", "Skeptic"]

Params = Mapping[str, Tensor]
Loop = Callable[[Tensor], Tensor]


class Skeptic(Cell):
    """A user's cell: one gate that forgets and resets, a softplus memory, an output squashed from it.

    d = σ(W_d x + U_d h + k ⊙ m + b_d)
    m' = d ⊙ m + (1 - d) ⊙ softplus(W_m x + U_m (d ⊙ h))
    h' = d ⊙ tanh(m')
    """

    states = "h", "m"

    def step(self, x, h, m, W, U, k, b):  # noqa: ANN201
        d = sigmoid(W.d @ x + U.d @ h + k * m + b.d)
        m_next = d * m + (1 - d) * softplus(W.m @ x + U.m @ (d * h))
        return d * tanh(m_next), m_next


def _input(p: Params, x: Tensor, gates: str, bias: str = "") -> list[Tensor]:
    """The input product of all steps, per step; `bias` names the gates that have one added here."""
    weight = torch.cat([p[f"W.{g}"] for g in gates])
    added = torch.cat([p[f"b.{g}"] if g in (bias or gates) else torch.zeros_like(p[f"W.{g}"][:, 0]) for g in gates])
    return list(functional.linear(x, weight, added).unbind(1))


def _zeros(p: Params, x: Tensor, name: str) -> Tensor:
    return x.new_zeros(x.shape[0], p[name].shape[0])


def _lstm_like(update: Callable[..., tuple[Tensor, Tensor]], gates: str) -> Callable[[Params, float], Loop]:
    def make(p: Params, dropout: float) -> Loop:
        def run(x: Tensor) -> Tensor:
            recurrent = torch.cat([p[f"U.{g}"] for g in gates]).t()
            h = c = _zeros(p, x, f"U.{gates[0]}")
            mask = functional.dropout(torch.ones_like(h), dropout)
            outputs = []
            for pre in _input(p, x, gates):
                read = h * mask if dropout else h
                h, c = update(p, torch.addmm(pre, read, recurrent).chunk(len(gates), 1), c)
                outputs.append(h)
            return torch.stack(outputs, 1)

        return run

    return make


def _plain(_: Params, z: tuple[Tensor, ...], c: Tensor) -> tuple[Tensor, Tensor]:
    c = torch.sigmoid(z[1]) * c + torch.sigmoid(z[0]) * torch.tanh(z[2])
    return torch.sigmoid(z[3]) * torch.tanh(c), c


def _peephole(p: Params, z: tuple[Tensor, ...], c: Tensor) -> tuple[Tensor, Tensor]:
    i, f = torch.sigmoid(z[0] + p["p.i"] * c), torch.sigmoid(z[1] + p["p.f"] * c)
    c = f * c + i * torch.tanh(z[2])
    return torch.sigmoid(z[3] + p["p.o"] * c) * torch.tanh(c), c


def _coupled(_: Params, z: tuple[Tensor, ...], c: Tensor) -> tuple[Tensor, Tensor]:
    f = torch.sigmoid(z[0])
    c = f * c + (1 - f) * torch.tanh(z[1])
    return torch.sigmoid(z[2]) * torch.tanh(c), c


def _norm(x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:])


def _layer_norm(p: Params, _: float) -> Loop:
    def run(x: Tensor) -> Tensor:
        recurrent = torch.cat([p[f"U.{g}"] for g in "ifgo"]).t()
        inner = functional.linear(x, torch.cat([p[f"W.{g}"] for g in "ifgo"])).unflatten(-1, (4, -1))
        scale, gain, bias = (torch.stack([p[f"{name}.{g}"] for g in "ifgo"]) for name in "stb")
        pre = (scale * _norm(inner) + bias).unbind(1)
        h = c = _zeros(p, x, "U.i")
        outputs = []
        for now in pre:
            z = now + gain * _norm((h @ recurrent).unflatten(-1, (4, -1)))
            i, f, g, o = z.unbind(1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(p["s.c"] * _norm(c) + p["b.c"])
            outputs.append(h)
        return torch.stack(outputs, 1)

    return run


def _gru_v1(p: Params, _: float) -> Loop:
    def run(x: Tensor) -> Tensor:
        gates, new = torch.cat((p["U.r"], p["U.z"])).t(), p["U.n"].t()
        h = _zeros(p, x, "U.r")
        width = h.shape[1]
        outputs = []
        for pre in _input(p, x, "rzn"):
            r, z = torch.sigmoid(torch.addmm(pre[:, : 2 * width], h, gates)).chunk(2, 1)
            n = torch.tanh(torch.addmm(pre[:, 2 * width :], r * h, new))
            h = (1 - z) * h + z * n
            outputs.append(h)
        return torch.stack(outputs, 1)

    return run


def _jordan(p: Params, _: float) -> Loop:
    def run(x: Tensor) -> Tensor:
        y = _zeros(p, x, "V.y")
        outputs = []
        for pre in _input(p, x, "h"):
            y = torch.addmm(p["b.y"], torch.tanh(torch.addmm(pre, y, p["U.h"].t())), p["V.y"].t())
            outputs.append(y)
        return torch.stack(outputs, 1)

    return run


def _skeptic(p: Params, _: float) -> Loop:
    def run(x: Tensor) -> Tensor:
        h = m = _zeros(p, x, "U.d")
        outputs = []
        for pre in _input(p, x, "dm", "d"):
            left, right = pre.chunk(2, 1)
            d = torch.sigmoid(torch.addmm(left, h, p["U.d"].t()) + p["k"] * m)
            m = d * m + (1 - d) * functional.softplus(torch.addmm(right, d * h, p["U.m"].t()))
            h = d * torch.tanh(m)
            outputs.append(h)
        return torch.stack(outputs, 1)

    return run


LOOPS: dict[str, Callable[[Params, float], Loop]] = {
    "lstm": _lstm_like(_plain, "ifgo"),
    "peephole_lstm": _lstm_like(_peephole, "ifgo"),
    "coupled_lstm": _lstm_like(_coupled, "fgo"),
    "layer_norm_lstm": _layer_norm,
    "gru_v1": _gru_v1,
    "jordan": _jordan,
    "skeptic": _skeptic,
}
