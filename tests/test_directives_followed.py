"""What a self-edit asks of the inner loop: honoured, bounded by the settings, and told in the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_adapters import FERRY, LAMP, asked, settings, trainer, weights

from hybrid_memory.config import TrainingSettings
from hybrid_memory.selfedit.directives import read_directives, with_known_targets
from hybrid_memory.testing import tiny_language_model
from hybrid_memory.types import Directives, SelfEdit
from hybrid_memory.weights.language_model import LocalLanguageModel
from hybrid_memory.weights.plan import bounded


@pytest.fixture
def lm() -> LocalLanguageModel:
    torch.set_num_threads(1)
    return tiny_language_model()


def test_loss_on_all_tokens_is_the_loss_of_prompt_and_response(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """The first loss is the base model's mean over every next token of both rows."""
    report = trainer(lm, min_steps=1).train(
        [FERRY, LAMP], seed=0, folder=tmp_path, directives=Directives(loss_on="all")
    )

    total, count = 0.0, 0
    for item in (FERRY, LAMP):
        objective = trainer(lm)._objective([item], settings(), "all")
        length = objective.lengths[0]
        total, count = total + objective.loss([0]).item() * (length - 1), count + length - 1
    assert report["loss_on"] == "all"
    assert report["first_loss"] == pytest.approx(total / count, abs=1e-3)


def test_the_default_is_the_loss_of_the_response(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """As it is without directives: the same bytes."""
    for name, directives in (("none", None), ("answer", Directives(loss_on="answer"))):
        (tmp_path / name).mkdir()
        trainer(lm, min_steps=2).train([FERRY], seed=0, folder=tmp_path / name, directives=directives)

    assert weights(tmp_path / "none") == weights(tmp_path / "answer")


def test_the_adapter_acts_where_it_is_asked_to(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """Labelled texts have to be read in another way: positions of the prompt are trained too."""
    reports = {}
    for asked_for in (None, "all"):
        folder = tmp_path / str(asked_for)
        folder.mkdir()
        reports[asked_for] = trainer(lm, min_steps=1).train(
            [FERRY], seed=0, folder=folder, directives=Directives(acts_on=asked_for)
        )

    assert [one["acts_on"] for one in reports.values()] == ["answer", "all"]
    assert reports["all"]["tokens"] == len(lm.training_tokens(asked(FERRY.prompt), FERRY.response)[0])


def test_plain_training_learns_the_words_alone() -> None:
    """Neither the base that sees the source nor its own words soften the targets; else the settings decide."""
    settings = TrainingSettings(distillation=0.5, own_words=1.0)

    soft, plain = (bounded(settings, Directives(soft=wanted)) for wanted in (True, False))

    assert (soft.distillation, soft.own_words) == (0.5, 1.0)
    assert (plain.distillation, plain.own_words) == (0.0, 0.0)


def test_a_written_self_edit_cannot_ask_where_the_adapter_acts() -> None:
    """It would leave text outside a chat unprotected."""
    _, directives, refused = read_directives('Directives: {"acts_on": "all", "epochs": 2}\nThe barn is red.')

    assert directives == Directives(epochs=2)
    assert list(refused) == [
        "directive refused: 'acts_on' is none of learning_rate, epochs, loss_on, targets, augmentations"
    ]


def test_targets_are_those_asked_for(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """The adapter has no other layers."""
    report = trainer(lm, min_steps=1).train(
        [FERRY], seed=0, folder=tmp_path, directives=Directives(targets=("q_proj", "down_proj"))
    )

    layers = {name.split(".lora")[0].rpartition(".")[2] for name in load_file(tmp_path / "adapter_model.safetensors")}
    assert layers == {"q_proj", "down_proj"}
    assert report["targets"] == ["q_proj", "down_proj"]


def test_targets_that_the_settings_do_not_list_are_not_followed(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """A self-edit cannot put LoRA on the output layer, or on everything by an empty list."""
    report = trainer(lm, min_steps=1).train(
        [FERRY], seed=0, folder=tmp_path, directives=Directives(targets=("lm_head", "embed_tokens"))
    )

    assert report["targets"] == ["gate_proj", "up_proj", "down_proj"]


def test_a_rate_and_epochs_beyond_the_settings_are_cut_to_them(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """Never more than the settings' rate and twice their epochs, whatever a self-edit asks for."""
    report = trainer(lm, epochs=3, learning_rate=1e-3).train(
        [FERRY], seed=0, folder=tmp_path, directives=Directives(learning_rate=10.0, epochs=10_000)
    )

    assert (report["learning_rate"], report["epochs"], report["steps"]) == (1e-3, 6, 6)


def test_a_rate_below_a_quarter_of_the_settings_is_raised_to_it(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """A shard follows the gentlest of its self-edits: one that asks for next to nothing must not starve the others."""
    report = trainer(lm, learning_rate=1e-3, min_steps=1).train(
        [FERRY], seed=0, folder=tmp_path, directives=Directives(learning_rate=1e-12)
    )

    assert report["learning_rate"] == 2.5e-4


def test_only_the_layers_that_there_are_stay_asked_for() -> None:
    """Of two, one: the other is counted; a self-edit that asks for none of these stays as it is."""
    both = SelfEdit(record_id="r", items=(FERRY,), generator="g", seed=0, directives=Directives(targets=("a", "b")))
    none = replace(both, directives=Directives(epochs=2))

    one, same = with_known_targets([both, none], {"b", "c"})

    assert (one.directives.targets, same) == (("b",), none)
    assert one.dropped == {"directive refused: this model has no layers a to train": 1}
