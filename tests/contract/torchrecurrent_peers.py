"""torchrecurrent's cells and where their stacked weights stand in ours; for the tests, and for the benchmark's gate.

Its LEM reads the old z where paper and authors' code read the new one, and its SCRN feeds the output back where the
paper feeds the hidden layer: those two are held against the paper only (test_paper_oracle).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["PEERS", "Named", "Peer"]

Named = Mapping[str, Tensor]


class Peer(NamedTuple):
    """A torchrecurrent cell; per parameter of it, what it is computed from in ours."""

    cell: str
    weights: dict[str, Callable[[Named], Tensor]]
    options: Mapping[str, object] = MappingProxyType({})


def rows(*names: str) -> Callable[[Named], Tensor]:
    """Our parameters stacked; "-" is a vector of zeros: ours has one bias where theirs has two."""
    return lambda w: torch.cat(
        [w[name] if name != "-" else torch.zeros_like(next(iter(w.values()))[:, 0]) for name in names]
    )


def plain(gates: str, recurrent: str | None = None, **more: Callable[[Named], Tensor]) -> dict:
    """The usual layout: W, U and b stacked in the order of `gates`."""
    recurrent = gates if recurrent is None else recurrent
    return {
        "weight_ih": rows(*(f"W.{g}" for g in gates)),
        "weight_hh": rows(*(f"U.{g}" for g in recurrent)),
        "bias_ih": rows(*(f"b.{g}" for g in gates)),
        "bias_hh": rows(*"-" * len(recurrent)),
        **more,
    }


def doubled(w: Named) -> Tensor:
    """2 tanh(a) = 4 sigmoid(2a) - 2, and c is twice theirs: so our net input of g is twice theirs."""
    return torch.cat([w["W.i"], w["W.g"] / 2, w["W.o"]])


PEERS = {
    "peephole_lstm": Peer("PeepholeLSTMCell", plain("ifgo", weight_ph=rows("p.i", "p.f", "p.o"))),
    "minimal_gated_unit": Peer("MGUCell", plain("fn")),
    "lstm1997": Peer(
        "OriginalLSTMCell",
        plain("igo")
        | {
            "weight_ih": doubled,
            "weight_hh": lambda w: torch.cat([w["U.i"], w["U.g"] / 2, w["U.o"]]),
            "bias_ih": lambda w: torch.cat([w["b.i"], w["b.g"] / 2, w["b.o"]]),
        },
    ),
    # Their first bias of MUT1 stands inside the inner tanh, where the paper has none; ours is the second.
    "mut1": Peer("MUT1Cell", plain("zrn", "rn") | {"bias_ih": rows("b.z", "b.r", "-"), "bias_hh": rows("-", "b.n")}),
    "mut2": Peer("MUT2Cell", plain("zrn")),
    "mut3": Peer("MUT3Cell", plain("zrn")),
    "ind_rnn": Peer(
        "IndRNNCell",
        {"weight_ih": rows("W"), "vector_u": rows("u"), "bias_ih": rows("b"), "bias_hh": rows("-")},
        {"nonlinearity": "relu"},
    ),
    "li_gru": Peer("LiGRUCell", plain("zn")),
    "fast_grnn": Peer(
        "FastGRNNCell",
        {
            "weight_ih": rows("W"),
            "weight_hh": rows("U"),
            "bias_ih": rows("b.z", "b.n"),
            "bias_hh": rows("-", "-"),
            "zeta": lambda w: w["s.zeta"][:1],
            "nu": lambda w: w["s.nu"][:1],
        },
        {"nonlinearity": "sigmoid"},
    ),
    "janet": Peer("JANETCell", plain("fn", beta=lambda w: torch.ones_like(w["b.f"][0]))),
    "co_rnn": Peer(
        "coRNNCell",
        {
            "weight_ih": rows("W"),
            "weight_hh": rows("U"),
            "weight_ch": rows("V"),
            "bias_ih": rows("b"),
            "bias_hh": rows("-"),
            "bias_ch": rows("-"),
        },
        {"dt": 0.042, "gamma": 2.7, "epsilon": 4.7},
    ),
    "minimal_rnn": Peer(
        "MinimalRNNCell",
        {
            "weight_ih": rows("W"),
            "weight_hh": rows("U"),
            "weight_mm": rows("V"),
            "bias_ih": rows("b.z"),
            "bias_hh": rows("b.u"),
        },
    ),
    "multiplicative_lstm": Peer(
        "MultiplicativeLSTMCell",
        {
            "weight_ih": rows("W.m", "W.i", "W.f", "W.g", "W.o"),
            "weight_hh": rows("U.m"),
            "weight_mh": rows("V.i", "V.f", "V.g", "V.o"),
            "bias_ih": rows("-", "b.i", "b.f", "b.g", "b.o"),
            "bias_hh": rows("-"),
            "bias_mh": rows(*"----"),
        },
    ),
    "ugrnn": Peer("UGRNNCell", plain("nu")),
}
