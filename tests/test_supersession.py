"""Which value of a slot is current, and which one was valid when."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_entries import ACME, ANN, BEN, SLOT, adapter, day, decided, entry, open_ledger, opening
from ledger_entries import SHARD as shard

from hybrid_memory.errors import InputError, NotFoundError
from hybrid_memory.ledger.ledger import SqlLedger
from hybrid_memory.types import Learning, Route, Scope, Slot, Status, Trust


@pytest.fixture
def ledger(tmp_path: Path, new_ledger_url: Callable[[Path], str]) -> Iterator[SqlLedger]:
    ledger = open_ledger(tmp_path, url=new_ledger_url(tmp_path))
    yield ledger
    assert ledger.check() == []
    ledger.close()


def put(ledger: SqlLedger, value: str, since: float, **given: object) -> str:
    return str(ledger.write([opening(value, since, **given)])[0].record_id)


def at(ledger: SqlLedger, number: float) -> list[str | None]:
    """The slot's values on a day, as the ledger tells it now."""
    return [record.value for record in ledger.find(scope=ANN, as_of=day(number))]


def now(ledger: SqlLedger) -> list[str | None]:
    return [record.value for record in ledger.find(scope=ANN)]


def test_a_newer_value_replaces_the_older(ledger: SqlLedger) -> None:
    """The receipt names what was replaced, and the old row says by what and until when."""
    nine = put(ledger, "nine", 1)
    receipt = ledger.write([opening("ten", 5)])[0]

    old = ledger.get(nine)
    assert receipt.superseded == (nine,)
    assert (old.status, old.superseded_by, old.valid_to) == (Status.SUPERSEDED, receipt.record_id, day(5))
    assert now(ledger) == ["ten"]


def test_a_late_arriving_old_value_never_displaces_a_newer_one(ledger: SqlLedger) -> None:
    """It is history at once, between the values it lay between."""
    put(ledger, "nine", 1)
    ten = put(ledger, "ten", 9)
    receipt = ledger.write([opening("eight", 5)])[0]

    late = ledger.get(str(receipt.record_id))
    assert (receipt.superseded, receipt.superseded_by) == ((), ten)
    assert (late.status, late.valid_to, late.version) == (Status.SUPERSEDED, day(9), 3)
    assert [at(ledger, number) for number in (0, 1, 4.9, 5, 8.9, 9)] == [
        [],
        ["nine"],
        ["nine"],
        ["eight"],
        ["eight"],
        ["ten"],
    ]
    assert now(ledger) == ["ten"]


def test_of_two_values_from_the_same_moment_the_later_arrival_wins(ledger: SqlLedger) -> None:
    """Equal valid_from: the greater version decides."""
    put(ledger, "nine", 1)
    put(ledger, "ten", 1)

    assert now(ledger) == ["ten"]
    assert at(ledger, 2) == ["ten"]


def test_the_same_value_from_another_source_joins_the_record(ledger: SqlLedger) -> None:
    """Other words, same value: a confirmation, not a version."""
    nine = put(ledger, "nine", 1)
    receipt = ledger.write([entry("Nine o'clock it opens.", slot=SLOT, value=" nine", source="sign")])[0]

    assert (receipt.record_id, receipt.duplicate) == (nine, True)
    assert [event.name for event in ledger.history(nine)] == ["ingested", "confirmed"]
    assert ledger.history(nine)[1].detail == {}  # a source can tell much, and events stay when records are forgotten


def test_a_value_spelled_otherwise_replaces_the_former_spelling(ledger: SqlLedger) -> None:
    """Capitals carry meaning in values, and the later spelling is the one that was meant."""
    small = put(ledger, "5 mW", 1)
    receipt = ledger.write([opening("5 MW", 1)])[0]

    assert (receipt.duplicate, receipt.superseded) == (False, (small,))
    assert now(ledger) == ["5 MW"]


def test_a_value_stated_again_later_withstands_an_older_one_that_arrives_afterwards(ledger: SqlLedger) -> None:
    """Nine in January and again in March: "eight" from February was true in between at most."""
    put(ledger, "nine", 10)
    put(ledger, "nine", 70, source="sign")
    receipt = ledger.write([opening("eight", 40)])[0]

    assert now(ledger) == ["nine"]
    assert receipt.superseded_by is not None
    assert [at(ledger, number) for number in (20, 50, 80)] == [["nine"], ["eight"], ["nine"]]


