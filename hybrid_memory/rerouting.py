"""Decide again about what is stored: under another policy, or because evidence has gathered.

Flow:    ledger -> records, their stored vectors -> screens, router -> moves -> (apply) ledger, queue, dirty shards.
Imports: errors, types, protocols. Nothing is embedded again: the vectors are the ledger's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from hybrid_memory.errors import InputError, NotFoundError
from hybrid_memory.protocols import Ledger, Router, Screen
from hybrid_memory.types import (
    OWN_WORDS,
    AdapterStatus,
    Decision,
    Draft,
    Finding,
    FloatArray,
    Json,
    Learning,
    Move,
    Record,
    Replay,
    Route,
    Trust,
    quoted,
)

__all__ = ["Rerouting", "seen_in"]

PAGE = 256
"""Records decided together."""
STATED = ("an explicit", "an event")
"""How the reasons begin by which the router shows that the caller had stated the kind."""
ON_THE_WAY = (Learning.QUEUED.value, Learning.LEARNED.value)


class Rerouting:
    """Second decisions about stored records."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        screens: Sequence[Screen],
        router: Router,
        load_router: Callable[[str], Router],
    ) -> None:
        """`load_router` gives the router of another policy, by its name or file."""
        self._ledger = ledger
        self._screens = screens
        self._router = router
        self._load_router = load_router

    def replay(self, policy: str) -> Replay:
        """Return what would move under another policy, why, and what learning again would cost; nothing moves."""
        router = self._load_router(policy)
        moves = [
            Move(
                record_id=record.id,
                text=record.text,
                before=record.decision.route,
                after=decision.route,
                reasons=decision.reasons,
                decision=decision,
            )
            for record, decision in self._decided(router)
            if decision.route is not record.decision.route
        ]
        return Replay(policy=router.name, moves=tuple(moves), cost=self._cost(moves))

    def apply(self, replay: Replay) -> list[Record]:
        """Carry a replay out and return the records as they stand now; those that changed meanwhile are left alone.

        A record to be dropped is set aside for review: what is stored is forgotten by `forget` only.
        """
        if not isinstance(replay, Replay):
            raise InputError(f"apply_routing takes what replay_routing returned, got {quoted(replay)}")
        moved = []
        for move in replay.moves:
            record = self._ledger.get(move.record_id)
            if record.decision.route is not move.before:
                continue
            dropped = move.after is Route.DROP
            route = Route.QUARANTINE if dropped else move.after
            decision = replace(move.decision, route=route)
            moved.append(self._ledger.set_route(record.id, decision, f"policy {replay.policy} replayed"))
        return moved

    def climb(self, now: datetime | None = None) -> list[Record]:
        """Promote what has waited on the ladder long enough without conflict; return the promoted records.

        A record that was contradicted is superseded and so no longer active: it is not among those looked at.
        """
        patience_s = self._router.patience_s
        if patience_s is None:
            return []
        before = (now or datetime.now(UTC)) - timedelta(seconds=patience_s)
        filters: Mapping[str, Json] = {
            "route": Route.RETRIEVE.value,
            "trust": Trust.USER.value,
            "recorded_at": {"lte": before.isoformat()},
        }
        waited = self._decided(self._router, filters=filters, grown=1)
        return [
            self._ledger.set_route(record.id, decision, f"{patience_s / 86_400:g} days without conflict")
            for record, decision in list(waited)
            if decision.route is Route.LEARN
        ]

    def within_quota(self, draft: Draft, *, besides: int = 0) -> bool:
        """Tell whether a draft's source may learn one more record, `besides` some that are not stored yet."""
        most = self._router.quota(draft.trust)
        if most is None:
            return True
        filters: Mapping[str, Json] = {"source": draft.source, "learning": {"in": list(ON_THE_WAY)}}
        return len(self._ledger.find(scope=None, filters=filters, limit=most)) + besides < most

    # ------------------------------------------------------------ helpers

    def _decided(
        self, router: Router, *, filters: Mapping[str, Json] | None = None, grown: int = 0
    ) -> Iterator[tuple[Record, Decision]]:
        """Give every record with the decision it would get now; `grown` is added to its confirmations."""
        after: str | None = None
        while page := self._ledger.find(scope=None, filters=filters, limit=PAGE, after=after):
            after = page[-1].id
            drafts = [_as_draft(record) for record in page]
            findings = [seen_in(draft, self._screens) for draft in drafts]
            said = [count + grown for count in self._ledger.confirmations(drafts)]
            yield from zip(page, router.route(drafts, self._vectors(page), findings, said), strict=True)

    def _vectors(self, page: Sequence[Record]) -> FloatArray:
        """Return the vector of each record's first passage, shape (len(page), dim)."""
        ids, vectors = self._ledger.record_vectors([record.id for record in page])
        first = {record_id: row for row, record_id in reversed(list(enumerate(ids)))}
        missing = [record.id for record in page if record.id not in first]
        if missing:
            raise NotFoundError(f"record {missing[0]} has no stored vector; run reindex")
        return np.stack([vectors[first[record.id]] for record in page])

    def _cost(self, moves: Sequence[Move]) -> Mapping[str, Json]:
        """Return what the next window would have to do: records to study, shards to rebuild, seconds by experience."""
        leaving = {move.record_id for move in moves if move.before is Route.LEARN}
        joining = sum(move.after is Route.LEARN for move in moves)
        serving = [version for version in self._ledger.versions() if version.status is AdapterStatus.ACTIVE]
        dirty = [version for version in serving if leaving & set(version.record_ids)]
        again = sum(len(set(version.record_ids) - leaving) for version in dirty)
        spent = [(_seconds(version.metrics), len(version.record_ids)) for version in serving]
        known = [(seconds, count) for seconds, count in spent if seconds and count]
        per_record = sum(seconds for seconds, _ in known) / sum(count for _, count in known) if known else None
        return {
            "records_to_learn": joining,
            "records_to_unlearn": sum(len(leaving & set(version.record_ids)) for version in dirty),
            "shards_to_rebuild": [version.shard_id for version in dirty],
            "records_to_learn_again": again,
            "seconds": None if per_record is None else round(per_record * (joining + again), 1),
        }


def seen_in(draft: Draft, screens: Sequence[Screen]) -> tuple[Finding, ...]:
    """Return what the screens see in a draft: in its text, and in the words of a turn that was stated anew."""
    own = draft.metadata.get(OWN_WORDS)
    found = [finding for screen in screens for finding in screen.screen(draft.text)]
    if isinstance(own, str):
        found += [finding for screen in screens for finding in screen.screen(own) if finding not in found]
    return tuple(found)


def _seconds(metrics: Mapping[str, Json]) -> float:
    seconds = metrics.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else 0.0


def _as_draft(record: Record) -> Draft:
    """Return the record as it would be ingested today; a kind that the router had guessed is left to the router."""
    stated = bool(record.examples) or any(reason.startswith(STATED) for reason in record.decision.reasons)
    return Draft(
        text=record.text,
        kind=record.kind if stated else None,
        scope=record.scope,
        source=record.source,
        trust=record.trust,
        observed_at=record.observed_at,
        valid_from=record.valid_from,
        valid_to=record.valid_to,
        slot=record.slot,
        value=record.value,
        examples=record.examples,
        passages=(record.text,),
        asked=record.asked,
        metadata=record.metadata,
    )
