"""`known_at`: what the memory showed at a time is what it tells about that time ever after, minus what is forgotten."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_entries import ANN, SLOT, at_revision, day, decided, entry, learn, open_ledger, opening

from hybrid_memory.errors import InputError
from hybrid_memory.ledger import former, selection
from hybrid_memory.ledger import ledger as ledger_module
from hybrid_memory.ledger.clock import to_micros
from hybrid_memory.ledger.ledger import SqlLedger
from hybrid_memory.types import Learning, Record, Route, Scope, Status, Trust


class Clock:
    """The ledger's clock, moved by hand: what was shown at a time can then be asked for to the microsecond."""

    def __init__(self) -> None:
        self.now = day(0)

    def micros(self) -> int:
        return to_micros(self.now)

    def hours(self, number: float) -> datetime:
        """Hours from now on."""
        return self.now + timedelta(hours=number)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (former, selection, ledger_module):
        monkeypatch.setattr(module, "now_micros", clock.micros)
    return clock


@pytest.fixture
def ledger(tmp_path: Path, new_ledger_url: Callable[[Path], str]) -> Iterator[SqlLedger]:
    ledger = open_ledger(tmp_path, url=new_ledger_url(tmp_path))
    yield ledger
    assert ledger.check() == []
    ledger.close()


# ---------------------------------------------------------------- random programs


@dataclass(frozen=True)
class Say:
    value: int
    since: int
    lasts: int | None
    trust: Trust
    speaker: int
    slotted: bool
    route: Route
    instead: int | None
    """Which of the records, counted round, it is to supersede."""


@dataclass(frozen=True)
class Do:
    what: str
    which: int


SAY = st.builds(
    Say,
    value=st.integers(0, 2),
    since=st.integers(-5, 5),
    lasts=st.sampled_from([None, None, 1, 4]),
    trust=st.sampled_from([Trust.USER, Trust.USER, Trust.EXTERNAL]),
    speaker=st.integers(0, 2),
    slotted=st.sampled_from([True, True, False]),
    route=st.sampled_from([Route.RETRIEVE, Route.RETRIEVE, Route.LEARN, Route.QUARANTINE]),
    instead=st.sampled_from([None, None, None, 0, 1, 2]),
)
DO = st.builds(
    Do,
    st.sampled_from(["forget", "release", "quarantine", "update", "learned", "withdraw", "expire", "wait"]),
    st.integers(0, 5),
)
PROGRAMS = st.lists(st.tuples(st.integers(0, 2), st.one_of(SAY, DO)), min_size=12, max_size=24)


