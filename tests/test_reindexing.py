"""Reindexing to another encoder: killed in between and gone on with, beside a process that has the former encoder."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from ledger_entries import decided

from hybrid_memory.errors import IndexMismatchError
from hybrid_memory.ledger.ledger import SqlLedger
from hybrid_memory.retrieval.encoder import unit_rows
from hybrid_memory.retrieval.retriever import HybridRetriever
from hybrid_memory.types import Draft, Entry, FloatArray, Kind, Scope, Trust

NOW = datetime(2026, 5, 3, 12, tzinfo=UTC)
EVERYONE = Scope()


class Hashes:
    """An encoder whose vectors depend on its name and the text alone; it counts what it embeds."""

    vocabulary: Sequence[str] = ()
    dim = 16

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self.embedded: list[str] = []

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return unit rows."""
        self.embedded += texts
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        digests = [hashlib.sha512(f"{self.fingerprint} {text}".encode()).digest()[:64] for text in texts]
        return unit_rows(np.stack([np.frombuffer(one, dtype=np.uint32) for one in digests]).astype(np.float32) - 2**31)


def entry(text: str, encoder: Hashes) -> Entry:
    """What the ledger takes of a text."""
    draft = Draft(
        text=text,
        kind=Kind.FACT,
        scope=EVERYONE,
        source="test",
        trust=Trust.USER,
        observed_at=NOW,
        valid_from=NOW,
        passages=(text,),
        metadata={},
    )
    return Entry(draft=draft, decision=decided(), vectors=encoder.encode([text]), encoder=encoder.fingerprint)


def opened(folder: Path, encoder: Hashes, *, for_reindex: bool = False) -> tuple[SqlLedger, HybridRetriever]:
    """Ledger and retriever of a folder, by meaning alone."""
    ledger = SqlLedger.open(f"sqlite:///{folder}/ledger.sqlite", lock_path=folder / "lock", lock_timeout_s=30)
    return ledger, HybridRetriever(ledger, encoder, folder / "index", lexical_weight=0.0, for_reindex=for_reindex)


def best(retriever: HybridRetriever, encoder: Hashes, text: str) -> str:
    """The text that is found first."""
    return retriever.search(text, vector=encoder.encode([text])[0], scope=EVERYONE, top_k=1)[0].text


