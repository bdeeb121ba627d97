"""What a batch of entries may meet in the ledger, read in a few queries before anything is decided.

Flow:    writing.py stamps the entries, loads this, decides in memory, and stores the difference.
Imports: errors, types, and clock, content, prepared, rows, selection, standing, tables of the ledger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
from sqlalchemy import BindParameter, Column, ColumnElement, Connection, and_, bindparam, func, select

from hybrid_memory.errors import InputError
from hybrid_memory.ledger.clock import to_micros
from hybrid_memory.ledger.content import grave_hashes, own_hashes, said_text, same_content, tombstone
from hybrid_memory.ledger.prepared import Query
from hybrid_memory.ledger.rows import Row
from hybrid_memory.ledger.selection import in_parts, scope_key
from hybrid_memory.ledger.standing import Standing, read_standing, standings
from hybrid_memory.ledger.tables import events, meta, records, sources, tombstones
from hybrid_memory.types import Draft, Entry, Json, Status, plain, unkeepable

__all__ = ["SALT", "Known", "Stamped", "load_known", "stamped"]

SALT = "tombstone_salt"
"""Key of the meta table; the value is made when it is first needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamped:
    """An entry that has been checked, with the forms the ledger compares. Times are microseconds."""

    entry: Entry
    draft: Draft
    examples: Json
    metadata: Json
    scope_key: str
    content_hash: str
    near_hash: str
    observed_at: int
    valid_from: int
    valid_to: int | None
    expires_at: int | None

    @property
    def slot_key(self) -> str | None:
        """The key of the slot it fills, or None."""
        return None if self.draft.slot is None else self.draft.slot.key

    @property
    def grave_hashes(self) -> set[str]:
        """A forgotten text is recognised by any of them."""
        draft = self.draft
        text = said_text(draft.text, draft.asked)
        said = grave_hashes(text=text, slot=draft.slot, value=draft.value, examples=draft.examples)
        return said | own_hashes(draft.metadata)


def stamped(entry: Entry) -> Stamped:
    """Check an entry and return it with its hashes and times.

    Raises:
        InputError: no text, text that is not Unicode, a time without timezone, an end before the
            beginning, or vectors that do not belong to the passages.
    """
    draft = entry.draft
    examples, metadata = plain(draft.examples), plain(draft.metadata)
    _check_text(entry, examples, metadata)
    _check_vectors(entry)
    content, near = same_content(draft)
    begin, end = to_micros(draft.valid_from, "valid_from"), draft.valid_to
    valid_to = None if end is None else to_micros(end, "valid_to")
    if valid_to is not None and valid_to <= begin:
        raise InputError(f"valid_to {end} is not after valid_from {draft.valid_from}; give a later end, or none")
    return Stamped(
        entry=entry,
        draft=draft,
        examples=examples,
        metadata=metadata,
        scope_key=scope_key(draft.scope),
        content_hash=content,
        near_hash=near,
        observed_at=to_micros(draft.observed_at, "observed_at"),
        valid_from=begin,
        valid_to=valid_to,
        expires_at=_expiry(entry),
    )


def _expiry(entry: Entry) -> int | None:
    if entry.draft.expires_at is not None:
        return to_micros(entry.draft.expires_at, "expires_at")
    if entry.decision.ttl_s is None:
        return None
    try:
        return to_micros(entry.draft.observed_at + timedelta(seconds=entry.decision.ttl_s), "observed_at")
    except OverflowError:  # after the year 9999: no end that a datetime could name
        return None


def _check_text(entry: Entry, examples: Json, metadata: Json) -> None:
    draft = entry.draft
    if not draft.text.strip():
        raise InputError("a record needs text, got nothing but spaces; leave empty inputs out")
    slot = () if draft.slot is None else (draft.slot.subject, draft.slot.attribute)
    keys = (draft.supersedes, draft.idempotency_key)
    said = (draft.text, draft.source, draft.value, *draft.passages, *draft.scope.values(), *slot, *keys)
    if bad := unkeepable([*said, *entry.sentences, examples, metadata]):
        raise InputError(
            f"text, source, scope or metadata has {bad} in it, which no database keeps; "
            "remove it, or decode the input with the right encoding"
        )


