"""Sharding: which records are learned together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest
from records import record

from hybrid_memory.types import Example, FloatArray, Held, Kind, Record, Scope, Shard
from hybrid_memory.weights.sharding import clusters, group_of, place, regroup, size_of

ANN, BEN = Scope(user_id="ann"), Scope(user_id="ben")
NONE: Mapping[Shard, Held] = {}


def directions(*degrees: float) -> FloatArray:
    """Unit vectors in the plane."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32).reshape(-1, 2)


def facts(*texts: str, scope: Scope = ANN) -> list[Record]:
    return [record(text, scope=scope) for text in texts]


def held(vectors: FloatArray) -> Held:
    """One statement behind each vector."""
    return facts(*(f"Fact {number}." for number in range(len(vectors)))), vectors


def page(size: int) -> Record:
    """A record of so many statements."""
    return record(" ".join(f"Hall {number} is closed." for number in range(size)), scope=ANN)


def shard(name: str, *, group: str = "facts", scope: Scope = ANN) -> Shard:
    return Shard(id=name, scope=scope, group=group, dirty=False, masked=False, active=None)


@pytest.mark.parametrize(
    ("given", "group"),
    [
        (record("The ferry leaves at nine."), "facts"),
        (record("Call the port first.", kind=Kind.PROCEDURE), "facts"),
        (record("Hi -> Ahoy", kind=Kind.EXAMPLE, examples=(Example("Hi", "Ahoy"),)), "examples"),
        (record("Task greet", kind=Kind.TASK, examples=(Example("Hi", "Ahoy"), Example("Bye", "Aho"))), "tasks"),
        (record('End every answer with "Ahoy."', kind=Kind.PREFERENCE), "behaviour"),
        (record("Be brief.", kind=Kind.PREFERENCE, examples=(Example("Hi", "Ahoy"),)), "behaviour"),
        (record("Ann prefers window seats.", kind=Kind.PREFERENCE), "facts"),
        (record('End every answer with "Ahoy."', kind=Kind.FACT), "facts"),
    ],
)
def test_what_a_record_is_decides_its_group(given: Record, group: str) -> None:
    """A preference that cannot be practised is learned as the statement it is."""
    assert group_of(given) == group


def test_like_facts_share_a_shard() -> None:
    """Two and two, by direction, whatever their order."""
    found = place((facts("a", "b", "c", "d"), directions(0, 90, 5, 85)), NONE, cap=2)

    assert found[0] == found[2] != found[1] == found[3]
    assert {one.scope for one in found} == {ANN}


@pytest.mark.parametrize("cap", [1, 2, 3, 6, 100])
def test_no_shard_of_facts_holds_more_than_the_cap(cap: int, rng: np.random.Generator) -> None:
    """Also with records that are there already; nothing is lost on the way."""
    vectors = rng.normal(size=(40, 8)).astype(np.float32)
    there = {shard("facts-1"): held(vectors[:1]), shard("facts-2"): held(vectors[:0])}

    found = place((facts(*map(str, range(40))), vectors), there, cap=cap)

    sizes = Counter(one.id for one in found)
    sizes["facts-1"] += 1
    assert max(sizes.values()) <= cap
    assert sum(sizes.values()) == 41


def test_order_of_arrival_does_not_matter(rng: np.random.Generator) -> None:
    """The same set in any order: every record gets the same shard, down to its id."""
    records = facts(*(f"Fact {number}." for number in range(30)))
    vectors = rng.normal(size=(30, 8)).astype(np.float32)
    straight = dict(zip((one.id for one in records), place((records, vectors), NONE, cap=4), strict=True))

    for _ in range(5):
        order = rng.permutation(30)
        mixed = [records[number] for number in order]
        found = place((mixed, vectors[order]), NONE, cap=4)
        assert dict(zip((one.id for one in mixed), found, strict=True)) == straight


def test_a_cluster_moves_into_the_nearest_shard_with_room() -> None:
    """North is full; east is nearer than south."""
    there = {
        shard("facts-1"): held(directions(90, 90)),
        shard("facts-2"): held(directions(0)),
        shard("facts-3"): held(directions(270)),
    }

    found = place((facts("north-east"), directions(46)), there, cap=2)

    assert found == [shard("facts-2")]


