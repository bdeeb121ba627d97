"""What routing errors cost, computed from the measured shares: no stream is run here.

Flow:     shares learned per kind of text, costs of the policy -> expected errors and cost per 1,000 records
Imports:  hybrid_memory (the policy's costs)
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.routing_sets import Row
from hybrid_memory.routing.policy_tables import Costs

__all__ = ["expected_costs"]

RECORDS = 1000
CONTROLS = {"nothing is learned": 0.0, "everything is learned": 1.0}


def expected_costs(learned: Mapping[str, float], costs: Costs) -> dict[str, Row]:
    """Return what to expect of 1,000 records of which a third each is volatile, behaviour-shaping and a stable fact.

    A volatile record that is learned gives a stale answer out of the weights once its value has changed, unless the
    ledger masks it (values in slots): the number is an upper bound. Behaviour that is not learned has to be found by
    retrieval each time. A stable fact that is not learned is retrieved all the same.

    Args:
        learned: share of the volatile, behaviour and stable texts that reach the weights, in [0, 1].
        costs: of the policy, per wrong record; only the ratios mean something.
    """
    shares = {name: dict.fromkeys(learned, share) for name, share in CONTROLS.items()} | {"routed": dict(learned)}
    return {name: _expected(row, costs) for name, row in shares.items()}


def _expected(learned: Mapping[str, float], costs: Costs) -> Row:
    each = RECORDS / 3
    stale = each * learned["volatile"]
    behaviour, fact = (each * (1 - learned[kind]) for kind in ("behaviour", "stable"))
    return {
        "stale": round(stale, 1),
        "lost_behaviour": round(behaviour, 1),
        "fact_retrieved": round(fact, 1),
        "cost": round(stale * costs.stale + behaviour * costs.lost_behaviour + fact * costs.lost_fact),
    }