def _check_vectors(entry: Entry) -> None:
    vectors, count = entry.vectors, len(entry.draft.passages) + len(entry.sentences)
    if len(vectors) != count or (count and vectors.ndim != 2):
        raise InputError(
            f"got vectors of shape {vectors.shape} for {count} passages and sentences; give a row each, ({count}, dim)"
        )
    if not np.isfinite(vectors).all():
        raise InputError("a passage's vector has nan or inf in it; check the encoder")


@dataclass(slots=True)
class Known:
    """The part of the ledger that a batch can touch; the batch adds to it as it goes."""

    standings: dict[str, Standing] = field(default_factory=dict)
    by_hash: defaultdict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    by_near: defaultdict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    by_slot: defaultdict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    by_key: dict[tuple[str, str], str] = field(default_factory=dict)
    """(scope key, idempotency key) -> record id."""
    replaced: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """record id -> the ids it superseded on arrival, for the receipts of repeated calls."""
    speakers: defaultdict[str, dict[str, bool]] = field(default_factory=lambda: defaultdict(dict))
    """record id -> its distinct sources, and whether a user or the operator was behind each."""
    buried: dict[tuple[str, str], int] = field(default_factory=dict)
    """(scope key, tombstone) -> when it was forgotten."""
    salt: str = ""
    last_id: str = ""

    def add(self, standing: Standing) -> None:
        """Take in a record, or its new standing."""
        if standing.id not in self.standings:
            self.by_hash[standing.scope_key, standing.content_hash].append(standing.id)
            self.by_near[standing.scope_key, standing.near_hash].append(standing.id)
            if standing.slot_key is not None:
                self.by_slot[standing.scope_key, standing.slot_key].append(standing.id)
        self.standings[standing.id] = standing

    def same(self, item: Stamped) -> list[Standing]:
        """Return the records that say the same in the same scope: the same value, or nearly the same words.

        A statement that fills a slot is never the same as one that fills none: the latter would stay when the slot's
        value changes. The other way round it is: the slot knows when the statement ends. A text that is to replace
        another may differ from it in a capital letter only, and does differ.
        """
        found = self.by_hash.get((item.scope_key, item.content_hash), [])
        if item.slot_key is None and item.draft.supersedes is None:
            found = list(dict.fromkeys([*found, *self.by_near.get((item.scope_key, item.near_hash), ())]))
        return [self.standings[record_id] for record_id in found]

    def slotless(self, item: Stamped) -> Standing | None:
        """Return the active record that says the item's words without filling its slot, if there is one."""
        near = (self.standings[record_id] for record_id in self.by_near.get((item.scope_key, item.near_hash), ()))
        return next((known for known in near if known.status is Status.ACTIVE and known.slot_key is None), None)

    def values(self, scope_key: str, slot_key: str) -> list[Standing]:
        """Return every value of a slot."""
        return [self.standings[record_id] for record_id in self.by_slot.get((scope_key, slot_key), ())]

    def forgotten_at(self, item: Stamped) -> int | None:
        """Return when the item's content was forgotten in its scope, or None."""
        for hashed in item.grave_hashes if self.buried else ():
            if (at := self.buried.get((item.scope_key, tombstone(self.salt, hashed)))) is not None:
                return at
        return None


_KEYS: BindParameter[Any] = bindparam("keys", expanding=True)
_SCOPES: BindParameter[Any] = bindparam("scopes", expanding=True)


def _in_scopes(column: Column[Any]) -> ColumnElement[bool]:
    """Return the condition that `keys` has a row's value and `scopes` its scope, which one index answers."""
    return and_(column.in_(_KEYS), records.c.scope_key.in_(_SCOPES))


