"""Adapter versions: promotion and rollback are one transaction each.

Flow:    SqlLedger.next_number, promote, reject, activate, roll_back, versions, mark_purged.
Imports: errors, types, and freshness, learning, rows, selection, shards, standing, tables of the ledger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection, func, insert, or_, select, update

from hybrid_memory.errors import AdapterError, NotFoundError
from hybrid_memory.ledger.clock import to_micros
from hybrid_memory.ledger.freshness import refresh
from hybrid_memory.ledger.learning import settle
from hybrid_memory.ledger.rows import read_version
from hybrid_memory.ledger.selection import in_parts
from hybrid_memory.ledger.shards import existing
from hybrid_memory.ledger.standing import Standing, add_events, event_row, load, save
from hybrid_memory.ledger.tables import adapter_records, adapters, records, shards
from hybrid_memory.types import AdapterStatus, AdapterVersion, Learning, Route, Status, quoted

__all__ = ["activate", "mark_purged", "next_number", "promote", "reject", "roll_back", "versions"]

_CAN_SERVE = (AdapterStatus.ACTIVE, AdapterStatus.RETIRED, AdapterStatus.DISABLED, AdapterStatus.CANDIDATE)


def next_number(connection: Connection, shard_id: str) -> int:
    """Return the version number after the greatest one this shard ever had, from 1."""
    greatest = select(func.coalesce(func.max(adapters.c.number), 0)).where(adapters.c.shard_id == shard_id)
    return int(connection.execute(greatest).scalar_one()) + 1


def promote(
    connection: Connection, version: AdapterVersion, *, learning: Mapping[str, tuple[Learning, str]], now: int
) -> AdapterVersion:
    """Store a version as the active one of its shard and settle its records; see `protocols.Ledger.promote`.

    Raises:
        NotFoundError: the shard or a record does not exist.
        AdapterError: the version's id or number was used before.
    """
    existing(connection, version.shard_id)
    active = replace(version, status=AdapterStatus.ACTIVE)
    _store(connection, active)
    _serve(connection, version.shard_id, version.id, replaced=AdapterStatus.RETIRED)
    settle(connection, learning, now=now)
    refresh(connection, version.shard_id, may_dirty=True)
    detail = {"shard": version.shard_id, "adapter": version.id}
    add_events(connection, [event_row("promoted", None, now=now, **detail)])
    return active


def reject(connection: Connection, version: AdapterVersion, *, now: int) -> None:
    """Store a version that did not pass; nothing else changes.

    Raises:
        NotFoundError: the shard does not exist.
        AdapterError: the version's id or number was used before.
    """
    existing(connection, version.shard_id)
    _store(connection, replace(version, status=AdapterStatus.REJECTED))
    add_events(connection, [event_row("rejected", None, now=now, shard=version.shard_id, adapter=version.id)])


def activate(connection: Connection, shard_id: str, version_id: str | None, *, now: int) -> None:
    """Point a shard at one of its versions, or at none.

    Switching off leaves learning states as they are, and a dirty shard dirty; see `roll_back` for a version.

    Raises:
        NotFoundError: the shard or the version does not exist.
        AdapterError: the version belongs to another shard, was rejected, or its files are deleted.
    """
    if version_id is not None:
        return roll_back(connection, {shard_id: version_id}, now=now)
    before = existing(connection, shard_id).active
    _serve(connection, shard_id, None, replaced=AdapterStatus.DISABLED)
    refresh(connection, shard_id, may_dirty=False)
    add_events(connection, [event_row("activated", None, now=now, shard=shard_id, adapter=None, before=before)])


def roll_back(connection: Connection, targets: Mapping[str, str | None], *, now: int) -> None:
    """Let each shard serve the version that is named for it, or none; all of them or, on an error, none.

    The learning states follow: records that a version knows come back to its shard, wherever they have moved since,
    and are learned again, or stale when they are no longer to be learned. Other learned records of these shards are
    declined, with the reason, so that what was rolled back is not trained again by itself.

    Raises:
        NotFoundError: a shard or a version does not exist.
        AdapterError: a version belongs to another shard, was rejected, or its files are deleted.
    """
    before = {shard_id: existing(connection, shard_id).active for shard_id in targets}
    concerned = set(targets)
    for shard_id, version_id in targets.items():
        if version_id is not None:
            _check_serves(connection, shard_id, version_id)
        replaced = AdapterStatus.DISABLED if version_id is None else AdapterStatus.RETIRED
        _serve(connection, shard_id, version_id, replaced=replaced)
        concerned |= _follow(connection, shard_id, version_id, now=now)
    for shard_id in sorted(concerned):
        refresh(connection, shard_id, may_dirty=existing(connection, shard_id).active is not None)
    switched = [
        event_row("activated", None, now=now, shard=shard_id, adapter=version_id, before=before[shard_id])
        for shard_id, version_id in targets.items()
        if version_id != before[shard_id]
    ]
    add_events(connection, switched)


def versions(connection: Connection, shard_id: str | None) -> list[AdapterVersion]:
    """Return adapter versions of a shard (None: of all), oldest first."""
    query = select(adapters).order_by(adapters.c.created_at, adapters.c.shard_id, adapters.c.number)
    links = select(adapter_records).order_by(adapter_records.c.adapter_id, adapter_records.c.position)
    if shard_id is not None:
        query = query.where(adapters.c.shard_id == shard_id)
        links = links.join(adapters).where(adapters.c.shard_id == shard_id)
    members: defaultdict[str, list[str]] = defaultdict(list)
    for link in connection.execute(links):
        members[link.adapter_id].append(link.record_id)
    return [read_version(row, members[row["id"]]) for row in connection.execute(query).mappings()]


def mark_purged(connection: Connection, version_ids: Sequence[str], *, now: int) -> None:
    """Remember that the files of these versions are deleted.

    Raises:
        AdapterError: one of them is active; a shard never points at deleted files.
    """
    for part in in_parts(version_ids):
        named = adapters.c.id.in_(part)
        serving = connection.execute(select(shards.c.id, shards.c.active).where(shards.c.active.in_(part))).first()
        if serving is not None:
            raise AdapterError(
                f"{serving.active} serves shard {serving.id} and cannot be purged; "
                "activate another version or none first"
            )
        connection.execute(update(adapters).where(named).values(status=AdapterStatus.PURGED))
        add_events(connection, [event_row("purged", None, now=now, adapter=version_id) for version_id in part])


def _store(connection: Connection, version: AdapterVersion) -> None:
    taken = connection.execute(
        select(adapters.c.id).where(
            or_(
                adapters.c.id == version.id,
                (adapters.c.shard_id == version.shard_id) & (adapters.c.number == version.number),
            )
        )
    ).first()
    if taken is not None:
        raise AdapterError(f"adapter version {version.id} exists already; next_number() gives a free number")
    plain = version.to_json()
    connection.execute(
        insert(adapters),
        {
            "id": version.id,
            "shard_id": version.shard_id,
            "number": version.number,
            "status": version.status.value,
            "path": version.path,
            "created_at": to_micros(version.created_at, "created_at"),
            "manifest": plain["manifest"],
            "metrics": plain["metrics"],
        },
    )
    if version.record_ids:
        rows = [
            {"adapter_id": version.id, "record_id": record_id, "position": position}
            for position, record_id in enumerate(dict.fromkeys(version.record_ids))
        ]
        connection.execute(insert(adapter_records), rows)


def _serve(connection: Connection, shard_id: str, version_id: str | None, *, replaced: AdapterStatus) -> None:
    of_shard = (adapters.c.shard_id == shard_id) & (adapters.c.status == AdapterStatus.ACTIVE)
    connection.execute(update(adapters).where(of_shard).values(status=replaced))
    connection.execute(update(adapters).where(adapters.c.id == version_id).values(status=AdapterStatus.ACTIVE))
    connection.execute(update(shards).where(shards.c.id == shard_id).values(active=version_id))


def _check_serves(connection: Connection, shard_id: str, version_id: str) -> None:
    query = select(adapters.c.shard_id, adapters.c.status).where(adapters.c.id == version_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no adapter version {quoted(version_id)}; adapters.list() shows them")
    if row.shard_id != shard_id:
        raise AdapterError(f"{version_id} belongs to shard {row.shard_id}, not to {shard_id}")
    if row.status not in _CAN_SERVE:
        raise AdapterError(f"{version_id} is {row.status} and cannot serve; choose a version that was active before")


def _follow(connection: Connection, shard_id: str, version_id: str | None, *, now: int) -> set[str]:
    """Let records follow what their shard serves now; return the ids of the shards that lost one to it."""
    members = select(adapter_records.c.record_id).where(adapter_records.c.adapter_id == version_id)
    known = set(connection.execute(members).scalars())
    found = {standing.id: standing for standing in load(connection, records.c.shard_id == shard_id)}
    for part in in_parts(sorted(known)):
        found |= {standing.id: standing for standing in load(connection, records.c.id.in_(part))}
    concerned = [standing for standing in found.values() if standing.status is not Status.FORGOTTEN]
    save(connection, [(one, _followed(one, known, shard_id, version_id)) for one in concerned], now=now)
    moved = [standing for standing in concerned if standing.id in known and standing.shard_id != shard_id]
    add_events(connection, [event_row("assigned", standing.id, now=now, shard=shard_id) for standing in moved])
    return {standing.shard_id for standing in moved if standing.shard_id is not None}


def _followed(standing: Standing, known: set[str], shard_id: str, version_id: str | None) -> Standing:
    if standing.id in known:
        wanted = standing.status is Status.ACTIVE and standing.route is Route.LEARN
        learning = Learning.LEARNED if wanted else Learning.STALE
        return replace(standing, shard_id=shard_id, learning=learning, learning_detail=version_id or "")
    if standing.learning is Learning.LEARNED:
        reason = f"rolled back to {version_id or 'a time when its shard served nothing'}"
        return replace(standing, learning=Learning.DECLINED, learning_detail=reason)
    return standing
