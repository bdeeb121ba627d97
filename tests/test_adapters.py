"""`memory.adapters`: versions on a real disk and in a real ledger, promoted, rolled back and switched off."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ledger_entries import SHARD, adapter, entry, learn, open_ledger

from hybrid_memory.adapters import Adapters
from hybrid_memory.errors import AdapterError, InputError, NotFoundError
from hybrid_memory.ledger.ledger import SqlLedger
from hybrid_memory.testing import open_tiny_memory
from hybrid_memory.types import GENERATOR, AdapterStatus, AdapterVersion, Example, Learning, Lesson, Scope, Shard
from hybrid_memory.weights.store import FolderAdapterStore


class Bench:
    """A ledger and a store with versions of one shard."""

    def __init__(self, folder: Path) -> None:
        self.ledger: SqlLedger = open_ledger(folder)
        self.store = FolderAdapterStore(folder / "adapters")
        self.adapters = Adapters(self.ledger, self.store, base=lambda: "the base")
        self.records = learn(self.ledger, "The ferry waits at pier nine.")
        self.ledger.assign(self.records, shard=SHARD)

    def promote(self, number: int, *, shard_id: str = SHARD.id, records: list[str] | None = None) -> AdapterVersion:
        learned = self.records if records is None else records
        with self.store.stage(shard_id, number) as folder:
            (folder / "adapter_model.safetensors").write_bytes(bytes([number]))
            final = self.store.publish(folder, {}, {})
            version = replace(adapter(number, learned, shard_id=shard_id), path=str(final))
            learning = {one: (Learning.LEARNED, version.id) for one in learned}
            return self.ledger.promote(version, learning=learning)

    def reject(self, number: int) -> None:
        self.ledger.reject(adapter(number, self.records))

    def statuses(self) -> dict[int, str]:
        return {version.number: version.status.value for version in self.adapters.list()}

    @property
    def serving(self) -> str | None:
        return self.ledger.shards()[0].active


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.ledger.close()


@pytest.fixture
def three(bench: Bench) -> Bench:
    """Versions 1 to 3, the third serves; a fourth was rejected."""
    for number in (1, 2, 3):
        bench.promote(number)
    bench.reject(4)
    return bench


def name(number: int) -> str:
    return f"{SHARD.id}-v{number}"


def test_all_versions_are_listed_oldest_first(three: Bench) -> None:
    """Rejected ones too."""
    assert [(version.number, version.status.value) for version in three.adapters.list()] == [
        (1, "retired"),
        (2, "retired"),
        (3, "active"),
        (4, "rejected"),
    ]


def test_a_version_is_found_by_its_id(three: Bench) -> None:
    """An unknown one is answered with the newest there are."""
    assert three.adapters.get(name(2)).number == 2
    with pytest.raises(NotFoundError, match=f"no adapter version 'x-v1'; the newest are: {name(1)}, .*{name(4)}"):
        three.adapters.get("x-v1")


def test_a_memory_that_has_learned_nothing_says_so(bench: Bench) -> None:
    """No version, nothing to go back to."""
    assert bench.adapters.list() == []
    with pytest.raises(NotFoundError, match="the newest are: none yet"):
        bench.adapters.get(name(1))
    with pytest.raises(NotFoundError, match=f"shard {SHARD.id} has no earlier version"):
        bench.adapters.rollback()


def test_rolling_back_goes_one_version_further_each_time(three: Bench) -> None:
    """3, 2, 1, and then there is nothing before the first."""
    assert three.adapters.rollback().id == name(2)
    assert three.adapters.rollback().id == name(1)
    assert three.statuses() == {1: "active", 2: "retired", 3: "retired", 4: "rejected"}
    with pytest.raises(NotFoundError, match=r"has no earlier version; disable\(\) switches it off"):
        three.adapters.rollback()
    assert three.serving == name(1)


def test_rolling_back_to_a_version_may_also_go_forward(three: Bench) -> None:
    """Named by its id it is a promotion."""
    three.adapters.rollback()

    assert three.adapters.rollback(name(3)).status is AdapterStatus.ACTIVE
    assert three.serving == name(3)


def test_rolling_back_from_a_version_that_was_switched_off_goes_to_the_one_before_it(three: Bench) -> None:
    """And from there one further."""
    three.adapters.disable(SHARD.id)

    assert three.adapters.rollback().id == name(2)
    assert three.adapters.rollback().id == name(1)


def test_a_shard_that_is_switched_off_serves_nothing_until_a_promotion(three: Bench) -> None:
    """Its version stays, and can be promoted again."""
    three.adapters.disable(SHARD.id)

    assert (three.serving, three.statuses()[3]) == (None, "disabled")
    assert three.adapters.promote(name(3)).status is AdapterStatus.ACTIVE
    assert three.serving == name(3)


def test_an_unknown_shard_is_named(three: Bench) -> None:
    """For rolling back and for switching off."""
    with pytest.raises(AdapterError, match=f"there is no shard 'x'; shards: {SHARD.id}"):
        three.adapters.disable("x")
    with pytest.raises(NotFoundError, match=f"say which shard .*; shards: {SHARD.id}"):
        three.adapters.rollback(shard_id="x")


def test_of_several_shards_one_must_be_named(three: Bench) -> None:
    """There is no order between shards."""
    three.ledger.assign(learn(three.ledger, "Lamps are mended by Team Blue."), shard=replace(SHARD, id="ann-facts-2"))

    with pytest.raises(NotFoundError, match=f"say which shard .*; shards: {SHARD.id}, ann-facts-2"):
        three.adapters.rollback()
    assert three.adapters.rollback(shard_id=SHARD.id).id == name(2)


def test_a_damaged_version_does_not_serve(three: Bench) -> None:
    """Its files are compared with the manifest first; what served goes on serving."""
    (Path(three.adapters.get(name(2)).path) / "adapter_model.safetensors").write_bytes(b"other")

    for attempt in (lambda: three.adapters.rollback(), lambda: three.adapters.promote(name(2))):
        with pytest.raises(AdapterError, match=f"{name(2)}"):
            attempt()
    assert three.serving == name(3)


def test_a_rejected_version_cannot_be_promoted(three: Bench) -> None:
    """The gate has spoken."""
    with pytest.raises(AdapterError, match=f"{name(4)} is rejected and cannot serve"):
        three.adapters.promote(name(4))
    assert three.serving == name(3)


def test_a_version_of_another_base_model_cannot_be_promoted(three: Bench) -> None:
    """What served goes on serving."""
    four = replace(adapter(5, three.records), manifest={"base": "an older base"})
    with three.store.stage(SHARD.id, 5) as folder:
        (folder / "adapter_model.safetensors").write_bytes(b"five")
        three.ledger.promote(replace(four, path=str(three.store.publish(folder, {}, {}))), learning={})
    three.ledger.activate(SHARD.id, name(3))

    with pytest.raises(AdapterError, match="it was trained on base model an older base, this is the base; open the"):
        three.adapters.promote(name(5))
    assert three.serving == name(3)


def test_a_version_whose_files_were_deleted_cannot_be_promoted(three: Bench) -> None:
    """The ledger remembers that they are gone; rolling back passes it by."""
    three.ledger.mark_purged([name(2)])
    three.store.purge(three.adapters.get(name(2)).path)

    with pytest.raises(AdapterError, match=f"{name(2)} cannot serve: its files were deleted, because it was too old"):
        three.adapters.rollback(name(2))
    assert three.adapters.rollback().id == name(1)


def test_a_version_that_saw_a_forgotten_record_says_so(three: Bench) -> None:
    """Nobody has to guess why it is gone."""
    three.ledger.forget(three.records)
    three.ledger.activate(SHARD.id, None)
    three.ledger.mark_purged([name(1), name(2), name(3)])

    with pytest.raises(AdapterError, match="because it had learned a record that is forgotten"):
        three.adapters.rollback(name(1))


def test_everything_goes_back_to_what_served_at_a_time(three: Bench) -> None:
    """Also twice in a row, and to a time of which nothing served."""
    promoted = [event.at for event in three.ledger.events() if event.name == "promoted"]

    assert went_back(three, promoted[1]) == [name(2)]
    assert three.serving == name(2)
    assert went_back(three, promoted[2]) == [name(3)]
    assert went_back(three, promoted[0] - timedelta(seconds=1)) == []
    assert three.serving is None
    assert went_back(three, datetime.now(UTC)) == []


def went_back(bench: Bench, time: datetime) -> list[str]:
    done = bench.adapters.rollback(time)
    assert done.kept == {}
    return [one.id for one in done.serving]


@pytest.mark.parametrize("why", ["purged", "damaged"])
def test_a_shard_whose_version_of_then_is_gone_keeps_what_it_serves(three: Bench, why: str) -> None:
    """The result says so and why, and all others go back."""
    others = learn(three.ledger, "Lamps are mended by Team Blue.")
    three.ledger.assign(others, shard=replace(SHARD, id="ann-facts-2"))
    three.promote(1, shard_id="ann-facts-2", records=others)
    time = datetime.now(UTC)
    three.promote(5)
    three.promote(2, shard_id="ann-facts-2", records=others)
    if why == "purged":
        three.ledger.mark_purged([name(3)])
    else:
        (Path(three.adapters.get(name(3)).path) / "adapter_model.safetensors").write_bytes(b"rust")

    done = three.adapters.rollback(time)

    assert [one.id for one in done.serving] == ["ann-facts-2-v1"]
    assert list(done.kept) == [SHARD.id]
    assert ("its files were deleted" if why == "purged" else "SHA-256") in done.kept[SHARD.id]
    assert [shard.active for shard in three.ledger.shards()] == [name(5), "ann-facts-2-v1"]


def test_going_back_is_one_transaction_for_all_shards(three: Bench) -> None:
    """The second of two cannot: the first has not moved, and no event says that it did."""
    before = three.ledger.clock()

    with pytest.raises(NotFoundError, match="no shard 'nowhere'"):
        three.ledger.roll_back({SHARD.id: name(1), "nowhere": None})
    with pytest.raises(AdapterError, match="is rejected"):
        three.ledger.roll_back({SHARD.id: name(4)})
    assert (three.serving, three.ledger.clock()) == (name(3), before)


# ------------------------------------------------------------ shards that were split or merged since


def states(bench: Bench) -> dict[str, tuple[str | None, str]]:
    """Text's first word -> (shard, learning state)."""
    found = bench.ledger.find(scope=None)
    return {one.text.split()[0]: (one.shard_id, one.learning.value) for one in found}


