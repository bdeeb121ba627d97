"""What a ledger's calls cost as it grows: steps of SQLite's virtual machine, rows that PostgreSQL reads; no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ledger_entries import ANN, SHARD, day, decided, drafted, entry, open_ledger
from postgres_server import new_schema
from sqlalchemy import event, text

from hybrid_memory.ledger.ledger import SqlLedger
from hybrid_memory.ledger.tables import metadata
from hybrid_memory.types import Json, Learning, Route, Slot

FEW, MANY = 60, 240
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def number(place: int) -> dict[str, Any]:
    """Every other record is a value of a slot that states a turn, every second of these replaces the one before it.

    The others come from an export.
    """
    slot = Slot(f"ferry {place // 4}", "pier") if place % 2 else None
    turn = {"own_words": f"Hm {place}.", "own_question": "Which ferry?"}
    return {
        "slot": slot,
        "value": f"pier {place}" if slot else None,
        "valid_from": day(place / 100),
        "metadata": turn if slot else imported(place),
    }


def imported(place: int) -> dict[str, Json]:
    return {"imported_from": "mem0", "imported_id": str(place)}


def filled(folder: Path, count: int, *, url: str | None = None) -> SqlLedger:
    ledger = open_ledger(folder, url=url)
    receipts = ledger.write(
        [entry(f"Ferry {place} leaves.", route=Route.LEARN, **number(place)) for place in range(count)]
    )
    for start in range(0, count, 10):  # each has stood otherwise before
        ids = [str(receipt.record_id) for receipt in receipts[start : start + 10]]
        ledger.assign(ids, shard=replace(SHARD, id=f"facts-{start}"))
    return ledger


def server_filled(folder: Path, server: str, count: int) -> SqlLedger:
    import psycopg

    url = new_schema(server)
    open_ledger(folder, url=url).close()
    with psycopg.connect(url) as connection:
        for table in metadata.tables:
            connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    return filled(folder, count, url=url)


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


def rows_read(ledger: SqlLedger, call: Callable[[SqlLedger], object]) -> int:
    """How many rows of its tables PostgreSQL reads for a call."""
    tables = "pg_stat_xact_user_tables WHERE schemaname = current_schema"
    read = text(f"SELECT sum(seq_tup_read + idx_tup_fetch) FROM {tables}")
    with ledger.one_moment(), ledger._database.reading() as connection:
        before = connection.execute(read).scalar_one()
        call(ledger)
        return int(connection.execute(read).scalar_one() - before)


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


PAGES: dict[str, Callable[[SqlLedger], object]] = {
    "the first page of records": lambda ledger: ledger.find(scope=ANN, limit=5),
    "a deep page of records": lambda ledger: ledger.find(scope=ANN, after=last(ledger), limit=5),
    "a page in the middle": lambda ledger: ledger.find(scope=ANN, after=early(ledger), limit=5, as_of=NOW),
    "a page of all statuses": lambda ledger: ledger.find(scope=ANN, limit=5, all_statuses=True),
    "a filtered page": lambda ledger: ledger.find(scope=ANN, limit=5, filters={"kind": "fact"}),
    "the first page of records as they were": lambda ledger: ledger.find(
        scope=ANN, known_at=written(ledger), as_of=NOW, limit=5
    ),
    "a deep page of records as they were": lambda ledger: ledger.find(
        scope=ANN, known_at=written(ledger), as_of=NOW, after=last(ledger), limit=5
    ),
}

LOOK_UPS: dict[str, Callable[[SqlLedger], object]] = {
    "what a row of an export said before": lambda ledger: ledger.imported_before([imported(8), imported(-1)]),
    "what states some turns": lambda ledger: ledger.told_before(ANN, [("Hm 9.", "Which ferry?"), ("Hm.", None)]),
}

READS_ONE |= (
    PAGES
    | LOOK_UPS
    | {
        "who said nearly the same": lambda ledger: ledger.confirmations([drafted("the ferry 3 leaves")]),
        "a near-duplicate": lambda ledger: ledger.write([entry("ferry 4 leaves", source="sign")]),
        "a record by its id": lambda ledger: ledger.get(first(ledger)),
        "which of some records hold": lambda ledger: ledger.current([first(ledger)]),
        "a deep page of all records": lambda ledger: ledger.find(
            scope=None, all_statuses=True, after=last(ledger), limit=5
        ),
        "a deep page of events": lambda ledger: ledger.events(after=ledger.clock() - 5),
        "a deep page of a history": lambda ledger: ledger.history(first(ledger), after=1, limit=5),
        "one record on another route": lambda ledger: ledger.set_route(first(ledger), decided(), "of the test"),
        "one source taken away": lambda ledger: ledger.withdraw([first(ledger)], ["chat"]),
        "what was learned settled": lambda ledger: ledger.settle(learning={first(ledger): (Learning.LEARNED, "v1")}),
        "what is claimed": lambda ledger: ledger.lease([first(ledger)], worker="w", lease_s=9.0),
        "one record into a shard": lambda ledger: ledger.assign([first(ledger)], shard=SHARD),
        "a key given again": lambda ledger: ledger.write([entry("Keyed.", idempotency_key="k")] * 2),
        "what is forgotten said again": lambda ledger: ledger.write([entry("The pier is dry.")]),
        "the newest passages": lambda ledger: ledger.vectors_after(newest_passage(ledger) - 5, limit=100),
        "what went": lambda ledger: ledger.removals_after(0),
        "the number of a shard's next version": lambda ledger: ledger.next_number("facts-0"),
    }
)


def last(ledger: SqlLedger) -> str:
    return str(ledger.events(after=ledger.clock() - 1)[0].record_id)


def early(ledger: SqlLedger) -> str:
    return str(ledger.events(after=ledger.clock() // 8, limit=1)[0].record_id)


def newest_passage(ledger: SqlLedger) -> int:
    with ledger._database.reading() as connection:
        return int(connection.execute(text("SELECT max(id) FROM passages")).scalar_one())


def first(ledger: SqlLedger) -> str:
    return ledger.find(scope=None, all_statuses=True, limit=2)[1].id


@pytest.mark.parametrize("name", READS_ALL)
def test_four_times_the_records_are_read_in_about_four_times_the_steps(tmp_path: Path, name: str) -> None:
    """Each record is looked at once, and never compared with all the others."""
    with closing(filled(tmp_path / "few", FEW)) as few, closing(filled(tmp_path / "many", MANY)) as many:
        assert steps(many, READS_ALL[name]) <= 1.25 * MANY / FEW * steps(few, READS_ALL[name])


@pytest.fixture(scope="module")
def on_a_server(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> Iterator[tuple[SqlLedger, ...]]:
    """A small and a large ledger that the server has had no minute's time to look at."""
    sizes = (MANY, 4 * MANY)
    ledgers = tuple(server_filled(tmp_path_factory.mktemp("server"), postgres_server, size) for size in sizes)
    yield ledgers
    for ledger in ledgers:
        ledger.close()


@pytest.mark.postgres
@pytest.mark.parametrize("name", READS_ALL)
def test_a_server_reads_four_times_the_records_in_about_four_times_the_rows(
    on_a_server: tuple[SqlLedger, ...], name: str
) -> None:
    """From the first query on, and not only once the server has looked at the tables by itself."""
    few, many = (rows_read(ledger, READS_ALL[name]) for ledger in on_a_server)
    assert 0 < few <= 20 * MANY
    assert many <= 1.25 * 4 * few


@pytest.mark.postgres
@pytest.mark.parametrize("name", (PAGES | LOOK_UPS).keys() - {"the first page of records as they were"})
def test_a_server_reads_what_is_asked_for_and_not_the_ledger(on_a_server: tuple[SqlLedger, ...], name: str) -> None:
    """The records of a page twice: to find where it ends, and to read it.

    Former standings a server reads through while they are few.
    """
    assert 0 < rows_read(on_a_server[1], (PAGES | LOOK_UPS)[name]) <= 50


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
