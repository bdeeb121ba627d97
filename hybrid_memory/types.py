"""The values that travel between the stages.

Flow:    every stage takes and returns these; none of them holds behaviour beyond reading itself.
Imports: nothing of this package.

All of them are frozen. Those a user receives also index like dicts (`answer["text"]`),
because users of other memory libraries type that already (peers.md, section 4).
Times are timezone-aware UTC; durations carry `_s` and are seconds.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "GENERATOR",
    "AdapterStatus",
    "AdapterVersion",
    "Answer",
    "Audit",
    "ConsolidationReport",
    "Context",
    "Decision",
    "Directives",
    "Draft",
    "Entry",
    "Event",
    "Example",
    "Explanation",
    "Fact",
    "Finding",
    "FloatArray",
    "Generation",
    "GeneratorReport",
    "Hit",
    "IdArray",
    "IngestReceipt",
    "IngestSummary",
    "Json",
    "Kind",
    "Learning",
    "Lesson",
    "Mode",
    "Move",
    "Passage",
    "Preference",
    "Receipt",
    "Record",
    "Replay",
    "RoundReport",
    "Route",
    "Scope",
    "SelfEdit",
    "Sensitivity",
    "Shard",
    "ShardReport",
    "Slot",
    "Status",
    "StudyItem",
    "Trust",
    "Turn",
    "Value",
    "Verdict",
    "finite",
]

FloatArray: TypeAlias = npt.NDArray[np.float32]
IdArray: TypeAlias = npt.NDArray[np.int64]
Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"


class Value:
    """Lets a frozen dataclass be read like a dict, and turned into JSON-ready data."""

    def __getitem__(self, name: str) -> object:
        """Return the field of that name; KeyError lists the fields there are."""
        if name not in self.keys():
            raise KeyError(f"{type(self).__name__} has no field {name!r}; it has {', '.join(self.keys())}")
        return getattr(self, name)

    def keys(self) -> list[str]:
        """Return the field names, in order; makes `dict(value)` work."""
        return [item.name for item in dataclasses.fields(self)]  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the field names, as a dict does."""
        return iter(self.keys())

    def to_json(self) -> dict[str, Json]:
        """Return plain data that `json.dumps` accepts: enums as values, times as ISO 8601."""
        return {name: _plain(getattr(self, name)) for name in self.keys()}


