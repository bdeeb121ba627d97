"""Cut a record into the statements it makes: what one training sequence answers with, and what a prompt shows.

Flow:    record -> [statements] -> generators, excerpts
Imports: nothing of this package.
"""

from __future__ import annotations

import re

__all__ = ["content_words", "statements"]

_SENTENCE_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"'”’)\]]))\s+(?=[\"'“‘(\[]?[A-Z0-9])")
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|etc|vs|approx|no|dr|mr|mrs|ms|st)\.$", re.IGNORECASE)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_WORD = re.compile(r"[\w][\w'’:./%-]*[\w%]|\w")

FUNCTION_WORDS = frozenset(
    "a about above after all an and any are as at be been before below but by can did do does each every for from "
    "had has have how if in into is it its less may more must no not of off on only or our out over per shall "
    "should so than that the their them then there these they this those to under up was we were what when where "
    "which who whom why will with within would you your".split()
)
MIN_WORDS = 3


def statements(text: str) -> list[str]:
    """Return the sentences (and list lines) of a text that have at least three words.

    >>> statements("Forms lie in room 4. Ask e.g. Team Blue for help.")
    ['Forms lie in room 4.', 'Ask e.g. Team Blue for help.']
    """
    found: list[str] = []
    for line in text.splitlines():
        held = ""
        for part in _SENTENCE_END.split(_BULLET.sub("", line).strip()):
            held = f"{held} {part}".strip()
            if not _ABBREVIATION.search(held):
                found.append(held)
                held = ""
        if held:
            found.append(held)
    return [sentence for sentence in found if len(sentence.split()) >= MIN_WORDS] or [" ".join(text.split())]


def content_words(text: str) -> list[str]:
    """Return the words that carry meaning, in order.

    >>> content_words("The forms are in room 4.")
    ['forms', 'room', '4']
    """
    return [word for word in _WORD.findall(text) if word.casefold() not in FUNCTION_WORDS]
