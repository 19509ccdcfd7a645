"""Forward-backward and Viterbi over many sequences: the native loops, and the same in NumPy where there are none."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recurra.kernels.cpu.extension import extension

__all__ = ["Filtering", "Smoothing", "best_paths", "filtered", "library", "log", "smoothed"]

SOURCE = Path(__file__).parent / "native" / "hidden_markov.cpp"


class Smoothing(NamedTuple):
    """What all observations of a sequence say."""

    posteriors: np.ndarray
    """(N, K)"""
    log_likelihoods: np.ndarray
    """(B,)"""
    starts: np.ndarray
    """(K,): expected number of sequences that begin in each state."""
    transitions: np.ndarray
    """(K, K): expected number of each transition, over all sequences."""


class Filtering(NamedTuple):
    """What the observations up to each step say."""

    posteriors: np.ndarray
    """(N, K)"""
    log_likelihoods: np.ndarray
    """(B,)"""


@cache
def library() -> ctypes.CDLL | None:
    """The native loops, with their signatures; None where they cannot be built."""
    found = extension(SOURCE)
    if found is not None:
        count, pointer = ctypes.c_int64, ctypes.c_void_p
        signatures = {
            "forward_scaled": [count, pointer, count, pointer, pointer, count, *[pointer] * 4],
            "smooth_scaled": [count, pointer, count, pointer, pointer, count, *[pointer] * 6],
            "smooth_log": [count, pointer, count, pointer, pointer, count, *[pointer] * 6],
            "viterbi": [count, pointer, count, *[pointer] * 5],
            "gaussian_density": [count] * 4 + [pointer] * 5,
            "gaussian_scatter": [count] * 4 + [pointer] * 4,
        }
        for name, types in signatures.items():
            getattr(found, name).argtypes = types
            getattr(found, name).restype = None
    return found


def log(probabilities: np.ndarray) -> np.ndarray:
    """Logarithms, -inf of 0 without a warning."""
    with np.errstate(divide="ignore"):
        return np.log(probabilities)


def smoothed(
    density: np.ndarray, offsets: np.ndarray, start: np.ndarray, move: np.ndarray, *, domain: str = "scaled"
) -> Smoothing:
    """Posteriors, likelihoods and expected counts from log densities (N, K), start (K,) or (B, K) and move (K, K).

    domain "scaled" works with probabilities that are scaled at every step (Rabiner 1989), and turns by itself to
    logarithms for a sequence in which they do not suffice; "log" takes logarithms throughout.
    """
    native = library()
    density = np.ascontiguousarray(density)
    start, move = np.ascontiguousarray(start), np.ascontiguousarray(move)
    B, (N, K) = len(offsets) - 1, density.shape
    row = K if start.ndim == 2 else 0
    out = Smoothing(np.empty((N, K)), np.empty(B), np.zeros(K), np.zeros((K, K)))
    if native is None:
        for b in range(B):
            part = slice(offsets[b], offsets[b + 1])
            first = start[b] if row else start
            gamma, out.log_likelihoods[b], transitions = _smooth(density[part], log(first), log(move))
            out.posteriors[part] = gamma
            out.starts[:] += gamma[0]
            out.transitions[:] += transitions
        return out
    ends = [part.ctypes.data for part in out]
    left = np.arange(B)
    if domain == "scaled":
        status = np.empty(B, np.int64)
        front = [B, offsets.ctypes.data, K, density.ctypes.data, start.ctypes.data, row, move.ctypes.data]
        native.smooth_scaled(*front, *ends, status.ctypes.data)
        left = np.flatnonzero(status)
    log_start, log_move = log(start), log(move)
    alpha = np.empty((int((offsets[left + 1] - offsets[left]).max(initial=0)), K))
    for b in left:
        part = slice(offsets[b], offsets[b + 1])
        bounds = np.array([0, part.stop - part.start])
        given = [density[part].ctypes.data, (log_start[b] if row else log_start).ctypes.data, 0, log_move.ctypes.data]
        ours = [out.posteriors[part].ctypes.data, out.log_likelihoods[b:].ctypes.data, *ends[2:]]
        native.smooth_log(1, bounds.ctypes.data, K, *given, alpha.ctypes.data, *ours)
    return out


def filtered(density: np.ndarray, offsets: np.ndarray, start: np.ndarray, move: np.ndarray) -> Filtering:
    """Posteriors given the past only, as a stream sees them; shapes as for `smoothed`."""
    native = library()
    density = np.ascontiguousarray(density)
    start, move = np.ascontiguousarray(start), np.ascontiguousarray(move)
    B, (N, K) = len(offsets) - 1, density.shape
    row = K if start.ndim == 2 else 0
    out = Filtering(np.empty((N, K)), np.empty(B))
    left = np.arange(B)
    if native is not None:
        status = np.empty(B, np.int64)
        front = [B, offsets.ctypes.data, K, density.ctypes.data, start.ctypes.data, row, move.ctypes.data]
        native.forward_scaled(*front, *(part.ctypes.data for part in out), status.ctypes.data)
        left = np.flatnonzero(status)
    for b in left:
        part = slice(offsets[b], offsets[b + 1])
        alpha = _alphas(density[part], log(start[b] if row else start), log(move))
        sums = np.logaddexp.reduce(alpha, axis=1)
        with np.errstate(invalid="ignore"):
            shares = np.exp(alpha - sums[:, None])
        out.posteriors[part] = np.where(np.isfinite(sums)[:, None], shares, 0.0)
        out.log_likelihoods[b] = sums[-1]
    return out


def best_paths(
    density: np.ndarray, offsets: np.ndarray, start: np.ndarray, move: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The most probable state sequences (N,) and their log probabilities (B,) (Viterbi 1967); of equals the first."""
    native = library()
    density = np.ascontiguousarray(density)
    B, (N, K) = len(offsets) - 1, density.shape
    path, score = np.empty(N, np.int64), np.empty(B)
    log_start, log_move = log(start), log(np.ascontiguousarray(move))
    if native is not None:
        given = [density.ctypes.data, log_start.ctypes.data, log_move.ctypes.data]
        native.viterbi(B, offsets.ctypes.data, K, *given, path.ctypes.data, score.ctypes.data)
        return path, score
    for b in range(B):
        path[offsets[b] : offsets[b + 1]], score[b] = _best(density[offsets[b] : offsets[b + 1]], log_start, log_move)
    return path, score


