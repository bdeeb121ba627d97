"""The whole flow with a tiny model: what goes in, what is learned, what is answered, what is forgotten."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from filelock import FileLock
from tiny_flow import FACTS, KEYS, LAMPS, PARCELS, REFUSED, SHIFT, learn, open_memory

from hybrid_memory import archive
from hybrid_memory.errors import AdapterError, InputError, NotFoundError
from hybrid_memory.memory import HybridMemory
from hybrid_memory.testing import WordEncoder
from hybrid_memory.types import AdapterStatus, Example, Fact, Learning, Mode, Preference, Route, Status

QUESTION = "When does the night shift at the harbour office start?"


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[HybridMemory]:
    """An empty memory."""
    with open_memory(tmp_path / "memory") as opened:
        yield opened


def texts(hits: object) -> list[str]:
    """The texts of hits or records."""
    return [one.text for one in hits]  # type: ignore[attr-defined]


# ---------------------------------------------------------------- in, and out again


def test_a_learned_record_is_answered_from_both_halves(memory: HybridMemory) -> None:
    """Evidence and adapter stand behind one answer, and the record knows where it lives."""
    (record_id,) = learn(memory, SHIFT)
    report = memory.consolidate()
    answer = memory.query(QUESTION)

    assert (report.learned, report.declined, report.remaining) == (1, 0, 0)
    assert texts(answer.sources) == [SHIFT]
    assert answer.adapters == ("facts-1-v1",)
    where = memory.where(record_id)
    assert (where["retrievable"], where["learning"], where["adapters"]) == (True, "learned", {"facts-1-v1": "active"})


@pytest.mark.parametrize(
    ("mode", "sources", "adapters"),
    [("hybrid", 1, 1), ("retrieval_only", 1, 0), ("weights_only", 0, 1)],
)
def test_each_mode_uses_its_halves_only(memory: HybridMemory, mode: str, sources: int, adapters: int) -> None:
    """The same memory serves as its own baseline."""
    learn(memory, SHIFT)
    memory.consolidate()

    answer = memory.query(QUESTION, mode=mode)

    assert (len(answer.sources), len(answer.adapters), answer.mode) == (sources, adapters, Mode(mode))


def test_the_policy_routes_what_nobody_forced(memory: HybridMemory) -> None:
    """A price is retrieved, a preference of the application is learned."""
    price = memory.ingest("The price of the family ticket is 12 euros today.")
    taste = memory.ingest(Preference('End every answer with "Safe roads."'))

    assert (price.route, taste.route) == (Route.RETRIEVE, Route.LEARN)
    assert [record.id for record in memory.list(filters={"learning": "queued"})] == [taste.record_id]


def test_a_dry_run_stores_nothing(memory: HybridMemory) -> None:
    """It says where the text would go, and leaves no record and no event."""
    receipt = memory.ingest(SHIFT, route="learn", dry_run=True)

    assert (receipt.record_id, receipt.route) == (None, Route.LEARN)
    assert memory.list(all_statuses=True) == []
    assert memory.doctor()["events"] == 0


def test_saying_the_same_again_makes_no_second_record(memory: HybridMemory) -> None:
    """By content, and by idempotency key even when the content differs."""
    first = memory.ingest(SHIFT)
    again = memory.ingest(SHIFT)
    keyed = memory.ingest(LAMPS, idempotency_key="lamps")
    repeated = memory.ingest("Broken lamps are somebody else's business.", idempotency_key="lamps")

    assert (again.duplicate, again.record_id) == (True, first.record_id)
    assert (repeated.duplicate, repeated.record_id) == (True, keyed.record_id)
    assert len(memory.list()) == 2


def test_ingest_many_reports_each_failure_with_its_place_and_goes_on(memory: HybridMemory) -> None:
    """Unreadable inputs and inputs that the ledger refuses are named; the others are stored."""
    forgotten = memory.ingest(KEYS)
    memory.forget(forgotten.record_id)

    summary = memory.ingest_many([SHIFT, "   ", LAMPS, KEYS, 7, PARCELS], batch_size=4)

    assert [place for place, _ in summary.failures] == [1, 3, 4]
    assert re.search("empty", summary.failures[0][1])
    assert re.search("forgotten", summary.failures[1][1])
    assert re.search("int", summary.failures[2][1])
    assert sorted(texts(memory.list())) == sorted([SHIFT, LAMPS, PARCELS])


def test_ingest_many_refuses_a_single_text(memory: HybridMemory) -> None:
    """Its letters are not what the caller meant."""
    with pytest.raises(InputError, match="takes a list"):
        memory.ingest_many(SHIFT)


def test_many_questions_are_answered_as_one_by_one(memory: HybridMemory) -> None:
    """Batches change the speed, not the answers."""
    learn(memory, *FACTS)
    memory.consolidate()
    questions = [QUESTION, "Where do the spare keys hang?", "Who is told about broken lamps?", "Why is the sky blue?"]

    together = memory.query_many(questions, max_new_tokens=12)
    alone = [memory.query(question, max_new_tokens=12) for question in questions]

    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert [answer.adapters for answer in together] == [answer.adapters for answer in alone]
    assert [texts(answer.sources) for answer in together] == [texts(answer.sources) for answer in alone]


def test_a_streamed_answer_is_the_answer(memory: HybridMemory) -> None:
    """The pieces joined are the text."""
    memory.ingest(SHIFT)
    stream = memory.query(QUESTION, stream=True)

    pieces = "".join(stream)

    assert stream.answer.text == pieces == memory.query(QUESTION).text


# ---------------------------------------------------------------- whose knowledge


def test_a_user_never_sees_what_another_user_said(memory: HybridMemory) -> None:
    """Search, query, list and filters stay inside the scope; what the organisation knows is everybody's."""
    memory.ingest(LAMPS)
    memory.ingest("Ann keeps her bicycle in the east wing.", user_id="ann")
    memory.ingest("Ben keeps his bicycle in the west wing.", user_id="ben")

    for user, other in (("ann", "Ben"), ("ben", "Ann")):
        seen = texts(memory.search("Where is the bicycle in the wing?", user_id=user))
        assert len(seen) == 2
        assert LAMPS in seen
        assert not any(other in text for text in seen)
        assert texts(memory.list(user_id=user)) == texts(memory.list(filters={"user_id": user}))
        widened = memory.search(
            "bicycle", user_id=user, filters={"or": [{"user_id": other.casefold()}, {"source": "text"}]}
        )
        assert not any(other in hit.text for hit in widened)
        answer = memory.query("Where is the bicycle in the wing?", user_id=user, passages=5)
        assert not any(other in hit.text for hit in answer.sources)
    assert texts(memory.search("bicycle wing")) == [LAMPS]


