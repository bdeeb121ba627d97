"""What the judge said about texts, kept so that no text is asked about twice, and dropped when a text is forgotten.

Flow:    judge <-> [opinions] <-> a file of JSON lines beside the ledger; forgetting takes texts out
Imports: nothing of this package.

A text is known by a keyed hash: an unsalted hash of a short text can be guessed. The reasons are not written
down, because they may repeat the text.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from filelock import FileLock
from pydantic import BaseModel, ConfigDict

__all__ = ["Opinion", "Opinions"]


class Opinion(BaseModel):
    """What the model said."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    lasts: bool
    shapes_behaviour: bool
    because: str = ""

    @property
    def route(self) -> Literal["learn", "retrieve"]:
        """Only what lasts and shapes behaviour is worth learning on a model's word."""
        return "learn" if self.lasts and self.shapes_behaviour else "retrieve"


class Opinions:
    """Opinions by text; None is kept too, for a reply that was none. Without a file they last as long as the object."""

    def __init__(self, file: Path | None = None, *, salt: Callable[[], str] = str) -> None:
        """`file` is read by later processes as well; `salt` keys the hashes in it, and is called when one is needed."""
        self._file = file
        self._salt = salt
        self._known: dict[str, Opinion | None] | None = None

    def __contains__(self, text: str) -> bool:
        """Tell whether the judge was asked about this text."""
        return self._key(text) in self._all()

    def __getitem__(self, text: str) -> Opinion | None:
        """Return what it said; KeyError when it was not asked."""
        return self._all()[self._key(text)]

    def add(self, text: str, opinion: Opinion | None) -> None:
        """Keep an opinion."""
        key = self._key(text)
        self._all()[key] = opinion
        if self._file is not None:
            with self._lock(self._file), self._file.open("a", encoding="utf-8") as file:
                file.write(_line(key, opinion))

    def forget(self, texts: Sequence[str]) -> int:
        """Drop what was said about these texts, and lines nobody can read; return how many opinions that was."""
        if self._file is None or not self._file.exists():
            return 0
        gone = {self._key(text) for text in texts}
        with self._lock(self._file):
            lines = _lines(self._file)
            known = _read(lines)
            kept = {key: opinion for key, opinion in known.items() if key not in gone}
            if len(kept) < len(lines):
                aside = self._file.with_suffix(".new")
                aside.write_text("".join(_line(*one) for one in kept.items()), encoding="utf-8")
                os.replace(aside, self._file)
        self._known = None  # read again when it is needed
        return len(known) - len(kept)

    def _all(self) -> dict[str, Opinion | None]:
        if self._known is None:
            self._known = {} if self._file is None else _read(_lines(self._file))
        return self._known

    def _key(self, text: str) -> str:
        return hmac.new(self._salt().encode(), text.encode(), hashlib.sha256).hexdigest()

    @staticmethod
    def _lock(file: Path) -> FileLock:
        return FileLock(file.with_suffix(".lock"))


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def _line(key: str, opinion: Opinion | None) -> str:
    kept: Mapping[str, bool] | None = None if opinion is None else opinion.model_dump(exclude={"because"})
    return json.dumps({"hmac": key, "opinion": kept}) + "\n"


def _read(lines: Sequence[str]) -> dict[str, Opinion | None]:
    known = {}
    for line in lines:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue  # a line cut short by a crash is asked again
        if "hmac" in row:  # the first files had an unsalted hash here
            known[row["hmac"]] = Opinion.model_validate(row["opinion"]) if row["opinion"] else None
    return known
