"""What changes, is forgotten or breaks while the memory learns and answers: each ends in a consistent state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tiny_flow import FACTS, FAST, KEYS, LAMPS, REFUSED, SHIFT, learn, open_memory

from hybrid_memory import AdapterError, Example, HybridMemory, NotFoundError, Preference
from hybrid_memory.build import build
from hybrid_memory.config import Settings
from hybrid_memory.testing import WordEncoder, open_tiny_memory, tiny_language_model
from hybrid_memory.types import AdapterStatus, Learning, Route
from hybrid_memory.upkeep import Upkeep
from hybrid_memory.weights.store import FolderAdapterStore

QUESTION = "When does the night shift at the harbour office start?"
LATER = "From Monday on it begins at eleven."
DAY = "The day shift at the harbour office starts at six."


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[HybridMemory]:
    with open_memory(tmp_path / "memory") as opened:
        yield opened


def once_while_training(happens: Callable[[], object]) -> Callable[..., None]:
    """A progress callback that lets something happen at the first training step."""
    left = [happens]

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "train" and left:
            left.pop()()

    return progress


# ------------------------------------------------------------ what is stale


def test_a_correction_is_evidence_even_when_something_else_is_nearer(memory: HybridMemory) -> None:
    """It shares no word with the question; what it replaced was learned, so the question is about it."""
    old, _ = learn(memory, SHIFT, DAY)
    memory.consolidate()
    new = memory.update(old, LATER)

    answer = memory.query(QUESTION)

    assert [hit.id for hit in answer.sources] == [new.id]
    assert f"{new.id} is pinned: it replaced what was learned" in answer.trace
    assert memory.query(QUESTION, mode="retrieval_only").sources[0].text == DAY
    assert memory.query(QUESTION, passages=0).sources == ()


def test_a_record_updated_while_it_is_learned_is_masked_and_learned_anew(memory: HybridMemory) -> None:
    """The version that knew the old value serves its siblings only, until the next window."""
    old, sibling = learn(memory, SHIFT, KEYS)

    memory.consolidate(progress=once_while_training(lambda: memory.update(old, LATER)))

    assert memory.get(old).learning is Learning.STALE
    assert memory.context(QUESTION).masked == ("facts-1-v1",)
    assert memory.context("Where do the spare keys of the boat house hang?").adapters == ("facts-1-v1",)
    memory.consolidate()
    serving = [version for version in memory.adapters.list() if version.status is AdapterStatus.ACTIVE]
    assert old not in {one for version in serving for one in version.record_ids}
    assert sibling in {one for version in serving for one in version.record_ids}


@pytest.mark.parametrize("how", ["superseded", "expired", "forgotten", "moved"])
def test_a_preference_that_no_longer_holds_stops_acting_at_once(memory: HybridMemory, how: str) -> None:
    """It acts on every question, so its adapter is masked for every question; the rule learned beside it is stated."""
    polite = Preference("Be polite.", (Example("Hello?", "Ahoy there."), Example("Who?", "Us, ahoy.")))
    brief = Preference("Be brief.", (Example("Hello?", "Hm."), Example("Who?", "Us.")))
    end = datetime.now(UTC) + timedelta(hours=1)
    old = str(memory.ingest(polite, route="learn", valid_to=end).record_id)
    kept = str(memory.ingest(brief, route="learn").record_id)
    memory.consolidate()
    assert memory.context("Anything?").adapters == ("behaviour-1-v1",)
    assert "Be brief." not in str(memory.context("Anything?").messages)

    if how == "superseded":
        memory.update(old, 'End every answer with "Ahoy."')
    elif how == "expired":
        memory._ledger.expire(end)  # the clock cannot be turned; this is what it does
    elif how == "forgotten":
        memory.forget(old)
    else:
        memory._ledger.set_route(old, replace(memory.get(old).decision, route=Route.RETRIEVE), "a test")

    masked = () if how == "forgotten" else ("behaviour-1-v1",)  # forgotten: the version is deleted
    context, answer = memory.context("Anything?"), memory.query("Anything?")
    assert (context.adapters, context.masked) == ((), masked)
    assert "Be brief." in str(context.messages)
    assert ("Be polite." in str(context.messages)) is (how == "moved")
    assert (answer.adapters, answer.masked) == ((), masked)
    assert any("behaviour-1-v1 masked until the next window" in line for line in answer.trace) is bool(masked)
    assert memory.query("Anything?", mode="weights_only").adapters == ()
    assert memory.where(kept)["masked"] == list(masked)

    memory.consolidate()

    assert memory.context("Anything?").adapters == ("behaviour-1-v2",)
    assert memory.where(kept)["masked"] == []


# ------------------------------------------------------------ scopes


def test_behaviour_is_stacked_from_the_organisation_to_the_user(memory: HybridMemory) -> None:
    """Each scope's rule is an adapter of its own; a question is answered with those of its scope and above."""
    scopes = ({}, {"tenant_id": "acme"}, {"tenant_id": "acme", "user_id": "ann"})
    for number, scope in enumerate(scopes):
        rule = Preference(f"Rule {number}.", (Example("Hello?", f"Ahoy {number}."), Example("Who?", f"Us {number}.")))
        memory.ingest(rule, route="learn", trust="operator", **scope)
    memory.consolidate()

    stacked = [memory.context("Anything?", **scope).adapters for scope in (*scopes, {"tenant_id": "other"})]

    assert [len(adapters) for adapters in stacked] == [1, 2, 3, 1]
    assert set(stacked[0]) < set(stacked[1]) < set(stacked[2])
    assert memory.query("Hello?", tenant_id="acme", user_id="ann").adapters == stacked[2]