def test_adapters_serve_their_own_scope_only(memory: HybridMemory) -> None:
    """What was learned for one user is switched on for nobody else, and closes over no other record."""
    learn(memory, SHIFT, user_id="ann")
    learn(memory, KEYS, user_id="ben")
    learn(memory, LAMPS)
    memory.consolidate()

    ann = memory.query(QUESTION, user_id="ann").adapters
    ben = memory.query(QUESTION, user_id="ben", mode="weights_only").adapters
    everyone = memory.query("Where are broken lamps reported?").adapters

    by_id = {version.id: version for version in memory.adapters.list()}
    assert [by_id[name].record_ids for name in ann] == [(memory.list(user_id="ann", filters={"text": SHIFT})[0].id,)]
    assert not set(ann) & set(ben)
    assert everyone == ("facts-1-v1",)
    assert all(len(version.record_ids) == 1 for version in by_id.values())


def test_a_window_of_one_scope_leaves_the_others_waiting(memory: HybridMemory) -> None:
    """Records of other users stay queued."""
    learn(memory, SHIFT, user_id="ann")
    (waiting,) = learn(memory, KEYS, user_id="ben")

    report = memory.consolidate(user_id="ann")

    assert (report.learned, report.remaining) == (1, 0)
    assert memory.get(waiting).learning is Learning.QUEUED


# ---------------------------------------------------------------- change


def test_a_newer_value_replaces_the_older_one(memory: HybridMemory) -> None:
    """The correction is evidence, the old value is history and answers questions about its time."""
    spring = datetime(2025, 4, 1, tzinfo=UTC)
    summer = datetime(2025, 7, 1, tzinfo=UTC)
    old = memory.ingest(Fact("family ticket", "price", "12 euros"), observed_at=spring)
    new = memory.ingest(Fact("family ticket", "price", "14 euros"), observed_at=summer)

    now = memory.query("What is the price of the family ticket?")
    then = memory.query("What is the price of the family ticket?", as_of=datetime(2025, 5, 1, tzinfo=UTC))

    assert new.superseded == (old.record_id,)
    assert [hit.id for hit in now.sources] == [new.record_id]
    assert [hit.id for hit in then.sources] == [old.record_id]
    assert memory.get(old.record_id).superseded_by == new.record_id
    assert {"ingested", "superseded"} <= {event.name for event in memory.history(new.record_id)}


def test_what_was_learned_and_replaced_is_masked_at_once(memory: HybridMemory) -> None:
    """The adapter that knows it stale stays out, and the correction is in the prompt, before any window."""
    (old,) = learn(memory, SHIFT)
    memory.consolidate()
    assert memory.context(QUESTION).adapters == ("facts-1-v1",)

    new = memory.update(old, "The night shift at the harbour office starts at eleven.")
    context = memory.context(QUESTION)

    assert (context.adapters, context.masked) == ((), ("facts-1-v1",))
    assert [hit.id for hit in context.sources] == [new.id]
    assert "starts at eleven" in context.messages[-1].content
    assert memory.get(old).learning is Learning.STALE


def test_the_next_window_forgets_the_stale_value(memory: HybridMemory) -> None:
    """The shard is rebuilt over what holds now: the sibling stays, the replaced record goes."""
    old, sibling = learn(memory, SHIFT, KEYS)
    memory.consolidate()
    memory.update(old, "The night shift at the harbour office starts at eleven.")

    report = memory.consolidate()

    assert [shard.version for shard in report.shards] == ["facts-1-v2"]
    assert memory.adapters.get("facts-1-v2").record_ids == (sibling,)
    assert memory.context("Where do the spare keys of the boat house hang?").adapters == ("facts-1-v2",)