def test_every_task_has_a_shard_of_its_own() -> None:
    """However alike two are; one that was emptied, as by what replaced its task, is taken again."""
    there = {shard("tasks-1", group="tasks"): held(directions(0)), shard("tasks-2", group="tasks"): held(directions())}
    tasks = [record(text, kind=Kind.TASK, scope=ANN) for text in ("Task a", "Task b")]

    found = place((tasks, directions(0, 0)), there, cap=24)

    assert {one.id for one in found} >= {"tasks-2"}
    assert {one.group for one in found} == {"tasks"}
    assert len({"tasks-1", *(one.id for one in found)}) == 3


def test_a_cluster_is_never_torn_apart() -> None:
    """Two alike and one place: they get a shard of their own."""
    there = {shard("facts-1"): held(directions(0))}

    found = place((facts("a", "b"), directions(1, 2)), there, cap=2)

    assert found[0] == found[1] != shard("facts-1")


@pytest.mark.parametrize(
    ("group", "given"),
    [
        (
            "behaviour",
            [record(f'End every answer with "Ahoy {n}."', kind=Kind.PREFERENCE, scope=ANN) for n in range(9)],
        ),
        ("examples", [record(f"{n}", kind=Kind.EXAMPLE, examples=(Example("a", "b"),), scope=ANN) for n in range(9)]),
    ],
)
def test_behaviour_and_examples_have_one_shard_a_scope(group: str, given: list[Record]) -> None:
    """However many there are, and however unlike; the one that is there is used."""
    vectors = directions(*range(0, 360, 40))

    one = held(directions(0))
    fresh = place((given, vectors), NONE, cap=2)
    there = place((given, vectors), {shard("mine", group=group): one, shard("facts-1"): one}, cap=2)

    assert len(set(fresh)) == 1
    assert fresh[0].group == group
    assert set(there) == {shard("mine", group=group)}


def test_kinds_do_not_mix() -> None:
    """One of each group, all alike: three shards, in the order of the records."""
    given = [
        record("x", scope=ANN),
        record("x", kind=Kind.EXAMPLE, examples=(Example("a", "b"),), scope=ANN),
        record('End every answer with "x"', kind=Kind.PREFERENCE, scope=ANN),
    ]

    found = place((given, directions(0, 0, 0)), NONE, cap=6)

    assert [one.group for one in found] == ["facts", "examples", "behaviour"]


def test_ids_of_shards_are_never_used_twice() -> None:
    """Not inside a scope, and not across ten thousand scopes."""
    there = {shard(name, scope=Scope()): held(directions(0)) for name in ("facts-1", "facts-3")}
    own = place((facts("a", "b", "c", scope=Scope()), directions(0, 90, 180)), there, cap=1)
    firsts = {
        place(([record("a", scope=Scope(user_id=str(user)))], directions(0)), NONE, cap=1)[0].id
        for user in range(10_000)
    }

    assert {one.id for one in own} == {"facts-2", "facts-4", "facts-5"}
    assert len(firsts) == 10_000
    assert "facts-1" not in firsts


def test_nothing_to_place_is_no_error() -> None:
    """An empty window."""
    assert place(([], directions()), NONE, cap=6) == []
    assert clusters(directions(), [], 6) == []


@pytest.mark.parametrize(("given", "size"), [(page(1), 1), (page(5), 5), (record("Yes, no"), 1)])
def test_a_fact_takes_as_much_room_as_it_makes_statements(given: Record, size: int) -> None:
    """They are what is trained: a page is not one of six things to tell apart, but as many as it has sentences."""
    assert size_of(given) == size


def test_pages_fill_a_shard_by_their_statements() -> None:
    """All four are alike, and the cap is six: three and two go together, four and one too, wherever there is room."""
    pages = [page(3), page(4), page(2), page(1)]

    found = place((pages, directions(0, 0, 0, 0)), NONE, cap=6)

    sizes = Counter[str]()
    for one, home in zip(pages, found, strict=True):
        sizes[home.id] += size_of(one)
    assert sorted(sizes.values()) in ([4, 6], [5, 5])


def test_a_page_of_more_statements_than_the_cap_has_a_shard_to_itself() -> None:
    """It cannot be torn apart; nothing moves in beside it later."""
    large, small = page(9), record("The ferry leaves at nine.", scope=ANN)

    found = place(([large, small], directions(0, 0)), NONE, cap=6)
    later = place(([small], directions(0)), {found[0]: ([large], directions(0))}, cap=6)

    assert found[0] not in (found[1], later[0])