def test_a_scopes_behaviour_is_judged_on_top_of_what_stands_above_it(tmp_path: Path) -> None:
    """A bound on drift that each rule keeps by itself is broken by the second on top of the first."""
    rule = Preference("Rule.", (Example("Hello?", "Ahoy there."), Example("Who?", "Us, ahoy.")))
    with open_memory(tmp_path) as memory:
        memory.ingest(rule, route="learn", trust="operator")
        alone = memory.consolidate().shards[0].metrics["drift"]
        memory.ingest(rule, route="learn", trust="operator", user_id="ann")
        stacked = memory.consolidate().shards[0].metrics["drift"]
        memory.adapters.disable("behaviour-1")
        memory.ingest(rule, route="learn", trust="operator", user_id="cem")
        again = memory.consolidate().shards[-1].metrics["drift"]

    assert isinstance(alone, float)
    assert isinstance(stacked, float)
    assert stacked > alone == again


# ------------------------------------------------------------ shards that change their size


def test_shards_that_lost_records_are_merged_when_they_are_made_again(tmp_path: Path) -> None:
    """Two of two lose one each and become one of two; the emptied shard is switched off, and nothing is unlearned."""
    with open_memory(tmp_path, window={"shard_cap": 2}) as memory:
        ids = learn(memory, *FACTS)
        memory.consolidate()
        homes = {record.id: record.shard_id for record in memory.list()}
        assert len(set(homes.values())) == 2
        left = [next(one for one in ids if homes[one] == home) for home in sorted(set(homes.values()))]
        memory.forget([one for one in ids if one not in left])

        report = memory.consolidate()

        assert [shard.promoted for shard in report.shards].count(True) == 1
        assert len({memory.get(one).shard_id for one in left}) == 1
        serving = [version for version in memory.adapters.list() if version.status is AdapterStatus.ACTIVE]
        assert [set(version.record_ids) for version in serving] == [set(left)]
        assert {memory.get(one).learning for one in left} == {Learning.LEARNED}
        assert memory.consolidate().shards == ()


def test_a_shard_over_a_lowered_cap_is_split_when_it_is_made_again(tmp_path: Path) -> None:
    """Every record is learned by one of the parts."""
    with open_memory(tmp_path) as memory:
        ids = learn(memory, SHIFT, LAMPS, KEYS)
        memory.consolidate()
    with open_memory(tmp_path, window={"shard_cap": 1}) as memory:
        memory.forget(ids[0])

        memory.consolidate()

        serving = [version for version in memory.adapters.list() if version.status is AdapterStatus.ACTIVE]
        assert sorted(version.record_ids for version in serving) == sorted((one,) for one in ids[1:])
        assert memory.consolidate().shards == ()


