"""The memory as a LangGraph store: LangGraph's own InMemoryStore is the oracle."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_flow import open_memory

from hybrid_memory.errors import InputError
from hybrid_memory.memory import HybridMemory

pytest.importorskip("langgraph", reason="langgraph is not installed: pip install 'hybrid-memory-sdk[langgraph]'")

from langgraph.store.base import BaseStore, GetOp, ListNamespacesOp, MatchCondition, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from hybrid_memory.integrations.langgraph import HybridMemoryStore

ITEMS: list[tuple[tuple[str, ...], str, dict[str, Any]]] = [
    (("test", "docs"), "doc1", {"title": "First Doc", "author": "Ann", "tags": ["important"], "size": 3}),
    (("test", "docs"), "doc2", {"title": "Second Doc", "author": "Ben", "tags": ["draft"], "size": 12}),
    (("test", "docs"), "Doc2", {"title": "Second Doc", "author": "Ben", "tags": ["draft"], "size": 12}),
    (("test", "images"), "img1", {"title": "Image 1", "author": "Ann", "meta": {"kind": "png", "wide": True}}),
    (("test",), "root", {"title": "At the root", "author": None}),
    (("prod", "docs", "v1"), "doc1", {"title": "Shipped", "size": 3.0, "empty": {}}),
    (("prod", "docs", "v2"), "doc1", {}),
]


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[HybridMemory]:
    with open_memory(tmp_path) as opened:
        yield opened


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HybridMemoryStore, InMemoryStore]]:
    """Ours and LangGraph's, filled alike; the tests only read them."""
    with open_memory(tmp_path_factory.mktemp("store")) as opened:
        both = (HybridMemoryStore(opened), InMemoryStore())
        for store in both:
            store.batch([PutOp(*item) for item in ITEMS])
        yield both


def plain(result: Any) -> Any:
    """What both must agree on: not the times, and not the order of a search without a query."""
    if isinstance(result, list):
        return sorted((plain(one) for one in result), key=str)
    return result if result is None or isinstance(result, tuple) else (result.namespace, result.key, result.value)


# A get of a namespace that is not there would leave it behind, empty, in LangGraph's store.
@pytest.mark.parametrize(
    "op",
    [
        *(GetOp(namespace, key) for namespace, key, _ in ITEMS),
        GetOp(("test",), "doc1"),
        SearchOp(("test",)),
        SearchOp(()),
        SearchOp(("test", "docs")),
        SearchOp(("prod",)),
        SearchOp(("nowhere",)),
        SearchOp((), filter={"author": "Ann"}),
        SearchOp(("test",), filter={"author": "Ben", "size": 12}),
        SearchOp((), limit=20),
        SearchOp(("prod", "docs", "v1"), filter={"size": {"$gt": 2, "$lt": 4}}),
        SearchOp(("test", "docs"), filter={"size": {"$gte": 12}}),
        SearchOp(("test", "docs"), filter={"size": {"$lte": 3}}),
        SearchOp((), filter={"author": {"$ne": "Ann"}}),
        SearchOp((), filter={"author": {"$eq": "Ann"}}),
        SearchOp((), filter={"author": None}),
        SearchOp((), filter={"tags": ["draft"]}),
        SearchOp((), filter={"tags": []}),
        SearchOp((), filter={"meta": {"kind": "png"}}),
        SearchOp((), filter={"meta": {"kind": "png", "wide": True}}),
        SearchOp((), filter={"meta": {"kind": "gif"}}),
        SearchOp((), filter={"title": "Second Doc"}),
        SearchOp((), filter={"nothing": "there"}),
        ListNamespacesOp(),
        ListNamespacesOp(max_depth=1),
        ListNamespacesOp(max_depth=2, limit=2, offset=1),
        ListNamespacesOp(match_conditions=(MatchCondition("prefix", ("test",)),)),
        ListNamespacesOp(match_conditions=(MatchCondition("suffix", ("docs",)),)),
        ListNamespacesOp(match_conditions=(MatchCondition("prefix", ("prod", "*", "v1")),)),
        ListNamespacesOp(match_conditions=(MatchCondition("suffix", ("docs", "*")),)),
        ListNamespacesOp(
            match_conditions=(MatchCondition("prefix", ("prod",)), MatchCondition("suffix", ("v2",))), max_depth=2
        ),
    ],
    ids=str,
)
def test_every_read_gives_what_langgraphs_own_store_gives(
    stores: tuple[HybridMemoryStore, InMemoryStore], op: Any
) -> None:
    """The same items, the same operation, the same result."""
    ours, theirs = stores

    assert plain(ours.batch([op])[0]) == plain(theirs.batch([op])[0])


