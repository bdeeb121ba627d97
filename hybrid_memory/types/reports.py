"""What a window and the outer loop did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hybrid_memory.types.scopes import Scope
from hybrid_memory.types.values import Json, Value

__all__ = ["ConsolidationReport", "GeneratorReport", "RoundReport", "ShardReport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReport(Value):
    """What one window did to one shard."""

    shard_id: str
    group: str
    scope: Scope
    version: str | None
    """The version that was trained; None when nothing could be."""
    promoted: bool
    learned: tuple[str, ...]
    declined: Mapping[str, str]
    """record id -> why it stays in retrieval only."""
    metrics: Mapping[str, Json]
    attempts: tuple[str, ...]
    """The gate's ladder as it was climbed, one line each."""
    items: int
    trained_tokens: int
    seconds: Mapping[str, float]
    """"write", "train", "gate"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsolidationReport(Value):
    """What one window did."""

    shards: tuple[ShardReport, ...]
    learned: int
    declined: int
    remaining: int
    """Queue entries that wait for the next window (the budget ran out)."""
    seconds: float
    summary: str
    """One line for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundReport(Value):
    """What one round of the outer loop did."""

    round: int
    version: str | None
    """The generator that was trained; None when no self-edit was worth learning from, or its training failed."""
    promoted: bool
    reason: str
    """Why it serves, or why it does not."""
    winners: int
    """Self-edits that the generator was trained on, those of earlier rounds included."""
    refused: int
    """Samples without a single usable question, or too long to learn from."""
    mean_reward: float
    """Over all samples on the training passages."""
    best_reward: float
    """Mean over the training passages of their best sample."""
    held_out_before: float
    held_out_after: float | None
    """Mean reward on the held-out passages, before and after; nats per token, or in [0, 1]."""
    trained_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorReport(Value):
    """What `seal train` did."""

    rounds: tuple[RoundReport, ...]
    serving: str | None
    """The generator version that writes self-edits from now on; None: the base model."""
    seconds: float
    """Of all rounds, what was spent before a kill included."""
    summary: str
    """One line for people."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """lesson, by its place and first words -> why nothing was sampled for it."""
