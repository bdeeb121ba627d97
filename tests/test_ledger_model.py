"""Filters, scopes and pages against a plain-Python model that knows no SQL."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ledger_entries import entry, open_ledger

from hybrid_memory.ledger.ledger import SqlLedger
from hybrid_memory.types import Record, Scope

VALUES: list[Any] = [
    "Oslo",
    "oslo",
    "Ås",
    "",
    0,
    1,
    -2,
    2.5,
    1.0,
    True,
    False,
    None,
    "1",
    "true",
    ["Oslo", 1],
    [True],
    {"a": 1},
]
PLACES = [Scope(tenant, user) for tenant, user in itertools.product((None, "acme", "birch"), (None, "ann", "ben"))]
PROPERTY = settings(max_examples=60, deadline=None)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, new_ledger_url: Callable[[Path], str]) -> Iterator[SqlLedger]:
    """Every value under key "a" with every scope in turn, a neighbour under "b", and records without either."""
    folder = tmp_path_factory.mktemp("model")
    ledger = open_ledger(folder, url=new_ledger_url(folder))
    count = len(VALUES) * 3
    ledger.write(
        [
            entry(
                f"{'Note' if number % 2 else 'note'} {number}",
                scope=PLACES[number % len(PLACES)],
                source=("wiki", "Chat", "sign%_")[number % 3],
                metadata={} if number % 7 == 6 else {"a": VALUES[number % 17], "b": VALUES[number * 5 % 17]},
            )
            for number in range(count)
        ]
    )  # fmt: skip
    yield ledger
    ledger.close()


# ---------------------------------------------------------------- the model


def holds(filters: Mapping[str, Any], record: Record) -> bool:
    """What docs/how-to/ingesting.md says about filters, in Python."""
    return all(_one(key, value, record) for key, value in filters.items())


def _one(key: str, value: Any, record: Record) -> bool:
    if key == "not":
        return not holds(value, record)
    if key in ("and", "or"):
        return (all if key == "and" else any)(holds(part, record) for part in value)
    tests = value if isinstance(value, dict) else {"eq": value}
    own = record.metadata.get(key.removeprefix("metadata.")) if key.startswith("metadata.") else record[key]
    return all(_test(operator, operand, own) for operator, operand in tests.items())


def _test(operator: str, operand: Any, own: Any) -> bool:
    return {
        "eq": lambda: own is None if operand is None else _same(own, operand),
        "ne": lambda: own is not None if operand is None else not _same(own, operand),
        "in": lambda: any(_same(own, one) for one in operand),
        "nin": lambda: not any(_same(own, one) for one in operand),
        "exists": lambda: (own is not None) is operand,
        "gt": lambda: _alike(own, operand) and own > operand,
        "gte": lambda: _alike(own, operand) and own >= operand,
        "lt": lambda: _alike(own, operand) and own < operand,
        "lte": lambda: _alike(own, operand) and own <= operand,
        "contains": lambda: _part(own, operand, str),
        "icontains": lambda: _part(own, operand, str.lower),
    }[operator]()


def _type(value: Any) -> type:
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


def _alike(own: Any, other: Any) -> bool:
    return _type(own) is _type(other)


def _same(own: Any, other: Any) -> bool:
    return bool(_alike(own, other) and own == other)


def _part(own: Any, part: Any, fold: Callable[[str], str]) -> bool:
    if isinstance(own, list):
        return any(_same(*(fold(value) if isinstance(value, str) else value for value in (one, part))) for one in own)
    return isinstance(own, str) and isinstance(part, str) and fold(part) in fold(own)


# ---------------------------------------------------------------- filters of every shape

SCALARS = st.sampled_from([value for value in VALUES if not isinstance(value, list | dict | None.__class__)])
OPERATORS = st.one_of(
    st.tuples(st.sampled_from(["eq", "ne"]), st.one_of(SCALARS, st.none())),
    st.tuples(st.sampled_from(["gt", "gte", "lt", "lte"]), SCALARS),
    st.tuples(st.sampled_from(["in", "nin"]), st.lists(SCALARS, max_size=4)),
    st.tuples(st.sampled_from(["contains", "icontains"]), SCALARS),
    st.tuples(st.just("exists"), st.booleans()),
)
METADATA = st.builds(
    lambda key, tests: {f"metadata.{key}": dict(tests)},
    st.sampled_from(["a", "b", "c"]),
    st.lists(OPERATORS, min_size=1, max_size=2, unique_by=lambda test: test[0]),
)
SOURCES = st.builds(
    lambda operator, text: {"source": {operator: text}},
    st.sampled_from(["eq", "ne", "gt", "lte", "contains", "icontains"]),
    st.sampled_from(["wiki", "Chat", "chat", "%", "sign%_", "a"]),
)
FILTERS = st.recursive(
    st.one_of(METADATA, SOURCES),
    lambda inner: st.one_of(
        st.builds(lambda parts: {"and": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"or": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"not": part}, inner),
    ),
    max_leaves=5,
)


@PROPERTY
@given(FILTERS)
@example({"metadata.b": {"in": [0, 2.5]}})
def test_sql_selects_what_the_model_selects(ledger: SqlLedger, filters: dict[str, Any]) -> None:
    """Every operator on every type of value, nested; the whole ledger at once."""
    everything = ledger.find(scope=None)
    expected = [record.id for record in everything if holds(filters, record)]

    assert [record.id for record in ledger.find(scope=None, filters=filters)] == expected


@PROPERTY
@given(st.sampled_from(PLACES), FILTERS)
def test_no_filter_shows_a_record_that_the_scope_does_not_see(
    ledger: SqlLedger, place: Scope, filters: dict[str, Any]
) -> None:
    """The oracle is `Scope.sees`; records and passages are selected alike."""
    expected = [record.id for record in ledger.find(scope=None) if place.sees(record.scope) and holds(filters, record)]
    visible = ledger.passages(ledger.visible(scope=place, filters=filters).tolist())

    assert [record.id for record in ledger.find(scope=place, filters=filters)] == expected
    assert sorted(record.id for _, record in visible) == expected


@PROPERTY
@given(st.sampled_from(PLACES), st.integers(1, 9), FILTERS)
def test_pages_joined_are_the_whole_list(ledger: SqlLedger, place: Scope, limit: int, filters: dict[str, Any]) -> None:
    """Keyset pagination: nothing twice, nothing left out, in order."""
    paged: list[Record] = []
    while page := ledger.find(scope=place, filters=filters, limit=limit, after=paged[-1].id if paged else None):
        assert len(page) <= limit
        paged += page

    assert paged == ledger.find(scope=place, filters=filters)
