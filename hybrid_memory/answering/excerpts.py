"""Cut long passages down to the sentences that are nearest to the question.

A small model answers with what it reads first. Of 120 questions about passages of five sentences the default model
answered 36 % when it was shown the passage, 48 % from its nearest sentence (benchmarks/LOG.md, Passages in the prompt).

Flow:    question, evidence -> [excerpts] -> prompt
Imports: types, protocols, statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hybrid_memory.protocols import Encoder
from hybrid_memory.statements import as_written, content_words, statements
from hybrid_memory.types import FloatArray, Hit, Kind

__all__ = ["excerpted"]

WORDS = 0.5
"""What the share of the question's words that a sentence says counts against a cosine. Gold answers in the first
sentence, of 132 questions of the tuning fifth of squad_seal, at 0, 0.25, 0.5 and 1: 69, 76, 79 and 79 %."""
STEM = 4
"""Letters by which two words are taken for one: "signs" and "signed"."""


def excerpted(
    question: str, vector: FloatArray, hits: Sequence[Hit], *, encoder: Encoder, sentences: int
) -> tuple[Hit, ...]:
    """Return the hits; those of facts with more sentences than that have the best of them as their excerpt.

    Args:
        question: its words.
        vector: its embedding, shape (dim,), unit length.
        hits: evidence, best first; the order stays.
        encoder: embeds the sentences.
        sentences: how many of a record are shown, in the order in which they stand there; 0 shows all. Each is told
            what it is about where it does not say so itself, unless the one before it is shown too.
    """
    if not sentences:
        return tuple(hits)
    cut = {hit.id: statements(hit.text) for hit in hits if hit.record.kind is not Kind.EXAMPLE}
    long = {record_id: found for record_id, found in cut.items() if len(found) > sentences}
    texts = list(dict.fromkeys(text for found in long.values() for text in found))
    if not texts:
        return tuple(hits)
    asked = _stems(question)
    said = np.array([len(_stems(text) & asked) / max(1, len(asked)) for text in texts])
    near = dict(zip(texts, (encoder.encode(texts) @ vector + WORDS * said).tolist(), strict=True))

    def best(found: Sequence[str], bare: Sequence[str]) -> str:
        chosen = sorted(sorted(range(len(found)), key=lambda place: -near[found[place]])[:sentences])
        return " ".join(bare[place] if place - 1 in chosen else found[place] for place in chosen)

    return tuple(
        replace(hit, excerpt=best(long[hit.id], as_written(hit.text))) if hit.id in long else hit for hit in hits
    )


def _stems(text: str) -> set[str]:
    return {word.casefold()[:STEM] for word in content_words(text)}
