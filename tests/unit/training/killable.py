"""A small training run for tests to kill: a torch GRU with dropout on made-up tokens. Not a test itself.

python killable.py FOLDER [--resume] [--gradient STYLE] [--slow SECONDS] [--limit BYTES] [--iterations N]
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.base.errors import RecurraError
from recurra.data.batch import Batch
from recurra.data.stream import TokenStream
from recurra.training.config import (
    AverageConfig,
    GradientConfig,
    OptimConfig,
    ScheduleConfig,
    StoppingConfig,
    TrainConfig,
)
from recurra.training.evaluate import evaluate
from recurra.training.loop import Trainer
from recurra.training.progress import Progress

VOCABULARY = 7
STYLES = {
    "full": GradientConfig(),
    "sliding": GradientConfig(style="sliding", k1=3, k2=8),
    "chunked": GradientConfig(style="chunked", k1=4),
}


class TokenGRU(nn.Module):
    """Stand-in for a recurrent model: logits (B, T, V); dropout before and after; a row restarts where told."""

    def __init__(self, hidden: int = 12) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, hidden)
        self.cell = nn.GRUCell(hidden, hidden)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(hidden, VOCABULARY)

    def forward(self, x: Tensor, state=None, lengths=None, resets=None):
        h = x.new_zeros(x.shape[0], self.cell.hidden_size, dtype=torch.float32) if state is None else state[0]
        embedded = self.dropout(self.embedding(x))
        outputs = []
        for t in range(x.shape[1]):
            if resets is not None:
                h = torch.where(resets[:, t, None], torch.zeros_like(h), h)
            new = self.cell(embedded[:, t], h)
            h = new if lengths is None else torch.where((t < lengths)[:, None], new, h)
            outputs.append(h)
        return self.head(self.dropout(torch.stack(outputs, 1))), (h,)


def cross_entropy(outputs: Tensor, batch: Batch) -> tuple[Tensor, int]:
    losses = F.cross_entropy(outputs.transpose(1, 2), batch.y, reduction="none")
    if batch.lengths is not None:
        losses = losses * (torch.arange(losses.shape[1]) < batch.lengths[:, None])
    return losses.sum(), batch.count()


def tokens(count: int) -> np.ndarray:
    """Each token depends on the two before it, with some noise."""
    draw = np.random.default_rng(0)
    values = [1, 2]
    for noise in draw.integers(0, VOCABULARY, count):
        values.append((values[-1] + 2 * values[-2] + (noise == 0)) % VOCABULARY)
    return np.array(values)


def trainer(folder, gradient: str = "full", iterations: int = 60, progress=None, **settings) -> Trainer:
    torch.manual_seed(3)
    model = TokenGRU()
    train = TokenStream(tokens(900), 6, 10, generator=torch.Generator().manual_seed(4), reset_probability=0.1)
    held_out = TokenStream(tokens(1300)[900:], 4, 20, shuffle=False)
    values: dict = {
        "iterations": iterations,
        "gradient": STYLES[gradient],
        "optim": OptimConfig(learning_rate=0.02, weight_decay=0.01, l1=1e-5),
        "schedule": ScheduleConfig(name="plateau", patience=0, warmup=5),
        "average": AverageConfig(kind="ema", decay=0.95),
        "stopping": StoppingConfig(patience=50),
        "log_every": 1,
        "evaluate_every": 7,
        "checkpoint_every": 5,
    }
    return Trainer(
        model,
        cross_entropy,
        train,
        TrainConfig(**{**values, **settings}),
        evaluate=lambda model: evaluate(model, cross_entropy, held_out),
        folder=folder,
        progress=progress,
    )


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("folder")
    options.add_argument("--resume", action="store_true")
    options.add_argument("--gradient", default="full")
    options.add_argument("--slow", type=float, default=0.0)
    options.add_argument("--limit", type=int, default=0)
    options.add_argument("--iterations", type=int, default=60)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    run = trainer(chosen.folder, chosen.gradient, chosen.iterations, Progress("plain"))
    if chosen.slow:
        run.optimizer.register_step_pre_hook(lambda *_: time.sleep(chosen.slow))
    if chosen.limit:
        # A file that would grow beyond it gives EFBIG instead of a signal: a full disk for every larger file.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (chosen.limit, chosen.limit))
    try:
        if chosen.resume:
            run.resume()
        result = run.train()
    except RecurraError as error:
        print(error, file=sys.stderr)
        return 1
    print(result.reason, result.iteration)
    return 0


if __name__ == "__main__":
    sys.exit(main())
