"""Questions longer than an encoder reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from hybrid_memory.questions import READ, question_vectors
from hybrid_memory.types import FloatArray


class Letters:
    """Reads the first `READ` characters only: the share of "a" and of "b" among them."""

    dim = 2
    fingerprint = "letters"
    vocabulary: Sequence[str] = ()

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return one row per text."""
        rows = [[text[:READ].count(letter) / len(text[:READ]) for letter in "ab"] for text in texts]
        return np.asarray(rows, dtype=np.float32)


def test_of_a_long_question_every_part_counts_by_its_length() -> None:
    """Two thirds of "a" and one third of "b", though the encoder alone would see no "b"."""
    question = "a" * READ * 2 + " " + "b" * READ

    found = question_vectors(Letters(), ["a", question, "b"])

    assert found.tolist() == [[1, 0], [pytest.approx(2 / 3), pytest.approx(1 / 3)], [0, 1]]


def test_questions_that_are_read_whole_are_encoded_as_they_are() -> None:
    """Line breaks included."""
    assert question_vectors(Letters(), ["a\nb"]).tolist() == [[pytest.approx(1 / 3), pytest.approx(1 / 3)]]
