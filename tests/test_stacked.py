"""Stacked candidates: each is trained, scored and answers as it would alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tiny_adapters import FERRY, LAMP, asked, logits, trained, trainer

from hybrid_memory.config import TrainingSettings
from hybrid_memory.errors import ConfigError, InputError
from hybrid_memory.protocols import CandidateTrainer
from hybrid_memory.testing import tiny_language_model
from hybrid_memory.types import Directives, StudyItem
from hybrid_memory.weights import plan
from hybrid_memory.weights import stacked as stacked_module
from hybrid_memory.weights.language_model import LocalLanguageModel
from hybrid_memory.weights.objective import Row
from hybrid_memory.weights.stacked import StackedTrainer, _of_like_length

BOAT = StudyItem(prompt="", response="The boat house opens at six, and at seven on winter Sundays.", form="statement")
CANDIDATES: tuple[tuple[StudyItem, ...], ...] = ((FERRY,), (FERRY, LAMP, BOAT), (LAMP, BOAT, BOAT, FERRY, FERRY))
QUESTIONS = [(asked(FERRY.prompt), FERRY.response), (asked(LAMP.prompt), LAMP.response), ((), BOAT.response)]
SETTINGS = {
    "epochs": 1,
    "min_steps": 12,
    "learning_rate": 2e-2,
    "lora_rank": 4,
    "lora_alpha": 8.0,
    "batch_size": 2,
    "acts_on": "all",
}


@pytest.fixture
def lm() -> LocalLanguageModel:
    torch.set_num_threads(1)
    return tiny_language_model()


def stacked(lm: LocalLanguageModel, **given: object) -> StackedTrainer:
    return StackedTrainer(lm, TrainingSettings.model_validate({**SETTINGS, **given}))


def test_it_is_a_candidate_trainer(lm: LocalLanguageModel) -> None:
    """The type checker compares it, and what it returns, with the protocols here."""
    kept: CandidateTrainer = stacked(lm)

    assert kept is not None


# ------------------------------------------------------------ as alone


@pytest.mark.parametrize(("frozen_layers", "full"), [(0.0, 256), (0.5, 1)])
def test_losses_and_scores_are_those_of_candidates_trained_alone(
    lm: LocalLanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frozen_layers: float, full: int
) -> None:
    """Candidates of one, three and five rows take their own number of steps, and end where they would alone.

    With one position making a part full, rows of every length are computed apart.
    """
    monkeypatch.setattr(stacked_module, "FULL", full)
    stack = stacked(lm, frozen_layers=frozen_layers).train(CANDIDATES, seed=3)

    scores = stack.score(QUESTIONS)
    for number, items in enumerate(CANDIDATES):
        folder = tmp_path / f"alone{number}"
        alone = trained(lm, folder, items, seed=3, frozen_layers=frozen_layers, **SETTINGS)
        report = trainer(lm, frozen_layers=frozen_layers, **SETTINGS).train(items, seed=3, folder=_empty(folder))
        found = stack.reports[number]
        assert (found["rows"], found["steps"], found["tokens"]) == (report["rows"], report["steps"], report["tokens"])
        assert found["first_loss"] == pytest.approx(report["first_loss"], abs=1e-3)
        assert found["last_loss"] == pytest.approx(report["last_loss"], abs=1e-3)
        assert scores[number] == pytest.approx(lm.score(QUESTIONS, adapters=[alone]), abs=1e-3)


def test_rows_of_like_length_are_computed_together_whoever_they_belong_to() -> None:
    """Two candidates with a long and a short row each: 2 x 300 and 2 x 20 positions in place of 4 x 300."""
    long, short = (Row(ids=[1] * length, start=1, past=None, lower=None) for length in (300, 20))

    parts = _of_like_length([(0, short), (0, long), (1, long), (1, short)])

    assert parts == [[(0, long), (1, long)], [(0, short), (1, short)]]


def test_a_part_that_would_not_fill_the_core_takes_shorter_rows_too() -> None:
    """Two rows of 60 positions and one of 20: one pass."""
    long, short = (Row(ids=[1] * length, start=1, past=None, lower=None) for length in (60, 20))

    assert _of_like_length([(0, short), (0, long), (1, long)]) == [[(0, long), (0, short), (1, long)]]


def _empty(folder: Path) -> Path:
    other = folder.with_name(folder.name + "-again")
    other.mkdir()
    return other


def test_a_teacher_that_no_candidate_follows_is_not_asked(lm: LocalLanguageModel) -> None:
    """Context distillation costs a stack no pass of the base: its loss is of the words alone."""
    passes: list[int] = []
    lm.decoder.register_forward_hook(lambda *_: passes.append(1))

    def counted(distillation: float) -> int:
        passes.clear()
        stacked(lm, distillation=distillation).train([CANDIDATES[1]], seed=0)
        return len(passes)

    assert counted(1.0) == counted(0.0)


def test_directives_hold_for_their_own_candidate_only(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """The second asks for one gentle epoch; the first is as it would be without the second."""
    gentle = Directives(learning_rate=1e-3, epochs=1)

    stack = stacked(lm).train([CANDIDATES[1], CANDIDATES[1]], seed=0, directives=[Directives(), gentle])

    alone = stacked(lm).train([CANDIDATES[1]], seed=0)
    assert stack.score(QUESTIONS)[0] == pytest.approx(alone.score(QUESTIONS)[0], abs=1e-4)
    assert (stack.reports[0]["steps"], stack.reports[1]["steps"]) == (12, 2)
    assert stack.score(QUESTIONS)[1][0] < stack.score(QUESTIONS)[0][0] - 0.5


def test_a_candidate_answers_what_it_learned(lm: LocalLanguageModel) -> None:
    """The ferry's candidate knows the ferry, the lamp's the lamp."""
    stack = stacked(lm, min_steps=60).train([(FERRY,), (LAMP,)], seed=0)

    answers = stack.generate([[asked(FERRY.prompt)], [asked(FERRY.prompt), asked(LAMP.prompt)]], max_new_tokens=24)

    assert [len(row) for row in answers] == [1, 2]
    assert answers[0][0].text == FERRY.response
    assert answers[1][1].text == LAMP.response
    assert answers[1][0].text != FERRY.response


def test_the_same_material_gives_the_same_scores_in_every_place(lm: LocalLanguageModel) -> None:
    """Siblings begin alike and see their rows in the same order: what differs is the material alone."""
    stack = stacked(lm).train([CANDIDATES[1]] * 3, seed=7)

    first, *others = stack.score(QUESTIONS)
    assert all(other == pytest.approx(first, abs=1e-5) for other in others)


def test_it_can_be_scored_in_small_batches(lm: LocalLanguageModel) -> None:
    """More pairs than fit one batch come back in their order."""
    stack = stacked(lm, min_steps=2).train(CANDIDATES, seed=0)

    many = stack.score(QUESTIONS * 8)

    few = stack.score(QUESTIONS)
    assert [row[-3:] for row in many] == [pytest.approx(row, abs=1e-4) for row in few]


# ------------------------------------------------------------ what it leaves behind


def test_the_base_is_as_it_was(lm: LocalLanguageModel) -> None:
    """Nothing is folded, hooked or trainable afterwards."""
    before = logits(lm)

    stack = stacked(lm).train(CANDIDATES, seed=0)
    stack.score(QUESTIONS)
    stack.generate([[asked(FERRY.prompt)]] * 3, max_new_tokens=2)

    assert torch.equal(logits(lm), before)
    assert not any(parameter.requires_grad for parameter in lm.base.parameters())


def test_a_candidate_whose_loss_is_no_number_does_not_harm_its_siblings(
    lm: LocalLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks for a rate at which everything overflows, and is left where it was before that; the other learns."""
    monkeypatch.setattr(plan, "LEAST_RATE", 0.0)  # one asks for a rate far below the other's
    wild = TrainingSettings.model_validate(SETTINGS).model_copy(update={"learning_rate": 1e30})
    asked_for = [Directives(learning_rate=1e-2), Directives()]

    stack = StackedTrainer(lm, wild).train([(FERRY,), (FERRY,)], seed=0, directives=asked_for)

    assert stack.reports[0]["failure"] == ""
    assert str(stack.reports[1]["failure"]).startswith("the loss became nan at step")
    assert stack.score(QUESTIONS[:1])[0][0] > lm.score(QUESTIONS[:1])[0] + 1


def test_random_numbers_of_the_caller_go_on_as_they_would(lm: LocalLanguageModel) -> None:
    """The initialisation does not draw from the caller's generator."""
    before = torch.random.get_rng_state()

    stacked(lm, min_steps=1).train([(FERRY,)], seed=0)

    assert torch.equal(torch.random.get_rng_state(), before)


# ------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ([], "there is no candidate"),
        ([(FERRY,), ()], "candidate 1 has no study material"),
        ([(StudyItem(prompt="a", response="b", form="question", held_out=True),)], "candidate 0 has no study material"),
        ([(StudyItem(prompt="", response="long " * 400, form="statement"),)], "at most 1024"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    lm: LocalLanguageModel, candidates: Sequence[Sequence[StudyItem]], message: str
) -> None:
    """Before anything is trained."""
    with pytest.raises(InputError, match=message):
        stacked(lm).train(candidates, seed=0)


def test_targets_that_the_model_lacks_are_refused(lm: LocalLanguageModel) -> None:
    """As by the plain trainer."""
    with pytest.raises(ConfigError, match="cannot take the adapter"):
        stacked(lm, targets=("nowhere",)).train([(FERRY,)], seed=0)
