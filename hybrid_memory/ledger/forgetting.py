"""Forget records: what they said goes, that they were there stays.

Flow:    SqlLedger.forget, one transaction; the caller deletes adapter files and rebuilds shards.
Imports: types, and content, dialects, known, selection, shards, standing, tables of the ledger.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, delete, insert, select, update

from hybrid_memory.ledger.content import grave_hashes, own_hashes, said_text, tombstone
from hybrid_memory.ledger.freshness import refresh
from hybrid_memory.ledger.keeping import set_meta
from hybrid_memory.ledger.known import SALT
from hybrid_memory.ledger.selection import in_parts
from hybrid_memory.ledger.shards import existing, load_all
from hybrid_memory.ledger.standing import Standing, add_events, event_row
from hybrid_memory.ledger.tables import (
    adapter_records,
    adapters,
    former,
    meta,
    passages,
    queue,
    records,
    removals,
    self_edits,
    sources,
    tombstones,
)
from hybrid_memory.types import AdapterStatus, Example, Json, Learning, Slot, Status

__all__ = ["DUE", "JOURNAL", "forget", "remove_passages", "salt"]

JOURNAL, DUE = "journal", "due"
"""Key of the meta table, and its value while forgotten text may still be in the database's journal."""


def forget(connection: Connection, record_ids: Sequence[str], *, now: int, may_return: bool = False) -> dict[str, Json]:
    """Remove what the records said; see `protocols.Ledger.forget`.

    The rows stay, emptied, so that ids and history remain. A shard whose active adapter has seen one of them is
    masked and dirty; a value that a forgotten one had replaced stays history.

    Returns:
        How many "records", "passages", "vectors", "self_edits" and "queue" entries went; the "shards" that are due
        for rebuilding, and the "adapters" (version ids) whose files have seen a forgotten record.

    Raises:
        NotFoundError: one of the ids is no record; nothing is forgotten.
    """
    standings = [known for known in load_all(connection, record_ids) if known.status is not Status.FORGOTTEN]
    gone: Counter[str] = Counter()
    seen: dict[str, str] = {}
    if standings:
        _strip_reasons(connection, standings)
        if not may_return:
            _bury(connection, standings, now=now)
    for part in in_parts([standing.id for standing in standings]):
        seen |= _adapters_that_saw(connection, part)
        _strip_manifests(connection, part)
        gone["passages"] += remove_passages(connection, passages.c.record_id.in_(part))
        for table in (self_edits, queue, sources, former):
            gone[table.name] += connection.execute(delete(table).where(table.c.record_id.in_(part))).rowcount
        connection.execute(update(records).where(records.c.id.in_(part)).values(_EMPTY))
        add_events(connection, [event_row("forgotten", record_id, now=now) for record_id in part])
    set_meta(connection, JOURNAL, DUE)
    touched = {*seen.values(), *(standing.shard_id for standing in standings if standing.shard_id is not None)}
    for shard_id in touched:
        refresh(connection, shard_id, may_dirty=True)
    return {
        "records": len(standings),
        "passages": gone["passages"],
        "vectors": gone["passages"],
        "self_edits": gone["self_edits"],
        "queue": gone["queue"],
        "shards": [shard_id for shard_id in sorted(touched) if existing(connection, shard_id).dirty],
        "adapters": sorted(seen),
    }


_EMPTY: dict[str, Any] = {
    "text": "",
    "source": "",  # a file's name, such as ann-diagnosis.pdf, may say it all
    "asked": None,
    "slot_key": None,
    "subject": None,
    "attribute": None,
    "value": None,
    "version": 0,
    "examples": [],
    "metadata": {},
    "near_hash": "",
    "own_hash": None,
    "row_hash": None,
    "content_hash": "",  # an unsalted hash of a short text can be guessed
    "idempotency_key": None,
    "status": Status.FORGOTTEN.value,
    "learning": Learning.NONE.value,
    "learning_detail": "",
    "shard_id": None,
    "supersedes": None,
}


