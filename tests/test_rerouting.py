"""Second decisions: replays of another policy, the ladder over time, quotas of sources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tiny_flow import open_memory

from hybrid_memory import HybridMemory
from hybrid_memory.build import build
from hybrid_memory.config import Settings
from hybrid_memory.testing import WordEncoder, open_tiny_memory, tiny_language_model
from hybrid_memory.types import FloatArray, Learning, Route, Status

EVERYTHING = 'name = "{name}"\n{more}\n[[rules]]\nname = "all"\nroute = "{route}"\n'
RULE = "Tickets about invoices go to the accounts team."


def policy(folder: Path, *, route: str = "learn", more: str = "", name: str = "ours") -> str:
    path = folder / f"{name}.toml"
    path.write_text(EVERYTHING.format(name=name, more=more, route=route), encoding="utf-8")
    return str(path)


def opened(folder: Path, used: str) -> HybridMemory:
    return open_tiny_memory(folder / "memory", routing={"policy": used})


@pytest.fixture
def keeping(tmp_path: Path) -> Iterator[HybridMemory]:
    """A memory that retrieves everything."""
    with opened(tmp_path, policy(tmp_path, route="retrieve", name="keeping")) as memory:
        yield memory


# ---------------------------------------------------------------- replay


def test_a_replay_shows_what_would_move_and_moves_nothing(keeping: HybridMemory, tmp_path: Path) -> None:
    """Record, both routes, the reason, and what it would cost."""
    record_id = keeping.ingest(RULE, trust="operator").record_id

    replay = keeping.replay_routing(policy(tmp_path))

    (move,) = replay.moves
    assert (move.record_id, move.before, move.after) == (record_id, Route.RETRIEVE, Route.LEARN)
    assert move.reasons[0] == "rule 'all': learn"
    assert replay.cost["records_to_learn"] == 1
    assert replay.cost["seconds"] is None
    assert keeping.get(str(record_id)).decision.route is Route.RETRIEVE


def test_what_would_stay_is_not_shown(keeping: HybridMemory, tmp_path: Path) -> None:
    """A policy that decides the same moves nothing."""
    keeping.ingest(RULE, trust="operator")

    assert keeping.replay_routing(policy(tmp_path, route="retrieve")).moves == ()


def test_an_applied_replay_queues_what_is_to_be_learned(keeping: HybridMemory, tmp_path: Path) -> None:
    """The new decision is stored, with the policy in the history."""
    record_id = str(keeping.ingest(RULE, trust="operator").record_id)
    replay = keeping.replay_routing(policy(tmp_path))

    (record,) = keeping.apply_routing(replay)

    assert record.id == record_id
    assert record.learning is Learning.QUEUED
    routed = [event for event in keeping.history(record_id) if event.name == "routed"]
    assert routed[-1].detail["reason"] == f"policy {replay.policy} replayed"


def test_what_changed_since_the_replay_is_left_alone(keeping: HybridMemory, tmp_path: Path) -> None:
    """A replay is applied to what it has seen, once."""
    keeping.ingest(RULE, trust="operator")
    replay = keeping.replay_routing(policy(tmp_path))
    keeping.apply_routing(replay)

    assert keeping.apply_routing(replay) == []


def test_what_would_be_dropped_is_set_aside(keeping: HybridMemory, tmp_path: Path) -> None:
    """Only forget() forgets, and it leaves a receipt."""
    keeping.ingest(RULE, trust="operator")

    (record,) = keeping.apply_routing(keeping.replay_routing(policy(tmp_path, route="drop")))

    assert record.status is Status.QUARANTINED
    assert keeping.search(RULE) == []


def test_a_replay_counts_the_shards_that_would_be_rebuilt(tmp_path: Path) -> None:
    """Two rules were learned in one shard; one would leave, the other would be learned again."""
    settings = {"training": {"min_steps": 2, "epochs": 1}, "gate": {"min_learned": 0.0, "max_kept_drop": 1.0}}
    with open_tiny_memory(
        tmp_path / "memory",
        routing={"policy": policy(tmp_path)},
        self_edit={"generator": "compiled"},
        **settings,
    ) as memory:
        memory.ingest(RULE, trust="operator", source="one")
        memory.ingest("Tickets about parcels go to the harbour team.", trust="operator", source="two")
        for record in memory.list():
            assert record.learning is Learning.QUEUED
        replay = memory.replay_routing(policy(tmp_path, route="retrieve", name="back"))

        assert len(replay.moves) == 2
        assert replay.cost["records_to_learn"] == 0


def test_what_a_replay_takes_out_of_the_weights_is_masked_at_once(tmp_path: Path) -> None:
    """The record is current as evidence and stale in the weights; its sibling's questions keep the adapter."""
    parcels = "Parcels for the museum shop are signed for at the loading ramp."
    kept = '[[rules]]\nname = "kept"\nmatch = { source = "two" }\nroute = "learn"\n'
    with open_memory(tmp_path / "memory", routing={"policy": policy(tmp_path)}) as memory:
        moved = str(memory.ingest(RULE, trust="operator", source="one").record_id)
        memory.ingest(parcels, trust="operator", source="two")
        memory.consolidate()
        assert memory.context("Where do tickets about invoices go?").adapters == ("facts-1-v1",)

        memory.apply_routing(memory.replay_routing(policy(tmp_path, route="retrieve", name="back", more=kept)))

        assert (memory.get(moved).status, memory.get(moved).learning) == (Status.ACTIVE, Learning.STALE)
        context = memory.context("Where do tickets about invoices go?")
        assert (context.adapters, context.masked) == ((), ("facts-1-v1",))
        assert [hit.id for hit in context.sources] == [moved]
        assert memory.context("Where are parcels for the museum shop signed for?").adapters == ("facts-1-v1",)


