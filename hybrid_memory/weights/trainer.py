"""The inner loop: study material in, a LoRA adapter out.

Flow:    self-edits -> [trainer] -> gate
Imports: errors, types, protocols, config; the language model and the objectives of this stage.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from hybrid_memory.config import TrainingSettings
from hybrid_memory.errors import ConfigError, DeadlineError, InputError, LedgerError
from hybrid_memory.protocols import Progress
from hybrid_memory.types import Directives, Json, StudyItem
from hybrid_memory.weights.language_model import LocalLanguageModel
from hybrid_memory.weights.objective import Objective, ResponseLoss
from hybrid_memory.weights.plan import batches_of, bounded, first_and_last, rate_at, require_number
from hybrid_memory.weights.seal_compat import SealLoss

__all__ = ["LoraTrainer"]

TRAINEE = "trainee"
PACE = 10
"""Steps after which it can be told how long a training will take."""
PATIENCE = 1.25
"""A training is given up once it looks as if it would take so many times what is left: steps differ in length."""


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
            directives: what the material asks for, bounded by the settings: between a quarter of their rate and
                all of it, at most twice their epochs, targets only among `directive_targets`. seal_compat follows none.
            learning_rate_scale: multiplies the rate (the gate's gentler retry).
            progress: told after every step.
            deadline_s: seconds after which training stops with an error; it is given up earlier, after 10 steps,
                when it looks as if it would take 1.25 times as long.

        Returns:
            rows, steps, tokens (trained positions), seconds, first_loss, last_loss (nats per token), and what
            was used: learning_rate, epochs, loss_on, targets, acts_on.

        Raises:
            InputError: no item to train on, or one longer than the settings' max_tokens.
            ConfigError: the model has no layer of the settings' targets, or cannot be trained as they ask.
            ConsolidationError: the loss is not a number.
            DeadlineError: the deadline passed, or would.
            LedgerError: the adapter could not be written; the disk is full.
        """
        started = time.monotonic()
        asked = directives or Directives()
        settings = bounded(self._settings, asked, scale=learning_rate_scale)
        loss_on = "all" if settings.seal_compat or asked.loss_on == "all" else "answer"
        objective = self._objective([item for item in items if not item.held_out], settings, loss_on)
        with (
            self._lm.fresh_adapter(TRAINEE, objective.lora, seed=seed) as model,
            _checkpointed(self._lm.base, settings.gradient_checkpointing),
        ):
            report = self._epochs(
                objective, model, settings, seed=seed, started=started, deadline_s=deadline_s, progress=progress
            )
            with self._lm.training(TRAINEE):
                _save(model, folder, self._lm.header if objective.acts_on == "answer" else None)
        used: dict[str, Json] = {
            "learning_rate": settings.learning_rate,
            "loss_on": loss_on,
            "targets": list(settings.targets),
            "acts_on": objective.acts_on,
        }
        return {**report, **used, "seconds": round(time.monotonic() - started, 3)}

    def refuses(self, item: StudyItem, *, more: int = 0) -> str:
        """Say why an item cannot be trained on, such as its length; "" when it can. The released recipe cuts.

        Args:
            item: study material.
            more: tokens that may still come to it.
        """
        if self._settings.seal_compat:
            return ""
        return ResponseLoss(self._lm, self._settings, loss_on="answer").refuses(item, more=more)

    # ------------------------------------------------------------ the loop

    def _objective(self, items: Sequence[StudyItem], settings: TrainingSettings, loss_on: str) -> Objective:
        if not items:
            raise InputError("there is no study material to train on; every item was held out or refused")
        if settings.seal_compat:
            return SealLoss(self._lm, settings).read(items)
        return ResponseLoss(self._lm, settings, loss_on=loss_on).read(items)

    def _epochs(
        self,
        objective: Objective,
        model: Any,
        settings: TrainingSettings,
        *,
        seed: int,
        started: float,
        deadline_s: float | None,
        progress: Progress | None,
    ) -> dict[str, Json]:
        with self._lm.training(TRAINEE):
            parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0)
        lengths = objective.lengths
        plan = batches_of(lengths, settings, seed=seed)
        losses: list[float] = []
        tokens, read = 0, time.monotonic() - started
        for step, batch in enumerate(plan):
            for group in optimiser.param_groups:
                group["lr"] = rate_at(step, len(plan), settings)
            optimiser.zero_grad(set_to_none=True)
            with self._lm.training(TRAINEE):
                loss = objective.loss(batch)
                torch.autograd.backward(loss)
                nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
                optimiser.step()
            losses.append(loss.item())
            tokens += sum(lengths[place] for place in batch)
            spent = time.monotonic() - started
            require_number(losses[-1], step)
            if deadline_s is not None:
                _require_time(deadline_s, spent=spent, read=read, step=step, steps=len(plan))
            if progress is not None:
                speed = tokens / max(spent, 1e-3)
                progress("train", step + 1, len(plan), f"{speed:.0f} tokens/s, loss {losses[-1]:.2f}")
        return {
            "rows": len(lengths),
            "steps": len(plan),
            "epochs": len(plan) // math.ceil(len(lengths) / settings.batch_size),
            "tokens": tokens,
            **first_and_last(losses),
        }


