"""Finding passages: the vector index, its snapshots, fusion, and the retriever over a ledger."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_memory.errors import IndexMismatchError, InputError, LedgerError
from hybrid_memory.ingest.reader import Reader
from hybrid_memory.ledger.ledger import SqlLedger
from hybrid_memory.protocols import Encoder, Filters
from hybrid_memory.retrieval import snapshot
from hybrid_memory.retrieval.encoder import unit_rows
from hybrid_memory.retrieval.fusion import normalised, weighted_sum
from hybrid_memory.retrieval.index import Kind as IndexKind
from hybrid_memory.retrieval.index import VectorIndex
from hybrid_memory.retrieval.retriever import HybridRetriever
from hybrid_memory.retrieval.selection import Selection
from hybrid_memory.testing import TableEncoder
from hybrid_memory.types import (
    Decision,
    Entry,
    FloatArray,
    Hit,
    IdArray,
    Kind,
    Learning,
    Passage,
    Record,
    Route,
    Scope,
    Sensitivity,
    Status,
    Trust,
)

NOW = datetime(2026, 5, 3, 12, tzinfo=UTC)
EVERYONE = Scope()
DECISION = Decision(
    route=Route.RETRIEVE,
    kind=Kind.FACT,
    p_durable=0.5,
    p_behaviour=0.5,
    sensitivity=Sensitivity.NORMAL,
    trust=Trust.USER,
    reasons=(),
    policy="test@000000000000",
)


def record(text: str, number: int, scope: Scope) -> Record:
    return Record(
        id=f"R{number:04d}",
        text=text,
        kind=Kind.FACT,
        scope=scope,
        source="test",
        trust=Trust.USER,
        observed_at=NOW,
        recorded_at=NOW,
        valid_from=NOW,
        valid_to=None,
        expires_at=None,
        slot=None,
        value=None,
        version=0,
        status=Status.ACTIVE,
        superseded_by=None,
        decision=DECISION,
        learning=Learning.NONE,
        learning_detail="",
        shard_id=None,
        examples=(),
        content_hash="",
        idempotency_key=None,
        metadata={},
    )


@dataclass
class ShelfLedger:
    """The few methods of a ledger that retrieval uses, over a dict."""

    encoder: Encoder
    rows: dict[int, tuple[Passage, Record, FloatArray]] = field(default_factory=dict)
    removed: list[int] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    changes: int = 0

    def put(self, *texts: str, scope: Scope = EVERYONE, same_record: bool = False) -> list[int]:
        self.changes += 1
        first = max([*self.rows, *self.removed], default=0) + 1
        for number, text in enumerate(texts, start=first):
            owner = record(texts[0] if same_record else text, first if same_record else number, scope)
            passage = Passage(id=number, record_id=owner.id, position=number - first if same_record else 0, text=text)
            self.rows[number] = (passage, owner, self.encoder.encode([text])[0])
        return list(range(first, first + len(texts)))

    def remove(self, passage_id: int) -> None:
        self.changes += 1
        del self.rows[passage_id]
        self.removed.append(passage_id)

    def visible(self, *, scope: Scope, filters: Filters | None = None, as_of: datetime | None = None) -> IdArray:
        assert filters is None
        assert as_of is None
        seen = [number for number, (_, owner, _) in sorted(self.rows.items()) if scope.sees(owner.scope)]
        return np.asarray(seen, dtype=np.int64)

    def visible_since(
        self, *, scope: Scope, filters: Filters | None = None, event: int, after: datetime
    ) -> tuple[int, datetime | None, IdArray, IdArray]:
        everything = np.asarray(sorted({*self.rows, *self.removed}), dtype=np.int64)
        return self.clock(), None, everything, self.visible(scope=scope, filters=filters)

    def clock(self) -> int:
        return self.changes

    def one_moment(self) -> AbstractContextManager[None]:
        return nullcontext()

    def moment(self, key: str) -> tuple[int, str | None]:
        return self.changes, self.settings.get(key)

    def texts_after(self, passage_id: int, *, limit: int, sentences: bool = True) -> tuple[list[int], list[str]]:
        ids = [number for number in sorted(self.rows) if number > passage_id][:limit]
        return ids, [self.rows[number][0].text for number in ids]

    def passages(self, ids: Sequence[int], *, known_at: datetime | None = None) -> list[tuple[Passage, Record]]:
        assert known_at is None
        return [self.rows[number][:2] for number in ids if number in self.rows]

    def vectors_after(self, passage_id: int, *, limit: int) -> tuple[list[int], FloatArray]:
        ids = [number for number in sorted(self.rows) if number > passage_id][:limit]
        return ids, np.stack([self.rows[number][2] for number in ids]) if ids else np.zeros((0, 0), np.float32)

    def set_vectors(self, ids: Sequence[int], vectors: FloatArray, encoder: str) -> None:
        assert encoder
        for number, vector in zip(ids, vectors, strict=True):
            self.rows[number] = (*self.rows[number][:2], vector)

    def removals_after(self, sequence: int) -> tuple[int, list[int]]:
        return len(self.removed), self.removed[sequence:]

    def meta(self, key: str) -> str | None:
        return self.settings.get(key)

    def set_meta(self, key: str, value: str) -> None:
        self.settings[key] = value


@dataclass
class Bench:
    """A ledger with its retriever; asking looks the question's vector up in the same table."""

    encoder: TableEncoder
    folder: Path
    ledger: ShelfLedger
    options: Mapping[str, Any]

    def __post_init__(self) -> None:
        self.retriever = self.reopened()

    def reopened(self, encoder: Encoder | None = None, **more: object) -> HybridRetriever:
        return HybridRetriever(self.ledger, encoder or self.encoder, self.folder, **{**self.options, **more})  # type: ignore[arg-type]

    def ask(self, question: str, *, scope: Scope = EVERYONE, top_k: int = 10, explain: bool = False) -> list[Hit]:
        vector = self.encoder.encode([question])[0]
        return self.retriever.search(question, vector=vector, scope=scope, top_k=top_k, explain=explain)