def test_a_guessed_kind_is_guessed_again(keeping: HybridMemory, tmp_path: Path) -> None:
    """A plain text that was judged to be a preference is no explicit Preference when it is replayed."""
    keeping.ingest("I like tea.", source="chat")
    bare = tmp_path / "bare.toml"
    bare.write_text('name = "bare"\n[ladder]\nuser = 9\n', encoding="utf-8")

    replay = keeping.replay_routing(str(bare))

    assert [move for move in replay.moves if move.after is Route.LEARN] == []


# ---------------------------------------------------------------- the ladder


def test_age_without_conflict_lifts_a_users_word(tmp_path: Path) -> None:
    """After the days that the policy asks for, as one more source would; the promotion is an event."""
    with opened(tmp_path, policy(tmp_path, more="[ladder]\nuser = 2\ndays = 30\n")) as memory:
        record_id = str(memory.ingest(RULE, source="chat").record_id)
        assert memory.get(record_id).decision.route is Route.RETRIEVE

        rerouting = memory._parts.rerouting
        soon, late = (datetime.now(UTC) + timedelta(days=days) for days in (29, 31))

        assert rerouting.climb(soon) == []
        (promoted,) = rerouting.climb(late)
        assert promoted.id == record_id
        assert promoted.learning is Learning.QUEUED
        routed = [event for event in memory.history(record_id) if event.name == "routed"]
        assert routed[-1].detail["reason"] == "30 days without conflict"


def test_age_does_not_lift_a_strangers_word(tmp_path: Path) -> None:
    """A planted document may lie there as long as it likes."""
    with opened(tmp_path, policy(tmp_path, more="[ladder]\nexternal = 2\ndays = 30\n")) as memory:
        memory.ingest(RULE, source="a web page", trust="external")

        assert memory._parts.rerouting.climb(datetime.now(UTC) + timedelta(days=3650)) == []


def test_age_counts_for_nothing_by_default(tmp_path: Path) -> None:
    """Without `days` in the policy nothing climbs."""
    with opened(tmp_path, policy(tmp_path)) as memory:
        memory.ingest(RULE, source="chat")

        assert memory._parts.rerouting.climb(datetime.now(UTC) + timedelta(days=3650)) == []