def test_an_expired_record_is_no_evidence_and_its_adapter_is_masked(memory: HybridMemory) -> None:
    """Time alone makes it stale."""
    begin = datetime.now(UTC) - timedelta(hours=1)
    memory.ingest(SHIFT, route="learn", observed_at=begin, ttl=timedelta(hours=2))
    memory.consolidate()
    assert memory.context(QUESTION).adapters == ("facts-1-v1",)

    memory._ledger.expire(datetime.now(UTC) + timedelta(hours=2))  # the clock cannot be turned; this is what it does
    context = memory.context(QUESTION)

    assert (context.sources, context.adapters, context.masked) == ((), (), ("facts-1-v1",))


def test_metadata_changes_in_place_and_content_by_succession(memory: HybridMemory) -> None:
    """The record keeps its id for the one and gets a successor for the other."""
    first = memory.ingest(SHIFT, metadata={"floor": 1})

    same = memory.update(first.record_id, metadata={"floor": 2})
    successor = memory.update(first.record_id, "The night shift starts at midnight.")

    assert (same.id, same.metadata) == (first.record_id, {"floor": 2})
    assert successor.metadata == {"floor": 2}
    assert memory.get(first.record_id).status is Status.SUPERSEDED


def test_a_correction_keeps_the_slot_and_the_end(memory: HybridMemory) -> None:
    """A sentence in place of a slot's value is its value; the next fact replaces it. What had an end still has it."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    price = memory.ingest(Fact("Pro plan", "price", "2 EUR"))
    corrected = memory.update(str(price.record_id), "The Pro thing costs three euros, roughly.")
    soup = memory.ingest("Soup is leek.", ttl=3600, valid_to=tomorrow)
    ends = memory.get(str(soup.record_id)).expires_at
    after = memory.update(str(soup.record_id), "Soup is pea.")

    assert corrected.slot is not None
    assert (corrected.slot.key, corrected.value) == ("pro plan | price", "The Pro thing costs three euros, roughly.")
    assert (after.valid_to, after.expires_at) == (tomorrow, ends)
    memory.ingest(Fact("Pro plan", "price", "4 EUR"))
    assert [record.text for record in memory.list()] == ["Soup is pea.", "The price of the Pro plan is 4 EUR."]


def test_feedback_becomes_training_material(memory: HybridMemory) -> None:
    """A correction is an example vouched for by the application, learned in the next window."""
    memory.ingest(SHIFT)
    answer = memory.query(QUESTION)

    receipt = memory.feedback(answer.id, correction="At ten.")
    report = memory.consolidate()

    assert receipt.route is Route.LEARN
    assert memory.get(receipt.record_id).examples == (Example(QUESTION, "At ten."),)
    assert [shard.group for shard in report.shards] == ["examples"]
    assert memory.get(receipt.record_id).learning is Learning.LEARNED


# ---------------------------------------------------------------- windows


def test_what_cannot_be_studied_is_declined_with_the_reason(tmp_path: Path) -> None:
    """The tiny model asks no question about its statement; it stays in retrieval."""
    with open_memory(tmp_path / "memory", self_edit={"generator": "model", "samples": 1}) as memory:
        (record_id,) = learn(memory, SHIFT)

        report = memory.consolidate()

        record = memory.get(record_id)
        assert (report.learned, report.declined, report.remaining) == (0, 1, 0)
        assert "nothing was left to study it by: no question (1)" in report.shards[0].declined[record.id]
        assert (record.learning, record.status) == (Learning.DECLINED, Status.ACTIVE)
        assert memory.consolidate().shards == ()


def test_a_refused_candidate_leaves_the_old_version_serving(tmp_path: Path) -> None:
    """The new records are declined with the reason; no candidate's files stay."""
    folder = tmp_path / "memory"
    with open_memory(folder) as memory:
        (old,) = learn(memory, SHIFT)
        memory.consolidate()
    with open_memory(folder, **REFUSED) as memory:
        (new,) = learn(memory, KEYS)
        report = memory.consolidate()

        assert (report.learned, report.declined) == (0, 1)
        assert len(report.shards[0].attempts) == 2
        assert "at least 100% is asked" in memory.get(new).learning_detail
        assert [record.learning for record in (memory.get(old), memory.get(new))] == [
            Learning.LEARNED,
            Learning.DECLINED,
        ]
        assert memory.context(QUESTION).adapters == ("facts-1-v1",)
        assert [version.status for version in memory.adapters.list()] == [
            AdapterStatus.ACTIVE,
            AdapterStatus.REJECTED,
            AdapterStatus.REJECTED,
        ]
        assert memory.consolidate().shards == ()
        assert folders(folder) == {"facts-1-v1"}
        with pytest.raises(AdapterError, match="rejected and cannot serve"):
            memory.adapters.promote("facts-1-v2")


def folders(folder: Path) -> set[str]:
    """The names of the adapter folders, candidates and half-deleted ones included."""
    return {path.name for path in (folder / "adapters").iterdir() if path.name != ".locks"}


