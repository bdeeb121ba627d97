"""Find passages by their words: BM25 over an inverted index in memory, inside a selection.

Flow:    ledger (texts) -> [words] -> retriever
Imports: errors, types, and retrieval.terms, retrieval.word_order, retrieval.selection.

Why not a full-text search in the ledger: FTS5 scores every passage that has any word of the question before it looks
at the selection, 150 ms for 20,000 passages; this takes under 1 ms (benchmarks/retrieval_speed.py).
Most of the postings lie in plain arrays, as they were loaded; what was added since lies in a short list per term
and moves into the arrays when the index is packed.
"""

from __future__ import annotations

import itertools
import math
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from hybrid_memory.errors import IndexMismatchError
from hybrid_memory.retrieval.selection import Selection
from hybrid_memory.retrieval.terms import TermCounter
from hybrid_memory.retrieval.word_order import WordOrder
from hybrid_memory.types import FloatArray, IdArray

__all__ = ["WordIndex"]

K1 = 0.9
B = 0.4
"""BM25's saturation and length normalisation, as Anserini has them."""
MOST_TERMS = 64
"""Terms of a question that are searched for, the rarest and most repeated: a pasted page adds cost, not precision."""
COMMON = 0.1
"""In a large index, terms in more passages than this share are passed over when the question has rarer ones."""
LARGE = 10_000
ADJACENT = 0.3
"""Weight of two words that follow one another in question and passage, beside each of them: "game design" is more
than a game and a design. Tuning half of LIMIT-small, nDCG@10 at 0, 0.2, 0.3, 0.4: 0.985, 0.990, 0.993, 0.993."""
AMONG = 100
"""Best passages by single words among which such pairs are looked for."""
Rows = npt.NDArray[np.int32]


class _Prepared(NamedTuple):
    selection: Selection
    inside: npt.NDArray[np.bool_] | None
    """Whether each row is in the selection; None when all are."""
    lengths: FloatArray
    """BM25's K1 (1 - B + B length / mean length) of each row."""
    begins: IdArray
    """Where the terms of each row begin among all that was said."""


