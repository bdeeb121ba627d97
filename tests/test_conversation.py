"""Reading chat messages: what is kept, from whom, and when it was said."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hybrid_memory.errors import InputError
from hybrid_memory.ingest.reader import Reader
from hybrid_memory.types import Draft, Scope, Slot, Trust, Turn


def read(messages: list[object], **arguments: object) -> list[Draft]:
    return Reader(chunk_tokens=60, max_chars=5000).read(messages, scope=Scope(user_id="ann"), **arguments)  # type: ignore[arg-type]


def user(content: object, **more: object) -> dict[str, object]:
    return {"role": "user", "content": content, **more}


def assistant(content: object, **more: object) -> dict[str, object]:
    return {"role": "assistant", "content": content, **more}


def test_user_turns_and_assistant_statements_are_kept() -> None:
    """A question of the assistant and small talk are not knowledge."""
    drafts = read(
        [
            {"role": "system", "content": "You are a helpful clerk."},
            user("Our hall in Bergen has two cranes."),
            assistant("How high are they?"),
            user("Nine metres."),
            assistant("Noted, thanks."),
            assistant("Cranes above eight metres need a yearly check."),
            {"role": "tool", "content": "{}"},
        ]
    )

    assert [draft.text for draft in drafts] == [
        "Our hall in Bergen has two cranes.",
        "Nine metres.",
        "Cranes above eight metres need a yearly check.",
    ]


def test_what_an_assistant_wrote_is_external_knowledge() -> None:
    """Nobody has confirmed what a model said."""
    drafts = read([user("The hall has two cranes."), assistant("Such cranes need a yearly check.")])

    assert [draft.trust for draft in drafts] == [Trust.USER, Trust.EXTERNAL]


def test_the_caller_can_vouch_for_a_conversation() -> None:
    """An explicit trust holds for every turn."""
    drafts = read([user("The hall has two cranes.")], trust="operator")

    assert drafts[0].trust is Trust.OPERATOR


def test_an_answer_is_embedded_with_its_question() -> None:
    """ "Nine metres." alone is found by nobody."""
    (answer,) = read([assistant("How high are the cranes?"), user("Nine metres.")])

    assert answer.text == "Nine metres."
    assert answer.passages == ("How high are the cranes?\nNine metres.",)
    assert answer.asked == "How high are the cranes?"


def test_what_an_assistant_states_says_the_same_after_every_question() -> None:
    """Otherwise a memory would fill with what it has just told."""
    (asked, told) = read([user("How high are the cranes?"), assistant("The cranes are nine metres high.")])

    assert (asked.asked, told.asked) == (None, None)


def test_a_question_of_the_same_side_is_not_joined() -> None:
    """Two turns of one speaker are no question and answer."""
    drafts = read([user("Which hall is it?"), user("The door is green.")])

    assert drafts[1].passages == ("The door is green.",)


def test_a_question_is_forgotten_after_one_answer() -> None:
    """The second turn is no answer to it."""
    drafts = read([assistant("How high are the cranes?"), user("Nine metres."), user("The door is green.")])

    assert drafts[1].passages == ("The door is green.",)


def test_a_turn_carries_role_number_and_name() -> None:
    """A named speaker is part of the text, so that it can be understood alone."""
    (draft,) = read([user("I repaired the crane.", name="Dana")])

    assert draft.text == "Dana: I repaired the crane."
    assert draft.metadata == {"role": "user", "turn": 0, "name": "Dana"}
    assert draft.source == "conversation"
    assert draft.kind is None


@pytest.mark.parametrize(
    "time",
    [
        {"timestamp": "2026-05-03T12:00:00Z"},
        {"created_at": "2026-05-03T14:00:00+02:00"},
        {"timestamp": 1777809600},
        {"timestamp": datetime(2026, 5, 3, 12, tzinfo=UTC)},
    ],
)
def test_a_turn_was_observed_when_it_was_said(time: dict[str, object]) -> None:
    """ISO 8601, Unix seconds or a datetime."""
    (draft,) = read([user("I repaired the crane.", **time)])

    assert draft.observed_at == datetime(2026, 5, 3, 12, tzinfo=UTC)
    assert draft.valid_from == draft.observed_at


def test_a_time_of_the_call_wins_over_the_messages() -> None:
    """What the caller says explicitly holds."""
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)

    assert read([user("A crane.", timestamp="2026-05-03T12:00:00Z")], observed_at=noon)[0].observed_at == noon


def test_a_turn_without_a_zone_is_refused() -> None:
    """The message has its number."""
    with pytest.raises(InputError, match="the time of message 0 2026-05-03T12:00:00 has no time zone"):
        read([user("A crane.", timestamp="2026-05-03T12:00:00")])


def test_turn_values_are_messages() -> None:
    """The same as dicts."""
    assert read([Turn("user", "The hall has two cranes.")])[0].text == "The hall has two cranes."


def test_of_content_parts_the_text_is_read() -> None:
    """Pictures and empty tool calls have none."""
    parts = [{"type": "text", "text": "The hall has two cranes."}, {"type": "image_url", "image_url": {"url": "x"}}]

    drafts = read([assistant(None, tool_calls=[]), user(parts)])

    assert [draft.text for draft in drafts] == ["The hall has two cranes."]


@pytest.mark.parametrize("blank", ["", " \n", "\u200b", "\ufeff \u2060", "\x00"])
def test_a_message_in_which_nothing_can_be_seen_is_passed_over(blank: str) -> None:
    """The rest of the conversation is kept, each turn with its own number."""
    drafts = read([user("The hall has two cranes."), user(blank), assistant(blank), user("One is nine metres high.")])

    assert [draft.metadata["turn"] for draft in drafts] == [0, 3]


def test_a_question_is_remembered_over_a_blank_message() -> None:
    """A tool call between question and answer does not part them."""
    drafts = read([assistant("Where is the hall?"), assistant("\u200b"), user("In Bergen.")])

    assert [draft.passages for draft in drafts] == [("Where is the hall?\nIn Bergen.",)]


def test_a_long_turn_becomes_parts() -> None:
    """Each part says which it is."""
    drafts = read([user("The crane in hall two was repaired again. " * 15)])

    assert [draft.metadata["part"] for draft in drafts] == list(range(1, len(drafts) + 1))
    assert len(drafts) > 1


def test_a_user_turn_that_states_a_value_fills_a_slot() -> None:
    """An assistant's does not: a model must not replace what a person said."""
    drafts = read([user("The Pro plan costs 49 EUR."), assistant("The Pro plan costs 1 EUR.")])

    assert [draft.slot for draft in drafts] == [Slot("Pro plan", "price"), None]


def test_my_of_a_named_speaker_is_not_the_users() -> None:
    """In a conversation of several people "my" belongs to whoever speaks."""
    (draft,) = read([user("My email is dana@example.org.", name="Dana")])

    assert draft.slot is None


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "nothing to remember"),
        ([assistant("How are you?")], "nothing to remember"),
        ([user("\u200b"), user("")], "nothing to remember"),
        (["just text"], r"message 0 is 'just text'.*use ingest_many"),
        ([user("Fine."), {"role": "user"}], "message 1 is"),
        ([{"role": "boss", "content": "x"}], "message 0 has role 'boss'; known are user, assistant"),
        ([user(5)], "message 0 has content 5"),
    ],
)
def test_a_list_that_is_no_conversation_is_refused(messages: list[object], message: str) -> None:
    """With the number of the message and what is accepted."""
    with pytest.raises(InputError, match=message):
        read(messages)
