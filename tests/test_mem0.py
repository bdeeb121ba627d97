"""mem0's verbs and return values over the memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tiny_flow import open_memory

from hybrid_memory.errors import FilterError, InputError
from hybrid_memory.integrations.mem0 import Memory

TEA = "Ann drinks green tea in the morning."
DOG = "The dog of the lighthouse keeper is called Bosun."


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Memory]:
    with open_memory(tmp_path) as opened:
        yield Memory(opened)


def test_add_search_get_and_get_all_have_mem0s_shapes(client: Memory) -> None:
    """The keys that code written for mem0 reads."""
    added = client.add(TEA, user_id="ann", metadata={"category": "food"}, infer=False)

    (one,) = added["results"]
    assert one == {"id": one["id"], "memory": TEA, "event": "ADD"}
    (found,) = client.search("what does Ann drink", user_id="ann")["results"]
    assert set(found) == {"id", "memory", "hash", "metadata", "score", "created_at", "updated_at", "user_id"}
    assert (found["id"], found["memory"], found["user_id"]) == (one["id"], TEA, "ann")
    assert found["metadata"] == {"category": "food"}
    assert 0 < found["score"] <= 1
    assert client.get_all(user_id="ann") == {"results": [client.get(one["id"])]}


def test_messages_keep_their_role_and_speaker(client: Memory) -> None:
    """As mem0 puts them at the top of an item."""
    client.add([{"role": "user", "name": "ann", "content": "I play the cello."}], user_id="ann", infer=False)

    (found,) = client.get_all(filters={"user_id": "ann"})["results"]

    assert (found["memory"], found["role"], found["actor_id"]) == ("ann: I play the cello.", "user", "ann")


def test_a_scope_may_be_given_as_mem0_1_or_mem0_2_wants_it(client: Memory) -> None:
    """And must be given: nobody's memories are not everybody's."""
    client.add(TEA, user_id="ann", infer=False)

    assert client.search("tea", filters={"user_id": "ann"}) == client.search("tea", user_id="ann")
    assert client.search("tea", user_id="ben") == {"results": []}
    for call in (lambda: client.add(TEA), lambda: client.search("tea"), client.get_all, client.delete_all):
        with pytest.raises(InputError, match="at least one of user_id, agent_id, run_id"):
            call()
    with pytest.raises(InputError, match="give it once"):
        client.search("tea", user_id="ann", filters={"user_id": "ben"})


def test_mem0s_filters_are_understood(client: Memory) -> None:
    """Plain keys are metadata; joins are written in capitals."""
    client.add(TEA, user_id="ann", metadata={"category": "food", "stars": 5}, infer=False)
    client.add(DOG, user_id="ann", metadata={"category": "pets", "stars": 3}, infer=False)

    def found(**conditions: object) -> list[object]:
        filters = {"user_id": "ann", **conditions}
        return [item["memory"] for item in client.get_all(filters=filters)["results"]]  # type: ignore[arg-type]

    assert found(category="food") == [TEA]
    assert found(stars={"gte": 3, "lt": 5}) == [DOG]
    assert found(category={"in": ["food", "pets"]}) == [TEA, DOG]
    assert found(OR=[{"category": "food"}, {"stars": 3}]) == [TEA, DOG]
    assert found(NOT=[{"category": "food"}]) == [DOG]
    assert found(AND=[{"category": "*"}, {"stars": {"ne": 5}}]) == [DOG]
    with pytest.raises(FilterError, match="unknown operator"):
        found(stars={"about": 3})


def test_a_threshold_and_a_number_cut_the_list(client: Memory) -> None:
    """`limit` is mem0 1's word."""
    client.add(TEA, user_id="ann", infer=False)
    client.add(DOG, user_id="ann", infer=False)

    assert len(client.search("green tea", user_id="ann", limit=1)["results"]) == 1
    assert [item["memory"] for item in client.search(TEA, user_id="ann", threshold=0.9)["results"]] == [TEA]


def test_an_update_keeps_the_id(client: Memory) -> None:
    """The old id names what is true now; the ledger has both."""
    first = client.add(TEA, user_id="ann", infer=False)["results"][0]["id"]

    assert client.update(first, "Ann drinks coffee now.") == {"message": "Memory updated successfully!"}
    client.update(first, metadata={"category": "food"})

    now = client.get(first)
    assert (now["id"], now["memory"], now["metadata"]) == (first, "Ann drinks coffee now.", {"category": "food"})
    assert [item["memory"] for item in client.get_all(user_id="ann")["results"]] == ["Ann drinks coffee now."]
    lines = client.history(first)
    assert [(line["event"], line["old_memory"], line["new_memory"]) for line in lines] == [
        ("ADD", None, TEA),
        ("UPDATE", TEA, "Ann drinks coffee now."),
    ]
    assert set(lines[0]) == {
        *("id", "memory_id", "old_memory", "new_memory", "event", "created_at", "updated_at"),
        *("is_deleted", "actor_id", "role"),
    }