def bench(tmp_path: Path, table: Mapping[str, Sequence[float]], **options: Any) -> Bench:
    encoder = TableEncoder(table)
    return Bench(encoder, tmp_path / "index", ShelfLedger(encoder), options)


COLOURS = {"red": [1, 0, 0.1], "green": [0, 1, 0.1], "blue": [0, 0.1, 1], "scarlet": [0.9, 0.1, 0]}
MEANING: dict[str, Any] = {"lexical_weight": 0.0}


# ---------------------------------------------------------------- unit vectors


def test_unit_rows_have_length_one_and_keep_their_direction() -> None:
    """(3, 4) has length 5, so its unit row is (0.6, 0.8)."""
    assert unit_rows(np.array([[3, 4]], dtype=np.float32)).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]


def test_a_zero_vector_is_refused_with_its_row() -> None:
    """A row without direction would be similar to nothing and to everything."""
    with pytest.raises(IndexMismatchError, match=r"rows \[1\] are all zeros"):
        unit_rows(np.array([[1, 0], [0, 0]], dtype=np.float32))


def test_a_vector_with_nan_is_refused() -> None:
    """A nan would come first or last in every ranking."""
    with pytest.raises(IndexMismatchError, match="not finite"):
        unit_rows(np.array([[1, np.nan]], dtype=np.float32))


def test_a_single_vector_is_told_how_to_become_a_row() -> None:
    """One vector is not a matrix."""
    with pytest.raises(IndexMismatchError, match=r"wrap a single vector as v\[None, :\]"):
        unit_rows(np.array([1, 0], dtype=np.float32))


# ---------------------------------------------------------------- fusion


def test_scores_are_scaled_between_the_least_and_the_greatest() -> None:
    """Cosines of 0.2, 0.5 and 0.8 become 0, a half and 1."""
    assert normalised({"a": 0.2, "b": 0.5, "c": 0.8}) == pytest.approx({"a": 0, "b": 0.5, "c": 1})


def test_scores_may_be_scaled_from_a_known_least() -> None:
    """BM25 begins at 0, so a passage with half the best score keeps a half."""
    assert normalised({"a": 4.0, "b": 8.0}, least=0.0) == {"a": 0.5, "b": 1.0}


def test_scores_that_are_all_alike_tell_nothing() -> None:
    """Scaled they are 0, so that the other search decides."""
    assert normalised({"a": 0.7, "b": 0.7}) == {"a": 0.0, "b": 0.0}


def test_scores_that_lie_close_together_are_not_stretched() -> None:
    """0.1 of at least 0.4 is a quarter; a wider spread is scaled as ever."""
    assert normalised({"a": 0.5, "b": 0.6}, width=0.4) == pytest.approx({"a": 0, "b": 0.25})
    assert normalised({"a": 0.0, "b": 0.8}, width=0.4) == {"a": 0.0, "b": 1.0}


def test_scores_below_the_least_give_nothing_rather_than_less() -> None:
    """From 2 on, 3 is a third of the way to 5; 1 is nothing, not minus a third."""
    assert normalised({"a": 1.0, "b": 3.0, "c": 5.0}, least=2.0) == pytest.approx({"a": 0, "b": 1 / 3, "c": 1})


def test_the_fused_score_is_the_sum_of_the_parts() -> None:
    """b has 0.5 and 0.4; an item that a part does not know gets nothing from it."""
    assert weighted_sum({"dense": {"a": 0.6, "b": 0.5}, "lexical": {"b": 0.4}}) == {"b": 0.9, "a": 0.6}


# ---------------------------------------------------------------- the vector index


def test_a_long_vector_does_not_beat_a_closer_one(tmp_path: Path) -> None:
    """Scores are cosine: direction decides, length does not."""
    store = bench(tmp_path, {"same way, short": [0.1, 0], "45 degrees, long": [5, 5], "query": [10, 0]}, **MEANING)
    store.ledger.put("45 degrees, long", "same way, short")

    hits = store.ask("query", top_k=2)

    assert [hit.text for hit in hits] == ["same way, short", "45 degrees, long"]
    assert [hit.similarity for hit in hits] == pytest.approx([1.0, 0.5**0.5])