_ALIKE = {name: Query(standings(_in_scopes(records.c[name]))) for name in ("content_hash", "near_hash", "slot_key")}
_BY_ID = Query(standings(records.c.id.in_(_KEYS)))
_ARRIVED_WITH = Query(
    select(records.c.id, records.c.scope_key, records.c.idempotency_key, events.c.detail)
    .join(events, and_(events.c.record_id == records.c.id, events.c.name == "ingested"))
    .where(_in_scopes(records.c.idempotency_key))
)
_SPEAKERS = Query(select(sources).where(sources.c.record_id.in_(_KEYS)))
_GRAVES = Query(select(tombstones).where(tombstones.c.hash.in_(_KEYS)))
_LEDGER = Query(
    select(
        select(func.coalesce(func.max(records.c.id), "")).scalar_subquery().label("last_id"),
        select(meta.c.value).where(meta.c.key == SALT).scalar_subquery().label("salt"),
    )
)


def load_known(connection: Connection, items: Sequence[Stamped]) -> Known:
    """Read whatever the items may repeat, replace or compete with."""
    (ledger,) = _LEDGER.rows(connection)
    known = Known(last_id=ledger["last_id"], salt=ledger["salt"] or "")
    _load_keys(connection, known, items)
    for name, query in _ALIKE.items():
        for keys, scopes in _pairs((getattr(item, name), item.scope_key) for item in items):
            _take(known, query.rows(connection, keys=keys, scopes=scopes))
    wanted = {item.draft.supersedes for item in items if item.draft.supersedes is not None}
    _load_ids(connection, known, wanted)
    for part in in_parts(list(known.standings)):
        for row in _SPEAKERS.rows(connection, keys=part):
            known.speakers[row["record_id"]][row["source"]] = row["vouched"]
    _load_tombstones(connection, known, items)
    return known


def _pairs(pairs: Iterable[tuple[str | None, str]]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the values and the scopes of (value, scope), a part at a time; a few pairs too many are found by it."""
    there = sorted({(scope, value) for value, scope in pairs if value is not None})
    for part in in_parts(there):
        yield list({value for _, value in part}), list({scope for scope, _ in part})


def _take(known: Known, found: Iterable[Row]) -> None:
    for row in found:
        known.add(read_standing(row))


def _load_ids(connection: Connection, known: Known, wanted: Iterable[str]) -> None:
    """Load records by id, and the chain of those that replaced the loaded ones, up to the present."""
    missing = {*wanted, *_successors(known)} - known.standings.keys()
    while missing:
        before = len(known.standings)
        for part in in_parts(missing):
            _take(known, _BY_ID.rows(connection, keys=part))
        if len(known.standings) == before:
            return
        missing = _successors(known) - known.standings.keys()


def _successors(known: Known) -> set[str]:
    return {standing.superseded_by for standing in known.standings.values() if standing.superseded_by is not None}


def _load_keys(connection: Connection, known: Known, items: Sequence[Stamped]) -> None:
    given = ((item.draft.idempotency_key, item.scope_key) for item in items)
    for keys, scopes in _pairs(given):
        for row in _ARRIVED_WITH.rows(connection, keys=keys, scopes=scopes):
            known.by_key[row["scope_key"], row["idempotency_key"]] = row["id"]
            known.replaced[row["id"]] = tuple(row["detail"]["superseded"])
    _load_ids(connection, known, known.by_key.values())


def _load_tombstones(connection: Connection, known: Known, items: Sequence[Stamped]) -> None:
    hashes = {tombstone(known.salt, hashed) for item in items for hashed in item.grave_hashes} if known.salt else ()
    for part in in_parts(hashes):
        for row in _GRAVES.rows(connection, keys=part):
            known.buried[row["scope_key"], row["hash"]] = row["at"]
