"""How good a classification is: confusion, precision, recall and F1 by class, log loss."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = ["Scores", "scores"]


class Scores(NamedTuple):
    """Of S cases and K classes."""

    cases: int
    accuracy: float
    balanced_accuracy: float
    """Mean recall over the classes that occur."""
    macro_f1: float
    """Mean F1 over the classes that occur or were said."""
    log_loss: float
    """Mean negative logarithm of what the true class was given, in nats."""
    confusion: np.ndarray
    """(K, K) int64: rows the truth, columns what was said."""
    precision: np.ndarray
    """(K,) NaN where a class was never said."""
    recall: np.ndarray
    """(K,) NaN where a class never occurs."""
    f1: np.ndarray
    """(K,) NaN where a class neither occurs nor was said."""

    def numbers(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """Plain values for JSON."""
        by_class = {
            name: {
                "cases": int(self.confusion[place].sum()),
                "precision": _plain(self.precision[place]),
                "recall": _plain(self.recall[place]),
                "f1": _plain(self.f1[place]),
            }
            for place, name in enumerate(classes)
        }
        return {
            "cases": self.cases,
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "log_loss": self.log_loss,
            "by_class": by_class,
            "classes": list(classes),
            "confusion": self.confusion.tolist(),
        }


def scores(truth: np.ndarray, probabilities: np.ndarray) -> Scores:
    """truth (S,) int codes, probabilities (S, K).

    >>> scores(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])).confusion.tolist()
    [[1, 0], [1, 1]]
    """
    classes = probabilities.shape[1]
    said = probabilities.argmax(1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (truth, said), 1)
    hits = np.diag(confusion).astype(np.float64)
    there, told = confusion.sum(1), confusion.sum(0)
    precision = np.divide(hits, told, out=np.full(classes, np.nan), where=told > 0)
    recall = np.divide(hits, there, out=np.full(classes, np.nan), where=there > 0)
    f1 = np.divide(2 * hits, there + told, out=np.full(classes, np.nan), where=there + told > 0)
    given = probabilities[np.arange(len(truth)), truth]
    loss = float(-np.log(np.maximum(given, np.finfo(np.float32).tiny)).mean())
    return Scores(
        len(truth),
        float(hits.sum() / len(truth)),
        float(np.nanmean(recall)),
        float(np.nanmean(f1)),
        loss,
        confusion,
        precision,
        recall,
        f1,
    )


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
