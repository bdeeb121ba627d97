"""Does the ledger keep its word under writers, readers and kills? What was acknowledged, once, in its own scope.

    python -m benchmarks.concurrency [--seconds 60] [--writers 8] [--readers 8] [--probes 100000] [--url URL] [--smoke]

Processes write and read one memory while one of them is killed (SIGKILL) at a random moment, about once a second, and
replaced. A writer notes what it is about to send, sends it, and notes what was acknowledged; its successor sends again
what was not, with the same idempotency key, as a client would. All writers also say the same shared sentences at the
same time. Readers search and list with filters that try to widen their scope, and check every record that comes back.
Afterwards the ledger is compared with the notes. The encoder is the word encoder: this is about the ledger. `--url`
takes a PostgreSQL ledger; without it, it is the SQLite file of the memory.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_memory import Fact, HybridMemory, Settings
from hybrid_memory.build import build
from hybrid_memory.testing import WordEncoder
from hybrid_memory.types import Record, Scope

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("sqlalchemy", "faiss-cpu", "filelock", "numpy")
USERS = ("ann", "ben", "cem", None)
"""Scopes of the records; None is everybody's."""
HOSTILE: tuple[dict[str, Any], ...] = (
    {"or": [{"user_id": "ann"}, {"user_id": "ben"}, {"user_id": "cem"}, {"text": {"exists": True}}]},
    {"not": {"user_id": "nobody"}},
    {"user_id": {"in": ["ann", "ben", "cem"]}},
    {},
)
"""Filters that would show everybody's records if a filter could widen a scope."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one run lies, and how its processes are told apart."""

    folder: Path
    url: str | None
    seed: int
    began: float
    """When the storm began, in seconds since 1970."""
    seconds: float
    """How long it lasts."""

    def open(self) -> HybridMemory:
        """Open the memory; there is no language model."""
        settings = Settings.load(None, ledger={"url": self.url, "lock_timeout_s": 60.0})
        return HybridMemory(build(self.folder / "memory", settings, encoder=WordEncoder()))

    def notes(self, kind: str, lane: int) -> Path:
        """Return the file in which a lane notes what it sent, had acknowledged, or read."""
        return self.folder / f"{kind}-{lane}.jsonl"


