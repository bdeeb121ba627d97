"""Label by the examples nearest to the question: they vote, and an adapter that learned the task weighs in.

Flow:    evidence -> [labels] -> writing
Imports: types.

Where most of the nearest examples share their responses, the responses are labels, and a small model that is
shown them copies a wrong one more often than the nearest alone would be wrong (docs/decisions.md). So the label is
chosen, not written: the product of two experts (Hinton 2002), the neighbours' vote and the adapter's probability.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from hybrid_memory.types import Hit, Kind

__all__ = ["choose", "probabilities", "vote"]

TEMPERATURE = 0.1
"""Cosine by which a neighbour must be nearer to have e times the weight."""
DOUBT = 0.02
"""Added to every share: the vote of a few neighbours rules nothing out."""


def vote(hits: Sequence[Hit]) -> dict[str, float]:
    """Return the share of each response among like examples, largest first; empty when they are no labels.

    >>> vote([])
    {}
    """
    given = [
        (hit.record.examples[0].response, hit.similarity)
        for hit in hits
        if hit.record.kind is Kind.EXAMPLE and not math.isnan(hit.similarity)  # found by its words only
    ]
    count = Counter(response for response, _ in given)
    if 2 * sum(count[response] > 1 for response, _ in given) <= len(given):
        return {}
    weights: defaultdict[str, float] = defaultdict(float)
    for response, similarity in given:
        weights[response] += math.exp(similarity / TEMPERATURE)
    total = sum(weights.values())
    shares = {response: weight / total for response, weight in weights.items()}
    return dict(sorted(shares.items(), key=lambda share: -share[1]))


def choose(shares: Mapping[str, float], scores: Mapping[str, float], *, trust: float) -> tuple[str, float]:
    """Return the label that neighbours and adapter make likeliest, with its probability.

    Args:
        shares: of the vote, adding up to 1.
        scores: mean log-probability per token of each label, in nats; empty when no adapter has learned the task.
        trust: what a nat of the adapter's counts against one of the vote's.

    >>> choose({"A": 0.6, "B": 0.4}, {}, trust=1.0)[0]
    'A'
    >>> choose({"A": 0.6, "B": 0.4}, {"A": -3.0, "B": -0.1}, trust=1.0)[0]
    'B'
    """
    found = probabilities(shares, scores, trust=trust)
    best = max(found, key=lambda label: found[label])
    return best, found[best]


def probabilities(shares: Mapping[str, float], scores: Mapping[str, float], *, trust: float) -> dict[str, float]:
    """Return each label's probability; the arguments are those of `choose`."""
    logits = {label: math.log(share + DOUBT) + trust * scores.get(label, 0.0) for label, share in shares.items()}
    most = max(logits.values())
    weights = {label: math.exp(logit - most) for label, logit in logits.items()}
    return {label: weight / sum(weights.values()) for label, weight in weights.items()}
