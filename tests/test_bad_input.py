"""What people and disks do wrong: each gets an error that says how to mend it, and nothing is lost."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from forked import all_told, forked
from tiny_flow import FAST, KEYS, LAMPS, SHIFT, learn, open_memory

from hybrid_memory import archive
from hybrid_memory.build import build
from hybrid_memory.config import Settings
from hybrid_memory.errors import (
    AdapterError,
    ClosedError,
    ConfigError,
    FilterError,
    HybridMemoryError,
    IndexMismatchError,
    InputError,
    LedgerError,
    LockedError,
    ModelError,
    NotFoundError,
    PolicyError,
)
from hybrid_memory.memory import HybridMemory
from hybrid_memory.testing import WordEncoder, tiny_language_model
from hybrid_memory.types import Example, Fact, FloatArray, Learning, Lesson, Preference

MAY = datetime(2025, 5, 1, tzinfo=UTC)
QUESTION = "When does the night shift at the harbour office start?"


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HybridMemory]:
    """A memory with one record, which no bad call may change."""
    with open_memory(tmp_path_factory.mktemp("used") / "memory") as memory:
        memory.ingest(SHIFT, metadata={"floor": 1})
        yield memory


def record_id(memory: HybridMemory) -> str:
    """The id of its only record."""
    return memory.list()[0].id


# ---------------------------------------------------------------- calls

Call = Callable[[HybridMemory], object]
BROKEN = "half a pair \ud800"


def deep(key: str, levels: int) -> Any:
    """Return {key: {key: … {"source": "a"}}}."""
    inner: Any = {"source": "a"}
    for _ in range(levels):
        inner = {key: inner}
    return inner


BAD_CALLS: dict[str, tuple[Call, type[HybridMemoryError], str]] = {
    "empty text": (lambda m: m.ingest(""), InputError, "empty"),
    "only spaces": (lambda m: m.ingest(" \n\t "), InputError, "empty"),
    "a number": (lambda m: m.ingest(7), InputError, "cannot ingest a int; accepted are"),
    "nothing": (lambda m: m.ingest(None), InputError, "cannot ingest a NoneType"),
    "no messages": (lambda m: m.ingest([]), InputError, "nothing to remember"),
    "a list of numbers": (lambda m: m.ingest([1, 2]), InputError, "message"),
    "a file that is not there": (lambda m: m.ingest(Path("no/such.txt")), InputError, "such.txt"),
    "an example without answer": (lambda m: m.ingest(Example("Who?", "")), InputError, "response"),
    "a rule of spaces": (lambda m: m.ingest(Preference("  ")), InputError, "empty"),
    "a fact without value": (lambda m: m.ingest(Fact("ticket", "price", "")), InputError, "value"),
    "a price as a number": (
        lambda m: m.ingest(Fact("ticket", "price", 24)),
        InputError,
        "the fact's value must be text, got 24",
    ),
    "a fact's sentence as a number": (
        lambda m: m.ingest(Fact("ticket", "price", "24", text=24)),
        InputError,
        "the fact's text must be text, got 24",
    ),
    "an answer as a number": (lambda m: m.ingest(Example("Who?", 4)), InputError, "response must be text, got 4"),
    "a rule as a number": (lambda m: m.ingest(Preference(4)), InputError, "the rule must be text, got 4"),
    "a rule shown by text": (
        lambda m: m.ingest(Preference("Be brief.", "Why? So.")),
        InputError,
        r"the rule is shown by a list of Example\(prompt, response\), got 'Why\? So\.'",
    ),
    "naive time": (lambda m: m.ingest("x", observed_at=datetime(2025, 5, 1)), InputError, "no time zone"),
    "time of another type": (lambda m: m.ingest("x", valid_from=[]), InputError, "valid_from must be a datetime"),
    "end before begin": (
        lambda m: m.ingest("x", valid_from=MAY, valid_to=MAY.replace(month=4)),
        InputError,
        "valid_to 2025-04-01.* is not after valid_from 2025-05-01",
    ),
    "lifetime in words": (lambda m: m.ingest("x", ttl="a day"), InputError, "ttl must be a positive number"),
    "negative lifetime": (lambda m: m.ingest("x", ttl=-1), InputError, "ttl must be a positive number"),
    "unknown trust": (lambda m: m.ingest("x", trust="king"), InputError, "trust must be one of operator"),
    "unknown route": (lambda m: m.ingest("x", route="away"), InputError, "route must be one of retrieve, learn"),
    "metadata that is no JSON": (lambda m: m.ingest("x", metadata={"a": {1}}), InputError, "plain JSON"),
    "successor of nothing": (lambda m: m.ingest(LAMPS, supersedes="nobody"), NotFoundError, "nobody"),
    "empty user": (lambda m: m.ingest("x", user_id=" "), InputError, "user_id must be non-empty text"),
    "user as number": (lambda m: m.search("x", user_id=7), InputError, "user_id must be non-empty text, got 7"),
    "two users": (lambda m: m.search("x", user_id="a", filters={"user_id": "b"}), FilterError, "give it once"),
    "one text for many": (
        lambda m: m.ingest_many("abc"),
        InputError,
        r"takes a list of inputs, and ingest\(\) one, got str",
    ),
    "batches of nothing": (
        lambda m: m.ingest_many(["a"], batch_size=0),
        InputError,
        "batch_size must be a whole number of 1 or more",
    ),
    "one key for many": (lambda m: m.ingest_many(["a"], idempotency_key="k"), InputError, "names one input"),
    "unknown operator": (
        lambda m: m.search("x", filters={"source": {"equals": "a"}}),
        FilterError,
        "unknown operator 'equals' on 'source'",
    ),
    "unknown field": (lambda m: m.list(filters={"sourc": "a"}), FilterError, "unknown field 'sourc'.*source"),
    "filter of another type": (lambda m: m.list(filters={"or": "a"}), FilterError, "list of one or more filters"),
    "empty question": (lambda m: m.query("  "), InputError, "the question is empty"),
    "question as bytes": (lambda m: m.query(b"who"), InputError, "a question must be text, got bytes"),
    "one question for many": (lambda m: m.query_many("who?"), InputError, "takes a list of questions"),
    "unknown mode": (lambda m: m.query("who?", mode="both"), InputError, "mode must be one of hybrid"),
    "negative passages": (lambda m: m.query("who?", passages=-1), InputError, "passages must be a whole number"),
    "no new tokens": (lambda m: m.query("who?", max_new_tokens=0), InputError, "max_new_tokens must be"),
    "no hits wanted": (
        lambda m: m.search("who?", top_k=0),
        InputError,
        "top_k must be a whole number of 1 or more, got 0",
    ),
    "hits wanted in words": (lambda m: m.search("who?", top_k="3"), InputError, "top_k must be .* 1 or more, got '3'"),
    "half a hit wanted": (lambda m: m.search("who?", top_k=2.5), InputError, "top_k must be .* 1 or more, got 2.5"),
    "naive as_of": (lambda m: m.query("who?", as_of=datetime(2025, 5, 1)), InputError, "as_of .* has no time zone"),
    "as_of in words": (lambda m: m.search("who?", as_of="May"), InputError, "as_of is no time: 'May'; write ISO 8601"),
    "as_of a day": (lambda m: m.list(as_of=MAY.date()), InputError, "as_of must be a datetime, got datetime.date"),
    "naive known_at": (lambda m: m.list(known_at=datetime(2025, 5, 1)), InputError, "known_at .* has no time zone"),
    "known_at to come": (
        lambda m: m.search("who?", known_at=datetime(2999, 5, 1, tzinfo=UTC)),
        InputError,
        "known_at 2999-05-01 .* is still to come; leave it out",
    ),
    "the weights of a time": (
        lambda m: m.query("who?", mode="weights_only", known_at=MAY),
        InputError,
        "known_at is answered from evidence alone.*mode='retrieval_only'",
    ),
    "surrogate in metadata": (
        lambda m: m.ingest("x", metadata={"a": [BROKEN]}),
        InputError,
        "metadata has a lone surr",
    ),
    "surrogate in a metadata key": (
        lambda m: m.ingest("x", metadata={BROKEN: 1}),
        InputError,
        "metadata has a lone sur",
    ),
    "surrogate in a user": (lambda m: m.ingest("x", user_id=BROKEN), InputError, "user_id has a lone surrogate"),
    "NUL in a user": (lambda m: m.search("x", user_id="a\0"), InputError, "user_id has a NUL character"),
    "surrogate in a source": (lambda m: m.ingest(LAMPS, source=BROKEN), InputError, "has a lone surrogate"),
    "surrogate in a key": (lambda m: m.ingest(LAMPS, idempotency_key=BROKEN), InputError, "has a lone surrogate"),
    "surrogate in a successor": (lambda m: m.ingest(LAMPS, supersedes=BROKEN), InputError, "has a lone surrogate"),
    "surrogate in a filter": (lambda m: m.list(filters={"source": BROKEN}), FilterError, "has a lone surrogate"),
    "surrogate in a question": (lambda m: m.search(BROKEN), InputError, "the question has a lone surrogate"),
    "surrogate in an id": (lambda m: m.get(BROKEN), InputError, "has a lone surrogate"),
    "surrogate in a page": (lambda m: m.list(after=BROKEN), InputError, "has a lone surrogate"),
    "a number as filter key": (
        lambda m: m.search("x", filters={5: "a"}),
        FilterError,
        "keys of a filter are text.* got 5",
    ),
    "a number as operator": (lambda m: m.list(filters={"source": {5: "a"}}), FilterError, "keys of a filter are text"),
    "filters as a list": (lambda m: m.search("x", filters=[1]), FilterError, r"filters must be a dict .*, got \[1\]"),
    "deep filter": (lambda m: m.search("x", filters=deep("not", 900)), FilterError, "deeper than 16 levels"),
    "filter of 17 levels": (lambda m: m.search("x", filters=deep("not", 17)), FilterError, "deeper than 16 levels"),
    "deep metadata": (lambda m: m.ingest("x", metadata=deep("a", 900)), InputError, "deeper than 64 levels"),
    "endless lifetime": (lambda m: m.ingest("x", ttl=1e12), InputError, "ttl 1e.12 s ends after the year 9999"),
    "longest lifetime": (lambda m: m.ingest("x", ttl=timedelta.max), InputError, "ends after the year 9999"),
    "before all time": (
        lambda m: m.ingest("x", observed_at=datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))),
        InputError,
        "observed_at 0001-01-01.* outside the years 1 to 9999",
    ),
    "after all time": (
        lambda m: m.ingest("x", valid_to=datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))),
        InputError,
        "valid_to 9999-12-31.* outside the years 1 to 9999",
    ),
    "purge of all time": (lambda m: m.purge(older_than=1e15), InputError, "older_than must be 0 to 1e10 seconds"),
    "purge of the future": (lambda m: m.purge(older_than=-1), InputError, "older_than must be 0 to 1e10 seconds"),
    "update with nan": (
        lambda m: m.update(record_id(m), metadata={"x": float("nan")}),
        InputError,
        "metadata must be plain JSON data",
    ),
    "update with NUL": (lambda m: m.update(record_id(m), metadata={"x": "\0"}), InputError, "metadata has a NUL"),
    "update with a list": (lambda m: m.update(record_id(m), metadata=[1]), InputError, "metadata must be a dict"),
    "unknown record": (lambda m: m.get("nobody"), NotFoundError, "no record 'nobody'"),
    "update of nothing": (lambda m: m.update("nobody", "x"), NotFoundError, "no record 'nobody'"),
    "update to nothing": (lambda m: m.update(record_id(m), " "), InputError, "empty"),
    "trace of nothing": (lambda m: m.trace("nobody"), NotFoundError, "no record 'nobody'"),
    "feedback without a verdict": (lambda m: m.feedback("a"), InputError, "give either correction="),
    "a correction as a number": (
        lambda m: m.feedback(
            [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I."}], correction=4
        ),
        InputError,
        "must be text, got 4",
    ),
    "feedback on nothing": (lambda m: m.feedback("a", accepted=True), NotFoundError, "no recent answer 'a'"),
    "forget everything": (lambda m: m.forget(), InputError, "name what to forget"),
    "forget by empty filter": (lambda m: m.forget(filters={}), InputError, "name what to forget"),
    "forget everywhere": (lambda m: m.forget(everywhere=True), InputError, "everywhere=True goes with filters alone"),
    "forget everywhere in a scope": (
        lambda m: m.forget(filters={"source": "a"}, user_id="ann", everywhere=True),
        InputError,
        "everywhere=True goes with filters alone",
    ),
    "forget soon": (lambda m: m.forget("a", weights="soon"), InputError, "weights must be 'defer' or 'now'"),
    "forget nobody": (lambda m: m.forget("nobody"), NotFoundError, "no record 'nobody'"),
    "forget known and unknown": (lambda m: m.forget([record_id(m), "nobody"]), NotFoundError, "no record 'nobody'"),
    "forget by id and filter": (
        lambda m: m.forget(record_id(m), filters={"source": "text"}),
        InputError,
        "not both",
    ),
    "unknown adapter": (lambda m: m.adapters.promote("facts-9-v9"), NotFoundError, "no adapter version"),
    "rollback of nothing": (lambda m: m.adapters.rollback(), NotFoundError, "say which shard"),
    "disable nothing": (lambda m: m.adapters.disable("facts-9"), AdapterError, "no shard 'facts-9'"),
    "unknown policy to compare": (
        lambda m: m.replay_routing("lenient"),
        NotFoundError,
        "no policy 'lenient'.*shipped are",
    ),
    "top_k of query": (lambda m: m.query("who?", top_k=3), InputError, r"query\(\) has no option 'top_k'.*passages"),
    "misspelt option": (lambda m: m.query("who?", filter={}), InputError, "'filter'; did you mean filters"),
    "an option of no call": (lambda m: m.query("who?", style="x"), InputError, "'style'; it has mode, task, filters"),
    "text handed to a stream": (
        lambda m: m.query("who?", stream=True, on_text=print),
        InputError,
        "no option 'on_text'",
    ),
    "a misspelt stamp": (lambda m: m.ingest_many(["a"], user="ann"), InputError, "'user'; did you mean user_id"),
    "a dry run of many": (lambda m: m.ingest_many(["a"], dry_run=True), InputError, "no option 'dry_run'"),
    "a progress bar wished for": (lambda m: m.consolidate(progress=True), InputError, "progress must be a function"),
    "text to a file": (lambda m: m.query("who?", on_text="out.txt"), InputError, "on_text must be a function"),
    "a source as number": (lambda m: m.ingest(LAMPS, source=7), InputError, "source must be text, got 7"),
    "a source as path": (lambda m: m.ingest(LAMPS, source=Path("a.md")), InputError, "source must be text, got Posix"),
    "a successor of several": (lambda m: m.ingest(LAMPS, supersedes=["a"]), InputError, "supersedes must be non-empty"),
    "a blank key": (lambda m: m.ingest(LAMPS, idempotency_key=""), InputError, "idempotency_key must be non-empty"),
    "a dict of inputs": (lambda m: m.ingest_many({LAMPS: 1}), InputError, "takes a list of inputs, .* got dict"),
    "batches of no size": (lambda m: m.ingest_many(["a"], batch_size=None), InputError, "batch_size must be a whole"),
    "a number of questions": (lambda m: m.query_many(7), InputError, "takes a list of questions, .* got int"),
    "no hits at all": (lambda m: m.search("who?", top_k=None), InputError, "top_k must be a whole number .* got None"),
    "fewer than no records": (lambda m: m.list(limit=-1), InputError, "limit must be a whole number of 0 or more"),
    "half an event": (lambda m: m.history(record_id(m), limit=0.5), InputError, "limit must be a whole number"),
    "events after a time": (lambda m: m.history(record_id(m), after=MAY), InputError, "after must be a whole number"),
    "studied by nobody": (lambda m: m.studied("nobody"), NotFoundError, "no record 'nobody'"),
    "forget a number": (lambda m: m.forget(7), InputError, "forget takes a list of record ids, or one, got int"),
    "feedback on a number": (lambda m: m.feedback(7, accepted=True), InputError, "or the id of an answer, got int"),
    "a policy by number": (lambda m: m.route("x", policy=7), InputError, "a policy is a name or a path, got 7"),
    "a policy by list": (lambda m: m.replay_routing(["a"]), InputError, r"a policy is a name or a path, got \['a'\]"),
    "a policy applied": (
        lambda m: m.apply_routing("default"),
        InputError,
        "takes what replay_routing returned, got 'd",
    ),
    "lessons in a file": (lambda m: m.train_generator("lessons.jsonl"), InputError, "takes a list of Lesson.*got str"),
    "lessons as dicts": (lambda m: m.train_generator([{"text": "a"}] * 2), InputError, "a lesson is a Lesson"),
    "questions in a file": (lambda m: m.benchmark(Path("q.jsonl")), InputError, "takes a list of Example"),
    "an audit of nothing": (lambda m: m.forget_audit(None, controls=["a", "b"]), InputError, "texts must be a list"),
    "an unknown form": (lambda m: m.import_from([], ["mem0"]), InputError, "unknown form"),
    "an export into a number": (lambda m: m.export(7), InputError, "what is exported to is a path, got 7"),
    "an export into a file": (
        lambda m: m.export(Path(__file__) / "memory.tar.gz"),
        InputError,
        r"cannot be written \(.*\); give a folder that this user may write to",
    ),
    "a review of a number": (lambda m: m.review.list(user_id=7), InputError, "user_id must be non-empty text, got 7"),
    "a memory in a number": (lambda m: HybridMemory.open(7), InputError, "the folder of a memory is a path, got 7"),
    "no export": (lambda m: HybridMemory.restore("no/such.tar.gz", "x"), InputError, "there is no export"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_a_bad_call_says_what_is_accepted_and_changes_nothing(used: HybridMemory, name: str) -> None:
    """The error is one of ours, names the value, and the ledger has moved by no event."""
    call, kind, message = BAD_CALLS[name]
    before = used._ledger.clock()

    with pytest.raises(kind, match=message):
        call(used)

    assert used._ledger.clock() == before
    assert [record.text for record in used.list(all_statuses=True)] == [SHIFT]


LONG = "long " * 2_000
LONG_CALLS: dict[str, Call] = {
    "a user of half a text": lambda m: m.search("x", user_id=LONG + BROKEN),
    "a source in a list": lambda m: m.ingest("x", source=[LONG]),
    "a metadata of text": lambda m: m.ingest("x", metadata=LONG),
    "a route": lambda m: m.ingest("x", route=LONG),
    "a trust": lambda m: m.ingest("x", trust=LONG),
    "a time": lambda m: m.search("x", as_of=LONG),
    "a number of hits": lambda m: m.search("x", top_k=LONG),
    "an operator": lambda m: m.list(filters={"source": {LONG: "a"}}),
    "a field": lambda m: m.list(filters={LONG: "a"}),
    "a filter": lambda m: m.list(filters=LONG),
    "a list of filters": lambda m: m.list(filters={"and": LONG}),
    "a number in a filter": lambda m: m.list(filters={"metadata.floor": 10**3_000}),
    "a record": lambda m: m.get(LONG),
    "a successor": lambda m: m.ingest("x", supersedes=LONG),
    "an answer": lambda m: m.feedback(LONG, accepted=True),
    "a turn": lambda m: m.feedback([{"role": LONG, "content": 7}], accepted=True),
    "a message": lambda m: m.ingest([{"role": LONG, "content": "x"}]),
    "an option": lambda m: m.query("x", **{LONG: 1}),
    "a mode": lambda m: m.query("x", mode=LONG),
    "a task": lambda m: m.query("x", task=LONG),
    "a version": lambda m: m.adapters.promote(LONG),
    "a shard": lambda m: m.adapters.disable(LONG),
    "a form": lambda m: m.import_from([], LONG),
    "a lesson": lambda m: m.train_generator([LONG, LONG]),
    "texts of an audit": lambda m: m.forget_audit(LONG, controls=["a", "b"]),
    "a number of no end": lambda m: m.search("x", top_k=-(10**5_000)),
}


@pytest.mark.parametrize("name", LONG_CALLS)
def test_a_long_value_is_shown_by_its_beginning(used: HybridMemory, name: str) -> None:
    """Whoever sends 10,000 characters does not fill the log with them."""
    with pytest.raises(HybridMemoryError) as caught:
        LONG_CALLS[name](used)

    assert len(str(caught.value)) < 1_000
    assert LONG not in str(caught.value)


VAST = 10**30
VAST_CALLS: dict[str, Call] = {
    "hits": lambda m: m.search("x", top_k=VAST),
    "passages": lambda m: m.query("x", passages=VAST),
    "tokens": lambda m: m.query("x", max_new_tokens=VAST),
    "tokens of a context": lambda m: m.context("x", max_tokens=VAST),
    "records": lambda m: m.list(limit=VAST),
    "events": lambda m: m.history(record_id(m), limit=VAST),
    "an event": lambda m: m.history(record_id(m), after=VAST),
    "a batch": lambda m: m.ingest_many(["x"], batch_size=VAST),
    "rounds": lambda m: m.train_generator([Lesson(text="x", questions=(Example("Who?", "Ann"),))] * 2, rounds=VAST),
    "a budget": lambda m: m.consolidate(budget_s=10**400),
    "a lifetime": lambda m: m.ingest("x", ttl=VAST),
    "a lifetime that no float holds": lambda m: m.ingest("x", ttl=10**400),
    "a time": lambda m: m.ingest("x", valid_from=VAST),
    "a time that no float holds": lambda m: m.search("x", as_of=10**400),
    "an age": lambda m: m.purge(older_than=VAST),
    "a share": lambda m: m.benchmark([Example("Who?", "Ann")], misses=10**400),
}


@pytest.mark.parametrize("name", VAST_CALLS)
def test_a_number_that_nothing_counts_to_is_refused(used: HybridMemory, name: str) -> None:
    """Not by an OverflowError of the database, the clock or the arrays below."""
    with pytest.raises(InputError, match=r"must be|is no time|ends after the year 9999"):
        VAST_CALLS[name](used)

    assert [record.text for record in used.list(all_statuses=True)] == [SHIFT]


IDS: dict[str, Call] = {
    "get": lambda m: m.get([]),
    "history": lambda m: m.history({"a": 1}),
    "a number": lambda m: m.get(VAST),
    "where": lambda m: m.where(VAST),
    "trace": lambda m: m.trace(VAST),
    "studied": lambda m: m.studied([]),
    "update": lambda m: m.update([], metadata={"a": 1}),
    "list": lambda m: m.list(after=[]),
    "a page": lambda m: m.list(after=[], limit=1),
    "list after a number": lambda m: m.list(after=VAST),
    "approve": lambda m: m.review.approve([], route="learn"),
}


@pytest.mark.parametrize("name", IDS)
def test_an_id_that_is_no_text_is_refused_before_the_database_is_asked(used: HybridMemory, name: str) -> None:
    """A list in its place is a slip of the caller; the message said that the database may be damaged."""
    with pytest.raises(InputError, match=r"is the id of a record, a text, got (\[\]|\{'a': 1\}|10{30})"):
        IDS[name](used)


ENDLESS = "n" * 5_000
ENDLESS_CALLS: dict[str, tuple[Call, str]] = {
    "a policy to ask": (lambda m: m.route("x", policy=ENDLESS), "there is no policy 'nnn.*shipped are"),
    "a policy to compare": (lambda m: m.replay_routing(ENDLESS), "there is no policy 'nnn.*shipped are"),
    "a file": (lambda m: m.ingest(Path(ENDLESS)), "there is no file or folder"),
    "rows": (lambda m: m.import_from(Path(ENDLESS), "jsonl"), "there is no file"),
    "an export": (lambda m: m.export(ENDLESS), "cannot be written"),
    "an export to restore": (lambda m: HybridMemory.restore(ENDLESS, "x"), "there is no export"),
    "settings": (lambda m: Settings.load(ENDLESS), "there is no settings file"),
    "a memory": (lambda m: HybridMemory.open(ENDLESS), "cannot hold a memory"),
}


@pytest.mark.parametrize("name", ENDLESS_CALLS)
def test_a_name_that_is_too_long_for_any_file_is_the_name_of_none(used: HybridMemory, name: str) -> None:
    """As every other name that is not there; not an OSError from inside."""
    call, message = ENDLESS_CALLS[name]
    with pytest.raises(HybridMemoryError, match=message):
        call(used)


def test_a_policy_that_is_no_text_is_told_as_that(used: HybridMemory, tmp_path: Path) -> None:
    """Such as an archive given in its place; it was a UnicodeDecodeError from inside."""
    packed = tmp_path / "policy.toml"
    packed.write_bytes(b"\x1f\x8b\x08\x00 packed")

    with pytest.raises(PolicyError, match=r"policy\.toml is no text in UTF-8.*a policy is a TOML file"):
        used.route("x", policy=packed)


ROWS: dict[str, tuple[str, object, str]] = {
    "a blank user of mem0": ("mem0", {"memory": LAMPS, "user_id": ""}, "user_id must be non-empty text, got ''"),
    "a user of spaces": ("jsonl", {"text": LAMPS, "user_id": "  "}, "user_id must be non-empty text, got '  '"),
    "a user that is an object": ("jsonl", {"text": LAMPS, "user_id": {}}, "user_id must be non-empty text, got {}"),
    "blocks that are a number": (
        "llama_index",
        {"role": "user", "blocks": 7},
        "message 0 is .*list of dicts with role",
    ),
    "a block that is a number": ("llama_index", {"role": "user", "blocks": [7]}, "message 0 is .*list of dicts with"),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_bad_row_of_an_import_is_reported_and_never_becomes_everybodys(used: HybridMemory, name: str) -> None:
    """A row whose user is blank is not knowledge for all users, and none stops the others."""
    form, row, message = ROWS[name]

    done = used.import_from([row], form)

    assert [bool(re.search(message, why)) for _, why in done.failures] == [True]
    assert [record.text for record in used.list(all_statuses=True)] == [SHIFT]


@pytest.mark.parametrize("named", ["judge", "proposer"])
def test_a_model_that_cannot_be_asked_is_refused_at_the_start(tmp_path: Path, named: str) -> None:
    """Not at the first text that is undecided."""
    with pytest.raises(ConfigError, match=f"a {named} must have complete"):
        build(tmp_path, Settings(), encoder=WordEncoder(), **{named: 7})
    with pytest.raises(ConfigError, match="settings are a TOML file or a dict of groups, got 7"):
        HybridMemory.from_config(7)  # type: ignore[arg-type]


def test_a_policy_that_was_edited_is_read_again(tmp_path: Path) -> None:
    """Whoever tries a policy out in one session sees what it says now."""
    file = tmp_path / "ours.toml"
    file.write_text('name = "ours"\nextends = "default"\n[[rules]]\nname = "all"\nmatch = {}\nroute = "drop"\n')
    with open_memory(tmp_path / "memory") as memory:
        memory.ingest(SHIFT)
        assert [move.after.value for move in memory.replay_routing(file).moves] == ["drop"]

        file.write_text(file.read_text().replace('"drop"', '"quarantine"'))

        assert [move.after.value for move in memory.replay_routing(file).moves] == ["quarantine"]


# ---------------------------------------------------------------- after the end

USES: dict[str, Call] = {
    "ingest": lambda m: m.ingest(LAMPS),
    "ingest_many": lambda m: m.ingest_many([LAMPS]),
    "import_from": lambda m: m.import_from([{"id": "1", "memory": LAMPS}], "mem0"),
    "query": lambda m: m.query(QUESTION),
    "query in pieces": lambda m: [*m.query(QUESTION, stream=True)],
    "search": lambda m: m.search(QUESTION),
    "context": lambda m: m.context(QUESTION),
    "consolidate": lambda m: m.consolidate(),
    "forget": lambda m: m.forget("a"),
    "list": lambda m: m.list(),
    "get": lambda m: m.get("a"),
    "route": lambda m: m.route(LAMPS),
    "doctor": lambda m: m.doctor(),
    "export": lambda m: m.export("never.tar.gz"),
    "reindex": lambda m: m.reindex(),
    "adapters": lambda m: m.adapters.list(),
    "review": lambda m: m.review.list(),
}


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> HybridMemory:
    """A memory that was closed, twice."""
    memory = open_memory(tmp_path_factory.mktemp("closed") / "memory")
    memory.ingest(SHIFT)
    memory.close()
    memory.close()
    return memory


@pytest.mark.parametrize("use", USES)
def test_a_closed_memory_says_so(closed: HybridMemory, use: str) -> None:
    """Nothing is read, written or answered behind its back."""
    with pytest.raises(ClosedError, match="this memory is closed; open it again"):
        USES[use](closed)


# ---------------------------------------------------------------- settings and files


@pytest.mark.parametrize(
    ("groups", "kind", "message"),
    [
        ({"training": {"epoch": 3}}, ConfigError, "unknown setting training.epoch; did you mean epochs"),
        ({"training": {"epochs": 0}}, ConfigError, "training.epochs: .*greater than or equal to 1, got 0"),
        ({"training": {"epochs": "many"}}, ConfigError, "training.epochs: .*got 'many'"),
        ({"window": {"shard_cap": 10**30}}, ConfigError, "window.shard_cap: whole numbers go up to 2147483647, got 1"),
        (
            {"window": {"cron": "nightly"}},
            ConfigError,
            "window.cron: 'nightly' has 1 fields; accepted is a crontab",
        ),
        ({"window": {"cron": "0 25 * * *"}}, ConfigError, "window.cron: .*hour '25' is none of 0-23; accepted is"),
        ({"window": {"cron": "0 3 31 feb,apr *"}}, ConfigError, "window.cron: .*never comes true"),
        ({"routing": {"policy": ENDLESS}}, NotFoundError, "no policy 'nnn.*shipped are"),
        ({"routing": {"policy": "defaultt"}}, NotFoundError, "no policy 'defaultt'; did you mean 'default'"),
        ({"ledger": {"url": "no url"}}, LedgerError, "is not a database URL"),
    ],
)
def test_a_wrong_setting_is_named(
    tmp_path: Path, groups: dict[str, dict[str, object]], kind: type, message: str
) -> None:
    """With its place, the value, and what is accepted; before anything has run."""
    with pytest.raises(kind, match=message):
        open_memory(tmp_path / "memory", **groups)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "mine"\n[thresholds\n', r"line 2, column 12"),
        ('name = "mine"\n\n[thresholds]\n  durabel = 0.5\n', r"line 4, column 3.*durabel.*durable"),
        ('name = "mine"\n[thresholds]\ndurable = 7\n', r"line 3, column 1.*durable"),
    ],
)
def test_an_error_in_a_policy_file_is_found_by_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    """Syntax, unknown keys and values out of range."""
    file = tmp_path / "mine.toml"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(PolicyError, match=message):
        open_memory(tmp_path / "memory", routing={"policy": str(file)})


def test_a_settings_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    """In the memory's folder, and when it is given."""
    (tmp_path / "memory.toml").write_text("folder = [", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"memory\.toml is not valid TOML"):
        HybridMemory.open(tmp_path)
    with pytest.raises(ConfigError, match=r"memory\.toml is not valid TOML"):
        HybridMemory.from_config(tmp_path / "memory.toml")
    with pytest.raises(ConfigError, match="must say where the memory lies"):
        HybridMemory.from_config({"training": {"epochs": 1}})


