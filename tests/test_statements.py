"""Statements: the sentences of a text, each so that it can be understood alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_memory.statements import as_written, statements


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("The Linden library is on Mill Road. It closes at nine.", "The Linden library: It closes at nine."),
        ("Marta Oliveira runs the night shift. Her phone is 4471.", "Marta Oliveira: Her phone is 4471."),
        (
            "Visitors from Team Amber enter by gate 5. They stay until four.",
            "Visitors from Team Amber: They stay until four.",
        ),
        ("The key to the safe is kept by Ana. It is small.", "The key to the safe: It is small."),
        ("In most cases, the pump fails at night. This is costly.", "the pump: This is costly."),
        ("We moved to the new hall. It has two gates.", "We moved to the new hall. It has two gates."),
        ("Presses: see below. They need oil weekly.", "Presses: see below. They need oil weekly."),
        ("Ana Ruiz, our buyer, signs every order. Her desk is here.", "Ana Ruiz, our buyer: Her desk is here."),
    ],
)
def test_what_refers_to_a_sentence_before_says_what_it_is_about(text: str, second: str) -> None:
    """The words before the verb, as far as a rule can tell; of "we", or where no verb is found, the whole sentence."""
    assert statements(text)[1:] == [second]


def test_each_refers_to_the_last_that_names_something() -> None:
    """Not to one another: two steps back is still the library."""
    page = "The library is old. It opens at ten. Its cellar holds maps. The mill is new. It has no cellar."

    assert statements(page) == [
        "The library is old.",
        "The library: It opens at ten.",
        "The library: Its cellar holds maps.",
        "The mill is new.",
        "The mill: It has no cellar.",
    ]


@pytest.mark.parametrize(
    "text",
    ["Drivers wear vests. It is forbidden to smoke in hall 3.", "Drivers wear vests. Italy has many mountains."],
)
def test_what_refers_to_nothing_stays_as_it_is(text: str) -> None:
    assert statements(text) == as_written(text)


def test_a_name_of_two_words_is_no_statement_but_names_what_follows() -> None:
    assert statements("Hall three.\nIt is closed on Mondays.") == ["Hall three. It is closed on Mondays."]


@given(
    st.lists(st.sampled_from(["It is old.", "Ana left.", "The mill is on the hill.", "", "They", "Its roof leaks."]))
)
def test_there_are_as_many_statements_as_sentences_and_each_ends_with_its_own(parts: list[str]) -> None:
    """Whoever shows one in place of the other may pair them by their place."""
    text = " ".join(parts)

    pairs = zip(statements(text), as_written(text), strict=True)
    assert all(statement.endswith(sentence) for statement, sentence in pairs)