class Program:
    """Carries out the steps in a tenant of its own, and keeps what the ledger showed after each of them."""

    def __init__(self, ledger: SqlLedger, clock: Clock) -> None:
        self.ledger = ledger
        self.clock = clock
        self.scope = Scope(tenant_id=str(uuid4()))
        self.shown: dict[datetime, dict[str, list[Record]]] = {}

    def run(self, steps: Sequence[tuple[int, Say | Do]]) -> None:
        self.clock.now = day(0)
        for hours, step in steps:
            self.clock.now += timedelta(hours=hours)
            self.say(step) if isinstance(step, Say) else self.do(step.what, step.which)
            self.look()
        for _ in range(3):
            self.clock.now += timedelta(hours=2)
            self.look()  # time alone changes what holds, too

    def records(self, *statuses: Status) -> list[Record]:
        there = self.ledger.find(scope=self.scope, all_statuses=True)
        return [record for record in there if record.status in (statuses or Status)]

    def say(self, said: Say) -> None:
        replaceable = self.records(Status.ACTIVE, Status.EXPIRED)
        instead = None if said.instead is None or not replaceable else replaceable[said.instead % len(replaceable)].id
        since = self.clock.hours(said.since)
        self.ledger.write(
            [
                entry(
                    f"The harbour café opens at {said.value}.",
                    scope=self.scope,
                    slot=SLOT if said.slotted else None,
                    value=str(said.value) if said.slotted else None,
                    valid_from=since,
                    valid_to=None if said.lasts is None else since + timedelta(hours=said.lasts),
                    trust=said.trust,
                    source=f"speaker {said.speaker}",
                    metadata={"said": said.speaker},
                    route=said.route,
                    supersedes=instead,
                    force=True,
                )
            ]
        )

    def do(self, what: str, which: int) -> None:
        there = self.records()
        if what == "expire":
            self.ledger.expire(self.clock.now)
        elif what != "wait" and there:
            getattr(self, what)(there[which % len(there)])

    def forget(self, record: Record) -> None:
        self.ledger.forget([record.id])
        for views in self.shown.values():
            views["all"] = [one for one in views["all"] if one.id != record.id]

    def release(self, record: Record) -> None:
        self.ledger.set_route(record.id, decided(Route.LEARN), "reviewed")

    def quarantine(self, record: Record) -> None:
        self.ledger.set_route(record.id, decided(Route.QUARANTINE), "reviewed")

    def update(self, record: Record) -> None:
        self.ledger.update(record.id, metadata={"said": 9})

    def learned(self, record: Record) -> None:
        self.ledger.settle(learning={record.id: (Learning.LEARNED, "version 1")})

    def withdraw(self, record: Record) -> None:
        """What a forgotten source was, goes from every time."""
        if not self.ledger.withdraw([record.id], {record.source}):
            return
        left = self.ledger.get(record.id)
        gone: dict[str, Any] = {"source": left.source, "metadata": {}}
        gone |= {"trust": Trust.EXTERNAL} if left.trust is Trust.EXTERNAL else {}
        for views in self.shown.values():
            for name, records in views.items():
                views[name] = [replace(one, **gone) if one.id == record.id else one for one in records]

    def look(self) -> None:
        at = self.clock.now
        self.shown[at] = {
            "all": self.records(),
            "now": self.ledger.find(scope=self.scope),
            "an hour before": self.ledger.find(scope=self.scope, as_of=at - timedelta(hours=1)),
            "three hours later": self.ledger.find(scope=self.scope, as_of=at + timedelta(hours=3)),
        }
        assert _shown(self.shown[at]["all"], at) == self.shown[at]["now"]  # the model of the rule is right


def _shown(records: Sequence[Record], time: datetime, *among: Status) -> list[Record]:
    """What docs/how-to/ingesting.md says about validity, in Python: the latest value to begin is the one that holds."""

    def holds(one: Record) -> bool:
        ends = [end for end in (one.valid_to, one.expires_at) if end is not None]
        return one.status in (among or (Status.ACTIVE,)) and one.valid_from <= time and all(end > time for end in ends)

    def interrupted(one: Record) -> bool:
        rank = (one.valid_from, one.version)
        return any(
            other.slot is not None and other.slot == one.slot and (other.valid_from, other.version) > rank
            for other in records
            if holds(other)
        )

    return [one for one in records if holds(one) and not interrupted(one)]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PROGRAMS)
def test_what_was_shown_then_is_what_was_known_then(
    ledger: SqlLedger, clock: Clock, steps: list[tuple[int, Say | Do]]
) -> None:
    """Every field of every record, at every step, in every view; with a forgotten record, as if it had never been."""
    program = Program(ledger, clock)
    program.run(steps)
    was_evidence = (Status.ACTIVE, Status.SUPERSEDED, Status.EXPIRED)

    for at, then in program.shown.items():
        told: dict[str, Any] = {"scope": program.scope, "known_at": at}
        before, after = at - timedelta(hours=1), at + timedelta(hours=3)
        again = {
            "all": ledger.find(all_statuses=True, **told),
            "now": ledger.find(**told),
            "an hour before": ledger.find(as_of=before, **told),
            "three hours later": ledger.find(as_of=after, **told),
        }
        remembered = {record.id for record in then["all"]}
        if all(record.id in remembered for records in then.values() for record in records):
            assert again == then  # the specification
        assert again["all"] == then["all"]
        assert again["now"] == _shown(then["all"], at)
        assert again["an hour before"] == _shown(then["all"], before, *was_evidence)
        assert again["three hours later"] == _shown(then["all"], after, *was_evidence)


# ---------------------------------------------------------------- by hand


def values(ledger: SqlLedger, **when: Any) -> list[str | None]:
    return [record.value for record in ledger.find(scope=ANN, **when)]


