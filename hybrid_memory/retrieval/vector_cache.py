"""Keep vectors on disk by the content of their text, so that no text is embedded twice.

Flow:    text -> [look up] -> encoder, only for what is new -> ledger, index
Imports: errors, protocols, types.

Opt-in (`encoder.cache`): one file may serve several memories. A vector gives its text away, so
forgetting deletes the vectors of what is forgotten here as well. It finds them by the vectors in the ledger;
so what is embedded of a record beside its passages, such as study material, belongs to `without_memory`.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hybrid_memory.errors import ConfigError
from hybrid_memory.protocols import Encoder
from hybrid_memory.types import FloatArray, quoted

__all__ = ["CachedEncoder"]

SCHEMA = "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID"
IN_ONE_QUERY = 500
"""SQLite takes at most 999 or 32,766 variables, depending on its version."""


class CachedEncoder:
    """An encoder with a memory on disk; obeys `protocols.Encoder` and `protocols.RemembersVectors`.

    Several processes may share the file. The key is the SHA-256 of the encoder's fingerprint and the
    text, so another encoder never meets these vectors, and the file holds no text.

    Args:
        encoder: makes the vectors that are not in the file yet.
        file: a SQLite file; it and its folder are made when they are missing.

    Raises:
        ConfigError: the file cannot be opened, or is no such cache.
    """

    def __init__(self, encoder: Encoder, file: Path) -> None:
        self._encoder = encoder
        self._file = file
        self._lock = threading.Lock()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(file, timeout=30, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")  # a cache: what is lost is embedded again
            self._database.execute("PRAGMA secure_delete=ON")
            self._database.execute(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"encoder.cache = {quoted(str(file))} cannot be used: {error}; name a file that this user may write, "
                "or leave it out to keep no vectors beside the ledger's"
            ) from error

    @property
    def without_memory(self) -> Encoder:
        """The encoder itself: what it embeds leaves nothing here."""
        return self._encoder

    @property
    def dim(self) -> int:
        """Length of every vector; loads the model only when nothing is cached yet."""
        return int(self.encode(["length"]).shape[1])

    @property
    def fingerprint(self) -> str:
        """The encoder's own: where a vector comes from does not change it."""
        return self._encoder.fingerprint

    @property
    def vocabulary(self) -> Sequence[str]:
        """The encoder's own."""
        return self._encoder.vocabulary

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return an array of shape (len(texts), dim), float32; only texts that are new reach the encoder."""
        keys = [self._key(text) for text in texts]
        with self._lock:
            known = self._read(keys)
        fresh = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if fresh:
            made = dict(zip(fresh, self._encoder.encode(list(fresh.values())), strict=True))
            with self._lock:
                self._write(made)
            known |= made
        return np.stack([known[key] for key in keys]) if keys else np.zeros((0, self.dim), dtype=np.float32)

    def forget_vectors(self, vectors: FloatArray) -> int:
        """Delete these vectors, of shape (n, dim); return how many were there. Reads the whole file."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            gone = [
                self._database.execute("DELETE FROM vectors WHERE vector = ?", (_bytes(vector),)).rowcount
                for vector in vectors
            ]
            self._database.execute("COMMIT")
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the journal has a copy of the old pages
        return sum(gone)

    @property
    def size(self) -> int:
        """How many vectors are kept."""
        with self._lock:
            return int(self._database.execute("SELECT count(*) FROM vectors").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(f"{self.fingerprint}\n{text}".encode()).digest()

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, FloatArray]:
        wanted, found = list(dict.fromkeys(keys)), {}
        for start in range(0, len(wanted), IN_ONE_QUERY):
            part = wanted[start : start + IN_ONE_QUERY]
            query = f"SELECT key, vector FROM vectors WHERE key IN ({','.join('?' * len(part))})"
            for key, blob in self._database.execute(query, part):
                found[key] = np.frombuffer(blob, dtype="<f4").astype(np.float32)
        return found

    def _write(self, made: dict[bytes, FloatArray]) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany(
            "INSERT OR IGNORE INTO vectors VALUES (?, ?)", [(key, _bytes(vector)) for key, vector in made.items()]
        )
        self._database.execute("COMMIT")


def _bytes(vector: FloatArray) -> bytes:
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()