# ---------------------------------------------------------------- writing

NOTES = ("users", "ann", "notes")


def test_a_later_put_replaces_an_earlier_one_and_history_stays(memory: HybridMemory) -> None:
    """The item is the new one; the ledger knows both, and when the first was made."""
    store = HybridMemoryStore(memory)
    store.put(NOTES, "drink", {"text": "Ann drinks tea."})
    first = store.get(NOTES, "drink")
    store.put(NOTES, "drink", {"text": "Ann drinks coffee."})

    now = store.get(NOTES, "drink")

    assert now.value == {"text": "Ann drinks coffee."}
    assert (now.created_at, now.updated_at > first.updated_at) == (first.created_at, True)
    assert len(store.search(NOTES)) == 1
    assert [record.text for record in memory.list(all_statuses=True)] == ["Ann drinks tea.", "Ann drinks coffee."]


def test_what_was_before_can_be_put_again(memory: HybridMemory) -> None:
    """Tea, coffee, tea: the third put counts, as does one after a deletion."""
    store = HybridMemoryStore(memory)
    for drink in ("tea", "coffee", "tea"):
        store.put(NOTES, "drink", {"text": drink})
    assert store.get(NOTES, "drink").value == {"text": "tea"}

    store.delete(NOTES, "drink")
    assert store.get(NOTES, "drink") is None
    store.put(NOTES, "drink", {"text": "tea"})

    assert store.get(NOTES, "drink").value == {"text": "tea"}


def test_delete_forgets_the_item_and_its_history(memory: HybridMemory) -> None:
    """Nothing of it is found, listed or kept; another key with the same value stays."""
    store = HybridMemoryStore(memory)
    for key, drink in (("drink", "tea"), ("drink", "coffee"), ("other", "coffee")):
        store.put(NOTES, key, {"text": f"Ann drinks {drink}."})

    store.delete(NOTES, "drink")

    assert [item.key for item in store.search(NOTES, query="what does Ann drink")] == ["other"]
    texts = [record.text for record in memory.list(all_statuses=True)]
    assert texts == ["Ann drinks coffee."]
    store.delete(NOTES, "never there")


@pytest.mark.parametrize("first", ["statement", "item"])
def test_an_item_and_a_statement_of_the_same_words_live_apart(memory: HybridMemory, first: str) -> None:
    """The application's sentence stays when the item is changed or deleted, whichever came first."""
    store, words = HybridMemoryStore(memory, fields=["text"]), "Ann drinks tea in the morning."
    if first == "statement":
        memory.ingest(words)
    store.put(("notes",), "k", {"text": words})
    receipt = memory.ingest(words)

    store.put(("notes",), "k", {"text": "Ann drinks coffee."})
    assert sorted(record.text for record in memory.list()) == ["Ann drinks coffee.", words]
    store.delete(("notes",), "k")
    assert [record.id for record in memory.list()] == [receipt.record_id]
    assert memory.ingest(words).duplicate


def test_in_a_batch_reads_come_first_and_the_last_put_counts(memory: HybridMemory) -> None:
    """As LangGraph's own store does it."""
    store = HybridMemoryStore(memory)

    results = store.batch(
        [PutOp(NOTES, "a", {"n": 1}), GetOp(NOTES, "a"), PutOp(NOTES, "a", {"n": 2}), PutOp(NOTES, "b", None)]
    )

    assert results == [None] * 4
    assert store.get(NOTES, "a").value == {"n": 2}


def test_values_come_back_as_they_were(memory: HybridMemory) -> None:
    """Spaces, cases, dots, empty things and other alphabets are not folded."""
    value = {"a  b": " Two  spaces.\n", "E": [1, 2.5, None, True, {"x": []}], "ø.ß": "Straße", "": ""}
    store = HybridMemoryStore(memory)

    store.put(NOTES, "odd KEY", value)
    store.put(NOTES, "odd key", {"other": "item"})

    assert store.get(NOTES, "odd KEY").value == value


def test_a_value_that_is_no_json_is_refused(memory: HybridMemory) -> None:
    """Before anything is stored."""
    with pytest.raises(InputError, match="an item's value must be JSON data"):
        HybridMemoryStore(memory).put(NOTES, "bad", {"set": {1}})


def test_an_unknown_operator_is_refused(memory: HybridMemory) -> None:
    """A filter that is not understood must not look as if nothing had been found."""
    with pytest.raises(InputError, match=r"unknown operator '\$like'"):
        HybridMemoryStore(memory).search((), filter={"a": {"$like": "b"}})


