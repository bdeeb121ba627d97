"""Relative dates mean a day, counted from when they were said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from records import record

from hybrid_memory.answering.prompting import prompt
from hybrid_memory.ingest.dates import resolve, spelled
from hybrid_memory.ingest.reader import Reader
from hybrid_memory.types import Draft, Example, Hit, Kind, Passage, Preference, Scope

WEDNESDAY = datetime(2026, 5, 6, 14, tzinfo=UTC)


def test_a_day_that_no_calendar_has_is_left_out() -> None:
    """Before the year 1, or after 9999; what else is said of time is kept."""
    last = datetime(9999, 12, 31, tzinfo=UTC)
    assert resolve("We are leaving tomorrow, in 999 years or today.", last) == {"today": "9999-12-31"}
    assert resolve("They came 999 years ago.", datetime(500, 1, 1, tzinfo=UTC)) == {}
    assert spelled({"this year": "9999-01-01/9999-12-31"}) == "(this year: 9999)"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("yesterday", "2026-05-05"),
        ("tomorrow", "2026-05-07"),
        ("the day before yesterday", "2026-05-04"),
        ("the day after tomorrow", "2026-05-08"),
        ("last night", "2026-05-05"),
        ("this morning", "2026-05-06"),
        ("last friday", "2026-05-01"),
        ("next friday", "2026-05-08"),
        ("this friday", "2026-05-08"),
        ("last wednesday", "2026-04-29"),
        ("next wednesday", "2026-05-13"),
        ("this wednesday", "2026-05-06"),
        ("last week", "2026-04-27/2026-05-03"),
        ("next week", "2026-05-11/2026-05-17"),
        ("last weekend", "2026-05-02/2026-05-03"),
        ("this weekend", "2026-05-09/2026-05-10"),
        ("last month", "2026-04-01/2026-04-30"),
        ("next year", "2027-01-01/2027-12-31"),
        ("three days ago", "2026-05-03"),
        ("a week ago", "2026-04-29"),
        ("2 weeks ago", "2026-04-22"),
        ("two months ago", "2026-03-01/2026-03-31"),
        ("a couple of days ago", "2026-05-04"),
        ("in 10 days", "2026-05-16"),
        ("in two years", "2028-01-01/2028-12-31"),
    ],
)
def test_an_expression_means_a_day_or_a_span(said: str, meant: str) -> None:
    """Said on Wednesday, 6 May 2026; worked out on a calendar."""
    assert resolve(f"We will talk about it {said}, perhaps.", WEDNESDAY) == {said: meant}


@pytest.mark.parametrize(
    "text",
    [
        "We meet on Friday.",
        "It may rain in a second.",
        "We meet every next week.",
        "He lives in one week's distance.",
        "Finished by tomorrow.",
        "The last weekday counts.",
        "In May we sat in Rome.",
        "",
    ],
)
def test_what_has_no_direction_or_names_no_day_is_left_alone(text: str) -> None:
    """No date is better than a wrong one."""
    assert resolve(text, WEDNESDAY) == {}


@pytest.mark.parametrize(
    "text",
    [
        "We're moving to Leeds in two weeks.",
        "I'll call you in two weeks.",
        "The exam is in two weeks.",
        "The rent is due in two weeks.",
        "See you in two weeks!",
        "She said no. In two weeks we ask again.",
        "In two weeks, my sister moves out.",
    ],
)
def test_what_is_ahead_counts_from_today(text: str) -> None:
    """A fortnight after Wednesday, 6 May 2026."""
    assert list(resolve(text, WEDNESDAY).values()) == ["2026-05-20"]


@pytest.mark.parametrize(
    "text",
    [
        "Invoices are due in 14 days.",
        "Refunds will be issued in 14 days.",
        "Two withdrawals in a month are free.",
        "In a month you may withdraw twice.",
        "He walked to Rome in two weeks.",
        "We are closed. Orders ship in two days.",
    ],
)
def test_how_long_it_takes_is_no_date(text: str) -> None:
    """It would be another day whenever it is read."""
    assert resolve(text, WEDNESDAY) == {}


def test_the_speakers_own_date_counts() -> None:
    """Half past midnight in Tokyo is the day before in UTC; who spoke there meant Tokyo's yesterday."""
    tokyo = datetime(2026, 5, 7, 0, 30, tzinfo=timezone(timedelta(hours=9)))
    assert resolve("I left yesterday.", tokyo) == {"yesterday": "2026-05-06"}


