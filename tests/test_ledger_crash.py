"""Nothing is acknowledged before it is durable: a writer is killed again and again, and loses nothing it reported."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ledger_entries import ANN, open_ledger

from hybrid_memory.types import Scope

NURSERY = """
import os
import sys
from pathlib import Path
from ledger_entries import entry, open_ledger, opening
from hybrid_memory.types import Route

def write(number):
    ledger = open_ledger(Path(sys.argv[1]), url=sys.argv[2])
    while True:
        number += 1
        receipts = ledger.write([
            entry(f"note {number}", passages=(f"note {number}", f"again {number}"), route=Route.LEARN),
            opening(str(number), number / 1000),
        ])
        if number % 5 == 0:
            ledger.forget([receipts[0].record_id])
        print(*(receipt.record_id for receipt in receipts), flush=True)

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        print(os.getpid(), flush=True)
        write(int(line))
    os.waitpid(pid, 0)
    print("KILLED", flush=True)
"""


def test_a_killed_writer_loses_nothing_that_it_acknowledged(
    tmp_path: Path, new_ledger_url: Callable[[Path], str]
) -> None:
    """Fifteen rounds of SIGKILL at random moments; after each, every acknowledged record is there and whole."""
    chance = random.Random(7)
    acknowledged: list[str] = []
    url = new_ledger_url(tmp_path)
    command = [sys.executable, "-c", NURSERY, str(tmp_path), url]
    with subprocess.Popen(
        command, cwd=Path(__file__).parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as nursery:
        for turn in range(15):
            acknowledged += _killed(nursery, turn * 1_000, chance.uniform(0, 0.15))
            ledger = open_ledger(tmp_path, url=url)
            assert ledger.check() == []
            stored = {event.record_id for event in ledger.events(limit=100_000) if event.name == "ingested"}
            assert set(acknowledged) <= stored
            ledger.close()

    ledger = open_ledger(tmp_path, url=url)
    records = ledger.find(scope=Scope(), inside=True, all_statuses=True)
    ids = ledger.vectors_after(0, limit=1_000_000)[0]
    pairs = ledger.passages(ids)
    whole = {record.id: 0 for record in records}
    for _, record in pairs:
        whole[record.id] += 1
    assert {whole[record.id] for record in records if record.slot is None} == {2}
    assert {whole[record.id] for record in records if record.slot is not None} == {1}
    assert [record.value for record in ledger.find(scope=ANN, filters={"value": {"exists": True}})] == [
        max((record.value for record in records if record.value), key=int)
    ]
    assert len(acknowledged) > 30
    ledger.close()


def _killed(nursery: subprocess.Popen[str], number: int, after_s: float) -> list[str]:
    """Kill a writer some time after its first acknowledgement; return all that it acknowledged."""
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    nursery.stdin.write(f"{number}\n")
    nursery.stdin.flush()
    writer = int(nursery.stdout.readline())
    acknowledged = nursery.stdout.readline().split()  # it is at work now
    time.sleep(after_s)
    os.kill(writer, signal.SIGKILL)
    while not (line := nursery.stdout.readline()).endswith("KILLED\n"):  # on a line that was cut off, too
        acknowledged += line.split()
    return acknowledged
