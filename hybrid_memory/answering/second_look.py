"""Ask the language model which record a question is about, when the encoder cannot tell.

An encoder puts a question near to everything on its topic. A language model can say more: how likely it is that
somebody who has just read a record asks this question (query likelihood: Ponte and Croft, SIGIR 1998; by a model that
was not trained for it: Sachan et al., EMNLP 2022). On the development company's questions in other words the right
record came first in 46 of 72 by meaning and words, in 58 by meaning alone, and in 64 with this (benchmarks/LOG.md).

Flow:    question, evidence, learned records -> [second look] -> order of the evidence, choice of the shard
Imports: types, protocols.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hybrid_memory.protocols import LanguageModel
from hybrid_memory.types import Hit, Turn

__all__ = ["BY_MEANING", "UNSEEN", "Candidate", "Looks", "candidates", "known_similarity", "look_again", "reordered"]

UNDECIDED = 0.05
"""Least lead of the nearest record over the next one, in cosine, that settles the matter without a second look."""
BY_MEANING = 0.2
"""What a nat per token weighs beside a cosine, when records are compared that were learned as single statements."""
BY_SCORE = 1.0
"""The same beside a fused score, which counts words as well; both from the tuning halves (benchmarks/LOG.md)."""
LONGEST_QUESTION = 300
"""Characters. Longer ones are pasted pages, which no record makes likely, and reading them costs seconds."""
LONGEST_TEXT = 400
"""Characters of a record that are read."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A record that a question may be about."""

    record_id: str
    text: str
    similarity: float
    """Cosine of the question and the record's nearest passage; -1 when it is not known."""


class Looks:
    """What a second look at a few records came to: how much less likely each makes the question than the best."""

    def __init__(self, likelihoods: Mapping[str, float]) -> None:
        """`likelihoods`: record id -> mean log-probability of the question's tokens after the record, nats."""
        best = max(likelihoods.values(), default=0.0)
        self._behind = {key: value - best for key, value in likelihoods.items()}
        self._last = min(self._behind.values(), default=0.0)

    def __bool__(self) -> bool:
        """Whether there was a second look."""
        return bool(self._behind)

    def __len__(self) -> int:
        """How many records were read."""
        return len(self._behind)

    def behind(self, record_id: str) -> float:
        """Return nats per token behind the best, 0 or less; a record that was not read is as far as the last."""
        return self._behind.get(record_id, self._last)


UNSEEN = Looks({})


def candidates(hits: Sequence[Hit], count: int) -> list[Candidate]:
    """Return the first `count` hits and the `count` nearest in meaning, best first, each once."""
    by_meaning = sorted(hits, key=known_similarity, reverse=True)
    chosen = {hit.record.id: hit for hit in (*hits[:count], *by_meaning[:count])}
    return [Candidate(key, hit.text, known_similarity(hit)) for key, hit in chosen.items()]


def look_again(
    cases: Sequence[tuple[str, Sequence[Candidate], Sequence[Candidate]]],
    language_model: Callable[[], LanguageModel],
) -> list[Looks]:
    """Read the candidates of each undecided question, all in one go; the others get an empty look.

    Args:
        cases: (question, evidence, learned records), both best first.
        language_model: called when a question is undecided; the base speaks, without adapters.
    """
    undecided = [place for place, case in enumerate(cases) if _undecided(*case)]
    texts = {place: {one.record_id: one.text for one in (*cases[place][1], *cases[place][2])} for place in undecided}
    pairs = [(_after(text), cases[place][0]) for place in undecided for text in texts[place].values()]
    scored = iter(language_model().score(pairs) if pairs else ())
    return [
        Looks({key: next(scored) for key in texts[place]}) if place in texts else UNSEEN for place in range(len(cases))
    ]


def reordered(hits: Sequence[Hit], looks: Looks) -> tuple[Hit, ...]:
    """Return the hits by fused score and second look together; as they are when there was none."""
    if not looks:
        return tuple(hits)
    return tuple(sorted(hits, key=lambda hit: -(hit.score + BY_SCORE * looks.behind(hit.record.id))))


def _undecided(question: str, evidence: Sequence[Candidate], learned: Sequence[Candidate]) -> bool:
    """Tell whether words and meaning disagree about the best record, or the next one is as near as the nearest."""
    if len(question) > LONGEST_QUESTION:
        return False
    nearest = {one.record_id: one.similarity for one in (*learned, *evidence)}
    if len(nearest) < 2:
        return False
    first, second, *_ = sorted(nearest, key=lambda key: -nearest[key])
    disagree = bool(evidence) and evidence[0].record_id != first
    return disagree or nearest[first] - nearest[second] < UNDECIDED


def _after(text: str) -> tuple[Turn, ...]:
    # of four forms tried on the development company this one found most (benchmarks/LOG.md)
    return (Turn("user", f"{text[:LONGEST_TEXT]}\nWrite a question that this answers."),)


def known_similarity(hit: Hit) -> float:
    """Return the cosine of question and hit; -1 where the search by meaning is off and it is nan."""
    return -1.0 if math.isnan(hit.similarity) else hit.similarity
