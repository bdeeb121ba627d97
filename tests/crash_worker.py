"""A nursery for processes that are to be killed: it loads torch once, and every child it forks works on a memory.

Started by test_crash.py, which writes one line per child on standard input, "folder seed mode", and reads
one line back when the child is dead. Each child writes what was acknowledged to `<folder>.log`, one line
an operation, each by one system call: a kill cannot take it back.

mode   "time:0.25"   kill -9 from outside, so many seconds after the child is at work
       "file:37"     the child kills itself at its 37th file operation inside the memory's folder
       "forget:12"   the same, counted from the beginning of a forgetting; at its end at the latest
       "window:12"   the same for a learning window
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from tiny_flow import FAST

from hybrid_memory.build import build
from hybrid_memory.config import Settings
from hybrid_memory.errors import NotFoundError
from hybrid_memory.memory import HybridMemory
from hybrid_memory.testing import WordEncoder, tiny_language_model
from hybrid_memory.types import AdapterStatus

SETTINGS = Settings.load(None, **{**FAST, "training": {**FAST["training"], "min_steps": 1}})
FILE_OPERATIONS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}


def open_memory(folder: Path, model: object) -> HybridMemory:
    """Open the memory that is to survive."""
    return HybridMemory(build(folder, SETTINGS, encoder=WordEncoder(), model=model))


def text_of(number: int) -> str:
    """The text of a record; its second word is in no other."""
    return f"Crate crate{number}x stands in row {number % 89} of hall {'ABCDEF'[number % 6]}."


class Worker:
    """Does one thing after the other, and logs what was acknowledged."""

    def __init__(self, memory: HybridMemory, log: Path, seed: int) -> None:
        self.memory = memory
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.random = random.Random(seed)
        self.number = seed * 1_000

    def work(self) -> None:
        """Go on until killed."""
        acts = [self.ingest] * 4 + [self.consolidate] * 3 + [self.forget] * 3 + [self.ask, self.correct, self.roll_back]
        while True:
            self.random.choice(acts)()

    def say(self, *words: object) -> None:
        os.write(self.log, (" ".join(map(str, words)) + "\n").encode())

    def ingest(self) -> None:
        self.number += 1
        route = self.random.choice(["learn", "learn", "retrieve"])
        user = self.random.choice([None, "ann"])
        receipt = self.memory.ingest(text_of(self.number), route=route, user_id=user)
        self.say("ingested", receipt.record_id, self.number)

    def consolidate(self) -> None:
        for shard in self.memory.consolidate().shards:
            if shard.promoted:
                self.say("promoted", shard.version)

    def forget(self) -> None:
        records = self.memory.list(all_statuses=True, filters={"status": {"ne": "forgotten"}}, user_id="ann")
        if not records:
            return
        record = self.random.choice(records)
        self.say("forgetting", record.id)
        self.memory.forget(record.id, weights=self.random.choice(["defer", "now"]))
        self.say("forgotten", record.id)

    def correct(self) -> None:
        records = self.memory.list(user_id="ann")
        if records:
            self.number += 1
            successor = self.memory.update(self.random.choice(records).id, text_of(self.number))
            self.say("ingested", successor.id, self.number)

    def ask(self) -> None:
        self.memory.query(f"Which crate stands in row {self.number % 89}?", user_id="ann", max_new_tokens=2)

    def roll_back(self) -> None:
        retired = [one for one in self.memory.adapters.list() if one.status is AdapterStatus.RETIRED]
        if retired:
            self.memory.adapters.promote(self.random.choice(retired).id)


def die_at(count: int, folder: Path) -> None:
    """Kill this process at its file operation number `count` inside the folder."""
    left = count

    def watch(name: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if name in FILE_OPERATIONS and str(arguments[0]).startswith(str(folder)):
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def child(folder: Path, seed: int, mode: str, ready: int, model: object) -> None:
    """Open the memory and work on it until the end, which comes from outside or by `die_at`."""
    kind, _, value = mode.partition(":")
    if kind == "file":
        die_at(int(value), folder)
    memory = open_memory(folder, model)
    os.write(ready, b"!")
    worker = Worker(memory, folder.with_suffix(".log"), seed)
    try:
        if kind in ("forget", "window"):
            for act in (worker.ingest, worker.ingest, worker.consolidate, worker.ask, worker.ingest, worker.correct):
                act()
            die_at(int(value), folder)
            worker.forget() if kind == "forget" else worker.consolidate()
            os.kill(os.getpid(), signal.SIGKILL)
        worker.work()
    except NotFoundError as error:
        print(error, file=sys.stderr)


def main() -> None:
    """Fork a child for each line, and see to its end."""
    model = tiny_language_model()
    for line in sys.stdin:
        folder, seed, mode = line.split()
        listen, ready = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(listen)
            child(Path(folder), int(seed), mode, ready, model)
            os._exit(1)
        os.close(ready)
        os.read(listen, 1)  # nothing, when it died before it was at work
        os.close(listen)
        if mode.startswith("time:"):
            time.sleep(float(mode.partition(":")[2]))
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        print("KILLED" if os.WIFSIGNALED(status) else f"ENDED {status}", flush=True)


if __name__ == "__main__":
    main()