def test_a_rollback_across_a_split_brings_the_records_back(bench: Bench) -> None:
    """As of before it, the first shard holds both again, the second nothing, and nothing is due."""
    bench.records += learn(bench.ledger, "Lamps are mended by Team Blue.")
    bench.ledger.assign(bench.records, shard=SHARD)
    bench.promote(1)
    time = datetime.now(UTC)
    split(bench, bench.records[1])
    assert states(bench) == {"The": (SHARD.id, "learned"), "Lamps": ("ann-facts-2", "learned")}

    done = bench.adapters.rollback(time)

    assert ([one.id for one in done.serving], done.kept) == ([name(1)], {})
    assert states(bench) == {"The": (SHARD.id, "learned"), "Lamps": (SHARD.id, "learned")}
    assert [(shard.active, shard.dirty) for shard in bench.ledger.shards()] == [(name(1), False), (None, False)]


def test_a_version_promoted_by_name_takes_its_records_from_the_shard_they_moved_to(bench: Bench) -> None:
    """That one is due, as it knows a record that is no longer its own."""
    bench.records += learn(bench.ledger, "Lamps are mended by Team Blue.")
    bench.ledger.assign(bench.records, shard=SHARD)
    bench.promote(1)
    split(bench, bench.records[1])

    bench.adapters.promote(name(1))

    assert states(bench) == {"The": (SHARD.id, "learned"), "Lamps": (SHARD.id, "learned")}
    second = bench.ledger.shards()[1]
    assert (second.active, second.dirty) == ("ann-facts-2-v1", True)