def _plain(value: object) -> Json:
    if isinstance(value, Value):
        return value.to_json()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def finite(value: Any) -> Any:
    """Replace what JSON has no word for: nan (a passage that only the words found) and infinities become None.

    >>> finite({"similarity": float("nan"), "score": 0.5})
    {'similarity': None, 'score': 0.5}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [finite(item) for item in value]
    return value


# ---------------------------------------------------------------- words with a fixed set of values


class Route(StrEnum):
    """Where a record goes. LEARN is also retrievable (design, promise 2)."""

    RETRIEVE = "retrieve"
    LEARN = "learn"
    DROP = "drop"
    QUARANTINE = "quarantine"


class Kind(StrEnum):
    """What sort of knowledge a record holds."""

    FACT = "fact"
    PREFERENCE = "preference"
    PROCEDURE = "procedure"
    EXAMPLE = "example"
    EVENT = "event"
    CONVERSATION = "conversation"


class Trust(StrEnum):
    """Who vouches for a record: the application, its user, or anybody."""

    OPERATOR = "operator"
    USER = "user"
    EXTERNAL = "external"


class Status(StrEnum):
    """Where a record stands in its life. Only ACTIVE records are evidence."""

    ACTIVE = "active"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    FORGOTTEN = "forgotten"
    QUARANTINED = "quarantined"


class Learning(StrEnum):
    """Where a record stands on its way into the weights."""

    NONE = "none"
    QUEUED = "queued"
    LEARNED = "learned"
    DECLINED = "declined"
    STALE = "stale"


class Sensitivity(StrEnum):
    """What kind of care the text of a record needs."""

    NORMAL = "normal"
    PERSONAL = "personal"
    SECRET = "secret"  # noqa: S105 - a class of data, not a password


class Mode(StrEnum):
    """Which halves of the memory answer a question."""

    HYBRID = "hybrid"
    RETRIEVAL_ONLY = "retrieval_only"
    WEIGHTS_ONLY = "weights_only"


class AdapterStatus(StrEnum):
    """Where an adapter version stands: trained, serving, replaced, switched off, refused or deleted."""

    CANDIDATE = "candidate"
    ACTIVE = "active"
    RETIRED = "retired"
    DISABLED = "disabled"
    REJECTED = "rejected"
    PURGED = "purged"


# ---------------------------------------------------------------- what users hand in


@dataclass(frozen=True, slots=True)
class Fact(Value):
    """One value of one attribute of one subject; fills a slot, so a newer one replaces it."""

    subject: str
    attribute: str
    value: str
    text: str | None = None
    """The sentence to store; None writes "The <attribute> of <subject> is <value>."."""


@dataclass(frozen=True, slots=True)
class Example(Value):
    """One demonstration: what went in and what should come out."""

    prompt: str
    response: str


@dataclass(frozen=True, slots=True)
class Preference(Value):
    """A rule about how to answer, with demonstrations if there are any."""

    rule: str
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn(Value):
    """One chat message. `role` is "system", "user" or "assistant"."""

    role: str
    content: str


# ---------------------------------------------------------------- scope, slot, decision


@dataclass(frozen=True, slots=True)
class Scope(Value):
    """Whose knowledge it is. None means "everybody below": an empty scope is the organisation's.

    A query in scope Q sees a record in scope R when every field of R is None or equal to Q's
    field, so a user sees the organisation's knowledge and their own, never another user's.
    """

    tenant_id: str | None = None
    user_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None

    def sees(self, other: Scope) -> bool:
        """Tell whether a query in this scope may see a record of scope `other`."""
        return all(theirs is None or theirs == ours for ours, theirs in zip(self.values(), other.values(), strict=True))

    def covers(self, other: Scope) -> bool:
        """Tell whether `other` lies inside this scope: every field set here has the same value there."""
        return all(ours is None or ours == theirs for ours, theirs in zip(self.values(), other.values(), strict=True))

    def values(self) -> tuple[str | None, ...]:
        """Return (tenant_id, user_id, agent_id, run_id)."""
        return (self.tenant_id, self.user_id, self.agent_id, self.run_id)

    @property
    def name(self) -> str:
        """A short name: "everyone", or "user_id=ann agent_id=bot"."""
        given = [f"{key}={value}" for key, value in zip(self.keys(), self.values(), strict=True) if value is not None]
        return " ".join(given) or "everyone"


@dataclass(frozen=True, slots=True)
class Slot(Value):
    """A place that holds one current value: (subject, attribute), case and spaces folded."""

    subject: str
    attribute: str

    @property
    def key(self) -> str:
        """The normalised text that decides equality in the ledger: "subject | attribute"."""
        return " | ".join(" ".join(part.casefold().split()) for part in (self.subject, self.attribute))


@dataclass(frozen=True, slots=True)
class Finding(Value):
    """What a screen saw in a text."""

    screen: str
    """Which screen: "instruction", "secret" or "personal"."""
    detail: str
    """What it saw, in words fit for a reason line; never the secret itself."""
    score: float = 1.0
    """How sure it is, in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Value):
    """Where a text goes and why."""

    route: Route
    kind: Kind
    p_durable: float
    """Calibrated probability in [0, 1] that the text stays true for years."""
    p_behaviour: float
    """Calibrated probability in [0, 1] that it should shape how the model behaves."""
    sensitivity: Sensitivity
    trust: Trust
    reasons: tuple[str, ...]
    """Plain sentences, in the order in which the decision was made."""
    policy: str
    """Name and fingerprint of the policy, as "default@1a2b3c4d5e6f"."""
    ttl_s: float | None = None
    """Lifetime the policy gives to it, in seconds; None keeps it until it is replaced."""