STOPS_IN_THE_THIRD_BATCH = """
import sys, time
from pathlib import Path
from test_reindexing import Hashes, opened

class Slow(Hashes):
    def encode(self, texts):
        if len(self.embedded) >= 1024:
            print("two batches", flush=True)
            time.sleep(600)
        return super().encode(texts)

new = Slow("new")
opened(Path(sys.argv[1]), new, for_reindex=True)[1].reindex(new)
"""
DIES_IN_THE_SECOND_PAGE = """
import os, signal, sys
from pathlib import Path
from test_reindexing import Hashes, opened

new = Hashes("new")
ledger, retriever = opened(Path(sys.argv[1]), new, for_reindex=True)
store = ledger.set_vectors

def stored(ids, vectors, encoder):
    if ids[0] > 1:
        os.kill(os.getpid(), signal.SIGKILL)
    store(ids, vectors, encoder)

ledger.set_vectors = stored
retriever.reindex(new)
"""
DIES_WHEN_THE_LEDGER_HAS_ALL = """
import os, signal, sys
from pathlib import Path
from test_reindexing import Hashes, opened

new = Hashes("new")
ledger, retriever = opened(Path(sys.argv[1]), new, for_reindex=True)
mark = ledger.set_meta

def marked(key, value):
    mark(key, value)
    if value == "new":
        os.kill(os.getpid(), signal.SIGKILL)

ledger.set_meta = marked
retriever.reindex(new)
"""


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are killed at the end at the latest."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def run(script: str, folder: Path, started: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """Start a script in a process of its own."""
    command = [sys.executable, "-c", script, str(folder)]
    started.append(subprocess.Popen(command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True))
    return started[-1]


def test_a_reindex_that_was_killed_goes_on_where_it_was_and_holds_nobody_up(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    """Kill -9 in the third batch: until then others search, write and forget; then 512 of each batch are there."""
    old, new = Hashes("old"), Hashes("new")
    texts = [f"text {number}" for number in range(1, 1301)]
    ledger, retriever = opened(tmp_path, old)
    receipts = ledger.write([entry(text, old) for text in texts])
    process = run(STOPS_IN_THE_THIRD_BATCH, tmp_path, started)
    assert process.stdout is not None
    assert process.stdout.readline() == "two batches\n"

    assert best(retriever, old, "text 7") == "text 7"
    ledger.write([entry("a late text", old)])
    assert best(retriever, old, "a late text") == "a late text"
    gone = new.encode(["text 9"])[0].astype("<f4").tobytes()
    assert any(gone in path.read_bytes() for path in (tmp_path / "index").iterdir() if path.is_file())
    ledger.forget([receipts[8].record_id])
    retriever.catch_up()
    retriever.save()
    assert not any(gone in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    process.kill()
    process.wait()
    assert best(retriever, old, "text 8") == "text 8"

    new = Hashes("new")
    told: list[tuple[int, int]] = []
    again, changed = opened(tmp_path, new, for_reindex=True)
    count = changed.reindex(new, lambda stage, done, total, note="": told.append((done, total)))

    assert count == 1300
    assert sorted(new.embedded) == sorted([*texts[1024:], "a late text"])
    assert told == [(277, 277)]
    assert [best(changed, new, text) for text in ("text 1", "text 1300", "a late text")] == [
        "text 1",
        "text 1300",
        "a late text",
    ]
    assert changed.check() == []
    assert [path.name for path in (tmp_path / "index").iterdir()] == ["new"]
    with pytest.raises(IndexMismatchError, match="made by encoder new, this one is old"):
        best(retriever, old, "text 7")
    ledger.close()
    again.close()


def test_a_reindex_that_was_killed_while_the_ledger_took_the_vectors_embeds_nothing_again(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    """Kill -9 between two pages: the memory says what is the matter, and is whole after the next call."""
    old, new = Hashes("old"), Hashes("new")
    texts = [f"text {number}" for number in range(1, 4201)]
    ledger, _ = opened(tmp_path, old)
    ledger.write([entry(text, old) for text in texts])
    ledger.close()
    assert run(DIES_IN_THE_SECOND_PAGE, tmp_path, started).wait() == -9
    with pytest.raises(IndexMismatchError, match="was interrupted half-way; run `hybrid-memory reindex`"):
        opened(tmp_path, old)

    ledger, retriever = opened(tmp_path, new, for_reindex=True)

    assert retriever.reindex(new) == 4200
    assert new.embedded == []
    assert retriever.check() == ledger.check() == []
    assert best(retriever, new, "text 4200") == "text 4200"
    ledger.close()


def test_a_reindex_that_was_killed_at_its_end_leaves_nothing_behind(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    """Kill -9 when the ledger has all: no file stays in which nobody would wipe what is forgotten."""
    old, new = Hashes("old"), Hashes("new")
    ledger, retriever = opened(tmp_path, old)
    ledger.write([entry(f"text {number}", old) for number in range(1, 21)])
    retriever.catch_up()
    retriever.save()
    ledger.close()
    assert run(DIES_WHEN_THE_LEDGER_HAS_ALL, tmp_path, started).wait() == -9
    assert {path.name for path in (tmp_path / "index").iterdir()} >= {"old", "reindex-new.sqlite"}

    ledger, retriever = opened(tmp_path, new)

    assert best(retriever, new, "text 20") == "text 20"
    retriever.save()
    assert [path.name for path in (tmp_path / "index").iterdir()] == ["new"]
    assert retriever.check() == []
    ledger.close()


def test_what_is_embedded_counts_for_its_very_text(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    """A ledger that was put back has other texts under the same numbers."""
    old, new = Hashes("old"), Hashes("new")
    for folder, name in ((tmp_path / "one", "text"), (tmp_path / "other", "word")):
        folder.mkdir()
        ledger, _ = opened(folder, old)
        ledger.write([entry(f"{name} {number}", old) for number in range(1, 1301)])
        ledger.close()
    process = run(STOPS_IN_THE_THIRD_BATCH, tmp_path / "one", started)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.wait()
    (tmp_path / "other" / "ledger.sqlite").replace(tmp_path / "one" / "ledger.sqlite")
    for end in ("-wal", "-shm"):
        (tmp_path / "one" / f"ledger.sqlite{end}").unlink(missing_ok=True)

    ledger, retriever = opened(tmp_path / "one", new, for_reindex=True)
    retriever.reindex(new)

    assert len(new.embedded) == 1300
    assert best(retriever, new, "word 3") == "word 3"
    assert retriever.check() == []
    ledger.close()