def cosine_ranking(vectors: FloatArray, query: FloatArray, allowed: Sequence[int], top_k: int) -> list[int]:
    """The oracle: ids (row + 1) of the nearest allowed rows, by NumPy alone."""
    rows = np.asarray(allowed) - 1
    cosine = (vectors[rows] @ query) / np.linalg.norm(vectors[rows], axis=1) / np.linalg.norm(query)
    return [int(allowed[i]) for i in np.argsort(-cosine)[:top_k]]


def test_ranking_equals_exact_search_in_numpy(tmp_path: Path, rng: np.random.Generator) -> None:
    """The oracle: FAISS and ten lines of NumPy agree on 200 random vectors of random lengths."""
    vectors = (rng.normal(size=(201, 16)) * rng.uniform(0.1, 10, size=(201, 1))).astype(np.float32)
    names = [*(f"p{i}" for i in range(1, 201)), "query"]
    store = bench(tmp_path, dict(zip(names, vectors.tolist(), strict=True)), **MEANING)
    store.ledger.put(*names[:-1])

    found = [hit.passage.id for hit in store.ask("query", top_k=10)]

    assert found == cosine_ranking(vectors[:-1], vectors[-1], range(1, 201), 10)


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
@pytest.mark.parametrize("share", [0.003, 0.005, 0.02, 0.15, 0.5, 1.0])
def test_filtered_search_returns_the_top_k_of_the_selection(
    rng: np.random.Generator, share: float, kind: IndexKind
) -> None:
    """The selection comes before the search: k results, all inside it, the same as NumPy's."""
    vectors = rng.normal(size=(1000, 8)).astype(np.float32)
    index = VectorIndex.build(kind, np.arange(1, 1001), vectors)
    query = rng.normal(size=8).astype(np.float32)
    selection = np.sort(rng.choice(np.arange(1, 1001), int(1000 * share), replace=False))

    found = [number for number, _ in index.search(query, selection=Selection(selection), top_k=10)]
    exact = cosine_ranking(vectors, query, selection.tolist(), 10)

    # Narrow selections are scanned by every kind; wide ones by lists that hold a sixteenth of these few vectors.
    assert found == exact if kind != "ivf" or share < 0.2 else len({*found} & {*exact}) >= 1


def test_a_short_result_is_not_padded(rng: np.random.Generator) -> None:
    """FAISS fills up with -1; two vectors give two results."""
    index = VectorIndex(4)
    index.add([5, 9], rng.normal(size=(2, 4)).astype(np.float32))

    found = index.search(np.ones(4, np.float32), selection=Selection(np.array([5, 9, 70])), top_k=10)

    assert sorted(number for number, _ in found) == [5, 9]


def test_a_selection_the_index_does_not_know_finds_nothing(rng: np.random.Generator) -> None:
    """Ids of passages that are not here are passed over."""
    index = VectorIndex(4)
    index.add([1], rng.normal(size=(1, 4)).astype(np.float32))

    assert index.search(np.ones(4, np.float32), selection=Selection(np.array([2, 3])), top_k=10) == []


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_of_a_few_ids_among_thousands_only_those_that_are_there_are_compared(
    rng: np.random.Generator, kind: IndexKind
) -> None:
    """Three of four thousand, of which one was removed and one never came; and none at all."""
    vectors = rng.normal(size=(4000, 8)).astype(np.float32)
    index = VectorIndex.build(kind, np.arange(1, 4001), vectors)
    index.remove([17])

    found = index.search(vectors[2], selection=Selection(np.array([3, 17, 9000])), top_k=10)

    assert [number for number, _ in found] == [3]
    assert found[0][1] == pytest.approx(1.0)
    assert index.search(vectors[2], selection=Selection(np.array([17, 9000])), top_k=10) == []


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_a_removed_vector_is_gone_from_results_and_from_the_bytes(
    rng: np.random.Generator, kind: IndexKind, tmp_path: Path
) -> None:
    """Forgetting reaches the file: the vector's bytes are not in the next snapshot."""
    vectors = unit_rows(rng.normal(size=(50, 8)).astype(np.float32))
    index = VectorIndex.build(kind, np.arange(1, 51), vectors)

    assert index.remove([7, 7, 99]) == 1

    found = [number for number, _ in index.search(vectors[6], selection=Selection(np.arange(1, 51)), top_k=50)]
    index.write(tmp_path / "index")
    bytes_on_disk = (tmp_path / "index").read_bytes()
    assert len(index) == 49
    assert sorted(found) == [number for number in range(1, 51) if number != 7]
    assert vectors[6].tobytes() not in bytes_on_disk
    assert vectors[7].tobytes() in bytes_on_disk


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_a_file_is_wiped_in_place_also_under_those_who_have_it_mapped(
    rng: np.random.Generator, kind: IndexKind, tmp_path: Path
) -> None:
    """The vector's bytes alone become zeros, and whoever reads the file takes its id out, then adds to the rest."""
    vectors = unit_rows(rng.normal(size=(300, 8)).astype(np.float32))
    path = tmp_path / "index"
    VectorIndex.build(kind, np.arange(1, 301), vectors[:300]).write(path)
    before, mapped = path.read_bytes(), VectorIndex.read(path)

    VectorIndex.wipe(path, [7, 900])

    assert path.read_bytes() == before.replace(vectors[6].tobytes(), bytes(32))
    assert not mapped.vectors([7]).any()
    mapped.remove([7, 8])
    allowed = [number for number in range(1, 50) if number not in (7, 8)]
    found = mapped.search(vectors[6], selection=Selection(np.arange(1, 50)), top_k=5)
    assert [number for number, _ in found] == cosine_ranking(vectors, vectors[6], allowed, 5)
    everything = mapped.search(vectors[6], selection=Selection(mapped.ids), top_k=5)
    assert not {number for number, _ in everything} & {7, 8, -1}
    mapped.add([301], vectors[6:7])
    assert mapped.search(vectors[6], selection=Selection(np.arange(1, 302)), top_k=1)[0][0] == 301
    mapped.write(tmp_path / "later")
    assert vectors[7].tobytes() not in (tmp_path / "later").read_bytes()


