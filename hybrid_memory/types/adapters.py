"""What is learned together, and what came of the training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from hybrid_memory.types.scopes import Scope
from hybrid_memory.types.values import Json, Value
from hybrid_memory.types.words import AdapterStatus

__all__ = [
    "BEHAVIOUR",
    "EXAMPLES",
    "FACTS",
    "GENERATOR",
    "TASKS",
    "AdapterVersion",
    "Rollback",
    "Shard",
    "Verdict",
]

BEHAVIOUR, EXAMPLES, FACTS, TASKS = "behaviour", "examples", "facts", "tasks"
"""Groups of shards: always on; chosen by the question, both; asked for by name."""

GENERATOR = "generator"
"""Id and group of the shard whose versions write self-edits: it has no records, and no question ever reaches it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard(Value):
    """A set of records that are learned together in one adapter."""

    id: str
    scope: Scope
    group: str
    """BEHAVIOUR, EXAMPLES, FACTS, TASKS or GENERATOR."""
    dirty: bool
    masked: bool
    """True: switched off as a whole until it is rebuilt (a forgotten record is in it)."""
    active: str | None
    """Id of the adapter version that serves, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterVersion(Value):
    """One immutable trained adapter."""

    id: str
    """ "<shard id>-v<number>"; never used twice."""
    shard_id: str
    number: int
    status: AdapterStatus
    path: str
    """Folder with adapter_model.safetensors, adapter_config.json, manifest.json."""
    created_at: datetime
    record_ids: tuple[str, ...]
    manifest: Mapping[str, Json]
    metrics: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback(Value):
    """What going back to a time came to."""

    serving: tuple[AdapterVersion, ...]
    """The versions that served then and serve again."""
    kept: Mapping[str, str]
    """Shard id -> why it goes on with what it serves now: the version of then cannot serve any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Value):
    """What the gate measured on a candidate adapter, and what follows from it."""

    passed: bool
    reasons: tuple[str, ...]
    """One sentence per failed check."""
    unlearned: tuple[str, ...]
    """Ids of the records whose held-out question did not become likelier by the least gain."""
    metrics: Mapping[str, Json]
    failed: tuple[str, ...] = ()
    """Names of the failed checks, one for each reason: "learned", "kept", "following", "canaries", "drift", …"""
