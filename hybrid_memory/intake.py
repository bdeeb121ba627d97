"""Read, screen, route and store what comes in.

Flow:    input -> drafts -> screens -> decisions -> one ledger transaction
Imports: errors, types, protocols, arguments, rerouting, restating, statements. Knows the stages by their protocols.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hybrid_memory.arguments import listed, read_metadata, read_stamp, whole
from hybrid_memory.errors import HybridMemoryError, InputError, NotFoundError
from hybrid_memory.protocols import Encoder, Ledger, Progress, Reader, Retriever, Router, Screen
from hybrid_memory.rerouting import Rerouting, seen_in
from hybrid_memory.restating import Restating
from hybrid_memory.statements import statements
from hybrid_memory.types import (
    IMPORTED_ID,
    IMPORTED_ROW,
    OWN_QUESTION,
    OWN_WORDS,
    Decision,
    Draft,
    Entry,
    FloatArray,
    IngestReceipt,
    IngestSummary,
    Json,
    Record,
    Route,
    Scope,
    Status,
    Trust,
    quoted,
)

__all__ = ["Intake"]

STORED = (Route.RETRIEVE, Route.LEARN)


class Intake:
    """The way of every input into the ledger, and of a question about where it would go."""

    def __init__(
        self,
        *,
        reader: Reader,
        restating: Restating | None = None,
        screens: Sequence[Screen],
        router: Router,
        load_router: Callable[[str], Router],
        encoder: Encoder,
        ledger: Ledger,
        retriever: Retriever,
        rerouting: Rerouting,
        stored: Callable[[], None],
        by_sentences: bool = False,
    ) -> None:
        """`load_router` gives the router of another policy, by its name or file; `stored` is called after a write.

        Without `restating` the turns of conversations are stored as they were said. With `by_sentences` a text of
        several sentences is also found by each of them.
        """
        self._reader = reader
        self._restating = restating
        self._screens = screens
        self._router = router
        self._load_router = load_router
        self._encoder = encoder
        self._ledger = ledger
        self._retriever = retriever
        self._rerouting = rerouting
        self._stored = stored
        self._by_sentences = by_sentences

    @property
    def policy(self) -> str:
        """Name and fingerprint of the policy in force."""
        return self._router.name

    def ingest(
        self, x: object, *, route: Route | None, dry_run: bool, force: bool = False, **stamp: Any
    ) -> IngestReceipt:
        """Take one input in; `stamp` are the keyword arguments of `Reader.read`, `route` overrules the policy."""
        drafts, extraction = self._stated(x, self._reader.read(x, **stamp), route)
        receipt = self._take(x, drafts, route=route, dry_run=dry_run, force=force)
        return replace(receipt, extraction=tuple(extraction))

    def _take(
        self, x: object, drafts: Sequence[Draft], *, route: Route | None, dry_run: bool, force: bool
    ) -> IngestReceipt:
        entries = self._decide(drafts, route, force=force)
        if dry_run:
            decisions = [entry.decision for entry in entries]
            receipts = [
                IngestReceipt(record_id=None, route=decision.route, decision=decision) for decision in decisions
            ]
        else:
            receipts = self._ledger.write(entries)
            _refuse_forgotten(receipts)
            self._stored()
        ids = tuple(receipt.record_id for receipt in receipts if receipt.record_id is not None)
        parts = tuple(receipts) if len(receipts) > 1 else ()
        return replace(receipts[0], records=ids, parts=parts, passed_over=_passed_over(x, drafts))

    def ingest_many(
        self, inputs: Iterable[object], *, batch_size: int, progress: Progress | None, **stamp: Any
    ) -> IngestSummary:
        """Take inputs in, a transaction a batch; the arguments are those of `HybridMemory.ingest_many`."""
        started = time.monotonic()
        if "idempotency_key" in stamp:
            raise InputError("idempotency_key names one input; ingest_many is idempotent by content without it")
        listed("ingest_many", inputs, "inputs, and ingest() one")
        whole("batch_size", batch_size, 1)
        everything = list(inputs)
        receipts: list[IngestReceipt] = []
        failures: list[tuple[int, str]] = []
        passed_over: list[tuple[int, int]] = []
        extraction: list[tuple[int, str]] = []
        if progress is not None:
            progress("ingest", 0, len(everything))  # the rate counts from here, not from the end of the first batch
        for start in range(0, len(everything), batch_size):
            batch = dict(enumerate(everything[start : start + batch_size], start=start))
            receipts += self._ingest_batch(batch, failures, passed_over, extraction, **read_stamp(**stamp))
            if progress is not None:
                progress("ingest", start + len(batch), len(everything), f"{len(failures)} failed")
        self._stored()
        return IngestSummary(
            counts=Counter(receipt.route.value for receipt in receipts),
            duplicates=sum(receipt.duplicate for receipt in receipts),
            failures=tuple(sorted(failures)),
            receipts=tuple(receipts),
            seconds=time.monotonic() - started,
            passed_over=tuple(passed_over),
            extraction=tuple(extraction),
        )

    def imported(self, source: object, form: str) -> list[object]:
        """Return the rows of another memory's export, as inputs for `ingest_many`."""
        return self._reader.imported(source, form)

    def update(self, record_id: str, x: object, *, metadata: Mapping[str, Json] | None) -> Record:
        """Replace a record's metadata in place, or (`x`) its content by a record that supersedes it; return that.

        The successor has the scope, source and trust of the old one, and its slot and end unless `x` says otherwise.
        """
        if x is None:
            return self._ledger.update(record_id, metadata=read_metadata(metadata))
        old = self._ledger.get(record_id)
        if old.status is Status.FORGOTTEN:
            raise NotFoundError(
                f"record {quoted(record_id)} was forgotten; ingest the new content as a record of its own"
            )
        drafts = self._reader.read(
            x,
            scope=old.scope,
            source=old.source,
            trust=old.trust,
            supersedes=record_id,
            metadata=_without_own_words(old.metadata) if metadata is None else metadata,
        )
        receipt = self._take(x, [_in_place_of(old, draft) for draft in drafts], route=None, dry_run=False, force=False)
        if receipt.record_id is None:
            raise InputError(
                f"the new content was routed to {receipt.route.value} and not stored; pass route='retrieve'"
            )
        return self._ledger.get(receipt.record_id)

    def route(self, text: str, *, policy: str | None, trust: Trust | str) -> Decision:
        """Explain where a text would go under a policy (None: the one in force), without storing anything."""
        drafts = self._reader.read(text, scope=Scope(), trust=trust)
        router = self._router if policy is None else self._load_router(policy)
        return self._decisions(drafts, router)[0][0]

    def _ingest_batch(
        self,
        batch: Mapping[int, object],
        failures: list[tuple[int, str]],
        passed_over: list[tuple[int, int]],
        extraction: list[tuple[int, str]],
        *,
        route: Route | None,
        force: bool,
        **stamp: Any,
    ) -> list[IngestReceipt]:
        """Take inputs in, by their places, all embedded and stored at once; a bad one is noted.

        Args:
            batch: place in the caller's list -> input.
            failures: gets (place, what was wrong).
            passed_over: gets (place, number of the message) for messages of conversations that become no record.
            extraction: gets (place, what became of a line that the extractor wrote).
            route: overrules the policy.
            force: lets in again what was forgotten.
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
                earlier = (draft for before in read.values() for draft in before if before is not read[place])
                read[place], notes = self._stated(x, read[place], route, earlier=earlier)
                extraction += [(place, note) for note in notes]
        everything = self._in_place_of_older_rows([draft for drafts in read.values() for draft in drafts])
        decided = iter(self._decide(everything, route, force=force) if read else [])
        return self._write_batch({place: [next(decided) for _ in drafts] for place, drafts in read.items()}, failures)

    def _stated(
        self, x: object, drafts: Sequence[Draft], route: Route | None, *, earlier: Iterable[Draft] = ()
    ) -> tuple[list[Draft], list[str]]:
        """Let the turns of a conversation be stated anew; return all drafts, and what became of the lines written."""
        if self._restating is None or not isinstance(x, list | tuple) or route not in (None, *STORED):
            return list(drafts), []
        routes = [decision.route for decision, _ in self._decisions(drafts, self._router)]
        return self._restating.restated(drafts, [one in STORED for one in routes], earlier)

    def _in_place_of_older_rows(self, drafts: Sequence[Draft]) -> list[Draft]:
        """Let a row of another memory's export replace what an earlier export said under the same id."""
        rows = [draft.metadata for draft in drafts if draft.metadata.get(IMPORTED_ID) is not None]
        if not rows:
            return list(drafts)
        standing = {_row_of(record.scope, record.metadata): record for record in self._ledger.imported_before(rows)}
        return [_in_place_of_row(standing.get(_row_of(draft.scope, draft.metadata)), draft) for draft in drafts]

    def _write_batch(self, entries: Mapping[int, list[Entry]], failures: list[tuple[int, str]]) -> list[IngestReceipt]:
        """Write all in one transaction; when one of them is refused, each input in its own."""
        if not entries:
            return []
        try:
            written = iter(self._ledger.write([entry for several in entries.values() for entry in several]))
        except (InputError, NotFoundError) as error:
            if len(entries) == 1:
                failures.append((next(iter(entries)), str(error)))
                return []
        else:
            return _accepted({place: [next(written) for _ in several] for place, several in entries.items()}, failures)
        receipts: list[IngestReceipt] = []
        for place, several in entries.items():
            receipts += self._write_batch({place: several}, failures)
        return receipts

    def _decide(self, drafts: Sequence[Draft], route: Route | None, *, force: bool) -> list[Entry]:
        self._retriever.require_same_encoder()
        entries = []
        learning: Counter[str] = Counter()
        decided = zip(drafts, self._decisions(drafts, self._router), self._sentences(drafts), strict=True)
        for draft, (decision, vectors), (sentences, theirs) in decided:
            if route is not None and route is not decision.route:
                reason = f"the caller asked for {route.value}; the policy said {decision.route.value}"
                decision = replace(decision, route=route, reasons=(*decision.reasons, reason))
            elif decision.route is Route.LEARN and not self._rerouting.within_quota(
                draft, besides=learning[draft.source]
            ):
                reason = f"the source {quoted(draft.source)} has used up its share of the weights"
                decision = replace(decision, route=Route.RETRIEVE, reasons=(*decision.reasons, reason))
            learning[draft.source] += decision.route is Route.LEARN
            entries.append(
                Entry(
                    draft=draft,
                    decision=decision,
                    vectors=np.concatenate([vectors, theirs]) if sentences else vectors,
                    encoder=self._encoder.fingerprint,
                    sentences=sentences,
                    force=force,
                )
            )
        return entries

    def _decisions(self, drafts: Sequence[Draft], router: Router) -> list[tuple[Decision, FloatArray]]:
        """Return decision and passage vectors of each draft; every passage is embedded once, in one batch."""
        of_draft = self._embedded([draft.passages for draft in drafts])
        findings = [seen_in(draft, self._screens) for draft in drafts]
        first = np.stack([vectors[0] for vectors in of_draft])
        decisions = router.route(drafts, first, findings, self._ledger.confirmations(drafts))
        return list(zip(decisions, of_draft, strict=True))

    def _sentences(self, drafts: Sequence[Draft]) -> list[tuple[tuple[str, ...], FloatArray]]:
        """Return the sentences by which each draft is found, too, and their vectors."""
        sentences = [_sentences_of(draft) if self._by_sentences else () for draft in drafts]
        return list(zip(sentences, self._embedded(sentences), strict=True))

    def _embedded(self, texts: Sequence[Sequence[str]]) -> list[FloatArray]:
        """Return the vectors of several lists of texts, all embedded in one batch."""
        ends = [0, *itertools.accumulate(len(several) for several in texts)]
        every = [text for several in texts for text in several]
        vectors = self._encoder.encode(every) if every else np.zeros((0, 0), dtype=np.float32)
        return [vectors[first:last] for first, last in itertools.pairwise(ends)]