@pytest.mark.parametrize("ids", [[3, 4], [5, 5], [6, 5]])
def test_ids_must_be_new_and_ascending(ids: list[int]) -> None:
    """The same passage twice in the index would be found twice."""
    index = VectorIndex(2)
    index.add([4], np.ones((1, 2), np.float32))

    with pytest.raises(IndexMismatchError, match="ids must ascend and be greater than 4"):
        index.add(ids, np.ones((2, 2), np.float32))


def test_vectors_of_another_length_are_refused() -> None:
    """Another encoder's vectors do not fit; the message names the way out."""
    index = VectorIndex(2)

    with pytest.raises(IndexMismatchError, match="hybrid-memory reindex"):
        index.add([1], np.ones((1, 3), np.float32))


def test_a_question_of_another_length_is_refused() -> None:
    """The same for the question's vector."""
    index = VectorIndex(2)
    index.add([1], np.ones((1, 2), np.float32))

    with pytest.raises(IndexMismatchError, match="has 3 numbers, the index 2"):
        index.search(np.ones(3, np.float32), selection=Selection(np.array([1])), top_k=1)


# ---------------------------------------------------------------- the retriever


def test_what_was_written_a_moment_ago_is_found(tmp_path: Path) -> None:
    """A search catches up with the ledger first."""
    store = bench(tmp_path, COLOURS, **MEANING)
    store.ledger.put("green")
    store.ask("red")
    store.ledger.put("scarlet")

    assert store.ask("red", top_k=1)[0].text == "scarlet"


def test_an_empty_memory_finds_nothing(tmp_path: Path) -> None:
    """No passages, no hits, no error."""
    assert bench(tmp_path, COLOURS).ask("red") == []


def test_a_scope_never_sees_another_users_passages(tmp_path: Path) -> None:
    """Top-k is exact for the scope, even when all the nearest ones belong to somebody else."""
    store = bench(tmp_path, COLOURS)
    store.ledger.put("scarlet", "red", scope=Scope(user_id="ann"))
    store.ledger.put("blue", scope=Scope(user_id="bob"))

    assert [hit.text for hit in store.ask("red", scope=Scope(user_id="bob"), top_k=1)] == ["blue"]


def test_words_find_what_meaning_misses(tmp_path: Path) -> None:
    """An order number means nothing to the encoder, but the words match."""
    table = {"about zx-4411": [0, 1], "order zx-4411": [1, 0], **{f"colour {i}": [0.1, 1] for i in range(9)}}
    store = bench(tmp_path, table, candidates=3, lexical_weight=2.0)
    store.ledger.put(*(f"colour {i}" for i in range(9)), "order zx-4411")

    hits = store.ask("about zx-4411", top_k=3)

    found = next(hit for hit in hits if hit.text == "order zx-4411")
    assert found.scores == {"dense": 0.0, "lexical": pytest.approx(2.0)}
    assert found.similarity == pytest.approx(0.0)


def test_a_hit_tells_where_its_score_came_from(tmp_path: Path) -> None:
    """First by meaning and first by words: the full weight of each."""
    store = bench(tmp_path, {"red wine": [1, 0], "blue": [0, 1], "red": [1, 0]}, dense_weight=2.0, lexical_weight=3.0)
    store.ledger.put("blue", "red wine")

    hit = store.ask("red", top_k=1)[0]

    assert hit.scores == {"dense": pytest.approx(2.0), "lexical": pytest.approx(3.0)}
    assert hit.score == pytest.approx(5.0)
    assert hit.similarity == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("question", "given"),
    [
        ("red zeppelin anchor kite", 0.0),
        ("red zeppelin", 3.0 * (math.log(2) / (0.2 * math.log(12)) - 1)),
        ("red", 3.0),
    ],
)
def test_words_that_say_a_fifth_of_a_question_were_found_by_chance(tmp_path: Path, question: str, given: float) -> None:
    """The best passage says "red", worth ln 2; a word that no passage says is worth ln 6.

    Of ln 2 + 3 ln 6 that is a ninth, and nothing. Of ln 2 + ln 6 = ln 12 it is 0.28: what is above a fifth counts,
    beside another fifth. Of ln 2 it is all.
    """
    store = bench(tmp_path, {"red": [1, 0], "blue": [0, 1], question: [0, 1]}, lexical_weight=3.0)
    store.ledger.put("blue", "red")

    hits = {hit.text: hit for hit in store.ask(question, top_k=2)}

    assert hits["red"].scores["lexical"] == pytest.approx(given)


