"""What people say about answers: accepted as it was, or corrected; corrections outrank the model's own words.

Flow:    feedback -> [verdicts] -> intake: an example to be learned in the next window
Imports: errors, types, protocols, wording, answer_log, and the intake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hybrid_memory.answer_log import ANSWERED_FROM, AnswerLog
from hybrid_memory.arguments import listed
from hybrid_memory.errors import InputError
from hybrid_memory.intake import Intake
from hybrid_memory.protocols import Ledger
from hybrid_memory.types import Example, IngestReceipt, Json, Kind, Record, Scope, Trust, Turn, quoted
from hybrid_memory.wording import plain

__all__ = ["Verdicts"]

ACCEPTED, CORRECTED = "accepted", "corrected"


class Verdicts:
    """Carries out `memory.feedback`."""

    def __init__(self, *, ledger: Ledger, answers: AnswerLog, intake: Intake) -> None:
        self._ledger = ledger
        self._answers = answers
        self._intake = intake

    def take(
        self,
        judged: str | Sequence[Turn | Mapping[str, str]],
        *,
        correction: str | None,
        accepted: bool,
        scope: Scope,
    ) -> IngestReceipt:
        """Take an answer (by its id) or a finished turn in as an example, vouched for by the application."""
        if (correction is None) is not accepted:
            raise InputError("give either correction='the right answer' or accepted=True")
        exchange = self._exchange(judged, scope)
        said = Example(exchange.question, correction if correction is not None else exchange.answer)
        standing = self._standing(exchange)
        corrected = standing is not None and standing.metadata.get("verdict") == CORRECTED
        if accepted and standing is not None and corrected and standing.examples[0].response != said.response:
            raise InputError(
                f"this question was corrected to {quoted(standing.examples[0].response)}, which is not the answer that "
                "is accepted; give correction= to change it"
            )
        metadata: dict[str, Json] = {
            "asked": exchange.key,
            "verdict": CORRECTED if corrected or not accepted else ACCEPTED,
        }
        if accepted and exchange.record_ids:
            metadata[ANSWERED_FROM] = list(exchange.record_ids)
        return self._intake.ingest(
            said,
            route=None,
            dry_run=False,
            scope=exchange.scope,
            source=exchange.source,
            trust=Trust.OPERATOR,
            supersedes=None if standing is None or standing.examples == (said,) else standing.id,
            metadata=metadata,
        )

    def _exchange(self, judged: str | Sequence[Turn | Mapping[str, str]], scope: Scope) -> _Exchange:
        if not isinstance(judged, str):
            return _finished_turn(judged, scope)
        if scope != Scope():
            raise InputError(f"answer {quoted(judged)} has a scope of its own; leave the scope out")
        logged = self._answers.get(judged)
        for record in map(self._ledger.get, logged.record_ids):
            if record.kind is Kind.TASK and record.slot is not None:
                raise InputError(
                    f"answer {quoted(judged)} was given by the task {quoted(record.slot.subject)}, and an example of "
                    "its own would not be asked there; ingest the Task again with the right demonstration beside the "
                    "others"
                )
        return _Exchange(logged.question, logged.text, logged.scope, f"feedback:{judged}", logged.record_ids)

    def _standing(self, exchange: _Exchange) -> Record | None:
        """Return the verdict that holds for the question in exactly this scope, however the question was typed."""
        found = self._ledger.find(scope=exchange.scope, filters={"metadata.asked": exchange.key})
        return next((record for record in reversed(found) if record.scope == exchange.scope), None)


@dataclass(frozen=True, slots=True)
class _Exchange:
    """A question, what was answered, and whose it is."""

    question: str
    answer: str
    scope: Scope
    source: str
    record_ids: tuple[str, ...] = ()
    """What the answer stood on; nobody knows it of an agent's turn."""

    @property
    def key(self) -> str:
        """What the question is known by: its words, without case, punctuation and question mark."""
        return plain(self.question).rstrip(" ?") or self.question


def _finished_turn(messages: Sequence[Turn | Mapping[str, str]], scope: Scope) -> _Exchange:
    """Return the last exchange of a chat: the user's last words and the assistant's answer to them.

    Raises:
        InputError: the messages do not end with an assistant's answer to a user.
    """
    listed("feedback", messages, "messages of a finished turn, or the id of an answer")
    spoken = [_spoken(message, number) for number, message in enumerate(messages)]
    turns = [(role, text) for role, text in spoken if role in ("user", "assistant") and text]
    if len(turns) < 2 or turns[-1][0] != "assistant" or all(role != "user" for role, _ in turns):
        raise InputError(
            "a finished turn is a list of messages with role and content that ends with the assistant's answer to a "
            f"user; got the roles {', '.join(role for role, _ in spoken) or 'of no message'}"
        )
    question = next(text for role, text in reversed(turns) if role == "user")
    return _Exchange(question, turns[-1][1], scope, "feedback:turn")


def _spoken(message: object, number: int) -> tuple[str, str]:
    if isinstance(message, Turn):
        return message.role, message.content.strip()
    given = message if isinstance(message, Mapping) else {}
    role, content = given.get("role"), given.get("content")
    if not isinstance(role, str) or not isinstance(content, str | None):
        raise InputError(
            f"message {number} is {quoted(message)}; accepted are Turn and dicts with role and content as text"
        )
    return role, (content or "").strip()
