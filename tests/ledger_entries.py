"""Short ways to write entries and to open a ledger, for the tests of the ledger."""

from __future__ import annotations

import hashlib
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_memory.ledger import migrations
from hybrid_memory.ledger.database import Database
from hybrid_memory.ledger.ledger import SqlLedger
from hybrid_memory.types import (
    AdapterStatus,
    AdapterVersion,
    Decision,
    Draft,
    Entry,
    FloatArray,
    Kind,
    Route,
    Scope,
    Sensitivity,
    Shard,
    Slot,
    Trust,
)

ANN = Scope(tenant_id="acme", user_id="ann")
BEN = Scope(tenant_id="acme", user_id="ben")
ACME = Scope(tenant_id="acme")
SLOT = Slot("harbour café", "opening time")
START = datetime(2024, 1, 1, tzinfo=UTC)
SHARD = Shard(id="ann-facts", scope=ANN, group="facts", dirty=False, masked=False, active=None)


def open_ledger(folder: Path, *, url: str | None = None, lock_timeout_s: float = 120.0) -> SqlLedger:
    """Open the ledger at a URL, or the file in the folder."""
    return SqlLedger.open(
        url or f"sqlite:///{folder / 'ledger.sqlite'}",
        lock_path=folder / "ledger.lock",
        lock_timeout_s=lock_timeout_s,
    )


def at_revision(url: str, revision: str, folder: Path) -> None:
    """Make or upgrade a ledger as the version of that revision would have."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__path__[0])))
    opened = closing(Database(url, lock_path=folder / "ledger.lock", lock_timeout_s=5))
    with opened as database, database.writing() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def day(number: float) -> datetime:
    """Days after the start of 2024: all in the past."""
    return START + timedelta(days=number)


def unit(text: str) -> FloatArray:
    """A unit vector of length 4 that depends on the text alone."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
    vector = np.random.default_rng(seed).normal(size=4)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def decided(route: Route = Route.RETRIEVE, **given: Any) -> Decision:
    base: dict[str, Any] = {
        "route": route,
        "kind": Kind.FACT,
        "p_durable": 0.5,
        "p_behaviour": 0.25,
        "sensitivity": Sensitivity.NORMAL,
        "trust": Trust.USER,
        "reasons": ("a rule of the test",),
        "policy": "test@0123456789ab",
    }
    return Decision(**{**base, **given})


def drafted(text: str, **given: Any) -> Draft:
    base: dict[str, Any] = {
        "text": text,
        "kind": None,
        "scope": ANN,
        "source": "chat",
        "trust": Trust.USER,
        "observed_at": day(0),
        "valid_from": day(0),
        "passages": (text,),
    }
    return Draft(**{**base, **given})


def entry(
    text: str,
    *,
    route: Route = Route.RETRIEVE,
    ttl_s: float | None = None,
    force: bool = False,
    sentences: tuple[str, ...] = (),
    **given: Any,
) -> Entry:
    draft = drafted(text, **given)
    vectors = np.array([unit(one) for one in (*draft.passages, *sentences)], dtype=np.float32).reshape(-1, 4)
    decision = decided(route, ttl_s=ttl_s)
    return Entry(draft=draft, decision=decision, vectors=vectors, encoder="test", sentences=sentences, force=force)


def opening(value: str, since: float, **given: Any) -> Entry:
    """One value of SLOT, valid from a day of 2024 on."""
    stated = {"slot": SLOT, "value": value, "valid_from": day(since), **given}
    return entry(f"The harbour café opens at {value}.", **stated)


def learn(ledger: SqlLedger, *texts: str, **given: Any) -> list[str]:
    """Write texts routed to the weights; return their ids."""
    return [str(receipt.record_id) for receipt in ledger.write([entry(t, route=Route.LEARN, **given) for t in texts])]


def adapter(number: int, record_ids: list[str], *, shard_id: str = SHARD.id) -> AdapterVersion:
    return AdapterVersion(
        id=f"{shard_id}-v{number}",
        shard_id=shard_id,
        number=number,
        status=AdapterStatus.CANDIDATE,
        path=f"adapters/{shard_id}-v{number}",
        created_at=day(number),
        record_ids=tuple(record_ids),
        manifest={"seed": 0},
        metrics={"learned": 1.0},
    )
