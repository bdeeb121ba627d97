"""Keep a vector index equal to the vectors in the ledger.

Flow:    ledger (vectors, removals) -> [mirror] -> retriever
Imports: errors, protocols, types, durable, and the modules beside it.

The index follows the ledger: removals first, then the passages after the last one it has. Read in
this order it stays right even when a database gives the number of a removed passage out again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from hybrid_memory import durable
from hybrid_memory.errors import IndexMismatchError
from hybrid_memory.protocols import Ledger
from hybrid_memory.retrieval import snapshot
from hybrid_memory.retrieval.encoder import unit_rows
from hybrid_memory.retrieval.index import Kind, VectorIndex
from hybrid_memory.retrieval.selection import Selection
from hybrid_memory.types import FloatArray

__all__ = ["ENCODER", "UNFINISHED", "Mirror", "pages", "require_encoder", "require_same_encoder", "store_vectors"]

log = logging.getLogger(__name__)

ENCODER = "encoder"
"""Key in the ledger's meta table: the fingerprint of the encoder that made the stored vectors."""
UNFINISHED = "reindexing:"
"""Before a fingerprint: some stored vectors may be of that encoder already, some not."""
PAGE = 4096
"""Passages read from the ledger at a time."""
WORTH_COPYING = 0.2
"""An index is made anew at the next save once this share of its rows are removed ones."""
CROWDED = 4.0
"""IVF lists are made anew at the next save once the index is this many times larger than when they were made."""
WORTH_WRITING = 0.05
"""A snapshot is not written for fewer new passages than this share: the next start reads them from the ledger."""


