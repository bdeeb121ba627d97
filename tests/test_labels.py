"""Labels: the nearest examples vote, and an adapter that learned the task weighs in."""

from __future__ import annotations

import math

import numpy as np
import pytest
from records import record

from hybrid_memory.answering.labels import choose, vote
from hybrid_memory.types import Example, Hit, Kind, Passage


def near(number: int, label: str, similarity: float) -> Hit:
    """An example found at this cosine."""
    found = record(f"r{number}", kind=Kind.EXAMPLE, examples=(Example(f"text {number}", label),))
    passage = Passage(id=number, record_id=found.id, text=f"text {number}", position=0)
    return Hit(record=found, passage=passage, score=1.0, similarity=similarity, scores={})


def test_a_nearer_example_has_a_weightier_vote() -> None:
    """A tenth of cosine is a factor of e: A has 1 and 1/e, B has 1/e."""
    shares = vote([near(1, "A", 0.6), near(2, "B", 0.5), near(3, "A", 0.5)])

    whole = 1 + 2 / math.e
    assert shares == pytest.approx({"A": (1 + 1 / math.e) / whole, "B": (1 / math.e) / whole})


def test_responses_that_differ_are_no_labels() -> None:
    """Two of four share theirs: half is not most."""
    assert vote([near(1, "A", 0.6), near(2, "B", 0.5), near(3, "C", 0.5)]) == {}
    assert vote([near(1, "A", 0.6), near(2, "A", 0.5), near(3, "B", 0.5), near(4, "C", 0.5)]) == {}


def test_an_example_found_by_its_words_alone_has_no_vote() -> None:
    """It has no cosine to weigh it by."""
    assert vote([near(1, "A", 0.6), near(2, "A", 0.5), near(3, "B", math.nan)]) == {"A": 1.0}


def test_the_choice_is_the_product_of_vote_and_adapter() -> None:
    """NumPy's softmax over log(share + 0.02) + trust * score."""
    shares, scores = {"A": 0.7, "B": 0.3}, {"A": -2.0, "B": -0.5}

    for trust in (0.2, 2.0):
        logits = np.log(np.array([0.72, 0.32])) + trust * np.array([-2.0, -0.5])
        expected = np.exp(logits) / np.exp(logits).sum()
        label, probability = choose(shares, scores, trust=trust)
        assert label == "AB"[int(expected.argmax())]
        assert probability == pytest.approx(expected.max())


def test_without_an_adapter_the_vote_decides() -> None:
    """Shares of 0.75 and 0.25 with their 0.02: 0.77 of 1.04."""
    assert choose({"A": 0.25, "B": 0.75}, {}, trust=5.0) == ("B", pytest.approx(0.77 / 1.04))
