"""Excerpts: of a long passage the model reads what is nearest to the question."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from records import record
from tiny_flow import open_memory

from hybrid_memory import Fact
from hybrid_memory.answering.attribution import as_hit
from hybrid_memory.answering.excerpts import excerpted
from hybrid_memory.answering.prompting import prompt
from hybrid_memory.testing import TableEncoder, WordEncoder
from hybrid_memory.types import Example, FloatArray, Hit, Kind

FERRY, LAMP, VEST = "The ferry waits at pier nine.", "Team Blue mends old lamps.", "Drivers wear the orange vest."
PAGE = f"Harbour book\n\n{FERRY} {LAMP}\n{VEST}"
DEGREES = {FERRY: 0, LAMP: 60, VEST: 90, "Harbour book": 180}


def turned(degrees: float) -> FloatArray:
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], dtype=np.float32)


ENCODER = TableEncoder({text: turned(degrees) for text, degrees in DEGREES.items()})


def shown(question: str, degrees: float, text: str, *, sentences: int) -> str | None:
    (hit,) = excerpted(question, turned(degrees), [found(text)], encoder=ENCODER, sentences=sentences)
    return hit.excerpt


def found(text: str) -> Hit:
    return as_hit(record(text=text))


def test_the_nearest_sentence_stands_for_the_passage() -> None:
    """80 degrees are 10 from the vest and 20 from the lamp; 65 are 5 from the lamp. No word in common."""
    assert shown("Who repairs lights?", 80, PAGE, sentences=1) == VEST
    assert shown("Who repairs lights?", 65, PAGE, sentences=1) == LAMP


def test_sentences_stand_in_the_order_of_the_passage() -> None:
    """The two nearest are the vest (1.00) and the lamp (0.87)."""
    assert shown("What do they put on?", 90, PAGE, sentences=2) == f"{LAMP} {VEST}"


def test_a_sentence_that_says_it_is_shown_with_what_it_is_about() -> None:
    """By itself "it opens at ten" would be read of anything; behind the sentence before it nothing is said twice."""
    first, second, third = "The mill is old.", "The mill: It opens at ten.", "The mill: Its roof leaks."
    encoder = TableEncoder({first: turned(0), second: turned(60), third: turned(90)})
    page = [found("The mill is old. It opens at ten. Its roof leaks.")]

    (one,) = excerpted("When?", turned(60), page, encoder=encoder, sentences=1)
    (two,) = excerpted("When?", turned(75), page, encoder=encoder, sentences=2)

    assert one.excerpt == "The mill: It opens at ten."
    assert two.excerpt == "The mill: It opens at ten. Its roof leaks."


def test_words_of_the_question_count_half_a_cosine() -> None:
    """75 degrees: lamp and vest both 15 away. Two of three stems are the lamp's: 0.97 + 0.5 * 2 / 3 against 0.97."""
    assert shown("Who mended the old clock?", 75, PAGE, sentences=1) == LAMP
    # 30 degrees further the vest leads by 0.97 - 0.71 = 0.26, which a third more of the words would not make up for
    assert shown("Who mended the new clock?", 105, PAGE, sentences=1) == VEST


def test_short_passages_and_examples_are_shown_whole() -> None:
    """Nothing is encoded for them: the encoder knows no such text and would fail."""
    example = as_hit(record(text="One. Two is here. Three is here.", kind=Kind.EXAMPLE, examples=(Example("a", "b"),)))

    assert shown("Where?", 0, "Nobody encoded this sentence.", sentences=1) is None
    assert excerpted("Where?", turned(0), [example], encoder=ENCODER, sentences=1) == (example,)
    assert shown("Where?", 0, PAGE, sentences=0) is None


def test_the_prompt_shows_the_excerpt_with_the_days_that_were_resolved() -> None:
    """Dates that belong to words outside the excerpt are of no account."""
    dated = record(text=f"{FERRY} The boat left yesterday.", metadata={"dates": {"yesterday": "2026-03-01"}})
    (hit,) = excerpted("When?", turned(0), [as_hit(dated)], encoder=TableEncoder({
        FERRY: turned(90), "The boat left yesterday.": turned(0)}), sentences=1)  # fmt: skip

    (turn,) = prompt("When?", [hit], (), dated="never")

    assert "Fact: The boat left yesterday (2026-03-01).\n" in turn.content
    assert FERRY not in turn.content


def test_a_page_is_found_by_its_sentence_and_forgotten_with_it(tmp_path: Path) -> None:
    """It comes once, as a whole, as near as its nearest sentence; nothing is found of it when it is forgotten."""
    text, question = f"{FERRY} {LAMP} {VEST}", "Who mends old lamps?"
    whole, lamp, asked = WordEncoder().encode([text, LAMP, question])
    mixed = 0.7 * whole + 0.3 * lamp
    with open_memory(tmp_path / "memory") as memory:
        page = memory.ingest(text, route="retrieve", trust="operator").record_id

        hits = memory.search(question)
        by_words = memory.search("Nobody knows vest.", explain=True)
        memory.forget(page, weights="now")

        assert [(hit.id, hit.passage.text) for hit in hits] == [(page, text)]
        assert hits[0].similarity == pytest.approx(float(mixed @ asked / np.linalg.norm(mixed)), abs=1e-5)
        assert hits[0].similarity > float(whole @ asked) + 0.01
        assert [set(hit.scores) for hit in by_words] == [{"dense", "lexical"}]
        assert memory.search(question) == []
        assert memory.doctor()["problems"] == []


def test_only_texts_of_several_sentences_are_found_by_them(tmp_path: Path) -> None:
    """An example is found by its input and a fact by its sentence, as they stand; nor are sentences made if told so."""
    inputs = {
        "two": f"{FERRY} {LAMP}",
        "one": FERRY,
        "example": Example("It broke. It is wet.", "Go to desk four. Ask there."),
        "fact": Fact("day ticket", "price", "4. Or five for two days."),
    }

    def rows(name: str, **settings: object) -> list[str]:
        with open_memory(tmp_path / f"{name}{len(settings)}", **settings) as memory:
            memory.ingest(inputs[name], route="retrieve")
            return memory._ledger.texts_after(0, limit=9)[1]

    assert rows("two") == [f"{FERRY} {LAMP}", FERRY, LAMP]
    assert rows("two", ingest={"sentences": False}) == [f"{FERRY} {LAMP}"]
    assert rows("one") == [FERRY]
    assert rows("example") == ["It broke. It is wet."]
    assert len(rows("fact")) == 1


def test_as_many_pages_are_weighed_as_without_sentences(tmp_path: Path) -> None:
    """A page with the question's words in all of its sentences would else fill the places of four."""
    pages = [f"Lamp {name} hangs in a hall. Lamp {name} burns on oil. Lamp {name} is old." for name in "ABCDEF"]
    settings = {"retrieval": {"candidates": 4, "lexical_weight": 0.0}}
    with open_memory(tmp_path / "memory", **settings) as memory:
        memory.ingest_many(pages, route="retrieve")

        assert len(memory.search("Lamp B hangs burns is old", top_k=4)) == 4


def test_another_encoder_finds_pages_by_their_sentences_too(tmp_path: Path) -> None:
    """A reindex embeds sentences alone, and mixes them with their text as ingest does."""
    text, question = f"{FERRY} {LAMP} {VEST}", "Who mends old lamps?"
    with open_memory(tmp_path / "memory") as memory:
        memory.ingest(text, route="retrieve")
        before = memory.search(question)[0].similarity

        memory.reindex()

        assert memory.search(question)[0].similarity == pytest.approx(before, abs=1e-6)
        assert memory.doctor()["problems"] == []
