"""Few-shot tasks: grids and their views, self-edits of tasks, test-time training, voting, the binary reward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from hybrid_memory.config import TrainingSettings
from hybrid_memory.grids import VIEWS, read_grid, views, vote, write_grid
from hybrid_memory.selfedit.few_shot import (
    FewShotSolver,
    Puzzle,
    demonstration,
    propose,
    reward,
    study,
    written,
)
from hybrid_memory.testing import tiny_language_model
from hybrid_memory.types import Directives, Example, Generation
from hybrid_memory.weights.stacked import StackedTrainer

SWAP = Puzzle(
    demonstrations=(Example("12\n00", "21\n00"), Example("01\n20", "02\n10")),
    queries=(Example("21\n11", "12\n22"),),
)
EVERY = [view for group in VIEWS.values() for view in group]


# ------------------------------------------------------------ grids and views


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("left to right", "21\n03"),
        ("upside down", "30\n12"),
        ("half turn", "03\n21"),
        ("turned 90", "20\n13"),
        ("turned 270", "31\n02"),
        ("transposed", "13\n20"),
        ("colours +1", "23\n40"),
        ("colours +3", "45\n60"),
    ],
)
def test_a_view_shows_the_grid_from_its_side(name: str, expected: str) -> None:
    """Worked out by hand for the grid 12 over 30; 0 is the background and keeps its colour."""
    view = next(view for view in EVERY if view.name == name)

    assert view.forward("12\n30") == expected


@pytest.mark.parametrize("view", EVERY, ids=lambda view: view.name)
def test_every_view_leads_back(view: Any, rng: np.random.Generator) -> None:
    """Whatever the grid's size and colours."""
    for shape in ((1, 1), (2, 3), (4, 4), (5, 1)):
        text = write_grid(rng.integers(0, 10, shape))
        assert view.back(view.forward(text)) == text


@pytest.mark.parametrize("text", ["", "no grid", "12\n3", "1-2", "½", "１２"])
def test_what_is_no_grid_is_left_as_it_is(text: str) -> None:
    """An answer that cannot be read stays what it is, and is wrong."""
    assert read_grid(text) is None
    assert VIEWS["flips"][0].back(text) == text


def test_a_grid_may_have_spaces_between_its_digits() -> None:
    """As models write them."""
    grid = read_grid(" 1 2 \n 3 0 \n")

    assert grid is not None
    assert write_grid(grid) == "12\n30"


# ------------------------------------------------------------ self-edits of a task


def test_demonstrations_are_studied_under_every_view_that_was_asked_for() -> None:
    """Input and output are seen from the same side; the plain view is always there, the queries never."""
    items = study(SWAP.demonstrations, Directives(augmentations=("transposition",)))

    assert [(item.prompt, item.response) for item in items] == [
        ("12\n00", "21\n00"),
        ("01\n20", "02\n10"),
        ("10\n20", "20\n10"),
        ("02\n10", "01\n20"),
    ]


def test_a_view_that_changes_nothing_adds_nothing() -> None:
    """A task of plain words has the plain view only, whatever is asked for."""
    words = Puzzle(demonstrations=(Example("cat", "CAT"),), queries=())

    assert len(study(words.demonstrations, Directives(augmentations=tuple(VIEWS)))) == 1


def test_what_is_written_is_what_is_read() -> None:
    """Directives go through their line unchanged; the model goes on from what every line begins with."""
    lm = Speaking(['flips", "colours"], "learning_rate": 0.001, "epochs": 6}\nMore.'])

    (edit,) = propose(SWAP, lm, samples=1, seed=0)  # type: ignore[arg-type]

    assert edit.directives == Directives(augmentations=("flips", "colours"), learning_rate=0.001, epochs=6)
    assert edit.text == written(edit.directives)
    assert edit.usable
    assert demonstration(SWAP, edit.directives).response == edit.text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('flips"', "not one JSON object"),
        ("I would turn it.", "not one JSON object"),
        ("", "not one JSON object"),
        ('reverse"]}', "is no list of flips, rotations, transposition, colours"),
        ('"], "learning_rate": 10}', "learning_rate 10 is no number"),
        ('"], "epochs": 10000}', "epochs 10000 is no whole number"),
    ],
)
def test_what_a_self_edit_may_not_ask_for_is_refused_with_its_reason(text: str, reason: str) -> None:
    """It asks for nothing then, and is not usable."""
    (edit,) = propose(SWAP, Speaking([text]), samples=1, seed=0)  # type: ignore[arg-type]

    assert not edit.usable
    assert reason in " ".join(edit.refused)