def test_a_record_too_long_to_train_on_is_declined_and_the_others_are_learned(tmp_path: Path) -> None:
    """One bad example does not keep its shard from learning, now or ever."""
    with open_memory(tmp_path / "memory", training={"max_tokens": 200}) as memory:
        good = [memory.ingest(Example(f"Ticket {word}: who takes it?", "Harbour desk.")) for word in ("a", "b")]
        bad = memory.ingest(Example("Ticket c: who takes it?", "The desk. " * 40))

        report = memory.consolidate()

        assert (report.learned, report.declined) == (2, 1)
        assert {memory.get(one.record_id).learning for one in good} == {Learning.LEARNED}
        assert "at most 200 are accepted" in memory.get(bad.record_id).learning_detail


def test_examples_are_not_declined_for_what_is_shown_beside_them(tmp_path: Path) -> None:
    """A row of about 130 tokens (letters, here) fits into 200; with neighbours before it, it would not."""
    with open_memory(tmp_path / "memory", training={"max_tokens": 200}) as memory:
        for word in ("crane", "lamp", "rope"):
            memory.ingest(
                Example(f"The {word} at the far end of the {word} shed is broken. Who mends it?", f"Desk {word}.")
            )

        report = memory.consolidate()

        assert (report.learned, report.declined) == (3, 0), report.shards


def test_forgetting_a_source_spares_what_others_said_too(memory: HybridMemory) -> None:
    """Two files say the same sentence: without the first it is the second's, and stays learned."""
    for file in ("a.pdf", "b.pdf"):
        memory.ingest(SHIFT, source=file, trust="operator", route="learn")
    alone = memory.ingest(LAMPS, source="a.pdf").record_id
    memory.consolidate()

    receipt = memory.forget(filters={"source": "a.pdf"})

    (left,) = memory.list()
    assert (receipt.records, receipt.retrieval["said_by_others"]) == ((alone,), [left.id])
    assert (left.text, left.source, left.learning) == (SHIFT, "b.pdf", Learning.LEARNED)
    assert memory.list(filters={"source": "a.pdf"}, all_statuses=True) == []
    assert memory.forget(filters={"source": "b.pdf"}).records == (left.id,)


def test_examples_are_learned_by_an_adapter_that_reads_also_when_it_is_made_again(memory: HybridMemory) -> None:
    """It acts on the text that it has to tell apart, whether its material was just written or is stored."""
    for text in ("My parcel is wet.", "The lamp is broken."):
        memory.ingest(Example(text, "desk K4"), trust="operator")
        memory.consolidate()

    training = [version.manifest["training"] for version in memory.adapters.list()]
    assert [one["acts_on"] for one in training if isinstance(one, dict)] == ["all", "all"]


def test_a_shard_that_was_emptied_takes_in_new_records(memory: HybridMemory) -> None:
    """It has no vectors to compare with, and is no obstacle to the next window."""
    (only,) = learn(memory, SHIFT)
    memory.consolidate()
    memory.forget(only, weights="now")
    learn(memory, KEYS)

    report = memory.consolidate()

    assert ([shard.shard_id for shard in report.shards], report.learned) == (["facts-1"], 1)


def test_a_spent_budget_leaves_shards_for_the_next_window(tmp_path: Path) -> None:
    """What was not reached stays queued, unleased, and is learned later."""
    with open_memory(tmp_path / "memory", window={"shard_cap": 1}) as memory:
        learn(memory, *FACTS)

        first = memory.consolidate(budget_s=1e-6)
        assert (len(first.shards), first.learned, first.remaining) == (1, 1, 3)
        assert memory.consolidate().learned == 3


def test_a_window_that_outlasts_its_lease_keeps_its_records(tmp_path: Path) -> None:
    """What is learned in steps that are shorter than a lease stays its own: a second window finds nothing to do."""
    others: list[int] = []
    with open_memory(tmp_path / "memory", window={"shard_cap": 1, "lease_s": 1.0}) as memory:
        learn(memory, SHIFT, LAMPS)

        def slow(stage: str, done: int, total: int, note: str = "") -> None:
            time.sleep(0.5)
            if stage == "train" and done == total:
                others.append(len(memory.consolidate().shards))

        report = memory.consolidate(progress=slow)

        assert (report.learned, others) == (2, [0, 0])


def test_writing_that_exceeds_the_budget_leaves_the_records_queued(tmp_path: Path) -> None:
    """Nine records at half a second each do not fit into two seconds: the window ends with its budget."""
    with open_memory(tmp_path / "memory", window={"shard_cap": 10}) as memory:
        learn(memory, *(f"{fact} Note {number}." for number in range(3) for fact in FACTS[:3]))
        memory.query(QUESTION)  # the model is loaded

        told: list[str] = []

        def slow(stage: str, done: int, total: int, note: str = "") -> None:
            told.append(stage)
            time.sleep(0.5)

        report = memory.consolidate(budget_s=2.0, progress=slow)

        assert (report.learned, report.declined, report.remaining) == (0, 0, 9)
        assert "the records stay queued" in report.shards[0].attempts[0]
        assert set(told) == {"write"}
        assert len(told) <= 5
        assert memory.consolidate().learned == 9


def test_training_that_exceeds_the_budget_is_no_refusal(tmp_path: Path) -> None:
    """The shard had no fair trial: its records stay queued, and the report says what happened."""
    with open_memory(tmp_path / "memory", training={"min_steps": 100_000}) as memory:
        learn(memory, SHIFT)

        report = memory.consolidate(budget_s=0.5)

        assert (report.learned, report.declined, report.remaining) == (0, 0, 1)
        assert "deadline" in report.shards[0].attempts[-1]


