"""Cut a record into the statements it makes: what one training sequence answers with, and what a prompt shows.

A sentence that begins with "it" or "her" says nothing by itself: nobody can find it, and a model that reads it alone
makes something up. It is told what it is about, in the words of the sentence that it refers to.

Flow:    record -> [statements] -> generators, excerpts, vectors
Imports: nothing of this package.
"""

from __future__ import annotations

import re

__all__ = ["as_written", "content_words", "statements"]

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

_OPENS = r"[\"'“‘(\[]*"
_REFERS = re.compile(
    rf"{_OPENS}(?:it|they|he|she|this|that|these|those|its|their|his|her|both|such)\b"
    rf"(?! (?:is|was|will be|may be|can be)(?: \w+){{1,2}} (?:to|that|for|when|if)\b)",
    re.IGNORECASE,
)
"""How a sentence begins that refers to one before; "it is forbidden to smoke" refers to nothing."""
_OPENING = re.compile(
    r"^(?:however|moreover|therefore|also|then|now|today|finally|(?:in|on|at|for|by|after|since)(?: \w+){1,3}), ",
    re.IGNORECASE,
)
_PRONOUNS = frozenset("i we you he she it they there one".split())
_VERBS = frozenset(
    "is are was were has have had does do did can could may might must shall should will would needs need "
    "stands stand lies lie opens closes".split()
)
_AFTER_VERB = frozenset(
    "a after all an any at before by each every for from her his in into its my on onto our over the their to under "
    "until with your no two three four five six seven eight nine ten".split()
)
MOST_TOPIC = 8
"""Words of the longest topic; what is longer is quoted as a whole."""


def statements(text: str) -> list[str]:
    """Return the sentences of a text so that each can be understood alone.

    One that refers to another comes behind what that one is about: its words before the verb, as far as a rule for
    English can tell, or else all of it.

    >>> statements("The mill on Elm Road is old. It opens at noon.")
    ['The mill on Elm Road is old.', 'The mill on Elm Road: It opens at noon.']
    >>> statements("I moved to Oslo. It rains here.")
    ['I moved to Oslo.', 'I moved to Oslo. It rains here.']
    """
    found: list[str] = []
    named = ""
    for sentence in _cut(text):
        if not (named and _REFERS.match(sentence)):
            named = alone = sentence
        else:
            topic = _topic(named)
            alone = f"{topic}: {sentence}" if topic else f"{named} {sentence}"
        if _says_something(sentence):
            found.append(alone)
    return found or _whole(text)


def as_written(text: str) -> list[str]:
    """Return the sentences (and list lines) of a text that have at least three words: as many as it makes statements.

    >>> as_written("Forms lie in room 4. Ask e.g. Team Blue for help.")
    ['Forms lie in room 4.', 'Ask e.g. Team Blue for help.']
    """
    return [sentence for sentence in _cut(text) if _says_something(sentence)] or _whole(text)


def content_words(text: str) -> list[str]:
    """Return the words that carry meaning, in order.

    >>> content_words("The forms are in room 4.")
    ['forms', 'room', '4']
    """
    return [word for word in _WORD.findall(text) if word.casefold() not in FUNCTION_WORDS]


def _cut(text: str) -> list[str]:
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
    return found


def _says_something(sentence: str) -> bool:
    return len(sentence.split()) >= MIN_WORDS


def _whole(text: str) -> list[str]:
    return [" ".join(text.split())]


def _topic(sentence: str) -> str:
    """Return the words of a sentence before its verb, or "" when they cannot be told or say nothing."""
    words = _OPENING.sub("", sentence).split()
    for place in range(1, min(len(words), MOST_TOPIC + 1)):
        before = " ".join(words[:place])
        if _is_verb(words[place], words[place + 1 : place + 2]) and _names(before):
            return before.rstrip(",;:")
    return ""


def _names(words: str) -> bool:
    return any(word.casefold() not in _PRONOUNS for word in content_words(words))


def _is_verb(word: str, after: list[str]) -> bool:
    """Tell whether a word is a verb: a common one, or one in small letters before an article or the like."""
    if word in _VERBS:
        return True
    return word.islower() and word not in FUNCTION_WORDS and bool(after) and after[0].casefold() in _AFTER_VERB
