"""Find the nearest passages by vector, inside a selection of passage ids.

Flow:    ledger (vectors) -> [index] -> retriever
Imports: errors, types, retrieval.encoder (unit_rows). faiss only here and in retrieval.snapshot.

The selection is part of the search, not a filter behind it, so that top-k is k of the
selection. Below `hnsw_from` vectors the search is exact. Beyond, a graph (HNSW) answers wide
selections, and narrow ones are still scanned exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import faiss as faiss_module
import numpy as np

from hybrid_memory.errors import IndexMismatchError
from hybrid_memory.retrieval.encoder import unit_rows
from hybrid_memory.types import FloatArray, IdArray

__all__ = ["VectorIndex"]

faiss: Any = faiss_module
"""Its type stubs describe the C++ signatures, not the Python ones that are used here."""

NEIGHBOURS = 32
"""Links per node of the graph; the FAISS wiki's usual value."""
BREADTH_BUILD = 80
BREADTH_SEARCH = 256
"""Candidates the graph search keeps: recall@10 is 0.998 on 60,000 vectors, in 1.1 ms (0.916 at 64)."""
NARROW = 0.2
"""Selections below this share of the index are scanned: there the scan is as fast as the graph, and exact."""
GONE = -1
"""Id of a removed row in a graph; also what FAISS pads short results with."""


