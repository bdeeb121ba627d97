"""Cut text into the terms that are compared: words without case, accents and endings.

Flow:    passage or question -> [count_terms] -> word index
Imports: retrieval.function_words.

SQLite's own tokenizer does it ("porter unicode61": Porter 1980, Unicode 6.1 categories), through an FTS5 table in
memory, so no stemmer has to be written or depended on.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Sequence

from hybrid_memory.retrieval.function_words import FUNCTION_WORDS, FUNCTION_WORTH

__all__ = ["TermCounter"]

NO_SPACES = re.compile(r"([\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])")
"""Kana, Han and Hangul: no spaces between words there, so each sign is a term of its own."""


class TermCounter:
    """Counts terms; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._table = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._table.execute("CREATE VIRTUAL TABLE page USING fts5(text, content='', tokenize='porter unicode61')")
        self._table.execute("CREATE VIRTUAL TABLE term USING fts5vocab(page, 'instance')")
        self._function_terms = {term for term, _, _ in self.count([" ".join(FUNCTION_WORDS)])}

    def count(self, texts: Sequence[str]) -> list[tuple[str, int, int]]:
        """Return (term, place of the text, how often) for every term of every text, by term.

        >>> TermCounter().count(["Two prices", "the price, the PRICE"])
        [('price', 0, 1), ('price', 1, 2), ('the', 1, 2), ('two', 0, 1)]
        """
        return self._read(texts, "SELECT term, doc - 1, count(*) FROM term GROUP BY term, doc")

    def asked(self, question: str) -> dict[str, float]:
        """Return what each term of a question weighs, rarity aside: how often it is said, function words less.

        >>> TermCounter().asked("What is the price of a price list?")["price"]
        2.0
        """
        return {term: said * self.worth(term) for term, _, said in self.count([question])}

    def worth(self, term: str) -> float:
        """Return what a term weighs beside another of the same rarity: 1, and less for a function word."""
        return FUNCTION_WORTH if term in self._function_terms else 1.0

    def places(self, texts: Sequence[str]) -> list[tuple[str, int, int]]:
        """Return (term, place of the text, how many terms stand before it there) for every term said, by term.

        >>> TermCounter().places(["Two prices, two"])
        [('price', 0, 1), ('two', 0, 0), ('two', 0, 2)]
        """
        return self._read(texts, "SELECT term, doc - 1, offset FROM term")

    def _read(self, texts: Sequence[str], query: str) -> list[tuple[str, int, int]]:
        rows = [(place, NO_SPACES.sub(r" \1 ", text)) for place, text in enumerate(texts)]
        with self._lock:
            self._table.execute("BEGIN")
            try:
                self._table.executemany("INSERT INTO page(rowid, text) VALUES (? + 1, ?)", rows)
                return self._table.execute(query).fetchall()
            finally:
                self._table.execute("ROLLBACK")