def test_a_price_can_go_back_to_what_it_was(ledger: SqlLedger) -> None:
    """A retired value with a strictly newer date is current again, as a new version; the old one stays history."""
    first = put(ledger, "nine", 1)
    ten = put(ledger, "ten", 5)
    receipt = ledger.write([opening("nine", 9)])[0]

    assert receipt.superseded == (ten,)
    assert not receipt.duplicate
    assert ledger.get(str(receipt.record_id)).version == 3
    assert ledger.get(first).status is Status.SUPERSEDED
    assert [at(ledger, number) for number in (2, 6, 10)] == [["nine"], ["ten"], ["nine"]]


@pytest.mark.parametrize("since", [3, 5])
def test_a_retired_value_with_an_older_or_equal_date_stays_history(ledger: SqlLedger, since: int) -> None:
    """Reading an old document again changes nothing."""
    nine = put(ledger, "nine", 1)
    ten = put(ledger, "ten", 5)
    receipt = ledger.write([opening("nine", since, source="old page")])[0]

    assert (receipt.record_id, receipt.duplicate, receipt.superseded_by) == (nine, True, ten)
    assert now(ledger) == ["ten"]


def test_a_value_announced_for_the_future_waits(ledger: SqlLedger) -> None:
    """Until its day comes the present value stays evidence; expire() then makes the change of status."""
    nine = put(ledger, "nine", 1)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    text = "From tomorrow it opens at ten."
    ten = ledger.write([entry(text, slot=SLOT, value="ten", valid_from=tomorrow)])[0].record_id

    assert now(ledger) == ["nine"]
    assert [record.value for record in ledger.find(scope=ANN, as_of=tomorrow)] == ["ten"]
    assert ledger.expire(tomorrow) == [nine]
    assert (ledger.get(nine).status, ledger.get(nine).superseded_by) == (Status.SUPERSEDED, ten)


@pytest.mark.parametrize("slot", [SLOT, None])
def test_the_end_of_the_latest_statement_holds(ledger: SqlLedger, slot: Slot | None) -> None:
    """Stated again it may end later, never, or sooner; an older statement and a stranger change nothing."""
    soon, later = (datetime.now(UTC) + timedelta(days=days) for days in (1, 9))

    def stated(since: float, end: datetime | None, **given: object) -> datetime | None:
        receipt = ledger.write([opening("nine", since, valid_to=end, **{"slot": slot, **given})])[0]
        return ledger.get(str(receipt.record_id)).valid_to

    assert [stated(1, soon), stated(2, later), stated(3, None), stated(4, soon)] == [soon, later, None, soon]
    assert [stated(2, None), stated(5, None, trust=Trust.EXTERNAL)] == [soon, soon]
    assert stated(5, day(6)) == day(6)
    assert now(ledger) == []
    assert len(at(ledger, 5.5)) == 1


