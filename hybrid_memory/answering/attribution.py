"""Tell what an answer came from: evidence, adapters or the base model.

Flow:    an answer that was given -> [attribution] -> Explanation
Imports: types, protocols, and the labels beside it.

The answer is scored with each half left out, as it came about: with the evidence that stood in the prompt and the
adapters that wrote it. What a behaviour adapter added at the end is not scored: it went on where others had ended.
A label that was chosen is chosen again, by vote and adapter, by each alone, and by neither.

What a half adds is averaged over both orders of adding the two, which is its Shapley value (Shapley 1953): the
shares and the base then sum to what both give together, and what the halves know alike is split evenly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hybrid_memory.answering.labels import probabilities
from hybrid_memory.protocols import LanguageModel
from hybrid_memory.types import AdapterVersion, Explanation, Hit, Passage, Record, Stretch, Turn

__all__ = ["as_hit", "attribute", "attribute_label", "unattributed"]


def attribute(
    language_model: LanguageModel,
    text: str,
    *,
    answer_id: str,
    whole: Sequence[Turn],
    bare: Sequence[Turn],
    without: Mapping[str, Sequence[Turn]],
    adapters: Sequence[AdapterVersion],
    closing: Sequence[Stretch] = (),
) -> Explanation:
    """Return how much of a text's log-probability each part gives.

    Args:
        language_model: scores the text.
        text: what these adapters wrote of the answer.
        answer_id: its id.
        whole: the chat it was written after.
        bare: the question without evidence and rules.
        without: record id -> the chat without that record.
        adapters: those it was written with.
        closing: what others added afterwards.
    """
    later = tuple(
        f"the closing {stretch.text!r}: {', '.join(stretch.adapters)} wrote it after the rest"
        for stretch in closing
        if stretch.text
    )

    def score(chats: Sequence[Sequence[Turn]], versions: Sequence[AdapterVersion]) -> list[float]:
        return language_model.score([(chat, text) for chat in chats], adapters=versions)

    adapted = score([whole, bare, *without.values()], adapters)
    both, by_adapters = adapted[:2]
    by_evidence, base = score([whole, bare], []) if adapters else (both, by_adapters)
    fewer = {
        version.id: score([whole], [other for other in adapters if other is not version])[0]
        if len(adapters) > 1
        else by_evidence
        for version in adapters
    }
    logprob = {"both": both, "evidence": by_evidence, "adapters": by_adapters, "base": base}
    sources = {record: both - rest for record, rest in zip(without, adapted[2:], strict=True)}
    each = {version: both - rest for version, rest in fewer.items()}
    return _explained(answer_id, text, logprob, sources=sources, adapters=each, not_attributed=later)


def attribute_label(
    language_model: LanguageModel,
    label: str,
    *,
    answer_id: str,
    question: Sequence[Turn],
    vote: Mapping[str, float],
    adapters: Sequence[AdapterVersion],
    trust: float,
) -> Explanation:
    """Return what the nearest examples' vote and the adapters that were asked give to a label's log-probability.

    Args:
        language_model: scores the labels.
        label: the one that was chosen.
        answer_id: the answer's id.
        question: the chat it was asked in.
        vote: label -> its share.
        adapters: those that weighed in; none when the vote decided alone.
        trust: what a nat of theirs counts against one of the vote's.
    """
    scored = language_model.score([(question, one) for one in vote], adapters=adapters) if adapters else []
    scores = dict(zip(vote, scored, strict=False))  # none are scored without adapters
    even = dict.fromkeys(vote, 1 / len(vote))
    logprob = {
        name: math.log(probabilities(shares, weighed, trust=trust)[label])
        for name, shares, weighed in (
            ("both", vote, scores),
            ("evidence", vote, {}),
            ("adapters", even, scores),
            ("base", even, {}),
        )
    }
    each = {version.id: logprob["both"] - logprob["evidence"] for version in adapters} if len(adapters) == 1 else {}
    single = "what each example gives: they voted together, see the answer's trace"
    return _explained(answer_id, label, logprob, sources={}, adapters=each, not_attributed=(single,))


def unattributed(answer_id: str, text: str, reason: str) -> Explanation:
    """Return the explanation of words that nothing has written."""
    none = dict.fromkeys(("both", "evidence", "adapters", "base"), 0.0)
    return replace(_explained(answer_id, text, none, sources={}, adapters={}, not_attributed=(reason,)), summary=reason)


def _explained(
    answer_id: str,
    text: str,
    logprob: Mapping[str, float],
    *,
    sources: Mapping[str, float],
    adapters: Mapping[str, float],
    not_attributed: tuple[str, ...],
) -> Explanation:
    both, by_evidence, by_adapters = logprob["both"], logprob["evidence"], logprob["adapters"]
    evidence = ((by_evidence - logprob["base"]) + (both - by_adapters)) / 2
    adapter = ((by_adapters - logprob["base"]) + (both - by_evidence)) / 2
    return Explanation(
        answer_id=answer_id,
        text=text,
        logprob=logprob,
        evidence=evidence,
        adapter=adapter,
        sources=sources,
        adapters=adapters,
        summary=_summary(evidence, adapter, logprob["base"]),
        not_attributed=not_attributed,
    )


def as_hit(record: Record) -> Hit:
    """Return a record as evidence that was found, as the prompt takes it; scores are of no account."""
    passage = Passage(id=0, record_id=record.id, position=0, text=record.text)
    return Hit(record=record, passage=passage, score=0.0, similarity=0.0)


def _summary(evidence: float, adapter: float, base: float) -> str:
    name, most = max((("evidence", evidence), ("adapters", adapter)), key=lambda pair: pair[1])
    origin = f"mostly from the {name}" if most > 0 else "from the base model: neither half makes it likelier"
    return f"{origin} (evidence {evidence:+.2f}, adapters {adapter:+.2f} nats a token over the base's {base:.2f})"
