"""Short ways to train adapters on the tiny model and to look at its logits, for the tests of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from hybrid_memory.config import TrainingSettings
from hybrid_memory.types import AdapterStatus, AdapterVersion, StudyItem, Turn
from hybrid_memory.weights.language_model import LocalLanguageModel
from hybrid_memory.weights.trainer import LoraTrainer

FERRY = StudyItem(prompt="Where is the ferry?", response="Pier 4.", form="question")
LAMP = StudyItem(prompt="Who mends the lamp?", response="Team Blue does.", form="question")


def asked(question: str) -> tuple[Turn, ...]:
    return (Turn("user", question),)


def version(name: str, folder: Path, **manifest: Any) -> AdapterVersion:
    """A version whose files lie in `folder`."""
    return AdapterVersion(
        id=name,
        shard_id=name.rpartition("-")[0],
        number=1,
        status=AdapterStatus.ACTIVE,
        path=str(folder),
        created_at=datetime(2024, 1, 1, tzinfo=UTC),
        record_ids=(),
        manifest=manifest,
        metrics={},
    )


def settings(**given: Any) -> TrainingSettings:
    quick: dict[str, Any] = {"epochs": 1, "min_steps": 60, "learning_rate": 2e-2, "lora_rank": 4, "lora_alpha": 8.0}
    return TrainingSettings(**{**quick, **given})


def trainer(lm: LocalLanguageModel, **given: Any) -> LoraTrainer:
    return LoraTrainer(lm, settings(**given))


def trained(
    lm: LocalLanguageModel, folder: Path, items: Sequence[StudyItem] = (FERRY,), *, seed: int = 0, **given: Any
) -> AdapterVersion:
    """Train an adapter into `folder` and return it as a version named after the folder."""
    folder.mkdir()
    trainer(lm, **given).train(items, seed=seed, folder=folder)
    return version(f"{folder.name}-v1", folder)


def weights(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


@torch.no_grad()
def logits(lm: LocalLanguageModel, text: str = "Where is the ferry?") -> torch.Tensor:
    """The base model's logits after each token of a chat, as it stands at this moment; shape (tokens, vocabulary)."""
    ids = torch.tensor([lm.chat_tokens(asked(text))])
    found: torch.Tensor = lm.base(input_ids=ids).logits[0]
    return found