def test_a_file_cannot_be_a_memory(tmp_path: Path) -> None:
    """Its content stays as it is."""
    file = tmp_path / "notes.txt"
    file.write_text("mine", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"notes\.txt cannot hold a memory"):
        open_memory(file)
    assert file.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", ["missing", "empty", "junk.gguf"])
def test_a_model_path_that_is_no_model_is_refused_and_retrieval_goes_on(tmp_path: Path, name: str) -> None:
    """The model is needed for answers only; the message says what is accepted."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk.gguf").write_bytes(b"no model at all")
    settings = Settings.load(None, **{**FAST, "model": {"name": str(tmp_path / name)}})
    with HybridMemory(build(tmp_path / "memory", settings, encoder=WordEncoder())) as memory:
        (learned,) = learn(memory, SHIFT)

        with pytest.raises(ModelError, match=name):
            memory.query(QUESTION)
        with pytest.raises(ModelError, match=name):
            memory.consolidate()

        assert [hit.text for hit in memory.search(QUESTION)] == [SHIFT]
        assert [record.id for record in memory._ledger.pending()] == [learned]


@pytest.mark.parametrize("budget", [0, -5.0, float("nan"), True, "60"])
def test_a_window_without_time_is_refused_and_what_waits_still_waits(tmp_path: Path, budget: Any) -> None:
    """Nothing could be learned in it, and nobody would be told why."""
    with open_memory(tmp_path / "memory") as memory:
        (waiting,) = learn(memory, SHIFT)

        with pytest.raises(InputError, match="budget_s must be a number above 0, got"):
            memory.consolidate(budget_s=budget)

        assert [record.id for record in memory._ledger.pending()] == [waiting]


# ---------------------------------------------------------------- damage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A closed memory with two learned records and one that waits."""
    with open_memory(tmp_path / "memory") as memory:
        learn(memory, SHIFT, LAMPS)
        memory.consolidate()
        learn(memory, KEYS)
        memory.search(QUESTION)
    return tmp_path / "memory"