# ------------------------------------------------------------ what is forgotten meanwhile


def test_the_others_are_learned_in_the_same_window_when_one_is_forgotten(memory: HybridMemory) -> None:
    """The candidate that saw it is thrown away before it is ever named; the shard is trained once more."""
    gone, kept = learn(memory, SHIFT, KEYS)

    report = memory.consolidate(progress=once_while_training(lambda: memory.forget(gone)))

    assert report.shards[0].learned == (kept,)
    (version,) = memory.adapters.list()
    assert version.record_ids == (kept,)
    assert gone not in str(memory.trace(version.id))


def test_a_record_forgotten_before_it_has_a_shard_is_left_out(memory: HybridMemory) -> None:
    """The window had leased it already."""
    gone, kept = learn(memory, SHIFT, KEYS)
    memory.forget(gone)

    memory._parts.consolidation._place([gone, kept])

    assert (memory.get(gone).shard_id, memory.get(kept).shard_id) == (None, "facts-1")


def test_an_answer_written_while_its_source_was_forgotten_is_not_kept(memory: HybridMemory) -> None:
    """The one who asked has it; the log has not."""
    (gone,) = learn(memory, SHIFT)

    def forget(text: str) -> None:
        if memory.get(gone).text:
            memory.forget(gone)

    answer = memory.query(QUESTION, on_text=forget)

    assert [hit.id for hit in answer.sources] == [gone]
    with pytest.raises(NotFoundError, match="no recent answer"):
        memory.feedback(answer.id, accepted=True)


def test_an_answer_written_while_something_else_changed_is_kept(memory: HybridMemory) -> None:
    """A new record takes nothing from it."""
    learn(memory, SHIFT)

    answer = memory.query(QUESTION, on_text=lambda text: memory.ingest(f"Said: {text}.", route="retrieve"))

    assert memory.feedback(answer.id, accepted=True).record_id is not None


# ------------------------------------------------------------ what is broken


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_config.json"])
def test_an_altered_adapter_is_switched_off_and_the_question_answered_from_retrieval(tmp_path: Path, file: str) -> None:
    """One byte is enough; the answer says what happened, and the next window makes the version anew."""
    with open_memory(tmp_path) as memory:
        learn(memory, SHIFT)
        memory.consolidate()
    path = tmp_path / "adapters" / "facts-1-v1" / file
    path.write_bytes(path.read_bytes()[:-1] + b"\t")

    with open_memory(tmp_path) as memory:
        answer = memory.query(QUESTION)

        assert (answer.adapters, [hit.text for hit in answer.sources]) == ((), [SHIFT])
        assert any(f"weights left out: adapter version facts-1-v1: {file} has SHA-256" in line for line in answer.trace)
        assert memory.adapters.get("facts-1-v1").status is AdapterStatus.PURGED
        with pytest.raises(
            AdapterError, match="cannot serve: its files were deleted, because it was too old or damaged"
        ):
            memory.adapters.rollback("facts-1-v1")
        memory.consolidate()
        assert memory.query(QUESTION).adapters == ("facts-1-v2",)


def test_a_process_that_dies_while_it_deletes_a_damaged_version_leaves_the_shard_due(tmp_path: Path) -> None:
    """The version is out of service and its files are still there; the next window makes it anew."""

    class DyingStore(FolderAdapterStore):
        def purge(self, path: str) -> int:
            raise OSError("the machine went down")

    with open_memory(tmp_path) as memory:
        learn(memory, SHIFT)
        memory.consolidate()
        (tmp_path / "adapters" / "facts-1-v1" / "adapter_model.safetensors").write_bytes(b"rust")
        loaded = memory._parts.language_model
        upkeep = Upkeep(memory._ledger, DyingStore(tmp_path / "adapters"), loaded=loaded, language_model=loaded)
        with pytest.raises(OSError, match="went down"):
            upkeep.delete_damaged()

        assert (memory._ledger.shards()[0].active, memory._ledger.shards()[0].dirty) == (None, True)
        assert [shard.version for shard in memory.consolidate().shards] == ["facts-1-v2"]


