"""kill -9 at any moment: what was acknowledged is there, what was forgotten is gone, and the next window works."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from crash_worker import open_memory, text_of

from hybrid_memory.memory import HybridMemory
from hybrid_memory.testing import tiny_language_model
from hybrid_memory.types import AdapterStatus, Learning, Status

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks and kills")


class Nursery:
    """Children that are forked, work on a memory, and are killed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def kill_one(self, folder: Path, seed: int, mode: str) -> None:
        """Let one child work and die; the moment is in the mode (see crash_worker.py)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{folder} {seed} {mode}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "KILLED\n"


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """One for all tests: it takes seconds to load."""
    script = Path(__file__).parent / "crash_worker.py"
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Nursery(process)
        assert process.stdin is not None
        process.stdin.close()


def acknowledged(log: Path) -> dict[str, list[list[str]]]:
    """What the children were told: first word -> the rest of each line that has it."""
    said: dict[str, list[list[str]]] = {"ingested": [], "promoted": [], "forgetting": [], "forgotten": []}
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else []:
        word, *rest = line.split()
        said[word].append(rest)
    return said


def check(memory: HybridMemory, folder: Path) -> None:
    """Compare a memory that was opened after a kill with what had been acknowledged."""
    said = acknowledged(folder.with_suffix(".log"))
    forgotten = {one for (one,) in said["forgotten"]}
    perhaps = {one for (one,) in said["forgetting"]} - forgotten
    _check_records(memory, said["ingested"], forgotten, perhaps)
    _check_adapters(memory, {one for (one,) in said["promoted"]})
    words = {f"crate{number}x" for record_id, number in said["ingested"] if record_id in forgotten}
    files = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = {name: words & {match.decode() for match in _WORD.findall(content)} for name, content in files.items()}
    assert not {name: left for name, left in found.items() if left}, "a forgotten text is in a file"
    assert memory.doctor()["problems"] == []


_WORD = re.compile(rb"crate\d+x")


def _check_records(memory: HybridMemory, ingested: list[list[str]], forgotten: set[str], perhaps: set[str]) -> None:
    for record_id, number in ingested:
        record = memory.get(record_id)
        gone = record.status is Status.FORGOTTEN
        assert gone or record.text == text_of(int(number))
        if record_id not in perhaps:
            assert gone == (record_id in forgotten)
        if gone:
            hits = memory.search(text_of(int(number)), user_id="ann", top_k=50)
            assert record_id not in {hit.id for hit in hits}


def _check_adapters(memory: HybridMemory, promoted: set[str]) -> None:
    versions = {version.id: version for version in memory.adapters.list()}
    assert promoted <= set(versions)
    for version in versions.values():
        if version.status is AdapterStatus.ACTIVE:
            memory._parts.store.verify(version.path)
        if version.status is not AdapterStatus.PURGED:
            # also of those whose forgetting was never acknowledged
            statuses = {memory.get(record_id).status for record_id in version.record_ids}
            assert Status.FORGOTTEN not in statuses, "an adapter that saw a forgotten record is kept"


def check_next_window(memory: HybridMemory, folder: Path) -> None:
    """The next window takes everything that waits, and sweeps away what the dead have left."""
    report = memory.consolidate()

    assert report.remaining == 0
    assert memory.list(filters={"learning": Learning.QUEUED.value}, user_id="ann") == []
    assert memory.doctor()["problems"] == []
    kept = {version.id for version in memory.adapters.list() if version.status is not AdapterStatus.PURGED}
    there = {path.name for path in (folder / "adapters").glob("*")} - {".locks"}
    assert there == kept
    assert not list((folder / "windows").glob("*.worker"))


def kill_and_check(nursery: Nursery, folder: Path, modes: Sequence[str], *, seed: int) -> None:
    """Kill a child in each of the modes of crash_worker.py, one after the other, and look after each."""
    model = tiny_language_model()
    for turn, mode in enumerate(modes):
        nursery.kill_one(folder, seed + turn, mode)
        with open_memory(folder, model) as memory:
            check(memory, folder)
            check_next_window(memory, folder)
    said = acknowledged(folder.with_suffix(".log"))
    assert all(said[word] for word in said), "the children have done too little for this test to mean anything"


def test_eight_kills_lose_nothing(nursery: Nursery, tmp_path: Path) -> None:
    """Ingesting, consolidating, promoting, rolling back, forgetting: each is all or nothing."""
    modes = ["time:0.2", "forget:10", "window:40", "file:120", "forget:16", "window:52", "file:260", "time:0.5"]

    kill_and_check(nursery, tmp_path / "memory", modes, seed=1)


@pytest.mark.slow
def test_forty_two_more_kills_lose_nothing(nursery: Nursery, tmp_path: Path) -> None:
    """The same for longer, at random moments, over a memory that grows old."""
    chance = random.Random(7)
    modes: list[str] = []
    while len(modes) < 42:
        at = [f"forget:{chance.randint(5, 40)}", f"window:{chance.randint(1, 90)}", f"file:{chance.randint(1, 250)}"]
        modes += [*at, f"time:{chance.uniform(0, 0.6):.3f}"]

    kill_and_check(nursery, tmp_path / "memory", modes[:42], seed=100)