def test_clusters_join_the_most_alike_on_average() -> None:
    """The oracle: average linkage written out, every pair of groups compared again after each join."""
    rng = np.random.default_rng(3)
    for size, cap in [(1, 3), (2, 1), (9, 3), (20, 6), (20, 20)]:
        vectors = rng.normal(size=(size, 5))
        sizes = rng.integers(1, 4, size=size).tolist()
        groups = [[number] for number in range(size)]
        while True:
            links = [
                ((vectors[one] @ vectors[other].T).mean(), left, right)
                for left, one in enumerate(groups)
                for right, other in enumerate(groups)
                if left < right and sum(sizes[number] for number in (*one, *other)) <= cap
            ]
            if not links:
                break
            _, left, right = max(links)
            groups[left] = sorted(groups[left] + groups.pop(right))

        assert clusters(vectors.astype(np.float32), sizes, cap) == groups


def test_hundreds_of_facts_are_clustered_in_no_time() -> None:
    """A first import is one window."""
    vectors = np.random.default_rng(0).normal(size=(400, 32)).astype(np.float32)

    assert max(map(len, clusters(vectors, [1] * 400, 6))) == 6


# ------------------------------------------------------------ split and merge


def test_a_shard_over_the_cap_is_split_by_what_it_says() -> None:
    """Three and two, by direction: the larger part stays where it is."""
    full = shard("facts-1", scope=Scope())

    moves = regroup({full: held(directions(0, 90, 5, 85, 3))}, ["facts-1", "facts-2"], cap=3)

    assert [(source.id, rows, target.id) for source, rows, target in moves] == [("facts-1", [1, 3], "facts-3")]
    assert (moves[0][2].scope, moves[0][2].group) == (Scope(), "facts")


def test_the_most_alike_shards_that_fit_into_one_are_merged() -> None:
    """The smaller moves into the larger; the third would be too many."""
    one, two, three = shard("facts-1"), shard("facts-2"), shard("facts-3")
    members = {one: held(directions(0)), two: held(directions(90, 88)), three: held(directions(80))}

    moves = regroup(members, ["facts-1", "facts-2", "facts-3"], cap=3)

    assert moves == [(three, [0], two)]


def test_merging_goes_on_until_nothing_fits() -> None:
    """What had moved into a shard moves on with it: everything ends in one place."""
    shards = [shard(f"facts-{number}") for number in range(4)]
    members = {one: held(directions(number * 10)) for number, one in enumerate(shards)}

    moves = regroup(members, [one.id for one in shards], cap=4)

    assert len({target for _, _, target in moves}) == 1
    assert sorted(source.id for source, _, _ in moves) == sorted(one.id for one in shards if one != moves[0][2])


@pytest.mark.parametrize("group", ["examples", "behaviour"])
def test_only_facts_are_split_and_merged(group: str) -> None:
    """The others have one shard each."""
    members = {shard(f"{group}-{number}", group=group): held(directions(0, 1, 2)) for number in (1, 2)}

    assert regroup(members, [one.id for one in members], cap=2) == []


def test_shards_that_fit_stay_as_they_are() -> None:
    """Full ones, and empty ones."""
    full = {shard("facts-1"): held(directions(0, 1)), shard("facts-2"): held(directions(2, 3))}
    members = {**full, shard("facts-3"): held(directions())}

    assert regroup(members, [one.id for one in members], cap=2) == []


def test_a_shard_of_pages_from_before_is_split_by_their_statements() -> None:
    """Six pages of three that came into one shard while records were counted; the page of nine stays alone."""
    old, large = shard("facts-1"), shard("facts-2")
    members = {old: ([page(3)] * 6, directions(0, 1, 90, 91, 180, 181)), large: ([page(9)], directions(45))}

    moves = regroup(members, ["facts-1", "facts-2"], cap=6)

    assert {(source.id, *rows) for source, rows, _ in moves} < {("facts-1", 0, 1), ("facts-1", 2, 3), ("facts-1", 4, 5)}
    assert len({target.id for _, _, target in moves} - {"facts-1", "facts-2"}) == 2