def test_a_damaged_index_is_built_again_from_the_ledger(folder: Path) -> None:
    """The doctor names it, searches go on, and closing writes a whole one."""
    (file,) = (folder / "index").rglob("*.index")
    file.write_bytes(b"rust" + file.read_bytes()[4:])

    with open_memory(folder) as memory:
        assert any("SHA-256" in problem for problem in memory.doctor()["problems"])
        assert memory.search(QUESTION)[0].text == SHIFT
    with open_memory(folder) as memory:
        assert memory.doctor()["problems"] == []
        assert len(memory.search("the", top_k=3)) == 3


@pytest.mark.parametrize("harm", ["changed", "cut off", "gone"])
def test_a_damaged_adapter_is_named_by_the_doctor_and_made_again_by_the_next_window(folder: Path, harm: str) -> None:
    """Retrieval is untouched; the rebuilt version is the same, because the ledger has all it was made from."""
    file = folder / "adapters" / "facts-1-v1" / "adapter_model.safetensors"
    whole = file.read_bytes()
    if harm == "gone":
        file.unlink()
    else:
        file.write_bytes(whole[:-4] + b"rust" if harm == "changed" else whole[:100])

    with open_memory(folder) as memory:
        assert any("adapter_model.safetensors" in problem for problem in memory.doctor()["problems"])
        with pytest.raises(AdapterError, match="consolidate again"):
            memory.query(QUESTION, mode="weights_only")
        assert memory.query(QUESTION).sources[0].text == SHIFT
        for waiting in memory.list(filters={"text": KEYS}):
            memory.forget(waiting.id)

        memory.consolidate()

        assert memory.query(QUESTION).adapters == ("facts-1-v2",)
        assert (folder / "adapters" / "facts-1-v2" / "adapter_model.safetensors").read_bytes() == whole
        assert memory.doctor()["problems"] == []


