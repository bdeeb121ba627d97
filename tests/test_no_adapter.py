"""Why no adapter had a part in an answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_flow import LAMPS, REFUSED, SHIFT, learn, open_memory

from hybrid_memory import Example, HybridMemory, Task

QUESTION = "When does the night shift at the harbour office start?"
NONE_SERVES = "no shard of facts or examples serves this scope"


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[HybridMemory]:
    with open_memory(tmp_path) as opened:
        yield opened


def test_an_answer_with_an_adapter_has_no_reason(memory: HybridMemory) -> None:
    """There is nothing to explain."""
    learn(memory, SHIFT)
    memory.consolidate()

    answer = memory.query(QUESTION)

    assert (answer.adapters, answer.no_adapter) == (("facts-1-v1",), "")


def test_what_is_known_says_how_far_it_is_on_its_way(memory: HybridMemory) -> None:
    """Queued, or not to be learned; in the trace, and in that of a context, too."""
    memory.ingest(LAMPS, route="retrieve")
    learn(memory, SHIFT)

    queued, looked_up, unknown = memory.query_many([QUESTION, "Who mends broken lamps in the east wing?", "Ahoy?"])

    assert queued.no_adapter == f"{NONE_SERVES}; the best evidence waits for the next window"
    assert looked_up.no_adapter == f"{NONE_SERVES}; the best evidence is not to be learned"
    assert unknown.no_adapter == NONE_SERVES
    assert queued.no_adapter in queued.trace
    assert queued.no_adapter in memory.context(QUESTION).trace


def test_what_was_declined_says_why(tmp_path: Path) -> None:
    """With the gate's own words."""
    with open_memory(tmp_path, **REFUSED) as memory:
        (record,) = learn(memory, SHIFT)
        memory.consolidate()

        assert f"was declined ({memory.get(record).learning_detail})" in memory.query(QUESTION).no_adapter


def test_what_is_learned_and_switched_off_says_so(memory: HybridMemory) -> None:
    """It comes back by a rollback."""
    learn(memory, SHIFT)
    memory.consolidate()
    memory.adapters.disable("facts-1")

    assert memory.query(QUESTION).no_adapter == (
        f"{NONE_SERVES}; the best evidence is learned, but its adapter does not serve"
    )


def test_who_leaves_the_weights_out_is_told_so(memory: HybridMemory) -> None:
    """By the mode, or by asking for the past."""
    learn(memory, SHIFT)
    memory.consolidate()

    control = memory.query(QUESTION, mode="retrieval_only")
    past = memory.query(QUESTION, as_of="2026-01-01T00:00:00Z")

    assert control.no_adapter == "weights are left out: the mode is retrieval_only"
    assert past.no_adapter.startswith("weights are left out: the past is asked for")


def test_examples_that_agree_ask_no_adapter(memory: HybridMemory) -> None:
    """There is no other label to choose."""
    memory.ingest_many([Example(f"The lamp of gate {n} is out", "K4") for n in range(4)], trust="operator")
    memory.consolidate()

    answer = memory.query("The lamp of gate 3 is out", filters={"kind": "example"})

    assert answer.no_adapter == "examples-1-v1 was not asked for the label: the nearest examples agree"


def test_a_task_says_so_too(memory: HybridMemory) -> None:
    """Before the window, not after it."""
    memory.ingest(Task("shout", [Example("cat", "CAT!"), Example("dog", "DOG!")]), trust="operator")
    before = memory.query("cow", task="shout")
    memory.consolidate()

    assert "waits for the next window" in before.no_adapter
    assert memory.query("cow", task="shout").no_adapter == ""
