"""The released recipe: what it trains on, and that it is what the released code would have trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from tiny_adapters import FERRY
from torch import Tensor

from hybrid_memory.config import Settings, TrainingSettings
from hybrid_memory.errors import ConfigError
from hybrid_memory.testing import tiny_language_model
from hybrid_memory.types import Directives, StudyItem
from hybrid_memory.weights import seal_compat
from hybrid_memory.weights.language_model import LocalLanguageModel
from hybrid_memory.weights.seal_compat import PADDED_TO, SealLoss, released_settings
from hybrid_memory.weights.trainer import LoraTrainer

LINE = StudyItem(prompt="", response="Ferries\nThe ferry waits at pier 4.", form="statement")
COMPAT = TrainingSettings(seal_compat=True)


@pytest.fixture
def lm() -> LocalLanguageModel:
    torch.set_num_threads(1)
    return tiny_language_model()


def whole_loss(lm: LocalLanguageModel, text: str) -> Tensor:
    """The released loss in four lines: pad, copy the ids to the labels, mask no padding."""
    ids = lm.tokenizer(text)["input_ids"]
    padded = torch.tensor([ids + [lm.tokenizer.eos_token_id] * (PADDED_TO - len(ids))])
    mask = torch.tensor([[1] * len(ids) + [0] * (PADDED_TO - len(ids))])
    loss: Tensor = lm.base(input_ids=padded, attention_mask=mask, labels=padded).loss
    return loss


def test_the_padding_is_in_the_loss(lm: LocalLanguageModel) -> None:
    """The loss is that of transformers with the labels copied from 2048 padded ids."""
    loss = SealLoss(lm, released_settings(COMPAT)).read([LINE]).loss([0])

    assert loss.item() == pytest.approx(whole_loss(lm, LINE.response).item(), abs=1e-5)


def test_sequences_are_padded_to_2048(lm: LocalLanguageModel) -> None:
    """So many positions a row are trained on, however short the line."""
    assert SealLoss(lm, released_settings(COMPAT)).read([LINE, FERRY]).lengths == [2048, 2048]


def test_the_mean_is_over_2047_next_tokens(lm: LocalLanguageModel) -> None:
    """A model that gives every token the same probability has ln(vocabulary) on each of them, padding or not."""
    lm.base.get_input_embeddings().weight.data[:] = 0

    loss = SealLoss(lm, released_settings(COMPAT)).read([LINE]).loss([0])

    assert loss.item() == pytest.approx(torch.tensor(lm.base.config.vocab_size).log().item(), abs=1e-4)


def test_some_of_the_padding_stands_for_all(lm: LocalLanguageModel) -> None:
    """Evenly spread positions, weighted, estimate the whole loss; a padded position sees no other padding."""
    whole = SealLoss(lm, released_settings(COMPAT)).read([LINE]).loss([0])
    part = SealLoss(lm, released_settings(COMPAT), padding_computed=16).read([LINE]).loss([0])

    assert part.item() == pytest.approx(whole.item(), rel=0.05)


def test_a_prompt_stands_before_its_response_as_plain_text(lm: LocalLanguageModel) -> None:
    """No chat form, no end token by hand."""
    loss = SealLoss(lm, released_settings(COMPAT)).read([FERRY]).loss([0])

    assert loss.item() == pytest.approx(whole_loss(lm, f"{FERRY.prompt}\n{FERRY.response}").item(), abs=1e-5)


def test_a_text_longer_than_2048_tokens_is_cut(lm: LocalLanguageModel) -> None:
    """As the released code does; nothing of it is padding then."""
    long = StudyItem(prompt="", response="ferry " * 400, form="statement")

    loss = SealLoss(lm, released_settings(COMPAT)).read([long]).loss([0])

    ids = torch.tensor([lm.tokenizer(long.response)["input_ids"][:PADDED_TO]])
    assert ids.shape[1] == PADDED_TO
    assert loss.item() == pytest.approx(lm.base(input_ids=ids, labels=ids).loss.item(), abs=1e-5)


def test_the_weights_are_those_of_the_hugging_face_trainer(
    lm: LocalLanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sequence, so that the order does not matter: the released code's own loop is the oracle (padded to 256)."""
    monkeypatch.setattr(seal_compat, "PADDED_TO", 256)
    ours = tmp_path / "ours"
    ours.mkdir()
    settings = released_settings(COMPAT)
    LoraTrainer(lm, COMPAT).train([LINE], seed=3, folder=ours)

    theirs = huggingface_trained(tiny_language_model(), settings, tmp_path)

    found = load_file(ours / "adapter_model.safetensors")
    assert found.keys() == theirs.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, theirs[name], atol=2e-4, rtol=0)


def test_the_released_recipe_acts_on_every_token() -> None:
    """What is merged into the weights acts everywhere; trained on answers alone it learned 45 instead of 81 %."""
    assert TrainingSettings().acts_on == "answer"
    assert released_settings(TrainingSettings()).acts_on == "all"


def huggingface_trained(lm: LocalLanguageModel, settings: TrainingSettings, folder: Path) -> dict[str, Tensor]:
    """The weights after transformers' Trainer, with the arguments of the released code."""
    from transformers import Trainer, TrainingArguments

    torch.manual_seed(3)
    model = get_peft_model(lm.base, LoraConfig(r=32, lora_alpha=64, lora_dropout=0, task_type="CAUSAL_LM"))
    ids = lm.tokenizer(LINE.response)["input_ids"]
    row = {
        "input_ids": torch.tensor(ids + [lm.tokenizer.eos_token_id] * (256 - len(ids))),
        "attention_mask": torch.tensor([1] * len(ids) + [0] * (256 - len(ids))),
    }
    given: dict[str, Any] = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1}
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        num_train_epochs=settings.epochs,
        learning_rate=1e-3,
        save_strategy="no",
        report_to="none",
        remove_unused_columns=False,
        disable_tqdm=True,
        use_cpu=True,
        logging_strategy="no",
        **given,
    )
    Trainer(model=model, args=arguments, train_dataset=[{**row, "labels": row["input_ids"].clone()}]).train()
    return {
        name.replace(".default", ""): parameter.detach()
        for name, parameter in model.named_parameters()
        if "lora_" in name
    }


def test_the_recipe_is_the_released_one_whatever_the_material_asks_for(
    lm: LocalLanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10 epochs of one row at batch 1 are 10 steps of a padded row; directives are not followed."""
    monkeypatch.setattr(seal_compat, "PADDED_TO", 256)
    asked = Directives(learning_rate=1e-5, epochs=1, loss_on="answer", targets=("down_proj",))

    report = LoraTrainer(lm, COMPAT).train([LINE], seed=0, folder=tmp_path, directives=asked)

    assert (report["steps"], report["epochs"], report["tokens"]) == (10, 10, 10 * 256)
    assert (report["learning_rate"], report["loss_on"], report["targets"]) == (1e-3, "all", ["q_proj", "v_proj"])
    layers = {name.split(".layers.")[1].split(".lora")[0] for name in load_file(tmp_path / "adapter_model.safetensors")}
    assert layers == {f"{layer}.self_attn.{part}" for layer in (0, 1) for part in ("q_proj", "v_proj")}


def test_the_recipe_cannot_be_half_another() -> None:
    """Beside it only the seed may be set."""
    assert Settings.load({"training": {"seal_compat": True, "seed": 4}}).training.seed == 4
    with pytest.raises(ConfigError, match="seal_compat fixes the whole recipe; leave out epochs, lora_rank"):
        Settings.load({"training": {"seal_compat": True, "epochs": 3, "lora_rank": 8}})
