"""Put the question, its evidence, demonstrations and rules into one chat.

Flow:    hits and rules -> [prompting] -> generation
Imports: types, evidence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from hybrid_memory.evidence import ask
from hybrid_memory.types import Hit, Kind, Record, Turn

__all__ = ["as_shown", "prompt"]


def prompt(question: str, hits: Sequence[Hit], rules: Sequence[Record], *, dated: str) -> tuple[Turn, ...]:
    """Return the chat that is sent to the model.

    Rules that no adapter has learned yet stand in the system turn; examples and facts come as evidence.ask
    puts them, the best next to the question.

    Args:
        question: as the user asked it.
        hits: evidence, best first.
        rules: preferences to state outright.
        dated: "never", "several" (when more than one fact is shown) or "always".
    """
    system = [Turn("system", "\n".join(rule.text for rule in rules))] if rules else []
    worst_first = list(reversed(hits))
    shots = [example for hit in worst_first if hit.record.kind is Kind.EXAMPLE for example in hit.record.examples]
    shown = [hit for hit in worst_first if hit.record.kind is not Kind.EXAMPLE]
    with_dates = dated == "always" or (dated == "several" and len(shown) > 1)
    facts = [_fact(hit, with_dates) for hit in shown]
    return (*system, *ask(question, facts, shots))


def _fact(hit: Hit, dated: bool) -> str:
    text = as_shown(hit)
    return f"{text} (since {hit.record.valid_from:%Y-%m-%d})" if dated else text


def as_shown(hit: Hit) -> str:
    """Return what is shown of a record, with the day behind each "yesterday" that was resolved when it was stored."""
    text, dates = hit.excerpt or hit.text, hit.record.metadata.get("dates")
    if not isinstance(dates, Mapping):
        return text
    phrases = "|".join(re.escape(phrase) for phrase in sorted(dates, key=len, reverse=True))
    return re.sub(rf"\b({phrases})\b", lambda found: f"{found[0]} ({dates[found[0].lower()]})", text, flags=re.I)
