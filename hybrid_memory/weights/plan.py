"""What every run of the inner loop follows: which rows in which step, at what rate, and when it has failed.

Flow:    settings, directives -> [plan] -> trainer, stacked
Imports: errors, types, config; the released recipe of this stage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from hybrid_memory.config import TrainingSettings
from hybrid_memory.errors import ConsolidationError
from hybrid_memory.types import Directives, Json
from hybrid_memory.weights.seal_compat import released_settings

__all__ = ["batches_of", "bounded", "first_and_last", "rate_at", "require_number"]

MOST_EPOCHS = 2
"""Times the settings' epochs that a self-edit may ask for."""

LEAST_RATE = 0.25
"""Part of the settings' learning rate that a self-edit may ask for at least: all of its shard are trained at it."""


def bounded(settings: TrainingSettings, directives: Directives, *, scale: float = 1.0) -> TrainingSettings:
    """Return the settings with what the material asks for, bounded: a self-edit never sets its own limits.

    `scale` multiplies the learning rate.
    """
    if settings.seal_compat:
        released = released_settings(settings)
        return released.model_copy(update={"learning_rate": released.learning_rate * scale})
    wanted = directives.learning_rate or settings.learning_rate
    rate = min(max(wanted, LEAST_RATE * settings.learning_rate), settings.learning_rate)
    asked: dict[str, Any] = {"learning_rate": rate * scale}
    if directives.epochs is not None:  # asked for outright, so the least number of steps does not apply
        asked |= {"epochs": min(directives.epochs, MOST_EPOCHS * settings.epochs), "min_steps": 1}
    if directives.acts_on is not None:
        asked["acts_on"] = directives.acts_on
    if not directives.soft:
        asked |= {"distillation": 0.0, "own_words": 0.0}
    targets = tuple(one for one in directives.targets or () if one in settings.directive_targets)
    if targets:
        asked["targets"] = targets
    return settings.model_copy(update=asked)


def batches_of(lengths: Sequence[int], settings: TrainingSettings, *, seed: int) -> list[list[int]]:
    """Return the batches of all epochs: rows of like length together, in shuffled order."""
    generator = torch.Generator().manual_seed(seed)
    per_epoch = math.ceil(len(lengths) / settings.batch_size)
    epochs = max(settings.epochs, math.ceil(settings.min_steps / per_epoch))
    plan: list[list[int]] = []
    for _ in range(epochs):
        # a few tokens of jitter vary who meets whom; more would waste time on padding
        jitter = (torch.rand(len(lengths), generator=generator) * 8).tolist()
        order = sorted(range(len(lengths)), key=lambda place: lengths[place] + jitter[place])
        batches = [order[at : at + settings.batch_size] for at in range(0, len(order), settings.batch_size)]
        plan.extend(batches[place] for place in torch.randperm(len(batches), generator=generator).tolist())
    return plan


def rate_at(step: int, steps: int, settings: TrainingSettings) -> float:
    """Return the learning rate of a step: it rises over the warm-up and falls in a line to 0."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    return settings.learning_rate * warm * (1 - step / steps)


def require_number(loss: float, step: int) -> None:
    """Raise ConsolidationError when the loss is nan or infinite."""
    if not math.isfinite(loss):
        raise ConsolidationError(f"the loss became {loss} at step {step}; lower training.learning_rate")


def first_and_last(losses: Sequence[float]) -> dict[str, Json]:
    """Return first_loss and last_loss, the mean over the last tenth of the steps; None without a step."""
    tail = losses[-max(1, len(losses) // 10) :]
    return {
        "first_loss": round(losses[0], 4) if losses else None,
        "last_loss": round(sum(tail) / len(tail), 4) if tail else None,
    }