def test_an_explanation_tells_how_much_of_the_question_the_words_are(tmp_path: Path) -> None:
    """ln 2 = 0.69 of ln 12 = 2.48; the lexical share is what the test above works out."""
    question = "red zeppelin"
    store = bench(tmp_path, {"red": [1, 0], "blue": [0, 1], question: [0, 1]}, lexical_weight=3.0)
    store.ledger.put("blue", "red")

    hit = next(hit for hit in store.ask(question, explain=True) if hit.text == "red")

    assert hit.explanation[1] == "+1.184 words, BM25 0.69 of the question's 2.48"


def test_a_word_found_by_chance_does_not_outweigh_meaning(tmp_path: Path) -> None:
    """Both know a word of the first question; only of the second do the words say enough to decide."""
    table = {
        "the red van": [0.97, 0.24],
        "lorries are blue": [1, 0],
        "where is the van parked tonight please": [1, 0],
        "red van": [1, 0],
    }
    store = bench(tmp_path, table)
    store.ledger.put("the red van", "lorries are blue")

    assert store.ask("where is the van parked tonight please", top_k=1)[0].text == "lorries are blue"
    assert store.ask("red van", top_k=1)[0].text == "the red van"


def test_a_record_with_two_passages_is_one_hit(tmp_path: Path) -> None:
    """The better passage stands for the record."""
    store = bench(tmp_path, COLOURS, **MEANING)
    store.ledger.put("green", "scarlet", same_record=True)
    store.ledger.put("blue")

    hits = store.ask("red", top_k=2)

    assert [hit.passage.text for hit in hits] == ["scarlet", "blue"]


def test_top_k_must_be_positive(tmp_path: Path) -> None:
    """Zero results are never what was meant."""
    store = bench(tmp_path, COLOURS)

    with pytest.raises(InputError, match="top_k must be 1 or more, got 0"):
        store.ask("red", top_k=0)


def test_a_removed_passage_is_not_found_again(tmp_path: Path) -> None:
    """The index follows the ledger's removals."""
    store = bench(tmp_path, COLOURS, **MEANING)
    _, scarlet = store.ledger.put("blue", "scarlet")
    store.ask("red")
    store.ledger.remove(scarlet)
    store.retriever.catch_up()

    assert [hit.text for hit in store.ask("red")] == ["blue"]
    assert store.retriever.check() == []


def test_a_number_that_is_given_out_again_belongs_to_the_new_passage(tmp_path: Path) -> None:
    """Some databases reuse the greatest row number after a delete."""
    store = bench(tmp_path, COLOURS, **MEANING)
    store.ledger.put("blue", "scarlet")
    store.retriever.catch_up()
    store.ledger.remove(2)
    store.ledger.rows[2] = (
        Passage(id=2, record_id="R0009", position=0, text="green"),
        record("green", 9, Scope()),
        store.encoder.encode(["green"])[0],
    )

    assert store.retriever.catch_up() == 1
    assert store.ask("green", top_k=1)[0].similarity == pytest.approx(1.0)


def test_searching_while_another_thread_writes_is_safe(tmp_path: Path, rng: np.random.Generator) -> None:
    """FAISS moves its storage while it grows; a lock keeps readers out meanwhile."""
    names = [f"p{i}" for i in range(400)]
    store = bench(tmp_path, {name: rng.normal(size=4).tolist() for name in names}, **MEANING)
    store.ledger.put(*names[:10])
    counts: list[int] = []
    reader = threading.Thread(target=lambda: counts.extend(len(store.ask("p1", top_k=5)) for _ in range(200)))

    reader.start()
    for number in range(10, 400):
        store.ledger.put(names[number])
        store.retriever.catch_up()
    reader.join()

    assert counts == [5] * 200


# ---------------------------------------------------------------- snapshots


def test_a_restart_reads_the_snapshot_and_only_the_rows_after_it(tmp_path: Path) -> None:
    """Two passages come from the file, one from the ledger."""
    store = bench(tmp_path, COLOURS, **MEANING)
    store.ledger.put("red", "green")
    store.retriever.catch_up()
    store.retriever.save()
    store.ledger.put("blue")

    store.retriever = store.reopened()

    assert store.retriever.catch_up() == 1
    assert [hit.text for hit in store.ask("blue", top_k=1)] == ["blue"]


def test_saving_twice_leaves_one_snapshot(tmp_path: Path) -> None:
    """Old files go when the new one is in place; nothing half-written stays."""
    store = bench(tmp_path, COLOURS)
    for text in ("red", "green"):
        store.ledger.put(text)
        store.retriever.catch_up()
        store.retriever.save()

    names = sorted(path.name for path in (store.folder / store.encoder.fingerprint).iterdir())

    assert sorted(name.rpartition(".")[2] for name in names) == ["index", "json", "lock"]


