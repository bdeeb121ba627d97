"""What a search may find is kept up to date, and never differs from what the ledger would say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from ledger_entries import ACME, ANN, BEN, SLOT, day, entry, open_ledger

from hybrid_memory.ledger.ledger import SqlLedger
from hybrid_memory.protocols import Filters
from hybrid_memory.retrieval.selection import Selection, Selections
from hybrid_memory.types import Scope

HOUR = timedelta(hours=1)
LATER = datetime(2999, 1, 1, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    opened = open_ledger(tmp_path)
    yield opened
    opened.close()


def kept(
    selections: Selections, scope: Scope = ANN, filters: Filters | None = None, as_of: datetime | None = None
) -> list[int]:
    clock = selections._ledger.clock()
    return selections.get(scope=scope, filters=filters, as_of=as_of, clock=clock)[0].ids.tolist()


def fresh(ledger: SqlLedger, scope: Scope = ANN, filters: Filters | None = None) -> list[int]:
    return ledger.visible(scope=scope, filters=filters).tolist()


def test_a_selection_follows_what_is_written(ledger: SqlLedger) -> None:
    """New records come in, of the scope only; a replaced value goes out."""
    selections = Selections(ledger)
    ledger.write([entry("one", scope=ANN), entry("opens at nine", scope=ANN, slot=SLOT, value="nine")])
    assert kept(selections) == [1, 2]

    ledger.write(
        [entry("other", scope=BEN), entry("opens at ten", scope=ANN, slot=SLOT, value="ten", valid_from=day(3))]
    )

    assert kept(selections) == fresh(ledger) == [1, 4]
    assert kept(selections, BEN) == fresh(ledger, BEN) == [3]


def test_a_selection_follows_what_is_forgotten(ledger: SqlLedger) -> None:
    """What the ledger removed is not visible, known or not."""
    selections = Selections(ledger)
    receipts = ledger.write([entry("one", scope=ANN), entry("two", scope=ANN)])
    kept(selections)

    ledger.forget([str(receipts[0].record_id)])

    assert set(fresh(ledger)) == {2}
    assert 2 in kept(selections)
    assert ledger.passages(kept(selections))[0][0].id == 2


def test_a_selection_follows_the_clock(ledger: SqlLedger) -> None:
    """A record that begins, or ends, between two searches needs no event to come or go."""
    soon = datetime.now(UTC) + timedelta(seconds=1)  # a busy machine takes a while to write
    ledger.write([entry("begins", scope=ANN, valid_from=soon), entry("ends", scope=ANN, valid_to=soon)])
    selections = Selections(ledger)
    assert kept(selections) == [2]
    assert kept(selections) == [2]

    while datetime.now(UTC) <= soon:
        time.sleep(0.01)

    assert kept(selections) == fresh(ledger) == [1]


def test_a_filtered_selection_follows_changed_metadata(ledger: SqlLedger) -> None:
    """The filter is asked again for the records that changed."""
    selections = Selections(ledger)
    first = ledger.write([entry("one", scope=ANN, metadata={"city": "Oslo"}), entry("two", scope=ANN)])[0]
    oslo = {"metadata.city": "Oslo"}
    assert kept(selections, filters=oslo) == [1]

    ledger.update(str(first.record_id), metadata={"city": "Bergen"})

    assert kept(selections, filters=oslo) == fresh(ledger, filters=oslo) == []


def test_the_past_is_asked_again_when_anything_has_changed(ledger: SqlLedger) -> None:
    """A value that arrives late changes what was valid then."""
    selections = Selections(ledger)
    ledger.write([entry("nine", scope=ANN, slot=SLOT, value="nine", valid_from=day(1))])
    assert kept(selections, as_of=day(5)) == [1]

    ledger.write([entry("ten", scope=ANN, slot=SLOT, value="ten", valid_from=day(4))])

    assert kept(selections, as_of=day(5)) == [2]


def test_nothing_new_gives_the_same_selection(ledger: SqlLedger) -> None:
    """So that what was prepared from it is used again."""
    ledger.write([entry("one", scope=ANN)])
    selections = Selections(ledger)

    clock = ledger.clock()
    first, _ = selections.get(scope=ANN, filters=None, as_of=None, clock=clock)

    assert selections.get(scope=ANN, filters=None, as_of=None, clock=clock)[0] is first


def test_the_ledger_says_when_the_next_record_begins_or_ends(ledger: SqlLedger) -> None:
    """The earliest of beginnings, ends and expiries that are still to come; nothing is no time."""

    def until() -> datetime | None:
        return ledger.visible_since(scope=ANN, event=ledger.clock(), after=datetime.now(UTC))[1]

    ledger.write([entry("always", scope=ANN)])
    assert until() is None

    ledger.write([entry("ends", scope=ANN, valid_to=LATER + 2 * HOUR)])
    assert until() == LATER + 2 * HOUR
    ledger.write([entry("begins", scope=ANN, valid_from=LATER + HOUR), entry("Ben's", scope=BEN, valid_from=LATER)])
    assert until() == LATER + HOUR


def test_the_hour_that_comes_twice_in_autumn_is_two_hours(ledger: SqlLedger) -> None:
    """Half past two in Berlin, before and after the clock goes back: 00:30 and 01:30 in UTC."""
    ledger.write([entry("told at one", valid_from=datetime(2025, 10, 26, 1, tzinfo=UTC))])
    selections = Selections(ledger)
    first = datetime(2025, 10, 26, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))

    assert [kept(selections, as_of=first), kept(selections, as_of=first.replace(fold=1))] == [[], [1]]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "slot", "forget", "update"]), st.sampled_from([ANN, BEN, ACME]), st.integers(0, 5)
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=8, deadline=None, phases=[Phase.generate])
@given(steps=STEPS)
def test_after_any_history_it_is_what_the_ledger_says(steps: list[tuple[str, Scope, int]]) -> None:
    """Whatever is written, replaced, changed or forgotten, in whatever order, for every scope and filter."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        ledger = open_ledger(Path(folder))
        selections = Selections(ledger)
        for number, (step, scope, choice) in enumerate(steps):
            found = ledger.find(scope=None)
            if step == "write":
                ledger.write([entry(f"text {number}", scope=scope, metadata={"n": choice})])
            elif step == "slot":
                ledger.write([entry(f"at {number}", scope=scope, slot=SLOT, value=str(number), valid_from=day(choice))])
            elif found and step == "forget":
                ledger.forget([found[choice % len(found)].id])
            elif found:
                ledger.update(found[choice % len(found)].id, metadata={"n": choice})
            present = [passage.id for passage, _ in ledger.passages(list(range(1, 40)))]
            for filters in (None, {"metadata.n": 1}):
                for scope in (ANN, BEN):
                    known = [one for one in kept(selections, scope, filters) if one in present]
                    assert known == fresh(ledger, scope, filters)
        ledger.close()


def test_holding_is_told_for_any_ids() -> None:
    """Also for those beyond the last one."""
    selection = Selection(np.array([2, 5]))

    assert selection.holds(np.array([1, 2, 5, 99])).tolist() == [False, True, True, False]
    assert Selection(np.zeros(0, np.int64)).holds(np.array([1])).tolist() == [False]
