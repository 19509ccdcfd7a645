"""Where Baum-Welch begins: k-means with spread-out seeds (Arthur and Vassilvitskii 2007)."""

from __future__ import annotations

import numpy as np

from recurra.base.errors import DataError, message

__all__ = ["cluster_means"]

_ROUNDS = 30
# More points than this tell no more about where clusters lie.
_MOST = 20_000


def cluster_means(data: np.ndarray, count: int, chance: np.random.Generator) -> np.ndarray:
    """Means (count, D) of clusters of data (N, D), features brought to one scale.

    >>> points = np.concatenate([np.zeros((50, 1)), np.ones((50, 1)) * 9]) + np.linspace(-1, 1, 100)[:, None]
    >>> sorted(cluster_means(points, 2, np.random.default_rng(0)).round(1).ravel().tolist())
    [-0.5, 9.5]
    """
    if len(data) < count:
        raise DataError(message("HMM.fit", f"{len(data)} steps are fewer than {count} states or components"))
    if len(data) > _MOST:
        data = data[chance.choice(len(data), _MOST, replace=False)]
    scale = data.std(axis=0)
    offset, scale = data.mean(axis=0), np.where(scale > 0, scale, 1.0)
    points = (data - offset) / scale
    centres = points[[chance.integers(len(points))]]
    nearest = ((points - centres[0]) ** 2).sum(axis=1)
    while len(centres) < count:
        total = nearest.sum()
        chosen = chance.choice(len(points), p=nearest / total) if total > 0 else chance.integers(len(points))
        centres = np.concatenate([centres, points[[chosen]]])
        nearest = np.minimum(nearest, ((points - points[chosen]) ** 2).sum(axis=1))
    labels = np.full(len(points), -1)
    for _ in range(_ROUNDS):
        # |x - c|² less |x|², which all centres share.
        new = ((centres**2).sum(axis=1) - 2 * points @ centres.T).argmin(axis=1)
        if (new == labels).all():
            break
        labels = new
        sizes = np.bincount(labels, minlength=count)
        sums = np.stack([np.bincount(labels, column, minlength=count) for column in points.T], axis=1)
        # An empty cluster stays where it is.
        centres = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres)
    return centres * scale + offset