def test_what_was_learned_in_a_new_shard_is_declined_as_of_before_it(bench: Bench) -> None:
    """It is not trained again by itself, and comes back with its version."""
    bench.promote(1)
    time = datetime.now(UTC)
    bench.ledger.assign(learn(bench.ledger, "Lamps are mended by Team Blue."), shard=replace(SHARD, id="ann-facts-2"))
    window(bench)

    bench.adapters.rollback(time)

    assert states(bench)["Lamps"] == ("ann-facts-2", "declined")
    assert not any(shard.dirty for shard in bench.ledger.shards())
    bench.adapters.promote("ann-facts-2-v1")
    assert states(bench)["Lamps"] == ("ann-facts-2", "learned")


def split(bench: Bench, record_id: str) -> None:
    bench.ledger.assign([record_id], shard=replace(SHARD, id="ann-facts-2"))
    window(bench)


def window(bench: Bench) -> None:
    """Make every shard anew that is due."""
    for shard in bench.ledger.shards():
        records = [record.id for record in bench.ledger.shard_records(shard.id)]
        if shard.dirty and records:
            bench.promote(bench.ledger.next_number(shard.id), shard_id=shard.id, records=records)
        elif shard.dirty:
            bench.ledger.activate(shard.id, None)


class Life:
    """What may happen to a memory of three shards, each time as chance has it."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.chance = random.Random(seed)
        self.said = 0

    def anything(self) -> None:
        self.said += 1
        self.chance.choice(
            [self.learn, self.end, self.window, self.window, self.back_in_time, self.back_to_a_version, self.purge]
        )()

    def learn(self) -> None:
        self.put(learn(self.bench.ledger, f"Record {self.said}."))

    def end(self) -> None:
        record = self.chance.choice(self.bench.ledger.find(scope=None))
        self.bench.ledger.write([entry(f"Later {self.said}.", supersedes=record.id)])

    def window(self) -> None:
        """Move records as splits and merges do, and learn: exactly what waits or was learned is learned then."""
        ledger = self.bench.ledger
        due = [record.id for shard in ledger.shards() if shard.dirty for record in ledger.shard_records(shard.id)]
        for record in self.chance.sample(due, len(due) // 2):
            self.put([record])
        wanted = {record.id for shard in ledger.shards() for record in ledger.shard_records(shard.id)}
        window(self.bench)
        assert {one.id for one in ledger.find(scope=None, filters={"learning": "learned"})} == wanted
        assert not any(shard.dirty for shard in ledger.shards())

    def back_in_time(self) -> None:
        moments = [event.at for event in self.bench.ledger.events() if event.name == "promoted"]
        if moments:
            self.bench.adapters.rollback(self.chance.choice(moments))

    def back_to_a_version(self) -> None:
        if idle := self.idle(AdapterStatus.RETIRED, AdapterStatus.DISABLED):
            self.bench.adapters.promote(self.chance.choice(idle))

    def purge(self) -> None:
        self.bench.ledger.mark_purged(self.idle(AdapterStatus.RETIRED)[:1])

    def put(self, records: list[str]) -> None:
        self.bench.ledger.assign(records, shard=replace(SHARD, id=f"s-{self.chance.randrange(3)}"))

    def idle(self, *statuses: AdapterStatus) -> list[str]:
        return [version.id for version in self.bench.adapters.list() if version.status in statuses]


@pytest.mark.parametrize("seed", range(6))
def test_no_record_is_lost_between_splits_rollbacks_and_windows(bench: Bench, seed: int) -> None:
    """Whatever happens in whatever order, what counts as learned is known to the adapter that serves its shard."""
    life = Life(bench, seed)
    for _ in range(30):
        life.anything()
        _assert_consistent(bench)


def _assert_consistent(bench: Bench) -> None:
    knows = {version.id: set(version.record_ids) for version in bench.adapters.list()}
    for shard in bench.ledger.shards():
        members = {record.id for record in bench.ledger.shard_records(shard.id)}
        learned = {record.id for record in bench.ledger.shard_records(shard.id) if record.learning is Learning.LEARNED}
        known = knows[shard.active] if shard.active else set()
        assert learned <= known
        assert shard.dirty or members == known


def test_a_time_needs_its_timezone(three: Bench) -> None:
    """An hour more or less may be another version."""
    with pytest.raises(InputError, match="has no timezone"):
        three.adapters.rollback(datetime(2025, 6, 1))


def test_retired_generators_are_kept_as_long_as_versions_of_shards(tmp_path: Path) -> None:
    """Of three that no longer serve one stays; the training itself finds nothing better."""
    groups = {
        "outer_loop": {"samples": 1, "max_new_tokens": 16, "inner_steps": 1},
        "training": {"lora_rank": 2},
        "window": {"keep_versions": 1},
    }
    lessons = [Lesson(text=f"Ann mends lamp {one}.", questions=(Example("Who mends it?", "Ann"),)) for one in "ab"]
    shard = Shard(id=GENERATOR, scope=Scope(), group=GENERATOR, dirty=False, masked=False, active=None)
    with open_tiny_memory(tmp_path, **groups) as memory:
        memory._ledger.assign([], shard=shard)
        for number in (1, 2, 3):
            memory._ledger.promote(adapter(number, [], shard_id=GENERATOR), learning={})
        memory.adapters.disable(GENERATOR)

        memory.train_generator(lessons)

        assert [version.id for version in memory.adapters.list() if version.status is AdapterStatus.PURGED] == [
            "generator-v1",
            "generator-v2",
        ]
