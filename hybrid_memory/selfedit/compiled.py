"""Study material without a language model: rules, and words of like meaning.

Flow:    records -> [compiled] -> verification, consolidation
Imports: types, forms; the other modules of this stage.
"""

from __future__ import annotations

import hashlib
from random import Random

from hybrid_memory.forms import is_shown
from hybrid_memory.selfedit.neighbours import Neighbours
from hybrid_memory.statements import content_words, statements
from hybrid_memory.types import Record, SelfEdit, StudyItem

__all__ = ["CompiledGenerator", "random_of", "variations"]

FRAMES = (
    "What about {}?",
    "What is the rule on {}?",
    "Tell me about {}.",
    "{}?",
    "How does it work with {}?",
    "What should I know about {}?",
)
"""Question frames around a few words of the statement; the words, not the frame, carry the meaning."""
ASKED = 4
"""Questions that are asked of a statement in its own words, and as many with neighbouring words."""


class CompiledGenerator:
    """Writes statements, completions and keyword questions by rule; nothing about records that are shown."""

    name = "compiled"

    def __init__(self, neighbours: Neighbours) -> None:
        """Ask in a statement's own words, and with `neighbours` in their places."""
        self._neighbours = neighbours

    def write(self, record: Record, *, seed: int) -> SelfEdit:
        """Return a record's self-edit, deterministic for its text and a seed."""
        self._neighbours.learn(record.text)
        random = random_of(record.content_hash, seed)
        sentences = [] if is_shown(record) else statements(record.text)
        items = [item for sentence in sentences for item in self._statement(sentence, random)]
        return SelfEdit(record_id=record.id, items=tuple(items), generator=self.name, seed=seed)

    def _statement(self, sentence: str, random: Random) -> list[StudyItem]:
        words = sentence.split()
        cuts = sorted({max(2, len(words) // 3), max(3, 2 * len(words) // 3)} & set(range(1, len(words))))
        items = [StudyItem(prompt="", response=sentence, form="statement")]
        items += [
            StudyItem(prompt=f"Complete the sentence: {' '.join(words[:cut])}", response=sentence, form="completion")
            for cut in cuts
        ]
        asked = [keyword_question(sentence, random) for _ in range(ASKED)]
        asked += variations(sentence, self._neighbours, random, count=ASKED)
        held_out = variations(sentence, self._neighbours, random, count=1)
        items += [StudyItem(prompt=one, response=sentence, form="question") for one in dict.fromkeys(asked)]
        items += [
            StudyItem(prompt=one, response=sentence, form="question", held_out=True)
            for one in held_out
            if one not in asked
        ]
        return items


def keyword_question(sentence: str, random: Random) -> str:
    """Return a frame around one to four of the sentence's content words, in their order."""
    words = content_words(sentence) or sentence.split()
    count = min(len(words), random.choice((2, 2, 3, 3, 4)))
    chosen = sorted(random.sample(range(len(words)), count))
    return random.choice(FRAMES).format(" ".join(words[place] for place in chosen))


def variations(sentence: str, neighbours: Neighbours, random: Random, *, count: int) -> list[str]:
    """Return keyword questions in which most words are swapped for neighbours."""
    return [neighbours.vary(keyword_question(sentence, random), random, share=0.7) for _ in range(count)]


def random_of(content_hash: str, seed: int) -> Random:
    """Return a generator that depends on the text and the seed only, so a rebuild writes the same."""
    return Random(hashlib.sha256(f"{seed}:{content_hash}".encode()).digest())
