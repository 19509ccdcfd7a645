"""Truncated backpropagation through time: an update every k1 steps, each loss sent about k2 steps back.

"k2 steps back" means through k2 applications of the cell: the loss at step t meets the inputs t-k2+1 ... t and the
state before them as a constant; k2 = 1 is one application, and k2 >= T is full BPTT.

`chunked`   Fixed chunks of k1 = k2 steps with carried state: what most libraries mean by the name. A loss at the start
            of a chunk reaches one step back, one at its end k2, on average (k2 + 1) / 2.
            Costs T steps forward and T backward.
`sliding`   BPTT(k2; k1) of Williams and Peng (1990), in Sutskever's words (2013, section 2.8.6): every k1 steps,
            backpropagate the losses of the last k1 steps through the last k2. A loss reaches between k2 - k1 + 1 and k2
            steps back; with k1 = 1 every loss reaches exactly k2 (or to the start of the stream).
            Costs T (k2 / k1 + 1) steps forward and T k2 / k1 backward.
`exact`     An update every k1 steps, and every loss reaches exactly k2 steps back whatever k1 is: each has a window
            of its own. Costs T (k2 + 1) steps forward and T k2 backward.

What the last two fix, and much-copied code gets wrong: each loss counts once, though its step lies in several windows;
after an update the window is replayed from a stored state with the present weights, so no graph of overwritten weights
is walked; and the window does not end where a batch does: the last k2 inputs are carried along, so where batches are
cut changes nothing (provided k1 divides them; the losses left at the end of a batch make one shorter update). A state
before the window was computed with the weights of its time. Dropout draws anew in each replay.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from recurra.base.errors import ConfigError, DataError, message
from recurra.base.state import State, detach, map_state
from recurra.data.batch import Batch
from recurra.training.bptt import bptt
from recurra.training.config import GradientConfig
from recurra.training.gradient import Carry, Due, GradientMethod, Model, Objective, between
from recurra.training.online import online

__all__ = ["Style", "gradient_method", "tbptt"]

Style = Literal["chunked", "sliding", "exact"]


def tbptt(k1: int, k2: int | None = None, style: Style = "sliding") -> GradientMethod:
    """A gradient method that updates every `k1` steps and reaches `k2` steps back (default: k1).

    Raises ConfigError where the style does not allow k1 and k2.
    """
    k2 = k1 if k2 is None else k2
    where = f"tbptt(k1={k1}, k2={k2}, style={style!r})"
    if k1 < 1 or k2 < 1:
        raise ConfigError(message(where, "k1 and k2 are numbers of steps and at least 1"))
    if style == "chunked":
        if k1 != k2:
            hint = "style='sliding' updates every k1 steps and reaches k2 back."
            raise ConfigError(message(where, f"fixed chunks have k1 = k2, got {k1} and {k2}", hint=hint))
        return lambda model, objective, batch, carry=None: _chunked(model, objective, batch, carry, k1)
    if style == "sliding":
        if k1 > k2:
            fact = f"a window of k2 = {k2} steps does not hold the losses of k1 = {k1} steps"
            raise ConfigError(message(where, fact, hint="k1 <= k2, or style='exact', which allows any k1."))
        return lambda model, objective, batch, carry=None: _windows(model, objective, batch, carry, k1, k2, k1)
    if style == "exact":
        return lambda model, objective, batch, carry=None: _windows(model, objective, batch, carry, k1, k2, 1)
    raise ConfigError(message(where, "there are the styles 'chunked', 'sliding' and 'exact'"))


def gradient_method(config: GradientConfig) -> GradientMethod:
    """The method that the settings name, full BPTT and the online ones included."""
    if config.style == "full":
        return bptt
    if config.style in ("rtrl", "snap1", "eprop", "uoro"):
        return online(config.style, config.k1 or 1)
    k1, k2 = config.k1 or config.k2 or 0, config.k2 or config.k1 or 0
    return tbptt(k1, k2, config.style)


def _chunked(model: Model, objective: Objective, batch: Batch, carry: Carry | None, k: int) -> Iterator[Due]:
    total = _steps(model, batch)
    state = carry.state if carry else None
    for start in range(0, total, k):
        part = between(batch, start, min(start + k, total))
        outputs, state = model(part.x, state, lengths=part.lengths, resets=part.resets)
        loss_sum, count = objective(outputs, part)
        loss_sum.backward()
        state = detach(state)
        yield Due(loss_sum.detach(), count, Carry(state), min(start + k, total))


def _windows(
    model: Model, objective: Objective, batch: Batch, carry: Carry | None, k1: int, k2: int, stride: int
) -> Iterator[Due]:
    """Windows of k2 steps, each counting the losses of its last `stride`; an update every k1 steps."""
    total = _steps(model, batch)
    # All positions below count from the first remembered step; the batch itself begins at `past`.
    inputs, past = _joined(batch, carry)
    state, stored = (carry.state if carry else None), 0
    for done in range(0, total, k1):
        stop = min(done + k1, total)
        loss_sum, count = torch.zeros(()), 0
        for end in range(min(done + stride, stop), stop + 1, stride):
            begin = max(0, past + end - k2)
            state, stored = _advance(model, inputs, state, stored, begin), begin
            window = between(inputs, begin, past + end)
            outputs, _ = model(window.x, state, lengths=window.lengths, resets=window.resets)
            counted = min(stride, end - done)
            loss, positions = objective(_last(outputs, counted), between(batch, end - counted, end))
            loss.backward()
            loss_sum, count = loss_sum.to(loss.device) + loss.detach(), count + positions
        tail = between(inputs, stored, past + stop)
        yield Due(loss_sum, count, Carry(state, tail.x, tail.resets, tail.lengths), stop)


def _advance(model: Model, inputs: Batch, state: State, start: int, stop: int) -> State:
    """The state before step `stop`, from that before step `start`, with the present weights and without a graph."""
    if stop == start:
        return state
    part = between(inputs, start, stop)
    with torch.no_grad():
        _, state = model(part.x, state, lengths=part.lengths, resets=part.resets)
    return detach(state)


def _last(outputs: Any, steps: int) -> Any:
    return map_state(lambda leaf: leaf[:, leaf.shape[1] - steps :], outputs)


def _joined(batch: Batch, carry: Carry | None) -> tuple[Batch, int]:
    """The remembered steps followed by the batch's, and how many were remembered. Targets are not looked at."""
    if carry is None or carry.x is None:
        return batch._replace(y=batch.x), 0
    rows, past = carry.x.shape[:2]
    x = torch.cat([carry.x, batch.x], dim=1)
    resets = None
    if carry.resets is not None or batch.resets is not None:
        resets = torch.cat([_resets(carry.x, carry.resets), _resets(batch.x, batch.resets)], dim=1)
    lengths = None
    if carry.lengths is not None or batch.lengths is not None:
        before = _lengths(carry.x, carry.lengths)
        added = _lengths(batch.x, batch.lengths)
        # Padding inside a window has no meaning: a row that has ended may not go on.
        if bool(((before < past) & (added > 0)).any()):
            row = int(((before < past) & (added > 0)).nonzero()[0])
            raise DataError(
                message(
                    "tbptt",
                    f"row {row} of {rows} ended in the last batch and goes on in this one, which is not marked first",
                    hint="mark the batch first=True, or pack sequences one after the other and mark the starts with "
                    "resets; style='chunked' carries the state of such rows on.",
                )
            )
        lengths = before + added
    return Batch(x, x, lengths, resets, batch.first), past


def _resets(x: Tensor, resets: Tensor | None) -> Tensor:
    return torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device) if resets is None else resets


def _lengths(x: Tensor, lengths: Tensor | None) -> Tensor:
    return torch.full((x.shape[0],), x.shape[1], device=x.device) if lengths is None else lengths


def _steps(model: Model, batch: Batch) -> int:
    """T, after a look at what truncation cannot do."""
    modules = getattr(model, "modules", lambda: iter(()))
    if any(getattr(module, "bidirectional", False) is True for module in modules()):
        fact = "the model reads backward in time too (bidirectional), so no step's state is known before the last input"
        raise ConfigError(message("tbptt", fact, hint="train it with full BPTT."))
    total = batch.x.shape[1]
    if batch.y.dim() < 2 or batch.y.shape[1] != total:
        fact = f"targets must be (B, T, ...) = {tuple(batch.x.shape[:2])}, got {tuple(batch.y.shape)}"
        raise DataError(message("tbptt", fact, hint="a task with one target a sequence is trained with full BPTT."))
    return total
