"""What is learned from study material: the response after its prompt.

Flow:    study items -> [objective] -> trainer
Imports: errors, types, config, evidence; the language model and the layer split of this stage.

What makes it fast on a CPU (docs/decisions.md): rows of like length together and padding in no loss; logits only where
there is loss; LoRA in the upper half of the layers, so that the lower half is computed once; and adapters that act on
the answer alone, so that what stands before it is computed once too.
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
from hybrid_memory.evidence import UNPROMPTED, ask
from hybrid_memory.types import StudyItem, Turn
from hybrid_memory.weights.distillation import SoftTargets, soft_cross_entropy, soft_targets
from hybrid_memory.weights.language_model import LocalLanguageModel
from hybrid_memory.weights.layer_split import LayerSplit, can_be_continued, can_be_split
from hybrid_memory.weights.prefix import prefix_of
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
    def acts_on(self) -> str:
        """Where the adapter acts: from the assistant's turn on ("answer"), or everywhere ("all")."""
        ...

    @property
    def lengths(self) -> Sequence[int]:
        """Token positions of each row at which the adapter acts, padding included where it is trained on."""
        ...

    def loss(self, places: Sequence[int]) -> Tensor:
        """Return the loss over these rows, nats per token."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """The part of one sequence on which the adapter acts, and what is computed of it once."""

    ids: list[int]
    start: int
    """Index of the first token in the loss."""
    past: Tensor | None
    """What the base remembers of the tokens before `ids`: shape (layers, 2, heads, length, width); None of none."""
    lower: Tensor | None
    """What the frozen lower layers make of `ids`, shape (length, width)."""
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
        self._on_answers = settings.acts_on == "answer" and not self._from_start
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
    def acts_on(self) -> str:
        """As the settings say, unless the loss is on all tokens or the decoder cannot go on from what it has read."""
        return "answer" if self._on_answers else "all"

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row at which the adapter acts."""
        return [len(row.ids) for row in self.rows]

    def read(self, items: Sequence[StudyItem]) -> ResponseLoss:
        """Encode the items, and compute what the frozen lower layers make of them.

        Raises:
            InputError: an item is longer than the settings' max_tokens, or has a response of no token.
            ConfigError: the model's logits are not those of its output layer.
        """
        with self._lm.adapted(()):
            _require_plain_head(self._lm)
            self._part()
            encoded = [self._lm.training_tokens(self._chat(item), item.response) for item in items]
            _require_length(encoded, self._settings.max_tokens)
            begun = [self._quiet(start) for _, start in encoded]
            frozen = self._frozen(encoded, begun)
            soft = soft_targets(self._lm, items, self._settings)
        self.rows = [
            Row(ids[until:], 1 if self._from_start else start - until, past, lower, targets)
            for (ids, start), until, (past, lower), targets in zip(encoded, begun, frozen, soft, strict=True)
        ]
        return self

    def refuses(self, item: StudyItem, *, more: int = 0) -> str:
        """Say why `read` would refuse an item with `more` tokens after it, "" when it would not."""
        try:
            encoded = [self._lm.training_tokens(self._chat(item), item.response)]
            _require_length(encoded, self._settings.max_tokens, more=more)
        except InputError as error:
            return str(error)
        return ""

    def _part(self) -> None:
        """Part the decoder where LoRA begins, if that is of use and this decoder can be parted."""
        device = self._lm.base.device
        if (self._first or self._on_answers) and can_be_split(self._lm.decoder, self._first, device=device):
            self.split = LayerSplit(self._lm.decoder, self._first)
        self._on_answers = self._on_answers and self.split is not None and can_be_continued(self.split, device=device)

    def _chat(self, item: StudyItem) -> tuple[Turn, ...]:
        """Return what stands before the response; a text without a prompt is only outside a chat if that is learned."""
        if item.prompt:
            return ask(item.prompt, item.evidence, item.shots)
        return UNPROMPTED if self._on_answers else ()

    def _quiet(self, start: int) -> int:
        """Return how many tokens are the base's alone in a row whose response starts there."""
        return max(0, start - len(self._lm.header)) if self._on_answers else 0

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
        mixed = []
        for number, row in enumerate(batch):
            own = sequences.rows == number
            found = nats[own.to(nats.device)]
            if row.soft is not None:
                length = len(row.soft.ids)  # the response stands last
                soft = soft_cross_entropy(logits[own.to(logits.device)][-length:], row.soft)
                shares = row.soft.shares.to(found.device)
                found = torch.cat([found[:-length], (1 - shares) * found[-length:] + shares * soft])
            mixed.append(found)
        return torch.cat(mixed)

    def hidden(self, batch: Sequence[Row], sequences: Sequences) -> Tensor:
        """Return the last hidden states, shape (rows, longest, width)."""
        if self.split is None:
            ids = sequences.ids.to(self._lm.base.device)
            whole: Tensor = self._lm.decoder(input_ids=ids, use_cache=False).last_hidden_state
            return whole
        pasts = [row.past for row in batch if row.past is not None]
        lower = [row.lower for row in batch if row.lower is not None]
        prefix = prefix_of(pasts, first=self.split.first) if pasts else None
        return self.split.upper(nn.utils.rnn.pad_sequence(lower, batch_first=True), prefix)

    @torch.no_grad()
    def _frozen(
        self, encoded: Sequence[tuple[list[int], int]], begun: Sequence[int]
    ) -> list[tuple[Tensor | None, Tensor | None]]:
        """Return `past` and `lower` of each row, whose first `begun` tokens are the base's alone."""
        kept: list[tuple[Tensor | None, Tensor | None]] = [(None, None)] * len(encoded)
        if self.split is None:
            return kept
        order = sorted(range(len(encoded)), key=lambda place: (begun[place], len(encoded[place][0])))
        for at in range(0, len(order), LOWER_BATCH):
            places = order[at : at + LOWER_BATCH]
            batch = Sequences.pad([encoded[place] for place in places], pad=self._lm.tokenizer.pad_token_id)
            lower = self.split.lower(batch.ids.to(self._lm.base.device))
            past = self.split.remembered(lower[:, : max(1, begun[places[-1]])]) if self._on_answers else None
            for row, place in enumerate(places):
                until, end = begun[place], len(encoded[place][0])
                own = None if past is None else past[:, :, row, :, :until].clone()
                kept[place] = (own, lower[row, until:end].clone())
        return kept


def _require_length(encoded: Sequence[tuple[list[int], int]], most: int, *, more: int = 0) -> None:
    """Raise InputError when a sequence, with `more` tokens that may come to it, has more than `most`."""
    longest = max(len(ids) for ids, _ in encoded)
    if longest + more > most:
        grown = f" and may get {more} more" if more else ""
        raise InputError(
            f"a training sequence has {longest} tokens{grown}, at most {most} are accepted; "
            "split the text, or raise training.max_tokens"
        )


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