# ---------------------------------------------------------------- ingest and ledger


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
    supersedes: str | None = None
    idempotency_key: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Value):
    """All that one ledger write needs: the draft, its decision, its passages' vectors."""

    draft: Draft
    decision: Decision
    vectors: FloatArray
    """Shape (len(draft.passages), dim), float32, unit rows."""
    encoder: str
    """Fingerprint of the encoder that made the vectors."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReceipt(Value):
    """What became of one thing that was ingested; returned after it is durable."""

    record_id: str | None
    """None when it was dropped or the call was a dry run."""
    route: Route
    decision: Decision
    duplicate: bool = False
    """True when the same text (or idempotency key) was already there; record_id is the old one."""
    superseded: tuple[str, ...] = ()
    """Ids of the records this one replaced."""
    superseded_by: str | None = None
    """Set when it arrived late and a newer value was already there."""
    records: tuple[str, ...] = ()
    """All record ids, when one input (a file, a conversation) became several."""
    parts: tuple[IngestReceipt, ...] = ()
    """One receipt for each record, when one input became several; the fields above are then those of the first."""

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


# ---------------------------------------------------------------- retrieval and answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit(Value):
    """One passage found, with its record and where its score came from."""

    record: Record
    passage: Passage
    score: float
    """Fused score, higher is closer; comparable within one search only."""
    similarity: float
    """Cosine of query and passage in [-1, 1]; nan when only the words matched."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """What each part adds to the score: "dense" (meaning), "lexical" (words), and where they have a weight "recency",
    "trust", "time" (the one the question names) and "rerank"."""
    explanation: tuple[str, ...] = ()
    """One sentence per part, when the search was asked to explain."""

    @property
    def id(self) -> str:
        """The record's id."""
        return self.record.id

    @property
    def text(self) -> str:
        """The record's text."""
        return self.record.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation(Value):
    """What a language model wrote for one prompt."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    mean_logprob: float
    """Mean natural log-probability per written token, <= 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(Value):
    """The merge without generation: for the caller's own language model."""

    messages: tuple[Turn, ...]
    sources: tuple[Hit, ...]
    adapters: tuple[str, ...]
    masked: tuple[str, ...]
    """Adapter versions left out because what they know about this question is stale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Value):
    """One answer with all that led to it."""

    id: str
    question: str
    text: str
    mode: Mode
    sources: tuple[Hit, ...]
    adapters: tuple[str, ...]
    abstained: bool
    trace: tuple[str, ...]
    prompt_tokens: int
    completion_tokens: int
    seconds: Mapping[str, float]
    """Per stage: "retrieve", "choose", "generate"; a batch's seconds divided by its size."""
    confidence: float = 0.0
    """exp(mean log-probability per token) of the text, in (0, 1]."""

    def __str__(self) -> str:
        """Return the answer's text."""
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation(Value):
    """What an answer came from, by leaving parts out. All numbers are mean natural log-probabilities per token."""

    answer_id: str
    text: str
    logprob: Mapping[str, float]
    """How likely the text is from "both" halves, from "evidence" or "adapters" alone, and from the "base" model."""
    evidence: float
    """What the evidence (stated rules included) adds to the base, averaged over both orders of adding the halves."""
    adapter: float
    """What the adapters add; `base + evidence + adapter` is what both give together."""
    sources: Mapping[str, float]
    """record id -> how much less likely the text is without that record."""
    adapters: Mapping[str, float]
    """adapter version -> how much less likely the text is without it."""
    summary: str
    """One line for people."""

    @property
    def base(self) -> float:
        """What the base model alone gives."""
        return self.logprob["base"]


