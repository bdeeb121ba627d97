"""Prompts that are longer than the model's context window: what is left out, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from records import record
from tiny_flow import open_memory

from hybrid_memory import Example, HybridMemory, InputError, Preference, Task
from hybrid_memory.answering.attribution import as_hit
from hybrid_memory.answering.fitting import Room, fitted
from hybrid_memory.answering.prompting import prompt
from hybrid_memory.types import Kind, Turn

CLOCK = "The lighthouse keeper winds the clock of the tower on every morning of the week before the first boat."
QUESTION = "What does the lighthouse keeper wind in the tower?"
WINDOW = 1024
"""Of the tiny model, for which a letter is a token."""


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[HybridMemory]:
    with open_memory(tmp_path) as opened:
        yield opened


def clock(memory: HybridMemory, **stamp: Any) -> list[str]:
    """Tell twelve facts of about 115 letters about the keeper, and return their ids."""
    texts = (f"{CLOCK[:-1]} from pier {number}." for number in range(12))
    return [str(memory.ingest(text, **stamp).record_id) for text in texts]


# ------------------------------------------------------------ what goes first


def words(chat: Sequence[Turn]) -> int:
    return sum(len(turn.content.split()) for turn in chat)


BEST, SECOND, BESIDE = (as_hit(record(text, id=text[:4])) for text in ("best one", "next one", "near one"))
HITS = (BEST, replace(BESIDE, beside="best"), SECOND)
RULES = (record("newest rule", id="new", kind=Kind.PREFERENCE), record("oldest rule", id="old", kind=Kind.PREFERENCE))


@pytest.mark.parametrize(
    ("fewer", "shown", "stated"),
    [
        (0, ["best one", "near one", "next one"], ["newest rule", "oldest rule"]),
        (1, ["best one", "next one"], ["newest rule", "oldest rule"]),
        (4, ["best one"], ["newest rule", "oldest rule"]),
        (7, ["best one"], ["newest rule"]),
        (9, ["best one"], []),
        (11, [], []),
    ],
)
def test_neighbours_go_first_then_passages_then_rules_and_the_best_passage_last(
    fewer: int, shown: list[str], stated: list[str]
) -> None:
    """Each passage has three words in the prompt ("Fact: best one"), each rule two; the best is never left alone."""
    whole = words(prompt("Why?", HITS, RULES, dated="never"))
    room = Room(tokens=whole - fewer, count=words, reason="little room", way_on="shorten it")

    kept = fitted("Why?", HITS, RULES, room, dated="never")

    assert [hit.text for hit in kept.hits] == shown
    assert [rule.text for rule in kept.rules] == stated
    assert kept.turns == prompt("Why?", kept.hits, kept.rules, dated="never")
    assert bool(kept.trace) == bool(fewer)


def test_the_trace_counts_what_was_left_out() -> None:
    """And says why."""
    room = Room(tokens=1, count=words, reason="little room", way_on="shorten it")

    assert fitted("Why?", HITS, RULES, room, dated="never").trace == (
        "3 of 3 passages and 2 of 2 rules left out: little room",
    )


# ------------------------------------------------------------ questions


def test_an_answer_is_written_in_the_window_from_the_best_passages(memory: HybridMemory) -> None:
    """Twelve passages of 115 tokens do not fit into 1,024, of which the answer may take 8."""
    clock(memory)

    answer = memory.query(QUESTION, passages=12)

    assert answer.prompt_tokens + 8 < WINDOW < answer.prompt_tokens + 8 + 140
    assert 0 < len(answer.shown) < 12 == len(answer.sources)
    assert answer.shown == tuple(hit.id for hit in answer.sources[: len(answer.shown)])
    left = 12 - len(answer.shown)
    assert f"{left} of 12 passages left out: the model's window of 1024 tokens, of which the answer may take 8" in (
        answer.trace
    )
    assert set(memory.explain(answer).sources) == set(answer.shown)


def test_a_preference_outlasts_all_passages_but_the_best(memory: HybridMemory) -> None:
    """It says how to answer, whatever is found."""
    memory.ingest(Preference(f'{"Mind the keeper. " * 40} End every answer with "Ahoy."'), route="retrieve")
    clock(memory)

    answer = memory.query(QUESTION, passages=12)

    assert len(answer.shown) < 3
    assert any("passages left out" in line for line in answer.trace)
    assert not any("rules left out" in line for line in answer.trace)


def test_demonstrations_that_do_not_fit_are_left_out_too(memory: HybridMemory) -> None:
    """The nearest to the question stay; answers of free form are no labels."""
    memory.ingest_many(Example(f"The lamp of gate {n} is out {'again ' * 40}", f"Answer {n}.") for n in range(6))

    answer = memory.query("The lamp of gate 3 is out again")

    assert answer.vote == {}
    assert 0 < len(answer.shown) < len(answer.sources)
    assert answer.prompt_tokens + 8 < WINDOW


def test_a_context_is_cut_to_the_tokens_that_the_caller_has(memory: HybridMemory) -> None:
    """Its own model may read more than this memory's, or cost more; without a limit nothing is left out."""
    clock(memory)

    whole, short = (memory.context(QUESTION, passages=12, max_tokens=most) for most in (None, 500))

    assert [len(one.sources) for one in (whole, short)] == [12, 12]
    assert len(whole.shown) == 12
    assert 0 < len(short.shown) < 4
    assert short.messages[-1].content.count("Fact: ") == len(short.shown)
    assert f"{12 - len(short.shown)} of 12 passages left out: max_tokens=500" in short.trace
    with pytest.raises(InputError, match="too many for max_tokens=20; shorten it, or raise max_tokens"):
        memory.context(QUESTION, max_tokens=20)
    with pytest.raises(InputError, match="max_tokens must be a whole number of 1 or more, got 0"):
        memory.context(QUESTION, max_tokens=0)