def test_a_full_queue_opens_a_window_by_itself(tmp_path: Path) -> None:
    """The second record that waits is the one that opens it."""
    with open_memory(tmp_path / "memory", window={"queue_size": 2}) as memory:
        (first,) = learn(memory, SHIFT)
        assert memory.get(first).learning is Learning.QUEUED
        (second,) = learn(memory, LAMPS)
        assert {memory.get(one).learning for one in (first, second)} == {Learning.LEARNED}


def test_a_dry_run_opens_no_window_however_full_the_queue_is(tmp_path: Path) -> None:
    """It decides and explains, and changes nothing."""
    with open_memory(tmp_path / "memory") as memory:
        (waiting,) = learn(memory, SHIFT)
    with open_memory(tmp_path / "memory", window={"queue_size": 1}) as memory:
        memory.ingest(LAMPS, dry_run=True)

        assert memory.get(waiting).learning is Learning.QUEUED


def test_rollback_promote_and_disable_switch_versions(memory: HybridMemory) -> None:
    """Each is one step; learning states follow what serves."""
    (first,) = learn(memory, SHIFT)
    memory.consolidate()
    (second,) = learn(memory, KEYS)
    memory.consolidate()
    assert memory.context(QUESTION).adapters == ("facts-1-v2",)

    assert memory.adapters.rollback().id == "facts-1-v1"
    assert memory.context(QUESTION).adapters == ("facts-1-v1",)
    assert [memory.get(one).learning for one in (first, second)] == [Learning.LEARNED, Learning.DECLINED]

    memory.adapters.promote("facts-1-v2")
    assert memory.get(second).learning is Learning.LEARNED

    memory.adapters.disable("facts-1")
    assert memory.context(QUESTION).adapters == ()
    assert texts(memory.context(QUESTION).sources) == [SHIFT]
    assert memory.consolidate().shards == ()


# ---------------------------------------------------------------- forgetting

SECRET = "The Quokkaville safe of the harbour office opens with 4711."
WORD = b"uokkavil"  # as any index would have it: stemmed, in either case


def where_it_stands(folder: Path, *needles: bytes) -> list[str]:
    """The files of a memory that have one of the byte strings in them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(path.name for path in files if any(needle in path.read_bytes() for needle in needles))


def test_forgetting_later_takes_effect_in_both_halves_at_once(memory: HybridMemory) -> None:
    """Retrieval and files go now; the receipt says that the rebuild is due, and the window pays it."""
    secret, sibling = learn(memory, SECRET, SHIFT)
    memory.consolidate()
    files = sum(1 for path in Path(memory.adapters.get("facts-1-v1").path).iterdir())

    receipt = memory.forget(secret)

    assert receipt.records == (secret,)
    assert receipt.retrieval["still_found"] == 0
    assert (receipt.retrieval["passages"], receipt.retrieval["vectors"], receipt.retrieval["self_edits"]) == (1, 1, 1)
    assert (receipt.weights["state"], receipt.weights["due"]) == ("due", ["facts-1"])
    assert receipt.weights["adapters_deleted"] == ["facts-1-v1"]
    assert receipt.weights["files_deleted"] == files > 2
    assert memory.get(secret).status is Status.FORGOTTEN
    assert texts(memory.search("Quokkaville safe")) == [SHIFT]
    assert memory.context(QUESTION).adapters == ()

    assert [shard.version for shard in memory.consolidate().shards] == ["facts-1-v2"]
    assert memory.adapters.get("facts-1-v2").record_ids == (sibling,)


def test_forgetting_now_leaves_the_text_in_no_file(tmp_path: Path) -> None:
    """Ledger, journal, index, adapters and answer log: none has the words, the vector or the hash."""
    folder = tmp_path / "memory"
    with open_memory(folder) as memory:
        secret, sibling = learn(memory, SECRET, SHIFT)
        memory.consolidate()
        memory.query("What opens the Quokkaville safe?")
        memory.close()
    with open_memory(folder) as memory:
        vector = WordEncoder().encode([SECRET])[0].tobytes()
        hashed = memory.get(secret).content_hash.encode()
        assert {"answers.jsonl", "ledger.sqlite"} <= set(where_it_stands(folder, WORD))
        assert any(name.endswith(".index") for name in where_it_stands(folder, vector))

        receipt = memory.forget(secret, weights="now")

        assert receipt.weights["state"] == "rebuilt"
        assert (receipt.weights["extracted"], receipt.retrieval["logged_answers"]) == (0, 1)
        assert where_it_stands(folder, WORD, vector, hashed) == []
        memory.close()
    assert where_it_stands(folder, WORD, vector, hashed) == []
    assert folders(folder) == {"facts-1-v2"}
    assert where_it_stands(folder / "adapters", secret.encode()) == []
    with open_memory(folder) as memory:
        assert memory.adapters.get("facts-1-v2").record_ids == (sibling,)
        assert memory.doctor()["problems"] == []


def test_the_receipt_says_when_a_reader_kept_the_journal(tmp_path: Path) -> None:
    """A search that began before still reads the old pages; the next window finds it done and empties the journal."""
    folder = tmp_path / "memory"
    with open_memory(folder) as memory, open_memory(folder) as other:
        secret = memory.ingest(SECRET).record_id
        with other._ledger.one_moment():
            other.list()
            assert memory.forget(secret).retrieval["journal_due"] is True
            assert where_it_stands(folder, WORD) != []

        memory.consolidate()

        assert where_it_stands(folder, WORD) == []
        assert memory.forget(memory.ingest(SHIFT).record_id).retrieval["journal_due"] is False


def test_a_memory_that_closes_does_not_write_back_what_another_one_forgot(tmp_path: Path) -> None:
    """It had read the record before, and its snapshot was due."""
    folder = tmp_path / "memory"
    vector = WordEncoder().encode([SECRET])[0].tobytes()
    with open_memory(folder) as other:
        secret = other.ingest(SECRET).record_id
        assert texts(other.search("Quokkaville safe")) == [SECRET]
        with open_memory(folder) as memory:
            memory.forget(secret)

    assert where_it_stands(folder, WORD, vector) == []


def test_a_memory_that_closes_after_another_one_changed_the_encoder_writes_no_index(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its vectors are of no use any more; closing is no time to fail for that."""
    folder = tmp_path / "memory"
    memory = open_memory(folder)
    memory.ingest(SHIFT)
    memory.search(QUESTION)
    memory._ledger.set_meta("encoder", "another-one")

    memory.close()

    assert list((folder / "index").glob("*")) == []
    assert "another-one" in caplog.text