def test_two_times_two_questions(ledger: SqlLedger, clock: Clock) -> None:
    """What held on day 5: on day 6 it was nine, and since day 9 it is known to have been ten since day 4."""
    clock.now = day(2)
    ledger.write([opening("nine", 1)])
    clock.now = day(9)
    ledger.write([opening("ten", 4)])
    clock.now = day(12)

    assert values(ledger, as_of=day(5)) == ["ten"]
    assert values(ledger, as_of=day(5), known_at=day(6)) == ["nine"]
    assert values(ledger, as_of=day(3), known_at=day(12)) == ["nine"]
    assert [values(ledger, known_at=day(number)) for number in (1, 2, 8, 9)] == [[], ["nine"], ["nine"], ["ten"]]


def test_a_correction_that_was_taken_back_was_believed_meanwhile(ledger: SqlLedger, clock: Clock) -> None:
    """The audit: the answer of day 3 stood on ten, which nobody has said any more since day 4."""
    clock.now = day(1)
    ledger.write([opening("nine", 0)])
    clock.now = day(3)
    (ten,) = ledger.write([opening("ten", 2)])
    clock.now = day(4)
    ledger.write([opening("nine", 2, supersedes=ten.record_id)])

    assert (values(ledger), values(ledger, known_at=day(3))) == (["nine"], ["ten"])
    assert values(ledger, as_of=day(5), known_at=day(1)) == ["nine"]


def test_what_is_joined_is_known_as_it_stood_before(ledger: SqlLedger, clock: Clock) -> None:
    """Said by a second source to have begun earlier, with an end: times, trust and route are those of then."""
    clock.now = day(5)
    ledger.write([opening("nine", 4, trust=Trust.EXTERNAL)])
    clock.now = day(6)
    joined = ledger.write([opening("nine", 3, source="sign", route=Route.LEARN)])[0]
    assert joined.duplicate

    (now,), (then,) = ledger.find(scope=ANN), ledger.find(scope=ANN, known_at=day(5))
    assert (now.valid_from, now.trust, now.decision.route) == (day(3), Trust.USER, Route.LEARN)
    assert (then.valid_from, then.trust, then.decision.route) == (day(4), Trust.EXTERNAL, Route.RETRIEVE)
    assert values(ledger, known_at=day(5), as_of=day(3)) == []


def test_what_was_held_back_was_not_known(ledger: SqlLedger, clock: Clock) -> None:
    """Approved on day 7: before, a search did not find it, and a list of all statuses shows it as it was."""
    clock.now = day(5)
    record_id = str(ledger.write([entry("Pier 3 is shut.", route=Route.QUARANTINE)])[0].record_id)
    clock.now = day(7)
    ledger.set_route(record_id, decided(Route.RETRIEVE), "reviewed")

    assert [ledger.visible(scope=ANN, known_at=day(number)).tolist() for number in (5, 7)] == [[], [1]]
    assert [one.status for one in ledger.find(scope=ANN, known_at=day(6), all_statuses=True)] == [Status.QUARANTINED]


def test_filters_see_what_stood_then(ledger: SqlLedger, clock: Clock) -> None:
    """Columns and metadata, nested conditions too; a hit's record is the one of that time."""
    clock.now = day(1)
    record_id = str(ledger.write([entry("Pier 3 is shut.", metadata={"page": 1, "tags": ["sea"]})])[0].record_id)
    clock.now = day(2)
    ledger.update(record_id, metadata={"page": 2})
    old: dict[str, Any] = {"or": [{"metadata.page": {"lt": 2}, "metadata.tags": {"contains": "sea"}}]}
    new: dict[str, Any] = {"not": {"metadata.tags": {"exists": True}}, "status": "active"}

    assert [ledger.visible(scope=ANN, filters=old, known_at=day(number)).tolist() for number in (1, 2)] == [[1], []]
    assert [ledger.visible(scope=ANN, filters=new, known_at=day(number)).tolist() for number in (1, 2)] == [[], [1]]
    assert [ledger.passages([1], known_at=day(number))[0][1].metadata["page"] for number in (1, 2)] == [1, 2]
    assert ledger.passages([1], known_at=day(0)) == []


