"""Phrases: which short runs of words, out of a known list, a text begins with or contains.

Flow:    text -> [phrases] -> durability classifier, beside embedding and cues.
Imports: types.

Cues name what we thought of; phrases are what the training statements of several domains have in common, such as
"in the history of" or "<start> is there". They carry no subject: the embedding has that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from hybrid_memory.types import FloatArray, IdArray

__all__ = ["PhraseTable", "common_phrases", "phrases_of"]

LONGEST = 3
"""Words of a phrase."""
MAX_CHARS = 300
"""Only the beginning is read: later on, a long text contains nearly every phrase there is."""
START = "<start>"
_WORD: Final = re.compile(r"[a-z]+|\d+|[$€£%?]")


def phrases_of(text: str) -> set[str]:
    """Return the phrases of the beginning of a text, in lower case, with every number as 0.

    >>> sorted(phrases_of("In 1990?"))
    ['0', '0 ?', '<start>', '<start> in', '<start> in 0', '?', 'in', 'in 0', 'in 0 ?']
    """
    words = [START, *("0" if word.isdigit() else word for word in _WORD.findall(text[:MAX_CHARS].lower()))]
    return {
        " ".join(words[start : start + length])
        for length in range(1, LONGEST + 1)
        for start in range(len(words) - length + 1)
    }


def common_phrases(texts: Sequence[str], domains: Sequence[str], *, least: int) -> list[str]:
    """Return, in order of the alphabet, the phrases that occur in at least `least` different domains."""
    seen: dict[str, set[str]] = {}
    for text, domain in zip(texts, domains, strict=True):
        for phrase in phrases_of(text):
            seen.setdefault(phrase, set()).add(domain)
    return sorted(phrase for phrase, places in seen.items() if len(places) >= least)


class PhraseTable:
    """The phrases that a classifier knows; number i stands for the i-th of them."""

    def __init__(self, phrases: Iterable[str]) -> None:
        """Take the phrases in the order of the classifier's weights."""
        self._numbers = {phrase: number for number, phrase in enumerate(phrases)}

    def __len__(self) -> int:
        """Return how many phrases there are."""
        return len(self._numbers)

    def numbers(self, text: str) -> IdArray:
        """Return the numbers of the known phrases in a text, ascending; int64."""
        known = sorted(self._numbers[phrase] for phrase in phrases_of(text) if phrase in self._numbers)
        return np.array(known, dtype=np.int64)

    def features(self, texts: Sequence[str]) -> FloatArray:
        """Return a row of length one per text, the same weight on each of its phrases, or zeros if it has none.

        Returns:
            Shape (len(texts), len(self)), float32.
        """
        features = np.zeros((len(texts), len(self)), dtype=np.float32)
        for row, text in enumerate(texts):
            numbers = self.numbers(text)
            features[row, numbers] = len(numbers) ** -0.5 if len(numbers) else 0.0
        return features
