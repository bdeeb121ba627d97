"""Turn scores of different units into one.

Flow:    index (cosine) + words (BM25) -> [fuse] -> retriever
Imports: nothing of this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

__all__ = ["normalised", "weighted_sum"]

Item = TypeVar("Item")


def normalised(scores: Mapping[Item, float], *, least: float | None = None, width: float = 0.0) -> dict[Item, float]:
    """Scale scores to [0, 1]: the least to 0, the greatest to 1; all 0 when they are all alike.

    Scores that lie closer together than `width` are not stretched so far: their differences say little.

    Source: Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", TOIS 2023: a convex
    combination of scores scaled like this beats reciprocal rank fusion, in and out of domain.

    Args:
        scores: item -> score, any unit.
        least: the score that becomes 0, and all below it with it; None takes the least there is.
        width: the least distance from there that becomes 1, in the unit of the scores.

    >>> normalised({"a": 3.0, "b": 1.0, "c": 2.0})
    {'a': 1.0, 'b': 0.0, 'c': 0.5}
    >>> normalised({"a": 3.0, "b": 1.0, "c": 2.0}, width=4.0)
    {'a': 0.5, 'b': 0.0, 'c': 0.25}
    >>> normalised({"a": 3.0, "b": 1.0, "c": 2.0}, least=2.0)
    {'a': 1.0, 'b': 0.0, 'c': 0.0}
    """
    if not scores:
        return {}
    low = min(scores.values()) if least is None else least
    span = max(max(scores.values()) - low, width)
    return {item: max(score - low, 0.0) / span if span > 0 else 0.0 for item, score in scores.items()}


def weighted_sum(parts: Mapping[str, Mapping[Item, float]]) -> dict[Item, float]:
    """Add up what each part gives to each item; highest first, ties in the order of the items.

    >>> weighted_sum({"dense": {"a": 0.2, "b": 0.5}, "lexical": {"a": 0.4}})
    {'a': 0.6000000000000001, 'b': 0.5}
    """
    total: dict[Item, float] = {}
    for shares in parts.values():
        for item, share in shares.items():
            total[item] = total.get(item, 0.0) + share
    return dict(sorted(total.items(), key=lambda pair: -pair[1]))