def test_a_rebuilt_shard_is_the_one_that_never_saw_the_record(tmp_path: Path) -> None:
    """Bit for bit, although the other memory heard the rest in another order and built the shard at once."""
    with open_memory(tmp_path / "one") as memory:
        _, _, secret, _ = learn(memory, SHIFT, LAMPS, SECRET, KEYS)
        memory.consolidate()
        memory.query(QUESTION)
        memory.forget(secret, weights="now")
        rebuilt = serving(memory)
    with open_memory(tmp_path / "other") as memory:
        learn(memory, KEYS, SHIFT, LAMPS)
        memory.consolidate()
        never = serving(memory)

    assert rebuilt == never


def test_above_the_cap_each_rebuilt_shard_is_the_one_made_from_its_members_alone(tmp_path: Path) -> None:
    """Which records share a shard may depend on the forgotten one; what a shard is depends on its members only."""
    with open_memory(tmp_path / "one", window={"shard_cap": 2}) as memory:
        secret = learn(memory, *FACTS, SECRET)[-1]
        memory.consolidate()
        memory.forget(secret, weights="now")
        rebuilt = serving(memory)
        active = [version for version in memory.adapters.list() if version.status is AdapterStatus.ACTIVE]
        members = [[memory.get(one).text for one in version.record_ids] for version in active]
    assert sorted(text for texts in members for text in texts) == sorted(FACTS)
    for number, texts in enumerate(members):
        with open_memory(tmp_path / f"alone{number}") as memory:
            learn(memory, *reversed(texts))
            memory.consolidate()
            assert serving(memory) == rebuilt[number : number + 1]


def serving(memory: HybridMemory) -> list[str]:
    """The SHA-256 of the weights of every version that serves."""
    active = [version for version in memory.adapters.list() if version.status is AdapterStatus.ACTIVE]
    files = [Path(version.path) / "adapter_model.safetensors" for version in active]
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def test_a_record_that_the_gate_refused_can_be_forgotten(tmp_path: Path) -> None:
    """A rejected version has no files; that is no reason to stop half-way."""
    with open_memory(tmp_path / "memory", **REFUSED) as memory:
        (record_id,) = learn(memory, SECRET)
        memory.consolidate()

        receipt = memory.forget(record_id, weights="now")

        assert (receipt.retrieval["still_found"], receipt.weights["files_deleted"]) == (0, 0)
        assert where_it_stands(tmp_path, WORD) == []


def test_forgetting_now_rebuilds_the_shards_concerned_and_no_other(tmp_path: Path) -> None:
    """What waits elsewhere goes on waiting for its window."""
    with open_memory(tmp_path / "memory") as memory:
        secret, _ = learn(memory, SECRET, SHIFT)
        memory.consolidate()
        (waiting,) = learn(memory, KEYS, user_id="ann")

        memory.forget(secret, weights="now")

        assert memory.get(waiting).learning is Learning.QUEUED
        assert memory.context(QUESTION).adapters == ("facts-1-v2",)


def test_forgetting_a_source_again_finds_nothing_more(memory: HybridMemory) -> None:
    """The second call is harmless, and what the first one forgot names its source no more."""
    told = memory.ingest(SECRET, source="ann-diagnosis.pdf").record_id
    memory.ingest(SHIFT, source="rota.pdf")

    receipts = [memory.forget(filters={"source": "ann-diagnosis.pdf"}) for _ in range(2)]

    assert [receipt.records for receipt in receipts] == [(told,), ()]
    assert memory.get(told).source == ""
    assert texts(memory.list()) == [SHIFT]


