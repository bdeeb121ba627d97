"""A hit's own metadata, as every library that reads hits gets it.

Flow:    search, answer -> [hits] -> the library's document
Imports: types.
"""

from __future__ import annotations

from typing import Any

from hybrid_memory.types import Hit, finite

__all__ = ["hit_metadata"]


def hit_metadata(hit: Hit) -> dict[str, Any]:
    """Return the record's id, source, kind and valid_from, and the similarity: None where only the words matched.

    A neighbouring part of a document also has `beside`, the record id of the hit that brought it.
    """
    record = hit.record
    return {
        "record_id": record.id,
        "source": record.source,
        "kind": record.kind.value,
        "valid_from": record.valid_from.isoformat(),
        "similarity": finite(hit.similarity),
        **({} if hit.beside is None else {"beside": hit.beside}),
    }
