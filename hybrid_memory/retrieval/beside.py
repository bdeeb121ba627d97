"""The parts of a document before and after those that were found.

Flow:    hits -> [beside] -> hits with the parts next to them, in the document's order
Imports: types.

The parts of one text are stored together, in their order, so a part's neighbours have the numbers next to its own:
nothing has to be searched for, and another version of the document, which is stored by another call, is never near.
Sentences and turns' own words come after them all; a part that was found by its own words has their number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from hybrid_memory.types import Hit, Json, Passage, Record

__all__ = ["numbers", "runs"]

PLACE = ("page", "part", "parts", "dates")
"""Metadata in which parts of one text differ; in all else they are alike."""


def numbers(hits: Sequence[Hit], count: int, first: Mapping[int, int]) -> list[int]:
    """Return the ids of the passages that may stand next to hits, ascending; none for hits that are whole texts.

    `first` has the first passage of the records that were found by another one, by the number of that.
    """
    found = [first.get(hit.passage.id, hit.passage.id) for hit in hits if _place(hit.record) is not None]
    near = {number + step for number in found for step in range(-count, count + 1)}
    return sorted(number for number in near - set(found) if number > 0)


def runs(
    hits: Sequence[Hit], near: Sequence[tuple[Passage, Record]], count: int, first: Mapping[int, int]
) -> list[tuple[Hit, ...]]:
    """Return the hits with the parts beside them, as stretches of documents: that of the best hit first.

    Each part comes once, also when it stands between two hits; in a stretch, parts have their document's order.

    Args:
        hits: what was found, best first.
        near: the passages of `numbers` that the question may see, with their records.
        count: how many parts before and after a hit come along.
        first: as for `numbers`.
    """
    members = {first.get(hit.passage.id, hit.passage.id): hit for hit in hits}
    known = {passage.id: (passage, record) for passage, record in near if not passage.position}
    known |= {number: (hit.passage, hit.record) for number, hit in members.items()}
    for number, hit in list(members.items()):
        for passage, record in _around(number, hit.record, known, count):
            members.setdefault(passage.id, _neighbour(passage, record, hit))
    stretches: list[list[Hit]] = []
    last = 0
    for number in sorted(members):
        one = members[number]
        if stretches and number - last <= count and 0 < _apart(stretches[-1][-1].record, one.record) <= count:
            stretches[-1].append(one)
        else:
            stretches.append([one])
        last = number
    rank = {hit.id: place for place, hit in enumerate(hits)}
    stretches.sort(key=lambda stretch: min(rank.get(one.beside or one.id, len(hits)) for one in stretch))
    return [tuple(stretch) for stretch in stretches]


def _around(
    number: int, found: Record, known: Mapping[int, tuple[Passage, Record]], count: int
) -> Iterator[tuple[Passage, Record]]:
    """Yield the parts around the one of a number, outwards; where another text begins nothing more comes."""
    for way in (-1, 1):
        last = found
        for step in range(1, count + 1):
            passage, record = known.get(number + way * step, (None, None))
            if passage is None or record is None:
                continue  # forgotten, or not for this question to see
            if _apart(last, record) * way <= 0 or _apart(found, record) * way > count:
                break
            yield passage, record
            last = record


def _apart(one: Record, other: Record) -> int:
    """Return by how many parts `other` stands behind `one`, before it if negative; 0 when they are not of one text.

    What stands on different pages is one part apart.
    """
    here, there = _place(one), _place(other)
    if here is None or there is None or _text_of(one) != _text_of(other):
        return 0
    if here[0] != there[0]:
        return 1 if there > here else -1
    return there[1] - here[1]


def _place(record: Record) -> tuple[int, int] | None:
    """Return page and part of a record, None when it is no part of anything."""
    page, part = record.metadata.get("page", 0), record.metadata.get("part", 1)
    placed = "page" in record.metadata or "part" in record.metadata
    return (page, part) if placed and isinstance(page, int) and isinstance(part, int) else None


def _text_of(record: Record) -> tuple[object, ...]:
    """Return what the parts of one text share: whose it is, the call that stored it, and all that is said of it."""
    about: dict[str, Json] = {name: value for name, value in record.metadata.items() if name not in PLACE}
    return record.scope, record.recorded_at, record.observed_at, record.source, about


def _neighbour(passage: Passage, record: Record, hit: Hit) -> Hit:
    return Hit(
        record=record,
        passage=passage,
        score=0.0,
        similarity=float("nan"),
        beside=hit.id,
        explanation=(f"{_named(record)}, beside {_named(hit.record)} ({hit.id}), which was found",),
    )


def _named(record: Record) -> str:
    return " ".join(f"{name} {record.metadata[name]}" for name in ("page", "part") if name in record.metadata)