def test_a_time_to_live_is_refused_by_langgraph_itself(memory: HybridMemory) -> None:
    """The store says that it has none."""
    with pytest.raises(NotImplementedError, match="TTL is not supported by HybridMemoryStore"):
        HybridMemoryStore(memory).put(NOTES, "a", {"n": 1}, ttl=5)


# ---------------------------------------------------------------- meaning, scope, policy


def test_a_query_finds_by_meaning_inside_prefix_and_filter(memory: HybridMemory) -> None:
    """The closest first, with a score; pages go on where the last one ended."""
    store = HybridMemoryStore(memory)
    store.put(NOTES, "1", {"text": "the ferry leaves at noon", "kind": "time"})
    store.put(NOTES, "2", {"text": "the ferry leaves from pier four", "kind": "place"})
    store.put(("users", "ben"), "3", {"text": "the ferry leaves at noon", "kind": "time"})

    found = store.search(NOTES, query="the ferry leaves from which pier")

    assert [item.key for item in found] == ["2", "1"]
    assert found[0].score > found[1].score
    assert [item.key for item in store.search(NOTES, query="the ferry", filter={"kind": "time"})] == ["1"]
    assert [item.key for item in store.search(NOTES, query="from which pier", limit=1, offset=1)] == ["1"]


def test_only_the_chosen_fields_are_searched(memory: HybridMemory) -> None:
    """By the store's fields, or by the put's own; an item without any is found by its key only."""
    store = HybridMemoryStore(memory, fields=("text",))
    store.put(NOTES, "1", {"text": "harbour", "secret word": "walrus"})
    store.put(NOTES, "2", {"text": "harbour", "also": ["walrus", "seal"]}, index=["also[*]"])
    store.put(NOTES, "3", {"text": "walrus"}, index=False)

    assert [item.key for item in store.search(NOTES, query="walrus", limit=1)] == ["2"]
    assert "3" not in [item.key for item in store.search(NOTES, query="walrus")]
    assert store.get(NOTES, "3").value == {"text": "walrus"}


def test_stores_of_two_users_over_one_memory_do_not_meet(memory: HybridMemory) -> None:
    """Neither with each other nor with everybody's store nor with other records."""
    memory.ingest("The ferry leaves at noon.")
    ann, ben, everyone = (
        HybridMemoryStore(memory, user_id="ann"),
        HybridMemoryStore(memory, user_id="ben"),
        HybridMemoryStore(memory),
    )
    everyone.put(NOTES, "a", {"of": "everyone"})
    ann.put(NOTES, "a", {"of": "ann"})

    assert (ann.get(NOTES, "a").value, everyone.get(NOTES, "a").value) == ({"of": "ann"}, {"of": "everyone"})
    assert ben.get(NOTES, "a") is None
    assert ben.search((), query="ferry") == []
    assert ben.list_namespaces() == []


def test_the_policy_may_decide_instead(memory: HybridMemory) -> None:
    """What it keeps back is not silently missing."""
    store = HybridMemoryStore(memory, route=None)

    with pytest.raises(InputError, match=r"item 'a' was routed to quarantine"):
        store.put(NOTES, "a", {"text": "The root password of the ticket server is hunter2-Xk9!"})


def test_items_are_evidence_for_answers_too(memory: HybridMemory) -> None:
    """One memory: what a graph stored is found by a query."""
    HybridMemoryStore(memory, fields=("text",)).put(NOTES, "a", {"text": "The ferry to the island leaves at noon."})

    assert "leaves at noon" in memory.search("when does the ferry to the island leave")[0].text


def test_a_graph_reads_and_writes_the_store(memory: HybridMemory) -> None:
    """Compiled into a graph, synchronously and awaited."""
    from langgraph.graph import END, START, StateGraph

    def remember(state: dict[str, Any], *, store: BaseStore) -> dict[str, Any]:
        seen = store.search(NOTES, query=state["said"])
        store.put(NOTES, state["said"], {"text": state["said"]})
        return {"said": f"{len(seen)} seen"}

    graph = StateGraph(dict)
    graph.add_node("remember", remember)
    graph.add_edge(START, "remember")
    graph.add_edge("remember", END)
    compiled = graph.compile(store=HybridMemoryStore(memory))

    assert compiled.invoke({"said": "hello harbour"}) == {"said": "0 seen"}
    assert asyncio.run(compiled.ainvoke({"said": "hello again"})) == {"said": "1 seen"}
