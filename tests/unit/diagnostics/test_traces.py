"""Units that were made to follow a feature are found; attention maps are what the layers say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recurra.base.errors import ShapeError
from recurra.diagnostics.attention import attention_maps
from recurra.diagnostics.observe import observe
from recurra.diagnostics.subject import Subject
from recurra.diagnostics.traces import character_features, search, track_activity
from recurra.layers import Recurrent
from recurra.layers.attention import AttentionPooling
from recurra.layers.decoder import Decoder

TEXT = 'He said: "No, I am (now) 12!" And left.\nThen "who" (we) asked?\n'


def squares(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).pow(2).sum(-1)


def test_features_are_what_a_reader_sees() -> None:
    found = character_features([list(TEXT), list(TEXT[:30])])
    quoted = "".join(symbol for symbol, inside in zip(TEXT, found["inside quotation marks"][0], strict=True) if inside)
    assert quoted == '"No, I am (now) 12!"who'
    bracketed = "".join(s for s, inside in zip(TEXT, found["inside brackets"][0], strict=True) if inside)
    assert bracketed == "(now(we"
    assert found["place in the line"][0, TEXT.index("\n") + 1] == 1
    assert found["place in the line"][0, TEXT.index("\n")] == 0
    word = TEXT.index("left")
    assert found["place in the word"][0, word : word + 4].tolist() == [1, 2, 3, 4]
    assert np.isnan(found["digit"][1, 30:]).all()
    assert "inside brackets" not in character_features([list("plain words only")]), "it never changes"
    assert character_features([]) == {}


def test_the_signs_for_blanks_count_as_blanks() -> None:
    shown = [{" ": "␣", "\n": "⏎"}.get(symbol, symbol) for symbol in TEXT]
    plain = character_features([list(TEXT)])
    signs = character_features([shown])
    for name, values in plain.items():
        np.testing.assert_array_equal(values, signs[name])


def test_the_unit_that_follows_a_feature_is_found() -> None:
    rng = np.random.default_rng(0)
    features = character_features([list(TEXT * 3)])
    activity = {
        "layer 0 h": rng.normal(size=(1, len(TEXT) * 3, 20)),
        "layer 0 c": rng.normal(size=(1, len(TEXT) * 3, 5)),
    }
    activity["layer 0 c"][..., 3] -= 4 * features["inside quotation marks"]
    activity["layer 0 h"][..., 7] += 2 * features["vowel"]
    found = {hit.feature: hit for hit in search(activity, features)}
    hit = found["inside quotation marks"]
    assert (hit.track, hit.unit) == ("layer 0 c", 3)
    wanted = np.corrcoef(activity["layer 0 c"][0, :, 3], features["inside quotation marks"][0])[0, 1]
    assert hit.correlation == pytest.approx(wanted, rel=1e-10)
    assert wanted < -0.8
    assert (found["vowel"].track, found["vowel"].unit) == ("layer 0 h", 7)
    ordered = [abs(hit.correlation) for hit in search(activity, features)]
    assert ordered == sorted(ordered, reverse=True)
    assert len(search(activity, features, most=2)) == 2


def test_too_few_steps_give_nothing_and_other_shapes_are_refused() -> None:
    features = {"f": np.arange(10.0)[None]}
    assert search({"h": np.zeros((1, 10, 2))}, features) == []
    with pytest.raises(ShapeError, match=r"f must be \(B, T\) = \(1, 9\)"):
        search({"h": np.zeros((1, 9, 2))}, features)


def test_activity_is_the_state_with_nan_on_the_padding() -> None:
    torch.manual_seed(0)
    layer = Recurrent("lstm", 2, 3).double()
    x, lengths = torch.randn(2, 5, 2).double(), torch.tensor([5, 2])
    one = Subject(name="a", model=layer, inputs=x, targets=torch.zeros(2, 5, 3), losses=squares, lengths=lengths)
    found = track_activity(observe(one).tracks)
    assert list(found) == ["layer 0 h", "layer 0 c"]
    wanted = layer(x, lengths=lengths)[0].detach().numpy()
    np.testing.assert_allclose(found["layer 0 h"][1, :2], wanted[1, :2], rtol=1e-12)
    assert np.isnan(found["layer 0 h"][1, 2:]).all()


class Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.pool = Recurrent("gru", 2, 4), AttentionPooling(4)

    def forward(self, x: Tensor, state: object = None, lengths: Tensor | None = None) -> tuple[Tensor, object]:
        y, state = self.recurrent(x, state, lengths)
        return self.pool(y, lengths)[0], state


def test_pooling_weights_are_caught() -> None:
    torch.manual_seed(0)
    model, x, lengths = Pooled(), torch.randn(2, 5, 2), torch.tensor([5, 3])
    one = Subject(
        name="p",
        model=model,
        inputs=x,
        targets=torch.zeros(2, 4),
        losses=lambda y, t: squares(y, t)[:, None],
        lengths=lengths,
    )
    [(name, weights)] = attention_maps(one).items()
    assert name == "pool"
    assert weights.shape == (2, 1, 5)
    wanted = model.pool(model.recurrent(x, None, lengths)[0], lengths)[1]
    np.testing.assert_allclose(weights[:, 0], wanted.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(weights.sum(2), 1, rtol=1e-6)
    assert not model.pool._forward_hooks


@pytest.mark.parametrize("form", ["luong", "bahdanau"])
def test_a_decoder_s_weights_are_those_it_gives(form: str) -> None:
    torch.manual_seed(0)
    decoder = Decoder("gru", 6, 4, memory_size=4, form=form, attention="general").eval()  # type: ignore[arg-type]
    memory, tokens = torch.randn(2, 5, 4), torch.randint(6, (2, 3))
    one = Subject(
        name="d",
        model=decoder,
        inputs=tokens,
        targets=tokens,
        losses=lambda y, t: nn.functional.cross_entropy(y.transpose(1, 2), t, reduction="none"),
        answer=lambda model, x, _: model(x, model.begin(None, memory))[0],
    )
    [weights] = attention_maps(one).values()
    np.testing.assert_allclose(weights, decoder(tokens, decoder.begin(None, memory))[2].detach().numpy(), rtol=1e-6)


def test_a_model_without_attention_has_no_maps() -> None:
    layer = Recurrent("gru", 2, 3)
    one = Subject(name="g", model=layer, inputs=torch.zeros(1, 2, 2), targets=torch.zeros(1, 2, 3), losses=squares)
    assert attention_maps(one) == {}
