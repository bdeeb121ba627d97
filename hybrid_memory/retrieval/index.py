"""Find the nearest passages by vector, inside a selection of passage ids.

Flow:    ledger (vectors) -> [index] -> retriever
Imports: errors, types, and retrieval.encoder (unit_rows), retrieval.selection. faiss only here.

The selection is part of the search, not a filter behind it, so that top-k is k of the selection. A plain table is
exact. A graph (HNSW) or lists (IVF) answer wide selections of large indexes, and scan narrow ones exactly.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import faiss as faiss_module
import numpy as np

from hybrid_memory.errors import IndexMismatchError
from hybrid_memory.retrieval.encoder import unit_rows
from hybrid_memory.retrieval.selection import Selection
from hybrid_memory.types import FloatArray, IdArray

__all__ = ["Kind", "VectorIndex"]

faiss: Any = faiss_module
"""Its type stubs describe the C++ signatures, not the Python ones that are used here."""

Kind: TypeAlias = Literal["flat", "hnsw", "ivf"]

NEIGHBOURS = 32
"""Links per node of the graph; the FAISS wiki's usual value."""
BREADTH_BUILD = 80
BREADTH_SEARCH = 256
"""Candidates the graph search keeps: recall@10 is 0.998 on 60,000 vectors, in 1.1 ms (0.916 at 64)."""
LISTS_PER_ROOT = 4
"""Lists of an IVF index, times the root of the number of vectors; the FAISS wiki's usual value."""
PROBED = 1 / 16
"""Share of the lists that a wide search reads; see benchmarks/retrieval_speed.py for what that finds."""
TRAINING_ROUNDS = 10
LEARNED_FROM = 64
"""Vectors per list from which the centroids are learned."""
BLOCK = 65_536
"""Vectors added at a time: 100 MB at 384 numbers."""
NARROW = 0.2
"""Selections below this share of the index are scanned: there the scan is as fast as the graph, and exact."""
FEW: dict[Kind, float] = {"flat": 0.005, "hnsw": 0.005, "ivf": 0.03}
"""Selections below this share are read out and compared one by one: looking through the index for them takes longer."""
PASSED_OVER = 100
"""Removed rows that a search of everything may meet; of more a selector keeps it away."""
GONE = -1
"""Id of a removed row in a graph or a list; also what FAISS pads short results with."""


