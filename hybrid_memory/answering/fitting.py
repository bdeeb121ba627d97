"""Fit a prompt into the model's context window: what matters least is left out first, the question never.

A prompt that is longer than the window makes some models fail and others babble, so it is cut here, by whole
passages, rules and demonstrations, and the answer's trace says what was left out.

Flow:    evidence, rules, question -> [fitting] -> generation
Imports: errors, types, protocols, evidence; the other modules of this stage.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hybrid_memory.answering.labels import vote
from hybrid_memory.answering.prompting import prompt
from hybrid_memory.answering.writing import LAST_WORDS, Case
from hybrid_memory.errors import InputError
from hybrid_memory.evidence import ask
from hybrid_memory.protocols import LanguageModel
from hybrid_memory.types import Hit, Record, Turn

__all__ = ["Fitted", "Room", "fit", "fit_window", "fitted", "left_out"]

Chat = tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Room:
    """How long a prompt may be."""

    tokens: int | None
    """None: however long."""
    count: Callable[[Sequence[Turn]], int]
    """The tokens of a chat."""
    reason: str
    """What sets the limit, for messages: "the model's window of 8192 tokens, of which the answer may take 64"."""
    way_on: str
    """What to do when the question alone is too long."""

    def holds(self, chat: Sequence[Turn]) -> bool:
        """Tell whether a chat fits."""
        return self.tokens is None or self.count(chat) <= self.tokens

    @classmethod
    def of(cls, language_model: LanguageModel, tokens: int) -> Room:
        """Return room for so many tokens, as the model counts them."""
        return cls(
            tokens=tokens,
            count=lambda chat: len(language_model.chat_tokens(chat)),
            reason=f"max_tokens={tokens}",
            way_on="shorten it, or raise max_tokens",
        )

    @classmethod
    def beside_answer(cls, language_model: LanguageModel, answer: int) -> Room:
        """Return what the model's window leaves beside an answer of so many tokens and its end."""
        window = language_model.window
        return cls(
            tokens=None if window is None else window - answer - 1,
            count=lambda chat: len(language_model.chat_tokens(chat)),
            reason=f"the model's window of {window} tokens, of which the answer may take {answer}",
            way_on="shorten it, lower max_new_tokens, or take a model with a longer window",
        )


@dataclass(frozen=True, slots=True)
class Fitted:
    """What stands in a prompt that fits."""

    hits: tuple[Hit, ...]
    rules: tuple[Record, ...]
    turns: Chat
    trace: tuple[str, ...]
    """What was left out; empty when nothing was."""


def fitted(question: str, hits: Sequence[Hit], rules: Sequence[Record], room: Room, *, dated: str) -> Fitted:
    """Return the prompt without what does not fit.

    Neighbours go first, then passages and examples from the worst on until one is left, then rules from the oldest
    on, and then that one.

    Args:
        question: as the user asked it.
        hits: evidence, best first.
        rules: preferences to state outright, newest first.
        room: how long the prompt may be.
        dated: as for `prompt`.

    Raises:
        InputError: the question alone does not fit.
    """
    beside = [hit for hit in hits if hit.beside is not None]
    found = [hit for hit in hits if hit.beside is None]
    order: list[Hit | Record] = [*reversed(beside), *reversed(found[1:]), *reversed(rules), *found[:1]]

    def without(count: int) -> tuple[tuple[Hit, ...], tuple[Record, ...], Chat]:
        gone = {id(one) for one in order[:count]}
        shown = tuple(hit for hit in hits if id(hit) not in gone)
        stated = tuple(rule for rule in rules if id(rule) not in gone)
        return shown, stated, prompt(question, shown, stated, dated=dated)

    count = left_out(len(order), lambda many: without(many)[2], room)
    shown, stated, turns = without(count)
    fewer = {"passages": (len(hits), len(shown)), "rules": (len(rules), len(stated))}
    gone = [f"{before - after} of {before} {what}" for what, (before, after) in fewer.items() if after < before]
    return Fitted(shown, stated, turns, (f"{' and '.join(gone)} left out: {room.reason}",) if gone else ())


def fit_window(
    cases: Sequence[Case], *, language_model: Callable[[], LanguageModel], max_new_tokens: int, dated: str
) -> None:
    """Leave out of each prompt what does not fit into the model's window; it stays among the sources.

    Labels that are chosen have no prompt: of those the adapter is left out, when it could not read the question.

    Args:
        cases: with evidence, adapters and prompt.
        language_model: called when there is a prompt, or an adapter to be asked.
        max_new_tokens: longest answer, without behaviour's last words.
        dated: as for `prompt`.

    Raises:
        InputError: a question alone does not fit.
    """
    for case in cases:
        labels, choice = vote(case.hits), case.choice
        if not labels:
            room = Room.beside_answer(language_model(), max_new_tokens + (LAST_WORDS if choice.always else 0))
            fit(case, room, dated=dated)
        elif choice.routed and len(labels) > 1:
            room = Room.beside_answer(language_model(), max_new_tokens)
            if not room.holds(ask(case.question)):
                case.trace.append(f"{choice.routed[0].id} left out: the question is too long for {room.reason}")
                case.choice = replace(choice, routed=(), group="")


def fit(case: Case, room: Room, *, dated: str) -> None:
    """Leave out of a prompt what there is no room for; the arguments are those of `fitted`."""
    kept = fitted(case.question, case.shown, case.rules, room, dated=dated)
    case.shown, case.rules, case.turns = kept.hits, kept.rules, kept.turns
    case.trace.extend(kept.trace)


def left_out(most: int, chat: Callable[[int], Sequence[Turn]], room: Room) -> int:
    """Return how few of `most` things have to be left out, so that the chat without them fits.

    Args:
        most: how many could be left out.
        chat: the chat without so many of them, of those that matter least.
        room: how long it may be.

    Raises:
        InputError: even without all of them it does not fit.
    """
    count = bisect_left(range(most + 1), True, key=lambda many: room.holds(chat(many)))
    if count > most:
        raise InputError(f"the question has {room.count(chat(most))} tokens, too many for {room.reason}; {room.way_on}")
    return count
