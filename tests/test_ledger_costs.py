"""What a ledger's calls cost as it grows, counted in steps of SQLite's virtual machine: no clock is looked at."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ledger_entries import ANN, SHARD, day, entry, open_ledger
from sqlalchemy import event

from hybrid_memory.ledger.ledger import SqlLedger
from hybrid_memory.types import Route, Slot

FEW, MANY = 60, 240
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def number(place: int) -> dict[str, Any]:
    """Every other record is a value of a slot, every second of these replaces the one before it."""
    slot = Slot(f"ferry {place // 4}", "pier") if place % 2 else None
    return {"slot": slot, "value": f"pier {place}" if slot else None, "valid_from": day(place / 100)}


def filled(folder: Path, count: int) -> SqlLedger:
    ledger = open_ledger(folder)
    receipts = ledger.write(
        [entry(f"Ferry {place} leaves.", route=Route.LEARN, **number(place)) for place in range(count)]
    )
    for start in range(0, count, 10):  # each has stood otherwise before
        ids = [str(receipt.record_id) for receipt in receipts[start : start + 10]]
        ledger.assign(ids, shard=replace(SHARD, id=f"facts-{start}"))
    return ledger


def written(ledger: SqlLedger) -> datetime:
    return ledger.events(limit=1)[0].at


def steps(ledger: SqlLedger, call: Callable[[SqlLedger], object]) -> int:
    """How many steps SQLite takes for a call."""
    taken = 0

    def count() -> int:
        nonlocal taken
        taken += 1
        return 0

    engine = ledger._database._engine
    engine.dispose()  # the next connection is made anew, and counted
    event.listen(engine, "connect", lambda connection, _: connection.set_progress_handler(count, 1))
    call(ledger)
    return taken


READS_ALL: dict[str, Callable[[SqlLedger], object]] = {
    "what is evidence now": lambda ledger: ledger.visible(scope=ANN),
    "what was evidence then": lambda ledger: ledger.visible(scope=ANN, as_of=NOW),
    "what was known then": lambda ledger: ledger.visible(scope=ANN, known_at=written(ledger)),
    "what was known then of an earlier time": lambda ledger: ledger.find(
        scope=ANN, known_at=written(ledger), as_of=NOW, filters={"kind": "fact"}
    ),
    "filtered": lambda ledger: ledger.visible(scope=ANN, filters={"kind": "fact"}),
    "listed": lambda ledger: ledger.find(scope=ANN),
    "listed with all statuses": lambda ledger: ledger.find(scope=ANN, all_statuses=True, as_of=NOW),
    "what waits to be learned": lambda ledger: ledger.pending(),
    "what the doctor checks": lambda ledger: ledger.check(),
}

READS_ONE: dict[str, Callable[[SqlLedger], object]] = {
    "one more text": lambda ledger: ledger.write([entry("The pier is wet.")]),
    "one more value of a slot": lambda ledger: ledger.write([entry("Pier 9.", **number(1) | {"value": "pier 9"})]),
    "the history of a value": lambda ledger: ledger.history(first(ledger)),
    "one record changed": lambda ledger: ledger.update(first(ledger), metadata={"page": 1}),
    "one record forgotten": lambda ledger: ledger.forget([first(ledger)]),
    "what has ended": lambda ledger: ledger.expire(NOW),
}


def first(ledger: SqlLedger) -> str:
    return ledger.find(scope=None, all_statuses=True, limit=2)[1].id


@pytest.mark.parametrize("name", READS_ALL)
def test_four_times_the_records_are_read_in_about_four_times_the_steps(tmp_path: Path, name: str) -> None:
    """Each record is looked at once, and never compared with all the others."""
    with closing(filled(tmp_path / "few", FEW)) as few, closing(filled(tmp_path / "many", MANY)) as many:
        assert steps(many, READS_ALL[name]) <= 1.25 * MANY / FEW * steps(few, READS_ALL[name])


@pytest.mark.parametrize("name", READS_ONE)
def test_what_concerns_one_record_costs_the_same_in_a_ledger_four_times_as_large(tmp_path: Path, name: str) -> None:
    """It is looked up."""
    with closing(filled(tmp_path / "few", FEW)) as few, closing(filled(tmp_path / "many", MANY)) as many:
        assert steps(many, READS_ONE[name]) <= 1.25 * steps(few, READS_ONE[name])


def test_what_changed_is_read_and_not_all_again(tmp_path: Path) -> None:
    """After one more record a remembered selection is brought up to date in as many steps, however many it holds."""

    def caught_up(count: int) -> int:
        with closing(filled(tmp_path / str(count), count)) as ledger:
            clock = ledger.clock()
            ledger.write([entry("The pier is wet.")])
            since = {"scope": ANN, "filters": None, "event": clock, "after": datetime.now(UTC)}
            return steps(ledger, lambda known: known.visible_since(**since))

    assert caught_up(MANY) <= 1.25 * caught_up(FEW)
