"""Phrases: which runs of words count, and how much each of them."""

from __future__ import annotations

import numpy as np
import pytest

from hybrid_memory.routing.phrases import START, PhraseTable, common_phrases, phrases_of


def test_phrases_are_runs_of_one_to_three_words() -> None:
    """In lower case, numbers as 0, the beginning as a word of its own."""
    assert phrases_of("Since 1990 only") == {
        START, f"{START} since", f"{START} since 0",
        "since", "since 0", "since 0 only", "0", "0 only", "only",
    }  # fmt: skip


def test_only_the_beginning_of_a_text_counts() -> None:
    """A long text would show every phrase there is."""
    assert "late" not in phrases_of("word " * 80 + "late")


def test_a_phrase_is_common_when_enough_domains_have_it() -> None:
    """How often it occurs in one of them does not matter."""
    texts = ["who is it", "who was it", "who is there", "who is here"]

    common = common_phrases(texts, ["space", "space", "law", "law"], least=2)

    assert common == sorted([START, f"{START} who", f"{START} who is", "who", "who is", "is"])


def test_the_phrases_of_a_text_weigh_the_same_and_make_a_row_of_length_one() -> None:
    """Four known phrases weigh a half each; a text without any gives zeros."""
    table = PhraseTable(["a", "a b", "b", "elsewhere", START])

    features = table.features(["a b", "…"])

    assert features[0] == pytest.approx([0.5, 0.5, 0.5, 0.0, 0.5])
    assert features[1] == pytest.approx([0.0, 0.0, 0.0, 0.0, 1.0])
    assert PhraseTable([]).features(["a"]).shape == (1, 0)


def test_numbers_are_places_in_the_table() -> None:
    """Ascending, so that the same text always gives the same sum."""
    assert np.array_equal(PhraseTable(["b", "a", "c"]).numbers("c b"), [0, 2])
