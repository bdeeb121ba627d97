"""What a routing policy may say: its tables, keys and ranges.

Flow:    policy.py checks TOML against these; router.py reads them.
Imports: types.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from hybrid_memory.types import Kind, Route, Trust

__all__ = [
    "Costs",
    "Ladder",
    "Lifetimes",
    "Match",
    "Policy",
    "Quotas",
    "Rule",
    "Sensitive",
    "Slots",
    "Thresholds",
    "Windows",
]

Share = Annotated[float, Field(ge=0, le=1)]
Days = Annotated[float, Field(gt=0)]


Positive = Annotated[float, Field(gt=0)]


class Table(BaseModel):
    """One table of a policy; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Costs(Table):
    """What a wrong decision costs, in any unit; only the ratios count.

    A text is learned when the expected cost of learning it is the lower one: P(lasts) · lost >= (1 - P(lasts)) · stale,
    so the threshold is stale / (stale + lost).
    """

    stale: Positive = 9.0
    """Learning what then changes: a stale answer out of the weights."""
    lost_behaviour: Positive = 6.0
    """Keeping out a lasting rule, taste, procedure or example: behaviour that is lost."""
    lost_fact: Positive = 0.5
    """Keeping out a lasting fact: some prompt tokens, since it is retrieved all the same."""

    def threshold(self, lost: float) -> float:
        """Return the probability from which learning costs less than not learning."""
        return round(self.stale / (self.stale + lost), 4)


class Thresholds(Table):
    """How sure the classifier must be. All are probabilities in [0, 1]."""

    durable: Share | None = None
    """Least p_durable of a behaviour-shaping text that may be learned; by default what `[costs]` says (0.6)."""
    behaviour: Share = 0.5
    """Least p_behaviour of a text that counts as behaviour-shaping."""
    fact: Share | None = None
    """Least p_durable of a plain fact that may be learned; 1.0 keeps them in retrieval; else from `[costs]` (0.947)."""
    chatter: Share = 0.8
    """Least probability of small talk at which a text is dropped; 1.0 never drops."""
    margin: Share = 0.03
    """Closer than this to `durable`, `behaviour` or `fact` counts as undecided, and goes to retrieval."""


class Ladder(Table):
    """How many distinct sources must say a thing before it may enter the weights. Operators pass at once."""

    user: Annotated[int, Field(ge=1)] = 2
    """For what users say."""
    explicit: Annotated[int, Field(ge=1)] = 1
    """For what users hand in as a Preference or an Example: they have said that they mean it."""
    external: Annotated[int, Field(ge=2)] | None = None
    """For everybody else, never one utterance; None: strangers alone teach nothing, however many they are."""
    days: Days | None = None
    """So many days without conflict count as one more source for what users say; None: age counts for nothing."""


class Quotas(Table):
    """How many records of one source may wait for the weights or be in them; None: any number. Operators have none."""

    user: Annotated[int, Field(ge=1)] | None = None
    external: Annotated[int, Field(ge=1)] | None = 50


class Windows(Table):
    """Settings of learning windows and shards that suit the policy; those in memory.toml win."""

    queue_size: Annotated[int, Field(ge=0)] | None = None
    cron: str | None = None
    shard_cap: Annotated[int, Field(ge=1)] | None = None


class Sensitive(Table):
    """What becomes of texts in which a screen saw something."""

    personal: Route = Route.RETRIEVE
    """Identifiers of a person: e-mail addresses, phone numbers, dates of birth. "learn" lifts the ban."""
    secret: Literal[Route.RETRIEVE, Route.DROP, Route.QUARANTINE] = Route.QUARANTINE
    """Passwords, keys, card numbers; these are never learned."""
    instruction: Literal[Route.RETRIEVE, Route.DROP, Route.QUARANTINE] = Route.QUARANTINE
    """Instructions hidden in external data. From operators they are marked."""
    user_instruction: Literal[Route.RETRIEVE, Route.DROP, Route.QUARANTINE] = Route.QUARANTINE
    """Orders against the application in what a user says or pastes; wishes about the form of answers are none."""


class Lifetimes(Table):
    """Days after which a text that stays in retrieval expires; None keeps it until it is replaced."""

    fast: Days | None = None
    slow: Days | None = None


class Slots(Table):
    """Facts that fill a slot have been declared replaceable, so they stay in retrieval."""

    durable: tuple[str, ...] = ()
    """Attributes (globs, case folded) whose facts may be learned all the same, such as "founded*"."""


class Match(Table):
    """When a rule applies: every condition given must hold; none given always holds."""

    kind: Kind | None = None
    """The kind the caller stated."""
    source: str | None = None
    """Glob on the source, such as "handbook/*"."""
    trust: Trust | None = None
    pattern: str | None = None
    """Regular expression searched in the text, upper and lower case alike."""
    attribute: str | None = None
    """Glob on the slot's attribute, case folded."""
    slot: bool | None = None
    """Whether the text fills a slot, so that its value may be replaced."""
    metadata: Mapping[str, str | int | float | bool] = Field(default_factory=dict)
    """Values that the metadata must have."""
    language: str | None = None
    """Two-letter code. Read from metadata.language, else detected, which needs the extra "language"."""
    scope: Mapping[Literal["tenant_id", "user_id", "agent_id", "run_id"], str] = Field(default_factory=dict)
    """Globs on the ids of the record's scope."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"not a regular expression ({error})") from error
        return pattern


class Rule(Table):
    """A hard rule: decides before the classifier is asked. The first rule that matches wins."""

    name: Annotated[str, Field(min_length=1)]
    match: Match = Match()
    route: Route
    reason: str = ""
    """Shown in the decision; the rule's name when empty."""


class Policy(Table):
    """All that a router needs to know, with what it extends already merged in."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    description: str = ""
    extends: str | None = None
    classifier: str | None = None
    """Heads of your own, as `hybrid-memory policy fit` writes them; a path beside the policy file."""
    costs: Costs = Costs()
    thresholds: Thresholds = Thresholds()
    quotas: Quotas = Quotas()
    windows: Windows = Windows()
    ladder: Ladder = Ladder()
    sensitivity: Sensitive = Sensitive()
    lifetimes: Lifetimes = Lifetimes()
    slots: Slots = Slots()
    rules: tuple[Rule, ...] = ()

    @property
    def durable(self) -> float:
        """Least p_durable of a behaviour-shaping text that may be learned."""
        given = self.thresholds.durable
        return self.costs.threshold(self.costs.lost_behaviour) if given is None else given

    @property
    def fact(self) -> float:
        """Least p_durable of a plain fact that may be learned."""
        given = self.thresholds.fact
        return self.costs.threshold(self.costs.lost_fact) if given is None else given

    @property
    def fingerprint(self) -> str:
        """12 hex digits of the SHA-256 of the merged policy as JSON."""
        text = json.dumps(self.model_dump(mode="json", exclude={"description", "extends"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
