"""The scan: s[t+1] = a[t] s[t] + b[t] for all t, in far fewer torch calls than steps.

Time is cut into chunks that run side by side. First each chunk finds the one affine map that it is, product and total;
then the chunks are scanned in the same way, chunk by chunk, which gives the state each begins with; then every chunk
runs again from there. Three passes of multiply and add, no division and no logarithm, so any sign and any size of a is
as exact as in a loop; only where a product of a over a chunk overflows can the result be NaN where the loop's is not.
Blelloch 1990, "Prefix sums and their applications"; Martin and Cundy 2018, arXiv:1709.04057.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["recurrence"]

# Numbers in one torch call of the inner loops: enough to hide the call, few enough to stay in a core's cache. With
# less than 2^15 a thread torch does not share the work.
_A_THREAD = 1 << 16
_A_GPU = 1 << 20
_SHORTEST = 8


def recurrence(a: Tensor, b: Tensor, start: Tensor, cut: Tensor | None = None) -> Tensor:
    """`start` and the state after each step, (T + 1, ..., B, H).

    One state: a, b (T, B, H), start (B, H). k states that wait for each other: a (T, k, k, B, H), b (T, k, B, H), start
    (k, B, H). cut (T, B, 1), or (T, 1, B, 1) for k states: true where a step begins anew from b, whatever was before.
    Differentiable any number of times in a, b and start.
    """
    return _Recurrence.apply(a, b, start, cut, False)  # pyright: ignore[reportReturnType]


class _Recurrence(torch.autograd.Function):
    """Backward is the same recurrence the other way through time, and so on for further derivatives.

    Reversed, out[t] = a[t] out[t+1] + b[t], from out[T] = start.
    """

    @staticmethod
    def forward(a: Tensor, b: Tensor, start: Tensor, cut: Tensor | None, reverse: bool) -> Tensor:
        out = torch.empty((a.shape[0] + 1, *start.shape), dtype=b.dtype, device=b.device)
        out[-1 if reverse else 0] = start
        if out.numel():
            _fill(a, b, cut, out, reverse)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        a, _, _, cut, reverse = inputs
        ctx.save_for_backward(a, output, cut)
        ctx.reverse = reverse

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (arriving,) = gradients
        a, out, cut = ctx.saved_tensors
        before, source = (out[1:], slice(0, -1)) if ctx.reverse else (out[:-1], slice(1, None))
        if ctx.reverse:
            total = _Recurrence.apply(_transposed(a, before), arriving[1:], arriving[0], cut, False)
        else:
            total = _Recurrence.apply(_transposed(a, before), arriving[:-1], arriving[-1], cut, True)
        of_b: Tensor = total[source]  # pyright: ignore[reportOptionalSubscript]
        of_a = None
        if ctx.needs_input_grad[0]:
            of_a = of_b * before if a.dim() == before.dim() else of_b.unsqueeze(2) * before.unsqueeze(1)
            if cut is not None:
                of_a = of_a.masked_fill(cut if a.dim() == before.dim() else cut.unsqueeze(1), 0.0)
        of_start: Tensor = total[-1 if ctx.reverse else 0]  # pyright: ignore[reportOptionalSubscript]
        return of_a, of_b, of_start, None, None


def _transposed(a: Tensor, state: Tensor) -> Tensor:
    return a if a.dim() == state.dim() else a.transpose(1, 2)


def _fill(a: Tensor, b: Tensor, cut: Tensor | None, out: Tensor, reverse: bool) -> None:
    """Fill in `out` from its first entry on, reversed from its last."""
    steps = a.shape[0]
    at_once = _A_THREAD * torch.get_num_threads() if out.device.type == "cpu" else _A_GPU
    length = max(_SHORTEST, steps * out[0].numel() // at_once)
    chunks = steps // length
    # Side by side is three times the work; with few chunks the plain loop is faster.
    if chunks < 6:
        _loop(a, b, cut, out, reverse)
        return
    whole = chunks * length
    rest = a[whole:], b[whole:], None if cut is None else cut[whole:], out[whole:], reverse
    if reverse:
        _loop(*rest)
    _side_by_side(a[:whole], b[:whole], None if cut is None else cut[:whole], out[: whole + 1], reverse, length)
    if not reverse:
        _loop(*rest)


def _loop(a: Tensor, b: Tensor, cut: Tensor | None, out: Tensor, reverse: bool) -> None:
    """One step after the other."""
    factors, terms, places = a.unbind(), b.unbind(), out.unbind()
    cuts = [None] * len(factors) if cut is None else cut.unbind()
    for t in reversed(range(len(factors))) if reverse else range(len(factors)):
        _advance(places[t + 1 - reverse], factors[t], terms[t], places[t + reverse], cuts[t])


def _side_by_side(a: Tensor, b: Tensor, cut: Tensor | None, out: Tensor, reverse: bool, length: int) -> None:
    """Chunks of `length` steps; what is unbound below is one step of all chunks, (C, ...)."""
    factors, terms = _by_step(a, length), _by_step(b, length)
    cuts = [None] * length if cut is None else _by_step(cut, length)
    first, *others = reversed(range(length)) if reverse else range(length)
    product, total = factors[first].clone(), terms[first].clone()
    if cut is not None:
        _cut(product, cuts[first])
    for j in others:
        _advance(total, factors[j], terms[j], total, cuts[j])
        product = _composed(factors[j], product)
        _cut(product, cuts[j])
    carried = torch.empty((product.shape[0] + 1, *out.shape[1:]), dtype=out.dtype, device=out.device)
    carried[-1 if reverse else 0] = out[-1 if reverse else 0]
    broken = None if cut is None else cut.unflatten(0, (-1, length)).any(1)
    _fill(product, total, broken, carried, reverse)
    state = carried[1:] if reverse else carried[:-1]
    places = _by_step(out[:-1] if reverse else out[1:], length)
    for j in (first, *others):
        _advance(places[j], factors[j], terms[j], state, cuts[j])
        state = places[j]


def _by_step(part: Tensor, length: int) -> tuple[Tensor, ...]:
    return part.unflatten(0, (-1, length)).unbind(1)


def _advance(out: Tensor, a: Tensor, b: Tensor, state: Tensor, cut: Tensor | None) -> None:
    """out = a state + b; `out` may be `state` itself."""
    if a.dim() == state.dim():
        torch.addcmul(b, a, state, out=out)
    else:
        torch.add((a * state.unsqueeze(-4)).sum(-3), b, out=out)
    if cut is not None:
        torch.where(cut, b, out, out=out)


def _composed(a: Tensor, product: Tensor) -> Tensor:
    """First `product`, then `a`."""
    if a.dim() < 5:
        return product.mul_(a)
    return (a.unsqueeze(-3) * product.unsqueeze(-5)).sum(-4)


def _cut(product: Tensor, cut: Tensor | None) -> None:
    if cut is not None:
        product.masked_fill_(cut if cut.dim() == product.dim() else cut.unsqueeze(-3), 0.0)
