"""Where a text goes and why; what another policy would move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hybrid_memory.types.values import Json, Value
from hybrid_memory.types.words import Kind, Route, Sensitivity, Trust

__all__ = ["Decision", "Finding", "Move", "Replay"]


@dataclass(frozen=True, slots=True)
class Finding(Value):
    """What a screen saw in a text."""

    screen: str
    """Which screen: "instruction", "secret" or "personal"."""
    detail: str
    """What it saw, in words fit for a reason line; never the secret itself."""
    score: float = 1.0
    """How sure it is, in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Value):
    """Where a text goes and why."""

    route: Route
    kind: Kind
    p_durable: float
    """Calibrated probability in [0, 1] that the text stays true for years."""
    p_behaviour: float
    """Calibrated probability in [0, 1] that it should shape how the model behaves."""
    sensitivity: Sensitivity
    trust: Trust
    reasons: tuple[str, ...]
    """Plain sentences, in the order in which the decision was made."""
    policy: str
    """Name and fingerprint of the policy, as "default@1a2b3c4d5e6f"."""
    ttl_s: float | None = None
    """Lifetime the policy gives to it, in seconds; None keeps it until it is replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move(Value):
    """One record that another policy would route differently."""

    record_id: str
    text: str
    before: Route
    after: Route
    reasons: tuple[str, ...]
    decision: Decision
    """The whole decision of the other policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay(Value):
    """What another policy would move, and what learning again would cost; nothing has moved."""

    policy: str
    """Name and fingerprint of the other policy."""
    moves: tuple[Move, ...]
    cost: Mapping[str, Json]
    """records_to_learn, records_to_unlearn, shards_to_rebuild, records_to_learn_again, and the seconds that training
    these took per record so far (None before the first window)."""
