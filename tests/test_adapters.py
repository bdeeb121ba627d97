"""`memory.adapters`: versions on a real disk and in a real ledger, promoted, rolled back and switched off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ledger_entries import SHARD, adapter, learn, open_ledger

from hybrid_memory.adapters import Adapters
from hybrid_memory.errors import AdapterError, InputError, NotFoundError
from hybrid_memory.ledger.ledger import SqlLedger
from hybrid_memory.types import AdapterStatus, AdapterVersion, Learning
from hybrid_memory.weights.store import FolderAdapterStore


class Bench:
    """A ledger and a store with versions of one shard."""

    def __init__(self, folder: Path) -> None:
        self.ledger: SqlLedger = open_ledger(folder)
        self.store = FolderAdapterStore(folder / "adapters")
        self.adapters = Adapters(self.ledger, self.store, base=lambda: "the base")
        self.records = learn(self.ledger, "The ferry waits at pier nine.")
        self.ledger.assign(self.records, shard=SHARD)

    def promote(self, number: int) -> AdapterVersion:
        with self.store.stage(SHARD.id, number) as folder:
            (folder / "adapter_model.safetensors").write_bytes(bytes([number]))
            final = self.store.publish(folder, {}, {})
            version = replace(adapter(number, self.records), path=str(final))
            learning = {one: (Learning.LEARNED, version.id) for one in self.records}
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

    assert [one.id for one in three.adapters.rollback(promoted[1])] == [name(2)]
    assert three.serving == name(2)
    assert [one.id for one in three.adapters.rollback(promoted[2])] == [name(3)]
    assert three.adapters.rollback(promoted[0] - timedelta(seconds=1)) == []
    assert three.serving is None
    assert [one.id for one in three.adapters.rollback(datetime.now(UTC) - timedelta(0))] == []


def test_going_back_in_time_changes_nothing_when_one_shard_cannot(three: Bench) -> None:
    """All versions are checked before the first is switched."""
    time = next(event.at for event in three.ledger.events() if event.name == "promoted")
    (Path(three.adapters.get(name(1)).path) / "adapter_model.safetensors").write_bytes(b"rust")

    with pytest.raises(AdapterError, match="SHA-256"):
        three.adapters.rollback(time)
    assert three.serving == name(3)


def test_a_time_needs_its_timezone(three: Bench) -> None:
    """An hour more or less may be another version."""
    with pytest.raises(InputError, match="has no timezone"):
        three.adapters.rollback(datetime(2025, 6, 1))