def test_forgetting_before_a_restart_reaches_the_loaded_snapshot(tmp_path: Path) -> None:
    """Removals after the snapshot are followed when it is loaded."""
    store = bench(tmp_path, COLOURS, **MEANING)
    store.ledger.put("red", "green")
    store.retriever.catch_up()
    store.retriever.save()
    store.ledger.remove(1)

    store.retriever = store.reopened()

    assert [hit.text for hit in store.ask("red")] == ["green"]
    assert store.retriever.check() == []


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_forgetting_a_few_wipes_them_in_the_file_and_writes_no_new_one(
    tmp_path: Path, rng: np.random.Generator, kind: IndexKind
) -> None:
    """At a million vectors a file of 1.5 GB stays where it is; the next start takes it, without what was forgotten."""
    names = [f"p{i}" for i in range(1, 61)]
    vectors = unit_rows(rng.normal(size=(60, 8)).astype(np.float32))
    table = dict(zip(names, vectors.tolist(), strict=True))
    store = bench(tmp_path, table, large_from=50, large=kind, **MEANING)
    store.ledger.put(*names)
    store.retriever.catch_up()
    store.retriever.save()
    folder = store.folder / store.encoder.fingerprint
    (path,) = folder.glob("*.index")
    rows = [row.tobytes() for row in VectorIndex.read(path).vectors([3, 60, 4])]

    for number in (3, 60):
        store.ledger.remove(number)
        store.retriever = store.reopened()
        store.retriever.catch_up()
        store.retriever.save()

    assert [*folder.glob("*.index")] == [path]
    assert [row in path.read_bytes() for row in rows] == [False, False, True]
    store.retriever = store.reopened()
    allowed = [number for number in range(1, 61) if number not in (3, 60)]
    assert [hit.passage.id for hit in store.ask("p3", top_k=5)] == cosine_ranking(vectors, vectors[2], allowed, 5)
    assert store.retriever.check() == []


def test_a_file_that_is_mostly_wiped_is_written_anew(tmp_path: Path) -> None:
    """So that it does not keep the room of all that was ever forgotten."""
    store = bench(tmp_path, COLOURS, **MEANING)
    store.ledger.put("red", "green", "blue")
    store.retriever.catch_up()
    store.retriever.save()
    folder = store.folder / store.encoder.fingerprint
    (path,) = folder.glob("*.index")

    store.ledger.remove(1)
    store.retriever.catch_up()
    store.retriever.save()

    (after,) = folder.glob("*.index")
    assert after != path
    assert VectorIndex.read(after).ids.tolist() == [2, 3]


def test_two_processes_that_forget_in_turn_leave_a_whole_file(tmp_path: Path, rng: np.random.Generator) -> None:
    """Each wipes in the file what was forgotten since it was written, by whomever."""
    names = [f"p{i}" for i in range(1, 61)]
    vectors = unit_rows(rng.normal(size=(60, 8)).astype(np.float32))
    store = bench(tmp_path, dict(zip(names, vectors.tolist(), strict=True)), **MEANING)
    store.ledger.put(*names)
    one, other = store.retriever, store.reopened()
    for retriever in (one, other):
        retriever.catch_up()
        retriever.save()
    (path,) = (store.folder / store.encoder.fingerprint).glob("*.index")
    rows = [row.tobytes() for row in VectorIndex.read(path).vectors([2, 3, 4, 5, 6])]

    for number, retriever in ((3, one), (4, other), (5, one)):
        store.ledger.remove(number)
        retriever.catch_up()
        retriever.save()

    assert [row in path.read_bytes() for row in rows] == [True, False, False, False, True]
    assert store.reopened().check() == []


def die_in_the_middle_of_wiping() -> None:
    """Kill this process when a forgotten vector is overwritten in the file and its new description begins."""

    def watch(name: str, arguments: tuple[object, ...]) -> None:
        if name == "open" and str(arguments[0]).endswith(".snapshot.json.part"):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


