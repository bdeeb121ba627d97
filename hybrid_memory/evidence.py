"""How a question and its evidence stand in a prompt.

Flow:    answering asks with it, selfedit and the trainer study with it: what is trained is what is asked.
Imports: types.
"""

from __future__ import annotations

from collections.abc import Sequence

from hybrid_memory.types import Record, Turn

__all__ = ["as_evidence", "ask"]


def as_evidence(record: Record) -> str:
    """Return how a record reads as evidence: a demonstration as input and output, anything else dated text.

    The date is `valid_from`; it is what tells a newer value from an older one.
    """
    return record.text


def ask(question: str, evidence: Sequence[str] = ()) -> tuple[Turn, ...]:
    """Return the chat for a question: the evidence, oldest first, then the question last.

    The best passage stands next to the question, where a small model reads best.

    >>> print(ask("Where is the form?", ["Forms lie in room 4."])[0].content)
    Facts:
    - Forms lie in room 4.
    <BLANKLINE>
    Question: Where is the form?
    """
    if not evidence:
        return (Turn("user", question),)
    facts = "\n".join(f"- {text}" for text in evidence)
    return (Turn("user", f"Facts:\n{facts}\n\nQuestion: {question}"),)
