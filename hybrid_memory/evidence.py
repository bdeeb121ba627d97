"""How a question stands in a prompt, with its evidence or its examples.

Flow:    answering asks with it, the trainer studies with it: what is trained is what is asked.
Imports: types.
"""

from __future__ import annotations

from collections.abc import Sequence

from hybrid_memory.types import Example, Turn

__all__ = ["UNKNOWN", "UNPROMPTED", "ask"]

UNKNOWN = "I don't know: nothing in memory answers this."
"""What is answered in place of a guess, and studied where a shard is not to guess."""

UNPROMPTED = (Turn("user", ""),)
"""The chat before words that answer nothing in particular: a text is studied and scored as the assistant's after it."""


def ask(question: str, evidence: Sequence[str] = (), shots: Sequence[Example] = ()) -> tuple[Turn, ...]:
    """Return the chat for a question: examples as turns first, then the evidence, then the question.

    The best passage and the nearest example stand next to the question, where a small model reads best.

    Args:
        question: as the user asked it.
        evidence: passages, least useful first.
        shots: demonstrations, least similar first; as chat turns five of them beat five as plain text
            by 73 points on the default model (benchmarks/LOG.md, first trials).

    >>> print(ask("Where is the form?", ["Forms lie in room 4."])[0].content)
    Answer the question with the fact.
    <BLANKLINE>
    Fact: Forms lie in room 4.
    <BLANKLINE>
    Question: Where is the form?
    """
    turns = [turn for shot in shots for turn in (Turn("user", shot.prompt), Turn("assistant", shot.response))]
    if evidence:
        # of ten forms tried on the default model this one was read best (28 of 32, docs/decisions.md)
        facts = "\n".join(f"Fact: {text}" for text in evidence)
        plural = "s" if len(evidence) > 1 else ""
        question = f"Answer the question with the fact{plural}.\n\n{facts}\n\nQuestion: {question}"
    return (*turns, Turn("user", question))