class VectorIndex:
    """Unit vectors by passage id, searched by cosine.

    Not thread-safe: FAISS may move its storage while it grows, so the owner holds a lock.

    Args:
        dim: length of the vectors.
        approximate: build a graph instead of a plain table.
    """

    def __init__(self, dim: int, *, approximate: bool = False) -> None:
        inner = faiss.IndexFlatIP(dim)
        if approximate:
            inner = faiss.IndexHNSWFlat(dim, NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
            inner.hnsw.efConstruction = BREADTH_BUILD
        self._faiss = faiss.IndexIDMap2(inner)
        self._rows = self._read_rows()

    @classmethod
    def wrap(cls, loaded: Any) -> VectorIndex:
        """Take over a faiss index that was read from a file.

        Raises:
            IndexMismatchError: it is not one this class wrote.
        """
        if not isinstance(loaded, faiss.IndexIDMap2):
            raise IndexMismatchError(f"expected a faiss IndexIDMap2, got {type(loaded).__name__}")
        index = cls.__new__(cls)
        index._faiss = loaded
        index._rows = index._read_rows()
        return index

    @property
    def raw(self) -> Any:
        """The faiss index, for writing it to a file."""
        return self._faiss

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return int(self._faiss.d)

    @property
    def approximate(self) -> bool:
        """True when a graph answers wide selections."""
        return isinstance(self._inner, faiss.IndexHNSW)

    @property
    def ids(self) -> IdArray:
        """Ids of the vectors in here, int64, ascending."""
        present: IdArray = self._rows[self._rows != GONE]
        return present

    @property
    def last_id(self) -> int:
        """The greatest id in here; 0 when there is none."""
        return int(self._rows.max(initial=0))

    def __len__(self) -> int:
        return int(np.count_nonzero(self._rows != GONE))

    def add(self, ids: Sequence[int], vectors: FloatArray) -> None:
        """Add vectors of shape (len(ids), dim); they need not be unit length.

        Raises:
            IndexMismatchError: another length of vector, a zero vector, or ids that are not new and ascending.
        """
        if len(ids) == 0:
            return
        if vectors.shape != (len(ids), self.dim):
            raise IndexMismatchError(
                f"{len(ids)} ids of an index of dimension {self.dim} came with vectors of shape {vectors.shape}; "
                "run `hybrid-memory reindex` when the encoder has changed"
            )
        new = np.asarray(ids, dtype=np.int64)
        if new[0] <= self.last_id or (np.diff(new) <= 0).any():
            raise IndexMismatchError(f"ids must ascend and be greater than {self.last_id}, got {new[:5].tolist()}")
        self._faiss.add_with_ids(unit_rows(vectors), new)
        self._rows = self._read_rows()

    def remove(self, ids: Sequence[int]) -> int:
        """Take vectors out, bytes included; return how many were there."""
        present = np.intersect1d(np.asarray(ids, dtype=np.int64), self.ids)
        if present.size == 0:
            return 0
        if self.approximate:
            self._wipe(present)
        else:
            self._faiss.remove_ids(faiss.IDSelectorBatch(present))
        self._rows = self._read_rows()
        return int(present.size)

    def search(self, vector: FloatArray, *, selection: IdArray, top_k: int) -> list[tuple[int, float]]:
        """Return (id, cosine) of the `top_k` nearest of the selection, best first.

        Args:
            vector: shape (dim,) or (1, dim); need not be unit length.
            selection: the ids that may be found, int64; those the index lacks are passed over.
            top_k: how many at most.

        Raises:
            IndexMismatchError: the vector has another length than the index, or is all zeros.
        """
        query = unit_rows(np.asarray(vector, dtype=np.float32).reshape(1, -1))
        if query.shape[1] != self.dim:
            raise IndexMismatchError(
                f"the question's vector has {query.shape[1]} numbers, the index {self.dim}; "
                "the encoder has changed: run `hybrid-memory reindex`"
            )
        wanted = min(top_k, selection.size, len(self))
        if wanted < 1:
            return []
        scores, ids = self._nearest(query, selection, wanted)
        # FAISS pads a short result with id -1, which Python would read as "the last passage".
        pairs = [(int(i), float(s)) for i, s in zip(ids[0], scores[0], strict=True) if i != GONE]
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))

    def vectors(self, ids: Sequence[int]) -> FloatArray:
        """Return the unit vectors of ids that are all in here; shape (len(ids), dim)."""
        found: FloatArray = self._faiss.reconstruct_batch(np.asarray(ids, dtype=np.int64))
        return found

    def copy(self, *, approximate: bool) -> VectorIndex:
        """Return a new index with the same vectors, without the rows that were removed."""
        fresh = VectorIndex(self.dim, approximate=approximate)
        ids = self.ids
        if ids.size:
            fresh.add(ids.tolist(), self.vectors(ids.tolist()))
        return fresh

    @property
    def removed_share(self) -> float:
        """Share of the rows that are removed but still take space, in [0, 1]; 0 for a plain table."""
        return float(np.mean(self._rows == GONE)) if self._rows.size else 0.0

    @property
    def _inner(self) -> Any:
        return faiss.downcast_index(self._faiss.index)

    def _read_rows(self) -> IdArray:
        """Return the id of each row, in the order of the rows."""
        rows: IdArray = faiss.vector_to_array(self._faiss.id_map)
        return rows

    def _nearest(self, query: FloatArray, selection: IdArray, top_k: int) -> tuple[FloatArray, IdArray]:
        bits = np.zeros(int(selection.max()) + 1, dtype=bool)
        bits[selection] = True
        chosen = faiss.IDSelectorBitmap(np.packbits(bits, bitorder="little"))
        exact = faiss.SearchParameters(sel=chosen)
        wide = faiss.SearchParametersHNSW(sel=chosen, efSearch=max(BREADTH_SEARCH, 2 * top_k))
        if not self.approximate or selection.size >= NARROW * len(self):
            scores, ids = self._faiss.search(query, top_k, params=wide if self.approximate else exact)
            return scores, ids
        by_row = faiss.IDSelectorTranslated(self._faiss.id_map, chosen)
        scores, rows = self._storage.search(query, top_k, params=faiss.SearchParameters(sel=by_row))
        return scores, np.where(rows == GONE, GONE, self._rows[rows])

    @property
    def _storage(self) -> Any:
        return faiss.downcast_index(self._inner.storage)

    def _wipe(self, present: IdArray) -> None:
        # A graph cannot lose a node (FAISS: remove_ids is not implemented for HNSW). The vector's bytes
        # are zeroed and its id is unset, so neither a search nor a file on disk can give it back.
        rows = self._rows.copy()
        places = np.flatnonzero(np.isin(rows, present))
        table = faiss.rev_swig_ptr(self._storage.get_xb(), rows.size * self.dim).reshape(rows.size, self.dim)
        table[places] = 0
        rows[places] = GONE
        faiss.copy_array_to_vector(rows, self._faiss.id_map)
        self._faiss.construct_rev_map()