def test_a_damaged_adapter_can_be_rolled_back(folder: Path) -> None:
    """To the version before; a damaged one is never promoted."""
    with open_memory(folder) as memory:
        memory.consolidate()
        (folder / "adapters" / "facts-1-v2" / "adapter_model.safetensors").write_bytes(b"rust")

        assert memory.adapters.rollback().id == "facts-1-v1"
        assert memory.query(QUESTION).adapters == ("facts-1-v1",)
        with pytest.raises(AdapterError, match="SHA-256"):
            memory.adapters.promote("facts-1-v2")


def test_a_database_of_garbage_is_refused_with_its_name_and_the_mend(folder: Path) -> None:
    """Nothing is written over it: what can be saved of it is still there."""
    file = folder / "ledger.sqlite"
    garbage = b"not a database, and long enough to be taken for one. " * 100
    file.write_bytes(garbage)

    with pytest.raises(LedgerError, match=r"ledger\.sqlite.*restore from an export"):
        open_memory(folder)
    assert file.read_bytes() == garbage


@pytest.mark.parametrize("how", ["moved", "deleted", "replaced"])
def test_nothing_is_acknowledged_into_a_ledger_that_has_gone(tmp_path: Path, how: str) -> None:
    """SQLite goes on writing into the file it has open, where nobody finds it: a receipt would promise what is lost."""
    with open_memory(tmp_path / "other") as other:
        other.ingest(KEYS)
    with open_memory(tmp_path / "memory") as memory:
        memory.ingest(SHIFT)
        (tmp_path / "memory").rename(tmp_path / "away")
        if how == "deleted":
            shutil.rmtree(tmp_path / "away")
        elif how == "replaced":
            shutil.copytree(tmp_path / "other", tmp_path / "memory")

        with pytest.raises(LedgerError, match=r"memory/ledger\.sqlite is not the file.*bring it back.*open the memory"):
            memory.ingest(LAMPS)
        assert (tmp_path / "memory").exists() == (how == "replaced")


