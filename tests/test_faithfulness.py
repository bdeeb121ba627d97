"""Faithfulness: what no evidence bears out is not said, the evidence is quoted in its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from answer_bench import FERRY, LAMP, PAGE, PRICE, RULE, Bench, hit
from records import record

from hybrid_memory.answering.faithfulness import quotable, unfaithful
from hybrid_memory.config import AnswerSettings
from hybrid_memory.evidence import UNKNOWN
from hybrid_memory.streaming import AnswerStream
from hybrid_memory.types import Answer, Hit, Kind, Mode

WHERE = "Where is the ferry?"
NOTHING, LITTLE = "it says nothing of the evidence", "50% of its words stand in it"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.ledger.close()


def ask(bench: Bench, says: str, question: str = WHERE, **given: Any) -> Answer:
    """Ask a model that says this, whatever it is asked; it finds any quote as likely as exp(-0.5)."""
    bench.lm.answers = [says]
    bench.lm.scores = dict.fromkeys((FERRY, LAMP, PRICE), -0.5)
    return bench.ask(question, **{"quote_below": 0.8, **given})[0]


# ------------------------------------------------------------ what is borne out


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("At pier nine.", ""),
        ("The ferry waits at pier nine.", ""),
        ("The ferries are waiting at piers.", ""),
        (UNKNOWN, ""),
        ("Ahoy! Pier nine.", ""),
        ("The ferry.", NOTHING),
        ("Ahoy.", NOTHING),
        ("Yes, it is.", NOTHING),
        ("", NOTHING),
        ("At pier 9.", "9 stands nowhere in it"),
        ("At pier nine, quay B2.", "B2 stands nowhere in it"),
        ("At pier ten.", LITTLE),
        ("Ships leave pier nine.", LITTLE),
    ],
)
def test_a_text_is_borne_out_by_words_of_the_evidence(text: str, why: str) -> None:
    """Words are told by four letters; those of question and preferences are heard, and say nothing of the evidence."""
    assert unfaithful(text, evidence=[FERRY], given=[WHERE, RULE], least=0.8) == why


def test_a_number_may_stand_anywhere_in_the_prompt() -> None:
    """In another passage, or in the question."""
    two = ["Ticket 7 costs four crowns.", "The ferry seats 40."]

    assert unfaithful("Ticket 7 costs four, 40 or 12 crowns.", evidence=two, given=["Is it 12?"], least=0.8) == ""


@pytest.mark.parametrize(("least", "why"), [(0.5, ""), (0.51, LITTLE)])
def test_how_many_words_must_be_heard_is_set(least: float, why: str) -> None:
    """One of two: pier."""
    assert unfaithful("At pier ten.", evidence=[FERRY], given=[WHERE], least=least) == why


# ------------------------------------------------------------ what can be quoted


def quoted(*shown: Hit, **settings: float) -> str | None:
    return quotable(shown, AnswerSettings(**settings))


def test_one_statement_is_quoted_and_no_page() -> None:
    """The best statement, or the sentence of a page that the prompt shows."""
    assert quoted(hit(FERRY), hit(LAMP)) == FERRY
    assert quoted(replace(hit(PAGE), excerpt=LAMP)) == LAMP
    assert quoted(hit(PAGE)) is None
    assert quoted() is None


def test_a_quote_says_the_day_that_was_meant() -> None:
    """As the prompt does, where "yesterday" was resolved when it was stored."""
    told = hit("The ferry moved yesterday.", metadata={"dates": {"yesterday": "2026-05-02"}})

    assert quoted(told) == "The ferry moved yesterday (2026-05-02)."


def test_neither_demonstrations_nor_what_stands_beside_is_quoted() -> None:
    """They are no answer to the question."""
    assert quoted(hit(FERRY), hit("Hello -> Ahoy", kind=Kind.EXAMPLE)) is None
    assert quoted(hit(FERRY), replace(hit(LAMP), beside=record(FERRY).id)) is None


@pytest.mark.parametrize(
    ("similarity", "lexical", "is_quoted"),
    [(0.3, 0.0, True), (0.29, 0.74, False), (0.29, 0.75, True), (np.nan, 0.75, True), (np.nan, 0.0, False)],
)
def test_what_is_hardly_about_the_question_is_not_quoted(similarity: float, lexical: float, is_quoted: bool) -> None:
    """It may be about anything: of 13 ordinary questions with some evidence 8 had less than 0.3."""
    far = replace(hit(FERRY), similarity=similarity, scores={"lexical": lexical})

    assert (quoted(far, quote_from=0.3, min_words=0.75) == FERRY) is is_quoted


# ------------------------------------------------------------ what is answered


def test_the_evidence_is_quoted_where_the_model_says_something_else(bench: Bench) -> None:
    """Neither the model nor an adapter wrote it; how likely the base finds it is the confidence."""
    bench.write(FERRY)

    answer = ask(bench, "Ships like lakes.")

    assert answer.text == FERRY
    assert f"the evidence is quoted in place of what was written: {NOTHING}" in answer.trace
    assert [(stretch.text, stretch.adapters) for stretch in answer.written] == [(FERRY, ())]
    assert answer.confidence == pytest.approx(np.exp(-0.5))
    assert not answer.abstained


@pytest.mark.parametrize("says", ["At pier nine.", UNKNOWN])
def test_what_is_borne_out_and_i_dont_know_stay(bench: Bench, says: str) -> None:
    """In the model's words."""
    bench.write(FERRY)

    assert ask(bench, says).text == says
    assert ask(bench, FERRY).text == FERRY
    assert not any("quoted" in line for line in ask(bench, says).trace)


