"""What became of something that was ingested or forgotten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from hybrid_memory.types.decisions import Decision
from hybrid_memory.types.values import Json, Value
from hybrid_memory.types.words import Route

__all__ = ["Audit", "IngestReceipt", "IngestSummary", "Receipt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReceipt(Value):
    """What became of one thing that was ingested; returned after it is durable."""

    record_id: str | None
    """None when it was dropped, was forgotten before, or the call was a dry run."""
    route: Route
    decision: Decision
    duplicate: bool = False
    """True when the same text (or idempotency key) was already there; record_id is the old one."""
    forgotten: bool = False
    """True when it was left out because it says what was forgotten; the decision's last reason says when."""
    differs: bool = False
    """True when a duplicate by its idempotency key says something else: nothing of that was stored."""
    superseded: tuple[str, ...] = ()
    """Ids of the records this one replaced."""
    superseded_by: str | None = None
    """Set when it arrived late and a newer value was already there."""
    records: tuple[str, ...] = ()
    """All record ids, when one input (a file, a conversation) became several."""
    parts: tuple[IngestReceipt, ...] = ()
    """One receipt for each record, when one input became several; the fields above are then those of the first."""
    passed_over: tuple[int, ...] = ()
    """Places of the messages of a conversation that became no record: blank ones, questions and small talk of the
    assistant, messages of the application and its tools."""
    extraction: tuple[str, ...] = ()
    """What became of each line that the extractor wrote about a conversation, taken or left out and why; or why the
    turns stay as they were said. Empty without an extractor."""

    @property
    def routes(self) -> Mapping[str, int]:
        """How many records went which way, as {"learn": 2, "drop": 1}."""
        return Counter(part.route.value for part in self.parts or (self,))


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSummary(Value):
    """What `ingest_many` did: counts per route, and every failure with its place in the input."""

    counts: Mapping[str, int]
    duplicates: int
    failures: tuple[tuple[int, str], ...]
    receipts: tuple[IngestReceipt, ...]
    seconds: float
    passed_over: tuple[tuple[int, int], ...] = ()
    """(place in the input, message) of each message of a conversation that became no record, see `IngestReceipt`."""
    extraction: tuple[tuple[int, str], ...] = ()
    """(place in the input, what became of a line of the extractor), see `IngestReceipt`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt(Value):
    """Proof of forgetting: both halves, what is still due, and what the probes saw."""

    records: tuple[str, ...]
    """All that was forgotten: what was named, and the accepted answers that stood on it (`retrieval["derived"]`)."""
    retrieval: Mapping[str, Json]
    """passages, vectors, self_edits removed; probe: how many are still found (0).

    said_by_others: ids of records that were chosen by their source, and stay because another source said them too.

    journal_due: a reader kept the database's journal from being emptied; the next write, window or closing does it."""
    weights: Mapping[str, Json]
    """state "clean" | "due" | "rebuilt", the shards, the adapter files deleted, the probe's result.

    adapters_left: out of service, but another process was just writing their files; the end of its window, the next
    window or the next opening deletes them."""
    not_promised: tuple[str, ...]
    at: datetime
    already: tuple[str, ...] = ()
    """Those of `records` that were forgotten before this call: `retrieval` counts nothing for them, and `weights` says
    how things stand with them now."""
    signature: str | None = None
    """Made with the key of `forget.key_file`, if there is one; see `HybridMemory.check_receipt`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit(Value):
    """What the serving adapters still know of forgotten texts, beside texts they were never told."""

    texts: int
    controls: int
    adapters: tuple[str, ...]
    """Those that were looked at: all that serve in the scope."""
    gain: float
    """Mean rise of the forgotten texts over the base, each by the adapter that likes it most, nats a token."""
    control_gain: float
    """The same for the controls."""
    difference: float
    """gain - control_gain."""
    interval: tuple[float, float]
    """95 % bootstrap interval of the difference."""
    extracted: tuple[str, ...]
    """Texts that an adapter finishes in their own words and the base does not."""
    clean: bool
    """True: nothing was extracted, and the forgotten texts are not likelier than the controls."""