def test_a_ledger_below_a_file_is_told_as_that_and_not_as_damage(tmp_path: Path) -> None:
    """A path in `ledger.url` that cannot be a folder, or may not be written to."""
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    url = f"sqlite:///{tmp_path}/notes.txt/deep/ledger.sqlite"

    with pytest.raises(LedgerError, match=r"There is no folder .*notes\.txt/deep: make it") as told:
        open_memory(tmp_path / "memory", ledger={"url": url})
    assert "damaged" not in str(told.value)


def test_a_damaged_page_is_found_by_the_doctor(folder: Path) -> None:
    """The ledger opens, and the check says where it hurts."""
    file = folder / "ledger.sqlite"
    with sqlite3.connect(file) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'queue'").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    content = bytearray(file.read_bytes())
    content[(page - 1) * size : (page - 1) * size + 200] = b"\xff" * 200
    file.write_bytes(content)

    try:
        with open_memory(folder) as memory:
            problems = memory.doctor()["problems"]
    except LedgerError as error:
        problems = [str(error)]
    assert any("damaged" in problem or "malformed" in problem for problem in problems)


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    """Its tables are named."""
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("CREATE TABLE cakes (name TEXT)")
    connection.close()

    with pytest.raises(LedgerError, match=r"another program.*cakes"):
        open_memory(tmp_path)


