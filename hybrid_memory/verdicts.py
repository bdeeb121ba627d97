"""What people say about answers: accepted as it was, or corrected; corrections outrank the model's own words.

Flow:    feedback -> [verdicts] -> an example to be learned in the next window
Imports: errors, types, protocols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hybrid_memory.errors import InputError
from hybrid_memory.protocols import Ledger
from hybrid_memory.types import Example, Json, Scope, Turn

__all__ = ["Exchange", "finished_turn", "standing_verdict", "verdict_metadata"]

ACCEPTED, CORRECTED = "accepted", "corrected"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question, what was answered, and whose it is."""

    question: str
    answer: str
    scope: Scope
    source: str


def finished_turn(messages: Sequence[Turn | Mapping[str, str]], scope: Scope) -> Exchange:
    """Return the last exchange of a chat: the user's last words and the assistant's answer to them.

    Raises:
        InputError: the messages do not end with an assistant's answer to a user.
    """
    spoken = [_spoken(message, number) for number, message in enumerate(messages)]
    turns = [(role, text) for role, text in spoken if role in ("user", "assistant") and text]
    if len(turns) < 2 or turns[-1][0] != "assistant" or all(role != "user" for role, _ in turns):
        raise InputError(
            "a finished turn is a list of messages with role and content that ends with the assistant's answer to a "
            f"user; got the roles {', '.join(role for role, _ in spoken) or 'of no message'}"
        )
    question = next(text for role, text in reversed(turns) if role == "user")
    return Exchange(question, turns[-1][1], scope, "feedback:turn")


def _spoken(message: object, number: int) -> tuple[str, str]:
    if isinstance(message, Turn):
        return message.role, message.content.strip()
    given = message if isinstance(message, Mapping) else {}
    role, content = given.get("role"), given.get("content")
    if not isinstance(role, str) or not isinstance(content, str | None):
        raise InputError(f"message {number} is {message!r}; accepted are Turn and dicts with role and content as text")
    return role, (content or "").strip()


def standing_verdict(ledger: Ledger, exchange: Exchange, said: Example, *, accepted: bool) -> str | None:
    """Return the id of the record that this verdict replaces, or None when there is none to replace.

    Raises:
        InputError: an answer is accepted although people corrected that question to another one.
    """
    asked = ledger.find(scope=exchange.scope, filters={"metadata.asked": exchange.question})
    standing = [record for record in asked if record.scope == exchange.scope and record.examples != (said,)]
    if not standing:
        return None
    last = standing[-1]
    if accepted and last.metadata.get("verdict") == CORRECTED:
        raise InputError(
            f"this question was corrected to {last.examples[0].response!r}, which is not the answer that is accepted; "
            "give correction= to change it"
        )
    return last.id


def verdict_metadata(exchange: Exchange, *, accepted: bool) -> dict[str, Json]:
    """Return what later verdicts on the same question are found by."""
    return {"asked": exchange.question, "verdict": ACCEPTED if accepted else CORRECTED}