@contextmanager
def _checkpointed(base: nn.Module, wanted: bool) -> Iterator[None]:
    """Let the layers compute their activations again on the way back instead of keeping them, if that is wanted."""
    layers = [module for module in base.modules() if isinstance(module, GradientCheckpointingLayer)] if wanted else []
    if wanted and not layers:
        raise ConfigError(
            f"{type(base).__name__} has no layers that can be checkpointed; "
            "set training.gradient_checkpointing to false"
        )
    for layer in layers:  # the layer looks at its own flag; its parts, dropout among them, stay as they serve
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
        layer.gradient_checkpointing = layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.gradient_checkpointing = layer.training = False


def _require_time(deadline_s: float, *, spent: float, read: float, step: int, steps: int) -> None:
    """Give up when the time is over, or can be told to be too short; `read` of it passed before the first step."""
    how = "the records stay queued: raise the budget, or lower window.shard_cap"
    if spent > deadline_s:
        raise DeadlineError(f"training reached its deadline of {max(deadline_s, 0):.0f} s at step {step}; {how}")
    whole = read + (spent - read) * steps / (step + 1)
    if step + 1 >= PACE and whole > PATIENCE * deadline_s:
        raise DeadlineError(f"training would take about {whole:.0f} s, and its deadline is {deadline_s:.0f} s; {how}")


def _save(model: Any, folder: Path, invocation: Sequence[int] | None) -> None:
    """Write the adapter's weights and configuration into `folder`; the same adapter gives the same bytes.

    `invocation`: the tokens from which on it acts, as PEFT keeps them of an Activated LoRA; None if it acts everywhere.

    Raises:
        LedgerError: the disk is full, or the folder cannot be written.
    """
    try:
        _write(model, folder, invocation)
    except (OSError, SafetensorError) as error:
        raise LedgerError(
            f"the adapter could not be written to {folder} ({error}); its records stay queued: free some space "
            "and consolidate again"
        ) from error


def _write(model: Any, folder: Path, invocation: Sequence[int] | None) -> None:
    # "auto" would ask the model hub whether the vocabulary grew
    model.save_pretrained(str(folder), selected_adapters=[TRAINEE], save_embedding_layers=False)
    for file in (folder / TRAINEE).iterdir():  # PEFT makes a subfolder of the adapter's name
        file.rename(folder / file.name)
    (folder / TRAINEE).rmdir()
    config = folder / "adapter_config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    values["alora_invocation_tokens"] = None if invocation is None else list(invocation)
    values["target_modules"] = sorted(values["target_modules"])  # a set in PEFT, in an order of its own each run
    config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
