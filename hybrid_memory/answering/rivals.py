"""Let the better vouched-for of two records speak that say the same and differ in a value.

A rumour about a fact is worded like the fact, so nothing in its score tells the two apart.

Flow:    evidence -> [rivals] -> evidence
Imports: types.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from hybrid_memory.types import Hit, Trust

__all__ = ["trusted_first", "with_rivals"]

ALIKE = 0.6
"""Share of the words of both texts that they have in common, from which on two records are about the same thing."""
STANDING = {Trust.OPERATOR: 2, Trust.USER: 1, Trust.EXTERNAL: 0}


def trusted_first(question: str, hits: Sequence[Hit]) -> tuple[Hit, ...]:
    """Return the hits with each record behind those that contradict it and are better vouched for.

    Two records contradict each other when they share most of their words and the question names none of the words
    in which they differ: "The ferry leaves at nine." and "The ferry leaves at six." for "When does the ferry leave?".
    """
    order: list[Hit] = []
    for hit in hits:
        place = next((place for place, other in enumerate(order) if _yields(question, other, hit)), len(order))
        order.insert(place, hit)
    return tuple(order)


def with_rivals(question: str, hits: Sequence[Hit], found: Sequence[Hit]) -> list[Hit]:
    """Return the hits with those of `found` that contradict one of them and are better vouched for.

    What is said otherwise must not be hidden because it is a little further from the question.

    Args:
        question: as it was asked.
        hits: those that are near enough.
        found: all that were found, in their order.
    """
    near = {id(hit) for hit in hits}
    return [hit for hit in found if id(hit) in near or any(_yields(question, one, hit) for one in hits)]


def _yields(question: str, hit: Hit, other: Hit) -> bool:
    """Tell whether `hit` gives way to `other`."""
    if STANDING[hit.record.trust] >= STANDING[other.record.trust]:
        return False
    ours, theirs = _words(hit.text), _words(other.text)
    differ = ours ^ theirs
    return len(ours & theirs) >= ALIKE * len(ours | theirs) and not differ & _words(question)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))