def test_a_window_reads_the_files_of_what_serves_and_no_older_ones(tmp_path: Path) -> None:
    """A damaged version that only waits for a rollback is found when it is to serve again, and by the doctor."""
    with open_memory(tmp_path) as memory:
        learn(memory, SHIFT)
        memory.consolidate()
        learn(memory, KEYS)
        memory.consolidate()
        (tmp_path / "adapters" / "facts-1-v1" / "adapter_model.safetensors").write_bytes(b"rust")

        memory.consolidate()

        assert memory.adapters.get("facts-1-v1").status is AdapterStatus.RETIRED
        assert any("facts-1-v1" in line for line in memory.doctor()["problems"])
        with pytest.raises(AdapterError, match=r"facts-1-v1: adapter_model\.safetensors has SHA-256"):
            memory.adapters.rollback("facts-1-v1")


def test_another_base_model_is_answered_for_by_retrieval_until_the_shards_are_made_again(tmp_path: Path) -> None:
    """An adapter of other weights would talk nonsense; nothing has to be ingested again."""
    with open_memory(tmp_path) as memory:
        (record,) = learn(memory, SHIFT)
        memory.consolidate()
    with open_tiny_memory(tmp_path, seed=1, **FAST) as memory:
        answer = memory.query(QUESTION)
        assert any("trained on base model" in line for line in answer.trace)
        assert [hit.id for hit in answer.sources] == [record]

        report = memory.consolidate()

        assert [shard.version for shard in report.shards] == ["facts-1-v2"]
        assert memory.query(QUESTION).adapters == ("facts-1-v2",)
        assert memory.consolidate().shards == ()


def test_a_base_replaced_under_its_own_name_is_noticed_by_a_new_process(tmp_path: Path) -> None:
    """Nothing waits and no model is loaded: the window looks all the same, and a version of the old base stays out."""
    model = tmp_path / "model"

    def opened(seed: int) -> HybridMemory:
        lm = tiny_language_model(seed)
        lm.base.save_pretrained(model)
        lm.tokenizer.save_pretrained(model)
        settings = Settings.load(None, **FAST, model={"name": str(model)})
        return HybridMemory(build(tmp_path / "memory", settings, encoder=WordEncoder()))

    with opened(seed=0) as memory:
        learn(memory, SHIFT)
        memory.consolidate()
    with opened(seed=1) as memory:
        report = memory.consolidate()

        assert [shard.version for shard in report.shards] == ["facts-1-v2"]
        assert memory.query(QUESTION).adapters == ("facts-1-v2",)
        with pytest.raises(AdapterError, match="facts-1-v1 cannot serve: it was trained on base model"):
            memory.adapters.rollback("facts-1-v1")
        assert memory.consolidate().shards == ()


def test_behaviour_of_another_base_does_not_keep_the_scopes_below_from_learning(tmp_path: Path) -> None:
    """Its own shard waits for a window of its scope; what serves below it meanwhile is judged without it."""
    rule = Preference("Rule.", (Example("Hello?", "Ahoy there."), Example("Who?", "Us, ahoy.")))
    with open_memory(tmp_path) as memory:
        memory.ingest(rule, route="learn", trust="operator")
        memory.ingest(rule, route="learn", trust="operator", user_id="ann")
        memory.consolidate()
    with open_tiny_memory(tmp_path, seed=1, **FAST) as memory:
        (below,) = memory.consolidate(user_id="ann").shards
        (above,) = memory.consolidate().shards

    assert [report.promoted for report in (below, above)] == [True, True]
    assert (below.scope.user_id, above.scope.user_id) == ("ann", None)


