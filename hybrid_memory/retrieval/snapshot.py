"""An index on disk: its file, and one JSON file that names it.

Flow:    index or words -> [snapshot] -> index or words at the next start
Imports: errors, types, durable.

The index is written under a new name and flushed before `snapshot.json` is replaced, so the JSON always names a
whole file. What is forgotten may be wiped in the file itself. A snapshot is a cache: whatever is wrong with it, the
ledger has vectors and texts, and the owner builds the index again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock
from safetensors import SafetensorError

from hybrid_memory import durable
from hybrid_memory.errors import IndexMismatchError, LedgerError
from hybrid_memory.types import Value

__all__ = ["Snapshot", "find", "save", "sweep", "wipe"]

POINTER = "snapshot.json"
LOCK = ".lock"
"""Held while the folder is written to: one process wipes no file that another one replaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(Value):
    """What `snapshot.json` says about the index file."""

    file: str
    sha256: str
    encoder: str
    """Fingerprint of what made the content: an encoder, or the rules by which words are cut."""
    count: int
    last_passage: int
    removals: int
    """Number of the last removal in the ledger that the index has followed."""
    wiped: int = 0
    """Number of the last removal whose content was overwritten in the file since; its ids are still there."""


def save(
    folder: Path, write: Callable[[Path], None], *, encoder: str, count: int, last_passage: int, removals: int
) -> Snapshot:
    """Let `write` write the index aside, flush it, point to it, delete older files; return the description.

    Raises:
        LedgerError: the disk is full or the folder cannot be written; the snapshot before stays.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / LOCK):
            part = folder / ".snapshot.part"
            write(part)
            digest = durable.sha256(part)
            final = folder / f"snapshot-{digest[:16]}.index"
            part.replace(final)
            snapshot = Snapshot(
                file=final.name,
                sha256=digest,
                encoder=encoder,
                count=count,
                last_passage=last_passage,
                removals=removals,
            )
            _point(folder, snapshot)
            for other in folder.glob("snapshot-*"):
                if other.name != final.name:
                    other.unlink(missing_ok=True)
    except (OSError, RuntimeError, SafetensorError) as error:  # faiss reports a full disk as RuntimeError
        raise _not_written(folder, error) from error
    return snapshot


def wipe(folder: Path, change: Callable[[Path, Snapshot], int], *, encoder: str) -> bool:
    """Let `change` overwrite what was forgotten in the index file, in place; return whether there was a file.

    The description is withdrawn meanwhile: a crash in between leaves no snapshot, not one that differs from its
    description. The index is then made again from the ledger.

    Args:
        folder: where the snapshot lies.
        change: gets file and description; returns the number of the last removal that it has followed.
        encoder: as for `find`.

    Raises:
        LedgerError: the folder cannot be written.
        IndexMismatchError: what is there is damaged, incomplete or of another encoder.
    """
    try:
        with FileLock(folder / LOCK):
            found = find(folder, encoder=encoder)
            if found is None:
                return False
            path, snapshot = found
            (folder / POINTER).unlink()
            wiped = change(path, snapshot)
            _point(folder, replace(snapshot, wiped=wiped, sha256=durable.sha256(path)))
    except OSError as error:
        raise _not_written(folder, error) from error
    return True


def sweep(folder: Path) -> None:
    """Delete the file of a wiping that was killed: nothing names it, and what was forgotten may still be in it.

    Waits for a process that is at it.
    """
    if not (folder / POINTER).is_file() and folder.is_dir():
        with FileLock(folder / LOCK):
            for file in folder.glob("snapshot-*") if not (folder / POINTER).is_file() else ():
                file.unlink(missing_ok=True)


def _point(folder: Path, snapshot: Snapshot) -> None:
    durable.sync(folder)
    durable.write_text(folder / POINTER, json.dumps(snapshot.to_json(), indent=2) + "\n")
    durable.sync(folder)


def _not_written(folder: Path, error: Exception) -> LedgerError:
    return LedgerError(
        f"the index snapshot could not be written to {folder}: {error}; free some space and save again. "
        "Nothing is lost: the ledger has every vector"
    )


def find(folder: Path, *, encoder: str) -> tuple[Path, Snapshot] | None:
    """Return the stored index's file with its description, or None when there is none.

    Raises:
        IndexMismatchError: there is one, but it is damaged, incomplete or of another encoder.
    """
    pointer = folder / POINTER
    if not pointer.is_file():
        return None
    try:
        snapshot = Snapshot(**json.loads(pointer.read_text(encoding="utf-8")))
        path = folder / snapshot.file
        if durable.sha256(path) != snapshot.sha256:
            raise IndexMismatchError(f"{path} differs from the SHA-256 in {POINTER}")
    except (OSError, ValueError, TypeError) as error:
        raise IndexMismatchError(f"the index snapshot in {folder} cannot be used: {error}") from error
    if snapshot.encoder != encoder:
        raise IndexMismatchError(f"{pointer} is of encoder {snapshot.encoder}, wanted {encoder}")
    return path, snapshot