class Mirror:
    """A vector index that follows one ledger, with its snapshots; safe to share between threads.

    Args:
        ledger: keeps the vectors.
        folder: where snapshots lie, in one folder per encoder.
        encoder: fingerprint of the encoder whose vectors are expected.
        large: what a large index becomes at a save: lists ("ivf") or a graph ("hnsw"); "flat" stays exact.
        large_from: number of vectors from which an index is large.
    """

    def __init__(self, ledger: Ledger, folder: Path, *, encoder: str, large: Kind, large_from: int) -> None:
        self._ledger = ledger
        self._folder = folder
        self._encoder = encoder
        self._large = large
        self._large_from = large_from
        self._lock = threading.RLock()
        self._index: VectorIndex | None = None
        self._removals = 0
        self._loaded = False
        self._removed = False
        self._file: snapshot.Snapshot | None = None
        if ledger.meta(ENCODER) is None:
            ledger.set_meta(ENCODER, encoder)

    def require_same_encoder(self) -> None:
        """Compare the encoder with the one that made the ledger's vectors; see the function of this name."""
        require_same_encoder(self._ledger, self._encoder)

    @property
    def encoder(self) -> str:
        """Fingerprint of the encoder whose vectors are in here."""
        return self._encoder

    def __len__(self) -> int:
        with self._lock:
            return 0 if self._index is None else len(self._index)

    def search(self, vector: FloatArray, *, selection: Selection, top_k: int) -> list[tuple[int, float]]:
        """Return (passage id, cosine) of the nearest in the selection, best first; catch up before."""
        with self._lock:
            return [] if self._index is None else self._index.search(vector, selection=selection, top_k=top_k)

    def similarities(self, vector: FloatArray, ids: Sequence[int]) -> dict[int, float]:
        """Return the cosine of those of the passages that are in here."""
        with self._lock:
            return {} if self._index is None else self._index.similarities(vector, ids)

    def catch_up(self) -> int:
        """Take in what the ledger has and the index lacks; return how many passages that was.

        Three short ledger queries.

        Raises:
            IndexMismatchError: another process has changed the encoder since this one opened the memory.
        """
        with self._lock:
            self.require_same_encoder()
            if not self._loaded:
                self._load()
            self._removals, gone = self._ledger.removals_after(self._removals)
            if self._index is not None and gone:
                self._removed = self._index.remove(gone) > 0 or self._removed
            return self._take_new()

    def replace(self, vectors: Iterable[tuple[list[int], FloatArray]], *, encoder: str) -> int:
        """Store the vectors of another encoder in the ledger, and serve from them; return how many.

        Args:
            vectors: pages of ascending passage ids and their vectors, shape (n, dim), as the encoder gave them.
            encoder: fingerprint of their encoder.
        """
        with self._lock:
            store_vectors(self._ledger, vectors, encoder=encoder)
            self._encoder = encoder
            self._index, self._removals, self._file = None, 0, None
            self._loaded = self._removed = True
            count = self.catch_up()
            self._drop_others()
            self.save()
        return count

    def save(self) -> None:
        """Write a snapshot when it is worth it: something was removed, or much is new since the last one.

        Call it after forgetting: until then the file on disk still has the vectors. It catches up first, so that it
        never writes what another process has forgotten.

        Raises:
            LedgerError: the disk is full or the folder cannot be written.
            IndexMismatchError: another process has changed the encoder; nothing was written.
        """
        with self._lock:
            if self._worth_writing():
                self.catch_up()
            while self._worth_writing():
                self._write()
                self.catch_up()  # somebody may have forgotten something, and saved, while this was written

    def _worth_writing(self) -> bool:
        return self._index is not None and (self._removed or self._since_written()[0] > WORTH_WRITING)

    def _since_written(self) -> tuple[float, float]:
        """Return how much is new and how much was removed since the file was written, as shares of what it has."""
        index, file = self._index, self._file
        if index is None or file is None:
            return (float(len(index)) if index else 0.0), 0.0
        there = int(np.searchsorted(index.ids, file.last_passage, side="right"))
        return (len(index) - there) / max(file.count, 1), 1 - there / max(file.count, 1)

    def _write(self) -> None:
        if not self._wiped():
            self._write_whole()
        self._removed = False

    def _wiped(self) -> bool:
        """Wipe what was removed in the file itself, unless much else would be written too; return whether it is done.

        At a million vectors the file has 1.5 GB.
        """
        new, removed = self._since_written()
        if self._file is None or new > WORTH_WRITING or removed > WORTH_COPYING:
            return False
        try:
            return snapshot.wipe(self._folder / self._encoder, self._wipe, encoder=self._encoder)
        except IndexMismatchError:  # damaged since it was read
            return False

    def _wipe(self, path: Path, file: snapshot.Snapshot) -> int:
        newest, gone = self._ledger.removals_after(max(file.removals, file.wiped))
        VectorIndex.wipe(path, gone)
        return newest

    def _write_whole(self) -> None:
        index = self._index
        if index is not None:
            # A graph takes minutes to build, lists take seconds: so the change from a table waits for a save.
            kind = self._kind(len(index))
            if kind != index.kind or index.removed_share > WORTH_COPYING or index.crowding > CROWDED:
                index = self._index = index.copy(kind)
            self._file = snapshot.save(
                self._folder / self._encoder,
                index.write,
                encoder=self._encoder,
                count=len(index),
                last_passage=index.last_id,
                removals=self._removals,
            )

    def check(self) -> list[str]:
        """Return what is wrong with index and snapshot, one sentence each; reads every stored vector."""
        problems = []
        with self._lock:
            try:
                self.require_same_encoder()
                snapshot.find(self._folder / self._encoder, encoder=self._encoder)
                self.catch_up()
            except IndexMismatchError as error:
                problems.append(str(error))
            if self._loaded:
                problems.extend(self._differences())
        return problems

    def _kind(self, count: int) -> Kind:
        return self._large if count >= self._large_from else "flat"

    def _drop_others(self) -> None:
        """Delete the snapshots of former encoders: nobody would wipe there what is forgotten."""
        for other in self._folder.glob("*"):
            if other.is_dir() and other.name != self._encoder:
                durable.remove(other)

    def _load(self) -> None:
        self._drop_others()  # of a reindex that was killed at its very end
        try:
            snapshot.sweep(self._folder / self._encoder)
            found = snapshot.find(self._folder / self._encoder, encoder=self._encoder)
            if found is not None:
                self._accept(VectorIndex.read(found[0]), found[1])
        except IndexMismatchError as error:
            log.warning("%s; the index is built again from the ledger", error)
            self._index, self._removals, self._file = None, 0, None
        self._loaded = True

    def _accept(self, index: VectorIndex, facts: snapshot.Snapshot) -> None:
        if (facts.count, facts.last_passage) != (len(index), index.last_id):
            raise IndexMismatchError(
                f"the snapshot should have {facts.count} vectors up to passage {facts.last_passage}, "
                f"and has {len(index)} up to {index.last_id}"
            )
        newest, gone = self._ledger.removals_after(facts.removals)
        if newest < facts.removals:
            raise IndexMismatchError(f"the snapshot has seen removal {facts.removals}, the ledger only {newest}")
        self._removed = index.remove(self._ledger.removals_after(max(facts.removals, facts.wiped))[1]) > 0
        index.remove(gone)
        if len(index):
            last = index.last_id
            ids, vectors = self._ledger.vectors_after(last - 1, limit=1)
            if ids != [last] or not _alike(vectors, index.vectors([last])):
                raise IndexMismatchError(f"passage {last} of the snapshot is another one in the ledger")
        self._index, self._removals, self._file = index, newest, facts

    def _take_new(self) -> int:
        count = 0
        for ids, vectors in pages(self._ledger, after=0 if self._index is None else self._index.last_id):
            if self._index is None:
                self._index = VectorIndex(vectors.shape[1])
            self._index.add(ids, vectors)
            count += len(ids)
            if len(ids) < PAGE:  # a page ends early where vectors get another length too, but not of one encoder
                break
        return count

    def _differences(self) -> Iterator[str]:
        index = self._index
        known = np.zeros(0, dtype=np.int64) if index is None else index.ids
        stored: list[int] = []
        changed = 0
        for ids, vectors in pages(self._ledger):
            stored.extend(ids)
            there = np.isin(ids, known)
            if index is not None and there.any():
                ours = index.vectors(np.asarray(ids)[there].tolist())
                changed += int((np.abs(unit_rows(vectors[there]) - ours).max(axis=1) > 1e-4).sum())
        lacking, extra = np.setdiff1d(stored, known).size, np.setdiff1d(known, stored).size
        mend = "run `hybrid-memory reindex`"
        if lacking or extra:
            yield f"the index lacks {lacking} passages of the ledger and has {extra} that the ledger lacks; {mend}"
        if changed:
            yield f"{changed} vectors in the index differ from the ledger's; {mend}"


