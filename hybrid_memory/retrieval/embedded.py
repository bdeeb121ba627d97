"""Vectors of another encoder, on disk until they replace those in the ledger.

Flow:    ledger (texts) -> encoder -> [Embedded] -> ledger, index; retriever.reindex
Imports: errors, protocols, types.

Embedding is the long part of a reindex. A process that is killed in it goes on where it was, and the memory it needs
does not grow with the passages. A vector gives its text away: saving the index deletes here what was forgotten.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from hybrid_memory.errors import LedgerError
from hybrid_memory.protocols import Encoder, Ledger, Progress
from hybrid_memory.types import FloatArray, Passage

__all__ = ["Embedded", "forget_embedded"]

FILES = "reindex-*.sqlite"
SCHEMA = "CREATE TABLE IF NOT EXISTS vectors (passage INTEGER PRIMARY KEY, text BLOB NOT NULL, vector BLOB NOT NULL)"
BATCH = 512
"""Passages embedded at a time, so that progress is seen, lengths can be sorted, and no more is lost in a crash."""
PAGE = 4096


class Embedded:
    """The passages of one ledger by one encoder, as far as they are embedded.

    A vector counts for the very text it was made of: a number that was given out again finds nothing.

    Args:
        folder: of the index; files for other encoders are deleted.
        encoder: makes the vectors.

    Raises:
        LedgerError: the file cannot be written.
    """

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        self._encoder = encoder
        self._file = folder / FILES.replace("*", encoder.fingerprint)
        folder.mkdir(parents=True, exist_ok=True)
        for other in folder.glob(FILES):
            if other != self._file:
                _delete(other)
        self._database = _opened(self._file)

    def fill(self, ledger: Ledger, progress: Progress | None = None) -> None:
        """Embed what is not in here yet, and again what has arrived meanwhile; drop what has left the ledger."""
        while lacking := self._lacking(ledger):
            for start in range(0, len(lacking), BATCH):
                passages = [passage for passage, _ in ledger.passages(lacking[start : start + BATCH])]
                if passages:
                    self._write(passages, self._encoder.encode([passage.text for passage in passages]))
                if progress is not None:
                    progress("reindex", min(start + BATCH, len(lacking)), len(lacking))

    def pages(self) -> Iterator[tuple[list[int], FloatArray]]:
        """Yield ascending passage ids and their vectors, shape (n, dim), some thousand at a time."""
        last = 0
        query = "SELECT passage, vector FROM vectors WHERE passage > ? ORDER BY passage LIMIT ?"
        while rows := self._database.execute(query, (last, PAGE)).fetchall():
            yield [row[0] for row in rows], np.stack([np.frombuffer(row[1], dtype="<f4") for row in rows])
            last = rows[-1][0]

    def close(self, *, delete: bool = False) -> None:
        """Close the file; with `delete`, it has served."""
        self._database.close()
        if delete:
            _delete(self._file)

    def _lacking(self, ledger: Ledger) -> list[int]:
        lacking: list[int] = []
        last = 0
        while True:
            ids, texts = ledger.texts_after(last, limit=PAGE)
            until = ids[-1] if len(ids) == PAGE else 2**63 - 1
            query = "SELECT passage, text FROM vectors WHERE passage > ? AND passage <= ?"
            known = dict(self._database.execute(query, (last, until)).fetchall())
            lacking += [key for key, text in zip(ids, texts, strict=True) if known.get(key) != _digest(text)]
            _drop(self._database, sorted(known.keys() - set(ids)))
            if len(ids) < PAGE:
                return lacking
            last = until

    def _write(self, passages: Sequence[Passage], vectors: FloatArray) -> None:
        rows = [
            (passage.id, _digest(passage.text), np.ascontiguousarray(vector, dtype="<f4").tobytes())
            for passage, vector in zip(passages, vectors, strict=True)
        ]
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise _not_written(self._file, error) from error


def forget_embedded(folder: Path, ledger: Ledger, *, served: str) -> None:
    """Delete what the ledger has removed from the files of a reindex that is under way, or was interrupted.

    The file of the encoder whose vectors the ledger has already, `served`, goes as a whole.
    """
    for file in folder.glob(FILES):
        if file.name == FILES.replace("*", served):
            _delete(file)
            continue
        database = _opened(file)
        _drop(database, ledger.removals_after(0)[1])
        database.close()


def _opened(file: Path) -> sqlite3.Connection:
    try:
        database = sqlite3.connect(file, timeout=30)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")  # what a power cut takes is embedded again
        database.execute("PRAGMA secure_delete=ON")
        database.execute(SCHEMA)
    except sqlite3.Error as error:
        raise _not_written(file, error) from error
    return database


def _drop(database: sqlite3.Connection, ids: Sequence[int]) -> None:
    if not ids:
        return
    with database:
        database.executemany("DELETE FROM vectors WHERE passage = ?", [(key,) for key in ids])
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the journal has a copy of the old pages


def _delete(file: Path) -> None:
    for path in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm"))):
        path.unlink(missing_ok=True)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _not_written(file: Path, error: sqlite3.Error) -> LedgerError:
    return LedgerError(
        f"what is embedded cannot be kept in {file}: {error}; free some space, or delete this file if it is damaged, "
        "and run `hybrid-memory reindex` again: it goes on from what is there"
    )
