"""SEAL's inner loop as it was released, for comparison: `training.seal_compat`.

Flow:    study items -> [seal compat] -> trainer
Imports: types, config; the language model of this stage.

Facts: knowledge-incorporation code of github.com/Continual-Intelligence/SEAL at 4cb1e7d (MIT), single-passage
runs. LoRA on the query and value projections of every layer (PEFT's default for such models; the code names
none), every sequence padded to 2048 tokens with the end token, and **the padding is in the loss**: of 2047 positions
of a 40-token line, 2008 teach that the end follows the end. No BOS or end token is added by hand, no chat form.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from peft import LoraConfig
from torch import Tensor
from torch.nn import functional

from hybrid_memory.config import TrainingSettings
from hybrid_memory.types import StudyItem
from hybrid_memory.weights.language_model import LocalLanguageModel

__all__ = ["PADDED_TO", "SealLoss", "released_settings"]

PADDED_TO = 2048
"""Tokens of every sequence; longer ones are cut, as released."""


def released_settings(settings: TrainingSettings) -> TrainingSettings:
    """Return the released optimisation: AdamW, no weight decay, linear decay without warm-up, clipped at 1."""
    return settings.model_copy(
        update={
            "lora_rank": 32,
            "lora_alpha": 64.0,
            "targets": ("q_proj", "v_proj"),
            "frozen_layers": 0.0,
            "acts_on": "all",
            "learning_rate": 1e-3,
            "epochs": 10,
            "min_steps": 1,
            "batch_size": 1,
            "warmup_steps": 0,
            "clip_norm": 1.0,
        }
    )


class SealLoss:
    """Mean cross-entropy over all 2047 next tokens of a padded sequence, padding included."""

    def __init__(
        self, language_model: LocalLanguageModel, settings: TrainingSettings, *, padding_computed: int | None = None
    ) -> None:
        """Compute all of the padding, or `padding_computed` positions that stand for all.

        A padded position attends to the text and to no other padding, so it can be computed alone: evenly
        spread ones, weighted, estimate the same loss about 20 times faster. For benchmarks over many passages.
        """
        self._lm = language_model
        self._settings = settings
        self._padding = padding_computed
        self._rows: list[list[int]] = []

    @property
    def lora(self) -> LoraConfig:
        """LoRA on the query and value projections of every layer."""
        settings = self._settings
        return LoraConfig(
            r=settings.lora_rank,
            lora_alpha=settings.lora_alpha,
            target_modules=list(settings.targets),
            lora_dropout=0.0,
            task_type="CAUSAL_LM",
        )

    @property
    def acts_on(self) -> str:
        """Everywhere."""
        return "all"

    @property
    def lengths(self) -> list[int]:
        """2048 for every row: what the recipe trains on, however much of it is computed."""
        return [PADDED_TO] * len(self._rows)

    def read(self, items: Sequence[StudyItem]) -> SealLoss:
        """Encode the items as plain text: a prompt, where there is one, then its response."""
        texts = [f"{item.prompt}\n{item.response}" if item.prompt else item.response for item in items]
        self._rows = [self._lm.tokenizer(text)["input_ids"][:PADDED_TO] for text in texts]
        return self

    def loss(self, places: Sequence[int]) -> Tensor:
        """Return the mean over the rows of the mean over their 2047 next tokens, in nats."""
        return torch.stack([self._row_loss(self._rows[place]) for place in places]).mean()

    def _row_loss(self, ids: Sequence[int]) -> Tensor:
        end = self._lm.tokenizer.eos_token_id  # the released code pads with it
        padding = self._positions(len(ids))
        device = self._lm.base.device
        hidden = self._lm.decoder(
            input_ids=torch.tensor([[*ids, *[end] * len(padding)]], device=device),
            attention_mask=torch.tensor([[1] * len(ids) + [0] * len(padding)], device=device),
            position_ids=torch.tensor([[*range(len(ids)), *padding]], device=device),
            use_cache=False,
        ).last_hidden_state[0]
        at = hidden if padding and padding[-1] < PADDED_TO - 1 else hidden[:-1]  # after the last position comes nothing
        targets = [*ids[1:], *[end] * (len(at) - len(ids) + 1)]
        nats = functional.cross_entropy(
            self._lm.head(at).float(), torch.tensor(targets, device=device), reduction="none"
        )
        text, rest = nats[: len(ids)].sum(), nats[len(ids) :]
        return (text + (rest.mean() * (PADDED_TO - 1 - len(ids)) if len(rest) else 0.0)) / (PADDED_TO - 1)

    def _positions(self, length: int) -> list[int]:
        """Return the padded positions that are computed, ascending."""
        padding = range(length, PADDED_TO)
        if self._padding is None or len(padding) <= self._padding:
            return list(padding)
        step = (len(padding) - 1) / self._padding
        return [padding[int(step * (number + 0.5))] for number in range(self._padding)]