_SAID = ("scope_key", "text", "asked", "subject", "attribute", "value", "examples", "metadata")


def _bury(connection: Connection, standings: Sequence[Standing], *, now: int) -> None:
    """Leave tombstones of what was said, exactly and without case and punctuation."""
    key = salt(connection)
    said = select(*(records.c[name] for name in _SAID))
    graves: set[tuple[str, str]] = set()
    for part in in_parts([standing.id for standing in standings]):
        for row in connection.execute(said.where(records.c.id.in_(part))):
            slot = None if row.subject is None else Slot(row.subject, row.attribute)
            examples = [Example(**example) for example in row.examples]
            hashes = grave_hashes(text=said_text(row.text, row.asked), slot=slot, value=row.value, examples=examples)
            hashes |= own_hashes(row.metadata)
            graves |= {(row.scope_key, tombstone(key, hashed)) for hashed in hashes}
    for part in in_parts({hashed for _, hashed in graves}):
        old = connection.execute(select(tombstones.c.scope_key, tombstones.c.hash).where(tombstones.c.hash.in_(part)))
        graves -= {(row.scope_key, row.hash) for row in old}
    if graves:
        connection.execute(
            insert(tombstones), [{"scope_key": key, "hash": hashed, "at": now} for key, hashed in graves]
        )


def _strip_reasons(connection: Connection, standings: Sequence[Standing]) -> None:
    """Take the reasons out of the decisions: they may quote what was said."""
    connection.execute(
        update(records).where(records.c.id == bindparam("record_id")).values(decision=bindparam("bare")),
        [{"record_id": standing.id, "bare": {**standing.decision, "reasons": []}} for standing in standings],
    )


def salt(connection: Connection) -> str:
    """Return what hashes of this ledger's texts are keyed with; made when it is not there yet."""
    found: str | None = connection.execute(select(meta.c.value).where(meta.c.key == SALT)).scalar_one_or_none()
    if found is None:
        found = secrets.token_hex(16)
        connection.execute(insert(meta), {"key": SALT, "value": found})
    return found


def remove_passages(connection: Connection, chosen: ColumnElement[bool]) -> int:
    """Remove the passages that are chosen, so that the indexes drop them too; return how many."""
    ids = list(connection.execute(select(passages.c.id).where(chosen)).scalars())
    connection.execute(delete(passages).where(chosen))
    if ids:
        connection.execute(insert(removals), [{"passage_id": passage_id} for passage_id in ids])
    return len(ids)


def _adapters_that_saw(connection: Connection, record_ids: Sequence[str]) -> dict[str, str]:
    """Return adapter version id -> shard id of those trained on one of the records, whose files still exist."""
    rows = connection.execute(
        select(adapters.c.id, adapters.c.shard_id)
        .join(adapter_records, adapter_records.c.adapter_id == adapters.c.id)
        .where(adapter_records.c.record_id.in_(record_ids), adapters.c.status != AdapterStatus.PURGED)
    )
    return {row.id: row.shard_id for row in rows}


def _strip_manifests(connection: Connection, record_ids: Sequence[str]) -> None:
    """Take the hashes of records and self-edits out of the manifests: one of a short text can be guessed, unsalted."""
    concerned = select(adapter_records.c.adapter_id).where(adapter_records.c.record_id.in_(record_ids))
    rows = connection.execute(select(adapters.c.id, adapters.c.manifest).where(adapters.c.id.in_(concerned))).all()
    gone = set(record_ids)
    for row in rows:
        kept = {
            name: {key: value for key, value in row.manifest[name].items() if key not in gone}
            for name in ("records", "self_edits")
            if name in row.manifest
        }
        changed = {**row.manifest, **kept}
        connection.execute(update(adapters).where(adapters.c.id == row.id).values(manifest=changed))