def test_stating_again_does_not_take_back_a_replacement_that_was_announced(ledger: SqlLedger) -> None:
    """The application named what follows, and when."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    three = ledger.write([entry("Pier 3.")])[0].record_id
    four = ledger.write([entry("Pier 4.", valid_from=tomorrow, supersedes=three)])[0].record_id
    ledger.write([entry("Pier 3.", source="sign", valid_from=day(3))])

    assert (ledger.get(str(three)).valid_to, ledger.get(str(three)).superseded_by) == (tomorrow, four)


def test_a_value_with_an_end_interrupts_the_one_without(ledger: SqlLedger) -> None:
    """A price for ten days: before and after them the ordinary one holds, and a newer ordinary one ends both."""
    base = put(ledger, "49", 10)
    offer = ledger.write([opening("39", 80, valid_to=day(90))])[0]

    assert offer.superseded == ()
    assert [at(ledger, number) for number in (79, 80, 89.9, 90)] == [["49"], ["39"], ["39"], ["49"]]
    assert now(ledger) == ["49"]
    put(ledger, "59", 85)
    assert ledger.get(base).valid_to == day(85)
    assert [at(ledger, number) for number in (82, 85, 95)] == [["39"], ["59"], ["59"]]


@pytest.mark.parametrize("ends", ["valid_to", "ttl_s", "forgotten"])
def test_the_ordinary_value_comes_back_to_what_was_remembered_of_a_search(ledger: SqlLedger, ends: str) -> None:
    """What is read since the last look names the value that an offer gives way to."""
    base = put(ledger, "49", 10)
    soon = datetime.now(UTC) + timedelta(seconds=1)
    end = {"ttl_s": 1.0, "observed_at": datetime.now(UTC)} if ends == "ttl_s" else {"valid_to": soon}
    offer = put(ledger, "39", 80, **end)
    visible = ledger.visible(scope=ANN).tolist()
    assert [record.id for _, record in ledger.passages(visible)] == [offer]
    before, clock = datetime.now(UTC), ledger.clock()

    if ends == "forgotten":
        ledger.forget([offer])
    else:
        time.sleep(1.1)
    *_, seen = ledger.visible_since(scope=ANN, event=clock, after=before)
    assert [record.id for _, record in ledger.passages(seen.tolist())] == [base]
    assert now(ledger) == ["49"]


def test_scopes_have_slots_of_their_own(ledger: SqlLedger) -> None:
    """The organisation's value and a user's do not replace each other."""
    put(ledger, "nine", 1, scope=ACME)
    put(ledger, "ten", 2, scope=ANN)
    put(ledger, "eleven", 3, scope=BEN)

    assert now(ledger) == ["nine", "ten"]


def test_slots_are_the_same_under_case_and_spaces(ledger: SqlLedger) -> None:
    """`Slot.key` decides."""
    put(ledger, "nine", 1)
    ledger.write([entry("Ten now.", slot=Slot(" Harbour  CAFÉ", "Opening time"), value="ten", valid_from=day(2))])

    assert now(ledger) == ["ten"]


def test_a_bar_in_a_name_makes_no_other_slot(ledger: SqlLedger) -> None:
    """Subject and attribute are told apart, whatever signs they have."""
    ledger.write([entry("One.", slot=Slot("a | b", "c"), value="one")])
    receipt = ledger.write([entry("Two.", slot=Slot("a", "b | c"), value="two")])[0]

    assert receipt.superseded == ()
    assert now(ledger) == ["one", "two"]


def test_a_learned_record_that_is_replaced_is_stale_and_its_shard_dirty(ledger: SqlLedger) -> None:
    """The next window rebuilds the shard without it."""
    nine = put(ledger, "nine", 1, route=Route.LEARN)
    ledger.assign([nine], shard=shard)
    ledger.promote(adapter(1, [nine]), learning={nine: (Learning.LEARNED, "ann-facts-v1")})
    assert not ledger.shards()[0].dirty
    put(ledger, "ten", 5)

    assert (ledger.get(nine).learning, ledger.get(nine).learning_detail) == (Learning.STALE, "ann-facts-v1")
    assert ledger.shards()[0].dirty
    assert ledger.shard_records(shard.id) == []


def test_a_queued_record_that_is_replaced_leaves_the_queue(ledger: SqlLedger) -> None:
    """Only its successor waits for a window."""
    put(ledger, "nine", 1, route=Route.LEARN)
    ten = put(ledger, "ten", 5, route=Route.LEARN)

    assert [record.id for record in ledger.pending()] == [ten]
    assert ledger.check() == []


def test_a_late_value_routed_to_the_weights_is_not_queued(ledger: SqlLedger) -> None:
    """What was never current is never learned."""
    put(ledger, "ten", 5)
    late = put(ledger, "nine", 1, route=Route.LEARN)

    assert ledger.pending() == []
    assert ledger.get(late).learning is Learning.NONE


def test_supersedes_replaces_a_record_without_a_slot(ledger: SqlLedger) -> None:
    """By request, in the same scope."""
    old = ledger.write([entry("The ferry leaves from pier 3.")])[0].record_id
    receipt = ledger.write([entry("The ferry leaves from pier 4.", supersedes=old, valid_from=day(7))])[0]

    assert receipt.superseded == (old,)
    assert ledger.get(str(old)).valid_to == day(7)
    assert [record.id for record in ledger.find(scope=ANN)] == [receipt.record_id]
    assert [record.id for record in ledger.find(scope=ANN, as_of=day(3))] == [old]


def test_supersedes_outweighs_the_dates_of_a_slot(ledger: SqlLedger) -> None:
    """A correction that claims to have been true before the value it corrects is current."""
    wrong = put(ledger, "nine", 9)
    put(ledger, "ten", 5, supersedes=wrong)

    assert now(ledger) == ["ten"]
    assert at(ledger, 10) == ["ten"]


def test_a_replaced_text_said_again_later_is_current_again(ledger: SqlLedger) -> None:
    """Without a slot too: the newest statement of the two wins."""
    old = ledger.write([entry("Pier 3.", valid_from=day(1))])[0].record_id
    new = ledger.write([entry("Pier 4.", valid_from=day(5), supersedes=old)])[0].record_id

    assert ledger.write([entry("Pier 3.", valid_from=day(4), source="old page")])[0].record_id == old
    receipt = ledger.write([entry("Pier 3.", valid_from=day(9))])[0]
    assert receipt.superseded == (new,)
    assert [record.id for record in ledger.find(scope=ANN)] == [receipt.record_id]


def test_a_correction_to_a_text_that_exists_retires_the_wrong_one(ledger: SqlLedger) -> None:
    """The right text gains a source and the wrong one ends; the same correction again changes nothing."""
    rex = ledger.write([entry("The dog is called Rex.", valid_from=day(1))])[0].record_id
    max_ = ledger.write([entry("The dog is called Max.", valid_from=day(2))])[0].record_id
    correction = entry("The dog is called Max.", supersedes=rex, valid_from=day(5), source="owner")
    receipt, again = (ledger.write([correction])[0] for _ in range(2))

    assert (receipt.record_id, receipt.duplicate, receipt.superseded) == (max_, True, (rex,))
    assert (again.record_id, again.duplicate, again.superseded) == (max_, True, ())
    assert (ledger.get(str(rex)).status, ledger.get(str(rex)).superseded_by) == (Status.SUPERSEDED, max_)
    assert [record.id for record in ledger.find(scope=ANN)] == [max_]
    assert ledger.write([entry("The dog is called Max.", supersedes=max_)])[0].superseded == ()


def test_a_correction_back_to_what_was_replaced_outweighs_dates_and_speakers(ledger: SqlLedger) -> None:
    """A stranger's repetition would be an echo and an old date history; who names the wrong record means it."""
    old = ledger.write([entry("Pier 3.", valid_from=day(1))])[0].record_id
    new = ledger.write([entry("Pier 4.", valid_from=day(5), supersedes=old)])[0].record_id
    back = entry("Pier 3.", valid_from=day(2), supersedes=new, trust=Trust.EXTERNAL)

    assert ledger.write([back])[0].superseded == (new,)
    assert [record.text for record in ledger.find(scope=ANN)] == ["Pier 3."]


