"""The network: one symbol at a time, in chunks and whole give the same logits."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from recurra.cells import CELLS
from recurra.data.batch import Batch
from recurra.tasks.text.model import TextModel, next_symbol_loss
from recurra.tasks.text.settings import ModelSettings

SIZE = 11


def model(seed: int = 0, **settings) -> TextModel:
    chosen = ModelSettings(**{"hidden_size": 7, "num_layers": 2, "embedding_size": 5, **settings})
    return TextModel(chosen, SIZE, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("cell", [name for name, _ in CELLS.items()])
@pytest.mark.parametrize("options", [{}, {"embedding_size": 0}, {"tied": True, "residual": True}], ids=str)
def test_steps_chunks_and_the_whole_agree(cell: str, options: dict) -> None:
    net = model(cell=cell, learned_initial_state=True, **options).double().eval()
    tokens = torch.randint(SIZE, (3, 13))
    with torch.no_grad():
        whole, last = net(tokens)
        state, chunks, steps = None, [], []
        for begin, end in ((0, 1), (1, 6), (6, 13)):
            logits, state = net(tokens[:, begin:end], state)
            chunks.append(logits)
        torch.testing.assert_close(torch.cat(chunks, 1), whole)
        state = None
        for t in range(13):
            logits, state = net.step(tokens[:, t], state)
            steps.append(logits)
        torch.testing.assert_close(torch.stack(steps, 1), whole)
        torch.testing.assert_close(state, last)


def test_a_reset_is_a_fresh_start() -> None:
    net = model().eval()
    tokens = torch.randint(SIZE, (2, 9))
    resets = torch.zeros(2, 9, dtype=torch.bool)
    resets[1, 4] = True
    with torch.no_grad():
        whole, _ = net(tokens, resets=resets)
        torch.testing.assert_close(whole[1:, 4:], net(tokens[1:, 4:])[0])
        torch.testing.assert_close(whole[:1], net(tokens[:1])[0])


def test_dropout_acts_in_training_only_and_weights_follow_the_seed() -> None:
    net, same, other = model(0), model(0), model(1)
    tokens = torch.randint(SIZE, (2, 6))
    assert not torch.equal(net(tokens)[0], net(tokens)[0])
    for one in (net, same, other):
        one.eval()
    assert torch.equal(net(tokens)[0], net(tokens)[0])
    assert torch.equal(net(tokens)[0], same(tokens)[0])
    assert not torch.equal(net(tokens)[0], other(tokens)[0])


def test_one_hot_input_is_the_columns_of_w() -> None:
    assert "input.weight" not in model(embedding_size=0).state_dict()
    tied = model(tied=True)
    assert tied.output.weight is tied.input.weight
    assert tied.parameter_count() == len(torch.cat([p.flatten() for p in tied.parameters()]))


def test_tied_needs_a_table() -> None:
    with pytest.raises(ValueError, match="tied needs an embedding table"):
        ModelSettings(tied=True, embedding_size=0)


def test_the_loss_is_a_sum_over_valid_positions() -> None:
    logits, targets = torch.randn(2, 4, SIZE), torch.randint(SIZE, (2, 4))
    every = nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    loss, count = next_symbol_loss(logits, Batch(targets, targets))
    torch.testing.assert_close(loss, every.sum())
    assert count == 8
    loss, count = next_symbol_loss(logits, Batch(targets, targets, lengths=torch.tensor([4, 1])))
    torch.testing.assert_close(loss, every[0].sum() + every[1, 0])
    assert count == 5


def test_an_untrained_model_knows_nothing() -> None:
    tokens = torch.randint(SIZE, (4, 50))
    loss, count = next_symbol_loss(model(hidden_size=64).eval()(tokens)[0], Batch(tokens, tokens))
    assert float(loss.detach()) / count == pytest.approx(math.log(SIZE), rel=0.15)