class WordIndex:
    """The words of passages by passage id. Not thread-safe: its owner holds a lock."""

    def __init__(self) -> None:
        self._counter = TermCounter()
        self._order = WordOrder()
        self._take(np.zeros(0, np.int64), np.zeros(0, np.int32), [], np.zeros(1, np.int64), np.zeros((2, 0), np.int32))

    @classmethod
    def read(cls, path: Path) -> WordIndex:
        """Return the index in a file.

        Raises:
            IndexMismatchError: the file is damaged, or none this class wrote.
        """
        index = cls()
        try:
            arrays = load_file(path)
            terms = arrays["terms"].tobytes().decode().split("\n") if arrays["terms"].size else []
            ids, lengths, ends, postings = (arrays[name] for name in ("ids", "lengths", "ends", "postings"))
            index._order = WordOrder(arrays["said"])
        except (OSError, KeyError, UnicodeDecodeError, SafetensorError) as error:
            raise IndexMismatchError(f"{path} is no word index: {error}") from error
        whole = len(ids) == len(lengths) and index._order.said.size == lengths.sum()
        if not whole or len(ends) != len(terms) + 1 or ends[-1] != postings.shape[1]:
            raise IndexMismatchError(f"the word index {path} is incomplete")
        index._take(ids, lengths, terms, ends, postings)
        return index

    def write(self, path: Path) -> None:
        """Pack the index and write it to a file; nothing of a removed passage is in there.

        Raises:
            SafetensorError: the disk is full or the folder is missing.
        """
        self.pack()
        save_file(
            {
                "ids": self._ids[: self._size],
                "lengths": self._lengths[: self._size],
                "terms": np.frombuffer("\n".join(self._numbers).encode(), dtype=np.uint8),
                "ends": self._ends,
                "postings": self._postings,
                "said": self._order.said[: int(self._lengths[: self._size].sum())],
            },
            path,
        )

    def __len__(self) -> int:
        return self._size - len(self._removed)

    @property
    def last_id(self) -> int:
        """The greatest id in here; 0 when there is none."""
        row = self._size - 1
        while row >= 0 and row in self._removed:
            row -= 1
        return int(self._ids[row]) if row >= 0 else 0

    def add(self, ids: Sequence[int], texts: Sequence[str]) -> None:
        """Add the words of passages; ids ascend and are greater than any in here."""
        first = self._size
        self._grow(len(ids))
        self._ids[first : self._size] = ids
        places = self._counter.places(texts)
        for (term, place), same in itertools.groupby(places, key=lambda one: one[:2]):
            rows, counts = self._recent[term]
            rows.append(first + place)
            counts.append(count := sum(1 for _ in same))
            self._lengths[first + place] += count
        self._order.add(places, before=int(self._lengths[:first].sum()))

    def remove(self, ids: Sequence[int]) -> int:
        """Take passages out; return how many were there. Their words go with the next packing."""
        # The last row of an id: some databases give the greatest id out again after it was removed.
        rows = np.searchsorted(self._ids[: self._size], np.asarray(ids, dtype=np.int64), side="right") - 1
        gone = {int(row) for row, key in zip(rows, ids, strict=True) if row >= 0 and self._ids[row] == key}
        gone -= self._removed
        self._removed |= gone
        return len(gone)

    def search(
        self, question: str, *, selection: Selection, top_k: int, also: Sequence[int] = ()
    ) -> list[tuple[int, float]]:
        """Return (id, BM25 score > 0) of the best passages of the selection, best first; fewer when few match.

        Args:
            question: any text.
            selection: the ids that may be found.
            top_k: how many at most, besides `also`.
            also: ids whose scores are wanted in any case; those of them with a score follow the best.
        """
        rows, scores = self._scores(question, selection)
        among, wanted = max(AMONG, top_k), self._places_of(rows, also)
        near = np.ones(rows.size, dtype=bool)
        if rows.size > among:
            # Ties at the edge are broken by id, as everywhere: so all of them stay in until the sort.
            near = scores >= np.partition(scores, rows.size - among)[rows.size - among]
            near[wanted] = True
        scores[near] += self._pairs(question, rows[near])
        candidates = np.flatnonzero(near)
        best = candidates[np.lexsort((candidates, -scores[candidates]))][:top_k]
        # Each once, the best first.
        places = np.fromiter(dict.fromkeys([*best.tolist(), *wanted.tolist()]), dtype=np.int64)
        return list(zip(self._ids[rows[places]].tolist(), scores[places].tolist(), strict=True))

    def share(self, question: str) -> float:
        """Return the share of the question's terms that a search looks for, in (0, 1]: 1 unless it is a whole page."""
        if len(question) < 2 * MOST_TERMS:
            return 1.0
        return min(1.0, MOST_TERMS / max(1, len(self._counter.count([question]))))

    def reach(self, question: str) -> float:
        """Return the score of a passage of mean length that says each term once that a search looks for.

        A term that no passage has counts as the rarest there could be: what is not here is asked for all the same.
        """
        unknown = [
            said * self._rarity(0) for term, said in self._counter.asked(question).items() if not self._idf(term)
        ]
        known = [weight for _, weight in self._asked(question)]
        return sum(sorted([*unknown, *known], reverse=True)[:MOST_TERMS])

    def lacks(self, ids: Sequence[int]) -> list[int]:
        """Return those of the ids that are not in here, in their order."""
        there = self._ids[: self._size]
        if not there.size:
            return list(ids)
        places = np.searchsorted(there, np.asarray(ids, dtype=np.int64)).clip(max=there.size - 1)
        return [key for key, place in zip(ids, places.tolist(), strict=True) if there[place] != key]

    def holds(self, passage_id: int, text: str) -> bool:
        """Tell whether a passage is in here with just as many terms as this text has, each of them its own."""
        counted = self._counter.count([text])
        row = int(np.searchsorted(self._ids[: self._size], passage_id, side="right")) - 1
        length = int(self._lengths[row]) if row >= 0 and self._ids[row] == passage_id else -1
        return length == sum(count for _, _, count in counted) and all(
            bool((self._of(term)[0] == row).any()) for term, _, _ in counted
        )

    def pack(self) -> None:
        """Move everything into plain arrays, and leave out what was removed."""
        if not self._recent and not self._removed:
            return
        terms, ends, postings = self._merged()
        stays = np.ones(self._size, dtype=bool)
        stays[list(self._removed)] = False
        kept = stays[postings[0]]
        ends = _ends(kept)[ends]
        said = np.diff(ends) > 0
        moved = np.cumsum(stays, dtype=np.int32) - 1
        postings = np.stack([moved[postings[0][kept]], postings[1][kept]])
        ids, lengths = self._ids[: self._size][stays], self._lengths[: self._size][stays]
        self._order.keep(np.repeat(stays, self._lengths[: self._size]))
        self._take(ids, lengths, list(itertools.compress(terms, said)), ends[np.append(True, said)], postings)

    # ------------------------------------------------------------ inside

    def _take(self, ids: IdArray, lengths: Rows, terms: Sequence[str], ends: IdArray, postings: Rows) -> None:
        self._ids, self._lengths, self._size = ids, lengths, len(ids)
        self._numbers = {term: number for number, term in enumerate(terms)}
        self._ends, self._postings = ends, postings
        self._recent: defaultdict[str, tuple[array[int], array[int]]] = defaultdict(lambda: (array("i"), array("i")))
        self._removed: set[int] = set()
        self._prepared: _Prepared | None = None

    def _merged(self) -> tuple[list[str], IdArray, Rows]:
        """Return terms, ends and postings with what was added since they were packed.

        Only the terms that were added are gone through one by one: a million passages have hundreds of thousands.
        """
        terms, ends = list(self._numbers), self._ends
        if not self._recent:
            return terms, ends, self._postings
        added = sorted(self._recent)
        sizes = np.asarray([len(self._recent[term][0]) for term in added])
        known = np.asarray([term in self._numbers for term in added])
        place = np.asarray([bisect_left(terms, term) for term in added])
        recent = [self._recent[term] for term in added]
        fresh = [np.concatenate([np.frombuffer(one[part], np.int32) for one in recent]) for part in (0, 1)]
        postings = np.insert(self._postings, np.repeat(ends[place + known], sizes), fresh, axis=1)
        counts = np.diff(ends)
        counts[place[known]] += sizes[known]
        counts = np.insert(counts, place[~known], sizes[~known])
        return sorted({*terms, *added}), _ends(counts), postings

    def _grow(self, count: int) -> None:
        """Make room by doubling: a passage at a time must not copy everything each time."""
        needed = self._size + count
        if needed > len(self._ids):
            room = max(needed, 2 * len(self._ids), 1024)
            ids, lengths = np.zeros(room, dtype=np.int64), np.zeros(room, dtype=np.int32)
            ids[: self._size], lengths[: self._size] = self._ids[: self._size], self._lengths[: self._size]
            self._ids, self._lengths = ids, lengths
        self._size = needed

    def _of(self, term: str) -> npt.NDArray[np.int32]:
        """Return the postings of a term: shape (2, n), rows and counts."""
        number = self._numbers.get(term)
        found = (
            self._postings[:, :0] if number is None else self._postings[:, self._ends[number] : self._ends[number + 1]]
        )
        if term not in self._recent:
            return found
        recent = np.stack([np.frombuffer(part, dtype=np.int32) for part in self._recent[term]])
        return np.concatenate([found, recent], axis=1)

    def _scores(self, question: str, selection: Selection) -> tuple[npt.NDArray[np.int64], FloatArray]:
        """Return the rows of the selection that share a term with the question, and their scores."""
        rows, shares = [np.zeros(0, np.int32)], [np.zeros(0, np.float32)]
        prepared = self._prepare(selection)
        for (row, count), weight in self._asked(question):
            if prepared.inside is not None:
                kept = prepared.inside[row]
                row, count = row[kept], count[kept]
            rows.append(row)
            said = count.astype(np.float32)
            shares.append(np.float32(weight * (K1 + 1)) * said / (said + prepared.lengths[row]))
        every = np.concatenate(rows)
        if not every.size:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        scores = np.bincount(every, weights=np.concatenate(shares), minlength=0)
        if self._removed:
            scores[[row for row in self._removed if row < scores.size]] = 0
        found = np.flatnonzero(scores)
        return found, scores[found].astype(np.float32)

    def _prepare(self, selection: Selection) -> _Prepared:
        """Return what every term of a search needs; made anew when the index or the selection is another one."""
        last = self._prepared
        if last is None or last.selection is not selection or last.lengths.size != self._size:
            lengths = self._lengths[: self._size]
            inside = selection.holds(self._ids[: self._size])
            relative = lengths / max(float(lengths.mean()) if self._size else 0.0, 1e-9)
            last = self._prepared = _Prepared(
                selection,
                None if inside.all() else inside,
                (K1 * (1 - B + B * relative)).astype(np.float32),
                np.cumsum(lengths, dtype=np.int64) - lengths,
            )
        return last

    def _places_of(self, rows: npt.NDArray[np.int64], ids: Sequence[int]) -> npt.NDArray[np.int64]:
        """Return where in `rows`, which ascend, those of the ids stand that are among them."""
        if not rows.size or not len(ids):
            return np.zeros(0, np.int64)
        # The last row of an id: an earlier one of the same id is of a passage that was removed.
        wanted = np.asarray(ids, dtype=np.int64)
        row = np.searchsorted(self._ids[: self._size], wanted, side="right") - 1
        place = np.minimum(np.searchsorted(rows, row), rows.size - 1)
        there = (row >= 0) & (rows[place] == row) & (self._ids[row] == wanted)
        found: npt.NDArray[np.int64] = place[there]
        return found

    def _pairs(self, question: str, rows: npt.NDArray[np.int64]) -> FloatArray:
        """Return what the question's pairs of adjacent terms give to each of the rows."""
        if self._prepared is None or not rows.size:
            return np.zeros(rows.size, dtype=np.float32)
        places = sorted(self._counter.places([question]), key=lambda one: one[2])
        row, count, worth = self._order.adjacent(
            [term for term, _, _ in places],
            rarity=lambda term: self._idf(term) * self._counter.worth(term),
            begins=self._prepared.begins[rows],
            lengths=self._lengths[rows].astype(np.int64),
        )
        shares = ADJACENT * worth * count * (K1 + 1) / (count + self._prepared.lengths[rows[row]])
        return np.bincount(row, weights=shares, minlength=rows.size).astype(np.float32)

    def _idf(self, term: str) -> float:
        """Return how rare a term is; 0 for one that no passage has."""
        count = self._of(term).shape[1]
        return self._rarity(count) if count else 0.0

    def _rarity(self, count: int) -> float:
        """Return BM25's idf, never negative, of a term in so many passages."""
        return math.log1p((self._size - count + 0.5) / (count + 0.5))

    def _asked(self, question: str) -> list[tuple[npt.NDArray[np.int32], float]]:
        """Return the postings of the terms that are searched for, each with its weight, the greatest first."""
        found = [
            (postings, said * self._rarity(postings.shape[1]))
            for term, said in self._counter.asked(question).items()
            if (postings := self._of(term)).size
        ]
        rare = [(postings, weight) for postings, weight in found if postings.shape[1] <= COMMON * self._size]
        asked = rare if rare and self._size >= LARGE else found
        return sorted(asked, key=lambda pair: -pair[1])[:MOST_TERMS]


def _ends(counts: npt.NDArray[Any]) -> IdArray:
    """Return where each of some runs ends, behind a 0."""
    return np.append(0, np.cumsum(counts, dtype=np.int64))
