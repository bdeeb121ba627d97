"""A short way to make records, for the tests of stages that only read them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from hybrid_memory.types import Decision, Kind, Learning, Record, Route, Scope, Sensitivity, Status, Trust

LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)
DECISION = Decision(
    route=Route.LEARN,
    kind=Kind.FACT,
    p_durable=0.9,
    p_behaviour=0.1,
    sensitivity=Sensitivity.NORMAL,
    trust=Trust.OPERATOR,
    reasons=(),
    policy="test@0123456789ab",
)


def record(text: str, **given: Any) -> Record:
    """A record of that text; its id and hash follow from the text."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    base: dict[str, Any] = {
        "id": f"r-{digest[:8]}",
        "text": text,
        "kind": Kind.FACT,
        "scope": Scope(),
        "source": "test",
        "trust": Trust.OPERATOR,
        "observed_at": LONG_AGO,
        "recorded_at": LONG_AGO,
        "valid_from": LONG_AGO,
        "valid_to": None,
        "expires_at": None,
        "slot": None,
        "value": None,
        "version": 0,
        "status": Status.ACTIVE,
        "superseded_by": None,
        "decision": DECISION,
        "learning": Learning.QUEUED,
        "learning_detail": "",
        "shard_id": None,
        "examples": (),
        "content_hash": digest,
        "idempotency_key": None,
        "metadata": {},
    }
    return Record(**{**base, **given})
