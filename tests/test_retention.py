"""The metrics of continual learning, each worked out by hand on one small matrix."""

from __future__ import annotations

import numpy as np
import pytest

from hybrid_memory import retention

NAN = float("nan")
R = np.array(
    [
        [0.8, NAN, NAN],
        [0.6, 1.0, NAN],
        [0.2, 0.5, 0.9],
    ]
)
BASE = np.array([0.1, 0.1, 0.1])


def interval_of(values: np.ndarray, groups: list[int]) -> tuple[float, float]:
    """The interval of the mean."""
    return retention.interval(lambda picked: float(values[picked].mean()), retention.resamples(groups))


def test_average_accuracy_is_the_mean_of_the_last_row() -> None:
    """(0.2 + 0.5 + 0.9) / 3."""
    assert retention.average_accuracy(R) == pytest.approx(1.6 / 3)


def test_learning_is_what_a_window_gains_right_after_it() -> None:
    """(0.7 + 0.9 + 0.8) / 3."""
    assert retention.learning(R, BASE) == pytest.approx(2.4 / 3)


def test_backward_transfer_leaves_the_last_window_out() -> None:
    """((0.2 - 0.8) + (0.5 - 1.0)) / 2."""
    assert retention.backward_transfer(R) == pytest.approx(-0.55)


def test_forgetting_counts_from_the_best_that_ever_was() -> None:
    """Task 0 was best at 0.9 after window 1: ((0.9 - 0.2) + (1.0 - 0.5)) / 2."""
    better_later = R.copy()
    better_later[1, 0] = 0.9

    assert retention.forgetting(better_later) == pytest.approx(0.6)


def test_net_over_base_compares_the_end_with_never_having_learned() -> None:
    """(0.1 + 0.4 + 0.8) / 3."""
    assert retention.net_over_base(R, BASE) == pytest.approx(1.3 / 3)


def test_gain_by_lag_averages_the_diagonals() -> None:
    """Lag 0: 0.8; lag 1: (0.5 + 0.4) / 2; lag 2: 0.1."""
    assert retention.gain_by_lag(R, BASE).tolist() == pytest.approx([0.8, 0.45, 0.1])


def test_half_life_is_the_first_lag_with_half_of_the_gain_gone() -> None:
    """0.45 is more than half of 0.8, 0.1 is not."""
    assert retention.half_life(R, BASE) == 2.0


def test_a_gain_that_stays_has_no_half_life() -> None:
    """Nothing was lost."""
    kept = np.array([[0.8, NAN], [0.8, 0.8]])

    assert retention.half_life(kept, np.zeros(2)) == float("inf")


def test_without_a_gain_there_is_no_half_life_to_speak_of() -> None:
    """Nothing was learned, so nothing can be halved."""
    assert np.isnan(retention.half_life(np.zeros((2, 2)), np.zeros(2)))


def test_a_single_window_has_no_backward_transfer() -> None:
    """There is no earlier window."""
    assert np.isnan(retention.backward_transfer(np.array([[1.0]])))


def test_the_matrix_averages_each_windows_questions() -> None:
    """Two questions of window 0, one of window 1, which was not asked after window 0."""
    outcomes = np.array([[1.0, 0.0, NAN], [1.0, 1.0, 0.0]])

    matrix = retention.accuracy_matrix(outcomes, [0, 0, 1])

    assert np.array_equal(matrix, [[0.5, NAN], [1.0, 0.0]], equal_nan=True)


def test_an_interval_of_equal_values_is_a_point() -> None:
    """Every resample has the same mean."""
    values = np.full(6, 0.5)

    assert interval_of(values, [0, 0, 0, 1, 1, 1]) == (0.5, 0.5)


def test_resampling_never_leaves_a_group_without_questions() -> None:
    """The mean of two groups with one question each cannot vary."""
    values = np.array([0.0, 1.0])

    assert interval_of(values, [0, 1]) == (0.5, 0.5)


def test_an_interval_grows_with_the_spread() -> None:
    """Of a fair coin, ten throws: the exact binomial interval is [0.2, 0.8]."""
    values = np.array([0.0, 1.0] * 5)

    low, high = interval_of(values, [0] * 10)

    assert (low, high) == pytest.approx((0.2, 0.8), abs=0.05)
