"""What the summary says, against counts by hand and reach by measurement."""

from __future__ import annotations

import io
import json
import math

import pytest
import torch
from rich.console import Console
from torch import nn

from recurra.base.errors import ConfigError
from recurra.cells import CELLS
from recurra.equations.spec import CellSpec
from recurra.layers import Recurrent
from recurra.layers.bidirectional import Bidirectional
from recurra.layers.deep import DeepRecurrent
from recurra.layers.encoder_decoder import EncoderDecoder
from recurra.layers.facts import NOTHING, Facts, facts_of, feedforward_depth, memory_steps, recurrent_depth
from recurra.layers.narx import NARX
from recurra.layers.shapes import ManyToMany, ManyToOne
from recurra.layers.summary import summary
from recurra.layers.tdnn import TDNN
from recurra.layers.transition import deep_transition


def depths(cell) -> tuple[int, float]:
    spec: CellSpec = (CELLS[cell]() if isinstance(cell, str) else cell).spec
    return feedforward_depth(spec), recurrent_depth(spec)


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        ("elman", (1, 1)),
        ("lstm", (1, 1)),
        # c -> gate -> c -> output gate -> h: two layers, one behind the other.
        ("peephole_lstm", (2, 2)),
        # The reset gate works before the product.
        ("gru_v1", (2, 2)),
        ("gru", (1, 1)),
        # The output layer inside is linear.
        ("jordan", (1, 1)),
        ("min_gru", (1, 0)),
        (deep_transition("elman", 4), (4, 4)),
    ],
)
def test_depths_of_cells(cell, wanted):
    assert depths(cell) == wanted


def test_memory_of_cells():
    assert math.isinf(memory_steps(CELLS["lstm"]().spec))
    assert math.isinf(memory_steps(CELLS["min_gru"]().spec))


def test_a_table_by_hand():
    net = ManyToMany(DeepRecurrent("gru", 3, 8, 2, input_layers=(4,), output_layers=(6,)), 5)
    told = summary(net, 3, steps=7)
    kinds = [(row.name, row.kind, row.output, row.parameters) for row in told.rows]
    assert kinds == [
        ("body.below.layers.0", "Linear", (1, 7, 4), 3 * 4 + 4),
        ("body.recurrent.units.0", "gru", (1, 7, 8), 3 * (4 * 8 + 8 * 8 + 8) + 8),
        ("body.recurrent.units.1", "gru", (1, 7, 8), 3 * (8 * 8 + 8 * 8 + 8) + 8),
        ("body.above.layers.0", "Linear", (1, 7, 6), 8 * 6 + 6),
        ("output", "Linear", (1, 7, 5), 6 * 5 + 5),
    ]
    assert told.parameters == sum(parameter.numel() for parameter in net.parameters())
    assert told.parameter_bytes == 4 * told.parameters
    assert told.facts == Facts(4, 1, math.inf, 0)
    assert told.state_bytes == 2 * 8 * 4
    assert told.causal is True
    assert net.training


@pytest.mark.parametrize(
    ("net", "facts"),
    [
        (Recurrent("lstm", 3, 4), (1, 1, math.inf, 0)),
        (Recurrent("lstm", 3, 4, reverse=True), (1, 1, 0, math.inf)),
        (Recurrent("lstm", 3, 4, 2, bidirectional=True), (2, 1, math.inf, math.inf)),
        (Bidirectional("gru", 3, 4, 2, output_size=2), (2, 1, math.inf, math.inf)),
        (TDNN(3, [(4, 3), (2, (-1, 0, 2))], last="linear"), (1, 0, 3, 2)),
        (TDNN(3, [(4, 3), (2, (-1, 0, 2))], padding="causal"), (2, 0, 5, 0)),
        (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 2), nn.Sigmoid()), (2, 0, 0, 0)),
        (NARX(3, 2, 4, hidden_layers=2), (2, 2, math.inf, 0)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_facts_are_what_a_gradient_sees(net, facts):
    assert tuple(facts_of(net)) == facts
    net = net.double()
    x = torch.randn(1, 30, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    found = net(x)
    y = found[0] if isinstance(found, tuple) else found
    # With "valid" padding the outputs begin late.
    at = 15 - (30 - y.shape[1] and int(facts[2]))
    (gradient,) = torch.autograd.grad(y[0, at].sum(), x)
    seen = gradient[0].abs().sum(-1).nonzero().flatten()
    assert seen.min() == max(0, 15 - facts[2])
    assert seen.max() == min(29, 15 + facts[3])


def test_unknown_parts():
    class Mixer(nn.Module):
        def __init__(self, causal):
            super().__init__()
            self.map, self.causal = nn.Linear(3, 3), causal

        def forward(self, x):
            return self.map(x.cumsum(1) if self.causal else x.flip(1))

    for causal in (True, False):
        told = summary(Mixer(causal), 3)
        assert (told.facts, told.causal, told.state_bytes) == (None, causal, None)
    assert summary(ManyToOne(Recurrent("gru", 3, 4), 2), 3).causal is None
    assert facts_of(nn.Sequential(nn.Linear(3, 3), Mixer(True))) is None
    assert facts_of(nn.Sequential()) == NOTHING


def test_tokens_and_several_arguments():
    net = EncoderDecoder("gru", source_vocabulary=5, target_vocabulary=6, hidden_size=4)
    tokens = torch.zeros(1, 7, dtype=torch.int64)
    told = summary(net, example=(tokens, tokens))
    assert {"encoder.units.0", "encoder.units.1", "decoder.recurrent.units.0"} <= {row.name for row in told.rows}
    assert told.state_bytes is not None
    assert told.parameters == sum(row.parameters for row in told.rows)


def test_shared_weights_count_once():
    layer = nn.Linear(3, 3)
    told = summary(nn.Sequential(layer, nn.Tanh(), layer), 3)
    assert told.parameters == 12
    assert len(told.rows) == 1


def test_it_can_be_shown():
    told = summary(Recurrent("lstm", 3, 8, bidirectional=True), 3)
    plain = json.loads(json.dumps(told.as_dict()))
    assert plain["past_steps"] == plain["future_steps"] == "infinite"
    assert plain["layers"][0]["recurrent_depth"] == 1
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(told)
    shown = console.export_text()
    for text in (shown, str(told)):
        assert "units.1" in text
        assert f"{told.parameters:,}" in text
        assert "all steps back, all steps ahead" in text


@pytest.mark.parametrize("given", [{}, {"input_size": 3, "example": torch.zeros(1, 2, 3)}])
def test_bad_input(given):
    with pytest.raises(ConfigError, match="either input_size or an example"):
        summary(Recurrent("gru", 3, 4), **given)
