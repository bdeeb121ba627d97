"""Settings of what is kept, found and answered from: the retrieval half."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from hybrid_memory.config.group import Group

__all__ = [
    "MOST_NEIGHBOURS",
    "AnswerSettings",
    "ForgetSettings",
    "IngestSettings",
    "LedgerSettings",
    "RetrievalSettings",
    "RoutingSettings",
]

MOST_NEIGHBOURS = 3
"""Most parts before and after a hit: a hit and six more of the default length are 1,400 tokens."""


class LedgerSettings(Group):
    """The database."""

    url: str | None = None
    """SQLAlchemy URL, such as "postgresql://host/database"; none is `ledger.sqlite` in the memory's folder."""
    lock_timeout_s: Annotated[float, Field(ge=0)] = 10.0
    """How long a write waits for another process's write."""


class IngestSettings(Group):
    """How inputs become records."""

    chunk_tokens: Annotated[int, Field(ge=32)] = 200
    """Longest passage, in tokens of the splitter; MiniLM reads 256 word pieces."""
    sentences: bool = True
    """Find a text of several sentences also by each of them: the meaning of a page about several things is near to no
    question. A row of the index more for each, and twice the encoder's time; what is stored already stays as it is."""
    max_chars: Annotated[int, Field(ge=1000)] = 2_000_000
    """Longest single input; longer ones are refused, not cut."""
    attributes: Mapping[str, Literal["single", "many"]] = {}
    """Attributes with one current value ("single": a newer one replaces it) or several side by side ("many")."""
    extractor: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] | None = None
    """What makes the model that states the turns of conversations anew, as "module:function" without arguments; called
    with the first conversation. Or `HybridMemory.open(folder, extractor=llm)`."""
    extractor_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    """How long one answer of the extractor is waited for."""


class RoutingSettings(Group):
    """Which policy decides, see policies/."""

    policy: str = "default"
    """A shipped policy's name or the path of a TOML file."""
    screens: tuple[Literal["detect-secrets", "presidio"], ...] = ()
    """Screens of other libraries beside the built-in ones; extras "secrets" and "personal-data"."""
    judge_calls: Annotated[int, Field(ge=0)] = 200
    """Most questions to the judge (`HybridMemory.open(judge=…)`) while a memory is open; its answers are kept."""


class RetrievalSettings(Group):
    """How passages are found."""

    candidates: Annotated[int, Field(ge=1)] = 50
    """How many each of dense and lexical search give to the fusion."""
    dense_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the cosine, scaled to [0, 1] over the candidates."""
    lexical_weight: Annotated[float, Field(ge=0)] = 1.25
    """Weight of BM25, scaled likewise."""
    large_index: Literal["ivf", "hnsw", "flat"] = "ivf"
    """What a large index becomes: lists, a graph, or an exact table still."""
    large_from: Annotated[int, Field(ge=1)] = 200_000
    """Number of vectors from which an index is large."""
    recency_weight: Annotated[float, Field(ge=0)] = 0.0
    """What the newest record gets on top; meaning and words give at most their own weights."""
    half_life_days: Annotated[float, Field(gt=0)] = 30.0
    """Days after which what recency gives has halved."""
    trust_weight: Annotated[float, Field(ge=0)] = 0.0
    """What the operator's records get on top; a user's get half of it, external ones nothing."""
    time_weight: Annotated[float, Field(ge=0)] = 0.0
    """What a record gets on top that began in the time the question names, such as "last week" or "in May 2023"."""
    diversity: Annotated[float, Field(ge=0, le=1)] = 0.0
    """0 ranks by score alone; towards 1, a passage loses more for being like one above it (MMR)."""
    reranker: str | None = None
    """A sentence-transformers model, by folder or id, that reads the best passages again; none is shipped."""
    reranker_kind: Literal["cross_encoder", "late_interaction"] = "cross_encoder"
    """Read question and passage together, or compare their word pieces (MaxSim)."""
    rerank_top: Annotated[int, Field(ge=1)] = 20
    """How many passages are read again."""
    neighbours: Annotated[int, Field(ge=0, le=MOST_NEIGHBOURS)] = 0
    """Parts of a document that come along before and after each that is found, beyond the number asked for."""


class AnswerSettings(Group):
    """How evidence and adapters become one answer."""

    passages: Annotated[int, Field(ge=0)] = 1
    """Evidence passages in the prompt; one reads best for a 135M model."""
    sentences: Annotated[int, Field(ge=0)] = 1
    """Sentences of a passage in the prompt of `query`, those nearest to the question; 0 shows it whole. As of passages,
    a 135M model reads one best. `context` always gives whole passages, and so does `query` with neighbours."""
    max_new_tokens: Annotated[int, Field(ge=1)] = 64
    min_similarity: Annotated[float, Field(ge=-1, le=1)] = 0.25
    """Evidence less similar to the question than this is left out, unless it says the question's words."""
    min_words: Annotated[float, Field(ge=0)] = 0.75
    """What words must give to a passage's score (`Hit.scores["lexical"]`, at most retrieval.lexical_weight) to make it
    evidence whatever its similarity: a page about several things has a meaning near to no question."""
    quote_below: Annotated[float, Field(ge=0, le=1)] = 0.8
    """The best statement of the evidence is quoted in place of an answer of whose words fewer than this share stand in
    the prompt, that says nothing of the evidence, or a number of its own: of 72 hard questions 57 in place of 37 come
    out right on the default model. Such answers are not streamed. 0 never quotes: for models that can read."""
    quote_from: Annotated[float, Field(ge=-1, le=1)] = 0.3
    """Evidence less similar to the question than this is not quoted, unless it says the question's words."""
    demonstrations: Annotated[int, Field(ge=0)] = 8
    """Most nearest examples that vote when their responses are labels, or else are shown as chat turns."""
    label_trust: Annotated[float, Field(ge=0)] = 1.0
    """What a nat of an adapter's log-probability of a label counts against a nat of the neighbours' vote."""
    rules: Annotated[int, Field(ge=0)] = 3
    """Most preferences stated in the prompt because no adapter has learned them yet."""
    dated: Literal["never", "several", "always"] = "several"
    """When the date a fact is valid from stands with it: a date costs a 135M model 3 of 32 answers, and tells
    something only where several facts are shown."""
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Least confidence of an answer that stands on neither half; 0 never abstains."""
    shard_similarity: Annotated[float, Field(ge=-1, le=1)] = 0.25
    """A fact shard is used when its nearest record is at least this similar to the question."""
    shard_margin: Annotated[float, Field(ge=0, le=2)] = 0.0
    """A second shard of the same group speaks along when its nearest record is at most this much less similar: the sum
    of two adapters is their concatenation. 0 asks the nearest alone."""
    without_evidence_from: Annotated[float, Field(ge=0, le=1)] | None = None
    """Saves tokens: a fact of one statement is left out of the prompt when its own shard answers and the question is at
    least so similar to it, without a second look. It stays a source. None: never."""
    second_look: Annotated[int, Field(ge=0)] = 3
    """Records of each list that the language model reads again when the encoder cannot tell which one a question is
    about; 0: none."""


class ForgetSettings(Group):
    """What forgetting leaves behind."""

    key_file: str | None = None
    """File with the key that signs receipts, made when it is not there; a relative path lies in the memory's folder."""
