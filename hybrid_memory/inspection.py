"""Tell where a record lives, how it came there, and whether the memory is sound.

Flow:    looks at every stage, changes none.
Imports: errors, types, protocols.
"""

from __future__ import annotations

from collections.abc import Mapping

from hybrid_memory.errors import HybridMemoryError
from hybrid_memory.protocols import AdapterStore, Ledger, Retriever
from hybrid_memory.types import AdapterStatus, Json, Learning, Status

__all__ = ["problems", "trace", "where"]


def where(ledger: Ledger, record_id: str) -> Mapping[str, Json]:
    """Return where a record lives now: retrieval, queue, adapters."""
    record = ledger.get(record_id)
    versions = [version for version in ledger.versions() if record_id in version.record_ids]
    return {
        "record": record_id,
        "status": record.status.value,
        "retrievable": record.status is Status.ACTIVE,
        "waits_for_window": record.learning is Learning.QUEUED,
        "learning": record.learning.value,
        "learning_detail": record.learning_detail,
        "shard": record.shard_id,
        "adapters": {version.id: version.status.value for version in versions},
    }


def trace(ledger: Ledger, id: str) -> Mapping[str, Json]:
    """Return everything known about a record's way, or about an adapter version's making."""
    version = next((version for version in ledger.versions() if version.id == id), None)
    if version is not None:
        return version.to_json()
    edits = ledger.self_edits([id])
    return {
        "record": ledger.get(id).to_json(),
        "where": where(ledger, id),
        "history": [event.to_json() for event in ledger.history(id)],
        "self_edit": edits[0].to_json() if edits else None,
    }


def problems(ledger: Ledger, retriever: Retriever, store: AdapterStore) -> list[str]:
    """Check ledger, index and the adapters that serve or could; one sentence each, with what mends it."""
    found = [*ledger.check(), *retriever.check()]
    for version in ledger.versions():
        if version.status in (AdapterStatus.ACTIVE, AdapterStatus.RETIRED):
            try:
                store.verify(version.path)
            except HybridMemoryError as error:
                found.append(str(error))
    return found
