"""Rows and ids of a batch: the fast way stores and reads what the plain way does."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, Table, bindparam, create_engine, insert, select
from ulid import ULID

from hybrid_memory.ledger.ids import ascending
from hybrid_memory.ledger.prepared import Query, insert_rows
from hybrid_memory.ledger.tables import events, meta, metadata, passages, sources

EVENT = {"at": 1, "record_id": None, "name": "dropped", "detail": {"reasons": ["größer", 1.5, None, True]}}
PASSAGE = {
    "record_id": "a", "position": 0, "text": "Ünïcode", "sentence": True, "vector": b"\x00\x01", "encoder": "words",
}  # fmt: skip


def stored(connection: Connection, table: Table) -> list[tuple[object, ...]]:
    """Return the rows without their numbers."""
    columns = [column for column in table.c if column.name != "id"]
    return [tuple(row) for row in connection.execute(select(*columns).order_by(*table.primary_key))]


@pytest.mark.parametrize(
    ("table", "row"),
    [(events, EVENT), (passages, PASSAGE), (meta, {"key": "salt", "value": "a"})],
    ids=["events", "passages", "meta"],
)
def test_rows_are_stored_as_sqlalchemy_stores_them(table: Table, row: dict[str, object]) -> None:
    """JSON, bytes, text and None are converted alike; the columns may come in any order."""
    found = []
    for way in ("plain", "bulk"):
        engine = create_engine("sqlite://")  # in memory, and a passage may be alone, without its record
        metadata.create_all(engine)
        with engine.connect() as connection:
            if way == "plain":
                connection.execute(insert(table), [row])
            else:
                insert_rows(connection, table, [dict(reversed(row.items()))])
            found.append(stored(connection, table))
        engine.dispose()

    assert found[0] == found[1] == [tuple(row[column.name] for column in table.c if column.name != "id")]


@pytest.mark.parametrize("names", [["a"], ["a", "c"], ["nobody"]])
def test_rows_are_read_as_sqlalchemy_reads_them(names: list[str]) -> None:
    """JSON, bytes, true and false are converted alike, and a list may have any length; the driver's names are ours."""
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    voice = {"source": "chat", "at": 1}
    statements = [
        select(events).where(
            events.c.record_id.in_(bindparam("names", expanding=True)), events.c.at < bindparam("end")
        ),
        select(passages).where(passages.c.record_id.in_(bindparam("names", expanding=True))).limit(bindparam("end")),
        select(sources).where(sources.c.record_id.in_(bindparam("names", expanding=True)), bindparam("end") > 0),
    ]
    with engine.connect() as connection:
        connection.execute(insert(events), [EVENT | {"record_id": name} for name in "abc"])
        connection.execute(insert(passages), [PASSAGE | {"record_id": name} for name in "abc"])
        rows = [voice | {"record_id": name, "vouched": name == "a"} for name in "abc"]
        connection.execute(insert(sources), rows)
        for statement in statements:
            plain = connection.execute(statement, {"names": names, "end": 9}).mappings()
            assert Query(statement).rows(connection, names=names, end=9) == [dict(row) for row in plain]
        assert Query(statements[2]).rows(connection, names=["a"], end=9)[0]["vouched"] is True
    engine.dispose()


def test_ids_ascend_one_by_one() -> None:
    """Each is the number after the one before, written as ULIDs are."""
    ids = ascending("")
    first, second, third = (next(ids) for _ in range(3))

    assert [int(ULID.from_str(one)) for one in (first, second, third)] == [
        int(ULID.from_str(first)) + step for step in range(3)
    ]
    assert str(ULID.from_str(third)) == third


def test_an_id_follows_the_last_one_when_the_clock_was_set_back() -> None:
    """A ledger written in the year 10889 goes on from there."""
    last = str(ULID.from_int(2**128 - 40))

    assert next(ascending(last)) == str(ULID.from_int(2**128 - 39))
