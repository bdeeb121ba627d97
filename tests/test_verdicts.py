"""Verdicts on answers: what is accepted or corrected is learned, and corrections outrank the model's own words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_flow import open_memory

from hybrid_memory import Example, HybridMemory, InputError, Route, Turn
from hybrid_memory.types import Learning, Status

QUESTION = "Which tape for parcels?"
TURN = [Turn("system", "Be short."), Turn("user", QUESTION), Turn("assistant", "The green one.")]


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[HybridMemory]:
    with open_memory(tmp_path / "memory") as opened:
        yield opened


def texts(memory: HybridMemory, **scope: str) -> list[str]:
    """The responses that stand for the question."""
    return [record.examples[0].response for record in memory.list(**scope) if record.examples]


def test_an_accepted_answer_is_forgotten_with_what_it_stood_on(memory: HybridMemory) -> None:
    """And so is the answer that stood on it in turn; what stood on something else stays."""
    secret = memory.ingest("The safe opens with 4711.", user_id="ann").record_id
    first = memory.query("What opens the safe?", user_id="ann")
    assert [hit.id for hit in first.sources] == [secret]
    accepted = memory.feedback(first.id, accepted=True).record_id
    assert memory.get(accepted).metadata["answered_from"] == [secret]
    second = memory.ingest(
        Example("Safe?", "4711."), metadata={"answered_from": [accepted]}, trust="operator", user_id="ann"
    ).record_id
    other = memory.ingest(
        Example("Tape?", "Green."), metadata={"answered_from": ["another"]}, trust="operator"
    ).record_id

    receipt = memory.forget(secret)

    assert receipt.records == (secret, accepted, second)
    assert receipt.retrieval["derived"] == [accepted, second]
    assert [memory.get(str(one)).status for one in receipt.records] == [Status.FORGOTTEN] * 3
    assert [record.id for record in memory.list()] == [other]


def test_a_correction_outlives_what_the_answer_stood_on(memory: HybridMemory) -> None:
    """A person said it, not the record."""
    told = memory.ingest("The safe opens with 4711.").record_id
    answer = memory.query("What opens the safe?")
    corrected = memory.feedback(answer.id, correction="Ask the caretaker.").record_id

    assert memory.forget(told).retrieval["derived"] == []
    assert [record.id for record in memory.list()] == [corrected]


def test_an_answer_itself_can_be_judged(memory: HybridMemory) -> None:
    """As it can be explained: its id need not be taken out of it."""
    answer = memory.query(QUESTION)

    memory.feedback(answer, correction="The blue one.")

    assert texts(memory) == ["The blue one."]


def test_an_agents_finished_turn_is_learned_in_the_next_window(memory: HybridMemory) -> None:
    """The last exchange becomes an example, vouched for by the application."""
    receipt = memory.feedback(TURN, accepted=True, agent_id="packer")

    memory.consolidate()

    record = memory.get(str(receipt.record_id))
    assert (receipt.route, record.examples) == (Route.LEARN, (Example(QUESTION, "The green one."),))
    assert (record.scope.agent_id, record.learning) == ("packer", Learning.LEARNED)


def test_a_turn_can_be_corrected_at_once(memory: HybridMemory) -> None:
    """Dicts do as well as Turns; only the last exchange counts."""
    talk = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "The green one."},
    ]

    memory.feedback(talk, correction="The brown one.")

    assert texts(memory) == ["The brown one."]


def test_a_correction_takes_the_place_of_what_was_accepted(memory: HybridMemory) -> None:
    """Nothing of the model's own words is left to be trained on."""
    first = memory.feedback(TURN, accepted=True)
    memory.consolidate()

    second = memory.feedback(TURN, correction="The brown one.")
    memory.consolidate()

    assert second.superseded == (first.record_id,)
    assert memory.get(str(first.record_id)).status is Status.SUPERSEDED
    assert texts(memory) == ["The brown one."]
    (shard,) = {version.shard_id for version in memory.adapters.list()}
    serving = [version for version in memory.adapters.list() if version.status.value == "active"]
    assert [version.record_ids for version in serving if version.shard_id == shard] == [(second.record_id,)]


