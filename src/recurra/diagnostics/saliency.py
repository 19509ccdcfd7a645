"""Which inputs an output depends on: gradients by pairs of steps, and integrated gradients of one answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.base.errors import ShapeError, message
from recurra.diagnostics.subject import Subject

__all__ = ["Attribution", "integrated_gradients", "saliency"]

Array = NDArray[np.float64]
# Copies of a row that go through the model at once.
_COPIES = 128
_POINTS = 16


def saliency(subject: Subject, row: int = 0, output: int | None = None, *, probes: int | None = None) -> Array:
    """||dy_t/dx_k||: how much the output at step t changes with the input at step k, (T', T).

    The Frobenius norm over the K outputs (or of one of them) and the features of the layer's input, at the valid steps
    of one row. T' is T, or 1 where the model answers once a sequence. A causal model has nothing right of the
    diagonal. What fades away from it within a few steps is the vanishing gradient (Hochreiter 1991; the picture:
    Graves, Supervised sequence labelling with recurrent neural networks, 2012, section 4.1).

    probes: estimated by so many random combinations of the outputs, where K are too many for the time there is; the
    norm is then off by at most about 1/sqrt(2 probes) of itself.
    """
    alone = _row(subject, row)
    with torch.no_grad():
        answer = alone.outputs(alone.x)
    every = answer.dim() == 3
    width, steps = answer.shape[-1], alone.inputs.shape[1]
    if output is not None and not 0 <= output < width:
        raise ShapeError(message("saliency", f"output must lie in 0..{width - 1}, got {output}"))
    if output is not None:
        weights = torch.eye(width)[[output]]
    elif probes is not None:
        # E (r . J)^2 over random signs r is the squared norm of J (Hutchinson 1990).
        weights = torch.randint(0, 2, (probes, width), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
        weights /= probes**0.5
    else:
        weights = torch.eye(width)
    weights = weights.to(answer)
    squares = np.zeros((answer.shape[1] if every else 1, steps))
    for start in range(0, len(weights), _COPIES):
        which = weights[start : start + _COPIES]
        x = alone.x.expand(len(which), -1, -1).clone().requires_grad_()
        with torch.enable_grad():
            y = _answer(alone, x)
            for t in range(len(squares)):
                told = (y[:, t] if every else y) * which
                (gradient,) = torch.autograd.grad(told.sum(), x, retain_graph=True)
                squares[t] += gradient.double().pow(2).sum((0, 2)).cpu().numpy()
    return np.sqrt(squares)


class Attribution(NamedTuple):
    """What each input contributed to one number the model said."""

    values: Array
    """(T, F) contributions; their sum is `difference`."""
    difference: float
    """The number on the input minus the number on the baseline."""
    points: int
    """Gauss-Legendre points that were used."""

    @property
    def by_step(self) -> Array:
        """(T,) contributions summed over the features of a step."""
        return self.values.sum(1)

    @property
    def error(self) -> float:
        """How far the contributions are from adding up."""
        return abs(float(self.values.sum()) - self.difference)


def integrated_gradients(
    subject: Subject,
    output: int,
    row: int = 0,
    step: int | None = None,
    *,
    baseline: Tensor | None = None,
    tolerance: float = 1e-7,
    most_points: int = 4096,
) -> Attribution:
    """What each step of the input contributed to output number `output` at `step` (the last by default).

    The gradient is integrated along the straight line from the baseline to the input by 16 Gauss-Legendre points. Over
    any piece of the line the contributions must add up to the difference of the output between its ends
    (completeness): the pieces where they do not, within their share of `tolerance` times the larger of 1 and the whole
    difference, are halved, until all do or `most_points` are used; `error` says how far the whole is from it. For
    small tolerances hand in `subject.double()`: float32 ends near 1e-5. Sundararajan, Taly and Yan, Axiomatic
    attribution for deep networks, 2017, arXiv:1703.01365.

    baseline: (T, F) of the layer's input, zeros by default.
    """
    alone = _row(subject, row)
    x = alone.x[0]
    origin = torch.zeros_like(x) if baseline is None else baseline.to(x)
    if origin.shape != x.shape:
        fact = f"baseline must be (T, F) = {tuple(x.shape)}, got {tuple(origin.shape)}"
        raise ShapeError(message("integrated_gradients", fact))
    way = x - origin

    def told(at: Tensor) -> Tensor:
        y = _answer(alone, at)
        if not 0 <= output < y.shape[-1]:
            raise ShapeError(message("integrated_gradients", f"output must lie in 0..{y.shape[-1] - 1}, got {output}"))
        if y.dim() == 2:
            return y[:, output]
        if step is not None and not 0 <= step < y.shape[1]:
            raise ShapeError(message("integrated_gradients", f"step must lie in 0..{y.shape[1] - 1}, got {step}"))
        return y[:, -1 if step is None else step, output]

    with torch.no_grad():
        first, last = told(torch.stack((origin, x))).double().tolist()
    difference, points = last - first, 0
    total = np.zeros(tuple(way.shape))
    allowed = tolerance * max(1.0, abs(difference))
    # (from, to, output there) on the line from 0 to 1.
    pieces = [((0.0, first), (1.0, last))]
    while pieces:
        contributions = _integrals(told, origin, way, [(start[0], end[0]) for start, end in pieces])
        points += _POINTS * len(pieces)
        halves: list[tuple[tuple[float, float], tuple[float, float]]] = []
        # As many as there are points left for; the others count as they are.
        room = (most_points - points) // (2 * _POINTS)
        for (start, end), part in zip(pieces, contributions, strict=True):
            off = abs(float(part.sum()) - (end[1] - start[1]))
            if off <= allowed * (end[0] - start[0]) or len(halves) >= 2 * room:
                total += part
                continue
            middle = (start[0] + end[0]) / 2
            with torch.no_grad():
                there = float(told((origin + middle * way)[None]).double())
            halves += [(start, (middle, there)), ((middle, there), end)]
        pieces = halves
    return Attribution(total, difference, points)


def _integrals(
    told: Callable[[Tensor], Tensor], origin: Tensor, way: Tensor, pieces: list[tuple[float, float]]
) -> list[Array]:
    """The contributions over each piece of the line, (T, F)."""
    places, weights = np.polynomial.legendre.leggauss(_POINTS)
    found: list[Array] = []
    at_once = _COPIES // _POINTS
    for begin in range(0, len(pieces), at_once):
        some = pieces[begin : begin + at_once]
        shares = np.concatenate([start + (places + 1) / 2 * (end - start) for start, end in some])
        with torch.enable_grad():
            at = (origin + torch.as_tensor(shares).to(way)[:, None, None] * way).requires_grad_()
            (gradient,) = torch.autograd.grad(told(at).sum(), at)
        slopes = gradient.double().cpu().numpy().reshape(len(some), _POINTS, *way.shape)
        line = way.double().cpu().numpy()
        found += [
            np.einsum("p,ptf->tf", weights * (end - start) / 2, part) * line
            for (start, end), part in zip(some, slopes, strict=True)
        ]
    return found


def _row(subject: Subject, row: int) -> Subject:
    """One row by itself, without its padding."""
    rows = subject.inputs.shape[0]
    if not 0 <= row < rows:
        raise ShapeError(message("saliency", f"row must lie in 0..{rows - 1}, got {row}"))
    size = subject.valid[row]
    if not size:
        raise ShapeError(message("saliency", f"row {row} has no valid step"))
    return subject.row(row)


def _answer(alone: Subject, x: Tensor) -> Tensor:
    """The outputs to copies of the one row, changed or not."""
    lengths = None if alone.lengths is None else alone.lengths.expand(x.shape[0])
    return alone.answer(alone.model, x, lengths)
