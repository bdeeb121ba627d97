"""Keep an index of words equal to the texts of the ledger's passages: their sentences' words are in those.

Flow:    ledger (texts, removals) -> [word_mirror] -> retriever; beside the mirror of the vectors, whatever that is
Imports: errors, protocols, and the modules beside it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from hybrid_memory.errors import IndexMismatchError
from hybrid_memory.protocols import Ledger
from hybrid_memory.retrieval import snapshot
from hybrid_memory.retrieval.selection import Selection
from hybrid_memory.retrieval.words import WordIndex

__all__ = ["WordMirror"]

log = logging.getLogger(__name__)

RULES = "porter-unicode61-pairs"
"""How texts are cut into terms; a snapshot made by other rules is not used."""
PAGE = 4096
"""Passages read from the ledger at a time."""
WORTH_WRITING = 0.05
"""A snapshot is not written for fewer new passages than this share: the next start reads them from the ledger."""


class WordMirror:
    """A word index that follows one ledger, with its snapshots; safe to share between threads.

    Args:
        ledger: keeps the texts.
        folder: where snapshots lie.
    """

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self._ledger = ledger
        self._folder = folder
        self._lock = threading.RLock()
        self._index = WordIndex()
        self._removals = 0
        self._loaded = self._removed = False
        self._written = 0

    def search(
        self, question: str, *, selection: Selection, top_k: int, also: Sequence[int] = ()
    ) -> list[tuple[int, float]]:
        """Return (passage id, BM25 score) of the best in the selection, and of `also`: see `WordIndex.search`."""
        with self._lock:
            return self._index.search(question, selection=selection, top_k=top_k, also=also)

    def __len__(self) -> int:
        with self._lock:
            return len(self._index)

    def lacks(self, ids: Sequence[int]) -> list[int]:
        """Return those of the ids that are not in here, such as those of sentences."""
        with self._lock:
            return self._index.lacks(ids)

    def share(self, question: str) -> float:
        """Return the share of the question's terms that a search looks for: see `WordIndex.share`."""
        return self._index.share(question)

    def reach(self, question: str) -> float:
        """Return what a passage may get that says every word of the question: see `WordIndex.reach`."""
        with self._lock:
            return self._index.reach(question)

    def catch_up(self) -> None:
        """Take out what was removed from the ledger, then take in what the index lacks."""
        with self._lock:
            if not self._loaded:
                self._load()
            self._removals, gone = self._ledger.removals_after(self._removals)
            self._removed = self._index.remove(gone) > 0 or self._removed
            while True:
                ids, texts = self._ledger.texts_after(self._index.last_id, limit=PAGE, sentences=False)
                if ids:
                    self._index.add(ids, texts)
                if len(ids) < PAGE:
                    return

    def save(self) -> None:
        """Write a snapshot when it is worth it: something was removed, or much is new since the last one.

        It catches up first, so that it never writes what another process has forgotten.

        Raises:
            LedgerError: the disk is full or the folder cannot be written.
        """
        with self._lock:
            if self._worth_writing():
                self.catch_up()
            while self._worth_writing():
                self._write()
                self.catch_up()  # somebody may have forgotten something, and saved, while this was written

    def _worth_writing(self) -> bool:
        return self._removed or len(self._index) - self._written > WORTH_WRITING * self._written

    def _write(self) -> None:
        count = len(self._index)
        snapshot.save(
            self._folder,
            self._index.write,
            encoder=RULES,
            count=count,
            last_passage=self._index.last_id,
            removals=self._removals,
        )
        self._written, self._removed = count, False

    def check(self) -> list[str]:
        """Return what is wrong with the index and its snapshot, one sentence each."""
        with self._lock:
            try:
                snapshot.find(self._folder, encoder=RULES)
            except IndexMismatchError as error:
                return [str(error)]
            self.catch_up()
        return []

    def _load(self) -> None:
        try:
            found = snapshot.find(self._folder, encoder=RULES)
            if found is not None:
                self._accept(WordIndex.read(found[0]), found[1])
        except IndexMismatchError as error:
            log.warning("%s; the index is built again from the ledger", error)
        self._loaded = True

    def _accept(self, index: WordIndex, facts: snapshot.Snapshot) -> None:
        newest, _ = self._ledger.removals_after(facts.removals)
        ids, texts = self._ledger.texts_after(facts.last_passage - 1, limit=1, sentences=False)
        if newest < facts.removals or len(index) != facts.count:
            raise IndexMismatchError(f"the words in {self._folder} are of another state of this ledger")
        if ids == [facts.last_passage] and not index.holds(facts.last_passage, texts[0]):
            raise IndexMismatchError(f"passage {facts.last_passage} of the word index is another one in the ledger")
        self._index, self._removals, self._written = index, facts.removals, facts.count
