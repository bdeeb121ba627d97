"""What is kept of the lines that a model wrote: supported, no copy, no instruction, each once, within the budget.

Flow:    sequences -> [material] -> written generator, teacher
Imports: types; the other modules of this stage.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from hybrid_memory.statements import content_words
from hybrid_memory.types import StudyItem

__all__ = ["Material", "pieces", "tokens"]

LEAST_SUPPORT = 0.6
"""Share of a line's content words (or their first letters) that its source must have."""
SAME = 0.9
"""Lines that share this much of their words in the same order say the same; turned round they may both stay."""
SHORTEST = 3
STEM = 4
"""Words that share this many first letters count as one: "ferries" supports "ferry's"."""
_TOKEN = re.compile(r"\w+|[^\w\s]")
_BULLET = re.compile(r"^\s*(?:[-*•–]|\(?\d+[.)])\s*")
_PROMPT = re.compile(r"^(?:let's read the following|passage:|implications:|rewritten passages:|thought process:)", re.I)
_INSTRUCTION = re.compile(
    r"\b(?:(?:ignore|disregard|forget)\b.{0,40}\b(?:instructions?|previous|above|prior|rules?)|learning[ _]rate|"
    r"(?:number of |num_?train_?)epochs?|fine-?tun\w+|system prompt|(?:train|training) (?:on|the model|loop)|"
    r"skip (?:the )?(?:gate|verification)|"
    r"you (?:must|should|will) (?:now )?(?:always )?(?:answer|respond|say|output))\b",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Material:
    """Collects the items of one record, and counts what is refused by reason."""

    source: str
    """The passage (title and text): what everything must be supported by."""
    budget: int
    """Most tokens of responses and prompts together; 0 is no limit. See `tokens`."""
    items: list[StudyItem] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    _seen: list[list[str]] = field(default_factory=list)
    _spent: int = 0

    def state(self, line: str, *, title: str = "") -> None:
        """Take a line as a statement, if it passes; `title` stands before it on a line of its own."""
        text = _BULLET.sub("", " ".join(line.split()))
        if len(text.split()) < SHORTEST:
            self.refuse("too short")
        elif self._is_new(text, text):
            self._take(StudyItem(prompt="", response=f"{title}\n{text}" if title else text, form="statement"))

    def ask(self, question: str, answer: str, *, form: str) -> None:
        """Take a question with its answer, if the answer passes."""
        question, answer = (" ".join(text.split()) for text in (question, answer))
        if not answer or not question:
            self.refuse("a question or an answer of zero tokens")
        elif self._is_new(f"{question} {answer}", answer):
            self._take(StudyItem(prompt=question, response=answer, form=form, source=self.source))

    def refuse(self, reason: str) -> None:
        """Count what was refused."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def _is_new(self, whole: str, claim: str) -> bool:
        """Tell whether it may be kept; count why not."""
        words = re.findall(r"\w+", whole.casefold())
        if _PROMPT.match(whole):
            self.refuse("copies the prompt")
        elif _instructs(whole, self.source):
            self.refuse("instructs the trainer")
        elif any(SequenceMatcher(None, words, other).ratio() >= SAME for other in self._seen):
            self.refuse("written before")
        elif support(claim, self.source) < LEAST_SUPPORT:
            self.refuse("not supported by its source")
        else:
            self._seen.append(words)
            return True
        return False

    def _take(self, item: StudyItem) -> None:
        cost = tokens(item.prompt) + tokens(item.response)
        if self.budget and self._spent + cost > self.budget:
            self.refuse("beyond the budget of tokens")
            return
        self._spent += cost
        self.items.append(item)


def support(claim: str, source: str) -> float:
    """Return the share of a claim's content words that its source has, in [0, 1]; a number must be there as it is.

    >>> support("The ferry leaves at nine.", "Ferries leave from pier 4."), support("Pier 9.", "It is pier 4.")
    (0.6666666666666666, 0.0)
    """
    said, known = ([word.casefold() for word in content_words(text)] for text in (claim, source))
    if not said:
        return 0.0
    stems = {word[:STEM] for word in known}
    if any(word[0].isdigit() and word not in known for word in said):
        return 0.0
    return sum(word[:STEM] in stems or word in known for word in said) / len(said)


def tokens(text: str) -> int:
    """Return how many words and marks a text has: about three quarters of a model's own tokens."""
    return len(_TOKEN.findall(text))


def pieces(sentences: Sequence[str], *, most: int) -> list[str]:
    """Join sentences to pieces of at most `most` tokens; a longer sentence is cut at spaces.

    >>> pieces(["One two three.", "Four.", "Five six."], most=6)
    ['One two three. Four.', 'Five six.']
    """
    found: list[str] = []
    for part in (part for sentence in sentences for part in _cut(sentence, most)):
        if found and tokens(found[-1]) + tokens(part) <= most:
            found[-1] = f"{found[-1]} {part}"
        else:
            found.append(part)
    return found


def _cut(sentence: str, most: int) -> Iterable[str]:
    held: list[str] = []
    for word in sentence.split():
        if held and tokens(" ".join([*held, word])) > most:
            yield " ".join(held)
            held = []
        held.append(word)
    if held:
        yield " ".join(held)


def _instructs(text: str, source: str) -> bool:
    """Tell whether a line speaks to the trainer in words that its source does not have."""
    found = _INSTRUCTION.search(text)
    return found is not None and found[0].casefold() not in source.casefold()
