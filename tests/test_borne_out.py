"""Which sentences a turn bears out: its own words, in their order, and nothing else."""

from __future__ import annotations

import pytest

from hybrid_memory.ingest.borne_out import Said

MARCH = {"last month": "March 2026 2026-03-01/2026-03-31 2026-03", "tomorrow": "4 April 2026"}


def reason(text: str, sentence: str, *, asked: str = "", name: str = "Ida Holm") -> str:
    return Said(text, asked=asked, name=name, dates=MARCH).verdict(sentence).reason


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("I'm allergic to nuts", "Ida Holm is allergic to nuts."),
        ("Hi! My sister Anna is a nurse.", "Ida Holm's sister Anna is a nurse."),
        ("Last month I moved to Oslo", "Ida moved to Oslo in March 2026."),
        ("So I moved to Oslo last month", "Ida lives in Oslo since March 2026."),
        ("I don't eat fish", "Ida does not eat fish."),
        ("I have no car", "Ida doesn't have a car."),
        ("I work at Nordic for another year", "Ida works at Nordic."),
        ("The Basic plan is 5 EUR and the Pro plan is 9 EUR", "The Pro plan is 9 EUR."),
        ("I'm a nurse and I've a dog called Pelle", "Ida has a dog called Pelle."),
        ("Anna loves me", "Anna loves Ida Holm."),
        ("If it rains, I stay in Oslo", "If it rains, Ida stays in Oslo."),
        ("Do you know Anna? I live in Oslo", "Ida lives in Oslo."),
        ("I live in Oslo, but I work in Bergen", "Ida works in Bergen."),
        ("I have to quit smoking", "Ida has to quit smoking."),
        ("I've moved to Oslo", "Ida moved to Oslo."),
        ("I didn't eat fish", "Ida did not eat fish."),
        ("Anna is my mother", "Anna is Ida Holm's mother."),
        ("Anna and I moved to Oslo", "Ida and Anna moved to Oslo."),
        ("There is a nurse in Oslo", "There is a nurse in Oslo."),
    ],
)
def test_a_sentence_in_the_words_of_the_turn_is_borne_out(text: str, sentence: str) -> None:
    """Who "I" is, the form of a verb and a date that is written out may differ, and an unlimited end may be missing."""
    assert reason(text, sentence) == ""


@pytest.mark.parametrize(
    ("text", "sentence", "why"),
    [
        ("I'm a nurse.", "Ida is a nurse in Oslo.", "it says what was not said there"),
        ("I'm a nurse.", "Ida plays the harp.", "it says what was not said there"),
        ("The Pro plan costs 59 EUR", "The Pro plan costs 95 EUR.", "it has a number that was not said"),
        ("I don't eat fish", "Ida eats fish.", "it loses a negation"),
        ("I don't eat fish on Sundays", "Ida does not eat fish.", "it leaves out what limits the sentence"),
        ("I like Bergen, not Oslo", "Ida likes Bergen.", "it leaves out what limits the sentence"),
        ("I live in Oslo, I guess", "Ida lives in Oslo.", "it leaves out what limits the sentence"),
        ("I like fish", "Ida does not like fish.", "it says what was not said there"),
        ("I moved last month, my party is tomorrow", "Ida moved on 4 April 2026.", "it has a number that was not said"),
        ("I moved last month, my party is tomorrow", "Ida moved tomorrow.", "its date belongs to something else"),
        ("I moved last month", "Ida moved in April 2026.", "it says what was not said there"),
        ("Fine, thanks.", "Ida Holm.", "it states nothing"),
        ("I have to quit smoking", "Ida quits smoking.", "it says what was not said there"),
        ("In my dreams, I own a boat", "Ida owns a boat.", "it says what was not said there"),
        ("I work with Anna", "Ida works for Anna.", "it says what was not said there"),
        ("I eat anything but fish", "Ida eats anything.", "it leaves out what limits the sentence"),
        ("I didn't eat fish", "Ida does not eat fish.", "it is said of another time"),
        ("I did smoke", "Ida smokes.", "it is said of another time"),
        ("I earn 5 million", "Ida earns 5.", "it leaves out a number, or what the number counts"),
        ("I paid a rent of 500 EUR", "Ida paid a rent.", "it leaves out a number, or what the number counts"),
    ],
)
def test_what_was_not_said_is_not_borne_out(text: str, sentence: str, why: str) -> None:
    """Inventions, changed numbers, lost negations and lost conditions."""
    assert reason(text, sentence) == why


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("My sister moved to Oslo", "Ida moved to Oslo."),
        ("Anna moved to Oslo", "Ida moved to Oslo."),
        ("She moved to Oslo", "Ida moved to Oslo."),
        ("In March Anna moved to Oslo", "Ida moved to Oslo in March."),
        ("Anna said, I moved to Oslo", "Ida moved to Oslo."),
        ("I gave Anna the car", "Anna gave Ida the car."),
        ("I moved from Oslo to Bergen", "Ida lives in Oslo."),
        ("The Basic plan is 5 EUR and the Pro plan is 9 EUR", "The Pro plan is 5 EUR."),
        ("I was a nurse", "Ida is a nurse."),
        ("I will move to Oslo", "Ida moved to Oslo."),
        ("That is my doctor", "Ida is a doctor."),
        ("There is a nurse in Oslo", "Ida is a nurse in Oslo."),
        ("My doctor smokes", "Ida, a doctor, smokes."),
        ("I have a doctor in Oslo", "Ida is a doctor in Oslo."),
        ("Anna is my mother", "Ida is Anna's mother."),
        ("Anna moved to Oslo", "Ida and Anna moved to Oslo."),
        ("Anna moved to Oslo", "Anna and Ida moved to Oslo."),
    ],
)
def test_nobodys_deed_becomes_another_s(text: str, sentence: str) -> None:
    """All words are there, and still it is not what was said: another did it, or elsewhere, or at another time."""
    assert reason(text, sentence) != ""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Am I allergic to nuts?", "Ida is allergic to nuts."),
        ("Is Anna a nurse", "Anna is a nurse."),
        ("I live in Oslo. And my sister moved to Bergen?", "Ida's sister moved to Bergen."),
        ("Please find a nurse in Oslo", "Ida finds a nurse in Oslo."),
    ],
)
def test_what_a_turn_asks_it_does_not_say(text: str, sentence: str) -> None:
    """Whoever asks whether it is so, with or without a question mark, does not state it."""
    assert reason(text, sentence) == "it says what was not said there"


