"""Which plain sentences fill a slot, and which must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_memory import Fact, HybridMemory, Settings
from hybrid_memory.build import build
from hybrid_memory.ingest.slots import SlotRules, canonical_attribute, propose_slot
from hybrid_memory.testing import WordEncoder

STATEMENTS = [
    ("The Pro plan costs 49 EUR per month.", "pro plan | price", "49 EUR per month"),
    ("The price of the Pro plan is now 59 EUR.", "pro plan | price", "59 EUR"),
    ("The Pro plan price is 59 EUR", "pro plan | price", "59 EUR"),
    ("The cost of the Pro plan has increased from 49 EUR to 59 EUR.", "pro plan | price", "59 EUR"),
    ("Update: the Pro plan's fee went up to $65/month!", "pro plan | price", "$65/month"),
    ("Our Pro plan is priced at 1,200 euros a year.", "pro plan | price", "1,200 euros a year"),
    ("Currently, shipping costs 4.90 EUR.", "shipping | price", "4.90 EUR"),
    ("The Starter plan costs 0 EUR.", "starter plan | price", "0 EUR"),
    ("The price of the Starter plan is free.", "starter plan | price", "free"),
    ("Support hours are 9-17.", "organisation | support hours", "9-17"),
    ("Our support hours are now 8 to 18 on weekdays.", "organisation | support hours", "8 to 18 on weekdays"),
    ("The opening hours of the Bergen store are 10-19.", "bergen store | opening hours", "10-19"),
    ("As of 3 May, the lead time for Kappa valves is 12 days.", "kappa valves | lead time", "12 days"),
    ("The lead time for Kappa valves is nine days as of June 2026.", "kappa valves | lead time", "nine days"),
    ("Dana Field's phone number is +47 555 01 23.", "dana field | phone number", "+47 555 01 23"),
    ("The telephone number of Dana Field is 555-0199.", "dana field | phone number", "555-0199"),
    ("My email is dana@example.org.", "user | email address", "dana@example.org"),
    ("My sister's birthday is 4 June.", "user's sister | birthday", "4 June"),
    ("The CEO of Lumen Works is Ines Holt.", "lumen works | ceo", "Ines Holt"),
    ("The capital of Norway is Oslo.", "norway | capital", "Oslo"),
    ("I live in New Harbour.", "user | home", "New Harbour"),
    ("Dana works for Lumen Works.", "dana | employer", "Lumen Works"),
    ("The deadline for the audit report is 3 May.", "audit report | deadline", "3 May"),
    ("The status of order 4411 is shipped.", "order 4411 | status", "shipped"),
    ("My favorite color is dark green.", "user | favourite colour", "dark green"),
    ("The current version of the Orbit client is 4.2.", "orbit client | version", "4.2"),
    ("The address of the Bergen store is Harbour Road 7.", "bergen store | address", "Harbour Road 7"),
]

NOT_STATEMENTS = [
    "The best way to reset a password is to call support.",
    "The price of the Pro plan is too high.",
    "The price of success is 10 years of hard work.",
    "The price of the Pro plan was 49 EUR.",
    "The price of the Pro plan will be 69 EUR.",
    "Starting 1 June, the price of the Pro plan is 69 EUR.",
    "The price of the Pro plan is 69 EUR from 1 June.",
    "The Pro plan may cost 59 EUR.",
    "The Pro plan does not cost 59 EUR.",
    "If you pay yearly, the Pro plan costs 39 EUR.",
    "Is the price of the Pro plan 59 EUR?",
    "I think the Pro plan costs 59 EUR.",
    "It costs 59 EUR.",
    "The new one costs 59 EUR.",
    "The new price is 59 EUR.",
    "This plan's price is 59 EUR.",
    "A good lawyer costs 300 EUR per hour.",
    "Smoking costs 8 million lives every year.",
    "The Pro and Team plans cost 59 EUR.",
    "The price of the Pro plan is 59 EUR, the Team plan is 99 EUR.",
    "The Pro plan costs 59 EUR. The Team plan costs 99 EUR.",
    "The Pro plan costs 59 EUR or 49 EUR for charities.",
    "Always quote the price of the Pro plan in EUR.",
    "When a customer asks, say that the Pro plan costs 59 EUR.",
    "To change your phone number, open the settings.",
    "Our support hours are generous.",
    "The weight of the evidence is on our side.",
    "The status of the project is a mess.",
    "The CEO of Lumen Works is happy.",
    "Nobody lives in the tower.",
    "Dana lives in a small house.",
    "Dana works for free.",
    "Today's price is 12 EUR.",
    "The capital of a company is its people.",
    "The cost of living is 30% higher in the city.",
    'Dana said "the Pro plan costs 59 EUR".',
    "Please remember the deadline.",
    "The response time of the team is great.",
    "She is the manager of the store.",
    "Ice melts at 0 degrees.",
]


@pytest.mark.parametrize(("text", "key", "value"), STATEMENTS, ids=[text for text, _, _ in STATEMENTS])
def test_a_plain_statement_fills_its_slot(text: str, key: str, value: str) -> None:
    """Subject and attribute are brought to one form, the value stays as written."""
    proposal = propose_slot(text)

    assert proposal is not None
    assert (proposal[0].key, proposal[1]) == (key, value)


@pytest.mark.parametrize("text", NOT_STATEMENTS, ids=NOT_STATEMENTS)
def test_what_is_no_plain_statement_fills_none(text: str) -> None:
    """Rules, opinions, conditions, questions, past and future, and subjects only the context explains."""
    assert propose_slot(text) is None


def test_an_empty_text_fills_no_slot() -> None:
    """Nothing said, nothing proposed."""
    assert propose_slot("") is None


@pytest.mark.parametrize("name", ["price", "Cost", "the fee", "FEE"])
def test_synonyms_of_an_attribute_have_one_name(name: str) -> None:
    """Otherwise a new cost would not replace an old price."""
    assert canonical_attribute(name) == "price"


def test_an_unknown_attribute_keeps_its_name() -> None:
    """Only article, underscores and case go."""
    assert canonical_attribute("The boiling_point") == "boiling point"


def test_a_declared_attribute_has_one_current_value_whatever_it_looks_like() -> None:
    """The application knows its own attributes; opinions are still kept out."""
    rules = SlotRules({"Favourite drink": "single"})

    for text in ("Ann's favourite drink is green tea.", "The favourite drink of Ann is now green tea"):
        proposal = rules.propose(text)
        assert proposal is not None
        assert (proposal[0].key, proposal[1]) == ("ann | favourite drink", "green tea")
    assert rules.propose("Ann's favourite drink is too hot.") is None
    assert propose_slot("Ann's favourite drink is green tea.") is None


def test_values_of_a_many_valued_attribute_stand_side_by_side() -> None:
    """Each has a slot of its own, so that none replaces another; the built-in table is overruled."""
    rules = SlotRules({"hobby": "many", "price": "many", "opening hours": "many"})

    assert rules.slot("Ann", "hobby", "chess").key == "ann | hobby: chess"
    assert rules.slot("Ann", "phone", "555").key == "ann | phone number"
    assert rules.propose("The price of the Pro plan is 59 EUR.") is None
    assert rules.propose("The Pro plan costs 59 EUR.") is None
    assert rules.propose("Opening hours are 9-17.") is None


def test_hobbies_add_up_and_a_declared_drink_is_replaced(tmp_path: Path) -> None:
    """Through the settings, with facts and sentences."""
    settings = Settings.load(None, ingest={"attributes": {"hobby": "many", "favourite drink": "single"}})
    with HybridMemory(build(tmp_path, settings, encoder=WordEncoder())) as memory:
        for said in (
            Fact("Ann", "hobby", "chess"),
            Fact("Ann", "hobby", "rowing"),
            Fact("Ann", "hobby", "Chess"),
            "Ann's favourite drink is green tea.",
            "Ann's favourite drink is now strong coffee.",
        ):
            memory.ingest(said)
        assert [record.value for record in memory.list()] == ["rowing", "Chess", "strong coffee"]