def require_same_encoder(ledger: Ledger, encoder: str) -> None:
    """Compare an encoder's fingerprint with that of the one that made the ledger's vectors.

    Raises:
        IndexMismatchError: it is another one, or a reindex was interrupted.
    """
    require_encoder(ledger.meta(ENCODER), encoder)


def require_encoder(stored: str | None, encoder: str) -> None:
    """Compare an encoder's fingerprint with the one the ledger names, likewise."""
    stored = stored or ""
    if stored == encoder:
        return
    if stored.startswith(UNFINISHED):
        raise IndexMismatchError(
            "a reindex is under way, or was interrupted half-way; run `hybrid-memory reindex` to finish it"
        )
    raise IndexMismatchError(
        f"the stored vectors were made by encoder {stored}, this one is {encoder}; set the encoder back, "
        "or run `hybrid-memory reindex` to embed everything again"
    )


def store_vectors(ledger: Ledger, vectors: Iterable[tuple[list[int], FloatArray]], *, encoder: str) -> None:
    """Put another encoder's vectors into the ledger, a page at a time; a crash inside leaves it marked unfinished."""
    ledger.set_meta(ENCODER, UNFINISHED + encoder)
    for ids, page in vectors:
        ledger.set_vectors(ids, page, encoder)
    ledger.set_meta(ENCODER, encoder)


def pages(ledger: Ledger, *, after: int = 0) -> Iterator[tuple[list[int], FloatArray]]:
    """Yield ids and vectors of the ledger's passages after an id, a page at a time."""
    while True:
        ids, vectors = ledger.vectors_after(after, limit=PAGE)
        if not ids:
            return
        yield ids, vectors
        after = ids[-1]


def _alike(vectors: FloatArray, ours: FloatArray) -> bool:
    return vectors.shape == ours.shape and bool(np.allclose(unit_rows(vectors), ours, atol=1e-5))
