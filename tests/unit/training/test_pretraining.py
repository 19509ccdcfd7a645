"""Pre-training: the losses are those of the paper, and what is transferred is the encoder, whole."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from recurra.base.errors import ConfigError, DataError
from recurra.data.batch import Batch
from recurra.training.pretraining import (
    Autoencoder,
    Classifier,
    Encoder,
    NextSymbol,
    class_loss,
    symbol_loss,
    transfer,
)

V, B, T, H = 5, 3, 6, 8


def encoder(seed: int = 0, **options) -> Encoder:
    return Encoder(V, 4, H, generator=torch.Generator().manual_seed(seed), **options)


TOKENS = torch.randint(0, V, (B, T), generator=torch.Generator().manual_seed(1))
LENGTHS = torch.tensor([6, 4, 1])


def test_the_autoencoder_writes_from_the_state_after_the_last_symbol():
    """Row by row, symbol by symbol, with the encoder's own step."""
    model = Autoencoder(encoder(), start=2)
    logits, _ = model(TOKENS, lengths=LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        _, state = model.encoder(TOKENS[row : row + 1, :length])
        fed = torch.tensor([[2]])
        for t in range(length):
            y, state = model.encoder(fed, state)
            torch.testing.assert_close(logits[row, t], model.output(y)[0, 0])
            fed = TOKENS[row : row + 1, t : t + 1]
    # What stands on the padding changes nothing.
    other = torch.where(torch.arange(T) < LENGTHS[:, None], TOKENS, (TOKENS + 1) % V)
    again, _ = model(other, lengths=LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        assert torch.equal(again[row, :length], logits[row, :length])


def test_an_autoencoder_learns_to_repeat_what_no_language_model_could_know():
    """Random symbols: without the state the loss cannot fall below ln V."""
    model = Autoencoder(Encoder(V, 0, 48, cell="gru", generator=torch.Generator().manual_seed(0)), start=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    draw = torch.Generator().manual_seed(2)
    loss = math.inf
    for _ in range(250):
        x = torch.randint(0, V, (32, 3), generator=draw)
        total, count = symbol_loss(model(x)[0], Batch(x, x))
        optimizer.zero_grad()
        (total / count).backward()
        optimizer.step()
        loss = float(total.detach()) / count
    assert loss < 0.5 * math.log(V)


def test_transfer_copies_the_encoder_and_nothing_else():
    source, target = NextSymbol(encoder(0)), Classifier(encoder(1), 3)
    before = {name: value.clone() for name, value in target.output.state_dict().items()}
    names = transfer(source, target)
    assert set(names) == {name for name in target.state_dict() if name.startswith("encoder.")}
    for name, value in source.encoder.state_dict().items():
        assert torch.equal(target.encoder.state_dict()[name], value)
    for name, value in target.output.state_dict().items():
        assert torch.equal(value, before[name])
    # A copy, not a share.
    with torch.no_grad():
        next(source.encoder.parameters()).zero_()
    assert float(next(target.encoder.parameters()).detach().abs().sum()) > 0
    with pytest.raises(ConfigError, match=r"encoder\.recurrent\.units\.0\.W\.i: \(8, 4\) in the source, nothing in"):
        transfer(source, Classifier(encoder(cell="elman"), 3))
    with pytest.raises(ConfigError, match="no parameters under 'encoder'"):
        transfer(nn.Linear(2, 2), nn.Linear(2, 2))


@pytest.mark.parametrize("mean", [False, True])
def test_a_classifier_reads_each_row_to_its_own_end(mean: bool):
    model = Classifier(encoder(), 3, mean=mean)
    logits, _ = model(TOKENS, lengths=LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        alone, _ = model(TOKENS[row : row + 1, :length])
        torch.testing.assert_close(logits[row], alone[0])
    loss, count = class_loss(logits, Batch(TOKENS, torch.tensor([0, 1, 2]), LENGTHS))
    expected = -torch.log_softmax(logits, -1)[torch.arange(3), torch.arange(3)].sum()
    torch.testing.assert_close(loss, expected)
    assert count == 3


def test_symbol_loss_counts_valid_positions():
    logits = torch.zeros(B, T, V)
    loss, count = symbol_loss(logits, Batch(TOKENS, TOKENS, LENGTHS))
    assert count == 11
    assert float(loss) == pytest.approx(11 * math.log(V), rel=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="start must be a symbol"):
        Autoencoder(encoder(), start=V)
    resets = torch.zeros(B, T, dtype=torch.bool)
    resets[0, 2] = True
    with pytest.raises(DataError, match="cannot restart"):
        Autoencoder(encoder(), start=0)(TOKENS, resets=resets)
