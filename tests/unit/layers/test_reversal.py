"""It works: words written backwards, those of a test set never seen, and attention that runs from right to left."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
import torch
from tests.unit.layers.reversal import digit_words, names, read_back, train

from recurra.diagnostics.heatmap import heatmap


def share_right(words, written):
    return sum(a == b[::-1] for a, b in zip(words, written, strict=True)) / len(words)


def share_on_the_diagonal(words, weights):
    """Of the letters written, how many were looked up one place beside their own at most, the weight's summit."""
    hits = total = 0
    for word, looked in zip(words, weights, strict=True):
        for t in range(len(word)):
            hits += abs(int(looked[t].argmax()) - (len(word) - 1 - t)) <= 1
            total += 1
    return hits / total


@pytest.mark.slow
def test_a_stream_is_copied_by_monotonic_attention():
    words = digit_words(15_000, seed=1, longest=6)
    unseen = [word for word in digit_words(900, seed=2, longest=6) if len(word) == 6 and word not in words]
    options = {"attention": "monotonic", "bidirectional": False, "bridge": "zero"}
    net = train(words, string.digits, iterations=500, backwards=False, **options)
    # The walk in constant memory, which was never trained as such.
    net.decoder.attention.mode = "hard"
    written, weights = read_back(net, unseen, string.digits)
    right = sum(a == b for a, b in zip(unseen, written, strict=True)) / len(unseen)
    assert right > 0.95, f"{right:.4f}"
    places = weights[:, :6].argmax(-1)
    assert (places[:, 1:] >= places[:, :-1]).all()


def test_digits_backwards():
    words = digit_words(15_000, seed=1, longest=5)
    unseen = [word for word in digit_words(900, seed=2, longest=5) if len(word) == 5 and word not in words]
    net = train(words, string.digits, iterations=180)
    written, weights = read_back(net, unseen, string.digits)
    right = share_right(unseen, written)
    assert right > 0.95, f"{right:.4f}"
    assert share_on_the_diagonal(unseen, weights) > 0.8


@pytest.mark.slow
def test_names_backwards(data_dir: Path, tmp_path: Path):
    found = names(data_dir)
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(0)).tolist()
    unseen, words = [found[k] for k in order[:1000]], [found[k] for k in order[1000:]]
    net = train(words, string.ascii_lowercase, iterations=500, hidden_size=48, embedding_size=24)
    written, weights = read_back(net, unseen, string.ascii_lowercase)
    right = share_right(unseen, written)
    assert right > 0.99, f"{right:.4f}"
    assert share_on_the_diagonal(unseen, weights) > 0.9
    longest = max((k for k, word in enumerate(unseen) if written[k] == word[::-1]), key=lambda k: len(unseen[k]))
    word, size = unseen[longest], len(unseen[longest])
    picture = heatmap(
        weights[longest, :size, :size].tolist(),
        list(written[longest]),
        list(word),
        row_label="written",
        column_label="read",
        label=f"attention while {word} is written backwards",
    )
    (tmp_path / "attention.svg").write_text(picture, encoding="utf-8")
    print(f"{right:.4f} of {len(unseen)} names right; {tmp_path / 'attention.svg'}")
