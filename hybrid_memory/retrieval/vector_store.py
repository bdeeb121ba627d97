"""Keep a LlamaIndex vector store equal to the vectors in the ledger, in the place of the FAISS index.

Flow:    ledger (vectors, removals) -> [vector_store] -> retriever; a sibling of `mirror`, with the same methods
Imports: errors, protocols, types, durable, and the modules beside it.

The store is a cache like the index: the ledger has every vector. What the store holds is written down beside the
memory, before a batch is sent and after it, so that the next process cleans up after one that died in between.

Similarities are computed from the ledger's vectors: stores return distances, exponents or cosines, unnamed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from filelock import FileLock

from hybrid_memory import durable
from hybrid_memory.errors import IndexMismatchError
from hybrid_memory.protocols import Ledger
from hybrid_memory.retrieval.encoder import unit_rows
from hybrid_memory.retrieval.mirror import ENCODER, pages, require_same_encoder, store_vectors
from hybrid_memory.retrieval.nodes import Nodes
from hybrid_memory.retrieval.selection import Selection
from hybrid_memory.retrieval.store_state import StoreState, vector_digest
from hybrid_memory.types import FloatArray, IdArray

__all__ = ["VectorStoreMirror"]

log = logging.getLogger(__name__)

SCAN = 4096
"""Vectors compared at a time when the store cannot search inside a selection."""
NOTHING: IdArray = np.zeros(0, dtype=np.int64)


class VectorStoreMirror:
    """A vector store that follows one ledger; safe to share between threads, and processes of one machine.

    Args:
        ledger: keeps the vectors.
        folder: where the state lies; FAISS snapshots in it are deleted, they would not follow what is forgotten.
        store: a LlamaIndex `BasePydanticVectorStore`.
        encoder: fingerprint of the encoder whose vectors are expected.

    Raises:
        InputError: it is no LlamaIndex vector store.
    """

    def __init__(self, ledger: Ledger, folder: Path, store: object, *, encoder: str) -> None:
        self._ledger = ledger
        self._folder = folder
        self._store = store
        self._encoder = encoder
        self._nodes = Nodes(store, space="0")
        self._state = StoreState(store=self._nodes.name, encoder=encoder)
        self._held = NOTHING
        self._loaded = self._warned = False
        self._lock = threading.RLock()
        folder.mkdir(parents=True, exist_ok=True)
        self._between_processes = FileLock(folder / "vector_store.lock")
        for snapshots in [path for path in folder.iterdir() if path.is_dir()]:
            durable.remove(snapshots)
        if ledger.meta(ENCODER) is None:
            ledger.set_meta(ENCODER, encoder)

    def require_same_encoder(self) -> None:
        """Raise IndexMismatchError when the ledger's vectors were made by another encoder; one short query."""
        require_same_encoder(self._ledger, self._encoder)

    @property
    def encoder(self) -> str:
        """Fingerprint of the encoder whose vectors are in here."""
        return self._encoder

    def __len__(self) -> int:
        with self._lock:
            return int(self._held.size)

    def search(self, vector: FloatArray, *, selection: Selection, top_k: int) -> list[tuple[int, float]]:
        """Catch up, then return (passage id, cosine) of the nearest in the selection, best first.

        The store ranks inside the selection. Where it cannot, the selection's vectors are read from the ledger and
        compared here: exact, in time that grows with the selection.

        Args:
            vector: shape (dim,) or (1, dim); need not be unit length.
            selection: the ids that may be found.
            top_k: how many at most.
        """
        with self._lock:
            self.catch_up()
            query = unit_rows(np.asarray(vector, dtype=np.float32).reshape(1, -1))[0]
            wanted = min(top_k, selection.size)
            if not wanted:
                return []
            found = self._nodes.nearest(query, selection=selection.ids, held=self._held, top_k=wanted)
            if found is not None:
                return self._compared(query, found, wanted)
            return self._scanned(query, selection.ids, wanted)

    def similarities(self, vector: FloatArray, ids: Sequence[int]) -> dict[int, float]:
        """Return the cosine of those of the passages that are still in the ledger."""
        query = unit_rows(np.asarray(vector, dtype=np.float32).reshape(1, -1))[0]
        return dict(self._compared(query, ids, len(ids)))

    def catch_up(self) -> int:
        """Take out what was removed and give the store what it lacks; return how many passages were new.

        Raises:
            IndexMismatchError: another process has changed the encoder since this one opened the memory.
        """
        with self._lock:
            self.require_same_encoder()
            if not self._loaded:
                with self._between_processes:
                    self._load()
            removals, gone = self._ledger.removals_after(self._state.removals)
            new, _ = self._ledger.vectors_after(self._last, limit=1)
            if not gone and not new:
                return 0
            with self._between_processes:
                # Removals first: a database may give a removed passage's number out again.
                if self._held.size:
                    self._nodes.delete(gone)
                self._held = np.setdiff1d(self._held, gone)
                self._write(removals=removals)
                return self._take_new()

    def replace(self, vectors: Iterable[tuple[list[int], FloatArray]], *, encoder: str) -> int:
        """Store the vectors of another encoder in the ledger and in the store; return how many.

        A store made for vectors of another length refuses them with an error of its own: open the memory with a
        fresh collection or table before `reindex`.

        Args:
            vectors: pages of ascending passage ids and their vectors, shape (n, dim), unit rows.
            encoder: fingerprint of their encoder.
        """
        with self._lock, self._between_processes:
            if not self._loaded:
                self._load()
            store_vectors(self._ledger, vectors, encoder=encoder)
            self._encoder = encoder
            self._begin_anew(delete=self._held.tolist())
            self._write(removals=self._ledger.removals_after(0)[0])
            return self._take_new()

    def save(self) -> None:
        """Do nothing: the store keeps itself, and what it holds is written down with every change."""

    def check(self) -> list[str]:
        """Return what is wrong with the store, one sentence each; asks it for every passage."""
        with self._lock:
            self.catch_up()
            stored = np.concatenate([NOTHING, *(np.asarray(ids) for ids, _ in pages(self._ledger))])
            if not stored.size:
                return []
            probe = unit_rows(self._ledger.vectors(stored[:1].tolist())[1])[0]
            lacking = stored.size - len(self._nodes.there(stored.tolist(), probe))
            removed = np.setdiff1d(np.asarray(self._ledger.removals_after(0)[1], dtype=np.int64), stored)
            extra = len(self._nodes.there(removed.tolist(), probe))
        name, mend = self._nodes.name, "run memory.reindex() with this store"
        problems = [f"{name} lacks {lacking} passages of the ledger; {mend}"] if lacking else []
        return problems + ([f"{name} still holds {extra} passages that were removed; {mend}"] if extra else [])

    @property
    def _last(self) -> int:
        return int(self._held.max(initial=0))

    def _load(self) -> None:
        """Trust what is written down if store, encoder and ledger are those it was written for; else begin anew."""
        found = StoreState.read(self._folder)
        if found is not None and found.store == self._nodes.name:
            self._use(found)
        sent = range(self._last + 1, self._state.taking + 1)  # by a process that died before it wrote that down
        if not self._still_there():
            log.warning("%s is not as it was left; it is filled again from the ledger", self._nodes.name)
            self._begin_anew()
        elif self._state.encoder != self._encoder or not self._same_ledger():
            self._begin_anew(delete=[*self._held.tolist(), *sent])
        elif self._held.size:
            self._nodes.delete(sent)
        if not self._held.size:
            self._abandon()
            self._write(removals=self._ledger.removals_after(0)[0])
        self._loaded = True

    def _abandon(self) -> None:
        """Begin anew after a first batch that may have arrived in part; some stores cannot be asked before it has."""
        cut = ((self._state.space, self._state.taking),) if self._state.taking else ()
        abandoned = (*self._state.abandoned, *cut)
        self._begin_anew()
        self._state = replace(self._state, abandoned=abandoned)

    def _begin_anew(self, *, delete: Sequence[int] = ()) -> None:
        if delete:
            self._nodes.delete(delete)
        self._use(StoreState(store=self._nodes.name, encoder=self._encoder))

    def _use(self, state: StoreState) -> None:
        self._state, self._held = state, state.ids
        self._nodes = Nodes(self._store, space=state.space)

    def _still_there(self) -> bool:
        _, vectors = self._ledger.vectors_after(0, limit=1)
        return not self._held.size or not len(vectors) or bool(self._nodes.there([self._last], vectors[0]))

    def _same_ledger(self) -> bool:
        newest, gone = self._ledger.removals_after(self._state.removals)
        followed = newest >= self._state.removals
        return followed and (self._last in gone or vector_digest(self._ledger, self._last) == self._state.digest)

    def _take_new(self) -> int:
        count = 0
        for ids, vectors in pages(self._ledger, after=self._last):
            self._write(taking=ids[-1])
            # Another process may have been quicker. Before anything was added, some stores have nothing to ask.
            there = self._nodes.there(ids, vectors[0]) if self._held.size else []
            lacking = ~np.isin(ids, there)
            self._nodes.add(np.asarray(ids)[lacking].tolist(), vectors[lacking])
            for space, last in self._state.abandoned:
                Nodes(self._store, space=space).delete(range(1, last + 1))
            self._state = replace(self._state, abandoned=())
            self._held = np.concatenate([self._held, np.asarray(ids, dtype=np.int64)])
            self._write()
            count += len(ids)
        return count

    def _write(self, *, removals: int | None = None, taking: int = 0) -> None:
        self._state = replace(
            self._state,
            held=StoreState.ranges(self._held),
            taking=taking,
            removals=self._state.removals if removals is None else removals,
            digest=vector_digest(self._ledger, self._last),
        )
        self._state.write(self._folder)

    def _scanned(self, query: FloatArray, selection: IdArray, top_k: int) -> list[tuple[int, float]]:
        if not self._warned:
            self._warned = True
            log.warning(
                "%s does not search inside a selection; where it fails, vectors are read from the ledger and compared "
                "here: as exact, but slower the larger the selection is",
                self._nodes.name,
            )
        best: list[tuple[int, float]] = []
        for start in range(0, selection.size, SCAN):
            best = self._compared(query, [key for key, _ in best] + selection[start : start + SCAN].tolist(), top_k)
        return best

    def _compared(self, query: FloatArray, ids: Sequence[int], top_k: int) -> list[tuple[int, float]]:
        """Return the `top_k` of the ids by cosine with the ledger's vectors; those removed meanwhile are left out."""
        there, vectors = self._ledger.vectors(ids)
        if not there:
            return []
        if vectors.shape[1] != query.size:
            raise IndexMismatchError(
                f"the question's vector has {query.size} numbers, the stored ones {vectors.shape[1]}; "
                "the encoder has changed: run `hybrid-memory reindex`"
            )
        cosines = unit_rows(vectors) @ query
        pairs = [(key, float(cosine)) for key, cosine in zip(there, cosines, strict=True)]
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:top_k]