@pytest.mark.skipif(sys.platform == "win32", reason="forks and kills")
def test_a_wiping_that_was_killed_leaves_no_file_and_nothing_wrong(
    tmp_path: Path, rng: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    """Kill -9 between file and description: neither of them is believed, the ledger has everything."""
    vectors = unit_rows(rng.normal(size=(60, 8)).astype(np.float32))
    names = [f"p{i}" for i in range(1, 61)]
    store = bench(tmp_path, dict(zip(names, vectors.tolist(), strict=True)), **MEANING)
    store.ledger.put(*names)
    store.retriever.catch_up()
    store.retriever.save()
    store.ledger.remove(3)
    store.retriever.catch_up()
    if (pid := os.fork()) == 0:
        die_in_the_middle_of_wiping()
        store.retriever.save()
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL

    store.retriever = store.reopened()

    assert store.retriever.check() == []
    assert [hit.text for hit in store.ask("p4", top_k=1)] == ["p4"]
    assert caplog.text == ""
    assert not [*(store.folder / store.encoder.fingerprint).glob("snapshot-*")]
    store.retriever.save()
    assert store.reopened().check() == []


def break_bytes(folder: Path) -> None:
    (path,) = folder.glob("*.index")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def delete_file(folder: Path) -> None:
    (path,) = folder.glob("*.index")
    path.unlink()


def break_pointer(folder: Path) -> None:
    (folder / "snapshot.json").write_text("{", encoding="utf-8")


def other_encoder(folder: Path) -> None:
    pointer = folder / "snapshot.json"
    facts = json.loads(pointer.read_text(encoding="utf-8"))
    pointer.write_text(json.dumps({**facts, "encoder": "ffffffffffff"}), encoding="utf-8")


def future_removals(folder: Path) -> None:
    pointer = folder / "snapshot.json"
    facts = json.loads(pointer.read_text(encoding="utf-8"))
    pointer.write_text(json.dumps({**facts, "removals": 40}), encoding="utf-8")


@pytest.mark.parametrize("damage", [break_bytes, delete_file, break_pointer, other_encoder, future_removals])
def test_a_damaged_snapshot_is_rebuilt_from_the_ledger(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: object,
) -> None:
    """The snapshot is a cache: a warning, and the same answers as before."""
    store = bench(tmp_path, COLOURS, **MEANING)
    store.ledger.put("red", "green", "blue")
    store.retriever.catch_up()
    store.retriever.save()
    damage(store.folder / store.encoder.fingerprint)  # type: ignore[operator]

    store.retriever = store.reopened()
    with caplog.at_level(logging.WARNING):
        hits = store.ask("blue", top_k=1)

    assert [hit.text for hit in hits] == ["blue"]
    assert "built again from the ledger" in caplog.text


def test_a_snapshot_of_another_ledger_is_not_believed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After a restore from a backup the same number may hold another passage."""
    store = bench(tmp_path, COLOURS, **MEANING)
    store.ledger.put("red", "green")
    store.retriever.catch_up()
    store.retriever.save()
    store.ledger.rows.clear()
    store.ledger.put("red", "blue")

    store.retriever = store.reopened()

    assert store.ask("blue", top_k=1)[0].similarity == pytest.approx(1.0)
    assert "another one in the ledger" in caplog.text


def test_a_full_disk_is_reported_and_the_snapshot_before_stays(tmp_path: Path) -> None:
    """A file stands where the folder should be: the nearest thing to a disk that takes nothing."""
    store = bench(tmp_path, COLOURS)
    store.ledger.put("red")
    store.retriever.catch_up()
    store.folder.write_text("in the way", encoding="utf-8")

    with pytest.raises(LedgerError, match="snapshot could not be written"):
        store.retriever.save()


def test_check_names_a_damaged_snapshot(tmp_path: Path) -> None:
    """The doctor reads the file as well."""
    store = bench(tmp_path, COLOURS)
    store.ledger.put("red")
    store.retriever.catch_up()
    store.retriever.save()
    break_bytes(store.folder / store.encoder.fingerprint)

    (problem,) = store.retriever.check()

    assert "differs from the SHA-256" in problem


def test_check_counts_vectors_that_differ_from_the_ledgers(tmp_path: Path) -> None:
    """A vector that was changed behind the index's back is found."""
    store = bench(tmp_path, COLOURS)
    store.ledger.put("red", "green")
    store.retriever.catch_up()
    store.ledger.set_vectors([2], store.encoder.encode(["blue"]), "e")

    (problem,) = store.retriever.check()

    assert problem.startswith("1 vectors in the index differ")


def test_the_index_becomes_a_graph_when_it_is_large(tmp_path: Path, rng: np.random.Generator) -> None:
    """From `large_from` vectors on a save turns the table into a graph, which loads and removes like a table."""
    names = [f"p{i}" for i in range(1, 61)]
    vectors = rng.normal(size=(60, 8)).astype(np.float32)
    table = dict(zip(names, vectors.tolist(), strict=True))
    store = bench(tmp_path, table, large_from=50, large="hnsw", **MEANING)
    store.ledger.put(*names)
    store.retriever.catch_up()
    store.retriever.save()
    store.ledger.remove(3)

    store.retriever = store.reopened()
    found = [hit.passage.id for hit in store.ask("p3", top_k=5)]

    allowed = [number for number in range(1, 61) if number != 3]
    assert found == cosine_ranking(vectors, vectors[2], allowed, 5)
    found = snapshot.find(store.folder / store.encoder.fingerprint, encoder=store.encoder.fingerprint)
    assert found is not None
    assert VectorIndex.read(found[0]).kind == "hnsw"


# ---------------------------------------------------------------- another encoder


TURNED = {"red": [0, 1, 0, 0], "green": [1, 0, 0, 0], "blue": [0, 0, 1, 0], "scarlet": [0, 0.9, 0, 0.1]}


def test_vectors_of_another_encoder_are_refused_at_open(tmp_path: Path) -> None:
    """The message names both encoders and the command that mends it."""
    store = bench(tmp_path, COLOURS)

    with pytest.raises(IndexMismatchError, match=r"made by encoder \w{12}, this one is \w{12}.*hybrid-memory reindex"):
        store.reopened(TableEncoder(TURNED))


def test_reindexing_embeds_everything_again_and_swaps(tmp_path: Path) -> None:
    """New vectors in ledger and index, old snapshot gone, progress told."""
    store = bench(tmp_path, COLOURS, **MEANING)
    store.ledger.put("red", "green", "blue")
    store.retriever.catch_up()
    store.retriever.save()
    new = TableEncoder(TURNED)
    steps: list[tuple[str, int, int]] = []
    retriever = store.reopened(new, for_reindex=True)

    count = retriever.reindex(new, lambda stage, done, total, note="": steps.append((stage, done, total)))

    assert count == 3
    assert steps == [("reindex", 3, 3)]
    assert [path.name for path in store.folder.iterdir()] == [new.fingerprint]
    assert store.ledger.vectors_after(0, limit=1)[1].tolist() == [[0, 1, 0, 0]]
    hit = store.reopened(new).search("red", vector=new.encode(["red"])[0], scope=Scope(), top_k=1)[0]
    assert (hit.text, hit.similarity) == ("red", pytest.approx(1.0))


def test_an_interrupted_reindex_says_so_and_can_be_finished(tmp_path: Path) -> None:
    """A crash while vectors are stored must not look like a whole memory."""
    store = bench(tmp_path, COLOURS)
    store.ledger.put("red")
    new = TableEncoder(TURNED)
    store.ledger.set_meta("encoder", f"reindexing:{new.fingerprint}")

    with pytest.raises(IndexMismatchError, match="interrupted half-way; run `hybrid-memory reindex`"):
        store.reopened(new)
    store.reopened(new, for_reindex=True).reindex(new)

    assert store.reopened(new).check() == []


def test_what_is_written_just_before_a_reindex_ends_is_embedded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last page that was read and the mark after which the ledger refuses the former encoder."""
    store = bench(tmp_path, COLOURS)
    store.ledger.put("red")
    new = TableEncoder(TURNED)
    retriever, mark = store.reopened(new, for_reindex=True), store.ledger.set_meta

    def late(key: str, value: str) -> None:
        if not store.ledger.passages([2]):
            store.ledger.put("green")
        mark(key, value)

    monkeypatch.setattr(store.ledger, "set_meta", late)
    assert retriever.reindex(new) == 2
    assert store.reopened(new).check() == []


def test_a_retriever_notices_that_another_process_has_reindexed(tmp_path: Path) -> None:
    """Its vectors no longer fit the ledger's."""
    store = bench(tmp_path, COLOURS)
    store.ledger.put("red")
    new = TableEncoder(TURNED)
    store.reopened(new, for_reindex=True).reindex(new)

    with pytest.raises(IndexMismatchError, match="run `hybrid-memory reindex`"):
        store.ask("red")


def test_an_empty_memory_can_be_reindexed(tmp_path: Path) -> None:
    """Nothing to embed, but the encoder changes."""
    store = bench(tmp_path, COLOURS)
    new = TableEncoder(TURNED)

    assert store.reopened(new, for_reindex=True).reindex(new) == 0
    assert store.reopened(new).catch_up() == 0


# ---------------------------------------------------------------- over the real ledger


def test_the_real_ledger_is_followed_through_replacement_and_forgetting(tmp_path: Path) -> None:
    """Only the current value of a slot is found, another user's never, and a forgotten one no more."""
    texts = {"The Pro plan costs 49 EUR.": [1, 0], "The Pro plan costs 59 EUR.": [1, 0.1], "Ann's cat is grey.": [0, 1]}
    encoder = TableEncoder(texts)
    ledger = SqlLedger.open(f"sqlite:///{tmp_path}/ledger.sqlite", lock_path=tmp_path / "lock", lock_timeout_s=1)
    retriever = HybridRetriever(ledger, encoder, tmp_path / "index")
    reader = Reader(chunk_tokens=60, max_chars=1000)

    def ingest(text: str, scope: Scope) -> str:
        (draft,) = reader.read(text, scope=scope)
        vectors = unit_rows(encoder.encode(draft.passages))
        entry = Entry(draft=draft, decision=DECISION, vectors=vectors, encoder=encoder.fingerprint)
        return str(ledger.write([entry])[0].record_id)

    def found(question: str, scope: Scope) -> list[str]:
        vector = encoder.encode([question])[0]
        return [hit.text for hit in retriever.search(question, vector=vector, scope=scope, top_k=5)]

    old, new, cat = texts
    ingest(old, EVERYONE)
    ingest(new, EVERYONE)
    cat_id = ingest(cat, Scope(user_id="ann"))

    assert found(new, Scope(user_id="bob")) == [new]
    assert found(cat, Scope(user_id="ann")) == [cat, new]
    ledger.forget([cat_id])
    assert found(cat, Scope(user_id="ann")) == [new]
    assert retriever.check() == []
    retriever.save()
    assert HybridRetriever(ledger, encoder, tmp_path / "index").catch_up() == 0
    ledger.close()
