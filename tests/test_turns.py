"""Which turns of a chat state nothing: they are dropped, and what carries a fact or a wish is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_memory.routing.turns import states_nothing
from hybrid_memory.testing import open_tiny_memory
from hybrid_memory.types import Route, Turn

ASKING = [
    "What time is it?",
    "what time is it",
    "Hi! What time is it?",
    "ok, and where is that?",
    "Where do visitors sign?",
    "What does a day ticket cost?",
    "How much is it?",
    "What is my name?",
    "who's our landlord?",
    "For whom is the letter?",
    "Is the gate open?",
    "Does the ferry run on Sundays?",
    "Can I bring a dog?",
    "Can you help me?",
    "Could you tell me when the ferry leaves?",
    "Do you know what a sextant is?",
    "Where is the pier? And when does it open?",
    "what does a ticket cost",
]
TELLING = [
    "Did you know that the gate is blue?",
    "Did you know the gate is blue?",
    "Do you remember that I am allergic to nuts?",
    "Why is my order still not here?",
    "Why did Anna leave Bergen?",
    "Isn't the ferry at nine?",
    "The gate is blue, right?",
    "Is it the blue one, Anna?",
    "Is the gate code 4417?",
    "When does our new school open?",
    "What should I wear to my sister Mia's wedding?",
    "What can I eat since I'm allergic to nuts?",
    "What do I do if the pump fails?",
    "Where do I go now?",
    "Could you answer in German?",
    "Would you call me Max?",
    "Can you keep it short?",
    "I moved to Oslo. Where do you live?",
    "What a day. I passed the exam",
    "What is done is done",
    "What matters to me is honesty",
    "When I was young I lived in Bergen",
    "How I met Anna is a long story.",
    "Nine metres?",
    "In Bergen.",
    "Yes.",
    "I like tea.",
    "What is the plan?\nThe plan is to leave at dawn.",
    "Run this:\n```\nmake test\n```",
]


@pytest.mark.parametrize("said", ASKING)
def test_a_plain_question_states_nothing(said: str) -> None:
    """Nobody wants to find it again; the same question would find itself before any answer."""
    assert states_nothing(said) == "a plain question"


@pytest.mark.parametrize("said", TELLING)
def test_what_carries_a_fact_or_a_wish_is_kept(said: str) -> None:
    """When in doubt it is kept."""
    assert states_nothing(said) is None


def test_bare_code_states_nothing() -> None:
    """Code with a word about it is another matter, see above."""
    assert states_nothing("```python\nprint(1)\n```") == "bare code"


def test_of_a_chat_plain_questions_are_dropped_and_say_why(tmp_path: Path) -> None:
    """The answer is still found by the question it follows; the question itself is no record."""
    with open_tiny_memory(tmp_path) as memory:
        receipt = memory.ingest(
            [
                Turn("user", "What does a day ticket cost?"),
                Turn("assistant", "A day ticket costs 24 euros on every day of the year."),
                {"role": "user", "name": "Ann", "content": "Where is the pier?"},
                Turn("user", "The pier is beside the old mill, by the way."),
            ]
        )

        assert [part.route for part in receipt.parts] == [Route.DROP, Route.RETRIEVE, Route.DROP, Route.RETRIEVE]
        assert receipt.parts[0].decision.reasons == ("a plain question of a chat states nothing",)
        assert [record.text for record in memory.list()] == [
            "A day ticket costs 24 euros on every day of the year.",
            "The pier is beside the old mill, by the way.",
        ]


def test_a_question_that_is_handed_in_as_text_or_asked_for_is_kept(tmp_path: Path) -> None:
    """Who ingests a text means it, and the caller's route wins."""
    with open_tiny_memory(tmp_path) as memory:
        text = memory.ingest("What does a day ticket cost?")
        turn = memory.ingest([Turn("user", "Where is the pier?")], route="retrieve")

        assert (text.route, turn.route) == (Route.RETRIEVE, Route.RETRIEVE)


def test_a_policy_that_drops_no_small_talk_drops_no_question(tmp_path: Path) -> None:
    """Of `regulated` the record must be complete."""
    with open_tiny_memory(tmp_path, routing={"policy": "regulated"}) as memory:
        assert memory.ingest([Turn("user", "Where is the pier?")]).route is Route.RETRIEVE
