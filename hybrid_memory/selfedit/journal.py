"""What a run of the outer loop has found out so far, so that a killed one goes on where it was.

Flow:    outer loop <-> [journal] <-> a file of JSON lines
Imports: errors, types.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import uuid4

from hybrid_memory.errors import LedgerError
from hybrid_memory.types import Json

__all__ = ["Journal"]

DONE = ".done"
RUN = "run"


class Journal:
    """Findings by name, each written once and flushed to the disk before `add` returns."""

    def __init__(self, folder: Path, name: str) -> None:
        """Open the unfinished run of this name, or begin a new one; a torn last line is forgotten."""
        self._name = name
        self._file = folder / f"{name}.jsonl"
        self._found: dict[str, Json] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for line in self._lines():
                self._found.update(json.loads(line))
            if RUN not in self._found:
                self.add(RUN, uuid4().hex[:12])
        except (OSError, ValueError, TypeError) as error:
            raise LedgerError(
                f"the journal {self._file} cannot be read ({error}); delete it to begin the training anew"
            ) from error

    def _lines(self) -> list[bytes]:
        """Return the lines of the file, which loses one that a crash tore, perhaps in the middle of a letter."""
        if not self._file.exists():
            return []
        content = self._file.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            os.truncate(self._file, len(whole))
        return [line for line in whole.split(b"\n") if line]

    @property
    def run(self) -> str:
        """What this run is called wherever it leaves something: no other run has this name, wherever its journal is."""
        return f"{self._name}-{self._found[RUN]}"

    def __contains__(self, name: str) -> bool:
        """Tell whether there is a finding of this name."""
        return name in self._found

    def __getitem__(self, name: str) -> Json:
        """Return a finding; KeyError without one."""
        return self._found[name]

    def add(self, name: str, value: Json) -> None:
        """Keep a finding; it is durable when this returns."""
        self._found[name] = value
        line: Mapping[str, Json] = {name: value}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def once(self, name: str, make: Callable[[], Json]) -> Json:
        """Return a finding; it is made, and kept, if there is none of this name yet."""
        if name not in self:
            self.add(name, make())
        return self[name]

    def finish(self) -> None:
        """Put the file aside: the next run of this name begins anew."""
        self._file.replace(self._file.with_name(f"{self.run}{DONE}"))
