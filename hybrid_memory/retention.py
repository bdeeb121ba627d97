"""What a learner kept over the windows: the metrics of continual learning, each a small pure function.

Flow:    outcomes per question and window -> [retention] -> benchmark reports
Imports: numpy only.

`R[i, j]` is the accuracy after window i on what window j brought, nan before it was brought; `base[j]` is the
accuracy of a model that never learned anything. Definitions: Lopez-Paz and Ranzato 2017 (arXiv 1706.08840) for
backward transfer, Chaudhry et al. 2018 (arXiv 1801.10112) for forgetting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "accuracy_matrix",
    "average_accuracy",
    "backward_transfer",
    "forgetting",
    "gain_by_lag",
    "half_life",
    "interval",
    "learning",
    "net_over_base",
    "resamples",
]

Matrix: TypeAlias = npt.NDArray[np.float64]
Vector: TypeAlias = npt.NDArray[np.float64]


def accuracy_matrix(outcomes: Matrix, tasks: Sequence[int] | npt.NDArray[np.int64]) -> Matrix:
    """Return R, shape (windows, tasks): the mean outcome of each task's questions after each window.

    Args:
        outcomes: shape (windows, questions), scores in [0, 1], nan where a question was not asked.
        tasks: for each question, the window (from 0) that brought what it asks for.
    """
    owner = np.asarray(tasks)
    columns = []
    for task in range(int(owner.max()) + 1 if len(owner) else 0):
        asked = outcomes[:, owner == task]
        counts = (~np.isnan(asked)).sum(axis=1)
        columns.append(np.where(counts > 0, np.nansum(asked, axis=1) / np.maximum(counts, 1), np.nan))
    return np.stack(columns, axis=1) if columns else np.zeros((len(outcomes), 0))


def average_accuracy(R: Matrix) -> float:
    """Return the mean of the last row: how well everything is known in the end, in [0, 1]."""
    return _mean(R[-1])


def learning(R: Matrix, base: Vector) -> float:
    """Return the mean of R[j, j] - base[j]: what a window gains right after it, in [-1, 1]."""
    return _mean(_diagonal(R) - base)


def backward_transfer(R: Matrix) -> float:
    """Return BWT, the mean over all tasks but the last of R[last, j] - R[j, j]; below 0 means forgetting."""
    return _mean((R[-1] - _diagonal(R))[:-1])


def forgetting(R: Matrix) -> float:
    """Return the mean over all tasks but the last of (best earlier accuracy - last accuracy); 0 is best."""
    losses = [np.nanmax(R[task:, task]) - R[-1, task] for task in range(R.shape[1] - 1) if not np.isnan(R[-1, task])]
    return _mean(np.array(losses))


def net_over_base(R: Matrix, base: Vector) -> float:
    """Return the mean of R[last, j] - base[j]: what all the learning was worth in the end."""
    return _mean(R[-1] - base)


def gain_by_lag(R: Matrix, base: Vector) -> Vector:
    """Return the mean gain over base after 0, 1, ... further windows, shape (windows,)."""
    windows, tasks = R.shape
    gains = []
    for lag in range(windows):
        there = [R[task + lag, task] - base[task] for task in range(min(tasks, windows - lag))]
        gains.append(_mean(np.array(there)))
    return np.array(gains)


def half_life(R: Matrix, base: Vector) -> float:
    """Return the first lag, in windows, at which half of the gain over base is gone; inf if it never is.

    nan when nothing was gained at lag 0: there is nothing to halve.
    """
    gains = gain_by_lag(R, base)
    if not gains[0] > 0:
        return float("nan")
    lost = np.flatnonzero(gains <= gains[0] / 2)
    return float(lost[0]) if len(lost) else float("inf")


def resamples(groups: Sequence[int], *, count: int = 2000, seed: int = 0) -> npt.NDArray[np.int64]:
    """Return question numbers with repeats, shape (count, questions): each row drawn anew within every group.

    Args:
        groups: group of each question (its run and window): no group is ever left without questions.
        count: how many rows.
        seed: of the draws.
    """
    owner = np.asarray(groups)
    rng = np.random.default_rng(seed)
    places = [np.flatnonzero(owner == group) for group in np.unique(owner)]
    return np.concatenate([place[rng.integers(0, len(place), (count, len(place)))] for place in places], axis=1)


def interval(
    statistic: Callable[[npt.NDArray[np.int64]], float], samples: npt.NDArray[np.int64]
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a statistic of questions.

    Two arms that are asked the same questions are compared by a statistic of both: each resample then
    takes the same questions from both, so the interval is that of the paired difference.

    Args:
        statistic: from question numbers, shape (questions,), with repeats, to a number; nan is left out.
        samples: what `resamples` returns.
    """
    values = np.array([statistic(row) for row in samples])
    known = values[~np.isnan(values)]
    if not len(known):
        return (float("nan"), float("nan"))
    low, high = np.percentile(known, [2.5, 97.5])
    return (float(low), float(high))


def _diagonal(R: Matrix) -> Vector:
    return np.array([R[task, task] for task in range(R.shape[1])])


def _mean(values: npt.NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