def test_a_correction_of_a_correction_stands(memory: HybridMemory) -> None:
    """Also when it goes back to what was said first."""
    for answer in ("The brown one.", "The blue one.", "The brown one."):
        memory.feedback(TURN, correction=answer)

    assert texts(memory) == ["The brown one."]


def test_accepting_another_answer_does_not_undo_a_correction(memory: HybridMemory) -> None:
    """It is refused with the correction in the message."""
    memory.feedback(TURN, correction="The brown one.")

    with pytest.raises(InputError, match=r"corrected to 'The brown one\.'.*give correction= to change it"):
        memory.feedback(TURN, accepted=True)

    assert texts(memory) == ["The brown one."]


def test_accepting_what_was_corrected_confirms_it(memory: HybridMemory) -> None:
    """The same example once more is a duplicate, and does no harm."""
    first = memory.feedback(TURN, correction="The green one.")

    again = memory.feedback(TURN, accepted=True)

    assert (again.duplicate, again.record_id) == (True, first.record_id)


@pytest.mark.parametrize("asked", ["which tape for  parcels", "Which tape for parcels ?", "Which tape, for parcels?!"])
def test_a_correction_holds_however_the_question_is_typed(memory: HybridMemory, asked: str) -> None:
    """Case, spaces and punctuation lead around no correction, and leave no second example beside it."""
    memory.feedback(TURN, correction="The brown one.")
    again = [Turn("user", asked), Turn("assistant", "The green one.")]

    with pytest.raises(InputError, match="corrected to 'The brown one"):
        memory.feedback(again, accepted=True)
    memory.feedback(again, correction="The blue one.")

    assert texts(memory) == ["The blue one."]


def test_accepting_a_correction_in_other_letters_leaves_it_a_correction(memory: HybridMemory) -> None:
    """What people said stays their word."""
    memory.feedback(TURN, correction="The brown one.")
    memory.feedback([Turn("user", QUESTION.lower()), Turn("assistant", "The brown one.")], accepted=True)

    with pytest.raises(InputError, match="corrected to"):
        memory.feedback(TURN, accepted=True)
    assert texts(memory) == ["The brown one."]


def test_a_verdict_does_not_reach_into_another_scope(memory: HybridMemory) -> None:
    """One agent's correction leaves the other's example as it is."""
    memory.feedback(TURN, accepted=True, agent_id="packer")
    memory.feedback(TURN, correction="The brown one.", agent_id="clerk")

    assert texts(memory, agent_id="packer") == ["The green one."]
    assert texts(memory, agent_id="clerk") == ["The brown one."]


def test_an_answer_of_the_log_is_corrected_like_a_turn(memory: HybridMemory) -> None:
    """Both ways lead to the same example, so the later correction holds."""
    answer = memory.query(QUESTION)
    memory.feedback(answer.id, correction="The brown one.")

    memory.feedback(TURN, correction="The blue one.")

    assert texts(memory) == ["The blue one."]


def test_an_answer_has_a_scope_of_its_own(memory: HybridMemory) -> None:
    """Another one is refused instead of being ignored."""
    answer = memory.query(QUESTION, user_id="ann")

    with pytest.raises(InputError, match="has a scope of its own"):
        memory.feedback(answer.id, accepted=True, user_id="bob")


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        ([], "of no message"),
        ([Turn("user", "Why?")], "got the roles user"),
        ([Turn("assistant", "So."), Turn("user", "Why?")], "ends with the assistant's answer"),
        ([Turn("assistant", "So."), Turn("assistant", "So.")], "got the roles assistant, assistant"),
        ([Turn("user", "Why?"), Turn("assistant", "  ")], "ends with the assistant's answer"),
        (["Why?"], "message 0 is 'Why\\?'"),
        ([{"role": "user", "content": 3}], "message 0 is"),
    ],
)
def test_what_is_no_finished_turn_is_refused(memory: HybridMemory, turn: Sequence[Any], message: str) -> None:
    """With what is accepted."""
    with pytest.raises(InputError, match=message):
        memory.feedback(turn, accepted=True)
