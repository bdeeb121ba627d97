"""A trained adapter on its way: a candidate in its staging folder, then a version that serves or a row that says no.

Flow:    trainer -> [candidate_in] -> judged -> [settle] -> promoted | rejected
Imports: errors, types, protocols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from hybrid_memory.errors import LedgerError
from hybrid_memory.protocols import AdapterStore, Ledger
from hybrid_memory.types import AdapterStatus, AdapterVersion, Json, Learning

__all__ = ["candidate_in", "settle"]


def candidate_in(
    folder: Path, shard_id: str, number: int, *, record_ids: Sequence[str], manifest: Mapping[str, Json]
) -> AdapterVersion:
    """Return the version that lies in a staging folder, for whoever judges it."""
    return AdapterVersion(
        id=f"{shard_id}-v{number}",
        shard_id=shard_id,
        number=number,
        status=AdapterStatus.CANDIDATE,
        path=str(folder),
        created_at=datetime.now(UTC),
        record_ids=tuple(record_ids),
        manifest=manifest,
        metrics={},
    )


def settle(
    judged: AdapterVersion,
    *,
    passed: bool,
    ledger: Ledger,
    store: AdapterStore,
    learning: Mapping[str, tuple[Learning, str]],
) -> AdapterVersion:
    """Promote a candidate that passed: files first, then the one transaction that makes it serve. Reject another.

    Args:
        judged: with its metrics; it lies in its staging folder.
        passed: what the gate said.
        ledger: gets the version, and what it means for its records.
        store: gets the files.
        learning: record id -> its state once the version serves.

    Raises:
        LedgerError: the disk is full.
    """
    folder = Path(judged.path)
    if not passed:
        # the path names where it would lie: no row may keep the staging folder from the sweep
        rejected = replace(judged, path=str(folder.with_name(judged.id)))
        ledger.reject(rejected)
        return rejected
    try:
        final = store.publish(folder, judged.manifest, judged.metrics)
    except OSError as error:
        raise LedgerError(
            f"adapter version {judged.id} could not be written ({error}); what it was made from is kept: "
            "free some space and run it again"
        ) from error
    return ledger.promote(replace(judged, path=str(final)), learning=learning)
