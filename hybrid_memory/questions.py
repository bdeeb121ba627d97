"""Vectors of questions, however long they are.

Flow:    question -> [question_vectors] -> retrieval, choice of an adapter
Imports: protocols, types.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np

from hybrid_memory.protocols import Encoder
from hybrid_memory.types import FloatArray

__all__ = ["question_vectors"]

READ = 900
"""Characters that an encoder surely reads: MiniLM stops after 256 word pieces, and what follows would not count."""


def question_vectors(encoder: Encoder, questions: Sequence[str]) -> FloatArray:
    """Return one row per question, shape (len(questions), dim), float32.

    A question that is longer than an encoder reads (a pasted letter, a ticket) is cut at blanks, and its row is the
    mean of the pieces' vectors by their length; it need not be of unit length.
    """
    pieces = [[question] if len(question) <= READ else textwrap.wrap(question, READ) for question in questions]
    rows = encoder.encode([piece for several in pieces for piece in several])
    if len(rows) == len(questions):
        return rows
    ends = np.cumsum([len(several) for several in pieces])
    return np.stack(
        [
            np.average(part, axis=0, weights=[len(piece) for piece in several]).astype(np.float32)
            for part, several in zip(np.split(rows, ends[:-1]), pieces, strict=True)
        ]
    )
