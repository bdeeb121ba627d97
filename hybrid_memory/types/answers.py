"""What a search finds and a question gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hybrid_memory.types.inputs import Turn
from hybrid_memory.types.records import Passage, Record
from hybrid_memory.types.values import Value
from hybrid_memory.types.words import Mode

__all__ = ["Answer", "Context", "Explanation", "Generation", "Hit", "Stretch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit(Value):
    """One passage found, with its record and where its score came from."""

    record: Record
    passage: Passage
    score: float
    """Fused score, higher is closer; comparable within one search only. 0 of a neighbour, which was not scored."""
    similarity: float
    """Cosine of query and passage in [-1, 1]; nan when only the words matched, or nothing did."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """What each part adds to the score: "dense" (meaning), "lexical" (words), and where they have a weight "recency",
    "trust", "time" (the one the question names) and "rerank"."""
    explanation: tuple[str, ...] = ()
    """One sentence per part, when the search was asked to explain; of a neighbour always what it stands beside."""
    beside: str | None = None
    """The record id of the hit that brought it along, of a neighbouring part of a document; None of what was found."""
    excerpt: str | None = None
    """The sentences of the text that the prompt shows; None: all of it, or it was not found for a prompt."""

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
    """Adapter versions that `query` would answer with."""
    masked: tuple[str, ...]
    """Adapter versions left out because what they know is stale: behaviour for every question, others for this one."""
    trace: tuple[str, ...] = ()
    """What was decided, in sentences."""
    shown: tuple[str, ...] = ()
    """Ids of those `sources` that stand in the messages."""


@dataclass(frozen=True, slots=True)
class Stretch(Value):
    """A stretch of an answer, and the adapter versions that wrote it together."""

    text: str
    adapters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Value):
    """One answer with all that led to it."""

    id: str
    question: str
    text: str
    mode: Mode
    sources: tuple[Hit, ...]
    adapters: tuple[str, ...]
    """Adapter versions that had a part in the text, in the order in which they spoke; see `no_adapter`."""
    abstained: bool
    trace: tuple[str, ...]
    prompt_tokens: int
    completion_tokens: int
    seconds: Mapping[str, float]
    """Per stage: "retrieve", "choose", "generate"; a batch's seconds divided by its size."""
    confidence: float = 0.0
    """exp(mean log-probability per token) of the text, in (0, 1]."""
    masked: tuple[str, ...] = ()
    """Adapter versions left out because what they know is stale: behaviour for every question, others for this one."""
    shown: tuple[str, ...] = ()
    """Ids of those `sources` that stood in the prompt; none when tokens were saved, fewer when it was too long."""
    written: tuple[Stretch, ...] = ()
    """The text as it came about, one stretch after the other; none of it when the answer abstained."""
    vote: Mapping[str, float] = field(default_factory=dict)
    """label -> its share among the nearest examples, when the text is a label that was chosen and not written; answer
    -> its share among the views of a task."""
    no_adapter: str = ""
    """Why no adapter had a part in the text; empty when one had."""

    def __str__(self) -> str:
        """Return the answer's text."""
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation(Value):
    """What an answer came from, by leaving parts out. All numbers are mean natural log-probabilities per token.

    Of a label that was chosen they are natural logarithms of its probability among the labels of the vote.
    """

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
    not_attributed: tuple[str, ...] = ()
    """What the numbers say nothing about, one sentence each."""

    @property
    def base(self) -> float:
        """What the base model alone gives."""
        return self.logprob["base"]