def note(path: Path, **facts: Any) -> None:
    """Append one line with a single system call: a kill leaves whole lines only."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, json.dumps(facts).encode() + b"\n")
    finally:
        os.close(descriptor)


def noted(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of notes."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


# ---------------------------------------------------------------- the processes


def write(place: Place, lane: int) -> None:
    """Write until killed: statements, values of one slot per lane, and sentences that every lane says."""
    sent, acknowledged = place.notes("sent", lane), {line["n"] for line in noted(place.notes("acknowledged", lane))}
    number = max((line["n"] for line in noted(sent)), default=-1)
    again = number >= 0 and number not in acknowledged
    with place.open() as memory:
        while True:
            number += not again
            again = False
            note(sent, n=number)
            begun = time.perf_counter()
            receipt = memory.ingest(
                _input(lane, number), user_id=USERS[lane % 4], source=f"lane {lane}", idempotency_key=f"{lane}-{number}"
            )
            took = time.perf_counter() - begun
            note(place.notes("acknowledged", lane), n=number, id=receipt.record_id, s=round(took, 5))


def _input(lane: int, number: int) -> object:
    if number % 4 == 1:
        return Fact(f"lane {lane}", "counter", str(number))
    if number % 4 == 3:
        return f"All lanes say this sentence in round {number // 4}."
    return f"Parcel {number} of lane {lane} lies in bay {number % 7}."


def read(place: Place, lane: int) -> None:
    """Search and list until killed; note how many looks were taken and every record of another scope."""
    chance = random.Random(place.seed * 1000 + lane)
    with place.open() as memory:
        while True:
            begun = time.perf_counter()
            note(
                place.notes("read", lane),
                **looked(place, memory, chance, looks=20),
                s=round(time.perf_counter() - begun, 5),
            )


def looked(place: Place, memory: HybridMemory, chance: random.Random, *, looks: int) -> dict[str, Any]:
    """Take a number of looks; return how many, how many records came back, and which should not have."""
    seen, wrong = 0, []
    for _ in range(looks):
        user, found = look(memory, chance, _somewhere(place, chance))
        seen += len(found)
        wrong += [record.id for record in found if not Scope(user_id=user).sees(record.scope)]
    return {"looks": looks, "seen": seen, "wrong": wrong}


def look(memory: HybridMemory, chance: random.Random, after: str) -> tuple[str | None, list[Record]]:
    """Search, or list after an id, as some user with a filter that tries to widen the scope; return user and found."""
    user, filters = chance.choice(USERS), chance.choice(HOSTILE)
    if chance.random() < 0.1:
        hits = memory.search(f"parcel bay {chance.randrange(7)}", user_id=user, filters=filters)
        return user, [hit.record for hit in hits]
    return user, memory.list(user_id=user, filters=filters, limit=10, after=after)


def _somewhere(place: Place, chance: random.Random) -> str:
    """Return an id of a random moment of the storm, so that pages are taken all over the ledger, afterwards too."""
    from ulid import ULID

    return str(ULID.from_timestamp(place.began + chance.random() * place.seconds))


def probe(place: Place, lane: int, looks: int) -> None:
    """Take a number of looks after the storm."""
    chance = random.Random(place.seed * 1000 + 500 + lane)
    with place.open() as memory:
        note(place.notes("read", lane), **looked(place, memory, chance, looks=looks), s=0.0)


# ---------------------------------------------------------------- the storm


def storm(place: Place, *, writers: int, readers: int, seconds: float) -> int:
    """Run the processes for that long, killing and replacing one at a time; return how many were killed."""
    context = multiprocessing.get_context("fork")  # the imports are made once, before
    chance = random.Random(place.seed)
    work: list[tuple[Callable[[Place, int], None], int]] = [(write, lane) for lane in range(writers)]
    work += [(read, lane) for lane in range(readers)]

    def start(job: tuple[Callable[[Place, int], None], int]) -> BaseProcess:
        process = context.Process(target=job[0], args=(place, job[1]), daemon=True)
        process.start()
        return process

    running = [start(job) for job in work]
    kills, ends = 0, time.monotonic() + seconds
    while time.monotonic() < ends:
        time.sleep(chance.uniform(0.3, 1.7))
        chosen = chance.randrange(len(work))
        if running[chosen].exitcode not in (None, -signal.SIGKILL):
            raise SystemExit(f"a process ended by itself with exit code {running[chosen].exitcode}; see its traceback")
        _kill(running[chosen])
        kills += 1
        running[chosen] = start(work[chosen])
    for process in running:
        _kill(process)
    return kills


def _kill(process: BaseProcess) -> None:
    process.kill()
    process.join()


def probe_on(place: Place, *, looks: int, lanes: Sequence[int]) -> None:
    """Take the rest of the looks, shared among processes."""
    context = multiprocessing.get_context("fork")
    shares = [looks // len(lanes) + (number < looks % len(lanes)) for number in range(len(lanes))]
    running = [
        context.Process(target=probe, args=(place, lane, share)) for lane, share in zip(lanes, shares, strict=True)
    ]
    for process in running:
        process.start()
    for process in running:
        process.join()
        if process.exitcode:
            raise SystemExit(f"a probing process ended with exit code {process.exitcode}; see its traceback")


# ---------------------------------------------------------------- the reckoning


def judged(place: Place, *, writers: int) -> dict[str, Any]:
    """Compare the ledger with the notes."""
    acknowledged = [line for lane in range(writers) for line in noted(place.notes("acknowledged", lane))]
    looks = [line for path in sorted(place.folder.glob("read-*.jsonl")) for line in noted(path)]
    waits = np.array([line["s"] for line in acknowledged]) * 1000
    with place.open() as memory:
        there = {record.id: record for user in USERS for record in memory.list(user_id=user, all_statuses=True)}
        told = Counter((record.scope, record.text) for record in there.values() if record.status.value == "active")
        keys = Counter((record.scope, record.idempotency_key) for record in there.values() if record.idempotency_key)
        checked = memory.doctor()
        stale = sum(_is_stale(memory, lane, place) for lane in range(writers))
        embedded = memory.search("parcel", top_k=1) != []
    repeated = [name for counted in (told, keys) for name, count in counted.items() if count > 1]
    return {
        "acknowledged": len(acknowledged),
        "lost": sum(line["id"] not in there for line in acknowledged),
        "duplicates": len(repeated),
        "stale values": stale,
        "probes": sum(line["looks"] for line in looks),
        "records probed": sum(line["seen"] for line in looks),
        "records of another scope": sum(len(line["wrong"]) for line in looks),
        "problems found by doctor": checked["problems"],
        "records": len(there),
        "index answers": embedded,
        "write ms p50": round(float(np.percentile(waits, 50)), 1),
        "write ms p95": round(float(np.percentile(waits, 95)), 1),
    }


def _is_stale(memory: HybridMemory, lane: int, place: Place) -> bool:
    """Tell whether a lane's slot holds an older value than the last one that was acknowledged."""
    last = max((line["n"] for line in noted(place.notes("acknowledged", lane)) if line["n"] % 4 == 1), default=None)
    if last is None:
        return False
    held = memory.list(user_id=USERS[lane % 4], filters={"subject": f"lane {lane}"})
    return len(held) != 1 or int(str(held[0].value)) < last


