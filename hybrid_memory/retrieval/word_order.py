"""In what order passages say their words, and what it is worth that two of them stand side by side.

Flow:    terms with their places -> [WordOrder] -> words
Imports: types.

"Game design" is more than a game here and a design there: pairs of adjacent terms count beside the single ones, as in
the sequential dependence model (Metzler and Croft, SIGIR 2005). Terms are kept as 32-bit hashes, four bytes each.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from hybrid_memory.types import FloatArray, IdArray

__all__ = ["WordOrder"]

MOST_PAIRS = 256
"""Pairs of a question that are looked for."""


class WordOrder:
    """The terms of all passages, one passage after the other; which terms are whose, the caller knows.

    Args:
        said: hashes of terms, uint32; room behind the last one is harmless.
    """

    def __init__(self, said: npt.NDArray[np.uint32] | None = None) -> None:
        self.said = np.zeros(0, dtype=np.uint32) if said is None else said

    def add(self, places: Sequence[tuple[str, int, int]], *, before: int) -> None:
        """Add texts behind the `before` terms that are there.

        Args:
            places: (term, place of the text, place in the text) for every term said, in any order.
            before: how many terms were added so far.
        """
        needed = before + len(places)
        if needed > self.said.size:
            said = np.zeros(max(needed, 2 * self.said.size), dtype=np.uint32)
            said[:before] = self.said[:before]
            self.said = said
        hashes = np.fromiter((_hash(term) for term, _, _ in places), dtype=np.uint32, count=len(places))
        order = np.lexsort(([offset for _, _, offset in places], [place for _, place, _ in places]))
        self.said[before:needed] = hashes[order]

    def keep(self, stays: npt.NDArray[np.bool_]) -> None:
        """Leave out the terms for which `stays` is False."""
        self.said = self.said[: stays.size][stays]

    def adjacent(
        self, terms: Sequence[str], *, rarity: Callable[[str], float], begins: IdArray, lengths: IdArray
    ) -> tuple[IdArray, IdArray, FloatArray]:
        """Look for pairs of adjacent terms of a question in some passages.

        Args:
            terms: the question's, in its order.
            rarity: how much a term is worth; of a pair the commoner term decides.
            begins: where the terms of each passage begin, shape (n,).
            lengths: how many there are, shape (n,).

        Returns:
            One row per pair and passage that has it: place of the passage, how often, worth of the pair.
        """
        worth = {_pair(one, other): min(rarity(one), rarity(other)) for one, other in itertools.pairwise(terms)}
        pairs = np.sort(np.fromiter(worth, dtype=np.uint64))[:MOST_PAIRS]
        owner = np.repeat(np.arange(lengths.size), lengths)
        if not pairs.size or not owner.size:
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
        said = self.said[np.arange(owner.size) + np.repeat(begins - np.cumsum(lengths) + lengths, lengths)]
        follows = (said[:-1].astype(np.uint64) << np.uint64(32)) | said[1:]
        place = np.minimum(np.searchsorted(pairs, follows), pairs.size - 1)
        met = (pairs[place] == follows) & (owner[:-1] == owner[1:])
        keys, counts = np.unique(owner[:-1][met] * pairs.size + place[met], return_counts=True)
        values = np.asarray([worth[int(pair)] for pair in pairs], dtype=np.float32)
        return keys // pairs.size, counts, values[keys % pairs.size]


def _hash(term: str) -> int:
    return zlib.crc32(term.encode())


def _pair(one: str, other: str) -> int:
    return _hash(one) << 32 | _hash(other)
