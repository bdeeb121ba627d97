"""Database rows <-> the values of types/.

Flow:    the only place where columns become `Record`, `Passage`, `Event`, `SelfEdit`, `Shard`, `AdapterVersion`.
Imports: types, and clock of the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from sqlalchemy import RowMapping

from hybrid_memory.ledger.clock import from_micros
from hybrid_memory.types import (
    AdapterStatus,
    AdapterVersion,
    Decision,
    Directives,
    Event,
    Example,
    FloatArray,
    Kind,
    Learning,
    Passage,
    Record,
    Route,
    Scope,
    SelfEdit,
    Sensitivity,
    Shard,
    Slot,
    Status,
    StudyItem,
    Trust,
)

__all__ = [
    "Row",
    "read_decision",
    "read_event",
    "read_passage",
    "read_record",
    "read_self_edit",
    "read_shard",
    "read_vectors",
    "read_version",
    "scope_row",
    "self_edit_row",
    "vector_bytes",
]

Row: TypeAlias = Mapping[str, Any]
"""Column name -> value, as SQLAlchemy takes and gives it."""


def scope_row(scope: Scope, key: str) -> dict[str, Any]:
    """Return the five scope columns; `key` is `scope_key(scope)`."""
    return {"scope_key": key, **dict(zip(scope.keys(), scope.values(), strict=True))}


def _scope(row: Row | RowMapping) -> Scope:
    return Scope(row["tenant_id"], row["user_id"], row["agent_id"], row["run_id"])


def read_record(row: Row | RowMapping) -> Record:
    """Return the record of a full row of `records`."""
    return Record(
        id=row["id"],
        text=row["text"],
        kind=Kind(row["kind"]),
        scope=_scope(row),
        source=row["source"],
        trust=Trust(row["trust"]),
        observed_at=from_micros(row["observed_at"]),
        recorded_at=from_micros(row["recorded_at"]),
        valid_from=from_micros(row["valid_from"]),
        valid_to=None if row["valid_to"] is None else from_micros(row["valid_to"]),
        expires_at=None if row["expires_at"] is None else from_micros(row["expires_at"]),
        slot=None if row["slot_key"] is None else Slot(row["subject"], row["attribute"]),
        value=row["value"],
        version=row["version"],
        status=Status(row["status"]),
        superseded_by=row["superseded_by"],
        decision=read_decision(row["decision"]),
        learning=Learning(row["learning"]),
        learning_detail=row["learning_detail"],
        shard_id=row["shard_id"],
        examples=tuple(Example(**example) for example in row["examples"]),
        content_hash=row["content_hash"],
        idempotency_key=row["idempotency_key"],
        metadata=row["metadata"],
        asked=row["asked"],
    )


def read_decision(data: Mapping[str, Any]) -> Decision:
    """Return the decision of its JSON form."""
    return Decision(
        route=Route(data["route"]),
        kind=Kind(data["kind"]),
        p_durable=data["p_durable"],
        p_behaviour=data["p_behaviour"],
        sensitivity=Sensitivity(data["sensitivity"]),
        trust=Trust(data["trust"]),
        reasons=tuple(data["reasons"]),
        policy=data["policy"],
        ttl_s=data["ttl_s"],
    )


def read_event(row: Row | RowMapping) -> Event:
    """Return the event of a row of `events`."""
    return Event(
        id=row["id"], at=from_micros(row["at"]), record_id=row["record_id"], name=row["name"], detail=row["detail"]
    )


def read_passage(row: Row | RowMapping) -> Passage:
    """Return the passage of a row of `records` that has `position`, `passage_id` and `passage_text` besides."""
    return Passage(id=row["passage_id"], record_id=row["id"], position=row["position"], text=row["passage_text"])


def vector_bytes(vector: FloatArray) -> bytes:
    """Return a vector as the ledger stores it: float32, little endian."""
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()


def read_vectors(blobs: Sequence[bytes]) -> FloatArray:
    """Return stored vectors of one length as an array of shape (n, dim), float32; (0, 0) when there are none."""
    if not blobs:
        return np.zeros((0, 0), dtype=np.float32)
    flat = np.frombuffer(b"".join(blobs), dtype="<f4").astype(np.float32)
    return flat.reshape(len(blobs), -1)


def self_edit_row(edit: SelfEdit, *, now: int) -> dict[str, Any]:
    """Return the row of `self_edits` for a self-edit."""
    data = edit.to_json()
    return {
        "record_id": edit.record_id,
        "generator": edit.generator,
        "seed": edit.seed,
        "learning_rate": edit.directives.learning_rate,
        "epochs": edit.directives.epochs,
        "loss_on": edit.directives.loss_on,
        "targets": _list(edit.directives.targets),
        "acts_on": edit.directives.acts_on,
        "augmentations": _list(edit.directives.augmentations),
        "items": data["items"],
        "dropped": data["dropped"],
        "created_at": now,
    }


def read_self_edit(row: Row | RowMapping) -> SelfEdit:
    """Return the self-edit of a row of `self_edits`."""
    return SelfEdit(
        record_id=row["record_id"],
        items=tuple(_study_item(item) for item in row["items"]),
        generator=row["generator"],
        seed=row["seed"],
        directives=Directives(
            learning_rate=row["learning_rate"],
            epochs=row["epochs"],
            loss_on=row["loss_on"],
            targets=_tuple(row["targets"]),
            acts_on=row["acts_on"],
            augmentations=_tuple(row["augmentations"]),
        ),
        dropped=row["dropped"],
    )


def _list(names: tuple[str, ...] | None) -> list[str] | None:
    return None if names is None else list(names)


def _tuple(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def _study_item(data: Mapping[str, Any]) -> StudyItem:
    shots = tuple(Example(**shot) for shot in data.get("shots", ()))
    return StudyItem(**{**data, "evidence": tuple(data["evidence"]), "shots": shots})


def read_shard(row: Row | RowMapping) -> Shard:
    """Return the shard of a row of `shards`."""
    return Shard(
        id=row["id"],
        scope=_scope(row),
        group=row["group_name"],
        dirty=row["dirty"],
        masked=row["masked"],
        active=row["active"],
    )


def read_version(row: Row | RowMapping, record_ids: Sequence[str]) -> AdapterVersion:
    """Return the adapter version of a row of `adapters` and its record ids in their order."""
    return AdapterVersion(
        id=row["id"],
        shard_id=row["shard_id"],
        number=row["number"],
        status=AdapterStatus(row["status"]),
        path=row["path"],
        created_at=from_micros(row["created_at"]),
        record_ids=tuple(record_ids),
        manifest=row["manifest"],
        metrics=row["metrics"],
    )
