"""Write entries: recognise what is known, place slots, store what is new, all in one transaction.

Flow:    SqlLedger.write -> known.load_known -> Batch.add for each entry, in memory -> Batch.store, a few statements.
Imports: errors, types, and content, ids, known, prepared, rows, slots, standing, tables of the ledger.

Entries of one batch see each other, so a batch gives the same ledger as its entries one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, update

from hybrid_memory.errors import InputError, NotFoundError
from hybrid_memory.ledger.clock import from_micros
from hybrid_memory.ledger.content import marks, tombstone
from hybrid_memory.ledger.ids import ascending
from hybrid_memory.ledger.known import Known, Stamped, load_known, stamped
from hybrid_memory.ledger.prepared import insert_rows
from hybrid_memory.ledger.rows import read_decision, scope_row, vector_bytes
from hybrid_memory.ledger.slots import current, displaced, placed
from hybrid_memory.ledger.standing import Standing, add_events, event_row, follow, save
from hybrid_memory.ledger.tables import passages, records, sources, tombstones
from hybrid_memory.types import Decision, Entry, IngestReceipt, Learning, Route, Status, Trust, quoted

__all__ = ["write"]


def write(connection: Connection, entries: Sequence[Entry], *, now: int) -> list[IngestReceipt]:
    """Store all entries and return a receipt for each, in order; see `protocols.Ledger.write`.

    Raises:
        InputError: an entry that cannot be used.
        NotFoundError: `supersedes` names no record.
    """
    items = [stamped(entry) for entry in entries]
    batch = _Batch(load_known(connection, items), now=now)
    receipts = [batch.add(item) for item in items]
    batch.store(connection)
    return receipts


class _Batch:
    """The decisions of one transaction, taken in memory."""

    def __init__(self, known: Known, *, now: int) -> None:
        self._known = known
        self._now = now
        self._ids = ascending(known.last_id)
        self._before = dict(known.standings)
        self._new: dict[str, Stamped] = {}
        self._voices: list[dict[str, Any]] = []
        self._risen: list[dict[str, Any]] = []
        self._events: list[dict[str, Any]] = []
        self._unearthed: list[Stamped] = []

    def add(self, item: Stamped) -> IngestReceipt:
        """Decide what becomes of one entry."""
        key = (item.scope_key, item.draft.idempotency_key or "")
        decision = item.entry.decision
        if key[1] and key in self._known.by_key:
            return self._repeated(self._known.by_key[key], item)
        if decision.route is Route.DROP:
            self._events.append(
                event_row("dropped", None, now=self._now, reasons=decision.reasons, policy=decision.policy)
            )
            return IngestReceipt(record_id=None, route=Route.DROP, decision=decision)
        known = self._match(item)
        if known is None and item.draft.supersedes is None and (echoed := self._echoed(item)) is not None:
            return replace(self._receipt(echoed.id), duplicate=True)
        if known is None and (at := self._known.forgotten_at(item)) is not None:
            if not item.entry.force:
                return _left_out(item, at)
            self._unearthed.append(item)
        receipt = self._insert(item) if known is None else self._join(known, item)
        if key[1] and known is None and receipt.record_id is not None:
            self._known.by_key[key] = receipt.record_id
            self._known.replaced[receipt.record_id] = receipt.superseded
        return receipt

    # ------------------------------------------------------------ what is known already

    def _repeated(self, record_id: str, item: Stamped) -> IngestReceipt:
        receipt = self._receipt(record_id, superseded=self._known.replaced[record_id])
        known = self._known.standings[record_id]
        same = known.content_hash == item.content_hash or known.near_hash == item.near_hash
        return replace(receipt, duplicate=True, differs=not same)

    def _receipt(
        self, record_id: str, *, superseded: Sequence[str] = (), decision: Decision | None = None
    ) -> IngestReceipt:
        standing = self._known.standings[record_id]
        return IngestReceipt(
            record_id=record_id,
            route=standing.route,
            decision=decision or read_decision(standing.decision),
            superseded=tuple(superseded),
            superseded_by=standing.superseded_by if standing.status is Status.SUPERSEDED else None,
        )

    def _match(self, item: Stamped) -> Standing | None:
        """Return the record that says the same and still counts; a quarantined statement confirms nothing."""
        same = self._known.same(item)
        if item.entry.decision.route is Route.QUARANTINE:
            return next((known for known in same if known.status is Status.QUARANTINED), None)
        brief = [known for known in same if known.expires_at is not None and known.expires_at == item.expires_at]
        if brief and brief[-1].status in {Status.ACTIVE, Status.EXPIRED}:
            return brief[-1]  # the very same statement, such as a row imported again after its time
        active = [known for known in same if known.status is Status.ACTIVE and self._lasts(known, item)]
        if active:
            return _nearest(active, item.valid_from)
        if item.draft.supersedes is not None:
            return None  # what was replaced may come back by request, whatever its date
        gone = [known for known in same if known.status is Status.SUPERSEDED and known.slot_key == item.slot_key]
        holder = self._holder(item, gone)
        if gone and holder is not None and item.valid_from <= holder.confirmed_from:
            return _nearest(gone, item.valid_from)
        return None

    def _echoed(self, item: Stamped) -> Standing | None:
        """Return the retired record that a stranger repeats, when somebody of better standing has replaced it.

        An assistant or a document that still says the old value knows nothing new: the value stays retired.
        """
        gone = [known for known in self._known.same(item) if known.status is Status.SUPERSEDED]
        holder = self._holder(item, gone)
        return _nearest(gone, item.valid_from) if gone and holder is not None and _weaker(item, holder) else None

    def _lasts(self, known: Standing, item: Stamped) -> bool:
        """Tell whether a record is not over yet for this statement; one that is over is told anew."""
        in_time = known.declared_to is None or item.valid_from < known.declared_to
        return in_time and (known.expires_at is None or known.expires_at > self._now)

    def _holder(self, item: Stamped, gone: Sequence[Standing]) -> Standing | None:
        """Return what holds now in the place of the retired records `gone`."""
        if item.slot_key is not None:
            return current(self._known.values(item.scope_key, item.slot_key), now=self._now)
        seen: set[str] = set()
        step = gone[-1] if gone else None
        while step is not None and step.superseded_by is not None and step.id not in seen:
            seen.add(step.id)
            step = self._known.standings.get(step.superseded_by)
        return step if step is not None and step.status is Status.ACTIVE else None

    def _join(self, known: Standing, item: Stamped) -> IngestReceipt:
        """Let a record be stated once more: it may begin earlier, end otherwise, and earn its way into the weights.

        What somebody of better standing said is only confirmed by a stranger: its times stay. A record that the
        statement is to replace gives way to the one that said the same before.
        """
        joined = known if _weaker(item, known) else _stated_again(known, item)
        if known.near_hash == item.near_hash:  # who gives a slot the same value in other words vouches for no more
            joined = replace(joined, trust=min(known.trust, item.draft.trust, key=_RANK.index))
        if item.entry.decision.route is Route.LEARN and known.route is Route.RETRIEVE and known.status is Status.ACTIVE:
            joined = _promoted(joined, item.entry)
        joined, superseded = self._replacing(self._wrong(item, joined), joined)
        self._known.add(joined)
        superseded += self._place(joined)
        spoken = item.draft.source in self._known.speakers[known.id]
        self._hear(known.id, item.draft.source, vouched=_vouched(item))
        if not spoken:
            self._events.append(event_row("confirmed", known.id, now=self._now))
        elif self._known.standings[known.id] != known:
            self._events.append(event_row("restated", known.id, now=self._now))
        return replace(self._receipt(known.id, superseded=superseded), duplicate=True)

    def _hear(self, record_id: str, source: str, *, vouched: bool) -> None:
        speakers = self._known.speakers[record_id]
        if source not in speakers:
            self._voices.append({"record_id": record_id, "source": source, "at": self._now, "vouched": vouched})
        elif vouched and not speakers[source]:
            self._risen.append({"heard": record_id, "by": source})
        speakers[source] = speakers.get(source, False) or vouched

    # ------------------------------------------------------------ what is new

    def _insert(self, item: Stamped) -> IngestReceipt:
        target = self._target(item)
        standing = self._standing(item)
        self._new[standing.id] = item
        standing, superseded = self._replacing(target, standing)
        self._known.add(standing)
        superseded += self._place(standing)
        said_before = {} if target is None or target.near_hash != item.near_hash else self._known.speakers[target.id]
        self._hear(standing.id, item.draft.source, vouched=_vouched(item))
        for source, vouched in sorted(said_before.items()):
            self._hear(standing.id, source, vouched=vouched)
        receipt = self._receipt(standing.id, superseded=superseded, decision=item.entry.decision)
        self._events.append(
            event_row(
                "ingested",
                standing.id,
                now=self._now,
                route=receipt.route,
                policy=receipt.decision.policy,
                superseded=receipt.superseded,
                superseded_by=receipt.superseded_by,
            )
        )
        return receipt

    def _target(self, item: Stamped) -> Standing | None:
        """Return the record that the new one replaces by request, or by saying again what had been replaced."""
        wanted = item.draft.supersedes
        if wanted is None:
            if item.slot_key is not None:
                return self._known.slotless(item)
            same = [known for known in self._known.same(item) if known.slot_key is None]
            return self._holder(item, [known for known in same if known.status is Status.SUPERSEDED])
        return self._named(item, wanted)

    def _named(self, item: Stamped, wanted: str) -> Standing:
        target = self._known.standings.get(wanted)
        if target is None:
            raise NotFoundError(f"supersedes names {quoted(wanted)}, and there is no such record; list() shows the ids")
        if target.scope_key != item.scope_key:
            raise InputError(f"record {wanted} is in another scope; a record is replaced in its own scope only")
        if target.status not in {Status.ACTIVE, Status.EXPIRED}:
            successor = f" by {target.superseded_by}; supersede that one" if target.superseded_by else ""
            raise InputError(f"record {wanted} cannot be replaced, it is {target.status.value}{successor}")
        return target

    def _wrong(self, item: Stamped, right: Standing) -> Standing | None:
        """Return the record that is to give way to `right`, which says what the item says; None when none is left."""
        wanted = item.draft.supersedes
        if wanted is None or wanted == right.id:
            return None
        before = self._known.standings.get(wanted)
        done = before is not None and before.status is Status.SUPERSEDED and before.superseded_by == right.id
        return None if done else self._named(item, wanted)

    def _replacing(self, target: Standing | None, by: Standing) -> tuple[Standing, list[str]]:
        """Let `target` give way; return `by` as it then stands, and the ids of what it has superseded."""
        if target is None or by.status is not Status.ACTIVE:
            return by, []
        gone, by = displaced(target, by, now=self._now)
        self._known.add(gone)
        return by, [gone.id] if gone.status is Status.SUPERSEDED else []

    def _standing(self, item: Stamped) -> Standing:
        decision = item.entry.decision
        slot_values = [] if item.slot_key is None else self._known.values(item.scope_key, item.slot_key)
        return Standing(
            id=next(self._ids),
            scope_key=item.scope_key,
            slot_key=item.slot_key,
            content_hash=item.content_hash,
            near_hash=item.near_hash,
            version=0 if item.slot_key is None else 1 + max((value.version for value in slot_values), default=0),
            valid_from=item.valid_from,
            confirmed_from=item.valid_from,
            declared_to=item.valid_to,
            valid_to=item.valid_to,
            expires_at=item.expires_at,
            trust=item.draft.trust,
            status=Status.QUARANTINED if decision.route is Route.QUARANTINE else Status.ACTIVE,
            superseded_by=None,
            route=decision.route,
            decision=decision.to_json(),
            kind=decision.kind.value,
            learning=Learning.QUEUED if decision.route is Route.LEARN else Learning.NONE,
            learning_detail="",
            shard_id=None,
        )

    def _place(self, standing: Standing) -> list[str]:
        """Place the values of the record's slot again; return the ids of those that were superseded by it."""
        if standing.slot_key is None:
            return []
        superseded = []
        for value in placed(self._known.values(standing.scope_key, standing.slot_key), now=self._now):
            before = self._known.standings[value.id]
            if before.status is Status.ACTIVE and value.status is Status.SUPERSEDED and value.id != standing.id:
                superseded.append(value.id)
            self._known.add(value)
        return superseded

    # ------------------------------------------------------------ storing

    def store(self, connection: Connection) -> None:
        """Write the decisions; the caller's transaction makes them durable together."""
        standings = self._known.standings
        self._insert_rows(connection)
        add_events(connection, self._events)
        save(connection, [(before, standings[before.id]) for before in self._before.values()], now=self._now)
        # Most arrive like every other: nothing follows from them, and comparing them would cost more than storing.
        new = [standings[record_id] for record_id in self._new if not _plainly_arrived(standings[record_id])]
        follow(connection, [(_arrived(standing), standing) for standing in new], now=self._now)
        for item in self._unearthed:
            connection.execute(delete(tombstones).where(self._graves(item)))

    def _insert_rows(self, connection: Connection) -> None:
        insert_rows(connection, records, [self._record_row(record_id, item) for record_id, item in self._new.items()])
        insert_rows(connection, sources, self._voices)
        if self._risen:
            row = and_(sources.c.record_id == bindparam("heard"), sources.c.source == bindparam("by"))
            connection.execute(update(sources).where(row).values(vouched=True), self._risen)
        insert_rows(connection, passages, _passage_rows(self._new))

    def _record_row(self, record_id: str, item: Stamped) -> dict[str, Any]:
        draft = item.draft
        return {
            **self._known.standings[record_id].row(),
            **scope_row(draft.scope, item.scope_key),
            "text": draft.text,
            "asked": draft.asked,
            "source": draft.source,
            "observed_at": item.observed_at,
            "recorded_at": self._now,
            "subject": None if draft.slot is None else draft.slot.subject,
            "attribute": None if draft.slot is None else draft.slot.attribute,
            "value": draft.value,
            "supersedes": draft.supersedes,
            "examples": item.examples,
            "idempotency_key": draft.idempotency_key,
            "metadata": item.metadata,
            **marks(draft.metadata),
        }

    def _graves(self, item: Stamped) -> ColumnElement[bool]:
        hashes = [tombstone(self._known.salt, hashed) for hashed in item.grave_hashes]
        return and_(tombstones.c.scope_key == item.scope_key, tombstones.c.hash.in_(hashes))


