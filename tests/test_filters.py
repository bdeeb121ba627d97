"""Filters narrow a query in SQL, and say what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ledger_entries import ACME, ANN, BEN, SLOT, day, entry, open_ledger

from hybrid_memory.errors import FilterError
from hybrid_memory.ledger.ledger import SqlLedger
from hybrid_memory.types import Kind, Scope, Trust


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, new_ledger_url: Callable[[Path], str]) -> Iterator[SqlLedger]:
    folder = tmp_path_factory.mktemp("filters")
    ledger = open_ledger(folder, url=new_ledger_url(folder))
    ledger.write(
        [
            entry("Oslo: 100% wool_shop", source="wiki", metadata={"city": "Oslo", "year": 2019, "open": True}),
            entry("Älvdalen has 1000 woolXshops", source="chat", metadata={"city": "Älvdalen", "year": 2021.5}),
            entry("Bergen", source="wiki", metadata={"city": None, "tags": ["Rain", "sea", 7], "year": "2020"}),
            entry(
                "A slot",
                slot=SLOT,
                value="nine",
                valid_from=day(3),
                trust=Trust.OPERATOR,
                metadata={"open": False, "n": {"b": 1, "deep": {"tags": ["Äpfel"]}}},
            ),
            entry("Of the organisation", scope=ACME, metadata={"a.b": "dotted"}),
            entry("Of Ben", scope=BEN),
        ]
    )
    yield ledger
    ledger.close()


NAMES = {"Oslo: 100% wool_shop": "oslo", "Älvdalen has 1000 woolXshops": "dalen", "Bergen": "bergen", "A slot": "slot"}
NAMES |= {"Of the organisation": "acme", "Of Ben": "ben"}


def found(ledger: SqlLedger, filters: dict[str, Any], scope: Scope = ANN) -> set[str]:
    return {NAMES[record.text] for record in ledger.find(scope=scope, filters=filters)}


def shown(value: object) -> str:
    """A set's order differs from process to process, and tests that run side by side must have the same names."""
    return str(sorted(value)) if isinstance(value, set) else str(value)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, {"oslo", "dalen", "bergen", "slot", "acme"}),
        ({"source": "wiki"}, {"oslo", "bergen"}),
        ({"source": {"eq": "wiki"}}, {"oslo", "bergen"}),
        ({"source": {"ne": "wiki"}}, {"dalen", "slot", "acme"}),
        ({"source": {"in": ["wiki", "sign"]}}, {"oslo", "bergen"}),
        ({"source": {"in": []}}, set()),
        ({"source": {"nin": ["wiki"]}}, {"dalen", "slot", "acme"}),
        ({"trust": "operator"}, {"slot"}),
        ({"kind": {"in": [Kind.FACT]}}, {"oslo", "dalen", "bergen", "slot", "acme"}),
        ({"route": "learn"}, set()),
        ({"value": "nine"}, {"slot"}),
        ({"value": {"ne": "nine"}}, {"oslo", "dalen", "bergen", "acme"}),
        ({"value": {"exists": True}}, {"slot"}),
        ({"value": None}, {"oslo", "dalen", "bergen", "acme"}),
        ({"valid_from": {"gt": day(0)}}, {"slot"}),
        ({"valid_from": {"gte": "2024-01-01T01:00:00+01:00", "lt": day(3).isoformat()}},
         {"oslo", "dalen", "bergen", "acme"}),
        ({"metadata.city": "Oslo"}, {"oslo"}),
        ({"metadata.city": {"ne": "Oslo"}}, {"dalen", "bergen", "slot", "acme"}),
        ({"metadata.city": {"exists": True}}, {"oslo", "dalen"}),
        ({"metadata.open": True}, {"oslo"}),
        ({"metadata.open": False}, {"slot"}),
        ({"metadata.year": {"gte": 2020}}, {"dalen"}),
        ({"metadata.year": {"lte": "2020"}}, {"bergen"}),
        ({"metadata.year": 2019}, {"oslo"}),
        ({"metadata.tags": {"contains": "sea"}}, {"bergen"}),
        ({"metadata.tags": {"contains": 7}}, {"bergen"}),
        ({"metadata.city": {"contains": "slo"}}, {"oslo"}),
        ({"metadata.city": {"icontains": "äLV"}}, {"dalen"}),
        ({"metadata.a.b": "dotted"}, {"acme"}),
        ({"metadata.tags": {"contains": "rain"}}, set()),
        ({"metadata.tags": {"icontains": "rAIN"}}, {"bergen"}),
        ({"metadata.tags": {"icontains": 7}}, {"bergen"}),
        ({"metadata.n.b": 1}, {"slot"}),
        ({"metadata.n.b": {"in": [1, "x"]}}, {"slot"}),
        ({"metadata.n.b": {"gt": 1}}, set()),
        ({"metadata.n.b": {"ne": 1}}, {"oslo", "dalen", "bergen", "acme"}),
        ({"metadata.n.b": {"exists": True}}, {"slot"}),
        ({"metadata.n.c": {"exists": True}}, set()),
        ({"metadata.n.deep.tags": {"icontains": "äPFEL"}}, {"slot"}),
        ({"metadata.n..b": {"exists": True}}, set()),
        ({"source": "wiki", "metadata.city": "Oslo"}, {"oslo"}),
        ({"or": [{"metadata.city": "Oslo"}, {"value": "nine"}]}, {"oslo", "slot"}),
        ({"and": [{"source": "wiki"}, {"not": {"metadata.city": "Oslo"}}]}, {"bergen"}),
        ({"not": {"value": "nine"}}, {"oslo", "dalen", "bergen", "acme"}),
    ],
    ids=shown,
)  # fmt: skip
def test_a_filter_selects(ledger: SqlLedger, filters: dict[str, Any], expected: set[str]) -> None:
    """Each operator, field type and join, on six records worked out by hand."""
    assert found(ledger, filters) == expected