# ------------------------------------------------------------ answers


@pytest.mark.parametrize(
    ("answers", "expected"), [(["a", "b", "b"], "b"), (["a", "b"], "a"), (["c"], "c"), (["a", "b", "b", "a"], "a")]
)
def test_the_commonest_answer_wins_and_the_plain_view_decides_a_draw(answers: list[str], expected: str) -> None:
    """The plain view's answer comes first."""
    assert next(iter(vote(answers))) == expected


def test_the_reward_is_for_all_queries_or_none() -> None:
    """To the letter."""
    assert reward(SWAP, ["12\n22"]) == 1.0
    assert reward(SWAP, ["12\n21"]) == 0.0


def test_answers_are_turned_back_before_the_vote() -> None:
    """A stack that always says 10 over 20: seen transposed that is 12 over 00; two flips agree on another one."""
    solver = FewShotSolver(Speaking([]), Fixed("10\n20"), max_new_tokens=8)  # type: ignore[arg-type]

    plain, transposed, flipped = solver.solve(
        SWAP,
        [Directives(epochs=1), Directives(augmentations=("transposition",)), Directives(augmentations=("flips",))],
        seed=0,
    )

    assert plain == ["10\n20"]
    assert transposed == ["10\n20"]  # one vote each: the plain one decides
    assert flipped == ["10\n20"]  # 10/20, 01/02, 20/10, 02/01: all differ
    assert len(views(("flips",))) == 4


def test_test_time_training_answers_what_the_demonstrations_say() -> None:
    """On the tiny model: every demonstration says 7, and so does the answer; without training it is nonsense."""
    torch.set_num_threads(1)
    lm = tiny_language_model()
    sevens = Puzzle(tuple(Example(f"{one}{one}", "7") for one in range(4)), (Example("55", "7"),))
    trainer = StackedTrainer(lm, TrainingSettings(batch_size=2, learning_rate=2e-2, epochs=12, lora_rank=4))
    solver = FewShotSolver(lm, trainer, max_new_tokens=3)

    trained, untrained = solver.solve(sevens, [Directives(epochs=12), Directives(learning_rate=1e-9, epochs=1)], seed=0)

    assert reward(sevens, trained) == 1.0
    assert reward(sevens, untrained) == 0.0
    assert reward(sevens, solver.in_context(sevens)) == 0.0


class Speaking:
    """A language model that goes on with what it was told to say."""

    def __init__(self, says: list[str]) -> None:
        self.says = says

    def generate(self, prompts: Sequence[object], *, begun: Sequence[str], **_: Any) -> list[Generation]:
        assert list(begun) == ['Directives: {"augmentations": ["'] * len(prompts)
        return [said(text) for text in self.says]


class Fixed:
    """A trainer, and the stack that it returns: every candidate answers everything with one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.count = 0

    def train(self, candidates: Sequence[object], **_: Any) -> Fixed:
        self.count = len(candidates)
        return self

    def generate(self, prompts: Sequence[Sequence[object]], *, max_new_tokens: int) -> list[list[Generation]]:
        assert len(prompts) == self.count
        return [[said(self.text)] * len(chats) for chats in prompts]


def said(text: str) -> Generation:
    return Generation(text=text, prompt_tokens=1, completion_tokens=1, mean_logprob=-1.0)
