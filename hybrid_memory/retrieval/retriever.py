"""Find the passages for a question: by meaning and by words, fused, inside what the question may see.

Flow:    ledger (selection, words) + mirror (meaning) -> [search] -> answering
Imports: errors, types, protocols, and the modules beside it.

The ledger says which passages a question may see *before* anything is searched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hybrid_memory.errors import InputError
from hybrid_memory.protocols import Encoder, Filters, Ledger, Progress
from hybrid_memory.retrieval.encoder import unit_rows
from hybrid_memory.retrieval.fusion import rank_contributions, reciprocal_rank_fusion
from hybrid_memory.retrieval.mirror import Mirror, pages
from hybrid_memory.retrieval.store_state import left_behind
from hybrid_memory.types import FloatArray, Hit, IdArray, Scope

if TYPE_CHECKING:
    from hybrid_memory.retrieval.vector_store import VectorStoreMirror

__all__ = ["HybridRetriever"]

BATCH = 512
"""Passages embedded at a time, so that progress is seen and lengths can be sorted."""


class HybridRetriever:
    """Dense and lexical search over one ledger; obeys `protocols.Retriever`.

    One process may write and search from several threads: a lock guards the index.

    Args:
        ledger: says what may be seen, searches by words, and keeps the vectors.
        encoder: made the vectors; its fingerprint is compared with the ledger's.
        folder: where snapshots lie, in one folder per encoder.
        candidates: how many each of dense and lexical search give to the fusion.
        rrf_k: damping of reciprocal rank fusion. Measured: at 5 LoCoMo evidence recall@10 is 0.632 and SciFact
            nDCG@10 (1,500 abstracts) 0.812, at the usual 60 they are 0.573 and 0.798.
        dense_weight: weight of the ranking by meaning; 0 switches it off.
        lexical_weight: weight of the ranking by words; 0 switches it off.
        hnsw_from: number of vectors from which the index is approximate.
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
        rrf_k: int = 5,
        dense_weight: float = 1.0,
        lexical_weight: float = 1.0,
        hnsw_from: int = 200_000,
        vector_store: object | None = None,
        for_reindex: bool = False,
    ) -> None:
        self._ledger = ledger
        self._folder = folder
        self._candidates = candidates
        self._rrf_k = rrf_k
        self._weights = {"dense": dense_weight, "lexical": lexical_weight}
        self._mirror = _mirror(ledger, folder, vector_store, encoder=encoder.fingerprint, hnsw_from=hnsw_from)
        if not for_reindex:
            self._mirror.require_same_encoder()

    def search(
        self,
        question: str,
        *,
        vector: FloatArray,
        scope: Scope,
        top_k: int,
        filters: Filters | None = None,
        as_of: datetime | None = None,
    ) -> list[Hit]:
        """Return the best `top_k` hits that the question may see, best first; one passage per record.

        Args:
            question: its words, for the lexical search.
            vector: its embedding, shape (dim,) or (1, dim); need not be unit length.
            scope: who asks.
            top_k: how many at most, 1 or more.
            filters: further conditions on the records.
            as_of: as things stood then; None is now.

        Raises:
            InputError: `top_k` is less than 1.
            IndexMismatchError: the vector does not fit the index.
        """
        if top_k < 1:
            raise InputError(f"top_k must be 1 or more, got {top_k}")
        # The selection comes before the index catches up: whatever it names is then in the index.
        selection = self._ledger.visible(scope=scope, filters=filters, as_of=as_of)
        if selection.size == 0:
            return []
        wanted = max(self._candidates, top_k)
        similarity: dict[int, float] = {}
        words: list[tuple[int, float]] = []
        if self._weights["dense"]:
            similarity = dict(self._mirror.search(vector, selection=selection, top_k=wanted))
        if self._weights["lexical"]:
            words = self._ledger.lexical(question, scope=scope, limit=wanted, filters=filters, as_of=as_of)
        return self._hits({"dense": list(similarity), "lexical": _inside(words, selection)}, similarity, top_k)

    def require_same_encoder(self) -> None:
        """Raise IndexMismatchError when the ledger's vectors were made by another encoder; one short query."""
        self._mirror.require_same_encoder()

    def catch_up(self) -> int:
        """Take in what the ledger has and the index lacks; return how many passages that was."""
        return self._mirror.catch_up()

    def reindex(self, encoder: Encoder, progress: Progress | None = None) -> int:
        """Embed every passage again with `encoder` and swap the index; return how many.

        Searches are answered from the old index until the new one is complete. The new vectors
        are kept in memory (1.5 kB per passage at 384 dimensions) and stored in one ledger write;
        a crash inside that write leaves a memory that opens again after another `reindex`.
        """
        since, _ = self._ledger.removals_after(0)
        ids: list[int] = []
        parts = [np.zeros((0, encoder.dim), dtype=np.float32)]
        # Once more from the last one, until nothing has arrived in the meantime.
        after = 0
        while new := [one for page, _ in pages(self._ledger, after=after) for one in page]:
            after = new[-1]
            for start in range(0, len(new), BATCH):
                passages = [passage for passage, _ in self._ledger.passages(new[start : start + BATCH])]
                ids.extend(passage.id for passage in passages)
                if passages:
                    parts.append(unit_rows(encoder.encode([passage.text for passage in passages])))
                if progress is not None:
                    progress("reindex", min(start + BATCH, len(new)), len(new))
        vectors = np.concatenate(parts)
        return self._mirror.replace(np.asarray(ids, dtype=np.int64), vectors, encoder=encoder.fingerprint, since=since)

    def save(self) -> None:
        """Write the snapshot aside and rename it into place; does nothing when nothing has changed.

        Call it after forgetting: until then the file on disk still has the vectors.

        Raises:
            LedgerError: the disk is full or the folder cannot be written.
        """
        self._mirror.save()

    def check(self) -> list[str]:
        """Return what is wrong with index and snapshot, one sentence each; reads every stored vector."""
        return self._mirror.check() + left_behind(self._ledger, self._folder)

    def _hits(self, rankings: Mapping[str, Sequence[int]], similarity: Mapping[int, float], top_k: int) -> list[Hit]:
        weights = [self._weights[name] for name in rankings]
        fused = reciprocal_rank_fusion(list(rankings.values()), k=self._rrf_k, weights=weights)
        shares = {
            name: rank_contributions(ranking, k=self._rrf_k, weight=self._weights[name])
            for name, ranking in rankings.items()
        }
        ids = list(fused)
        hits: dict[str, Hit] = {}
        for start in range(0, len(ids), top_k):
            for passage, record in self._ledger.passages(ids[start : start + top_k]):
                hit = Hit(
                    record=record,
                    passage=passage,
                    score=fused[passage.id],
                    similarity=similarity.get(passage.id, float("nan")),
                    scores={name: share[passage.id] for name, share in shares.items() if passage.id in share},
                )
                hits.setdefault(record.id, hit)
            if len(hits) >= top_k:
                break
        return list(hits.values())[:top_k]


def _mirror(
    ledger: Ledger, folder: Path, vector_store: object | None, *, encoder: str, hnsw_from: int
) -> Mirror | VectorStoreMirror:
    if vector_store is None:
        return Mirror(ledger, folder, encoder=encoder, hnsw_from=hnsw_from)
    from hybrid_memory.retrieval.vector_store import VectorStoreMirror  # loads llama_index: 1 s

    return VectorStoreMirror(ledger, folder, vector_store, encoder=encoder)


def _inside(words: Sequence[tuple[int, float]], selection: IdArray) -> list[int]:
    """Keep the passages of the selection: a record may have ended between the two ledger reads."""
    visible = np.isin([passage for passage, _ in words], selection)
    return [passage for (passage, _), keep in zip(words, visible, strict=True) if keep]
