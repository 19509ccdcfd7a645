"""Batches of long streams: rows go on from batch to batch, and start anew where a series does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.base.errors import DataError
from recurra.tasks.events.stream import EventStream


def stream(total=103, batch=3, chunk=8):
    frames = np.arange(total, dtype=np.float32)[:, None]
    begins = np.zeros(total, bool)
    begins[[0, 50]] = True
    return EventStream(frames, np.arange(total), begins, batch, chunk, torch.Generator().manual_seed(0))


def test_rows_go_on():
    made = stream()
    for _ in range(3):
        batches = list(made)
        assert len(batches) == len(made)
        assert [batch.first for batch in batches] == [True] + [False] * (len(batches) - 1)
        rows = torch.cat([batch.x[..., 0] for batch in batches], 1)
        assert (rows.diff(dim=1) == 1).all()
        assert rows.flatten().unique().numel() == rows.numel()
        torch.testing.assert_close(torch.cat([batch.y for batch in batches], 1), rows.long())
        for batch in batches:
            wanted = batch.x[..., 0] == 50
            have = torch.zeros_like(wanted) if batch.resets is None else batch.resets
            assert torch.equal(have, wanted) or batch.first
        assert all(batch.x.shape[1] == 8 for batch in batches)


def test_epochs_differ_and_cover_everything():
    made, seen = stream(), set()
    starts = set()
    for _ in range(20):
        rows = [batch.x[..., 0] for batch in made]
        starts.add(float(rows[0][0, 0]))
        seen |= set(torch.cat(rows, 1).flatten().tolist())
    assert len(starts) > 3
    assert seen == set(map(float, range(103)))


def test_a_stream_shorter_than_a_chunk():
    batch = next(iter(stream(total=60, chunk=500)))
    assert batch.x.shape == (1, 60, 1)
    with pytest.raises(DataError, match="there are 1 frames"):
        EventStream(np.zeros((1, 1), np.float32), np.zeros(1), np.ones(1, bool), 1, 1)
