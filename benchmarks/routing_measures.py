"""Measures of `routing.py`: shares, F1, calibration with its floor, rank, coverage.

Flow:     guesses, labels, confidences -> figures
Imports:  nothing of the package
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.routing_sets import Row

__all__ = ["auc", "calibration_error", "classes", "coverage", "share"]

SEED = 0
DRAWS = 400


def share(flags: Sequence[bool]) -> float:
    """Return the share of true flags; 0 for none."""
    return round(float(np.mean(flags)), 4) if len(flags) else 0.0


def classes(guesses: Sequence[str], labels: Sequence[str], confidence: Sequence[float]) -> Row:
    """Return accuracy, F1 per class and on average, and calibration.

    `ece_if_calibrated` is the mean error that a perfectly calibrated classifier with these confidences would show on a
    sample of this size, by simulation: an error near it is no sign of miscalibration.
    """
    right = np.array([guess == label for guess, label in zip(guesses, labels, strict=True)])
    sure = np.array(confidence)
    f1 = {name: _f1(guesses, labels, name) for name in sorted(set(labels))}
    rng = np.random.default_rng(SEED)
    floor = [calibration_error(sure, rng.random(len(sure)) < sure) for _ in range(DRAWS)]
    return {
        "n": len(labels),
        "accuracy": share(right.tolist()),
        "macro_f1": round(float(np.mean(list(f1.values()))), 4),
        "f1": f1,
        "ece": round(calibration_error(sure, right), 4),
        "ece_if_calibrated": round(float(np.mean(floor)), 4),
    }


def _f1(guesses: Sequence[str], labels: Sequence[str], name: str) -> float:
    both = sum(guess == label == name for guess, label in zip(guesses, labels, strict=True))
    return round(2 * both / max(1, list(guesses).count(name) + list(labels).count(name)), 4)


def calibration_error(
    confidence: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    right: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
) -> float:
    """Return the expected calibration error over ten bins of equal width (Guo et al. 2017)."""
    bins = np.minimum((confidence * 10).astype(int), 9)
    gaps = [
        (bins == index).mean() * abs(confidence[bins == index].mean() - right[bins == index].mean())
        for index in np.unique(bins)
    ]
    return float(sum(gaps))


def auc(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """Return the chance that a positive scores above a negative, ties counting half (Mann-Whitney)."""
    positive = np.array([score for score, label in zip(scores, labels, strict=True) if label])
    negative = np.array([score for score, label in zip(scores, labels, strict=True) if not label])
    above = (positive[:, None] > negative).mean() + 0.5 * (positive[:, None] == negative).mean()
    return round(float(above), 4)


def coverage(behaviour: Sequence[float], volatile: Sequence[float]) -> list[dict[str, float]]:
    """Return, per threshold, the share of behaviour-shaping and of volatile texts that reach it."""
    wanted, unwanted = np.array(behaviour), np.array(volatile)
    return [
        {
            "threshold": round(float(least), 2),
            "behaviour": round(float((wanted >= least).mean()), 4),
            "volatile": round(float((unwanted >= least).mean()), 4),
        }
        for least in np.arange(0.05, 1.0, 0.05)
    ]
