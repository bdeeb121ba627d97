"""Passages: which a query may see, their texts and their vectors.

Flow:    SqlLedger.visible, passages, vectors_after, vectors, set_vectors,
         record_vectors, removals_after.
Imports: errors, types, and former, prepared, rows, selection, tables of the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any

import numpy as np
from sqlalchemy import Connection, FromClause, Row, Select, and_, bindparam, func, select, union, update

from hybrid_memory.errors import IndexMismatchError
from hybrid_memory.ledger.former import known
from hybrid_memory.ledger.prepared import Query
from hybrid_memory.ledger.rows import read_passage, read_record, read_vectors, vector_bytes
from hybrid_memory.ledger.selection import in_parts, searched, seen_by
from hybrid_memory.ledger.tables import events, passages, records, removals
from hybrid_memory.protocols import Filters
from hybrid_memory.types import FloatArray, IdArray, Passage, Record, Scope, Status

__all__ = [
    "CONTEXT",
    "first_passages",
    "read_passages",
    "record_vectors",
    "removals_after",
    "set_vectors",
    "texts_after",
    "vectors",
    "vectors_after",
    "visible",
    "visible_since",
]

CONTEXT = 0.7
"""Share of its text in the vector by which a sentence is found; the rest is its own. A sentence alone is found under
whatever shares its words, a text of many things under none. At 1 (the text alone), 0.8, 0.7, 0.6, 0.5: the right one
of five pages first for 51, 69, 72, 75, 75 % of *dev*'s hard questions by meaning; nDCG@10 of tuning halves, FeedbackQA
0.689, 0.682, 0.683, 0.670, 0.665, LoCoMo 0.573, 0.575, 0.576, 0.581, 0.580 (benchmarks/LOG.md)."""


def _with_records(table: FromClause) -> Select[Any]:
    passage = (passages.c.id.label("passage_id"), passages.c.position, passages.c.text.label("passage_text"))
    both = table.join(passages, passages.c.record_id == table.c.id)
    return select(table, *passage).select_from(both).where(passages.c.id.in_(bindparam("ids", expanding=True)))


_NOW = Query(_with_records(records))
_WHOLE = passages.alias("whole")
"""The passage that a sentence is of."""
_OF_WHOLE = and_(_WHOLE.c.record_id == passages.c.record_id, _WHOLE.c.position == 0)


def _after(query: Select[Any]) -> Query:
    return Query(query.where(passages.c.id > bindparam("after")).order_by(passages.c.id).limit(bindparam("limit")))


_TEXTS = _after(select(passages.c.id, passages.c.text))
_WHOLE_TEXTS = _after(select(passages.c.id, passages.c.text).where(~passages.c.sentence))
_WITH_WHOLE = select(passages.c.id, passages.c.vector, _WHOLE.c.vector.label("whole")).select_from(
    passages.outerjoin(_WHOLE, and_(passages.c.sentence, _OF_WHOLE))
)
_VECTORS = _after(_WITH_WHOLE)
_FIRST = Query(
    select(passages.c.id, _WHOLE.c.id.label("first"))
    .select_from(passages.join(_WHOLE, _OF_WHOLE))
    .where(passages.c.id.in_(bindparam("ids", expanding=True)))
)
_NEWEST_REMOVAL = Query(select(func.coalesce(func.max(removals.c.sequence), 0).label("newest")))
_REMOVED = Query(
    select(removals.c.passage_id).where(removals.c.sequence > bindparam("after")).order_by(removals.c.sequence)
)


def visible(
    connection: Connection,
    *,
    scope: Scope,
    filters: Filters | None,
    as_of: datetime | None,
    known_at: datetime | None,
) -> IdArray:
    """Return the ids of the passages a query may see: shape (n,), int64, ascending."""
    table = known(connection, known_at)
    # The records come first: SQLite reads the right side of a join as a whole when it is a query itself.
    query = (
        select(passages.c.id)
        .select_from(table.join(passages, passages.c.record_id == table.c.id))
        .where(searched(scope=scope, filters=filters, as_of=as_of, known_at=known_at, table=table))
    )
    ids = np.fromiter(connection.execute(query).scalars(), dtype=np.int64)
    ids.sort()
    return ids


def visible_since(
    connection: Connection, *, scope: Scope, filters: Filters | None, event: int, after: int, now: int
) -> tuple[int, int | None, IdArray, IdArray]:
    """Return the newest event, when the next record begins or ends, what changed, and what of it a query may see.

    A record changes by an event after `event`, or because it began or ended after `after`; times are microseconds.
    With it change the other values of its slot, which it interrupts while it holds.
    """
    clock = int(connection.execute(select(func.coalesce(func.max(events.c.id), 0))).scalar_one())
    begun = [seen_by(scope), records.c.status == Status.ACTIVE, records.c.valid_from.between(after, now)]
    changed = [select(records.c.id).where(*begun)]
    for end in (records.c.valid_to, records.c.expires_at):
        changed.append(select(records.c.id).where(records.c.status == Status.ACTIVE, end.between(after, now)))
    if clock > event:
        changed.append(select(events.c.record_id).where(events.c.id > event, events.c.record_id.is_not(None)))
    ids = _with_slots(connection, connection.execute(union(*changed)).scalars())
    forgotten = and_(events.c.id > event, events.c.name == "forgotten")
    if clock > event and connection.execute(select(events.c.id).where(forgotten).limit(1)).first() is not None:
        # A forgotten record no longer knows its slot: any value may have been interrupted by it.
        slotted = and_(seen_by(scope), records.c.status == Status.ACTIVE, records.c.slot_key.is_not(None))
        ids |= set(connection.execute(select(records.c.id).where(slotted)).scalars())
    touched: list[int] = []
    seen: list[int] = []
    for part in in_parts(ids):
        query = select(passages.c.id).where(passages.c.record_id.in_(part))
        touched += connection.execute(query).scalars()
        shown = query.join(records, records.c.id == passages.c.record_id).where(searched(scope=scope, filters=filters))
        seen += connection.execute(shown).scalars()
    touched_ids, seen_ids = np.asarray(sorted(touched), dtype=np.int64), np.asarray(sorted(seen), dtype=np.int64)
    return clock, _next_change(connection, scope, now), touched_ids, seen_ids


def _with_slots(connection: Connection, record_ids: Iterable[str]) -> set[str]:
    """Add the active values of the same slots."""
    found = set(record_ids)
    other = records.alias("other")
    same = and_(other.c.slot_key == records.c.slot_key, other.c.scope_key == records.c.scope_key)
    for part in in_parts(sorted(found)):
        beside = select(other.c.id).join_from(records, other, same).where(records.c.id.in_(part))
        found |= set(connection.execute(beside.where(other.c.status == Status.ACTIVE)).scalars())
    return found


def _next_change(connection: Connection, scope: Scope, now: int) -> int | None:
    """Return when the next record that a query in this scope might see begins or ends."""
    active = records.c.status == Status.ACTIVE
    begins = select(func.min(records.c.valid_from)).where(seen_by(scope), active, records.c.valid_from > now)
    ends = [
        select(func.min(end)).where(active, end > now).scalar_subquery()
        for end in (records.c.valid_to, records.c.expires_at)
    ]
    times = connection.execute(select(begins.scalar_subquery(), *ends)).one()
    return min((time for time in times if time is not None), default=None)


def texts_after(connection: Connection, passage_id: int, *, limit: int, sentences: bool) -> tuple[list[int], list[str]]:
    """Return at most `limit` ids and texts of the passages after an id, in id order; with or without sentences."""
    rows = (_TEXTS if sentences else _WHOLE_TEXTS).rows(connection, after=passage_id, limit=limit)
    return [row["id"] for row in rows], [row["text"] for row in rows]


def read_passages(
    connection: Connection, ids: Sequence[int], *, known_at: datetime | None
) -> list[tuple[Passage, Record]]:
    """Return passages with their records in the order of `ids`; those forgotten meanwhile are left out."""
    then = None if known_at is None else _with_records(known(connection, known_at))
    found = {}
    for part in in_parts(ids):
        rows = _NOW.rows(connection, ids=part) if then is None else connection.execute(then, {"ids": part}).mappings()
        for row in rows:
            passage = read_passage(row)
            found[passage.id] = (passage, read_record(row))
    return [found[key] for key in ids if key in found]


def vectors_after(connection: Connection, passage_id: int, *, limit: int) -> tuple[list[int], FloatArray]:
    """Return ids and vectors of the passages after an id, in id order; those of sentences as `in_context` makes them.

    Stops where the length of the vectors changes (in the middle of a reindexing), so the array is always
    rectangular; ask again after its last id for the rest.

    Returns:
        At most `limit` ids, and an array of shape (n, dim), float32; (0, 0) when there are none.
    """
    rows = _VECTORS.rows(connection, after=passage_id, limit=limit)
    alike = list(takewhile(lambda row: len(row["vector"]) == len(rows[0]["vector"]), rows))
    return [row["id"] for row in alike], _in_context([(row["vector"], row["whole"]) for row in alike])


def vectors(connection: Connection, ids: Sequence[int]) -> tuple[list[int], FloatArray]:
    """Return those of the ids that are there, in the order given, and their vectors: shape (n, dim), float32.

    They are those of `vectors_after`.

    Raises:
        IndexMismatchError: they come from encoders of different lengths.
    """
    found: dict[int, tuple[bytes, bytes | None]] = {}
    for part in in_parts(ids):
        rows = connection.execute(_WITH_WHOLE.where(passages.c.id.in_(part)))
        found.update((row.id, (row.vector, row.whole)) for row in rows)
    if len({len(vector) for vector, _ in found.values()}) > 1:
        raise IndexMismatchError("these passages were embedded by different encoders; call reindex()")
    there = [key for key in ids if key in found]
    return there, _in_context([found[key] for key in there])


def _in_context(rows: Sequence[tuple[bytes, bytes | None]]) -> FloatArray:
    """Return the vectors by which passages are found, shape (n, dim): of a sentence, its own with its text's.

    Args:
        rows: vectors of one length, and of sentences that of the whole text: None for other passages.
    """
    vectors = read_vectors([vector for vector, _ in rows])
    # half-way through a reindex the two may be of different encoders; nobody searches then
    told = [place for place, (vector, whole) in enumerate(rows) if whole is not None and len(whole) == len(vector)]
    if told:
        whole = read_vectors([rows[place][1] or b"" for place in told])
        mixed = CONTEXT * whole + (1 - CONTEXT) * vectors[told]
        vectors[told] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return vectors


def set_vectors(connection: Connection, ids: Sequence[int], vectors: FloatArray, encoder: str) -> None:
    """Replace the vectors of passages; ids of passages that are gone meanwhile are skipped.

    Raises:
        IndexMismatchError: not one row per id.
    """
    if vectors.ndim != 2 or len(vectors) != len(ids):
        raise IndexMismatchError(f"got vectors of shape {vectors.shape} for {len(ids)} passages; give one row per id")
    if not len(ids):
        return
    connection.execute(
        update(passages)
        .where(passages.c.id == bindparam("passage_id"))
        .values(vector=bindparam("new_vector"), encoder=bindparam("new_encoder")),
        [
            {"passage_id": int(key), "new_vector": vector_bytes(vector), "new_encoder": encoder}
            for key, vector in zip(ids, vectors, strict=True)
        ],
    )


def first_passages(connection: Connection, ids: Sequence[int]) -> dict[int, int]:
    """Return the id of a passage -> that of the first of its record, of those that are there."""
    return {row["id"]: row["first"] for part in in_parts(ids) for row in _FIRST.rows(connection, ids=part)}


def record_vectors(connection: Connection, record_ids: Sequence[str]) -> tuple[list[str], FloatArray]:
    """Return the vector of every passage of the records, in their order, with the record id of each row.

    Those of sentences are as the encoder made them, of nothing but the sentence.

    Raises:
        IndexMismatchError: they come from encoders of different lengths.
    """
    rows: list[Row[str, int, bytes, str]] = []
    for part in in_parts(record_ids):
        query = select(passages.c.record_id, passages.c.position, passages.c.vector, passages.c.encoder)
        rows += connection.execute(query.where(passages.c.record_id.in_(part))).all()
    if len({len(row.vector) for row in rows}) > 1:
        names = sorted({row.encoder for row in rows})
        raise IndexMismatchError(f"these passages were embedded by different encoders, {names}; call reindex()")
    order = {record_id: place for place, record_id in enumerate(record_ids)}
    rows.sort(key=lambda row: (order[row.record_id], row.position))
    return [row.record_id for row in rows], read_vectors([row.vector for row in rows])


def removals_after(connection: Connection, sequence: int) -> tuple[int, list[int]]:
    """Return the newest removal number and the ids of the passages removed after `sequence`."""
    newest = int(_NEWEST_REMOVAL.rows(connection)[0]["newest"])
    gone = _REMOVED.rows(connection, after=sequence) if newest > sequence else []
    return newest, [row["passage_id"] for row in gone]
