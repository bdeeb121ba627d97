"""Decide which records are learned together.

Flow:    queue -> [sharding] -> one adapter per shard
Imports: types, forms, statements.

One behaviour shard per scope, always on; shards of examples and of facts, chosen by the question; one shard a task,
asked for by its name.
Facts of like meaning share a shard: inside a shard the model has to tell neighbours apart, across
shards the encoder does, which is better at it (24 facts: one shard 39 of 72 hard questions answered
closed-book, shards of 6 facts 49; benchmarks/LOG.md). What counts is statements, not records: six parts of a page
make some twenty-six, and a shard of those lost the first it had learned (results of the `squad_seal` stream).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, count

import numpy as np

from hybrid_memory.forms import shapes_behaviour
from hybrid_memory.statements import statements
from hybrid_memory.types import BEHAVIOUR, EXAMPLES, FACTS, TASKS, FloatArray, Held, Kind, Record, Scope, Shard

__all__ = ["clusters", "group_of", "place", "regroup", "size_of"]


@dataclass(slots=True)
class _Room:
    """A shard as a place for more records."""

    shard: Shard
    centre: FloatArray
    """Sum of its records' vectors, shape (dim,)."""
    count: int
    size: int
    """Of its records together, as `size_of` counts."""


def group_of(record: Record) -> str:
    """Return which group of shards learns a record: by what it is, not by what it says."""
    if shapes_behaviour(record):
        return BEHAVIOUR
    return {Kind.EXAMPLE: EXAMPLES, Kind.TASK: TASKS}.get(record.kind, FACTS)


def size_of(record: Record) -> int:
    """Return how much of a shard a record takes: the statements of a fact, 1 of anything else."""
    return len(statements(record.text)) if group_of(record) == FACTS else 1


def place(new: Held, members: Mapping[Shard, Held], *, cap: int) -> list[Shard]:
    """Return a shard for each record of one scope: the nearest with room, or a new one.

    Facts that come together are first joined into clusters of at most `cap` statements, and all are taken in the
    order of their texts' hashes, so that their order of arrival inside a window does not matter; each
    cluster then moves into the nearest shard that can hold it whole. A record of more statements than `cap` has a shard
    to itself. Behaviour and examples have one shard each, and so has every task: it takes one that is empty, such as
    that of what it replaced.

    Args:
        new: newly queued, all of one scope.
        members: the scope's shards -> what is in them.
        cap: most statements in one shard.
    """
    records, vectors = new
    chosen: dict[int, Shard] = {}
    order = sorted(range(len(records)), key=lambda number: (records[number].content_hash, records[number].id))
    taken = {shard.id for shard in members}
    for group in (BEHAVIOUR, EXAMPLES, FACTS, TASKS):
        places = [number for number in order if group_of(records[number]) == group]
        if not places:
            continue
        most = len(records) + sum(len(there) for there, _ in members.values())
        limit = {FACTS: cap, TASKS: 1}.get(group, most)
        sizes = [size_of(records[number]) for number in places]
        rooms = [
            _Room(shard, rows.sum(axis=0), len(there), sum(map(size_of, there)))
            for shard, (there, rows) in members.items()
            if shard.group == group
        ]
        fresh = _fresh_shards(records[0].scope, group, taken)
        whole = group in (BEHAVIOUR, EXAMPLES)
        for cluster in [list(range(len(places)))] if whole else clusters(vectors[places], sizes, limit):
            size = sum(sizes[number] for number in cluster)
            room = _enter(vectors[[places[number] for number in cluster]], size, rooms, limit, fresh)
            chosen |= {places[number]: room.shard for number in cluster}
    return [chosen[number] for number in range(len(records))]