def _passage_rows(new: dict[str, Stamped]) -> list[dict[str, Any]]:
    """Return whole texts first, then their sentences: the parts of a document get numbers that follow each other."""
    rows = [
        {
            "record_id": record_id,
            "position": position,
            "text": text,
            "sentence": position >= len(item.draft.passages),
            "vector": vector_bytes(vector),
            "encoder": item.entry.encoder,
        }
        for record_id, item in new.items()
        for position, (text, vector) in enumerate(
            zip((*item.draft.passages, *item.entry.sentences), item.entry.vectors, strict=True)
        )
    ]
    return sorted(rows, key=lambda row: row["position"] > 0)


def _left_out(item: Stamped, at: int) -> IngestReceipt:
    decision = item.entry.decision
    reason = (
        f"this was forgotten on {from_micros(at):%Y-%m-%d} in scope {quoted(item.draft.scope.name)}; "
        "ingesting it with force=True (--force) lets it in again"
    )
    told = replace(decision, route=Route.DROP, reasons=(*decision.reasons, reason))
    return IngestReceipt(record_id=None, route=Route.DROP, decision=told, forgotten=True)


def _nearest(candidates: Sequence[Standing], valid_from: int) -> Standing:
    """Return the last to begin before that time, or the first of all when every one begins later."""
    begun = [known for known in candidates if known.valid_from <= valid_from]
    return (
        max(begun, key=lambda known: known.valid_from) if begun else min(candidates, key=lambda known: known.valid_from)
    )