def test_a_second_source_promotes_and_both_are_events(tmp_path: Path) -> None:
    """Confirmation, then the queue."""
    with opened(tmp_path, policy(tmp_path)) as memory:
        record_id = str(memory.ingest(RULE, source="mail from Ann").record_id)
        memory.ingest(RULE, source="mail from Bob")

        assert [event.name for event in memory.history(record_id)] == ["ingested", "queued", "confirmed"] or [
            event.name for event in memory.history(record_id)
        ] == ["ingested", "confirmed", "queued"]


def test_a_contradiction_takes_a_candidate_off_the_queue_at_once(tmp_path: Path) -> None:
    """A new value of the same slot supersedes the old one; the old one is no longer evidence."""
    from hybrid_memory import Fact

    with opened(tmp_path, policy(tmp_path)) as memory:
        old = str(memory.ingest(Fact("the returns desk", "floor", "2"), trust="operator").record_id)
        assert memory.get(old).learning is Learning.QUEUED
        memory.ingest(Fact("the returns desk", "floor", "3"), trust="operator")

        record = memory.get(old)
        assert (record.status, record.learning) == (Status.SUPERSEDED, Learning.NONE)
        assert {"superseded", "unqueued"} <= {event.name for event in memory.history(old)}


# ---------------------------------------------------------------- quotas


def test_a_source_cannot_fill_the_weights(tmp_path: Path) -> None:
    """From its quota on, what it says is retrieved, and the reason says so; other sources go on."""
    quota = "[quotas]\nuser = 2\n[ladder]\nuser = 1\n"
    with opened(tmp_path, policy(tmp_path, more=quota)) as memory:
        receipts = [memory.ingest(f"Rule {number}: knock {number} times.", source="one mail") for number in range(1, 4)]
        other = memory.ingest("Rule 9: knock nine times.", source="another mail")

        assert [receipt.route for receipt in receipts] == [Route.LEARN, Route.LEARN, Route.RETRIEVE]
        assert receipts[-1].decision.reasons[-1] == "the source 'one mail' has used up its share of the weights"
        assert other.route is Route.LEARN


def test_a_batch_counts_its_own_records_against_the_quota(tmp_path: Path) -> None:
    """One call with many records of a source is no way round it."""
    quota = "[quotas]\nuser = 2\n[ladder]\nuser = 1\n"
    with opened(tmp_path, policy(tmp_path, more=quota)) as memory:
        summary = memory.ingest_many(
            [f"Rule {number}: knock {number} times." for number in range(5)], source="one mail"
        )

        assert summary.counts == {"learn": 2, "retrieve": 3}


# ---------------------------------------------------------------- windows of a policy


def test_a_policy_brings_its_window_and_the_settings_win(tmp_path: Path) -> None:
    """[windows] holds where nothing else is said."""
    used = policy(tmp_path, more="[windows]\nqueue_size = 7\nshard_cap = 3\n")
    with open_tiny_memory(tmp_path / "memory", routing={"policy": used}, window={"shard_cap": 5}) as memory:
        window = memory._parts.settings.window

        assert (window.queue_size, window.shard_cap) == (7, 5)


# ---------------------------------------------------------------- what is embedded


class CountingEncoder(WordEncoder):
    """The word encoder, with a list of all that it was given."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str]) -> FloatArray:
        self.seen += texts
        return super().encode(texts)


def test_a_text_is_embedded_once_on_its_way_in_and_never_for_a_replay(tmp_path: Path) -> None:
    """The router judges the vector that is stored, and a replay the stored vectors."""
    encoder = CountingEncoder()
    parts = build(tmp_path / "memory", Settings(), encoder=encoder, model=tiny_language_model())
    with HybridMemory(parts) as memory:
        memory.ingest_many([RULE, "The lift is broken.", "Use tabs."], trust="operator")
        assert sorted(encoder.seen) == sorted([RULE, "The lift is broken.", "Use tabs."])

        encoder.seen.clear()
        memory.replay_routing(policy(tmp_path))
        assert encoder.seen == []
