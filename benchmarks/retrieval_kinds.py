"""Kinds of vector index over the same made-up vectors: table, lists, graph, and lists of compressed vectors.

Flow:    retrieval_speed.py --parts kinds
Imports: hybrid_memory (stages included), faiss

Compressed vectors are no kind of the product's: they are here to say what they would save. Their best `AGAIN` times k
candidates are compared again with the vectors as they are stored, which here lie in memory.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import faiss as faiss_module
import numpy as np

from benchmarks.retrieval_material import DIM, made_up, timed
from hybrid_memory.retrieval.index import LEARNED_FROM, LISTS_PER_ROOT, PROBED, TRAINING_ROUNDS, Kind, VectorIndex
from hybrid_memory.retrieval.selection import Selection
from hybrid_memory.types import FloatArray

__all__ = ["kinds"]

CODES = {"ivf, SQ8": "SQ8", "ivf, PQ48": "PQ48"}
"""Name of a row -> FAISS's name of the code: one byte a number, and 48 bytes a vector."""
KINDS: tuple[Kind, ...] = ("flat", "ivf", "hnsw")
AGAIN = 10
MOST_IN_A_GRAPH = 200_000
"""A graph of more vectors takes a quarter of an hour and more to build."""
ASKED, TIMED = 200, 40
TOP = 10
faiss: Any = faiss_module

Search = Callable[[FloatArray], list[int]]


def kinds(count: int) -> Iterator[dict[str, Any]]:
    """Compare the kinds: processor seconds to build, size of the file, median search, recall@10 against the table."""
    vectors, asked = made_up(count, seed=1)[1], made_up(ASKED, seed=2)[1]
    exact: list[set[int]] = []
    for kind, built, megabytes, search in candidates(vectors):
        found = [set(search(row)) for row in asked]
        times = [timed(partial(search, row)) for row in asked[:TIMED]]
        exact = exact or found
        recall = float(np.mean([len(one & other) / TOP for one, other in zip(found, exact, strict=True)]))
        row = {"records": count, "kind": kind, "build CPU s": built, "file MB": megabytes}
        yield {**row, "p50 ms": 1000 * float(np.median(times)), "recall@10": recall}


def candidates(vectors: FloatArray) -> Iterator[tuple[str, float, float, Search]]:
    """Yield each kind's name, seconds to build, MB of its file and its search: exact first, slowest last."""
    count = len(vectors)
    for kind in KINDS[:2]:
        yield of_the_product(kind, vectors)
    for name, code in CODES.items():
        lists = f"IVF{round(LISTS_PER_ROOT * count**0.5)}"
        index = faiss.index_factory(DIM, f"{lists},{code}", faiss.METRIC_INNER_PRODUCT)
        spent = timed(partial(fill, index, vectors))
        yield name, spent, file_mb(partial(write, index)), partial(searched_again, index, vectors)
    for kind in KINDS[2:] if count <= MOST_IN_A_GRAPH else ():
        yield of_the_product(kind, vectors)


def of_the_product(kind: Kind, vectors: FloatArray) -> tuple[str, float, float, Search]:
    """Build a kind that the product has."""
    ids = np.arange(1, len(vectors) + 1)
    started = time.process_time()
    index = VectorIndex.build(kind, ids, vectors)
    spent = time.process_time() - started
    return kind, spent, file_mb(index.write), partial(searched, index, Selection(ids))


def searched(index: VectorIndex, everything: Selection, row: FloatArray) -> list[int]:
    """Return the ids that the product's index finds."""
    return [key for key, _ in index.search(row, selection=everything, top_k=TOP)]


def write(index: Any, path: Path) -> None:
    """Write an index of FAISS to a file."""
    faiss.write_index(index, str(path))


def fill(index: Any, vectors: FloatArray) -> None:
    """Train lists and codes as the product trains its lists, and add the vectors."""
    index.cp.niter, index.cp.spherical, index.cp.max_points_per_centroid = TRAINING_ROUNDS, True, LEARNED_FROM
    index.train(vectors)
    index.add(vectors)
    index.nprobe = max(1, round(PROBED * index.nlist))


def searched_again(index: Any, vectors: FloatArray, row: FloatArray) -> list[int]:
    """Return the ids of the best by the stored vectors among the best by their codes."""
    _, found = index.search(row[None], AGAIN * TOP)
    near = found[0][found[0] >= 0]
    best = near[np.argsort(-(vectors[near] @ row), kind="stable")[:TOP]] + 1
    return [int(one) for one in best]


def file_mb(write: Callable[[Path], None]) -> float:
    """Return the size of what is written, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "index")
        return (Path(folder) / "index").stat().st_size / 1e6
