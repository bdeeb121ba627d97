"""What the ledger takes in and holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from hybrid_memory.types.decisions import Decision
from hybrid_memory.types.inputs import Example
from hybrid_memory.types.scopes import Scope, Slot
from hybrid_memory.types.values import FloatArray, Json, Value
from hybrid_memory.types.words import Kind, Learning, Status, Trust

__all__ = [
    "IMPORTED_ID",
    "IMPORTED_ROW",
    "OWN_QUESTION",
    "OWN_WORDS",
    "Draft",
    "Entry",
    "Event",
    "Held",
    "Passage",
    "Record",
]

OWN_WORDS, OWN_QUESTION = "own_words", "own_question"
"""Metadata of a turn that a model stated anew: what the speaker said, and the question that it answered."""
IMPORTED_ID = "imported_id"
IMPORTED_ROW = ("imported_from", "namespace", IMPORTED_ID)
"""Metadata by which a row of another memory's export is known again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft(Value):
    """A record that has been read and stamped, but not screened, routed or stored."""

    text: str
    kind: Kind | None
    """None: the router decides."""
    scope: Scope
    source: str
    trust: Trust
    observed_at: datetime
    valid_from: datetime
    valid_to: datetime | None = None
    expires_at: datetime | None = None
    slot: Slot | None = None
    value: str | None = None
    """The slot's value as text, when there is a slot."""
    examples: tuple[Example, ...] = ()
    """Demonstrations: one for an Example, any number for a Preference."""
    passages: tuple[str, ...] = ()
    """What to embed and index; usually just the text."""
    asked: str | None = None
    """The question a user's turn answers: two that say "Yes." to different questions are different statements."""
    supersedes: str | None = None
    idempotency_key: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Value):
    """All that one ledger write needs: the draft, its decision, its passages' vectors."""

    draft: Draft
    decision: Decision
    vectors: FloatArray
    """Shape (len(draft.passages) + len(sentences), dim), float32, unit rows."""
    encoder: str
    """Fingerprint of the encoder that made the vectors."""
    sentences: tuple[str, ...] = ()
    """Sentences of the text, by each of which its first passage is found, too."""
    force: bool = False
    """True: the caller lets it in although it was forgotten. Not the draft's, which documents can write to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Value):
    """One row of the ledger: what was ingested, and all that has been decided about it."""

    id: str
    """ULID: sorts by the time of recording."""
    text: str
    kind: Kind
    scope: Scope
    source: str
    trust: Trust
    observed_at: datetime
    recorded_at: datetime
    valid_from: datetime
    valid_to: datetime | None
    expires_at: datetime | None
    slot: Slot | None
    value: str | None
    version: int
    """Counts the values its slot has had, from 1; 0 without a slot."""
    status: Status
    superseded_by: str | None
    decision: Decision
    learning: Learning
    learning_detail: str
    """The adapter version that learned it, or why it was declined; "" otherwise."""
    shard_id: str | None
    examples: tuple[Example, ...]
    content_hash: str
    idempotency_key: str | None
    metadata: Mapping[str, Json]
    asked: str | None = None
    """The question that a user's turn answers, if it followed one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage(Value):
    """One text unit in the retrieval index."""

    id: int
    """Row number in the ledger, also the id in the FAISS index."""
    record_id: str
    position: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Value):
    """One line of the append-only history."""

    id: int
    at: datetime
    record_id: str | None
    name: str
    """What happened: "ingested", "superseded", "queued", "learned", "declined", "forgotten", …"""
    detail: Mapping[str, Json]


Held: TypeAlias = "tuple[Sequence[Record], FloatArray]"
"""Records that are learned together or wait for it, and their vectors, shape (records, dim), unit rows."""
