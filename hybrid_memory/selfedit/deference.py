"""Evidence that contradicts what is learned: the answer is what the evidence says.

Flow:    verified material -> [deference] -> trainer (some), gate (one per record)
Imports: types; the other modules of this stage.

Fine-tuning on facts makes a model answer past a newer value in its prompt. So each record's questions are also
shown with its statement changed in one place, and the changed statement is the right answer. What it is changed
to depends on the statement and the seed only, so that a rebuilt shard studies the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from hybrid_memory.selfedit.compiled import random_of
from hybrid_memory.statements import content_words
from hybrid_memory.types import SelfEdit, StudyItem

__all__ = ["contradiction", "with_deference"]

NAMES = ("Belden", "Corvane", "Dastrel", "Ferrand", "Galmore", "Hestwick", "Ilvane", "Jorsted", "Kelmar", "Lomond")
HELD_OUT = 3
"""Contradictions of one held-out question: a shard may hold a single record, and one answer tells little."""
PLACES = ("basement", "annex", "courtyard", "warehouse", "attic", "pavilion", "corridor", "terrace")
_NUMBER = re.compile(r"\d+")
_NAME = re.compile(r"(?<=[\w,;:] )[A-Z][\w'’-]*(?: [A-Z][\w'’-]*)*")


def with_deference(edits: Sequence[SelfEdit], *, seed: int, count: int) -> list[SelfEdit]:
    """Add per record `count` questions with contradicting evidence to study, and some for the gate."""
    return [_deferring(edit, seed, count) for edit in edits]


def contradiction(statement: str, random: Random) -> str:
    """Return the statement with another number, another name, or another last word, the first of these it has.

    >>> contradiction("The ferry leaves from pier 12.", Random(1))
    'The ferry leaves from pier 82.'
    """
    if numbers := list(_NUMBER.finditer(statement)):
        place = random.choice(numbers)
        low = 10 ** (len(place[0]) - 1) if len(place[0]) > 1 else 1
        other = str(random.randrange(low, 10 * low - 1))
        return _swap(statement, place.span(), other if other != place[0] else str(int(other) + 1))
    if names := list(_NAME.finditer(statement)):
        place = random.choice(names)
        return _swap(statement, place.span(), random.choice([name for name in NAMES if name != place[0]]))
    last = (content_words(statement) or statement.split())[-1]
    start = statement.rindex(last)
    return _swap(statement, (start, start + len(last)), random.choice([word for word in PLACES if word != last]))


def _deferring(edit: SelfEdit, seed: int, count: int) -> SelfEdit:
    questions = [item for item in edit.items if item.asks and not item.evidence and item.response in item.basis]
    random = random_of("".join(sorted({item.response for item in questions})), seed)
    held_out = [item for item in questions if item.held_out][:1] * HELD_OUT
    studied = [item for item in questions if not item.held_out]
    chosen = random.sample(studied, min(count, len(studied)))
    added = dict.fromkeys(_deferent(item, random) for item in (*held_out, *chosen))
    return replace(edit, items=(*edit.items, *added))


def _deferent(item: StudyItem, random: Random) -> StudyItem:
    told = contradiction(item.response, random)
    return replace(item, form="deference", response=told, evidence=(item.basis.replace(item.response, told),))


def _swap(text: str, span: tuple[int, int], other: str) -> str:
    return text[: span[0]] + other + text[span[1] :]