_RANK = (Trust.OPERATOR, Trust.USER, Trust.EXTERNAL)
"""Best first."""


def _vouched(item: Stamped) -> bool:
    """Tell whether a user or the operator said it, and not a stranger."""
    return item.draft.trust is not Trust.EXTERNAL


def _weaker(item: Stamped, known: Standing) -> bool:
    """Tell whether nobody vouches for a statement while somebody did for the record."""
    return item.draft.trust is Trust.EXTERNAL and known.trust is not Trust.EXTERNAL


def _stated_again(known: Standing, item: Stamped) -> Standing:
    ends = {known.expires_at, item.expires_at}
    # Of two statements the later one knows the end, unless the application has replaced the record from then on.
    by_request = known.superseded_by is not None and known.declared_to == known.valid_to
    if item.valid_from >= known.confirmed_from and not by_request:
        known = replace(known, declared_to=item.valid_to, valid_to=item.valid_to)
    return replace(
        known,
        valid_from=min(known.valid_from, item.valid_from),
        confirmed_from=max(known.confirmed_from, item.valid_from),
        expires_at=None if None in ends else max(known.expires_at or 0, item.expires_at or 0),
    )


def _promoted(known: Standing, entry: Entry) -> Standing:
    learning = Learning.QUEUED if known.learning is Learning.NONE else known.learning
    decision = entry.decision
    return replace(
        known, route=decision.route, decision=decision.to_json(), kind=decision.kind.value, learning=learning
    )


def _plainly_arrived(standing: Standing) -> bool:
    return standing.status is Status.ACTIVE and standing.superseded_by is None and standing.learning is Learning.NONE


def _arrived(standing: Standing) -> Standing:
    """The standing every record arrives with; what differs from it is worth an event."""
    return replace(standing, status=Status.ACTIVE, superseded_by=None, learning=Learning.NONE, learning_detail="")
