"""Searching by words: BM25 over an inverted index, inside a selection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hybrid_memory.errors import IndexMismatchError
from hybrid_memory.retrieval.selection import Selection
from hybrid_memory.retrieval.terms import TermCounter
from hybrid_memory.retrieval.words import COMMON, LARGE, WordIndex

TEXTS = ["the ferry leaves at nine", "the pier is closed", "ferry tickets, ferry times", "a map of the town"]


def index_of(texts: Sequence[str]) -> WordIndex:
    index = WordIndex()
    index.add(range(1, len(texts) + 1), texts)
    return index


def every(count: int = len(TEXTS)) -> Selection:
    return Selection(np.arange(1, count + 1))


def bm25(texts: Sequence[Sequence[str]], question: Sequence[str], place: int) -> float:
    """The oracle: the formula of Robertson and Zaragoza 2009 with k1 = 0.9, b = 0.4, word by word."""
    mean = sum(map(len, texts)) / len(texts)
    total = 0.0
    for word in question:
        containing = sum(word in text for text in texts)
        count = texts[place].count(word)
        idf = math.log(1 + (len(texts) - containing + 0.5) / (containing + 0.5))
        total += idf * count * 1.9 / (count + 0.9 * (0.6 + 0.4 * len(texts[place]) / mean))
    return total


def test_scores_are_bm25() -> None:
    """Two of four texts say "ferry", one of them twice; worked out by the formula."""
    words = [["the", "ferry", "leaves", "at", "nine"], ["the", "pier", "is", "closed"]]
    words += [["ferry", "tickets", "ferry", "times"], ["a", "map", "of", "the", "town"]]

    found = index_of(TEXTS).search("ferry", selection=every(), top_k=10)

    assert [number for number, _ in found] == [3, 1]
    assert [score for _, score in found] == pytest.approx([bm25(words, ["ferry"], 2), bm25(words, ["ferry"], 0)])


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("LEAVING", "the ferry leaves"),
        ("cafes", "Das Café"),
        ('AND "quoted" NEAR(', "quoted and near"),
        ("東京", "東京都に住む"),
        ("zx-4411", "order ZX-4411"),
    ],
)
def test_words_match_without_case_accents_and_endings(question: str, text: str) -> None:
    """And no text is a query language."""
    assert [number for number, _ in index_of([text, "other"]).search(question, selection=every(2), top_k=5)] == [1]


@pytest.mark.parametrize("question", ["", "?!", "unheard"])
def test_a_question_without_a_known_word_finds_nothing(question: str) -> None:
    """Neither an error nor everything."""
    assert index_of(TEXTS).search(question, selection=every(), top_k=5) == []


def test_the_best_of_the_selection_are_found_and_no_others() -> None:
    """However good a passage outside is."""
    found = index_of(TEXTS).search("ferry pier", selection=Selection(np.array([1, 2])), top_k=5)

    assert {number for number, _ in found} == {1, 2}


def test_equal_scores_are_ordered_by_number() -> None:
    """So that the same search gives the same answer, whatever top_k cuts off."""
    found = index_of(["same words"] * 9).search("words", selection=every(9), top_k=3)

    assert [number for number, _ in found] == [1, 2, 3]


def test_what_is_added_later_is_found_like_the_rest(tmp_path: Path) -> None:
    """Packed, recent, or both: the scores are those of an index built at once."""
    index = index_of(TEXTS[:2])
    index.pack()
    index.add([3], TEXTS[2:3])
    index.pack()
    index.add([4], TEXTS[3:])
    at_once = index_of(TEXTS)

    for question in ("ferry", "the town pier", "tickets"):
        assert index.search(question, selection=every(), top_k=5) == at_once.search(
            question, selection=every(), top_k=5
        )


def test_an_index_is_the_same_after_it_was_written_and_read(tmp_path: Path) -> None:
    """And can be added to again."""
    index = index_of(TEXTS)
    index.write(tmp_path / "words")

    again = WordIndex.read(tmp_path / "words")
    again.add([5], ["a second pier"])

    assert (len(again), again.last_id) == (5, 5)
    assert [number for number, _ in again.search("pier", selection=every(5), top_k=5)] == [5, 2]
    assert again.search("ferry", selection=every(), top_k=1)[0][0] == 3


def test_removed_words_are_found_no_more_and_leave_the_file(tmp_path: Path) -> None:
    """Also a word that nothing else had."""
    index = index_of([*TEXTS, "password hunter2"])
    index.write(tmp_path / "words")

    assert index.remove([5, 5, 77]) == 1

    assert index.search("hunter2", selection=every(5), top_k=5) == []
    assert index.last_id == 4
    index.write(tmp_path / "words")
    assert b"hunter2" not in (tmp_path / "words").read_bytes()
    assert len(WordIndex.read(tmp_path / "words")) == 4


def test_an_index_that_was_packed_in_between_is_that_of_what_is_left(rng: np.random.Generator, tmp_path: Path) -> None:
    """Whatever was added, removed and packed: byte for byte the file of an index that was told the rest at once."""
    words = [f"w{number}" for number in range(40)]
    index, left = WordIndex(), {}
    for first in range(1, 400, 20):
        ids = list(range(first, first + 20))
        texts = [" ".join(rng.choice(words[: first % 37 + 3], size=rng.integers(1, 6))) for _ in ids]
        index.add(ids, texts)
        left |= dict(zip(ids, texts, strict=True))
        gone = rng.choice(sorted(left), size=rng.integers(0, 9), replace=False).tolist()
        index.remove(gone)
        left = {key: text for key, text in left.items() if key not in gone}
        if rng.random() < 0.7:
            index.pack()
    index.write(tmp_path / "packed")
    fresh = WordIndex()
    fresh.add(list(left), list(left.values()))
    fresh.write(tmp_path / "fresh")

    assert (tmp_path / "packed").read_bytes() == (tmp_path / "fresh").read_bytes()


def test_scores_of_given_passages_come_with_the_best() -> None:
    """Behind them, in their order; one that shares no word has no score."""
    index = index_of(TEXTS)
    best = dict(index.search("ferry", selection=every(), top_k=5))

    found = index.search("ferry", selection=every(), top_k=1, also=[2, 1])

    assert found == [(3, best[3]), (1, best[1])]


def test_words_that_follow_one_another_as_in_the_question_count_more() -> None:
    """Both passages have both words and the same length; only one has the pair, however late it was added."""
    apart = "design a table, then play a game of chess"
    together = "play chess, then a table for game design a"
    index = index_of([apart, together, "chess", "table"])
    index.pack()
    index.add([5], [together])

    found = dict(index.search("Game design?", selection=every(5), top_k=5))

    assert found[2] == found[5] > found[1]
    # idf of a word in three of five passages; both passages have ten terms, the mean is 32 / 5.
    idf, length = math.log1p((5 - 3 + 0.5) / (3 + 0.5)), 0.9 * (1 - 0.4 + 0.4 * 9 / (29 / 5))
    assert found[2] - found[1] == pytest.approx(0.3 * idf * 1.9 / (1 + length), rel=1e-5)


def test_a_pair_does_not_reach_from_one_passage_into_the_next() -> None:
    """The last word of one and the first of the next are no pair."""
    index = index_of(["a game", "design it", "game or design"])

    assert len({score for _, score in index.search("game", selection=every(), top_k=2)}) == 2
    alone = dict(index.search("design", selection=every(), top_k=3))
    assert dict(index.search("game design", selection=every(), top_k=3))[2] == pytest.approx(alone[2])


def test_of_a_pasted_page_the_rarest_and_most_repeated_words_are_searched_for() -> None:
    """Not the first ones of the alphabet."""
    page = " ".join([f"a{number}" for number in range(200)] + ["zeppelin"] * 3)
    texts = [f"note a{number}" for number in range(200)] + ["the zeppelin"]
    index = index_of(texts)

    assert index.search(page, selection=every(len(texts)), top_k=1)[0][0] == len(texts)
    assert index.share(page) == pytest.approx(64 / 201)
    assert index.share("the zeppelin") == 1


def test_a_term_counts_as_often_as_the_question_says_it() -> None:
    """BM25 adds up over the words of the question, repeated ones included."""
    once, twice = (
        dict(index_of(TEXTS).search(asked, selection=every(), top_k=5)) for asked in ("ferry", "ferry ferry")
    )

    assert twice == pytest.approx({key: 2 * score for key, score in once.items()})


def test_a_function_word_weighs_a_quarter_of_another_word() -> None:
    """BM25 of "the", worked out by the formula, and of that a quarter."""
    words = [["the", "ferry", "leaves", "at", "nine"], ["the", "pier", "is", "closed"]]
    words += [["ferry", "tickets", "ferry", "times"], ["a", "map", "of", "the", "town"]]

    found = dict(index_of(TEXTS).search("The", selection=every(), top_k=10))

    assert found == pytest.approx({place + 1: 0.25 * bm25(words, ["the"], place) for place in (0, 1, 3)})


def test_what_a_question_is_about_counts_more_than_how_it_is_put() -> None:
    """The first passage has four words of the question, the second has one."""
    texts = ["what should I do if I am ill", "an anchor", "the pier", "tickets", "the town", "a map", "nine"]

    found = index_of(texts).search("What should I do about the anchor?", selection=every(len(texts)), top_k=10)

    assert found[0][0] == 2


@pytest.mark.parametrize(("said", "unknown"), [("ferry", 0), ("the ferry", 0), ("ferry zeppelin", 1)])
def test_the_reach_of_a_question_is_what_a_passage_with_all_its_words_gets(said: str, unknown: int) -> None:
    """In four texts "ferry" stands twice and "the" three times; a word of no text is rarer than any other."""
    ferry, the, none = math.log(1 + 2.5 / 2.5), math.log(1 + 1.5 / 3.5), math.log(1 + 4.5 / 0.5)

    reach = index_of(TEXTS).reach(said)

    assert reach == pytest.approx(ferry + 0.25 * the * ("the" in said.split()) + unknown * none)


def test_common_words_are_passed_over_in_a_large_index_unless_there_are_no_others() -> None:
    """A word of every passage adds time and tells nothing; alone it is all there is."""
    texts = [f"note {number}" for number in range(LARGE)]
    texts[7] = "note about the anchor"
    index = index_of(texts)

    assert len(texts) * COMMON < len(texts)
    assert [number for number, _ in index.search("note anchor", selection=every(LARGE), top_k=5)] == [8]
    assert len(index.search("note", selection=every(LARGE), top_k=5)) == 5


def test_a_file_that_is_no_word_index_is_refused(tmp_path: Path) -> None:
    """The owner builds it again."""
    (tmp_path / "words").write_bytes(b"nonsense")

    with pytest.raises(IndexMismatchError, match="is no word index"):
        WordIndex.read(tmp_path / "words")


def test_a_term_counter_keeps_nothing() -> None:
    """Counting is rolled back: the second page starts from nothing."""
    counter = TermCounter()
    counter.count(["one secret"])

    assert counter.count(["two"]) == [("two", 0, 1)]