def _alphas(density: np.ndarray, log_start: np.ndarray, log_move: np.ndarray) -> np.ndarray:
    alpha = np.empty_like(density)
    alpha[0] = log_start + density[0]
    for t in range(1, len(density)):
        alpha[t] = np.logaddexp.reduce(alpha[t - 1][:, None] + log_move, axis=0) + density[t]
    return alpha


def _smooth(density: np.ndarray, log_start: np.ndarray, log_move: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Posteriors (T, K), the log likelihood and expected transitions (K, K) of one sequence: the definition."""
    T, K = density.shape
    alpha = _alphas(density, log_start, log_move)
    total = np.logaddexp.reduce(alpha[-1])
    beta, transitions = np.zeros((T, K)), np.zeros((K, K))
    for t in range(T - 2, -1, -1):
        ahead = log_move + (density[t + 1] + beta[t + 1])
        beta[t] = np.logaddexp.reduce(ahead, axis=1)
        if np.isfinite(total):
            transitions += np.exp(alpha[t][:, None] + ahead - total)
    both = alpha + beta
    if not np.isfinite(total):
        return np.zeros((T, K)), float(total), transitions
    return np.exp(both - np.logaddexp.reduce(both, axis=1)[:, None]), float(total), transitions


def _best(density: np.ndarray, log_start: np.ndarray, log_move: np.ndarray) -> tuple[np.ndarray, float]:
    T = len(density)
    back = np.zeros(density.shape, np.int64)
    now = log_start + density[0]
    for t in range(1, T):
        through = now[:, None] + log_move
        back[t] = through.argmax(axis=0)
        now = through.max(axis=0) + density[t]
    path = np.empty(T, np.int64)
    path[-1] = now.argmax()
    for t in range(T - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return path, float(now.max())