def test_a_shard_that_fails_is_reported_and_the_others_are_learned(tmp_path: Path) -> None:
    """A stranger put a folder where one of the versions is to lie; the next window sweeps it away."""
    with open_memory(tmp_path, window={"shard_cap": 1}) as memory:
        learn(memory, SHIFT, KEYS)

        report = memory.consolidate(progress=once_while_training((tmp_path / "adapters" / "facts-2-v1").mkdir))

        assert {one.shard_id: one.promoted for one in report.shards} == {"facts-1": True, "facts-2": False}
        assert report.shards[1].attempts[0].startswith("left as it is: adapter version facts-2-v1 exists already")
        assert (report.learned, report.remaining) == (1, 1)
        assert memory.consolidate().learned == 1


def test_a_refused_rebuild_without_new_records_is_not_tried_in_every_window(tmp_path: Path) -> None:
    """What serves goes on, masked where it is stale; other settings, or another record, are a reason to try again."""
    with open_memory(tmp_path) as memory:
        old, _ = learn(memory, SHIFT, KEYS)
        memory.consolidate()
        memory.update(old, LATER)
    with open_memory(tmp_path, gate={**REFUSED["gate"], "max_kept_drop": 0.0}) as memory:
        (first,), (second,), (third,) = (memory.consolidate().shards for _ in range(3))

        assert len(first.attempts) == 2
        assert [len(one.attempts) for one in (second, third)] == [1, 1]
        assert second.attempts[0].startswith("not trained again: these records were refused with these settings")
        assert (second.trained_tokens, second.declined, len(memory.adapters.list())) == (0, {}, 3)
        assert memory.context(QUESTION).masked == ("facts-1-v1",)
        assert memory.context("Where do the spare keys of the boat house hang?").adapters == ("facts-1-v1",)

        learn(memory, LAMPS)
        assert len(memory.consolidate().shards[0].attempts) > 1
    with open_memory(tmp_path) as memory:
        assert memory.consolidate().shards[0].promoted
        assert memory.consolidate().shards == ()


def test_what_another_base_refuses_is_searched_like_new_records(tmp_path: Path) -> None:
    """The version of the old base serves nothing, so there is nothing to keep: in two windows nothing is due."""
    with open_memory(tmp_path) as memory:
        record, _ = learn(memory, SHIFT, KEYS)
        memory.consolidate()
    with open_tiny_memory(tmp_path, seed=1, **{**FAST, **REFUSED}) as memory:
        report = memory.consolidate()
        memory.consolidate()

        assert (report.learned, report.declined) == (0, 2)
        assert memory.get(record).learning is Learning.DECLINED
        assert memory.consolidate().shards == ()
        assert [shard.active for shard in memory._ledger.shards()] == [None]


def test_a_shard_that_another_window_is_making_is_left_to_it(memory: HybridMemory) -> None:
    """The second window goes on with the others and says so."""
    old, *_ = learn(memory, SHIFT, KEYS)
    memory.consolidate()
    memory.update(old, LATER)
    shard = memory.get(old).shard_id

    with memory._parts.store.stage(str(shard), 2):
        report = memory.consolidate()

    lines = [line for one in report.shards if one.shard_id == shard for line in one.attempts]
    assert [line.partition(" is being written")[0] for line in lines] == [
        f"left for the next window: adapter version {shard}-v2"
    ]
    assert shard in {one.shard_id for one in memory.consolidate().shards if one.promoted}


def test_a_scope_with_no_records_has_nothing_to_learn_or_forget(memory: HybridMemory) -> None:
    """And it is no error."""
    learn(memory, *FACTS)

    report = memory.consolidate(user_id="nobody")
    receipt = memory.forget(user_id="nobody")

    assert (report.shards, report.learned, report.remaining) == ((), 0, 0)
    assert (receipt.records, receipt.weights["state"]) == ((), "clean")
    assert memory.query(QUESTION, user_id="nobody").sources[0].text == SHIFT
    assert {record.learning for record in memory.list()} == {Learning.QUEUED}
    assert LAMPS in {record.text for record in memory.list()}
