"""Recent answers, so that feedback can name one, also from another process.

Flow:    query -> [answer log] -> feedback, explain
Imports: errors, types.

Not part of the ledger: losing it loses no knowledge. One JSON line an answer, appended without
waiting for the disk; the oldest half goes when the file grows beyond its limit. A lock file keeps
those who append and those who forget, in other processes too, from undoing each other's work.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from hybrid_memory.errors import NotFoundError
from hybrid_memory.types import Answer, Mode, Scope, Stretch, quoted

__all__ = ["ANSWERED_FROM", "AnswerLog", "Logged"]

log = logging.getLogger(__name__)

MAX_BYTES = 2_000_000
ANSWERED_FROM = "answered_from"
"""Metadata key of an answer that became a record: the ids of the records it stood on, with which it is forgotten."""


@dataclass(frozen=True, slots=True)
class Logged:
    """What feedback and explanations need of an answer."""

    question: str
    text: str
    scope: Scope
    record_ids: tuple[str, ...]
    adapters: tuple[str, ...]
    mode: Mode
    shown: tuple[str, ...]
    excerpts: Mapping[str, str]
    """What the prompt showed of a record, by its id; of others all."""
    written: tuple[Stretch, ...]
    vote: Mapping[str, float]
    """The form of the answer; see `Answer`."""


class AnswerLog:
    """Appends answers to one file and finds them again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = FileLock(path.with_suffix(".lock"))

    def add(self, answers: Sequence[Answer], scope: Scope) -> None:
        """Append answers."""
        lines = "".join(
            json.dumps(
                {
                    "id": answer.id,
                    "question": answer.question,
                    "text": answer.text,
                    "scope": list(scope.values()),
                    "record_ids": [hit.record.id for hit in answer.sources],
                    "adapters": list(answer.adapters),
                    "mode": answer.mode.value,
                    "shown": list(answer.shown),
                    "excerpts": {hit.id: hit.excerpt for hit in answer.sources if hit.excerpt is not None},
                    "written": [[stretch.text, list(stretch.adapters)] for stretch in answer.written],
                    "vote": dict(answer.vote),
                },
                ensure_ascii=False,
            )
            + "\n"
            for answer in answers
        )
        try:
            with self._lock:
                self._append(lines)
        except OSError as error:  # a full disk must not take the answer from the user
            log.warning("answers were not logged, so feedback cannot name them: %s", error)

    def _append(self, lines: str) -> None:
        with self._path.open("a+b") as file:
            if file.tell() and not self._ends_whole(file):
                lines = "\n" + lines  # a crash cut the last line off: the next one must not grow out of it
            file.write(lines.encode())
        if self._path.stat().st_size > MAX_BYTES:
            kept = self._entries()
            self._rewrite(kept[len(kept) // 2 :])

    def get(self, answer_id: str) -> Logged:
        """Return what was answered; NotFoundError when it is unknown or long ago."""
        for entry in reversed(self._entries()):
            if entry["id"] == answer_id:
                return Logged(
                    question=entry["question"],
                    text=entry["text"],
                    scope=Scope(*entry["scope"]),
                    record_ids=tuple(entry["record_ids"]),
                    adapters=tuple(entry["adapters"]),
                    mode=Mode(entry.get("mode", Mode.HYBRID)),
                    shown=tuple(entry.get("shown", entry["record_ids"])),
                    excerpts=entry.get("excerpts", {}),
                    written=tuple(Stretch(text, tuple(adapters)) for text, adapters in _written(entry)),
                    vote=entry.get("vote", {}),
                )
        raise NotFoundError(
            f"there is no recent answer {quoted(answer_id)}; take the id from Answer.id, or ingest the correction "
            "as Example(prompt, response)"
        )

    def forget(self, record_ids: Sequence[str], adapters: Sequence[str]) -> int:
        """Drop answers that stand on these records or adapters, and lines nobody can read; return how many answers."""
        gone_records, gone_adapters = set(record_ids), set(adapters)
        with self._lock:
            lines, entries = self._lines(), self._entries()
            kept = [
                entry
                for entry in entries
                if not gone_records & set(entry["record_ids"]) and not gone_adapters & set(entry["adapters"])
            ]
            if len(kept) < len(lines):
                self._rewrite(kept)
        return len(entries) - len(kept)

    @staticmethod
    def _ends_whole(file: BinaryIO) -> bool:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"

    def _lines(self) -> list[str]:
        if not self._path.exists():
            return []
        text = self._path.read_text(encoding="utf-8", errors="replace")  # a crash may cut a letter in two
        return [line for line in text.split("\n") if line]  # splitlines() would also split at U+2028, inside a text

    def _entries(self) -> list[dict[str, Any]]:
        """Return the whole lines, read; one cut off by a crash is left out."""
        entries = []
        for line in self._lines():
            with suppress(json.JSONDecodeError):
                entries.append(json.loads(line))
        return entries

    def _rewrite(self, entries: Sequence[dict[str, Any]]) -> None:
        aside = self._path.with_suffix(".new")
        aside.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in entries), encoding="utf-8")
        os.replace(aside, self._path)


def _written(entry: dict[str, Any]) -> Sequence[tuple[str, Sequence[str]]]:
    """Return the stretches of an answer; a line of before they were kept has one, of all its adapters."""
    found: Sequence[tuple[str, Sequence[str]]] = entry.get("written", [(entry["text"], entry["adapters"])])
    return found
