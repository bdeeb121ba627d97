"""What moves a passage besides meaning and words: age, trust, time, likeness, a second reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ledger_entries import ANN, day, entry, open_ledger

from hybrid_memory.errors import ModelError
from hybrid_memory.ledger.ledger import SqlLedger
from hybrid_memory.retrieval.ranking import Ranking, most_different
from hybrid_memory.retrieval.rerank import LateInteractionReranker, make_reranker
from hybrid_memory.retrieval.retriever import HybridRetriever
from hybrid_memory.retrieval.time_words import interval
from hybrid_memory.testing import TableEncoder
from hybrid_memory.types import Hit, Trust

NOW = datetime(2026, 5, 6, 15, 30, tzinfo=UTC)  # a Wednesday


# ---------------------------------------------------------------- the time a question names


@pytest.mark.parametrize(
    ("question", "begin", "end"),
    [
        ("What happened yesterday?", "2026-05-05", "2026-05-06"),
        ("Who won the marathon of 2024?", "2024-01-01", "2025-01-01"),
        ("in Sept. 2023", "2023-09-01", "2023-10-01"),
        ("on 3 March 2023", "2023-03-03", "2023-03-04"),
        ("What was decided last Monday?", "2026-05-04", "2026-05-05"),
        ("What was decided last Wednesday?", "2026-04-29", "2026-04-30"),
        ("last weekend", "2026-05-02", "2026-05-04"),
        ("What do we do this weekend?", "2026-05-09", "2026-05-11"),
        ("What did we do eight weeks ago?", "2026-03-09", "2026-03-16"),
        ("What changed since 2023?", "2023-01-01", "2026-05-07"),
        ("since last Monday", "2026-05-04", "2026-05-07"),
        ("since yesterday", "2026-05-05", "2026-05-07"),
        ("after May 2023", "2023-06-01", "2026-05-07"),
        ("before 2023", "0001-01-01", "2023-01-01"),
        ("before the 7th of May 2023", "0001-01-01", "2023-05-07"),
        ("before last week", "0001-01-01", "2026-04-27"),
        ("until 2024", "0001-01-01", "2025-01-01"),
        ("What happened between 2020 and 2022?", "2020-01-01", "2023-01-01"),
        ("What did we say today", "2026-05-06", "2026-05-07"),
        ("Who called last week?", "2026-04-27", "2026-05-04"),
        ("What is new this week?", "2026-05-04", "2026-05-11"),
        ("sales last month", "2026-04-01", "2026-05-01"),
        ("sales of the previous year", "2025-01-01", "2026-01-01"),
        ("What broke 3 days ago?", "2026-05-03", "2026-05-04"),
        ("What broke two weeks ago?", "2026-04-20", "2026-04-27"),
        ("a month ago", "2026-04-01", "2026-05-01"),
        ("orders in the last 10 days", "2026-04-26", "2026-05-07"),
        ("orders over the past three months", "2026-02-06", "2026-05-07"),
        ("on 7 May 2023", "2023-05-07", "2023-05-08"),
        ("on the 7th of May, 2023", "2023-05-07", "2023-05-08"),
        ("on December 31st, 2023", "2023-12-31", "2024-01-01"),
        ("in Dec 2023", "2023-12-01", "2024-01-01"),
        ("What happened in September of 2023?", "2023-09-01", "2023-10-01"),
        ("logged on 2024-02-29", "2024-02-29", "2024-03-01"),
        ("Who won in 2022?", "2022-01-01", "2023-01-01"),
    ],
)
def test_a_question_names_a_time(question: str, begin: str, end: str) -> None:
    """From the first day to the day after the last."""
    assert interval(question, now=NOW) == tuple(datetime.fromisoformat(one).replace(tzinfo=UTC) for one in (begin, end))


@pytest.mark.parametrize(
    "question",
    [
        "Where is the pier?",
        "room 2022",
        "What does she do at last?",
        "May I go?",
        "recently",
        "decision 2024",
        "market 2023",
        "the augmented 2022 report",
        "before lunch",
        "since then",
        "last mondays",
    ],
)
def test_a_question_without_a_time_names_none(question: str) -> None:
    """Numbers and months by accident are no dates."""
    assert interval(question, now=NOW) is None


def test_the_last_month_of_a_long_month_ends_where_it_must() -> None:
    """A month before 31 March is 28 February."""
    march = datetime(2026, 3, 31, tzinfo=UTC)

    assert interval("in the last one month", now=march) == (
        datetime(2026, 2, 28, tzinfo=UTC),
        datetime(2026, 4, 1, tzinfo=UTC),
    )


# ---------------------------------------------------------------- over a ledger

TABLE = {"question": [1, 0, 0, 0], "question last week": [1, 0, 0, 0]}
TABLE |= {f"p{number}": [1, 0.01 * number, 0, 0] for number in range(6)} | {"far": [0, 1, 0, 0]}


class Bench:
    """Six passages that lose a little meaning each; asked by meaning alone."""

    def __init__(self, folder: Path, table: dict[str, list[float]] | None = None, **options: Any) -> None:
        self.ledger: SqlLedger = open_ledger(folder)
        self.encoder = TableEncoder(TABLE | (table or {}))
        self.retriever = HybridRetriever(self.ledger, self.encoder, folder / "index", lexical_weight=0.0, **options)

    def put(self, text: str, **given: Any) -> None:
        one = entry(text, scope=ANN, **given)
        vectors = self.encoder.encode([text])
        self.ledger.write([replace(one, vectors=vectors, encoder=self.encoder.fingerprint)])

    def ask(self, question: str = "question", **options: Any) -> list[Hit]:
        vector = self.encoder.encode([question])[0]
        return self.retriever.search(question, vector=vector, scope=ANN, top_k=3, **options)


def test_nothing_but_meaning_and_words_counts_unless_it_has_a_weight(tmp_path: Path) -> None:
    """Age and trust are told apart only when they are asked for."""
    bench = Bench(tmp_path)
    bench.put("p1", trust=Trust.EXTERNAL)
    bench.put("p2", trust=Trust.OPERATOR, valid_from=day(9))

    hit = bench.ask()[0]

    assert (hit.text, list(hit.scores)) == ("p1", ["dense"])


def test_recency_halves_with_every_half_life(tmp_path: Path) -> None:
    """At the age of one half-life half of the weight is left, of two a quarter."""
    bench = Bench(tmp_path, ranking=Ranking(recency_weight=2.0, half_life_days=10))
    bench.put("p1", valid_from=day(0))
    bench.put("p2", valid_from=day(10))

    hits = {hit.text: hit for hit in bench.ask(as_of=day(20))}

    assert hits["p1"].scores["recency"] == pytest.approx(0.5)
    assert hits["p2"].scores["recency"] == pytest.approx(1.0)
    assert hits["p2"].score == pytest.approx(sum(hits["p2"].scores.values()))


def test_trust_lifts_what_the_operator_vouches_for(tmp_path: Path) -> None:
    """Operator in full, user half, external nothing."""
    bench = Bench(tmp_path, ranking=Ranking(trust_weight=4.0))
    for number, trust in enumerate((Trust.EXTERNAL, Trust.USER, Trust.OPERATOR)):
        bench.put(f"p{number}", trust=trust)

    assert [(hit.text, hit.scores["trust"]) for hit in bench.ask()] == [("p2", 4.0), ("p1", 2.0), ("p0", 0.0)]


def test_what_began_in_the_time_the_question_names_comes_first(tmp_path: Path) -> None:
    """And only for a question that names one."""
    bench = Bench(tmp_path, ranking=Ranking(time_weight=2.0))
    bench.put("p0", valid_from=day(0))
    bench.put("p3", valid_from=datetime.now(UTC) - timedelta(days=7))

    assert [hit.text for hit in bench.ask("question last week")] == ["p3", "p0"]
    assert [hit.text for hit in bench.ask("question")] == ["p0", "p3"]


def test_diversity_puts_another_thing_before_the_same_again(tmp_path: Path) -> None:
    """Two that say the same, one that says something else, a little less near."""
    vectors = {"p0": [1, 0, 0, 0], "p1": [0.999, 0.02, 0, 0], "p2": [0.8, 0, 0.6, 0]}
    bench = Bench(tmp_path, vectors, ranking=Ranking(diversity=0.9))
    for text in vectors:
        bench.put(text)

    assert [hit.text for hit in bench.ask()] == ["p0", "p2", "p1"]


def test_maximal_marginal_relevance_by_hand() -> None:
    """Scores 1, 0.9 and 0; the second is the first again (cosine 1), the third at a right angle."""
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    scores = {7: 1.0, 8: 0.9, 9: 0.0}

    # second round: 0.5 * 0.9 - 0.5 * 1 = -0.05 for the double, 0.5 * 0 - 0.5 * 0 = 0 for the other
    assert most_different([7, 8, 9], scores, vectors, diversity=0.5) == [7, 9, 8]
    assert most_different([7, 8, 9], scores, vectors, diversity=0.0) == [7, 8, 9]
    assert most_different([], {}, vectors[:0], diversity=0.5) == []


def test_an_explained_hit_says_where_its_score_came_from(tmp_path: Path) -> None:
    """One sentence a part, with the raw figure; without asking there is none."""
    bench = Bench(tmp_path, ranking=Ranking(trust_weight=1.0))
    bench.put("p0")
    bench.put("far")

    assert bench.ask(explain=True)[0].explanation == ("+1.000 meaning, cosine 1.000", "+0.500 trust, user")
    assert bench.ask()[0].explanation == ()


class Backwards:
    """A reranker that likes the last letters of the alphabet."""

    def score(self, question: str, texts: Sequence[str]) -> list[float]:
        return [float(text[1:]) for text in texts]


def test_a_reranker_orders_the_best_and_leaves_the_rest_below(tmp_path: Path) -> None:
    """Of six, the best three are read again; the others follow as they were."""
    bench = Bench(tmp_path, reranker=Backwards(), rerank_top=2)
    for number in range(4):
        bench.put(f"p{number}")

    hits = bench.ask()

    assert [hit.text for hit in hits] == ["p1", "p0", "p2"]
    assert hits[0].score > hits[1].score > hits[2].score
    assert hits[0].score == pytest.approx(sum(hits[0].scores.values()))


@pytest.mark.parametrize("kind", ["cross_encoder", "late_interaction"])
def test_a_reranker_that_is_not_here_is_named(kind: Any) -> None:
    """When the memory opens, not with the first question."""
    with pytest.raises(ModelError, match="no sentence encoder 'nobody/nothing' on this machine"):
        make_reranker(kind, "nobody/nothing")


def test_late_interaction_is_the_mean_of_the_best_matches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pieces of the question: one is in the passage exactly, the other at 60 degrees: (1 + 0.5) / 2."""
    pieces = {
        "question": np.array([[1, 0], [0, 2]], np.float32),
        "passage": np.array([[3, 0], [0.75**0.5, 0.5]], np.float32),
    }
    monkeypatch.setattr(LateInteractionReranker, "_pieces", lambda self, texts: [pieces[text] for text in texts])

    assert LateInteractionReranker(tmp_path).score("question", ["passage"]) == pytest.approx([0.75])