def test_a_delete_forgets_every_version(client: Memory) -> None:
    """And history says so without the text."""
    first = client.add(TEA, user_id="ann", infer=False)["results"][0]["id"]
    client.update(first, "Ann drinks coffee now.")

    assert client.delete(first) == {"message": "Memory deleted successfully!"}

    assert client.get(first) is None
    assert client.get_all(user_id="ann") == {"results": []}
    assert [(line["event"], line["new_memory"], line["is_deleted"]) for line in client.history(first)][-1] == (
        "DELETE",
        None,
        True,
    )
    with pytest.raises(InputError, match="not found"):
        client.delete(first)


def test_delete_all_forgets_one_scope(client: Memory) -> None:
    """Nobody else's."""
    client.add(TEA, user_id="ann", infer=False)
    client.add(DOG, user_id="ben", infer=False)

    assert client.delete_all(user_id="ann") == {"message": "Memories deleted successfully!"}

    assert client.get_all(user_id="ann") == {"results": []}
    assert len(client.get_all(user_id="ben")["results"]) == 1


def test_a_replaced_value_is_an_update_with_what_was_before(client: Memory) -> None:
    """The policy sees that both fill one slot; mem0 1 reported it like this."""
    client.add("The ticket price of the ferry is 12 euros.", user_id="ann")

    (one,) = client.add("The ticket price of the ferry is 15 euros.", user_id="ann")["results"]

    assert (one["event"], one["previous_memory"]) == ("UPDATE", "The ticket price of the ferry is 12 euros.")


def test_the_same_again_adds_nothing(client: Memory) -> None:
    """A confirmation is no new memory."""
    client.add(TEA, user_id="ann", infer=False)

    assert client.add(TEA, user_id="ann", infer=False) == {"results": []}


def test_expired_memories_are_shown_on_request(client: Memory) -> None:
    """After the day that was given; today is not over yet."""
    client.memory.ingest(TEA, user_id="ann", observed_at=None)
    client.add(DOG, user_id="ann", infer=False, expiration_date="2999-01-01")

    (dog,) = client.search("dog", user_id="ann", top_k=1)["results"]

    assert dog["expiration_date"] == "2999-01-01"
    assert len(client.get_all(user_id="ann", show_expired=True)["results"]) == 2
    with pytest.raises(InputError, match="expiration_date must be YYYY-MM-DD"):
        client.add(TEA, user_id="ann", expiration_date="soon")


def test_the_day_of_expiry_counts_in_full_however_a_memory_came_in(client: Memory) -> None:
    """Added or imported: both end with the same midnight, both show that day, and `purge` takes both."""
    client.add(DOG, user_id="ann", infer=False, expiration_date="2999-05-31")
    row = {"memory": TEA, "user_id": "ann", "expiration_date": "2999-05-31"}
    client.memory.import_from([row], "mem0", route="retrieve")

    assert [item["expiration_date"] for item in client.get_all(user_id="ann")["results"]] == ["2999-05-31"] * 2
    ends = [record.expires_at for record in client.memory.list(user_id="ann")]
    assert ends == [datetime(2999, 6, 1, tzinfo=UTC)] * 2

    today = datetime.now(UTC).date()
    assert client.add("The lift is broken.", user_id="ann", infer=False, expiration_date=str(today))["results"]
    with pytest.raises(InputError, match=r"expiration_date 2020-01-01 is over; give today or a later day"):
        client.add("The bell is broken.", user_id="ann", expiration_date="2020-01-01")


def test_an_unknown_id_is_none_or_an_error(client: Memory) -> None:
    """`get` asks, the others would change something."""
    assert client.get("01ARZ3NDEKTSV4RRFFQ69G5FAV") is None
    with pytest.raises(InputError, match="not found"):
        client.update("01ARZ3NDEKTSV4RRFFQ69G5FAV", "x")
    with pytest.raises(InputError, match="at least one of text and metadata"):
        client.update("01ARZ3NDEKTSV4RRFFQ69G5FAV")
