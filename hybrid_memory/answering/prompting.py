"""Put the question, its evidence, demonstrations and rules into one chat.

Flow:    hits and rules -> [prompting] -> generation
Imports: types, evidence.
"""

from __future__ import annotations

from collections.abc import Sequence

from hybrid_memory.evidence import ask
from hybrid_memory.types import Hit, Kind, Record, Turn

__all__ = ["prompt"]


def prompt(
    question: str, hits: Sequence[Hit], rules: Sequence[Record], *, demonstrations: int, dated: bool
) -> tuple[Turn, ...]:
    """Return the chat that is sent to the model.

    Rules that no adapter has learned yet stand in the system turn. When the best hit is a
    demonstration, the nearest ones are shown as chat turns (five of them beat five as plain text by
    73 points on the default model, parametric.md section 8); otherwise facts stand before the question.

    Args:
        question: as the user asked it.
        hits: evidence, best first.
        rules: preferences to state outright.
        demonstrations: how many examples at most are shown as turns.
        dated: put the date a fact is valid from before it.
    """
    turns: list[Turn] = []
    if rules:
        turns.append(Turn("system", "\n".join(rule.text for rule in rules)))
    if hits and hits[0].record.kind is Kind.EXAMPLE:
        shown = [hit.record.examples[0] for hit in hits if hit.record.examples][:demonstrations]
        for example in reversed(shown):  # the nearest one stands next to the question
            turns += [Turn("user", example.prompt), Turn("assistant", example.response)]
        return (*turns, *ask(question))
    facts = [_fact(hit.record, dated) for hit in reversed(hits) if hit.record.kind is not Kind.EXAMPLE]
    return (*turns, *ask(question, facts))


def _fact(record: Record, dated: bool) -> str:
    return f"({record.valid_from:%Y-%m-%d}) {record.text}" if dated else record.text
