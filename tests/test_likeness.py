"""A question that is not of a group's kind passes by that group's shard."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hybrid_memory import Example, Preference
from hybrid_memory.answering.likeness import RIDGE, QuestionKinds, fit_likeness, marked
from hybrid_memory.testing import WordEncoder, open_tiny_memory
from hybrid_memory.types import Scope


def test_the_line_is_weighted_ridge_regression(rng: np.random.Generator) -> None:
    """The oracle: the same line by least squares on rows stacked with the penalty's."""
    prompts = rng.normal(size=(12, 5)).astype(np.float32)
    others = rng.normal(size=(30, 5)).astype(np.float32)
    question = rng.normal(size=5).astype(np.float32)

    rows = np.hstack([np.vstack([prompts, others]), np.ones((42, 1))])
    share = np.sqrt(np.r_[np.full(12, 42 / 24), np.full(30, 42 / 60)])
    stacked = np.vstack([rows * share[:, None], np.sqrt(RIDGE) * np.eye(6)])
    wanted = np.r_[np.r_[np.ones(12), -np.ones(30)] * share, np.zeros(6)]
    line = np.linalg.lstsq(stacked, wanted, rcond=None)[0]
    score = float(np.append(question, 1) @ line)

    likeness = fit_likeness(prompts, others)

    assert likeness is not None
    assert likeness.holds(question, least=score - 1e-4)
    assert not likeness.holds(question, least=score + 1e-4)


def test_too_few_texts_draw_no_line() -> None:
    """Seven prompts could only be remembered, so nearness alone goes on to decide."""
    assert fit_likeness(np.eye(7, dtype=np.float32), np.eye(7, dtype=np.float32)) is None


def test_an_ordinary_question_is_not_of_a_labelled_tasks_kind(tmp_path: Path) -> None:
    """A ticket goes to the examples, a question about Portugal does not, and a memory without examples says nothing."""
    tickets = [f"my parcel number {number} came late and wet" for number in range(10)]
    questions = ["my parcel came wet", "what is the capital of this country"]
    asked = WordEncoder().encode(questions)
    with open_tiny_memory(tmp_path) as memory:
        kinds = QuestionKinds(memory._parts.ledger, WordEncoder())
        before = kinds.unlike(questions, asked, Scope())
        memory.ingest_many([Example(ticket, "desk K4") for ticket in tickets], trust="operator")

        assert before == [frozenset(), frozenset()]
        assert kinds.unlike(questions, asked, Scope()) == [frozenset(), frozenset({"examples"})]


def test_a_preferences_questions_are_not_of_the_facts_kind(tmp_path: Path) -> None:
    """Where a preference was shown on questions, those pass by the facts, so that they keep its form."""
    shown = tuple(Example(f"can i bring guest number {number} to the tour", "Yes. Bye.") for number in range(10))
    rules = [f"the Beacon committee approves travel above {number} hundred euros" for number in range(10)]
    questions = ["can i bring my guest to the tour", "who approves travel above 900 euros"]
    asked = WordEncoder().encode(questions)
    with open_tiny_memory(tmp_path) as memory:
        memory.ingest(Preference('End every answer with "Bye."', shown), trust="operator")
        memory.ingest_many(rules, trust="operator", source="handbook")

        assert QuestionKinds(memory._parts.ledger, WordEncoder()).unlike(questions, asked, Scope()) == [
            frozenset({"facts"}),
            frozenset(),
        ]


def test_a_line_can_be_drawn_by_asking_alone() -> None:
    """The same vector eight times told, eight times asked: nothing else tells the groups apart."""
    alike = np.tile(np.float32([1, 0]), (8, 1))
    told, asked = marked(alike, ["It came late."] * 8), marked(alike, ["Why is it late?"] * 8)

    line = fit_likeness(told, asked)

    assert line is not None
    assert (line.holds(told[0]), line.holds(asked[0])) == (True, False)


def test_a_vector_says_whether_its_text_asks() -> None:
    """0.3 for a question mark of any script at the end, 0 otherwise."""
    texts = ["Is it open?", "開いていますか？ ", "هل هو مفتوح؟", "It is.", "Is it? Yes."]

    rows = marked(np.eye(5, dtype=np.float32), texts)

    assert rows[:, :5].tolist() == np.eye(5).tolist()
    assert rows[:, 5].tolist() == [np.float32(0.3)] * 3 + [0.0, 0.0]