@pytest.mark.parametrize(
    ("asked", "text", "sentence"),
    [
        ("Nice. Did you end up in Oslo?", "yeah, moved there last month!", "Ida lives in Oslo since March 2026."),
        ("Where do you live?", "In Oslo.", "Ida lives in Oslo."),
        ("Where does your sister live?", "In Oslo.", "Ida's sister lives in Oslo."),
        ("Do you eat meat?", "No.", "Ida does not eat meat."),
        ("Do you live in Oslo?", "Yes!", "Ida lives in Oslo."),
        ("Do you live in Oslo?", "No, I live in Bergen", "Ida lives in Bergen."),
    ],
)
def test_an_answer_may_borrow_from_its_question(asked: str, text: str, sentence: str) -> None:
    """What "there", "yes" and a bare name mean stands in the question before."""
    assert reason(text, sentence, asked=asked) == ""


@pytest.mark.parametrize(
    ("asked", "text", "sentence"),
    [
        ("You are a vegetarian, right? Where do you live?", "In Oslo.", "Ida is a vegetarian in Oslo."),
        ("So you live in Bergen?", "Haha, what's up", "Ida lives in Bergen."),
        ("So you live in Bergen.", "Yes.", "Ida lives in Bergen."),
        ("Do you live in Oslo?", "No.", "Ida lives in Oslo."),
        ("Do you live in Oslo?", "No, I live in Bergen", "Ida lives in Oslo."),
        ("Does your sister live in Oslo?", "Yes.", "Ida lives in Oslo."),
        ("Where does your sister live?", "In Oslo.", "Ida lives in Oslo."),
        ("You don't eat fish?", "Yes.", "Ida does not eat fish."),
        ("Where would you like to live?", "Oslo, definitely", "Ida lives in Oslo."),
        ("Do you only eat fish?", "No.", "Ida does not eat."),
        ("Did you eat fish?", "No.", "Ida does not eat fish."),
    ],
)
def test_a_guess_of_the_other_side_is_no_statement_of_the_speaker(asked: str, text: str, sentence: str) -> None:
    """A question lends its words to an answer only where it was about the speaker, and the answer affirms it."""
    assert reason(text, sentence, asked=asked) != ""


def test_a_sentence_is_whole_when_nothing_of_the_turn_is_left() -> None:
    """Only then may a slot retire the record by it."""
    said = Said("I live in Oslo with my dog Pelle", asked="", name="the user", dates={})

    assert said.verdict("The user lives in Oslo.") == ("", False, 2)
    assert said.verdict("The user lives in Oslo with a dog Pelle.") == ("", True, 5)


def test_another_language_is_not_borne_out_where_its_grammar_changes() -> None:
    """ "ich bin" becomes "sie ist", which the word lists do not know: the turn stays as it was said."""
    assert reason("Ich bin nach Oslo gezogen", "Ida Holm ist nach Oslo gezogen.") != ""
