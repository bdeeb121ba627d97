"""A new ledger is made at once, an older one is brought there by migrations: both have the same schema."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ledger_entries import ANN, at_revision, decided, open_ledger
from postgres_server import new_schema
from sqlalchemy import Connection, Inspector, inspect, text

from hybrid_memory.ledger.database import Database
from hybrid_memory.ledger.selection import scope_key
from hybrid_memory.types import Json


def described(url: str, folder: Path) -> set[str]:
    """All that the database says of its tables, a line each; not the order of columns, for they are always named."""
    opened = closing(Database(url, lock_path=folder / "lock", lock_timeout_s=1))
    with opened as database, database.reading() as connection:
        found = inspect(connection)
        lines = {f"{name}: {line}" for name in found.get_table_names() for line in of_table(found, name)}
        return lines | set(beside_tables(connection))


def of_table(found: Inspector, name: str) -> Iterator[str]:
    yield f"key {found.get_pk_constraint(name)}"
    yield from (f"column {column}" for column in found.get_columns(name))
    yield from (f"reference {reference}" for reference in found.get_foreign_keys(name))
    yield from (f"unique {columns}" for columns in found.get_unique_constraints(name))
    yield from (f"check {condition}" for condition in found.get_check_constraints(name))
    for index in found.get_indexes(name):
        options = {key: str(value) for key, value in index.get("dialect_options", {}).items()}
        yield f"index {index | {'dialect_options': options}}"


BESIDE_TABLES = {
    "sqlite": (
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE type NOT IN ('table', 'index')",
        "SELECT name, sql LIKE '%AUTOINCREMENT%' FROM sqlite_master WHERE type = 'table'",
        "SELECT name, type, ncol, wr, strict FROM pragma_table_list WHERE schema = 'main'",
        "SELECT version_num FROM alembic_version",
        "SELECT count(*) FROM meta",
    ),
    "postgresql": (
        "SELECT tgname, replace(pg_get_triggerdef(t.oid), current_schema(), '') FROM pg_trigger t "
        "JOIN pg_class c ON c.oid = tgrelid WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace",
        "SELECT proname, replace(pg_get_functiondef(oid), current_schema(), '') FROM pg_proc "
        "WHERE pronamespace = current_schema()::regnamespace",
        "SELECT cfgname FROM pg_ts_config WHERE cfgnamespace = current_schema()::regnamespace",
        "SELECT dictname FROM pg_ts_dict WHERE dictnamespace = current_schema()::regnamespace",
        "SELECT sequencename, data_type, start_value, increment_by FROM pg_sequences "
        "WHERE schemaname = current_schema()",
        "SELECT relname, relkind, relpersistence, reloptions FROM pg_class "
        "WHERE relnamespace = current_schema()::regnamespace",
        "SELECT version_num FROM alembic_version",
        "SELECT count(*) FROM meta",
    ),
}


def beside_tables(connection: Connection) -> Iterator[str]:
    """What SQLAlchemy does not look at: triggers and their functions, sequences, how rows are numbered."""
    for query in BESIDE_TABLES[connection.dialect.name]:
        yield from (f"{query}: {tuple(row)}" for row in connection.execute(text(query)))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def nowhere(request: pytest.FixtureRequest) -> Callable[[Path], str]:
    """Gives the URL of a ledger that is yet to be made."""
    if request.param == "sqlite":
        return lambda folder: f"sqlite:///{folder / 'ledger.sqlite'}"
    server: str = request.getfixturevalue("postgres_server")
    return lambda _folder: new_schema(server)


def test_a_new_ledger_has_the_schema_that_all_migrations_lead_to(
    tmp_path: Path, nowhere: Callable[[Path], str]
) -> None:
    """Tables, columns, types, defaults, keys, indexes, triggers, and the revision that is written down."""
    migrated, made = nowhere(tmp_path / "migrated"), nowhere(tmp_path / "made")
    at_revision(migrated, "head", tmp_path)
    open_ledger(tmp_path, url=made).close()
    lines, expected = described(made, tmp_path), described(migrated, tmp_path)
    assert len(expected) > 150
    assert lines ^ expected == set()


def test_a_new_ledger_is_made_without_alembic(tmp_path: Path) -> None:
    """Loading it takes longer than making the tables; it is for ledgers of an earlier version."""
    code = "import sys, pathlib; from ledger_entries import open_ledger; open_ledger(pathlib.Path(sys.argv[1])); "
    code += "sys.exit('alembic' in sys.modules)"
    command = [sys.executable, "-c", code, str(tmp_path)]
    for _ in ("made", "opened again"):
        assert subprocess.run(command, cwd=Path(__file__).parent, check=False).returncode == 0


def test_what_an_earlier_schema_holds_is_known_again(tmp_path: Path, nowhere: Callable[[Path], str]) -> None:
    """Turns stated anew and rows of exports: hashed when the ledger is upgraded, like those that come after."""
    url = nowhere(tmp_path)
    at_revision(url, "0010", tmp_path)
    row: dict[str, Any] = dict.fromkeys(["source", "learning_detail", "content_hash", "near_hash"], "")
    row |= dict.fromkeys(["observed_at", "recorded_at", "valid_from", "confirmed_from", "version"], 0)
    row |= {"trust": "user", "status": "active", "route": "retrieve", "learning": "none", "examples": "[]"}
    row |= {"kind": "fact", "scope_key": scope_key(ANN), "decision": json.dumps(decided().to_json())}
    row |= {"tenant_id": "acme", "user_id": "ann"}
    stated = {"own_words": "Three now.", "own_question": "Which pier?"}
    imported: dict[str, Json] = {"imported_from": "mem0", "imported_id": "7"}
    notes = [{}, stated, {"own_words": 3, "imported_id": None}, imported]
    opened = closing(Database(url, lock_path=tmp_path / "lock", lock_timeout_s=5))
    with opened as database, database.writing() as connection:
        for number, note in enumerate(notes):
            row |= {"id": str(number), "text": f"Note {number}.", "metadata": json.dumps(note)}
            names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
            connection.execute(text(f"INSERT INTO records ({names}) VALUES ({values})"), row)

    with closing(open_ledger(tmp_path, url=url)) as ledger:
        assert [record.id for record in ledger.told_before(ANN, [("Three now.", "Which pier?")])] == ["1"]
        assert [record.id for record in ledger.imported_before([imported])] == ["3"]
        assert [record.id for record in ledger.find(scope=ANN, limit=3, after="0")] == ["1", "2", "3"]
        with ledger._database.reading() as connection:
            kept = connection.execute(text("SELECT count(own_hash), count(row_hash) FROM records")).one()
        assert tuple(kept) == (1, 1)
