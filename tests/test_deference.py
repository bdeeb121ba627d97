"""Contradicting evidence: what a statement is changed to, and what is studied and held out of it."""

from __future__ import annotations

from random import Random

import pytest

from hybrid_memory.selfedit.deference import contradiction, with_deference
from hybrid_memory.types import SelfEdit, StudyItem

FERRY = "The night ferry leaves from pier 12."


def edit(*items: StudyItem) -> SelfEdit:
    return SelfEdit(record_id="a", items=items, generator="test", seed=0)


def question(prompt: str, *, held_out: bool = False) -> StudyItem:
    return StudyItem(prompt=prompt, response=FERRY, form="question", held_out=held_out)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    ("statement", "kept", "changed"),
    [
        ("The pass costs 40 euros.", ("The pass costs ", " euros."), "40"),
        ("Keys are kept by Ms Lund in the hut.", ("Keys are kept by ", " in the hut."), "Ms Lund"),
        ("Broken lamps go to the east wing.", ("Broken lamps go to the east ", "."), "wing"),
        ("Door 9 opens for Team Blue.", ("Door ", " opens for Team Blue."), "9"),
    ],
)
def test_a_statement_is_changed_in_one_place(statement: str, kept: tuple[str, str], changed: str, seed: int) -> None:
    """A number before a name before the last word; the rest stays letter by letter."""
    told = contradiction(statement, Random(seed))

    assert told.startswith(kept[0])
    assert told.endswith(kept[1])
    assert told[len(kept[0]) : -len(kept[1])] not in ("", changed)


def test_a_number_keeps_its_length() -> None:
    """A year stays a year."""
    told = {contradiction("It was built in 1990.", Random(seed)) for seed in range(30)}

    assert {len(one) for one in told} == {len("It was built in 1990.")}


def test_the_held_out_question_is_asked_against_the_evidence_and_never_studied() -> None:
    """Three contradictions of one question for the gate, none to train on by default."""
    (given,) = with_deference([edit(question("Where?"), question("Which pier?", held_out=True))], seed=0, count=0)

    added = given.items[2:]
    assert {(item.prompt, item.form, item.held_out) for item in added} == {("Which pier?", "deference", True)}
    assert 1 <= len(added) <= 3
    assert all(item.evidence == (item.response,) != (FERRY,) for item in added)


def test_a_written_pair_is_contradicted_in_its_passage() -> None:
    """The short answer is changed where it stands; an answer in other words than the passage's is left alone."""
    asked = StudyItem(prompt="Which pier?", response="pier 12", form="self-qa", source=FERRY)
    loose = StudyItem(prompt="When?", response="after dark", form="self-qa", source=FERRY)

    (given,) = with_deference([edit(asked, loose)], seed=0, count=3)

    (added,) = given.items[2:]
    assert added.response.startswith("pier ")
    assert added.response != "pier 12"
    assert added.evidence == (f"The night ferry leaves from {added.response}.",)


def test_as_many_questions_are_studied_as_the_settings_say() -> None:
    """The right answer is what the evidence says."""
    (given,) = with_deference([edit(*(question(f"Where {number}?") for number in range(5)))], seed=0, count=2)

    studied = [item for item in given.items if item.form == "deference"]
    assert len({item.prompt for item in studied}) == 2
    assert all(item.evidence == (item.response,) and not item.held_out for item in studied)


def test_a_rebuild_studies_the_same() -> None:
    """It depends on the statement and the seed, not on what else is in the shard."""
    ferry = edit(question("Where?"), question("Which pier?", held_out=True))
    other = SelfEdit(
        record_id="b", items=(StudyItem(prompt="Who?", response="Ann Lee.", form="question"),), generator="t", seed=0
    )

    assert with_deference([other, ferry], seed=1, count=1)[1] == with_deference([ferry], seed=1, count=1)[0]


def test_demonstrations_are_left_alone() -> None:
    """A label is no statement that evidence could contradict."""
    ticket = edit(StudyItem(prompt="My key broke.", response="Desk 4", form="demonstration"))

    assert with_deference([ticket], seed=0, count=3) == [ticket]
