"""The index on disk: one faiss file and one JSON file that names it.

Flow:    index -> [snapshot] -> index at the next start
Imports: errors, types, durable, retrieval.index. faiss only here and in retrieval.index.

The faiss file is written under a new name and flushed before `snapshot.json` is replaced, so
the JSON always names a whole file. A snapshot is a cache: whatever is wrong with it, the ledger
has the vectors, and the owner builds the index again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import faiss

from hybrid_memory import durable
from hybrid_memory.errors import IndexMismatchError, LedgerError
from hybrid_memory.retrieval.index import VectorIndex
from hybrid_memory.types import Value

__all__ = ["Snapshot", "load", "save"]

POINTER = "snapshot.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(Value):
    """What `snapshot.json` says about the faiss file."""

    file: str
    sha256: str
    encoder: str
    """Fingerprint of the encoder that made the vectors."""
    count: int
    last_passage: int
    removals: int
    """Number of the last removal in the ledger that the index has followed."""


def save(index: VectorIndex, folder: Path, *, encoder: str, removals: int) -> Snapshot:
    """Write the index aside, flush it, point to it, delete older files; return what was written.

    Raises:
        LedgerError: the disk is full or the folder cannot be written; the snapshot before stays.
    """
    try:
        return _write(index, folder, encoder=encoder, removals=removals)
    except (OSError, RuntimeError) as error:  # faiss reports a full disk as RuntimeError
        raise LedgerError(
            f"the index snapshot could not be written to {folder}: {error}; free some space and save again. "
            "Nothing is lost: the ledger has every vector"
        ) from error


def load(folder: Path, *, encoder: str) -> tuple[VectorIndex, Snapshot] | None:
    """Return the stored index with its description, or None when there is none.

    Raises:
        IndexMismatchError: there is one, but it is damaged, incomplete or of another encoder.
    """
    pointer = folder / POINTER
    if not pointer.is_file():
        return None
    try:
        snapshot = Snapshot(**json.loads(pointer.read_text(encoding="utf-8")))
        if durable.sha256(folder / snapshot.file) != snapshot.sha256:
            raise IndexMismatchError(f"{folder / snapshot.file} differs from the SHA-256 in {POINTER}")
        index = VectorIndex.wrap(faiss.read_index(str(folder / snapshot.file)))
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise IndexMismatchError(f"the index snapshot in {folder} cannot be used: {error}") from error
    if snapshot.encoder != encoder or snapshot.count != len(index) or snapshot.last_passage != index.last_id:
        raise IndexMismatchError(
            f"{pointer} describes {snapshot.count} vectors up to passage {snapshot.last_passage} by encoder "
            f"{snapshot.encoder}; found {len(index)} up to {index.last_id}, wanted encoder {encoder}"
        )
    return index, snapshot


def _write(index: VectorIndex, folder: Path, *, encoder: str, removals: int) -> Snapshot:
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / ".snapshot.part"
    faiss.write_index(index.raw, str(part))
    digest = durable.sha256(part)
    final = folder / f"snapshot-{digest[:16]}.faiss"
    part.replace(final)
    durable.sync(folder)
    snapshot = Snapshot(
        file=final.name,
        sha256=digest,
        encoder=encoder,
        count=len(index),
        last_passage=index.last_id,
        removals=removals,
    )
    durable.write_text(folder / POINTER, json.dumps(snapshot.to_json(), indent=2) + "\n")
    durable.sync(folder)
    for other in folder.glob("snapshot-*.faiss"):
        if other.name != final.name:
            other.unlink(missing_ok=True)
    return snapshot