def rows(result: dict[str, Any]) -> Iterator[str]:
    """Yield the table, a line at a time."""
    for name in (
        "acknowledged",
        "lost",
        "duplicates",
        "stale values",
        "probes",
        "records probed",
        "records of another scope",
    ):
        yield f"{name:<28}{result[name]:>12,}"
    yield f"{'kills':<28}{result['kills']:>12,}"
    yield f"{'writes per second':<28}{result['writes per second']:>12,}"
    yield f"{'write ms p50 / p95':<28}{result['write ms p50']:>12} / {result['write ms p95']}"


def main() -> None:
    """Run, print the table and one JSON line, keep the result; exit 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--probes", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--url", help="SQLAlchemy URL of an empty PostgreSQL schema")
    parser.add_argument("--smoke", action="store_true", help="10 s and 2,000 probes; nothing is kept")
    options = parser.parse_args()
    if options.smoke:
        options.seconds, options.probes = 10.0, 2000
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), options.url, options.seed, began=time.time(), seconds=options.seconds)
        place.open().close()  # made once, and every import with it
        kills = storm(place, writers=options.writers, readers=options.readers, seconds=options.seconds)
        taken = sum(line["looks"] for lane in range(options.readers) for line in noted(place.notes("read", lane)))
        probe_on(place, looks=max(0, options.probes - taken), lanes=range(100, 102))
        result = judged(place, writers=options.writers)
    result = {
        "benchmark": "concurrency",
        "database": "PostgreSQL" if options.url else "SQLite",
        "seed": options.seed,
        "seconds": options.seconds,
        "writers": options.writers,
        "readers": options.readers,
        "kills": kills,
        **result,
        "probes during the storm": taken,
        "writes per second": round(result["acknowledged"] / options.seconds, 1),
        "settings": Settings().fingerprint(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print("\n".join(rows(result)))
    print(json.dumps(result))
    if not options.smoke:
        name = "concurrency_postgresql.json" if options.url else "concurrency.json"
        (RESULTS / name).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    broken = [result[name] for name in ("lost", "duplicates", "stale values", "records of another scope")]
    sys.exit(any(broken) or bool(result["problems found by doctor"]))


if __name__ == "__main__":
    main()
