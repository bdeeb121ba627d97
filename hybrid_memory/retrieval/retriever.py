"""Find the passages for a question: by meaning and by words, fused, inside what the question may see.

Flow:    selection (what may be seen) -> mirror (meaning, words) -> [search] -> answering
Imports: errors, types, protocols, and the modules beside it.

The ledger says which passages a question may see *before* anything is searched.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hybrid_memory.errors import InputError
from hybrid_memory.protocols import Encoder, Filters, Ledger, Progress
from hybrid_memory.retrieval.beside import numbers, runs
from hybrid_memory.retrieval.embedded import Embedded, forget_embedded
from hybrid_memory.retrieval.encoder import unit_rows
from hybrid_memory.retrieval.fusion import normalised, weighted_sum
from hybrid_memory.retrieval.index import Kind
from hybrid_memory.retrieval.mirror import ENCODER, UNFINISHED, Mirror, require_encoder
from hybrid_memory.retrieval.ranking import Ranking, most_different
from hybrid_memory.retrieval.rerank import Reranker
from hybrid_memory.retrieval.selection import Selection, Selections
from hybrid_memory.retrieval.store_state import left_behind
from hybrid_memory.retrieval.word_mirror import WordMirror
from hybrid_memory.types import FloatArray, Hit, Scope

if TYPE_CHECKING:
    from hybrid_memory.retrieval.vector_store import VectorStoreMirror

__all__ = ["HybridRetriever"]

OFF = Ranking()
WORDS = "words"
"""The folder of the word index, beside that of the vectors."""
ALIKE = 0.3
"""Cosines of candidates that all lie within this are not stretched to [0, 1]: in a list of likes every line is as
near as the next. Tuning half of LIMIT-small, nDCG@10: 0.991 -> 0.993; elsewhere they spread 0.27 to 0.7."""
CHANCE = 0.2
"""Share of a question's words, by rarity, that some passage or other says by chance: up to it words give nothing, and
the best passage has their full weight from twice as much on. At 0.15, 0.2, 0.25, nDCG@10 of the development company
0.771, 0.816, 0.838 and of tuning halves: LoCoMo 0.587, 0.585, 0.580, FeedbackQA 0.684, 0.687, 0.681, tau2_banking
0.369, 0.368, 0.357, SciFact (5,926 passages) 0.801, 0.802, 0.801, LIMIT-small 0.993 each time."""


class HybridRetriever:
    """Dense and lexical search over one ledger; obeys `protocols.Retriever`.

    One process may write and search from several threads: a lock guards the indexes.

    Args:
        ledger: says what may be seen, and keeps texts and vectors.
        encoder: made the vectors; its fingerprint is compared with the ledger's.
        folder: where snapshots lie, in one folder per encoder.
        candidates: how many each of dense and lexical search give to the fusion.
        dense_weight: weight of the cosine, scaled to [0, 1] over the candidates; 0 switches search by meaning off.
        lexical_weight: weight of BM25, scaled likewise; 0 switches search by words off.
        large: what a large index becomes: "ivf", "hnsw", or "flat" for exact search at any size.
        large_from: number of vectors from which an index is large.
        ranking: weights of time, age and trust, and how different the hits shall be; all off by default.
        reranker: reads the best `rerank_top` again; None does not.
        rerank_top: how many that are.
        vector_store: a LlamaIndex vector store to search in instead of FAISS.
        for_reindex: accept a ledger with another encoder's vectors; only `reindex` works then.

    Raises:
        IndexMismatchError: the ledger's vectors were made by another encoder.
    """

    def __init__(
        self,
        ledger: Ledger,
        encoder: Encoder,
        folder: Path,
        *,
        candidates: int = 50,
        dense_weight: float = 1.0,
        lexical_weight: float = 1.25,
        large: Kind = "ivf",
        large_from: int = 200_000,
        ranking: Ranking = OFF,
        reranker: Reranker | None = None,
        rerank_top: int = 20,
        vector_store: object | None = None,
        for_reindex: bool = False,
    ) -> None:
        self._ledger = ledger
        self._folder = folder
        self._candidates = candidates
        self._weights = {"dense": dense_weight, "lexical": lexical_weight}
        self._ranking = ranking
        self._reranker = reranker
        self._rerank_top = rerank_top
        self._selections = Selections(ledger)
        self._words = WordMirror(ledger, folder.with_name(WORDS))
        self._clock = -1
        self._dense: Mirror | VectorStoreMirror
        if vector_store is None:
            self._dense = Mirror(ledger, folder, encoder=encoder.fingerprint, large=large, large_from=large_from)
        else:
            from hybrid_memory.retrieval.vector_store import VectorStoreMirror  # loads llama_index: 1 s

            self._dense = VectorStoreMirror(ledger, folder, vector_store, encoder=encoder.fingerprint)
        if not for_reindex:
            self._dense.require_same_encoder()

    def search(
        self,
        question: str,
        *,
        vector: FloatArray,
        scope: Scope,
        top_k: int,
        filters: Filters | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        explain: bool = False,
    ) -> list[Hit]:
        """Return the best `top_k` hits that the question may see, best first; one passage per record.

        Args:
            question: its words, for the lexical search.
            vector: its embedding, shape (dim,) or (1, dim); need not be unit length.
            scope: who asks.
            top_k: how many at most, 1 or more.
            filters: further conditions on the records.
            as_of: as things stood then; None is now.
            known_at: by what had been recorded then; None is now.
            explain: say in each hit's `explanation` where its score came from.

        Raises:
            InputError: `top_k` is less than 1.
            IndexMismatchError: the vector does not fit the index.
        """
        if top_k < 1:
            raise InputError(f"top_k must be 1 or more, got {top_k}")
        with self._ledger.one_moment():
            return self._search(question, vector, scope, top_k, filters, as_of, known_at, explain=explain)

    def _search(
        self,
        question: str,
        vector: FloatArray,
        scope: Scope,
        top_k: int,
        filters: Filters | None,
        as_of: datetime | None,
        known_at: datetime | None,
        *,
        explain: bool,
    ) -> list[Hit]:
        clock, stored = self._ledger.moment(ENCODER)
        require_encoder(stored, self._dense.encoder)
        # The selection comes before the index catches up: whatever it names is then in the index.
        selection, clock = self._selections.get(
            scope=scope, filters=filters, as_of=as_of, known_at=known_at, clock=clock
        )
        self._follow(clock)
        if selection.size == 0:
            return []
        similarity, words = self._scored(question, vector, selection, max(self._candidates, top_k))
        parts = self._parts(question, similarity, words)
        if self._ranking.needs_records:
            ids = list(weighted_sum(parts))
            records = {passage.id: record for passage, record in self._ledger.passages(ids, known_at=known_at)}
            parts |= self._ranking.parts(question, records, now=as_of or known_at or datetime.now(UTC))
        if self._reranker is not None:
            parts["rerank"] = self._read_again(question, parts, self._reranker)
        hits = self._hits(parts, similarity, self._ordered(parts), top_k, known_at)
        if not explain:
            return hits
        asked = self._asked(question)
        return [replace(hit, explanation=_explained(hit, words.get(hit.passage.id, 0.0), asked)) for hit in hits]

    def around(
        self,
        hits: Sequence[Hit],
        *,
        count: int,
        scope: Scope,
        filters: Filters | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
    ) -> list[tuple[Hit, ...]]:
        """Return the hits with the parts of their documents before and after them, of those the question may see.

        All are read with one query; hits that are whole texts cost none.

        Args:
            hits: what `search` found, best first.
            count: how many parts before each hit, and after it; 0 or more.
            scope: who asks; likewise filters and as_of, as for `search`.
            filters: further conditions, which neighbours meet too.
            as_of: as things stood then; None is now.
            known_at: by what had been recorded then; None is now.

        Returns:
            Stretches of documents, that of the best hit first, each in the order of its document. A hit without
            neighbours is a stretch of its own; what was not found itself names the hit it stands beside.
        """
        later = [hit.passage.id for hit in hits if hit.passage.position]
        first = self._ledger.first_passages(later) if count and later else {}
        ids = np.asarray(numbers(hits, count, first), dtype=np.int64)
        if not ids.size:
            return runs(hits, (), count, first)
        with self._ledger.one_moment():
            selection, _ = self._selections.get(
                scope=scope, filters=filters, as_of=as_of, known_at=known_at, clock=self._ledger.clock()
            )
            near = self._ledger.passages(ids[selection.holds(ids)].tolist(), known_at=known_at)
        return runs(hits, near, count, first)

    def require_same_encoder(self) -> None:
        """Raise IndexMismatchError when the ledger's vectors were made by another encoder; one short query."""
        self._dense.require_same_encoder()

    def catch_up(self) -> int:
        """Take in what the ledger has and the index lacks; return how many passages that was."""
        with self._ledger.one_moment():
            new = self._dense.catch_up()
            self._words.catch_up()
        return new

    def reindex(self, encoder: Encoder, progress: Progress | None = None) -> int:
        """Embed every passage again with `encoder` and swap the index; return how many.

        Until all is embedded, other processes search and write as before, with the encoder they have. A process that
        is killed leaves what it has embedded on disk; the next call goes on from there. While the ledger then takes
        the vectors over, a page at a time, searches and writes are refused; a crash inside that leaves a memory that
        opens again after another `reindex`.
        """
        embedded = Embedded(self._folder, encoder)
        try:
            embedded.fill(self._ledger, progress)
            # The ledger refuses vectors of the former encoder from here on; what came in until now is still to do.
            self._ledger.set_meta(ENCODER, UNFINISHED + encoder.fingerprint)
            embedded.fill(self._ledger, progress)
            count = self._dense.replace(embedded.pages(), encoder=encoder.fingerprint)
        except BaseException:
            embedded.close()
            raise
        embedded.close(delete=True)
        return count

    def save(self) -> None:
        """Write the snapshot aside and rename it into place; does nothing when little is new and nothing removed.

        Call it after forgetting: until then the files on disk still have the vectors and words. What another process
        has forgotten is never written back.

        Raises:
            LedgerError: the disk is full or the folder cannot be written.
            IndexMismatchError: another process has changed the encoder; nothing was written.
        """
        self._dense.save()
        self._words.save()
        forget_embedded(self._folder, self._ledger, served=self._ledger.meta(ENCODER) or "")

    def check(self) -> list[str]:
        """Return what is wrong with index and snapshot, one sentence each; reads every stored vector."""
        return self._dense.check() + self._words.check() + left_behind(self._ledger, self._folder)

    def _follow(self, clock: int) -> None:
        """Catch up when anything has happened in the ledger since the last time."""
        if clock > self._clock:
            self.catch_up()
            # The clock was read first: what arrived while the rest was read is looked for again next time.
            self._clock = clock

    def _scored(
        self, question: str, vector: FloatArray, selection: Selection, wanted: int
    ) -> tuple[dict[int, float], dict[int, float]]:
        """Return cosine and BM25 of the candidates: what one search found, the other scores as well."""
        similarity: dict[int, float] = {}
        words: dict[int, float] = {}
        if self._weights["dense"]:
            similarity = self._by_meaning(vector, selection, wanted)
        if self._weights["lexical"]:
            words = dict(self._words.search(question, selection=selection, top_k=wanted, also=list(similarity)))
        if self._weights["dense"]:
            similarity |= self._dense.similarities(vector, [key for key in words if key not in similarity])
        return similarity, words

    def _by_meaning(self, vector: FloatArray, selection: Selection, wanted: int) -> dict[int, float]:
        """Return the cosine of the nearest passages: that of its nearest sentence, if that is nearer than itself."""
        # Sentences have rows of their own, and words none: so many rows there are, on average, to a passage.
        rows = math.ceil(wanted * len(self._dense) / max(1, len(self._words)))
        found = self._dense.search(vector, selection=selection, top_k=rows)
        sentences = self._words.lacks([key for key, _ in found])
        whole = self._ledger.first_passages(sentences) if sentences else {}
        nearest: dict[int, float] = {}
        for key, similarity in found:
            nearest.setdefault(whole.get(key, key), similarity)
        return dict(itertools.islice(nearest.items(), wanted))

    def _parts(
        self, question: str, similarity: Mapping[int, float], words: Mapping[int, float]
    ) -> dict[str, dict[int, float]]:
        """Return what meaning and words give: each its weight to its best, unless its best tells little."""
        chance = CHANCE * self._asked(question) if words else 0.0
        # Of a pasted page most words are beside the point: what is not searched for does not weigh either.
        weight = self._weights["lexical"] * self._words.share(question)
        return {
            "dense": _weighted(normalised(similarity, width=ALIKE), self._weights["dense"]),
            "lexical": _weighted(normalised(words, least=chance, width=chance), weight),
        }

    def _asked(self, question: str) -> float:
        """Return the BM25 of a passage that says all that is searched for."""
        return self._words.share(question) * self._words.reach(question)

    def _read_again(
        self, question: str, parts: Mapping[str, Mapping[int, float]], reranker: Reranker
    ) -> dict[int, float]:
        """Return what the reranker gives: enough that the best it has read stand above all others, in its order."""
        fused = weighted_sum(parts)
        best = [passage for passage, _ in self._ledger.passages(list(fused)[: self._rerank_top])]
        read = reranker.score(question, [one.text for one in best])
        scores = normalised({one.id: score for one, score in zip(best, read, strict=True)})
        top = max(fused.values(), default=0.0)
        return {key: top + score - fused[key] for key, score in scores.items()}

    def _ordered(self, parts: Mapping[str, Mapping[int, float]]) -> dict[int, float]:
        """Return id -> fused score in the order in which they are given back."""
        fused = weighted_sum(parts)
        if not self._ranking.diversity:
            return fused
        there, vectors = self._ledger.vectors(list(fused))
        order = most_different(there, fused, unit_rows(vectors), diversity=self._ranking.diversity)
        return {key: fused[key] for key in order}

    def _hits(
        self,
        parts: Mapping[str, Mapping[int, float]],
        similarity: Mapping[int, float],
        fused: Mapping[int, float],
        top_k: int,
        known_at: datetime | None,
    ) -> list[Hit]:
        ids = list(fused)
        hits: dict[str, Hit] = {}
        for start in range(0, len(ids), top_k):
            for passage, record in self._ledger.passages(ids[start : start + top_k], known_at=known_at):
                hit = Hit(
                    record=record,
                    passage=passage,
                    score=fused[passage.id],
                    similarity=similarity.get(passage.id, float("nan")),
                    scores={name: shares[passage.id] for name, shares in parts.items() if passage.id in shares},
                )
                hits.setdefault(record.id, hit)
            if len(hits) >= top_k:
                break
        return list(hits.values())[:top_k]


def _weighted(scores: Mapping[int, float], weight: float) -> dict[int, float]:
    return {key: weight * score for key, score in scores.items()}


def _explained(hit: Hit, words: float, asked: float) -> tuple[str, ...]:
    """Return one sentence per part of the score, in the order in which they are added.

    Args:
        hit: what was found.
        words: its BM25.
        asked: the BM25 of a passage that says the whole question.
    """
    meaning = {
        "dense": f"meaning, cosine {hit.similarity:.3f}",
        "lexical": f"words, BM25 {words:.2f} of the question's {asked:.2f}",
        "recency": f"age, valid from {hit.record.valid_from:%Y-%m-%d}",
        "trust": f"trust, {hit.record.trust.value}",
        "time": "began in the time the question names",
        "rerank": "read again with the question",
    }
    return tuple(f"{share:+.3f} {meaning[name]}" for name, share in hit.scores.items())