def test_what_never_reached_the_weights_is_forgotten_cleanly(memory: HybridMemory) -> None:
    """No shard is due, no adapter is touched."""
    receipt = memory.forget(memory.ingest(SECRET).record_id)

    assert (receipt.weights["state"], receipt.weights["shards"]) == ("clean", [])


def test_a_whole_scope_is_forgotten_and_nothing_else(memory: HybridMemory) -> None:
    """Everything inside it, superseded values included; the organisation's knowledge stays."""
    learn(memory, SHIFT)
    learn(memory, KEYS, user_id="ann")
    memory.ingest(Fact("Ann", "desk", "12"), user_id="ann")
    memory.ingest(Fact("Ann", "desk", "14"), user_id="ann")
    memory.consolidate()

    receipt = memory.forget(user_id="ann", weights="now")

    assert len(receipt.records) == 3
    assert texts(memory.list(user_id="ann")) == [SHIFT]
    assert memory.context(QUESTION, user_id="ann").adapters == ("facts-1-v1",)


def test_a_forgotten_text_does_not_come_back(memory: HybridMemory) -> None:
    """Its tombstone refuses it, and updating what is gone is refused too."""
    (record_id,) = learn(memory, SECRET)
    memory.forget(record_id)

    with pytest.raises(InputError, match="forgotten"):
        memory.ingest(SECRET)
    with pytest.raises(NotFoundError, match="was forgotten"):
        memory.update(record_id, "The safe opens with 4712.")


def test_only_the_caller_lets_what_was_forgotten_in_again(memory: HybridMemory) -> None:
    """A document's or an exported row's own metadata says nothing about it."""
    rows = [{"text": SECRET, "metadata": {"force": True}}]
    memory.forget(learn(memory, SECRET))

    with pytest.raises(InputError, match=r"force=True \(--force\) lets it in again"):
        memory.ingest(SECRET, metadata={"force": True})
    assert "forgotten on" in memory.import_from(rows, "jsonl").failures[0][1]
    assert texts(memory.list()) == []
    assert memory.ingest(SECRET, force=True).record_id is not None
    assert texts(memory.list()) == [SECRET]


def test_many_inputs_can_be_let_in_again_by_the_caller(memory: HybridMemory) -> None:
    """One that says only what was forgotten is reported and does not stop the rest."""
    memory.forget(learn(memory, SECRET))

    refused = memory.ingest_many([SHIFT, SECRET, LAMPS], route="retrieve")

    assert [place for place, _ in refused.failures] == [1]
    assert texts(memory.list()) == [SHIFT, LAMPS]
    assert memory.ingest_many([SECRET], route="retrieve", force=True).failures == ()
    assert texts(memory.list()) == [SHIFT, LAMPS, SECRET]


def test_an_update_does_not_inherit_that_its_record_was_let_in_again(memory: HybridMemory) -> None:
    """Who forced one text in has said nothing about the next."""
    memory.forget(learn(memory, SECRET))
    record_id = str(memory.ingest(SHIFT, metadata={"force": True}, force=True).record_id)

    with pytest.raises(InputError, match="forgotten on"):
        memory.update(record_id, SECRET)


def test_a_file_is_ingested_without_the_paragraph_that_was_forgotten(memory: HybridMemory, tmp_path: Path) -> None:
    """The receipt has a part for it that says so; with force it comes back, the rest is there already."""
    file = tmp_path / "desk.jsonl"
    file.write_text("\n".join(json.dumps({"text": text}) for text in (SHIFT, SECRET, LAMPS)), encoding="utf-8")
    _, secret, _ = memory.ingest(file, route="retrieve").records
    memory.forget(secret)

    again = memory.ingest(file, route="retrieve")
    forced = memory.ingest(file, route="retrieve", force=True)

    assert [(part.duplicate, part.forgotten) for part in again.parts] == [(True, False), (False, True), (True, False)]
    assert dict(again.routes) == {"retrieve": 2, "drop": 1}
    assert len(again.records) == 2
    assert [(part.duplicate, part.forgotten) for part in forced.parts] == [(True, False), (False, False), (True, False)]
    assert texts(memory.list()) == [SHIFT, LAMPS, SECRET]


def test_forgetting_by_id_respects_the_scope_that_is_given(memory: HybridMemory) -> None:
    """Who forgets for Ann cannot reach a record of Ben's."""
    record_id = memory.ingest(SECRET, user_id="ben").record_id

    with pytest.raises(NotFoundError, match="inside the scope"):
        memory.forget(record_id, user_id="ann")
    assert memory.get(record_id).status is Status.ACTIVE


def test_a_forgetting_that_was_cut_short_is_finished_when_the_memory_is_opened(tmp_path: Path) -> None:
    """The ledger's half was done when the process died; the adapter that saw the record goes before anybody asks."""
    folder = tmp_path / "memory"
    with open_memory(folder) as memory:
        secret, _ = learn(memory, SECRET, SHIFT)
        memory.consolidate()
        memory._ledger.forget([secret])
        assert folders(folder) == {"facts-1-v1"}

    with open_memory(folder) as memory:
        assert memory.adapters.get("facts-1-v1").status is AdapterStatus.PURGED
        assert folders(folder) == set()
        assert memory.consolidate().shards[0].version == "facts-1-v2"


