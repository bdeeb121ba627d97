"""How a task is studied is chosen by what it did to demonstrations that were left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_flow import open_memory

from hybrid_memory import Example, Task
from hybrid_memory.errors import InputError
from hybrid_memory.selfedit.few_shot import BEGUN
from hybrid_memory.selfedit.task_trials import TaskTrials
from hybrid_memory.types import Directives, Generation, StudyItem

FIXED = Directives(augmentations=("flips",), epochs=8)
SEVENS = [Example("11", "7"), Example("12", "7"), Example("21", "7")]
FIVE = 'flips"], "epochs": 5}'
SIX = 'flips"], "epochs": 6}'


def said(text: str) -> Generation:
    return Generation(text=text, prompt_tokens=1, completion_tokens=1, mean_logprob=-0.1)


class Base:
    """A language model that proposes self-edits, and answers in context."""

    def __init__(self, proposes: Sequence[str] = (), answers: str = "?") -> None:
        self.proposes = proposes
        self.answers = answers

    def generate(self, chats: Sequence[Any], *, begun: Sequence[str] = (), **_: Any) -> list[Generation]:
        if begun:
            assert list(begun) == [BEGUN] * len(self.proposes)
            return [said(text) for text in self.proposes]
        return [said(self.answers)] * len(chats)


class Trainer:
    """A trainer, and the stack that it returns: what a candidate says depends on the epochs it was trained for."""

    def __init__(self, says: Mapping[int | None, Sequence[str]]) -> None:
        self.says = {epochs: iter(texts) for epochs, texts in says.items()}
        self.studied: list[list[StudyItem]] = []
        self.asked: list[int | None] = []

    def train(self, candidates: Sequence[list[StudyItem]], *, directives: Sequence[Directives], **_: Any) -> Trainer:
        self.studied += candidates
        self.asked = [one.epochs for one in directives]
        return self

    def generate(self, prompts: Sequence[Sequence[Any]], **_: Any) -> list[list[Generation]]:
        texts = [next(self.says[epochs]) for epochs in self.asked]
        return [[said(text)] * len(chats) for text, chats in zip(texts, prompts, strict=True)]


def chosen(lm: Base, trainer: Any, fixed: Directives = FIXED, samples: int = 2) -> Any:
    return TaskTrials(lm, trainer, samples=samples).choose(SEVENS, fixed, seed=0)  # type: ignore[arg-type]


def test_the_self_edit_that_answers_most_is_chosen() -> None:
    """Each demonstration is left out once: 8 epochs get one of three right, 5 get two, 6 none."""
    trainer = Trainer({8: ["7", "8", "8"], 5: ["7", "8", "7"], 6: ["8", "8", "8"]})

    found = chosen(Base([FIVE, SIX]), trainer)

    assert found.directives == Directives(augmentations=("flips",), epochs=5)
    assert found.dropped == {
        "augmentations flips; epochs 8: 1 of 3 demonstrations, each left out once, were right, 2 under the one that "
        "was chosen": 1,
        "augmentations flips; epochs 6: 0 of 3 demonstrations, each left out once, were right, 2 under the one that "
        "was chosen": 1,
    }


def test_layers_and_loss_that_a_proposal_asks_for_are_not_taken() -> None:
    """They cannot be tried beside others; views, rate and epochs can."""
    more = 'flips"], "epochs": 5, "targets": ["q_proj"], "loss_on": "all"}'

    found = chosen(Base([more]), Trainer({8: ["8"] * 3, 5: ["7"] * 3}), samples=1)

    assert found.directives == Directives(augmentations=("flips",), epochs=5)


def test_what_is_left_out_is_not_studied() -> None:
    """Under none of its views."""
    trainer = Trainer({8: ["7", "7", "7"]})

    chosen(Base(["no line"]), trainer, samples=1)

    seen = [{item.prompt for item in items} for items in trainer.studied]
    assert seen == [{"12", "21"}, {"11", "21", "12"}, {"11", "12", "21"}]  # 12 in the mirror is 21


def test_of_equally_good_ones_the_fixed_one_is_taken() -> None:
    """Nobody has shown that another is better; what could not be read is counted with its reason."""
    found = chosen(Base([FIVE, "I would turn it."]), Trainer({8: ["8"] * 3, 5: ["8"] * 3}))

    assert found.directives == FIXED
    assert any("not one JSON object" in why for why in found.dropped)


def test_a_task_that_is_better_in_context_is_not_studied() -> None:
    """The adapter would take its place."""
    found = chosen(Base([FIVE, SIX], answers="7"), Trainer({8: ["7", "7", "8"], 5: ["8"] * 3, 6: ["8"] * 3}))

    assert found.directives is None
    assert found.dropped == {"2 of 3 demonstrations, each left out once, were right by an adapter, 3 in context": 1}


def test_a_task_without_views_is_tried_in_its_one_way() -> None:
    """The proposals are about views of grids."""
    trainer = Trainer({None: ["7"] * 3})

    assert chosen(Base([FIVE, SIX]), trainer, fixed=Directives()).directives == Directives()


def test_what_cannot_be_tried_is_left_to_the_training_itself() -> None:
    """A demonstration that is too long is declined there, with its reason."""

    class Refusing:
        def train(self, *_: Any, **__: Any) -> Any:
            raise InputError("too long")

    found = chosen(Base([FIVE, SIX]), Refusing())

    assert (found.directives, found.dropped) == (FIXED, {"self-edits were not tried: too long": 1})


@pytest.mark.parametrize("samples", [1, 2])
def test_a_memory_tries_before_it_learns(tmp_path: Path, samples: int) -> None:
    """The tiny model gets nothing right, in neither way: the task is learned, and the report says what was tried."""
    pairs = [Example("1 2", "2 1"), Example("3 4", "4 3")]
    with open_memory(tmp_path, self_edit={"task_samples": samples}) as memory:
        memory.ingest(Task("mirror", pairs), trust="operator")
        report = memory.consolidate()

        assert report.learned == 1
        assert memory.query("5 6", task="mirror").adapters == ("tasks-1-v1",)
        assert report.shards[0].metrics["dropped"]  # it writes no line that can be read