def test_contains_reads_wildcards_as_plain_text(ledger: SqlLedger) -> None:
    """% and _ mean themselves, and case counts; icontains folds case beyond ASCII."""
    assert found(ledger, {"text": {"contains": "100%"}}) == {"oslo"}
    assert found(ledger, {"text": {"contains": "wool_shop"}}) == {"oslo"}
    assert found(ledger, {"text": {"contains": "oslo"}}) == set()
    assert found(ledger, {"text": {"icontains": "OSLO"}}) == {"oslo"}
    assert found(ledger, {"text": {"icontains": "älv"}}) == {"dalen"}


def test_a_filter_never_widens_the_scope(ledger: SqlLedger) -> None:
    """Another user's id finds nothing, not even inside `or` and `not`."""
    assert found(ledger, {"user_id": "ann"}) == {"oslo", "dalen", "bergen", "slot"}
    assert found(ledger, {"user_id": "ben"}) == set()
    assert found(ledger, {"or": [{"user_id": "ben"}, {"user_id": None}]}) == {"acme"}
    assert "ben" not in found(ledger, {"or": [{"not": {"user_id": "ann"}}, {"source": {"exists": True}}]})


def test_filters_hold_for_passages_as_for_records(ledger: SqlLedger) -> None:
    """visible() and find() compile the same condition."""
    oslo = {"metadata.city": "Oslo"}
    (passage,) = ledger.passages(ledger.visible(scope=ANN, filters=oslo).tolist())

    assert [passage[1].id] == [record.id for record in ledger.find(scope=ANN, filters=oslo)]


def test_user_text_is_never_sql(ledger: SqlLedger) -> None:
    """Values travel as parameters; keys that could leave the JSON path are refused."""
    assert found(ledger, {"source": "' OR 1=1 --"}) == set()
    assert found(ledger, {"metadata.x') OR 1=1 --": "y"}) == set()
    with pytest.raises(FilterError, match="without quotes"):
        ledger.find(scope=ANN, filters={'metadata.x" OR': "y"})


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"sourse": "wiki"}, r"unknown field 'sourse'; did you mean 'source', or 'metadata.sourse'\?"),
        ({"colour_scheme": 1}, r"did you mean 'metadata.colour_scheme'\?"),
        ({"source": {"equals": "wiki"}}, "unknown operator 'equals' on 'source'"),
        ({"source": {"$in": ["wiki"]}}, r"unknown operator '\$in' on 'source'; did you mean 'in'\?"),
        ({"source": {}}, "filter on 'source' is empty"),
        ({"source": 3}, "'source' is text, got 3 of type int"),
        ({"source": {"in": "wiki"}}, "takes a list, got 'wiki'"),
        ({"source": {"in": ["x"] * 10_001}}, "10001 values; 10000 is the most"),
        ({"source": ["wiki"]}, r"'source' is text, got \['wiki'\]"),
        ({"source": {"gt": None}}, "against nothing"),
        ({"source": {"exists": "yes"}}, "takes true or false"),
        ({"kind": "facts"}, r"'facts' is no kind; did you mean 'fact'\?"),
        ({"kind": {"contains": "a"}}, "cannot be tested with 'contains'; it takes eq, ne, in, nin, exists"),
        ({"user_id": {"ne": "ann"}}, "it takes eq, in"),
        ({"valid_from": {"gt": "tomorrow"}}, "is a time, got 'tomorrow'"),
        ({"valid_from": {"gt": "2024-01-01"}}, "without a timezone"),
        ({"valid_from": {"gt": 5}}, "give a datetime"),
        ({"metadata.": 1}, "names no metadata key"),
        ({"metadata.x": [1]}, r"write \{'in': \[...\]\}"),
        ({"or": {}}, "takes a list of one or more filters"),
        ({"or": []}, "takes a list of one or more filters"),
        ({"not": [1]}, "a filter must be a dict"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_filter_is_named_with_a_proposal(ledger: SqlLedger, filters: dict[str, Any], message: str) -> None:
    """What is wrong, and what would be right."""
    with pytest.raises(FilterError, match=message):
        ledger.find(scope=ANN, filters=filters)


def test_a_filter_nested_without_end_is_refused(ledger: SqlLedger) -> None:
    """A filter comes from outside; its depth is bounded."""
    filters: dict[str, Any] = {"source": "wiki"}
    for _ in range(17):
        filters = {"not": filters}
    with pytest.raises(FilterError, match="deeper than 16 levels"):
        ledger.find(scope=ANN, filters=filters)
