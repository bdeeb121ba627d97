"""Stand-ins for tests: yours and ours.

Imports: errors, types. Nothing here loads a model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from hybrid_memory.errors import NotFoundError
from hybrid_memory.types import FloatArray

__all__ = ["TableEncoder"]


class TableEncoder:
    """An encoder that looks vectors up in a table, so that expected scores can be worked out by hand.

    The vectors come back exactly as the table has them, long or short: whoever compares them
    must normalise.

    Args:
        table: text -> vector; all of one length.

    >>> TableEncoder({"north": [0, 1], "east": [2, 0]}).encode(["east"]).tolist()
    [[2.0, 0.0]]
    """

    def __init__(self, table: Mapping[str, Sequence[float] | npt.NDArray[np.floating]]) -> None:
        self._table = {text: np.asarray(vector, dtype=np.float32) for text, vector in table.items()}

    @property
    def dim(self) -> int:
        """Length of every vector in the table."""
        return len(next(iter(self._table.values())))

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """No words: a table has no neighbours."""
        return ()

    @property
    def fingerprint(self) -> str:
        """12 hex digits of the SHA-256 of the table."""
        digest = hashlib.sha256()
        for text, vector in sorted(self._table.items()):
            digest.update(text.encode() + b"\0" + vector.tobytes())
        return digest.hexdigest()[:12]

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return the table's vectors, shape (len(texts), dim), float32.

        Raises:
            NotFoundError: a text is not in the table.
        """
        missing = [text for text in texts if text not in self._table]
        if missing:
            raise NotFoundError(f"the table has no vector for {missing[0]!r}; it has {', '.join(self._table)}")
        return np.stack([self._table[text] for text in texts]) if texts else np.zeros((0, self.dim), np.float32)