def test_a_value_whose_successor_is_forgotten_is_as_it_was_at_each_time(ledger: SqlLedger, clock: Clock) -> None:
    """A superseded value is never revived, at no later time; what replaced it is told of none."""
    clock.now = day(1)
    ledger.write([opening("nine", 0)])
    clock.now = day(3)
    (ten,) = ledger.write([opening("ten", 2)])
    clock.now = day(5)
    ledger.forget([str(ten.record_id)])

    assert [values(ledger, known_at=day(number)) for number in (1, 3, 5)] == [["nine"], [], []]


def test_the_forgotten_is_known_at_no_time(tmp_path: Path, clock: Clock) -> None:
    """Not what it said, and not what its metadata was before an update: gone from the bytes of every file."""
    secret = "xylophonequartz"
    ledger = open_ledger(tmp_path)
    clock.now = day(1)
    (record_id,) = learn(ledger, "The pier is open.", metadata={"m": secret}, source=f"{secret}.pdf")
    clock.now = day(2)
    ledger.update(record_id, metadata={})
    assert ledger.find(scope=ANN, known_at=day(1))[0].metadata == {"m": secret}
    clock.now = day(3)
    ledger.forget([record_id])

    assert ledger.find(scope=None, known_at=day(1), all_statuses=True) == []
    assert ledger.passages([1], known_at=day(1)) == []
    ledger.close()
    for path in tmp_path.iterdir():
        assert secret.encode() not in path.read_bytes(), path.name


def test_a_source_that_was_taken_away_is_known_at_no_time(ledger: SqlLedger, clock: Clock) -> None:
    """The statement stays with whoever said it too; the name, the metadata and the rank of the first one go."""
    clock.now = day(1)
    record_id = str(
        ledger.write([entry("one", source="a.pdf", trust=Trust.OPERATOR, metadata={"page": 3})])[0].record_id
    )
    clock.now = day(2)
    ledger.write([entry("one", source="b.pdf", trust=Trust.EXTERNAL, valid_from=day(-1))])
    ledger.update(record_id, metadata={"page": 4})
    clock.now = day(3)
    ledger.withdraw([record_id], {"a.pdf"})

    for known_at in (day(1), day(2), day(3)):
        (then,) = ledger.find(scope=ANN, known_at=known_at)
        assert (then.source, then.trust, then.metadata) == ("b.pdf", Trust.EXTERNAL, {})


def test_a_clock_that_was_set_back_leaves_one_standing_a_time(ledger: SqlLedger, clock: Clock) -> None:
    """Changes within one moment, and before it, count as one: the first standing, then the last."""
    clock.now = day(1)
    record_id = str(ledger.write([entry("one", metadata={"page": 1})])[0].record_id)
    for moment, page in ((day(3), 2), (day(3), 3), (day(2), 4)):
        clock.now = moment
        ledger.update(record_id, metadata={"page": page})
    clock.now = day(9)

    found = [ledger.find(scope=ANN, known_at=day(number)) for number in (1, 2, 3, 4)]
    assert [[one.metadata["page"] for one in records] for records in found] == [[1], [1], [4], [4]]


def test_a_ledger_of_an_earlier_schema_tells_what_was_known_from_its_upgrade_on(tmp_path: Path) -> None:
    """What changed before was not kept; a new ledger has no such limit."""
    at_revision(f"sqlite:///{tmp_path / 'ledger.sqlite'}", "0009", tmp_path)
    row = dict.fromkeys(["text", "source", "learning_detail", "content_hash", "near_hash"], "")
    row |= dict.fromkeys(["observed_at", "recorded_at", "valid_from", "confirmed_from", "version"], 0)
    row |= {"trust": "user", "status": "active", "route": "learn", "learning": "none", "scope_key": "[]"}
    row |= {"decision": "{}", "examples": "[]", "metadata": "{}", "id": "0" * 26, "kind": "fact"}
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as raw, raw:
        raw.execute(f"INSERT INTO records ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values()))
    before = datetime.now(UTC)

    with closing(open_ledger(tmp_path)) as ledger:
        ledger.write([entry("one")])
        assert [one.text for one in ledger.find(scope=ANN, known_at=datetime.now(UTC))] == ["one"]
        with pytest.raises(InputError, match=r"is kept since 20.*when its ledger was upgraded to schema 0010. as_of"):
            ledger.find(scope=ANN, known_at=before)
    with closing(open_ledger(tmp_path / "new")) as ledger:
        assert ledger.find(scope=ANN, known_at=before) == []
