"""What is learned from study material: the response after its prompt.

Flow:    study items -> [objective] -> trainer
Imports: errors, types, config, evidence; the language model and the layer split of this stage.

What makes it fast on a CPU (docs/decisions.md): rows of like length together and padding in no loss; logits
only where there is loss; LoRA in the upper half of the layers, so that the lower half is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from peft import LoraConfig
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from hybrid_memory.config import TrainingSettings
from hybrid_memory.errors import ConfigError, InputError
from hybrid_memory.evidence import ask
from hybrid_memory.types import StudyItem
from hybrid_memory.weights.distillation import SoftTargets, soft_cross_entropy, soft_targets
from hybrid_memory.weights.language_model import LocalLanguageModel
from hybrid_memory.weights.layer_split import LayerSplit, can_be_split
from hybrid_memory.weights.sequences import Sequences

__all__ = ["Objective", "ResponseLoss"]

LOWER_BATCH = 32
"""Rows whose lower activations are computed together."""


class Objective(Protocol):
    """What one run of the inner loop lowers."""

    @property
    def lora(self) -> LoraConfig:
        """The fresh adapter it is lowered with."""
        ...

    @property
    def lengths(self) -> Sequence[int]:
        """Token positions of each row, padding included where it is trained on."""
        ...

    def loss(self, places: Sequence[int]) -> Tensor:
        """Return the loss over these rows, nats per token."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One encoded sequence with what the frozen lower layers make of it, shape (length, width)."""

    ids: list[int]
    start: int
    """Index of the first token in the loss."""
    lower: Tensor | None
    soft: SoftTargets | None = None
    """What the teacher says of the response, where it is followed."""


class ResponseLoss:
    """Mean cross-entropy of the responses' tokens, with LoRA in the upper layers."""

    def __init__(self, language_model: LocalLanguageModel, settings: TrainingSettings, *, loss_on: str) -> None:
        """Put the loss on the "answer" tokens, or on "all" but the first."""
        self._lm = language_model
        self._settings = settings
        self._from_start = loss_on == "all"
        self._layers = int(language_model.base.config.num_hidden_layers)
        self._first = int(self._layers * settings.frozen_layers)
        self.split: LayerSplit | None = None
        self.rows: list[Row] = []

    @property
    def lora(self) -> LoraConfig:
        """LoRA on the settings' targets in every layer that is not frozen."""
        settings = self._settings
        return LoraConfig(
            r=settings.lora_rank,
            lora_alpha=settings.lora_alpha,
            target_modules=list(settings.targets),
            layers_to_transform=list(range(self._first, self._layers)),
            lora_dropout=0.0,  # what is computed once for all epochs must not vary
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in self._lm.base.modules()),  # GPT-2's layers
            task_type="CAUSAL_LM",
        )

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [len(row.ids) for row in self.rows]

    def read(self, items: Sequence[StudyItem]) -> ResponseLoss:
        """Encode the items, and compute what the frozen lower layers make of them.

        Raises:
            InputError: an item is longer than the settings' max_tokens, or has a response of no token.
            ConfigError: the model's logits are not those of its output layer.
        """
        encoded = [
            self._lm.training_tokens(ask(item.prompt, item.evidence, item.shots) if item.prompt else (), item.response)
            for item in items
        ]
        longest = max(len(ids) for ids, _ in encoded)
        if longest > self._settings.max_tokens:
            raise InputError(
                f"a training sequence has {longest} tokens, at most {self._settings.max_tokens} are accepted; "
                "split the text, or raise training.max_tokens"
            )
        with self._lm.adapted(()):
            _require_plain_head(self._lm)
            if self._first and can_be_split(self._lm.decoder, self._first, device=self._lm.base.device):
                self.split = LayerSplit(self._lm.decoder, self._first)
            lower = self._lower(encoded)
            soft = soft_targets(self._lm, items, self._settings) if self._settings.distillation else [None] * len(items)
        self.rows = [
            Row(ids, 1 if self._from_start else start, states, targets)
            for (ids, start), states, targets in zip(encoded, lower, soft, strict=True)
        ]
        return self

    def loss(self, places: Sequence[int]) -> Tensor:
        """Return the mean cross-entropy per token in the loss, in nats."""
        batch = [self.rows[place] for place in places]
        sequences = Sequences.pad([(row.ids, row.start) for row in batch], pad=self._lm.tokenizer.pad_token_id)
        hidden = self.hidden(batch, sequences)
        logits = self._lm.head(hidden[sequences.rows, sequences.columns]).float()
        if all(row.soft is None for row in batch):
            return functional.cross_entropy(logits, sequences.targets.to(logits.device))
        nats = functional.cross_entropy(logits, sequences.targets.to(logits.device), reduction="none")
        return self._distilled(batch, sequences, logits, nats).mean()

    def _distilled(self, batch: Sequence[Row], sequences: Sequences, logits: Tensor, nats: Tensor) -> Tensor:
        """Return the nats of each token, mixed with the teacher's where a row follows it."""
        weight, mixed = self._settings.distillation, []
        for number, row in enumerate(batch):
            own = sequences.rows == number
            found = nats[own.to(nats.device)]
            if row.soft is not None:
                length = len(row.soft.ids)  # the response stands last
                soft = soft_cross_entropy(logits[own.to(logits.device)][-length:], row.soft)
                found = torch.cat([found[:-length], (1 - weight) * found[-length:] + weight * soft])
            mixed.append(found)
        return torch.cat(mixed)

    def hidden(self, batch: Sequence[Row], sequences: Sequences) -> Tensor:
        """Return the last hidden states, shape (rows, longest, width)."""
        if self.split is None:
            ids = sequences.ids.to(self._lm.base.device)
            whole: Tensor = self._lm.decoder(input_ids=ids, use_cache=False).last_hidden_state
            return whole
        lower = [row.lower for row in batch if row.lower is not None]
        return self.split.upper(nn.utils.rnn.pad_sequence(lower, batch_first=True))

    @torch.no_grad()
    def _lower(self, encoded: Sequence[tuple[list[int], int]]) -> list[Tensor | None]:
        """Return what the frozen lower layers make of each row, shape (length, width); None where it is not kept."""
        states: list[Tensor | None] = [None] * len(encoded)
        if self.split is None:
            return states
        order = sorted(range(len(encoded)), key=lambda place: len(encoded[place][0]))
        for at in range(0, len(order), LOWER_BATCH):
            places = order[at : at + LOWER_BATCH]
            batch = Sequences.pad([encoded[place] for place in places], pad=self._lm.tokenizer.pad_token_id)
            hidden = self.split.lower(batch.ids.to(self._lm.base.device))
            for row, place in enumerate(places):
                states[place] = hidden[row, : len(encoded[place][0])].clone()
        return states


@torch.no_grad()
def _require_plain_head(language_model: LocalLanguageModel) -> None:
    """Refuse a model that does something to its logits that this package does not know of."""
    ids = torch.arange(3, 9, device=language_model.base.device)[None] % language_model.base.config.vocab_size
    whole = language_model.base(input_ids=ids, use_cache=False).logits.float()
    hidden = language_model.decoder(input_ids=ids, use_cache=False).last_hidden_state
    if not torch.allclose(language_model.head(hidden).float(), whole, atol=1e-2, rtol=1e-2, equal_nan=True):
        raise ConfigError(
            f"models of type {language_model.base.config.model_type!r} change their logits after the output layer in a "
            "way that is not known here, so they cannot be trained; choose another model.name"
        )