def test_an_announced_successor_can_be_taken_back(ledger: SqlLedger) -> None:
    """Who replaces it by the present text leaves that text without an end."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    three = ledger.write([entry("Pier 3.")])[0].record_id
    four = ledger.write([entry("Pier 4.", valid_from=tomorrow, supersedes=three)])[0].record_id
    ledger.write([entry("Pier 3.", supersedes=four)])

    assert (ledger.get(str(three)).valid_to, ledger.get(str(three)).superseded_by) == (None, None)
    assert [record.id for record in ledger.find(scope=ANN, as_of=tomorrow)] == [three]


def test_supersedes_stays_inside_the_scope(ledger: SqlLedger) -> None:
    """A user cannot replace what the organisation said."""
    theirs = ledger.write([entry("The ferry leaves from pier 3.", scope=ACME)])[0].record_id

    with pytest.raises(InputError, match="in another scope"):
        ledger.write([entry("Pier 4.", scope=ANN, supersedes=theirs)])
    assert ledger.counts()["records"] == 1


def test_supersedes_refuses_what_is_history_already(ledger: SqlLedger) -> None:
    """Two corrections of the same record do not fork it; the message names the one to replace."""
    old = ledger.write([entry("Pier 3.")])[0].record_id
    new = ledger.write([entry("Pier 4.", supersedes=old)])[0].record_id

    with pytest.raises(InputError, match=f"superseded by {new}"):
        ledger.write([entry("Pier 5.", supersedes=old)])
    with pytest.raises(NotFoundError, match="no such record"):
        ledger.write([entry("Pier 5.", supersedes="01ARZ3NDEKTSV4RRFFQ69G5FAV")])


def test_forgetting_the_current_value_revives_no_older_one(ledger: SqlLedger) -> None:
    """What was replaced stays replaced, also when the slot is used again."""
    put(ledger, "nine", 5)
    ten = put(ledger, "ten", 9)
    ledger.forget([ten])
    assert now(ledger) == []

    put(ledger, "eight", 3)
    assert now(ledger) == []
    put(ledger, "eleven", 12)
    assert now(ledger) == ["eleven"]


def test_a_value_released_from_quarantine_takes_its_place_by_date(ledger: SqlLedger) -> None:
    """Quarantined it holds nothing; released it is placed as if it arrived then."""
    held = put(ledger, "ten", 5, route=Route.QUARANTINE)
    nine = put(ledger, "nine", 1)
    assert now(ledger) == ["nine"]

    ledger.set_route(held, decided(Route.RETRIEVE), "reviewed")
    assert now(ledger) == ["ten"]
    assert ledger.get(nine).superseded_by == held


def test_a_batch_gives_the_same_slots_as_its_entries_one_by_one(tmp_path: Path) -> None:
    """Entries of one transaction see each other."""
    entries = [opening("ten", 5), opening("nine", 1), opening("ten", 6, source="sign"), opening("nine", 8)]
    together, alone = open_ledger(tmp_path / "a"), open_ledger(tmp_path / "b")
    receipts = together.write(entries)
    for single in entries:
        alone.write([single])

    def told(ledger: SqlLedger) -> list[tuple[object, ...]]:
        found = ledger.find(scope=None, all_statuses=True)
        return [(r.value, r.valid_from, r.valid_to, r.status, r.version) for r in found]

    assert told(together) == told(alone)
    assert receipts[3].superseded == (receipts[0].record_id,)


# ---------------------------------------------------------------- against a model


@dataclass(frozen=True)
class Said:
    scope: int
    slot: int
    value: int
    since: int


USERS = ("ann", "ben", None)
SLOTS = (SLOT, Slot("ferry", "pier"))

# Distinct moments within a slot: ties have a rule of their own and a test above.
STATEMENTS = st.lists(
    st.builds(Said, st.integers(0, 2), st.integers(0, 1), st.integers(0, 3), st.integers(0, 40)),
    min_size=1,
    max_size=14,
    unique_by=lambda said: (said.scope, said.slot, said.since),
)
PROPERTY = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def run(ledger: SqlLedger, statements: list[Said], *, parts: int) -> str:
    """Write the statements for a tenant of their own, `parts` at a time; return the tenant."""
    tenant = f"tenant {uuid4()}"
    entries = [
        entry(
            f"{SLOTS[said.slot].key} is {said.value}",
            scope=Scope(tenant_id=tenant, user_id=USERS[said.scope]),
            slot=SLOTS[said.slot],
            value=str(said.value),
            valid_from=day(said.since),
            source=f"source {number}",
        )
        for number, said in enumerate(statements)
    ]
    for start in range(0, len(entries), parts):
        ledger.write(entries[start : start + parts])
    return tenant


@PROPERTY
@given(STATEMENTS, st.integers(1, 4))
def test_the_current_value_is_the_one_stated_for_the_latest_time(
    ledger: SqlLedger, statements: list[Said], parts: int
) -> None:
    """The oracle: a dict of the greatest valid_from per scope and slot, whatever the order of arrival."""
    tenant = run(ledger, statements, parts=parts)
    latest: dict[tuple[int, int], Said] = {}
    for said in statements:
        key = (said.scope, said.slot)
        if key not in latest or said.since > latest[key].since:
            latest[key] = said

    active = ledger.find(scope=Scope(tenant_id=tenant), inside=True)
    found = {(record.scope.user_id, record.slot.key): record.value for record in active if record.slot}
    assert found == {(USERS[said.scope], SLOTS[said.slot].key): str(said.value) for said in latest.values()}
    assert len(active) == len(latest)


@PROPERTY
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=12, unique=True),
    st.integers(1, 4),
    st.lists(st.integers(0, 41), min_size=1, max_size=6),
)
def test_as_of_gives_the_value_stated_last_before_that_time(
    ledger: SqlLedger, times: list[int], parts: int, asked: list[int]
) -> None:
    """The oracle: the log of statements, sorted; every value is stated once here."""
    tenant = run(ledger, [Said(0, 0, value, since) for value, since in enumerate(times)], parts=parts)

    for number in asked:
        before = [since for since in times if since <= number]
        expected = [str(times.index(max(before)))] if before else []
        found = ledger.find(scope=Scope(tenant_id=tenant), inside=True, as_of=day(number))
        assert [record.value for record in found] == expected


@PROPERTY
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.one_of(st.none(), st.integers(1, 15))),
        min_size=1,
        max_size=12,
        unique_by=lambda told: told[0],
    ),
    st.integers(1, 4),
    st.lists(st.integers(0, 56), min_size=1, max_size=6),
)
def test_values_with_an_end_interrupt_and_do_not_supersede(
    ledger: SqlLedger, told: list[tuple[int, int | None]], parts: int, asked: list[int]
) -> None:
    """The oracle: of the statements that have begun and not run out, the one that began last."""
    scope = Scope(tenant_id=f"tenant {uuid4()}")
    entries = [
        opening(str(value), since, scope=scope, valid_to=None if days is None else day(since + days))
        for value, (since, days) in enumerate(told)
    ]
    for start in range(0, len(entries), parts):
        ledger.write(entries[start : start + parts])

    for number in [*asked, None]:
        moment = 1000 if number is None else number
        holding = [one for one in told if one[0] <= moment and (one[1] is None or moment < one[0] + one[1])]
        expected = [str(told.index(max(holding)))] if holding else []
        found = ledger.find(scope=scope, as_of=None if number is None else day(number))
        assert [record.value for record in found] == expected
