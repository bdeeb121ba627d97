"""Turn several rankings into one.

Flow:    index (dense) + ledger (lexical) -> [fuse] -> retriever
Imports: nothing of this package.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import TypeVar

__all__ = ["rank_contributions", "reciprocal_rank_fusion"]

Item = TypeVar("Item", bound=Hashable)


def reciprocal_rank_fusion(
    rankings: Sequence[Sequence[Item]], *, k: int = 60, weights: Sequence[float] | None = None
) -> dict[Item, float]:
    """Score each id by the sum over lists of weight / (k + rank), rank starting at 1.

    Source: Cormack, Clarke and Buettcher, SIGIR 2009; k = 60 is their value.
    Uses ranks only, so lists whose scores have different units may be mixed.

    Args:
        rankings: ids, best first, one sequence per source. Unit: none.
        k: damping; larger k flattens the advantage of the first places.
        weights: one per ranking, 0 or more; None counts all alike (1.0).

    Returns:
        id -> fused score in (0, sum(weights) / (k + 1)], highest first; ties keep the order of the rankings.

    Raises:
        ValueError: k or a weight is negative, or there are not as many weights as rankings.

    >>> fused = reciprocal_rank_fusion([["a", "b"], ["b", "c"]])
    >>> list(fused)
    ['b', 'a', 'c']
    """
    if k < 0:
        raise ValueError(f"k must be 0 or more, got {k}")
    used = [1.0] * len(rankings) if weights is None else list(weights)
    if len(used) != len(rankings) or any(weight < 0 for weight in used):
        raise ValueError(f"give one weight of 0 or more per ranking; got weights {used} for {len(rankings)} rankings")
    scores: defaultdict[Item, float] = defaultdict(float)
    for ranking, weight in zip(rankings, used, strict=True):
        for item, share in rank_contributions(ranking, k=k, weight=weight).items():
            scores[item] += share
    return dict(sorted(scores.items(), key=lambda pair: -pair[1]))


def rank_contributions(ranking: Sequence[Item], *, k: int, weight: float) -> dict[Item, float]:
    """Return what one ranking adds to each of its ids: weight / (k + rank); nothing when the weight is 0.

    >>> rank_contributions(["a", "b"], k=0, weight=3.0)
    {'a': 3.0, 'b': 1.5}
    """
    if weight == 0:
        return {}
    return {item: weight / (k + rank) for rank, item in enumerate(ranking, start=1)}
