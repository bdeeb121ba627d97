"""The inner loop: study material in, a LoRA adapter out.

Flow:    self-edits -> [trainer] -> gate
Imports: errors, types, protocols, config, evidence; the language model of this stage.

What makes it fast on a CPU (docs/decisions.md):
rows of like length together and padding in no loss; logits only where there is loss; LoRA in the
upper half of the layers, so that what the lower half computes is the same in every epoch and is
computed once (948 instead of 397 tokens per second on 2 cores, SmolLM2-135M).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional

from hybrid_memory.config import TrainingSettings
from hybrid_memory.errors import ConsolidationError, InputError, LedgerError
from hybrid_memory.evidence import ask
from hybrid_memory.protocols import Progress
from hybrid_memory.types import Directives, Json, StudyItem
from hybrid_memory.weights.language_model import LocalLanguageModel, Sequences

__all__ = ["LoraTrainer"]

TRAINEE = "trainee"
MOST_EPOCHS = 2
"""Times the settings' epochs that a self-edit may ask for."""
LOWER_BATCH = 32
"""Rows whose lower activations are computed together."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One encoded sequence with what the frozen lower layers make of it, shape (length, width)."""

    ids: list[int]
    start: int
    lower: Tensor | None


class LoraTrainer:
    """Trains one fresh adapter per call, always from the same initialisation."""

    def __init__(self, language_model: LocalLanguageModel, settings: TrainingSettings) -> None:
        self._lm = language_model
        self._settings = settings

    def train(
        self,
        items: Sequence[StudyItem],
        *,
        seed: int,
        folder: Path,
        directives: Directives | None = None,
        learning_rate_scale: float = 1.0,
        progress: Progress | None = None,
        deadline_s: float | None = None,
    ) -> Mapping[str, Json]:
        """Train on the items that are not held out and write the adapter into `folder`.

        Deterministic: the same items, settings, seed, machine and thread count give the same bytes.

        Args:
            items: study material of the whole shard.
            seed: of the initialisation and the order of batches.
            folder: existing, empty; gets adapter_model.safetensors and adapter_config.json.
            directives: what the material asks for; never more than the settings' rate and twice their epochs.
            learning_rate_scale: multiplies the rate (the gate's gentler retry).
            progress: told after every step.
            deadline_s: seconds after which training stops with an error.

        Returns:
            steps, tokens (trained positions), epochs, seconds, first_loss, last_loss (nats per token).

        Raises:
            InputError: no item to train on, or one longer than the settings' max_tokens.
            ConfigError: the model has no layer of the settings' targets.
            ConsolidationError: the loss is not a number, or the deadline passed.
            LedgerError: the adapter could not be written; the disk is full.
        """
        started = time.monotonic()
        rows = self._rows([item for item in items if not item.held_out])
        with torch.random.fork_rng(devices=[]):  # PEFT initialises from the global generator
            torch.manual_seed(seed)
            model = self._lm.create_adapter(TRAINEE, self._lora())
        try:
            asked = _asked(self._settings, directives or Directives(), learning_rate_scale)
            report = self._epochs(rows, model, asked, seed, progress, started, deadline_s)
            _save(model, folder)
        except (OSError, SafetensorError) as error:
            raise LedgerError(
                f"the adapter could not be written to {folder} ({error}); its records stay queued: free some space "
                "and consolidate again"
            ) from error
        finally:
            self._lm.release(TRAINEE)
        return {**report, "seconds": round(time.monotonic() - started, 3)}

    # ------------------------------------------------------------ the loop

    def _epochs(
        self,
        rows: Sequence[_Row],
        model: Any,
        settings: TrainingSettings,
        seed: int,
        progress: Progress | None,
        started: float,
        deadline_s: float | None,
    ) -> dict[str, Json]:
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0)
        plan = _plan(rows, settings, seed)
        losses: list[float] = []
        tokens = 0
        for step, batch in enumerate(plan):
            for group in optimiser.param_groups:
                warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
                group["lr"] = settings.learning_rate * warm * (1 - step / len(plan))
            optimiser.zero_grad(set_to_none=True)
            with self._lm.training(TRAINEE):
                loss = self._loss([rows[place] for place in batch])
                torch.autograd.backward(loss)
                nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
                optimiser.step()
            losses.append(loss.item())
            tokens += sum(len(rows[place].ids) for place in batch)
            spent = time.monotonic() - started
            _check(losses[-1], step, spent, deadline_s)
            if progress is not None:
                speed = tokens / max(spent, 1e-3)
                progress("train", step + 1, len(plan), f"{speed:.0f} tokens/s, loss {losses[-1]:.2f}")
        tail = losses[-max(1, len(losses) // 10) :]
        return {
            "rows": len(rows),
            "steps": len(plan),
            "tokens": tokens,
            "first_loss": round(losses[0], 4),
            "last_loss": round(sum(tail) / len(tail), 4),
        }

    def _loss(self, batch: Sequence[_Row]) -> Tensor:
        """Return the mean cross-entropy per response token, in nats."""
        sequences = Sequences.pad([(row.ids, row.start) for row in batch], pad=self._lm.tokenizer.pad_token_id)
        hidden = self._hidden(batch, sequences)
        logits = self._lm.head(hidden[sequences.rows, sequences.columns]).float()
        return functional.cross_entropy(logits, sequences.targets.to(logits.device))

    def _hidden(self, batch: Sequence[_Row], sequences: Sequences) -> Tensor:
        """Return the last hidden states, shape (rows, longest, width)."""
        decoder = self._lm.decoder
        if self._first_layer == 0:
            whole: Tensor = decoder(input_ids=sequences.ids.to(self._lm.base.device), use_cache=False).last_hidden_state
            return whole
        lower = nn.utils.rnn.pad_sequence([row.lower for row in batch if row.lower is not None], batch_first=True)
        with _layers(decoder, self._first_layer, None):
            upper: Tensor = decoder(inputs_embeds=lower, use_cache=False).last_hidden_state
        return upper

    # ------------------------------------------------------------ what is trained

    @property
    def _first_layer(self) -> int:
        return int(self._lm.base.config.num_hidden_layers * self._settings.frozen_layers)

    def _lora(self) -> LoraConfig:
        settings = self._settings
        layers = list(range(self._first_layer, self._lm.base.config.num_hidden_layers))
        return LoraConfig(
            r=settings.lora_rank,
            lora_alpha=settings.lora_alpha,
            target_modules=list(settings.targets),
            layers_to_transform=layers,
            lora_dropout=0.0,  # what is computed once for all epochs must not vary
            task_type="CAUSAL_LM",
        )

    def _rows(self, items: Sequence[StudyItem]) -> list[_Row]:
        if not items:
            raise InputError("there is no study material to train on; every item was held out or refused")
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
        lower = self._lower(encoded) if self._first_layer else [None] * len(encoded)
        return [_Row(ids, start, states) for (ids, start), states in zip(encoded, lower, strict=True)]

    @torch.no_grad()
    def _lower(self, encoded: Sequence[tuple[list[int], int]]) -> list[Tensor | None]:
        """Return what the frozen lower layers make of each row, shape (length, width)."""
        states: list[Tensor | None] = [None] * len(encoded)
        order = sorted(range(len(encoded)), key=lambda place: len(encoded[place][0]))
        decoder = self._lm.decoder
        for at in range(0, len(order), LOWER_BATCH):
            places = order[at : at + LOWER_BATCH]
            batch = Sequences.pad([encoded[place] for place in places], pad=self._lm.tokenizer.pad_token_id)
            with self._lm.adapted(()), _layers(decoder, 0, self._first_layer):
                hidden = decoder(input_ids=batch.ids.to(self._lm.base.device), use_cache=False).last_hidden_state
            for row, place in enumerate(places):
                states[place] = hidden[row, : len(encoded[place][0])].clone()
        return states


def _asked(settings: TrainingSettings, directives: Directives, scale: float) -> TrainingSettings:
    """Return the settings with what the material asks for, bounded: a self-edit never sets its own limits."""
    rate = min(directives.learning_rate or settings.learning_rate, settings.learning_rate)
    asked: dict[str, float | int] = {"learning_rate": rate * scale}
    if directives.epochs is not None:  # asked for outright, so the least number of steps does not apply
        asked |= {"epochs": min(directives.epochs, MOST_EPOCHS * settings.epochs), "min_steps": 1}
    return settings.model_copy(update=asked)


def _plan(rows: Sequence[_Row], settings: TrainingSettings, seed: int) -> list[list[int]]:
    """Return the batches of all epochs: rows of like length together, in shuffled order."""
    generator = torch.Generator().manual_seed(seed)
    per_epoch = math.ceil(len(rows) / settings.batch_size)
    epochs = max(settings.epochs, math.ceil(settings.min_steps / per_epoch))
    plan: list[list[int]] = []
    for _ in range(epochs):
        # a few tokens of jitter vary who meets whom; more would waste time on padding
        jitter = (torch.rand(len(rows), generator=generator) * 8).tolist()
        order = sorted(range(len(rows)), key=lambda place: len(rows[place].ids) + jitter[place])
        batches = [order[at : at + settings.batch_size] for at in range(0, len(order), settings.batch_size)]
        plan.extend(batches[place] for place in torch.randperm(len(batches), generator=generator).tolist())
    return plan


@contextmanager
def _layers(decoder: Any, first: int, last: int | None) -> Iterator[None]:
    """Run only layers [first, last) of a decoder; the final norm stays only with the last layer."""
    layers, norm = decoder.layers, decoder.norm
    decoder.layers = layers[first:last]
    if last is not None:
        decoder.norm = nn.Identity()
    try:
        yield
    finally:
        decoder.layers, decoder.norm = layers, norm


def _check(loss: float, step: int, spent: float, deadline_s: float | None) -> None:
    if not math.isfinite(loss):
        raise ConsolidationError(f"the loss became {loss} at step {step}; lower training.learning_rate")
    if deadline_s is not None and spent > deadline_s:
        raise ConsolidationError(
            f"training reached its deadline of {deadline_s:.0f} s at step {step}; the records stay queued: "
            "raise the budget, or lower window.shard_cap"
        )


def _save(model: Any, folder: Path) -> None:
    """Write the adapter's weights and configuration into `folder`; the same adapter gives the same bytes."""
    # "auto" would ask the model hub whether the vocabulary grew
    model.save_pretrained(str(folder), selected_adapters=[TRAINEE], save_embedding_layers=False)
    for file in (folder / TRAINEE).iterdir():  # PEFT makes a subfolder of the adapter's name
        file.rename(folder / file.name)
    (folder / TRAINEE).rmdir()
    config = folder / "adapter_config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    values["target_modules"] = sorted(values["target_modules"])  # a set in PEFT, in an order of its own each run
    config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