@pytest.mark.parametrize("harm", ["cut off", "no archive", "another archive"])
def test_a_damaged_export_is_refused_and_leaves_no_half_folder(folder: Path, tmp_path: Path, harm: str) -> None:
    """So that the whole one can be restored to the same place."""
    with open_memory(folder) as memory:
        whole = memory.export(tmp_path / "whole.tar.gz")
    broken = tmp_path / "broken.tar.gz"
    content = whole.read_bytes()
    broken.write_bytes({"cut off": content[: len(content) // 2], "no archive": b"x" * 99}.get(harm, _foreign(tmp_path)))

    with pytest.raises(InputError, match=r"broken\.tar\.gz"):
        archive.restore(broken, tmp_path / "restored")

    assert not (tmp_path / "restored").exists()
    with open_memory(archive.restore(whole, tmp_path / "restored")) as memory:
        assert len(memory.list()) == 3
    with pytest.raises(InputError, match="is not empty"):
        archive.restore(whole, tmp_path / "restored")


def _foreign(folder: Path) -> bytes:
    import tarfile

    (folder / "cake.txt").write_text("cake", encoding="utf-8")
    with tarfile.open(folder / "foreign.tar.gz", "w:gz") as packed:
        packed.add(folder / "cake.txt", "cake.txt")
    return (folder / "foreign.tar.gz").read_bytes()


def test_an_export_never_overwrites(folder: Path, tmp_path: Path) -> None:
    """What is there may be the only backup."""
    (tmp_path / "old.tar.gz").write_bytes(b"precious")

    with open_memory(folder) as memory, pytest.raises(InputError, match="exists already"):
        memory.export(tmp_path / "old.tar.gz")
    assert (tmp_path / "old.tar.gz").read_bytes() == b"precious"


# ---------------------------------------------------------------- another encoder


class OtherEncoder(WordEncoder):
    """The same words, other directions."""

    fingerprint = "other words"

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return unit rows, shape (len(texts), 384), float32."""
        return super().encode([text[::-1] for text in texts])


def open_other(folder: Path, *, for_reindex: bool = False) -> HybridMemory:
    """Open a memory with the other encoder."""
    settings = Settings.load(None, **FAST)
    parts = build(folder, settings, encoder=OtherEncoder(), model=tiny_language_model(), for_reindex=for_reindex)
    return HybridMemory(parts)


def test_another_encoder_is_refused_until_everything_is_embedded_again(folder: Path) -> None:
    """The error names the command; after it, search and adapters work with the new vectors."""
    with pytest.raises(IndexMismatchError, match=r"made by encoder words, this one is other words.*reindex"):
        open_other(folder)

    with open_other(folder, for_reindex=True) as memory:
        with pytest.raises(IndexMismatchError, match="reindex"):
            memory.ingest("Vectors of two encoders must never meet.")
        assert memory.reindex() == 3
        assert memory.search(QUESTION)[0].text == SHIFT
    with open_other(folder) as memory:
        assert memory.query(QUESTION).adapters == ("facts-1-v1",)
        assert memory.doctor()["problems"] == []
    with pytest.raises(IndexMismatchError, match="made by encoder other words"):
        open_memory(folder)


# ---------------------------------------------------------------- other processes, full disks, Ctrl-C


HOLDER = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("READY", flush=True)
    sys.stdin.readline()
"""


def test_a_second_writer_is_told_after_the_timeout_and_readers_go_on(folder: Path) -> None:
    """The message names the lock file and the setting; once the other is done, writing works."""
    with open_memory(folder, ledger={"lock_timeout_s": 0.2}) as memory:
        command = [sys.executable, "-c", HOLDER, str(folder / "writer.lock")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "READY\n"
            with pytest.raises(LockedError, match=r"writer\.lock.*ledger\.lock_timeout_s"):
                memory.ingest("A second writer waits.")
            with pytest.raises(LockedError, match="another process"):
                memory.consolidate()
            assert memory.query(QUESTION).sources[0].text == SHIFT
            holder.communicate("done\n")
        assert memory.ingest("A second writer waits.").record_id is not None
        assert memory.consolidate().learned == 1


def limit_files() -> None:
    """Let this process write no file beyond 400,000 bytes."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))


def fill(tell: Connection, folder: Path, route: str) -> None:
    memory = open_memory(folder)
    limit_files()
    try:
        for number in range(1, 1000):
            text = f"Crate {number} stands in row {number * 7} of the long hall, " + "beside the others " * 20
            tell.send(memory.ingest(text, route=route).record_id)
            if route == "learn":
                memory.consolidate()
    except LedgerError as error:
        tell.send(f"REFUSED {error}")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
@pytest.mark.parametrize("route", ["retrieve", "learn"])
def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path: Path, route: str) -> None:
    """The write that does not fit is refused; those before it are there, and there is room for more later."""
    *acknowledged, refusal = all_told(fill, tmp_path / "memory", route)

    assert refusal.startswith("REFUSED")
    assert "memory" in refusal
    with open_memory(tmp_path / "memory") as memory:
        stored = {record.id for record in memory.list()}
        assert set(acknowledged) <= stored
        assert len(stored - set(acknowledged)) <= 1
        assert memory.doctor()["problems"] == []
        assert memory.ingest("There is room again.").record_id is not None
        assert memory.consolidate().remaining == 0


def learn_too_much(tell: Connection, folder: Path) -> None:
    with open_memory(folder, training={"lora_rank": 256}) as memory:
        memory.ingest("Gate four is painted green.", route="learn")
        limit_files()
        try:
            memory.consolidate()
        except LedgerError as error:
            tell.send(f"REFUSED {error}")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_an_adapter_that_does_not_fit_on_the_disk_leaves_its_records_waiting(folder: Path) -> None:
    """The old version serves, nothing half-written is left, and the next window learns them."""
    (refusal,) = all_told(learn_too_much, folder)

    assert refusal.startswith("REFUSED the adapter could not be written")
    with open_memory(folder) as memory:
        assert len(memory._ledger.pending()) == 2
        assert memory.query(QUESTION).adapters == ("facts-1-v1",)
        assert {path.name for path in (folder / "adapters").glob("*")} == {".locks", "facts-1-v1"}
        assert memory.consolidate().learned == 2


def learn_for_long(tell: Connection, folder: Path) -> None:
    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "train" and done == 3:
            tell.send("TRAINING")

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with Ctrl-C ignored
    with open_memory(folder, training={"min_steps": 2_000}) as memory:
        memory.consolidate(progress=progress)


def test_ctrl_c_during_a_window_keeps_the_queue_and_frees_the_leases(folder: Path) -> None:
    """The old version serves, the record waits, no candidate is left, and the next window takes it at once."""
    learner, told = forked(learn_for_long, folder)
    assert told.recv() == "TRAINING"
    os.kill(learner.pid or 0, signal.SIGINT)
    learner.join(30)
    assert learner.exitcode == 1

    with open_memory(folder) as memory:
        (waiting,) = memory._ledger.pending()
        assert (waiting.text, waiting.learning) == (KEYS, Learning.QUEUED)
        assert memory.query(QUESTION).adapters == ("facts-1-v1",)
        assert not list((folder / "adapters").glob(".candidate*"))
        assert memory.doctor()["problems"] == []
        assert memory.consolidate().learned == 1


def test_settings_with_a_mark_that_ends_a_line_elsewhere_are_exported_whole(tmp_path: Path) -> None:
    """U+2028 inside a canary's text stays inside its string."""
    settings = tmp_path / "memory.toml"
    settings.write_text('[gate]\ncanaries = [["One\u2028two?", "ten"]]\n\n[ledger]\nurl = "x"\n', encoding="utf-8")

    assert tomllib.loads(archive._portable(settings)) == {
        "gate": {"canaries": [["One\u2028two?", "ten"]]},
        "ledger": {},
    }