def _sentences_of(draft: Draft) -> tuple[str, ...]:
    """Return the sentences of a text that has several; examples and values of slots stand for themselves."""
    found = () if draft.examples or draft.slot else tuple(statements(draft.text))
    return found if len(found) > 1 else ()


def _accepted(receipts: Mapping[int, Sequence[IngestReceipt]], failures: list[tuple[int, str]]) -> list[IngestReceipt]:
    """Return the receipts of the inputs that were taken in; the others, by their places, are noted."""
    accepted: list[IngestReceipt] = []
    for place, several in receipts.items():
        try:
            _refuse_forgotten(several)
        except InputError as error:
            failures.append((place, str(error)))
        else:
            accepted += several
    return accepted


def _refuse_forgotten(receipts: Sequence[IngestReceipt]) -> None:
    """Raise InputError when an input says nothing but what was forgotten, so that nothing of it was stored."""
    if all(receipt.forgotten for receipt in receipts):
        raise InputError(f"nothing was stored: {receipts[0].decision.reasons[-1]}")


def _without_own_words(metadata: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a record's metadata for what takes its place, which the speaker did not say."""
    return {name: value for name, value in metadata.items() if name not in (OWN_WORDS, OWN_QUESTION)}


def _row_of(scope: Scope, metadata: Mapping[str, Json]) -> tuple[Scope, tuple[str, ...]]:
    """Return what names a row among all exports: whose it is, where it came from, and its id there."""
    return scope, tuple(str(metadata.get(name)) for name in IMPORTED_ROW)


def _in_place_of_row(old: Record | None, draft: Draft) -> Draft:
    """Return a draft that replaces what its row said before; what is older than that ended when that began.

    What somebody has vouched for since, a row that nobody vouches for leaves alone.
    """
    if old is None or old.text == draft.text or draft.supersedes is not None:
        return draft
    if draft.trust is Trust.EXTERNAL and old.trust is not Trust.EXTERNAL:
        return draft
    if draft.valid_from < old.valid_from:
        return replace(
            draft, valid_to=old.valid_from if draft.valid_to is None else min(draft.valid_to, old.valid_from)
        )
    return replace(draft, supersedes=old.id)


def _in_place_of(old: Record, draft: Draft) -> Draft:
    """Return a draft that corrects a record: it fills the same slot, and ends when the record would have ended."""
    if draft.slot is None and old.slot is not None and not draft.examples:
        draft = replace(draft, slot=old.slot, value=draft.text)
    if old.valid_to is not None and old.superseded_by is None and old.valid_to > draft.valid_from:
        draft = replace(draft, valid_to=old.valid_to)
    if old.expires_at is not None and old.expires_at > draft.observed_at:
        draft = replace(draft, expires_at=old.expires_at)
    return draft


def _passed_over(x: object, drafts: Sequence[Draft]) -> tuple[int, ...]:
    """Return the places of the messages of a conversation of which there is no draft; of other inputs none."""
    if not isinstance(x, list | tuple):
        return ()
    kept = {draft.metadata.get("turn") for draft in drafts}
    return tuple(number for number in range(len(x)) if number not in kept)
