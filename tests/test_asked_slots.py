"""A model may propose a slot; what the sentence does not bear out is not taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_memory import HybridMemory, Settings
from hybrid_memory.build import build
from hybrid_memory.ingest.asked_slots import AskedSlotRules
from hybrid_memory.testing import WordEncoder

CHARGE = "We now charge 59 EUR for the Pro plan."


class Model:
    """Says the same to every prompt, and keeps the prompts; or fails."""

    def __init__(self, answer: str | None) -> None:
        self.answer = answer
        self.prompts: list[str] = []

    def complete(self, prompt: str) -> str:
        self.prompts.append(prompt)
        if self.answer is None:
            raise TimeoutError("no answer within 60 s")
        return self.answer


def test_a_proposal_that_the_sentence_bears_out_is_taken() -> None:
    """The rules do not read this form; the attribute gets its one name."""
    model = Model("the Pro plan | cost | 59 EUR\n")
    proposal = AskedSlotRules(model).propose(CHARGE)

    assert proposal is not None
    assert (proposal[0].key, proposal[1]) == ("pro plan | price", "59 EUR")
    assert CHARGE in model.prompts[0]
    assert "price" in model.prompts[0]


@pytest.mark.parametrize(
    "answer",
    [
        "none",
        "",
        "Pro plan | price",
        "Pro plan | mood | 59 EUR",
        "Pro plan | price | 49 EUR",
        "Basic plan | price | 59 EUR",
        "Pro plan | price | charge",
        None,
    ],
    ids=[
        "none",
        "nothing",
        "two parts",
        "unknown attribute",
        "another value",
        "another subject",
        "no amount",
        "failure",
    ],
)
def test_what_the_sentence_does_not_bear_out_is_left(answer: str | None) -> None:
    """A model that invents, chats or fails changes nothing."""
    assert AskedSlotRules(Model(answer)).propose(CHARGE) is None


@pytest.mark.parametrize(
    "text", ["The price of the Pro plan is 59 EUR.", "We may charge 59 EUR for the Pro plan.", "word " * 40]
)
def test_the_model_is_asked_only_where_it_may_help(text: str) -> None:
    """Not where the rules read the sentence, nor where it is in doubt or too long."""
    model = Model("none")
    AskedSlotRules(model).propose(text)
    assert model.prompts == []


def test_a_speaker_may_state_a_declared_attribute_of_their_own() -> None:
    """Who says I is the user."""
    proposal = AskedSlotRules(Model("I | favourite drink | green tea"), {"favourite drink": "single"}).propose(
        "These days I drink green tea most of all."
    )
    assert proposal is not None
    assert (proposal[0].key, proposal[1]) == ("user | favourite drink", "green tea")


def test_a_memory_opened_with_a_proposer_replaces_by_its_slots(tmp_path: Path) -> None:
    """The ledger decides by time; the model only said what the sentence is about."""
    model = Model("Pro plan | price | 59 EUR")
    with HybridMemory(build(tmp_path, Settings(), encoder=WordEncoder(), proposer=model)) as memory:
        memory.ingest("The price of the Pro plan is 49 EUR.")
        memory.ingest(CHARGE)
        assert [record.text for record in memory.list()] == [CHARGE]
