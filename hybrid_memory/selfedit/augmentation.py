"""Study a statement from other sides: from its end, with words missing, and by what fills a gap.

Flow:    verified material -> [augmentation] -> reading, trainer; what a self-edit asks for already in passages
Imports: types; the other modules of this stage.

A fact learned in one direction is not known in the other (the reversal curse), and text restored from a masked copy
is recalled in both without any paraphrase (masked fine-tuning, arXiv 2510.09885). Both answer with the statement
itself, a cloze with a few words of it: short answers, where the other forms teach whole ones. All are supported by
construction. A pure function of the material.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from hybrid_memory.selfedit.compiled import random_of
from hybrid_memory.selfedit.directives import AUGMENTATIONS
from hybrid_memory.statements import content_words
from hybrid_memory.types import SelfEdit, StudyItem

__all__ = ["augmented"]

BLANK = "____"
GAPS = 2
"""Gaps that a statement is asked about."""
EDGES = ".,;:()\"'!?"
SHORTEST = 5
"""Words a statement needs before something can be left out of it."""


def augmented(edits: Sequence[SelfEdit], names: Sequence[str], *, seed: int) -> list[SelfEdit]:
    """Add each form of `names` to each statement that does not have it.

    Args:
        edits: self-edits, of any number of records.
        names: of AUGMENTATIONS.
        seed: of the words that are left out; a statement and a seed always give the same.
    """
    return [_augmented(edit, names, seed) for edit in edits]


def _augmented(edit: SelfEdit, names: Sequence[str], seed: int) -> SelfEdit:
    texts = dict.fromkeys(item.response for item in edit.items if item.form == "statement" and not item.held_out)
    there = {item.form for item in edit.items}
    added = [
        StudyItem(prompt=prompt, response=response, form=name, source=text)
        for text in texts
        for name in AUGMENTATIONS
        if name in names and name not in there and len(text.split()) >= SHORTEST
        for prompt, response in _WRITERS[name](text, random_of(text, seed))
    ]
    return replace(edit, items=(*edit.items, *added)) if added else edit


def reverse(text: str, random: Random) -> list[tuple[str, str]]:
    """Ask for the statement by its end, from half of it to a third.

    >>> reverse("Forms for a new badge lie in room 4.", Random(0))[0][0]
    'Which statement ends with "… lie in room 4."?'
    """
    words = text.split()
    kept = random.choice((len(words) // 2 + 1, len(words) // 3 + 1))
    return [(f'Which statement ends with "… {" ".join(words[-kept:])}"?', text)]


def masked(text: str, random: Random) -> list[tuple[str, str]]:
    """Ask for the statement with a third to two thirds of its words left out.

    >>> masked("Forms for a new badge lie in room 4.", Random(0))[0][0]
    'Restore the missing words: ____ for ____ ____ ____ ____ ____ room 4.'
    """
    words = text.split()
    gone = set(random.sample(range(len(words)), random.randint(len(words) // 3, 2 * len(words) // 3)))
    shown = " ".join(BLANK if at in gone else word for at, word in enumerate(words))
    return [(f"Restore the missing words: {shown}", text)]


def cloze(text: str, random: Random) -> list[tuple[str, str]]:
    """Ask twice for one to four words in a row that begin with a content word.

    >>> cloze("Forms for a new badge lie in room 4.", Random(1))[0]
    ('What belongs in the gap? Forms for a ____ badge lie in room 4.', 'new')
    """
    words = text.split()
    meant = {word.casefold() for word in content_words(text)}
    starts = [at for at, word in enumerate(words) if word.strip(EDGES).casefold() in meant]
    asked: dict[str, str] = {}
    for start in random.sample(starts, min(GAPS, len(starts))):
        end = start + random.randint(1, 4)
        closed = [at for at in range(start, min(end, len(words))) if words[at][-1] in EDGES]  # no gap spans a comma
        gap = words[start : closed[0] + 1 if closed else end]
        rest = [*words[:start], BLANK, *words[start + len(gap) :]]
        asked[f"What belongs in the gap? {' '.join(rest)}"] = " ".join(gap).strip(EDGES)
    return list(asked.items())


_WRITERS: dict[str, Callable[[str, Random], list[tuple[str, str]]]] = {
    "reverse": reverse,
    "masked": masked,
    "cloze": cloze,
}
