"""Tell where a record lives, how it came there, and whether the memory is sound.

Flow:    looks at every stage, changes none.
Imports: errors, types, protocols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hybrid_memory.errors import HybridMemoryError
from hybrid_memory.protocols import AdapterStore, Ledger, Retriever
from hybrid_memory.types import AdapterStatus, AdapterVersion, Json, Learning, Status

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
        "masked": _masked(ledger, record_id, versions),
    }


def _masked(ledger: Ledger, record_id: str, versions: Sequence[AdapterVersion]) -> list[Json]:
    """Return the ids of the serving versions that do not speak for the record: they know something stale.

    Behaviour is masked as a whole by any of its records, other shards only where this one is what they know.
    """
    always = {shard.active for shard in ledger.shards() if shard.group == "behaviour"}
    serving = [version for version in versions if version.status is AdapterStatus.ACTIVE]
    concerned = {one.id: set(one.record_ids if one.id in always else [record_id]) for one in serving}
    return [version for version, records in concerned.items() if ledger.current(sorted(records)) != records]


def trace(ledger: Ledger, id: str) -> Mapping[str, Json]:
    """Return everything known about a record's way, or about an adapter version's making."""
    version = next((version for version in ledger.versions() if version.id == id), None)
    if version is not None:
        return version.to_json()
    record = ledger.get(id)
    edits = ledger.self_edits([id])
    return {
        "record": record.to_json(),
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
