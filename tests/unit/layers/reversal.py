"""Training for the tests that show it works: an encoder-decoder learns to write words backwards, or as they are."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import torch
from torch import Tensor

from recurra.layers.encoder_decoder import EncoderDecoder

START, END, FIRST = 1, 2, 3


def digit_words(count: int, seed: int, longest: int = 8) -> list[str]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (count,), generator=generator).tolist()
    return ["".join(map(str, torch.randint(10, (n,), generator=generator).tolist())) for n in lengths]


def names(folder: Path, longest: int = 12) -> list[str]:
    """The distinct given names of Karpathy's makemore list."""
    path = folder / "names" / "makemore_names.txt.gz"
    found = set(re.findall(r"^[a-z]+$", gzip.decompress(path.read_bytes()).decode(), re.MULTILINE))
    return sorted(name for name in found if len(name) <= longest)


def tensors(words: list[str], letters: str, backwards: bool = True) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Source (B, S), its lengths, what the decoder is told (B, S + 1) and what it should say."""
    lengths = torch.tensor([len(word) for word in words])
    source = torch.zeros(len(words), int(lengths.max()), dtype=torch.int64)
    target = torch.zeros(len(words), int(lengths.max()) + 2, dtype=torch.int64)
    target[:, 0] = START
    for row, word in enumerate(words):
        codes = torch.tensor([FIRST + letters.index(letter) for letter in word])
        source[row, : len(word)] = codes
        target[row, 1 : len(word) + 1] = codes.flip(0) if backwards else codes
        target[row, len(word) + 1] = END
    return source, lengths, target[:, :-1], target[:, 1:]


def train(
    words: list[str], letters: str, iterations: int, seed: int = 0, backwards: bool = True, **options: object
) -> EncoderDecoder:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    size = FIRST + len(letters)
    options = {"hidden_size": 32, "embedding_size": 16, "generator": generator} | options
    net = EncoderDecoder("gru", source_vocabulary=size, target_vocabulary=size, **options)  # type: ignore[arg-type]
    optimiser = torch.optim.Adam(net.parameters(), lr=6e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, iterations)
    for _ in range(iterations):
        chosen = [words[k] for k in torch.randint(len(words), (64,), generator=generator).tolist()]
        source, lengths, told, wanted = tensors(chosen, letters, backwards)
        logits, _, _ = net(source, told, lengths, lengths + 1)
        there = torch.arange(wanted.shape[1]) < (lengths + 1)[:, None]
        loss = torch.nn.functional.cross_entropy(logits[there], wanted[there])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return net.eval()


def read_back(net: EncoderDecoder, words: list[str], letters: str) -> tuple[list[str], Tensor]:
    """What the net writes on its own, and where it looked (B, T, S)."""
    source, lengths, _, _ = tensors(words, letters)
    drawn = net.generate(source, lengths, start=START, end=END, max_steps=source.shape[1] + 2)
    written = []
    for row, length in zip(drawn.tokens.tolist(), drawn.lengths.tolist(), strict=True):
        written.append("".join(letters[code - FIRST] for code in row[:length] if code >= FIRST))
    assert drawn.weights is not None
    return written, drawn.weights
