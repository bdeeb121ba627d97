"""LlamaIndex stores that pass over a restriction, refuse it, or find too few: the answer stays exact."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ledger_entries import ANN, BEN, entry, open_ledger, unit
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryResult

from hybrid_memory.errors import IndexMismatchError, InputError
from hybrid_memory.ledger.ledger import SqlLedger
from hybrid_memory.retrieval.selection import Selection
from hybrid_memory.retrieval.vector_store import VectorStoreMirror
from hybrid_memory.types import IdArray

TEXTS = [f"fact {number}" for number in range(40)]
QUESTION = unit("where?")


class PassesOver(SimpleVectorStore):
    """Looks at no restriction at all."""

    def query(self, query: VectorStoreQuery, **options: Any) -> VectorStoreQueryResult:
        query.filters = query.node_ids = None
        return super().query(query, **options)


class Refuses(SimpleVectorStore):
    """Knows equality only, as several stores do."""

    def query(self, query: VectorStoreQuery, **options: Any) -> VectorStoreQueryResult:
        if query.node_ids is not None:
            raise NotImplementedError("node_ids")
        if query.filters is not None:
            query.filters.legacy_filters()  # raises ValueError for anything else
        return super().query(query, **options)


class FindsTooFew(SimpleVectorStore):
    """A graph that filters what it found: the nearest five, less those outside the selection."""

    def query(self, query: VectorStoreQuery, **options: Any) -> VectorStoreQueryResult:
        inside = super().query(query, **options)
        whole = VectorStoreQuery(query_embedding=query.query_embedding, similarity_top_k=5)
        five = super().query(whole).ids or []
        return VectorStoreQueryResult(ids=[name for name in inside.ids or [] if name in five], similarities=[])


class OnlyWhatMustBe(SimpleVectorStore):
    """The three obligatory methods."""

    def delete_nodes(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError

    def clear(self) -> None:
        raise NotImplementedError


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    opened = open_ledger(tmp_path)
    opened.write([entry(text, scope=ANN if number % 2 else BEN) for number, text in enumerate(TEXTS)])
    yield opened
    opened.close()


def mirror(ledger: SqlLedger, folder: Path, store: object) -> VectorStoreMirror:
    return VectorStoreMirror(ledger, folder / "index", store, encoder="test")


def expected(ledger: SqlLedger, selection: IdArray, top_k: int) -> list[int]:
    ids, vectors = ledger.vectors(selection.tolist())
    return [ids[row] for row in np.argsort(-(vectors @ QUESTION))[:top_k]]


@pytest.mark.parametrize("kind", [SimpleVectorStore, PassesOver, Refuses, FindsTooFew, OnlyWhatMustBe])
@pytest.mark.parametrize("top_k", [1, 10, 20, 100])
def test_what_is_found_is_exact_and_inside_the_selection(
    ledger: SqlLedger, tmp_path: Path, kind: type, top_k: int
) -> None:
    """Where the store's answer is not, the vectors of the selection are compared here."""
    store = mirror(ledger, tmp_path, kind())
    selection = ledger.visible(scope=BEN)

    found = store.search(QUESTION, selection=Selection(selection), top_k=top_k)

    assert [number for number, _ in found] == expected(ledger, selection, top_k)


def test_a_store_that_is_of_no_help_is_named_once(
    ledger: SqlLedger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The user learns why searches are slow, and not with every search."""
    store = mirror(ledger, tmp_path, PassesOver())

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            store.search(QUESTION, selection=Selection(ledger.visible(scope=BEN)), top_k=3)

    (warning,) = caplog.messages
    assert warning.startswith("PassesOver does not search inside a selection")


@pytest.mark.parametrize("kind", [SimpleVectorStore, OnlyWhatMustBe])
def test_a_removed_passage_leaves_a_store_with_the_obligatory_methods_only(
    ledger: SqlLedger, tmp_path: Path, kind: type
) -> None:
    """Deleted one by one where the store has no call for several."""
    kept = kind()
    store = mirror(ledger, tmp_path, kept)
    store.catch_up()
    ledger.forget([record.id for record in ledger.find(scope=BEN)])

    store.catch_up()

    assert len(kept.data.embedding_dict) == 20
    assert store.check() == []


def test_the_shorter_list_is_sent(ledger: SqlLedger, tmp_path: Path) -> None:
    """With 39 of 40 visible, the one that is not is named; with 2 of 40, those two."""
    sent: list[VectorStoreQuery] = []

    class Listens(SimpleVectorStore):
        def query(self, query: VectorStoreQuery, **options: Any) -> VectorStoreQueryResult:
            sent.append(query)
            return super().query(query, **options)

    store = mirror(ledger, tmp_path, Listens())
    everything = ledger.visible(scope=ANN).tolist() + ledger.visible(scope=BEN).tolist()
    ids = np.sort(np.asarray(everything))
    store.catch_up()
    sent.clear()

    store.search(QUESTION, selection=Selection(np.delete(ids, 7)), top_k=3)
    store.search(QUESTION, selection=Selection(ids[:2]), top_k=1)

    assert [passages(query) for query in sent] == [[int(ids[7])], ids[:2].tolist()]


def passages(query: VectorStoreQuery) -> Sequence[int]:
    """The passage numbers a query names, in its filter or as the low half of its node ids."""
    if query.node_ids:
        return [int(name.replace("-", "")[16:], 16) for name in query.node_ids]
    return [number for one in query.filters.filters if one.key == "passage" for number in one.value]


def test_no_text_is_copied_into_the_store(ledger: SqlLedger, tmp_path: Path) -> None:
    """The store gets vectors and numbers; there is nothing to read in it."""
    kept = SimpleVectorStore()
    mirror(ledger, tmp_path, kept).catch_up()

    assert "fact" not in str(kept.data.metadata_dict)
    assert set(next(iter(kept.data.metadata_dict.values()))) >= {"hybrid_memory", "passage"}


def test_a_vector_of_another_length_is_refused(ledger: SqlLedger, tmp_path: Path) -> None:
    """As the FAISS index does, with the way out."""
    store = mirror(ledger, tmp_path, SimpleVectorStore())

    with pytest.raises(IndexMismatchError, match="has 3 numbers, the stored ones 4"):
        store.search(np.ones(3, np.float32), selection=Selection(ledger.visible(scope=BEN)), top_k=1)


def test_what_is_no_vector_store_is_refused(ledger: SqlLedger, tmp_path: Path) -> None:
    """A client of a database is not its LlamaIndex store."""
    with pytest.raises(InputError, match=r"must be a LlamaIndex vector store .* got dict"):
        mirror(ledger, tmp_path, {})


def test_the_faiss_snapshot_does_not_stay_behind(ledger: SqlLedger, tmp_path: Path) -> None:
    """It would keep what is forgotten from now on."""
    old = tmp_path / "index" / "encoder"
    old.mkdir(parents=True)
    (old / "snapshot.json").write_text("{}", encoding="utf-8")

    mirror(ledger, tmp_path, SimpleVectorStore())

    assert not old.exists()