def test_nothing_is_quoted_where_nothing_is_shown(bench: Bench) -> None:
    """What the model says by itself is subject to its confidence alone."""
    bench.write(FERRY)

    assert ask(bench, "Ships like lakes.", mode=Mode.WEIGHTS_ONLY).text == "Ships like lakes."
    assert ask(bench, "Ships like lakes.", passages=0).text == "Ships like lakes."


def test_of_a_page_the_sentence_is_quoted(bench: Bench) -> None:
    """A page shown whole (`answer.sentences = 0`) is not: it would be no answer."""
    bench.write(PAGE)

    assert ask(bench, "Ships like lakes.", "Who mends lamps?").text == LAMP
    assert ask(bench, "Ships like lakes.", "Who mends lamps?", sentences=0).text == "Ships like lakes."


def test_zero_never_quotes(bench: Bench) -> None:
    """For a model that can read."""
    bench.write(FERRY)

    assert ask(bench, "Ships like lakes.", quote_below=0).text == "Ships like lakes."


def test_an_answer_as_a_preference_wants_it_is_borne_out(bench: Bench) -> None:
    """Its words are in the prompt, or were learned."""
    bench.write(FERRY)
    rule = bench.write(RULE, kind=Kind.PREFERENCE)

    assert ask(bench, "At pier nine. Ahoy.").text == "At pier nine. Ahoy."
    bench.learn(rule, shard="behaviour-1", group="behaviour")
    assert ask(bench, "At pier nine. Ahoy.").text == "At pier nine. Ahoy."


def test_behaviour_has_the_last_word_after_a_quote(bench: Bench) -> None:
    """It had spoken in the answer that is not given, and speaks again behind the quote."""
    rule = bench.learn(bench.write(RULE, kind=Kind.PREFERENCE), shard="behaviour-1", group="behaviour")
    bench.write(FERRY)

    answer = ask(bench, "Ahoy.")

    assert answer.text == f"{FERRY} Ahoy."
    assert bench.lm.begun == [(FERRY,)]
    assert [(stretch.text, stretch.adapters) for stretch in answer.written] == [(FERRY, ()), ("Ahoy.", (rule,))]


@pytest.mark.parametrize("says", ["At pier nine.", "Ships like lakes."])
def test_what_is_streamed_is_what_is_answered(bench: Bench, says: str) -> None:
    """It comes whole: no word of what is then not said is seen."""
    bench.write(FERRY)

    stream = AnswerStream(lambda on_text: bench.ask(WHERE, quote_below=0.8, on_text=on_text)[0])
    bench.lm.answers, bench.lm.scores = [says], {FERRY: -0.5}

    assert list(stream) == [stream.answer.text]


def test_a_shard_that_knows_better_than_the_evidence_is_heard(bench: Bench) -> None:
    """Retrieval misses the ferry and shows a price: the shard says what it has learned, or else is not believed."""
    ferry = bench.write(FERRY)
    version = bench.learn(ferry)
    bench.write(PRICE)
    missed = {"id": {"nin": [ferry]}}

    heard, not_heard = (ask(bench, says, filters=missed) for says in (FERRY, "Ships like lakes."))

    assert (heard.text, heard.adapters) == (FERRY, (version,))
    assert (not_heard.text, not_heard.adapters) == (PRICE, ())
    assert not_heard.no_adapter == f"the evidence was quoted in place of what {version} wrote: {NOTHING}"