# ---------------------------------------------------------------- learning


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyItem(Value):
    """One training sequence: a prompt with its response, or plain text when the prompt is empty."""

    prompt: str
    response: str
    form: str
    """"statement", "question", "completion", "demonstration", "evidence", "deference" or "general"."""
    held_out: bool = False
    """True: kept for the gate, never trained on."""
    evidence: tuple[str, ...] = ()
    """Texts shown in the prompt as evidence, so that the model learns to read them."""
    shots: tuple[Example, ...] = ()
    """Demonstrations shown before the prompt, least similar first."""
    source: str = ""
    """What the response comes from, for context distillation; "" where the response says it all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directives(Value):
    """What a self-edit asks of the inner loop; None leaves it to the settings."""

    learning_rate: float | None = None
    epochs: int | None = None
    loss_on: str | None = None
    """"answer" or "all"."""
    targets: tuple[str, ...] | None = None
    """Linear layers that get LoRA, by name."""
    augmentations: tuple[str, ...] | None = None
    """Forms in which the material is studied once more, such as "reverse"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfEdit(Value):
    """The study material that was written for one record."""

    record_id: str
    items: tuple[StudyItem, ...]
    generator: str
    seed: int
    directives: Directives = Directives()
    dropped: Mapping[str, int] = field(default_factory=dict)
    """How many written items verification refused, by reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard(Value):
    """A set of records that are learned together in one adapter."""

    id: str
    scope: Scope
    group: str
    """"behaviour" (always on), "examples", or "facts" (chosen by the question)."""
    dirty: bool
    masked: bool
    """True: switched off as a whole until it is rebuilt (a forgotten record is in it)."""
    active: str | None
    """Id of the adapter version that serves, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterVersion(Value):
    """One immutable trained adapter."""

    id: str
    """ "<shard id>-v<number>"; never used twice."""
    shard_id: str
    number: int
    status: AdapterStatus
    path: str
    """Folder with adapter_model.safetensors, adapter_config.json, manifest.json."""
    created_at: datetime
    record_ids: tuple[str, ...]
    manifest: Mapping[str, Json]
    metrics: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Value):
    """What the gate measured on a candidate adapter, and what follows from it."""

    passed: bool
    reasons: tuple[str, ...]
    """One sentence per failed check."""
    unlearned: tuple[str, ...]
    """Ids of the records whose held-out question did not become likelier by the least gain."""
    metrics: Mapping[str, Json]
    failed: tuple[str, ...] = ()
    """Names of the failed checks, one for each reason: "learned", "kept", "following", "canaries", "drift", …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReport(Value):
    """What one window did to one shard."""

    shard_id: str
    group: str
    scope: Scope
    version: str | None
    """The version that was trained; None when nothing could be."""
    promoted: bool
    learned: tuple[str, ...]
    declined: Mapping[str, str]
    """record id -> why it stays in retrieval only."""
    metrics: Mapping[str, Json]
    attempts: tuple[str, ...]
    """The gate's ladder as it was climbed, one line each."""
    items: int
    trained_tokens: int
    seconds: Mapping[str, float]
    """"write", "train", "gate"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsolidationReport(Value):
    """What one window did."""

    shards: tuple[ShardReport, ...]
    learned: int
    declined: int
    remaining: int
    """Queue entries that wait for the next window (the budget ran out)."""
    seconds: float
    summary: str
    """One line for people."""


# ---------------------------------------------------------------- the outer loop


GENERATOR = "generator"
"""Id and group of the shard whose versions write self-edits: it has no records, and no question ever reaches it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson(Value):
    """A passage with the questions that show whether it was learned: what the outer loop practises on."""

    text: str
    questions: tuple[Example, ...]
    """Question and gold answer; never study material."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundReport(Value):
    """What one round of the outer loop did."""

    round: int
    version: str | None
    """The generator that was trained; None when no self-edit was worth learning from."""
    promoted: bool
    reason: str
    """Why it serves, or why it does not."""
    winners: int
    """Self-edits that the generator was trained on, those of earlier rounds included."""
    refused: int
    """Samples without a single usable question."""
    mean_reward: float
    """Over all samples on the training passages."""
    best_reward: float
    """Mean over the training passages of their best sample."""
    held_out_before: float
    held_out_after: float | None
    """Mean reward on the held-out passages, before and after; nats per token, or in [0, 1]."""
    trained_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorReport(Value):
    """What `seal train` did."""

    rounds: tuple[RoundReport, ...]
    serving: str | None
    """The generator version that writes self-edits from now on; None: the base model."""
    seconds: float
    summary: str
    """One line for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move(Value):
    """One record that another policy would route differently."""

    record_id: str
    text: str
    before: Route
    after: Route
    reasons: tuple[str, ...]
    decision: Decision
    """The whole decision of the other policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay(Value):
    """What another policy would move, and what learning again would cost; nothing has moved."""

    policy: str
    """Name and fingerprint of the other policy."""
    moves: tuple[Move, ...]
    cost: Mapping[str, Json]
    """records_to_learn, records_to_unlearn, shards_to_rebuild, records_to_learn_again, and the seconds that training
    these took per record so far (None before the first window)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt(Value):
    """Proof of forgetting: both halves, what is still due, and what the probes saw."""

    records: tuple[str, ...]
    retrieval: Mapping[str, Json]
    """passages, vectors, self_edits removed; probe: how many are still found (0)."""
    weights: Mapping[str, Json]
    """state "clean" | "due" | "rebuilt", the shards, the adapter files deleted, the probe's result."""
    not_promised: tuple[str, ...]
    at: datetime
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