def regroup(members: Mapping[Shard, Held], taken: Iterable[str], *, cap: int) -> list[tuple[Shard, list[int], Shard]]:
    """Split shards of facts that hold more than the cap, and merge those that fit into one, by what they say.

    Args:
        members: shards of one scope that are to be rebuilt anyway -> what is in them.
        taken: ids of all shards of the scope.
        cap: most statements in one shard; one record alone may have more.

    Returns:
        (shard, which of its rows move, shard they move to); a shard all of whose rows move is left empty.
    """
    rows = {shard: vectors for shard, (_, vectors) in members.items() if shard.group == FACTS and len(vectors)}
    sizes = {shard: [size_of(record) for record in members[shard][0]] for shard in rows}
    used = set(taken)
    moves: list[tuple[Shard, list[int], Shard]] = []
    for shard in [shard for shard in rows if sum(sizes[shard]) > cap]:
        fresh = _fresh_shards(shard.scope, FACTS, used)
        parts = sorted(clusters(rows.pop(shard), sizes.pop(shard), cap), key=len, reverse=True)
        moves += [(shard, part, next(fresh)) for part in parts[1:]]
    total = {shard: sum(of_each) for shard, of_each in sizes.items()}
    while pair := _closest(rows, total, cap):
        into, gone = pair
        left = [(shard, places, into if target == gone else target) for shard, places, target in moves]
        moves = [*left, (gone, list(range(len(members[gone][0]))), into)]
        rows[into] = np.concatenate([rows[into], rows.pop(gone)])
        total[into] += total.pop(gone)
    return moves


def clusters(vectors: FloatArray, sizes: Sequence[int], cap: int) -> list[list[int]]:
    """Join the most similar groups (average linkage) while the result is of size `cap` at most.

    >>> clusters(np.array([[1, 0], [0, 1], [0.9, 0.1], [0.1, 0.9]], dtype=np.float32), [1, 1, 1, 1], cap=2)
    [[0, 2], [1, 3]]
    """
    groups = {number: [number] for number in range(len(vectors))}
    counts, total = np.ones(len(vectors)), np.array(sizes)
    links = np.triu(vectors.astype(np.float64) @ vectors.T, 1)  # sums over pairs of members; left < right
    gone = np.tri(len(vectors), dtype=bool)
    while len(groups) > 1:
        means = np.where(gone | (total[:, None] + total > cap), -np.inf, links / (counts[:, None] * counts))
        left, right = (int(place) for place in np.unravel_index(means.argmax(), means.shape))
        if means[left, right] == -np.inf:
            break
        groups[left] = sorted([*groups[left], *groups.pop(right)])
        both = links[left] + links[:, left] + links[right] + links[:, right]
        links[left, left + 1 :], links[:left, left] = both[left + 1 :], both[:left]
        gone[right], gone[:, right] = True, True
        counts[left] += counts[right]
        total[left] += total[right]
    return list(groups.values())


def _closest(rows: Mapping[Shard, FloatArray], sizes: Mapping[Shard, int], cap: int) -> tuple[Shard, Shard] | None:
    """Return the two most similar shards that fit into one, the larger one first; None when no two fit."""
    fitting = [
        (float((rows[one] @ rows[other].T).mean()), one, other)
        for one, other in combinations(sorted(rows, key=lambda shard: (-len(rows[shard]), shard.id)), 2)
        if sizes[one] + sizes[other] <= cap
    ]
    return max(fitting, key=lambda found: found[0])[1:] if fitting else None


def _enter(vectors: FloatArray, size: int, rooms: list[_Room], limit: int, fresh: Iterator[Shard]) -> _Room:
    centre = vectors.sum(axis=0)
    fitting = [room for room in rooms if room.size + size <= limit]
    if fitting:
        room = max(fitting, key=lambda one: float(one.centre @ centre) / max(one.count, 1))
    else:
        room = _Room(next(fresh), np.zeros_like(centre), 0, 0)
        rooms.append(room)
    room.centre = room.centre + centre
    room.count += len(vectors)
    room.size += size
    return room


def _fresh_shards(scope: Scope, group: str, taken: set[str]) -> Iterator[Shard]:
    """Yield shards with unused ids: "facts-1", or "facts-3fa2c1d09b7e-1" inside a scope.

    12 hex digits: two of a million scopes meet with a chance of 1 in 500, of 6 digits surely; then one
    would train on the other's records.
    """
    owner = "" if scope == Scope() else hashlib.sha256(repr(scope.values()).encode()).hexdigest()[:12] + "-"
    for number in count(1):
        name = f"{group}-{owner}{number}"
        if name not in taken:
            taken.add(name)
            yield Shard(id=name, scope=scope, group=group, dirty=True, masked=False, active=None)
