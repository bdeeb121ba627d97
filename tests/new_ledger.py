"""An empty ledger, made once a process: waiting for the disk takes longer than most tests that want it."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from hybrid_memory.archive import LEDGER
from hybrid_memory.ledger.ledger import SqlLedger


def lay_ledger(folder: Path) -> Path:
    """Put an empty ledger where nothing is, or an empty folder; return where a folder has its ledger."""
    file = folder / LEDGER
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        folder.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_empty())
    return file


@cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / LEDGER
        SqlLedger.open(f"sqlite:///{file}", lock_path=Path(folder) / "writer.lock", lock_timeout_s=5.0).close()
        return file.read_bytes()
