"""Read, screen, route and store what comes in.

Flow:    input -> drafts -> screens -> decisions -> one ledger transaction
Imports: errors, types, protocols. Knows reader, screens, router and encoder by their protocols only.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hybrid_memory.errors import HybridMemoryError, InputError, NotFoundError
from hybrid_memory.protocols import Encoder, Ledger, Reader, Retriever, Router, Screen
from hybrid_memory.rerouting import Rerouting
from hybrid_memory.types import (
    Decision,
    Draft,
    Entry,
    FloatArray,
    IngestReceipt,
    Route,
    Scope,
    Trust,
)

__all__ = ["Intake"]


class Intake:
    """The way of every input into the ledger, and of a question about where it would go."""

    def __init__(
        self,
        *,
        reader: Reader,
        screens: Sequence[Screen],
        router: Router,
        load_router: Callable[[str], Router],
        encoder: Encoder,
        ledger: Ledger,
        retriever: Retriever,
        rerouting: Rerouting,
    ) -> None:
        """`load_router` gives the router of another policy, by its name or file."""
        self._reader = reader
        self._screens = screens
        self._router = router
        self._load_router = load_router
        self._encoder = encoder
        self._ledger = ledger
        self._retriever = retriever
        self._rerouting = rerouting

    @property
    def policy(self) -> str:
        """Name and fingerprint of the policy in force."""
        return self._router.name

    def ingest(self, x: object, *, forced: Route | None, dry_run: bool, **stamp: Any) -> IngestReceipt:
        """Take one input in; `stamp` are the keyword arguments of `Reader.read`, `forced` overrules the policy."""
        drafts = self._reader.read(x, **stamp)
        entries = self._decide(drafts, forced)
        if dry_run:
            decisions = [entry.decision for entry in entries]
            receipts = [
                IngestReceipt(record_id=None, route=decision.route, decision=decision) for decision in decisions
            ]
        else:
            receipts = self._ledger.write(entries)
        ids = tuple(receipt.record_id for receipt in receipts if receipt.record_id is not None)
        parts = tuple(receipts) if len(receipts) > 1 else ()
        return replace(receipts[0], records=ids, parts=parts, passed_over=_passed_over(x, drafts))

    def ingest_batch(
        self,
        batch: Mapping[int, object],
        failures: list[tuple[int, str]],
        passed_over: list[tuple[int, int]],
        *,
        forced: Route | None,
        **stamp: Any,
    ) -> list[IngestReceipt]:
        """Take inputs in, all embedded and stored at once; a bad one is noted in `failures` with its place.

        Args:
            batch: place in the caller's list -> input.
            failures: gets (place, what was wrong).
            passed_over: gets (place, number of the message) for messages of conversations that become no record.
            forced: overrules the policy.
            stamp: the keyword arguments of `Reader.read`.
        """
        read: dict[int, list[Draft]] = {}
        for place, x in batch.items():
            try:
                read[place] = self._reader.read(x, **stamp)
            except HybridMemoryError as error:
                failures.append((place, str(error)))
            else:
                passed_over += [(place, number) for number in _passed_over(x, read[place])]
        decided = iter(self._decide([draft for drafts in read.values() for draft in drafts], forced) if read else [])
        return self._write_batch({place: [next(decided) for _ in drafts] for place, drafts in read.items()}, failures)

    def _write_batch(self, entries: Mapping[int, list[Entry]], failures: list[tuple[int, str]]) -> list[IngestReceipt]:
        """Write all in one transaction; when one of them is refused, each input in its own."""
        try:
            return self._ledger.write([entry for several in entries.values() for entry in several]) if entries else []
        except (InputError, NotFoundError) as error:
            if len(entries) == 1:
                failures.append((next(iter(entries)), str(error)))
                return []
        receipts: list[IngestReceipt] = []
        for place, several in entries.items():
            receipts += self._write_batch({place: several}, failures)
        return receipts

    def imported(self, source: object, form: str) -> list[object]:
        """Return the rows of another memory's export, as inputs for `ingest_batch`."""
        return self._reader.imported(source, form)

    def route(self, text: str, *, policy: str | None, trust: Trust | str) -> Decision:
        """Explain where a text would go under a policy (None: the one in force), without storing anything."""
        drafts = self._reader.read(text, scope=Scope(), trust=trust)
        router = self._router if policy is None else self._load_router(policy)
        return self._decisions(drafts, router)[0][0]

    def _decide(self, drafts: Sequence[Draft], forced: Route | None) -> list[Entry]:
        self._retriever.require_same_encoder()
        entries = []
        learning: Counter[str] = Counter()
        for draft, (decision, vectors) in zip(drafts, self._decisions(drafts, self._router), strict=True):
            if forced is not None and forced is not decision.route:
                reason = f"the caller asked for {forced.value}; the policy said {decision.route.value}"
                decision = replace(decision, route=forced, reasons=(*decision.reasons, reason))
            elif decision.route is Route.LEARN and not self._rerouting.within_quota(
                draft, besides=learning[draft.source]
            ):
                reason = f"the source {draft.source!r} has used up its share of the weights"
                decision = replace(decision, route=Route.RETRIEVE, reasons=(*decision.reasons, reason))
            learning[draft.source] += decision.route is Route.LEARN
            entries.append(Entry(draft=draft, decision=decision, vectors=vectors, encoder=self._encoder.fingerprint))
        return entries

    def _decisions(self, drafts: Sequence[Draft], router: Router) -> list[tuple[Decision, FloatArray]]:
        """Return decision and passage vectors of each draft; every passage is embedded once, in one batch."""
        passages = [passage for draft in drafts for passage in draft.passages]
        vectors = self._encoder.encode(passages)
        ends = [0]
        for draft in drafts:
            ends.append(ends[-1] + len(draft.passages))
        of_draft = [vectors[first:last] for first, last in itertools.pairwise(ends)]
        findings = [
            tuple(finding for screen in self._screens for finding in screen.screen(draft.text)) for draft in drafts
        ]
        decisions = router.route(drafts, vectors[ends[:-1]], findings, self._ledger.confirmations(drafts))
        return list(zip(decisions, of_draft, strict=True))


def _passed_over(x: object, drafts: Sequence[Draft]) -> tuple[int, ...]:
    """Return the places of the messages of a conversation of which there is no draft; of other inputs none."""
    if not isinstance(x, list | tuple):
        return ()
    kept = {draft.metadata.get("turn") for draft in drafts}
    return tuple(number for number in range(len(x)) if number not in kept)
