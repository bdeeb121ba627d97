"""Tell what an answer came from: evidence, adapters or the base model.

Flow:    an answer that was given -> [attribution] -> Explanation
Imports: types, protocols.

The answer's text is scored with each half left out. What a half adds is averaged over both orders of adding the
two, which is its Shapley value (Shapley 1953): the shares and the base then sum to what both give together, and
what the halves know alike is split evenly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hybrid_memory.protocols import LanguageModel
from hybrid_memory.types import AdapterVersion, Explanation, Hit, Passage, Record, Turn

__all__ = ["as_hit", "attribute"]


def attribute(
    language_model: LanguageModel,
    text: str,
    *,
    answer_id: str,
    whole: Sequence[Turn],
    bare: Sequence[Turn],
    without: Mapping[str, Sequence[Turn]],
    adapters: Sequence[AdapterVersion],
) -> Explanation:
    """Return how much of a text's log-probability each part gives.

    Args:
        language_model: scores the text.
        text: the answer.
        answer_id: its id.
        whole: the chat it was written after.
        bare: the question without evidence and rules.
        without: record id -> the chat without that record.
        adapters: those it was written with.
    """

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
    evidence = ((by_evidence - base) + (both - by_adapters)) / 2
    adapter = ((by_adapters - base) + (both - by_evidence)) / 2
    return Explanation(
        answer_id=answer_id,
        text=text,
        logprob={"both": both, "evidence": by_evidence, "adapters": by_adapters, "base": base},
        evidence=evidence,
        adapter=adapter,
        sources={record: both - rest for record, rest in zip(without, adapted[2:], strict=True)},
        adapters={version: both - rest for version, rest in fewer.items()},
        summary=_summary(evidence, adapter, base),
    )


def as_hit(record: Record) -> Hit:
    """Return a record as evidence that was found, as the prompt takes it; scores are of no account."""
    passage = Passage(id=0, record_id=record.id, position=0, text=record.text)
    return Hit(record=record, passage=passage, score=0.0, similarity=0.0)


def _summary(evidence: float, adapter: float, base: float) -> str:
    name, most = max((("evidence", evidence), ("adapters", adapter)), key=lambda pair: pair[1])
    origin = f"mostly from the {name}" if most > 0 else "from the base model: neither half makes it likelier"
    return f"{origin} (evidence {evidence:+.2f}, adapters {adapter:+.2f} nats a token over the base's {base:.2f})"