def test_files_of_a_deleted_version_that_a_crash_left_go_when_the_memory_is_opened(tmp_path: Path) -> None:
    """The ledger says that they are deleted; a folder that it does not know waits for a window."""
    folder = tmp_path / "memory"
    with open_memory(folder) as memory:
        secret, _ = learn(memory, SECRET, SHIFT)
        memory.consolidate()
        memory._ledger.forget([secret])
        memory._ledger.activate("facts-1", None)
        memory._ledger.mark_purged(["facts-1-v1"])
        (folder / "adapters" / "unknown-v1").mkdir()
        assert folders(folder) == {"facts-1-v1", "unknown-v1"}

    with open_memory(folder):
        assert folders(folder) == {"unknown-v1"}


def test_the_receipt_names_adapters_whose_files_another_process_held(tmp_path: Path) -> None:
    """They serve nobody any more, and the window that was open meanwhile deletes them at its end."""
    folder = tmp_path / "memory"
    with open_memory(folder) as memory:
        secret, _ = learn(memory, SECRET, SHIFT)
        memory.consolidate()
        learn(memory, LAMPS)
        receipts = []

        def forget_it(stage: str, done: int, total: int, note: str = "") -> None:
            if stage == "train" and not receipts:
                with FileLock(folder / "adapters" / ".locks" / "facts-1-v1"):
                    receipts.append(memory.forget(secret))
                assert "facts-1-v1" in folders(folder)

        memory.consolidate(progress=forget_it)

        (receipt,) = receipts
        assert (receipt.weights["adapters_deleted"], receipt.weights["adapters_left"]) == ([], ["facts-1-v1"])
        assert receipt.weights["files_deleted"] == 0
        assert "facts-1-v1" not in folders(folder)


def test_a_record_forgotten_while_it_is_learned_stays_in_no_adapter(memory: HybridMemory) -> None:
    """The candidate that saw it is thrown away; the same window learns the rest."""
    secret, sibling = learn(memory, SECRET, SHIFT)

    def forget_it(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "train" and done == 1:
            memory.forget(secret)

    memory.consolidate(progress=forget_it)

    assert [version.record_ids for version in memory.adapters.list()] == [(sibling,)]
    assert folders(Path(str(memory.doctor()["folder"]))) == {"facts-1-v1"}


def test_a_window_sweeps_away_what_dead_processes_left(memory: HybridMemory) -> None:
    """Candidates, half-deleted versions, and versions that were never promoted."""
    learn(memory, SHIFT)
    memory.consolidate()
    adapters = Path(str(memory.doctor()["folder"])) / "adapters"
    for name in (".candidate-facts-1-v2", ".facts-1-v7.gone", "facts-1-v2"):
        (adapters / name).mkdir()
        (adapters / name / "adapter_model.safetensors").write_bytes(b"left")
    learn(memory, KEYS)

    memory.consolidate()

    assert {path.name for path in adapters.iterdir()} == {".locks", "facts-1-v1", "facts-1-v2"}
    assert memory.doctor()["problems"] == []


# ---------------------------------------------------------------- keeping


def test_a_restored_export_answers_the_same(tmp_path: Path) -> None:
    """In another folder, with the first one gone: records, adapters, history and answers are there."""
    questions = [QUESTION, "Where do the spare keys of the boat house hang?"]
    with open_memory(tmp_path / "memory") as memory:
        learn(memory, *FACTS)
        memory.consolidate()
        waiting = learn(memory, "Gate four is painted green.")
        before = [memory.query(question, mode=mode) for question in questions for mode in Mode]
        file = memory.export(tmp_path / "backups" / "memory.tar.gz")
    shutil.rmtree(tmp_path / "memory")

    with open_memory(archive.restore(file, tmp_path / "elsewhere")) as memory:
        after = [memory.query(question, mode=mode) for question in questions for mode in Mode]

        assert [answer.text for answer in after] == [answer.text for answer in before]
        assert [answer.adapters for answer in after] == [answer.adapters for answer in before]
        assert memory.doctor()["problems"] == []
        assert [record.id for record in memory.list(filters={"learning": "queued"})] == waiting
        assert memory.consolidate().learned == 1


def test_a_memory_that_was_moved_still_finds_its_adapters(tmp_path: Path) -> None:
    """Paths that the ledger remembers are read inside the folder as it is now."""
    with open_memory(tmp_path / "memory") as memory:
        learn(memory, SHIFT)
        memory.consolidate()
    (tmp_path / "memory").rename(tmp_path / "moved")

    with open_memory(tmp_path / "moved") as memory:
        assert memory.query(QUESTION).adapters == ("facts-1-v1",)


def test_the_doctor_finds_a_used_memory_healthy(memory: HybridMemory) -> None:
    """After all the ordinary things that can happen to one."""
    ids = learn(memory, *FACTS)
    memory.consolidate()
    memory.update(ids[0], "The night shift at the harbour office starts at eleven.")
    memory.forget(ids[1])
    memory.consolidate()
    memory.query(QUESTION)

    found = memory.doctor()

    assert (found["healthy"], found["problems"]) == (True, [])
    assert found["status"] == {"active": 3, "forgotten": 1, "superseded": 1}