@pytest.mark.parametrize(("question", "longest"), [("why " * 300, None), ("Why?", 5000)])
def test_a_question_that_does_not_fit_is_refused(memory: HybridMemory, question: str, longest: int | None) -> None:
    """It is never cut; the message says how long it is, what there is room for, and how to go on."""
    clock(memory)

    with pytest.raises(InputError, match=r"question has \d+ tokens, too many for the model's window of 1024 tokens"):
        memory.query(question, max_new_tokens=longest)
    with pytest.raises(InputError, match="shorten it, lower max_new_tokens, or take a model with a longer window"):
        list(memory.query(question, max_new_tokens=longest, stream=True))


def test_a_label_is_chosen_however_long_its_examples_are(memory: HybridMemory) -> None:
    """No prompt has them, so nothing is left out."""
    memory.ingest_many(Example(f"The lamp of gate {n} is out {'again ' * 60}", "K4") for n in range(6))

    answer = memory.query("The lamp of gate 3 is out again")

    assert answer.text == "K4"
    assert not any("left out:" in line for line in answer.trace)


def test_the_neighbours_alone_label_a_question_that_is_too_long_for_the_adapter(memory: HybridMemory) -> None:
    """Who sends a whole letter to be labelled need not cut it."""
    memory.ingest_many(
        [Example(f"The lamp of gate {n} is out again", ("K4", "K7")[n % 2]) for n in range(8)], trust="operator"
    )
    memory.consolidate()
    short = memory.query("The lamp of gate 3 is out again", filters={"kind": "example"})

    answer = memory.query("The lamp of gate 3 is out again " * 50, filters={"kind": "example"})

    assert (short.adapters, answer.adapters) == (("examples-1-v1",), ())
    assert set(answer.vote) == {"K4", "K7"}
    assert any("examples-1-v1 left out: the question is too long" in line for line in answer.trace)


# ------------------------------------------------------------ tasks


def test_the_first_demonstrations_of_a_task_are_left_out_of_a_prompt_that_is_too_long(memory: HybridMemory) -> None:
    """Nine of 120 letters do not fit into 1,024; the last ones stand next to the question."""
    shown = [Example(f"{n} {'high ' * 20}", f"{n} low") for n in range(9)]
    memory.ingest(Task("sink", shown), trust="operator")

    answer = memory.query("9 high", task="sink")

    assert answer.prompt_tokens + 8 < WINDOW
    assert answer.shown == (answer.sources[0].id,)
    assert any("of 9 demonstrations left out: the model's window of 1024 tokens" in line for line in answer.trace)
    assert set(memory.explain(answer).sources) == set(answer.shown)


def test_without_room_for_one_demonstration_a_task_says_so(memory: HybridMemory) -> None:
    """And the bare model answers."""
    memory.ingest(Task("sink", [Example(f"{n} {'high ' * 300}", f"{n} low") for n in range(2)]), trust="operator")

    answer = memory.query("9 high", task="sink")

    assert answer.shown == ()
    assert any("2 of 2 demonstrations left out" in line for line in answer.trace)


def test_the_context_of_a_task_is_cut_likewise(memory: HybridMemory) -> None:
    """From the first demonstration on."""
    shown = [Example(f"{n} {'high ' * 20}".strip(), f"{n} low") for n in range(9)]
    memory.ingest(Task("sink", shown), trust="operator")

    found = memory.context("9 high", task="sink", max_tokens=200)

    assert [turn.content for turn in found.messages] == [shown[8].prompt, "8 low", "9 high"]
    assert "8 of 9 demonstrations left out: max_tokens=200" in found.trace


def test_a_question_to_a_task_that_does_not_fit_is_refused(memory: HybridMemory) -> None:
    """As any other."""
    memory.ingest(Task("sink", [Example("1 high", "1 low"), Example("2 high", "2 low")]), trust="operator")

    with pytest.raises(InputError, match="too many for the model's window of 1024 tokens"):
        memory.query("high " * 300, task="sink")