class VectorIndex:
    """Unit vectors by passage id, searched by cosine.

    Not thread-safe: FAISS may move its storage while it grows, so the owner holds a lock.

    Args:
        dim: length of the vectors.
    """

    def __init__(self, dim: int) -> None:
        self._hold(faiss.IndexIDMap2(faiss.IndexFlatIP(dim)))

    @classmethod
    def build(cls, kind: Kind, ids: IdArray, vectors: FloatArray) -> VectorIndex:
        """Return an index of the given kind.

        Args:
            kind: "flat" is exact, "hnsw" a graph, "ivf" lists by nearest centroid (trained on the vectors).
            ids: ascending passage ids.
            vectors: shape (len(ids), dim); at least one row for "ivf".
        """
        return cls._made(kind, ids, lambda places: vectors[places], vectors.shape[1])

    @classmethod
    def _made(cls, kind: Kind, ids: IdArray, read: Callable[[IdArray], FloatArray], dim: int) -> VectorIndex:
        """Return an index of the vectors that `read` gives for places among the ids: a block at a time, for memory."""
        index = cls(dim)
        if kind == "hnsw":
            inner = faiss.IndexHNSWFlat(dim, NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
            inner.hnsw.efConstruction = BREADTH_BUILD
            index._hold(faiss.IndexIDMap2(inner))
        elif kind == "ivf":
            index._hold(faiss.IndexIDMap2(_trained(ids.size, read)))
        for start in range(0, ids.size, BLOCK):
            places = np.arange(start, min(start + BLOCK, ids.size))
            index.add(ids[places], read(places))
        return index

    @classmethod
    def read(cls, path: Path) -> VectorIndex:
        """Return the index in a file. Its vectors are mapped, not read, until one is added: processes share them.

        Raises:
            IndexMismatchError: the file is damaged, or none this class wrote.
        """
        return cls._map(path, mmap.ACCESS_COPY)

    @classmethod
    def wipe(cls, path: Path, ids: Sequence[int]) -> None:
        """Overwrite the vectors of ids in a file with zeros, in place: the rest of it is not written again.

        The file still has the ids, so whoever reads it removes them.

        Raises:
            IndexMismatchError: the file is damaged, or none this class wrote.
            OSError: the disk does not take it.
        """
        index = cls._map(path, mmap.ACCESS_WRITE)
        index._blank(np.flatnonzero(np.isin(index._rows, index._held(ids))))
        if index._file is not None:
            index._file.flush()

    def write(self, path: Path) -> None:
        """Write the index to a file.

        Raises:
            RuntimeError: faiss could not write, because the disk is full or the folder is missing.
        """
        faiss.write_index(self._faiss, str(path))

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return int(self._faiss.d)

    @property
    def kind(self) -> Kind:
        """How wide selections are answered."""
        if isinstance(self._inner, faiss.IndexHNSW):
            return "hnsw"
        return "ivf" if isinstance(self._inner, faiss.IndexIVF) else "flat"

    @property
    def ids(self) -> IdArray:
        """Ids of the vectors in here, int64, ascending."""
        return self._present

    @property
    def last_id(self) -> int:
        """The greatest id in here; 0 when there is none."""
        return int(self._present[-1]) if self._present.size else 0

    def __len__(self) -> int:
        return int(self._present.size)

    def add(self, ids: Sequence[int] | IdArray, vectors: FloatArray) -> None:
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
        self._own()
        self._faiss.add_with_ids(unit_rows(vectors), new)
        self._read_rows()

    def remove(self, ids: Sequence[int]) -> int:
        """Take vectors out, bytes included; return how many were there."""
        present = self._held(ids)
        if present.size == 0:
            return 0
        if self.kind == "flat" and self._file is None:
            self._faiss.remove_ids(faiss.IDSelectorBatch(present))
        else:
            self._unset(present)
        self._read_rows()
        return int(present.size)

    def search(self, vector: FloatArray, *, selection: Selection, top_k: int) -> list[tuple[int, float]]:
        """Return (id, cosine) of the `top_k` nearest of the selection, best first.

        Args:
            vector: shape (dim,) or (1, dim); need not be unit length.
            selection: the ids that may be found; those the index lacks are passed over.
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
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:wanted]

    def similarities(self, vector: FloatArray, ids: Sequence[int]) -> dict[int, float]:
        """Return the cosine of those of the ids that are in here."""
        there = self._held(ids)
        if not there.size:
            return {}
        cosines = self.vectors(there.tolist()) @ unit_rows(np.asarray(vector, dtype=np.float32).reshape(1, -1))[0]
        return dict(zip(there.tolist(), cosines.tolist(), strict=True))

    def vectors(self, ids: Sequence[int] | IdArray) -> FloatArray:
        """Return the unit vectors of ids that are all in here; shape (len(ids), dim)."""
        found: FloatArray = self._faiss.reconstruct_batch(np.asarray(ids, dtype=np.int64))
        return found

    def copy(self, kind: Kind) -> VectorIndex:
        """Return a new index of a kind with the same vectors, without the rows that were removed."""
        ids = self.ids
        return VectorIndex._made(kind if ids.size else "flat", ids, lambda places: self.vectors(ids[places]), self.dim)

    @property
    def removed_share(self) -> float:
        """Share of the rows that are removed but still take space, in [0, 1]."""
        return 1 - len(self) / self._rows.size if self._rows.size else 0.0

    @property
    def crowding(self) -> float:
        """How often larger the index is than when its lists were made; 1 for other kinds."""
        if self.kind != "ivf":
            return 1.0
        return self._rows.size / (int(self._inner.nlist) / LISTS_PER_ROOT) ** 2

    # ------------------------------------------------------------ inside

    @classmethod
    def _map(cls, path: Path, access: int) -> VectorIndex:
        """Return the index in a file over its own bytes; what is changed in those goes to the file, or nowhere."""
        try:
            with path.open("r+b" if access == mmap.ACCESS_WRITE else "rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=access)
            content = np.frombuffer(mapped, dtype=np.uint8)
            loaded = faiss.read_index(faiss.ZeroCopyIOReader(faiss.swig_ptr(content), content.size))
        except (ValueError, RuntimeError) as error:  # an empty file; no index of faiss
            raise IndexMismatchError(f"{path} is no faiss index: {error}") from error
        if not isinstance(loaded, faiss.IndexIDMap2):
            raise IndexMismatchError(f"{path} holds a faiss {type(loaded).__name__}, expected an IndexIDMap2")
        index = cls.__new__(cls)
        index._hold(loaded, file=mapped)
        return index

    def _hold(self, index: Any, file: mmap.mmap | None = None) -> None:
        self._faiss, self._file = index, file
        self._inner = faiss.downcast_index(index.index)
        self._read_rows()

    def _held(self, ids: Sequence[int] | IdArray) -> IdArray:
        """Return those of the ids that are in here, each once, ascending; the time hardly grows with the index."""
        wanted = np.unique(np.asarray(ids, dtype=np.int64))
        places = np.searchsorted(self._present, wanted)
        there = places < self._present.size
        there[there] = self._present[places[there]] == wanted[there]
        found: IdArray = wanted[there]
        return found

    def _read_rows(self) -> None:
        """Note the id of each row, in the order of the rows."""
        self._rows: IdArray = faiss.vector_to_array(self._faiss.id_map)
        gone = self._rows == GONE
        self._present: IdArray = self._rows[~gone] if gone.any() else self._rows
        self._counted: tuple[Selection, int] | None = None

    def _own(self) -> None:
        """Read what lies in a mapped file into memory: FAISS aborts the process when it must grow that."""
        if self._file is None:
            return
        rows = self._rows
        self._file.seek(0)
        owned = faiss.read_index(faiss.PyCallbackIOReader(self._file.read))
        faiss.copy_array_to_vector(rows, owned.id_map)  # some may have been removed since
        owned.construct_rev_map()
        self._hold(owned)

    def _nearest(self, query: FloatArray, selection: Selection, top_k: int) -> tuple[FloatArray, IdArray]:
        inside = self._inside(selection)
        if inside < FEW[self.kind] * len(self):
            return self._compared(query, selection, top_k)
        gone = self._rows.size - len(self)
        chosen = None
        if inside == len(self) and gone <= PASSED_OVER:
            top_k += gone  # without a selector FAISS takes its fast path; removed rows are passed over behind it
        else:
            chosen = faiss.IDSelectorBitmap(selection.packed)
        narrow = inside < NARROW * len(self)
        if self.kind == "flat":
            return self._searched(query, top_k, faiss.SearchParameters(sel=chosen) if chosen is not None else None)
        if self.kind == "ivf":
            lists = int(self._inner.nlist)
            probed = lists if narrow else max(1, round(PROBED * lists))
            return self._searched(query, top_k, faiss.SearchParametersIVF(sel=chosen, nprobe=probed))
        if not narrow:
            breadth = max(BREADTH_SEARCH, 2 * top_k)
            return self._searched(query, top_k, faiss.SearchParametersHNSW(sel=chosen, efSearch=breadth))
        by_row = faiss.IDSelectorTranslated(self._faiss.id_map, chosen)
        storage = faiss.downcast_index(self._inner.storage)
        scores, rows = storage.search(query, top_k, params=faiss.SearchParameters(sel=by_row))
        return scores, np.where(rows == GONE, GONE, self._rows[rows])

    def _compared(self, query: FloatArray, selection: Selection, top_k: int) -> tuple[FloatArray, IdArray]:
        ids = self._held(selection.ids)
        scores = self.vectors(ids.tolist()) @ query[0]
        best = np.argsort(-scores, kind="stable")[:top_k]
        return scores[None, best], ids[None, best]

    def _inside(self, selection: Selection) -> int:
        """Return how many of the vectors are in the selection, at least roughly; exactly when it may be all."""
        if selection.size < len(self):
            return selection.size
        # Most searches are of one selection after the other, and counting 100,000 ids takes longer than the rest.
        if self._counted is None or self._counted[0] is not selection:
            self._counted = selection, int(np.count_nonzero(selection.holds(self.ids)))
        return self._counted[1]

    def _searched(self, query: FloatArray, top_k: int, params: Any) -> tuple[FloatArray, IdArray]:
        scores, ids = self._faiss.search(query, top_k, params=params)
        return scores, ids

    def _unset(self, present: IdArray) -> None:
        # A graph cannot lose a node (FAISS: remove_ids is not implemented for HNSW), and lists do not renumber their
        # rows as the map of ids expects. The vector's bytes are zeroed and its id is unset, so neither a search nor
        # a file on disk can give it back.
        rows = self._rows.copy()
        places = np.flatnonzero(np.isin(rows, present))
        self._blank(places)
        rows[places] = GONE
        faiss.copy_array_to_vector(rows, self._faiss.id_map)
        self._faiss.construct_rev_map()

    def _blank(self, places: IdArray) -> None:
        """Overwrite the vectors of some rows with zeros, where they lie."""
        if self.kind != "ivf":
            table = self._inner if self.kind == "flat" else faiss.downcast_index(self._inner.storage)
            self._bytes(table.get_xb(), self._rows.size)[places] = 0
            return
        lists = self._inner.invlists
        where = faiss.vector_to_array(self._inner.direct_map.array)
        for number, place in (divmod(int(one), 1 << 32) for one in where[places]):
            self._bytes(lists.get_codes(number), lists.list_size(number))[place] = 0

    def _bytes(self, start: Any, count: int) -> Any:
        """Return the vectors that lie one behind the other from an address on: shape (count, dim)."""
        return faiss.rev_swig_ptr(faiss.cast_integer_to_float_ptr(int(start)), count * self.dim).reshape(count, -1)


def _trained(count: int, read: Callable[[IdArray], FloatArray]) -> Any:
    """Return empty lists around centroids of the vectors (spherical k-means, at most 64 vectors a centroid)."""
    lists = max(1, min(round(LISTS_PER_ROOT * count**0.5), count // 39))
    chosen = np.sort(np.random.default_rng(0).permutation(count)[: LEARNED_FROM * lists])
    vectors = unit_rows(read(chosen))
    dim = vectors.shape[1]
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.spherical, index.cp.max_points_per_centroid = TRAINING_ROUNDS, True, LEARNED_FROM
    index.train(vectors)
    index.set_direct_map_type(faiss.DirectMap.Array)  # rows can be read back and overwritten
    return index
