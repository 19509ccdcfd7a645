"""One answer for a sequence, one for every step, and a document of sentences of words, against each part by itself."""

from __future__ import annotations

import math

import pytest
import torch
from tests.tolerances import assert_close
from torch import nn

from recurra.base.errors import ConfigError, ShapeError
from recurra.layers import Recurrent
from recurra.layers.bidirectional import Bidirectional
from recurra.layers.hierarchical import HierarchicalAttention
from recurra.layers.shapes import ManyToMany, ManyToOne
from recurra.layers.tdnn import TDNN

B, T, F, H, OUT = 3, 8, 4, 5, 2
LENGTHS = torch.tensor([8, 3, 5])
BODIES = {
    "recurrent": lambda: Recurrent("lstm", F, H, bidirectional=True),
    "separate": lambda: Bidirectional("gru", F, H),
    "tdnn": lambda: TDNN(F, [(H, 2), (H, (0, 1))]),
}


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
@pytest.mark.parametrize("body", BODIES)
def test_many_to_one(body, pooling):
    net = ManyToOne(BODIES[body](), OUT, pooling).double()
    x = draw(B, T, F)
    dirty = x.clone()
    for row, length in enumerate(LENGTHS):
        dirty[row, length:] = math.nan
    y, _ = net(dirty, lengths=LENGTHS)
    for row, length in enumerate(LENGTHS):
        inner, _ = net.body(x[row : row + 1, :length])
        assert_close(y[row], net.output(net.pooling(inner))[0], "value", f"row {row}")
        assert_close(net(x[row : row + 1, :length])[0][0], y[row], "value", "without lengths")


@pytest.mark.parametrize("body", BODIES)
def test_many_to_many(body):
    net = ManyToMany(BODIES[body](), OUT).double()
    x = draw(B, T, F)
    y, _ = net(x, lengths=LENGTHS)
    for row, length in enumerate(LENGTHS):
        alone, _ = net(x[row : row + 1, :length])
        assert_close(y[row, : alone.shape[1]], alone[0], "value", f"row {row}")
        assert not y[row, alone.shape[1] :].any()


class TestDocuments:
    SENTENCES = torch.tensor([4, 2, 0])
    WORDS = torch.tensor([[6, 1, 3, 0], [2, 5, 9, 9], [9, 9, 9, 9]])

    def made(self, **options):
        generator = torch.Generator().manual_seed(2)
        return HierarchicalAttention("gru", F, H, output_size=OUT, generator=generator, **options).double()

    def test_word_by_word_and_sentence_by_sentence(self):
        net = self.made(attention_size=3, sentence_size=2)
        x = draw(B, 4, 6, F)
        # Where there is no sentence, and behind its last word, stands NaN; so do impossible word counts above.
        there = torch.zeros(B, 4, 6, dtype=torch.bool)
        for d, sentences in enumerate(self.SENTENCES):
            for s in range(sentences):
                there[d, s, : self.WORDS[d, s]] = True
        x = torch.where(there.unsqueeze(-1), x, math.nan)
        verdict = net(x, self.SENTENCES, self.WORDS)
        for d, sentences in enumerate(self.SENTENCES):
            vectors = torch.zeros(1, int(sentences), 2 * H, dtype=torch.float64)
            for s in range(sentences):
                words = int(self.WORDS[d, s])
                if words:
                    vectors[0, s], weights = (v[0] for v in net.word_attention(net.word(x[d, s, None, :words])[0]))
                    assert_close(verdict.words[d, s, :words], weights, "value", "words")
                assert not verdict.words[d, s, words:].any()
            document, weights = net.sentence_attention(net.sentence(vectors)[0])
            assert_close(verdict.sentences[d, :sentences], weights[0], "value", "sentences")
            assert_close(verdict.output[d], net.output(document)[0], "value", f"document {d}")
        verdict.output.sum().backward()
        assert all(parameter.grad.isfinite().all() for parameter in net.parameters())

    def test_without_counts_all_is_there(self):
        net = self.made()
        x = draw(2, 3, 4, F)
        full = net(x, [3, 3], torch.full((2, 3), 4))
        for have, want in zip(net(x), full, strict=True):
            assert_close(have, want, "value", "dense")

    def test_gradients(self):
        net = self.made(bidirectional=False)
        x = draw(2, 2, 3, F).requires_grad_()
        words = torch.tensor([[3, 1], [2, 0]])
        assert torch.autograd.gradcheck(lambda x: net(x, [2, 2], words).output, x)

    def test_no_output_layer(self):
        net = HierarchicalAttention("lstm", F, H)
        assert net(torch.zeros(1, 2, 3, F)).output.shape == (1, net.output_width) == (1, 2 * H)


@pytest.mark.parametrize(
    ("build", "error", "said"),
    [
        (lambda: ManyToOne(nn.Linear(3, 3), 2), ConfigError, "does not say its output_width"),
        (lambda: ManyToOne(Recurrent("gru", 1, 1), 0), ConfigError, "output_size must be"),
        (lambda: ManyToMany(Recurrent("gru", 1, 1), 0), ConfigError, "output_size must be"),
        (lambda: ManyToOne(Recurrent("gru", 1, 1), 2, "first"), ConfigError, "kind must be one of"),
        (lambda: HierarchicalAttention("gru", 3, 2, output_size=0), ConfigError, "output_size must be"),
        (lambda: HierarchicalAttention("gru", 3, 2)(torch.zeros(2, 3, 3)), ShapeError, r"x must be \(B, S, W, F\)"),
        (lambda: HierarchicalAttention("gru", 3, 2)(torch.zeros(2, 3, 4, 3), [1, 4]), ShapeError, "lengths must lie"),
        (
            lambda: HierarchicalAttention("gru", 3, 2)(torch.zeros(2, 3, 4, 3), None, torch.ones(2, 2).long()),
            ShapeError,
            r"words must be \(B, S\)",
        ),
        (
            lambda: HierarchicalAttention("gru", 3, 2)(torch.zeros(1, 1, 4, 3), None, torch.tensor([[5]])),
            ShapeError,
            "lengths must lie in 0..T = 0..4, got 5..5",
        ),
    ],
)
def test_bad_input(build, error, said):
    with pytest.raises(error, match=said):
        build()
