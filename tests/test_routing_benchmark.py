"""The routing benchmark's own arithmetic, worked out by hand."""

from __future__ import annotations

import pytest

from benchmarks.routing_costs import expected_costs
from hybrid_memory.routing.policy_tables import Costs


def test_errors_are_counted_per_thousand_records_of_three_kinds() -> None:
    """3 % of a third of 1,000 is 10 stale records; 20 % of the behaviour lost are 66.7; half of the facts 166.7."""
    costs = Costs(stale=9, lost_behaviour=6, lost_fact=0.5)

    routed = expected_costs({"volatile": 0.03, "behaviour": 0.8, "stable": 0.5}, costs)["routed"]

    assert routed == {"stale": 10.0, "lost_behaviour": 66.7, "fact_retrieved": 166.7, "cost": pytest.approx(573, abs=1)}


def test_the_controls_make_one_kind_of_error_only() -> None:
    """Who learns nothing is never stale; who learns everything loses nothing."""
    expected = expected_costs({"volatile": 0.0, "behaviour": 1.0, "stable": 1.0}, Costs())

    assert expected["nothing is learned"]["stale"] == 0
    assert expected["everything is learned"]["lost_behaviour"] == 0
    assert expected["everything is learned"]["stale"] == pytest.approx(333.3)
    assert expected["routed"]["cost"] == 0
