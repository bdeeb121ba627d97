"""A memory whose ledger lies in PostgreSQL: writers queue at the server, and it moves there and back whole."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from ledger_entries import ANN, entry, open_ledger, opening
from postgres_server import new_schema
from tiny_flow import FACTS, KEYS, SHIFT, learn, open_memory

from hybrid_memory.errors import LedgerError, LockedError, MissingExtraError
from hybrid_memory.types import Fact

postgres = pytest.mark.postgres


@pytest.fixture
def url(postgres_server: str) -> str:
    return new_schema(postgres_server)


def test_a_missing_driver_is_named_with_the_pip_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is called `postgres`."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'hybrid-memory-sdk\[postgres\]'"):
        open_ledger(tmp_path, url="postgresql://host/database")


@postgres
def test_a_server_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    """What failed, where, and what to look at."""
    with pytest.raises(
        LedgerError, match=r"(?s)postgresql://ann:\*\*\*@localhost:1/db.*check that the server runs"
    ) as caught:
        open_ledger(tmp_path, url="postgresql://ann:hunter2@localhost:1/db")
    assert "hunter2" not in str(caught.value)


@postgres
def test_a_writer_elsewhere_is_waited_for_then_named(tmp_path: Path, url: str) -> None:
    """The lock is the server's, so it holds between machines; readers go on meanwhile."""
    first, second = open_ledger(tmp_path, url=url), open_ledger(tmp_path, url=url, lock_timeout_s=0.05)
    first.write([entry("one")])
    with first._database.writing():
        with pytest.raises(LockedError, match=r"another process has been writing.*postgresql://"):
            second.write([entry("two")])
        assert [record.text for record in second.find(scope=ANN)] == ["one"]
    second.write([entry("two")])
    assert len(first.find(scope=ANN)) == 2
    first.close()
    second.close()


@postgres
def test_a_connection_that_the_server_ends_is_named_and_replaced(tmp_path: Path, url: str) -> None:
    """In the middle of a reader's transaction; the next call connects anew."""
    import psycopg

    ledger = open_ledger(tmp_path, url=url)
    ledger.set_meta("pier", "open")
    with ledger._database.reading() as connection:
        number = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()

    def ended() -> None:
        with ledger.one_moment():  # the same connection: there is no other
            ledger.meta("pier")
            with psycopg.connect(url) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [number])
            ledger.meta("pier")

    with pytest.raises(LedgerError, match=r"connection.*check that the server runs"):
        ended()
    assert ledger.meta("pier") == "open"
    ledger.close()


@postgres
def test_schemas_of_one_database_are_separate_ledgers(tmp_path: Path, postgres_server: str) -> None:
    """The URL's search_path says which; their writers do not wait for each other."""
    one, two = (open_ledger(tmp_path, url=new_schema(postgres_server), lock_timeout_s=0.05) for _ in range(2))
    with one._database.writing():
        two.write([entry("of two")])
    assert (one.find(scope=ANN), len(two.find(scope=ANN))) == ([], 1)
    one.close()
    two.close()


@postgres
def test_a_database_of_another_program_is_left_alone(tmp_path: Path, url: str) -> None:
    """A schema that has tables already is not ours."""
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE invoices (id int)")
    with pytest.raises(LedgerError, match=r"of another program \(its tables: invoices\)"):
        open_ledger(tmp_path, url=url)


@postgres
def test_a_whole_memory_works_over_the_server(tmp_path: Path, url: str) -> None:
    """Ingest, supersede, search, learn, answer, forget: the folder holds index and adapters only."""
    with open_memory(tmp_path, ledger={"url": url}) as memory:
        (learned,) = learn(memory, SHIFT)
        memory.ingest(Fact("pier", "opening hours", "9-17"))
        memory.ingest(Fact("pier", "opening hours", "10-18"))
        assert memory.consolidate().learned == 1
        assert [hit.record.value for hit in memory.search("opening hours of the pier", top_k=1)] == ["10-18"]
        assert memory.query("When does the night shift start?").sources[0].text == SHIFT
        memory.forget(learned, weights="now")
        assert SHIFT not in [hit.text for hit in memory.search("night shift")]
        assert memory.doctor()["healthy"]
    assert not (tmp_path / "ledger.sqlite").exists()


@postgres
def test_a_memory_moves_to_a_server_and_back(tmp_path: Path, url: str) -> None:
    """An export is always a SQLite file; restoring it with a URL fills the server, and numbers go on from there."""
    with open_memory(tmp_path / "here") as memory:
        learn(memory, *FACTS)
        memory.consolidate()
        gone = memory.ingest("Soon forgotten.").record_id
        memory.forget(gone)
        memory.export(tmp_path / "one.tar.gz")
        before = [record.to_json() for record in memory.list(all_statuses=True)]
        events = [event.to_json() for event in memory._ledger.events()]

    restored(tmp_path / "one.tar.gz", tmp_path / "there", ledger={"url": url})
    with open_memory(tmp_path / "there", ledger={"url": url}) as memory:
        assert [record.to_json() for record in memory.list(all_statuses=True)] == before
        assert [event.to_json() for event in memory._ledger.events()] == events
        assert memory.search("spare keys of the boat house", top_k=1)[0].text == KEYS
        memory.ingest("Said over the server.")
        assert memory.doctor()["healthy"]
        memory.export(tmp_path / "two.tar.gz")

    restored(tmp_path / "two.tar.gz", tmp_path / "back")
    with open_memory(tmp_path / "back") as memory:
        assert memory.search("said over the server", top_k=1)[0].text == "Said over the server."
        assert memory.doctor()["healthy"]


@postgres
def test_an_export_does_not_name_the_server(tmp_path: Path, url: str) -> None:
    """What is restored has its own ledger and never writes to the old one."""
    from hybrid_memory.archive import export, restore

    (tmp_path / "memory.toml").write_text(f'[ledger]\nurl = "{url}"\nlock_timeout_s = 3\n', encoding="utf-8")
    ledger = open_ledger(tmp_path, url=url)
    ledger.write([opening("nine", 1)])
    restore(export(tmp_path, ledger, tmp_path / "export.tar.gz"), tmp_path / "new")
    assert (tmp_path / "new" / "memory.toml").read_text(encoding="utf-8") == "[ledger]\nlock_timeout_s = 3\n"
    ledger.close()


def restored(path: Path, folder: Path, **groups: dict[str, str]) -> None:
    """Restore as `HybridMemory.restore` does, with the tiny models."""
    from hybrid_memory.archive import restore

    restore(path, folder)
    open_memory(folder, **groups).close()
