"""A ledger, a retriever and an answerer over vectors in the plane, with a language model that says what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ledger_entries import ANN, adapter, decided, drafted, open_ledger
from records import record
from written import Writer

from hybrid_memory.answering.adapter_choice import AdapterChooser, Choice
from hybrid_memory.answering.answerer import Answerer
from hybrid_memory.config import AnswerSettings
from hybrid_memory.ledger.ledger import SqlLedger
from hybrid_memory.retrieval.retriever import HybridRetriever
from hybrid_memory.testing import TableEncoder
from hybrid_memory.types import Answer, Entry, FloatArray, Hit, Kind, Learning, Mode, Passage, Route, Scope, Shard

FERRY, LAMP, PRICE = "The ferry waits at pier nine.", "Team Blue mends lamps.", "A ticket costs four crowns."
RULE = 'End every answer with "Ahoy."'
PAGE = f"{FERRY} {LAMP} {PRICE}"
DIRECTIONS = {
    PAGE: 45,
    FERRY: 0,
    "Where is the ferry?": 10,
    "The ferry waits at pier two.": 20,
    LAMP: 90,
    "Who mends lamps?": 80,
    PRICE: 45,
    "What is a ticket?": 44,
    RULE: 200,
    "Hello -> Ahoy": 270,
    "Hello!": 271,
    "Good evening -> Ahoy there": 280,
    "Something else entirely?": 150,
    "Between ferry and lamp?": 42,
    "The ferry waits at pier nine. Ann leads Team Red. Team Blue mends lamps. Tickets cost four.": 180,
}


def direction(text: str) -> FloatArray:
    return turned(DIRECTIONS[text])


def turned(degrees: float) -> FloatArray:
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], dtype=np.float32)


def hit(text: str, **given: Any) -> Hit:
    found = record(text, **given)
    passage = Passage(id=1, record_id=found.id, position=0, text=text)
    return Hit(record=found, passage=passage, score=1.0, similarity=0.5)


class Bench:
    """A real ledger and retriever over vectors in the plane, and a language model that says what it is told to."""

    def __init__(self, folder: Path, degrees: Mapping[str, float] = DIRECTIONS) -> None:
        self.ledger: SqlLedger = open_ledger(folder)
        self.encoder = TableEncoder({text: turned(angle) for text, angle in degrees.items()})
        self.retriever = HybridRetriever(self.ledger, self.encoder, folder / "index")
        self.lm = Writer(["It is so."])

    def write(self, text: str, **given: Any) -> str:
        """Write one record to be learned; return its id."""
        kind = given.pop("kind", Kind.FACT)
        draft = drafted(text, **{"kind": kind, **given})
        decision = decided(Route.LEARN, kind=kind)
        vectors = self.encoder.encode([text])
        entry = Entry(draft=draft, decision=decision, vectors=vectors, encoder=self.encoder.fingerprint)
        return str(self.ledger.write([entry])[0].record_id)

    def learn(self, *record_ids: str, shard: str = "facts-1", group: str = "facts", scope: Scope = ANN) -> str:
        """Put records into a shard and promote an adapter that has learned them; return its id."""
        made = Shard(id=shard, scope=scope, group=group, dirty=False, masked=False, active=None)
        self.ledger.assign(record_ids, shard=made)
        version = adapter(self.ledger.next_number(shard), list(record_ids), shard_id=shard)
        learning = dict.fromkeys(record_ids, (Learning.LEARNED, version.id))
        return self.ledger.promote(version, learning=learning).id

    def choose(self, question: str, *, scope: Scope = ANN, least: float = 0.5, margin: float = 0.0) -> Choice:
        chooser = AdapterChooser(self.ledger, min_similarity=least, margin=margin)
        return chooser.choose(direction(question)[None], scope)[0]

    def answerer(self, **settings: Any) -> Answerer:
        return Answerer(
            ledger=self.ledger,
            retriever=self.retriever,
            encoder=self.encoder,
            language_model=lambda: self.lm,
            settings=AnswerSettings(**{"dated": "never", "second_look": 0, "quote_below": 0, **settings}),
        )

    def ask(self, *questions: str, mode: Mode = Mode.HYBRID, scope: Scope = ANN, **given: Any) -> list[Answer]:
        options = ("as_of", "known_at", "on_text", "filters", "passages")
        asked = {name: given.pop(name) for name in options if name in given}
        return self.answerer(**given).answer(questions, scope=scope, mode=mode, **asked)
