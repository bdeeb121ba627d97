"""Words that mean nearly the same, found with the encoder.

Flow:    encoder -> [neighbours] -> compiled generator, demonstrations
Imports: types, protocols.

People ask in other words than those a statement uses. The encoder knows that a fridge is a cooling
unit; a 135M model does not write such questions by itself. Swapping words for their neighbours in
the encoder's space puts that knowledge into the study material: closed-book answers to questions with
few words in common rose from 25 to 36 of 72 on the development company (benchmarks/LOG.md).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

import numpy as np

from hybrid_memory.protocols import Encoder
from hybrid_memory.statements import FUNCTION_WORDS
from hybrid_memory.types import FloatArray

__all__ = ["Neighbours"]

_WORD = re.compile(r"\b[A-Za-z]{4,}\b")
"""Whole words only: half of "Straße" is no word."""
SAME_STEM = 4
"""Words that share this many first letters are forms of one another and teach nothing new."""
MOST = 6
"""Neighbours of one word."""
CLOSE = 0.55
"""Least cosine of a word and its neighbour."""


class Neighbours:
    """Finds near words among those the encoder's tokenizer knows whole."""

    def __init__(self, encoder: Encoder, *, folder: Path | None = None) -> None:
        """The embedded vocabulary (about 10 s of work) is kept in `folder`, one file per encoder."""
        self._folder = folder
        self._encoder = encoder
        self._table: FloatArray | None = None
        self._known: dict[str, tuple[str, ...]] = {}

    def learn(self, text: str) -> None:
        """Look up every word of a text, in one batch."""
        words = {word.casefold() for word in _WORD.findall(text)}
        new = sorted(words - FUNCTION_WORDS - self._known.keys())
        vocabulary = self._encoder.vocabulary
        if not new or not vocabulary:
            return
        if self._table is None:
            self._table = self._embedded(vocabulary)
        similarities = self._encoder.encode(new) @ self._table.T
        for word, row in zip(new, similarities, strict=True):
            near = np.argsort(-row, kind="stable")[: 5 * MOST]
            self._known[word] = tuple(
                vocabulary[place]
                for place in near.tolist()
                if row[place] >= CLOSE and vocabulary[place][:SAME_STEM] != word[:SAME_STEM]
            )[:MOST]

    def _embedded(self, vocabulary: Sequence[str]) -> FloatArray:
        """Return the vectors of the vocabulary, from the file if it fits, shape (words, dim)."""
        if self._folder is None:
            return self._encoder.encode(vocabulary)
        file = self._folder / f"{self._encoder.fingerprint}-{len(vocabulary)}.npy"
        with suppress(OSError, ValueError, EOFError):  # not there, cut off or empty: made again
            table: FloatArray = np.load(file, allow_pickle=False)
            if len(table) == len(vocabulary):
                return table
        table = self._encoder.encode(vocabulary)
        self._folder.mkdir(parents=True, exist_ok=True)
        aside = file.with_suffix(f".{os.getpid()}.npy")
        np.save(aside, table, allow_pickle=False)
        os.replace(aside, file)
        return table

    def vary(self, text: str, random: Random, *, share: float) -> str:
        """Return the text with about `share` of its words swapped for neighbours, where there are any."""

        def swap(match: re.Match[str]) -> str:
            near = self._known.get(match[0].casefold(), ())
            return random.choice(near) if near and random.random() < share else match[0]

        return _WORD.sub(swap, text)