def test_spans_cross_the_ends_of_years() -> None:
    """A week, a month and a weekday around New Year."""
    new_year = datetime(2026, 1, 1, tzinfo=UTC)  # a Thursday
    said = "It will not be last month, last week, next friday but in twelve months"
    assert resolve(said, new_year) == {
        "last month": "2025-12-01/2025-12-31",
        "last week": "2025-12-22/2025-12-28",
        "next friday": "2026-01-02",
        "in twelve months": "2027-01-01/2027-01-31",
    }


def test_dates_are_spelled_as_questions_ask_for_them() -> None:
    """A day, a month, a year, a week."""
    dates = {"yesterday": "2026-05-05", "last month": "2026-04-01/2026-04-30", "next year": "2027-01-01/2027-12-31"}
    assert spelled(dates) == "(yesterday: 5 May 2026; last month: April 2026; next year: 2027)"
    assert spelled({"last week": "2026-04-27/2026-05-03"}) == "(last week: 27 April 2026 to 3 May 2026)"


# ---------------------------------------------------------------- in what is stored


def read(x: object, **stamp: object) -> list[Draft]:
    return Reader(chunk_tokens=200, max_chars=10_000).read(x, scope=Scope(), **stamp)


def test_a_turn_keeps_its_words_and_is_found_by_its_day() -> None:
    """The text stays as it was said; the passage and the metadata have the day of the message, not of today."""
    (draft,) = read([{"role": "user", "content": "I met Ann yesterday.", "timestamp": "2023-05-08T13:56:00Z"}])

    assert draft.text == "I met Ann yesterday."
    assert draft.passages == ("I met Ann yesterday.\n(yesterday: 7 May 2023)",)
    assert draft.metadata["dates"] == {"yesterday": "2023-05-07"}


def test_the_zone_of_a_message_decides_its_day() -> None:
    """Half past midnight in Tokyo; the record's own time is UTC all the same."""
    (draft,) = read([{"role": "user", "content": "I left yesterday.", "timestamp": "2026-05-07T00:30:00+09:00"}])

    assert draft.metadata["dates"] == {"yesterday": "2026-05-06"}
    assert draft.observed_at.isoformat() == "2026-05-06T15:30:00+00:00"


def test_a_file_of_unknown_age_is_not_dated(tmp_path: Path) -> None:
    """Nobody knows which yesterday it means, unless the caller says when it was written."""
    (tmp_path / "diary.txt").write_text("I met Ann yesterday.", encoding="utf-8")

    assert "dates" not in read(tmp_path / "diary.txt")[0].metadata
    dated = read(tmp_path / "diary.txt", observed_at=WEDNESDAY)
    assert dated[0].metadata["dates"] == {"yesterday": "2026-05-05"}


def test_rules_and_examples_are_not_dated() -> None:
    """What a demonstration says about yesterday is part of the demonstration."""
    assert "dates" not in read(Example("What happened yesterday?", "Nothing."))[0].metadata
    assert "dates" not in read(Preference("Never say yesterday."))[0].metadata


def test_evidence_shows_the_day() -> None:
    """The model that answers reads the day beside the word."""
    said = record("Yesterday I met Ann.", metadata={"dates": {"yesterday": "2023-05-07"}}, kind=Kind.CONVERSATION)
    hit = Hit(record=said, passage=Passage(id=1, record_id="r", position=0, text=""), score=1.0, similarity=0.5)

    assert "Fact: Yesterday (2023-05-07) I met Ann." in prompt("When?", [hit], [], dated="never")[-1].content
