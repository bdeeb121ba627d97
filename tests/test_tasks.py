"""Tasks from a few demonstrations: told, learned by an adapter of their own, asked for by name, forgotten."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_flow import REFUSED, SHIFT, learn, open_memory

from hybrid_memory import Answer, Example, Fact, HybridMemory, InputError, NotFoundError, Task
from hybrid_memory.answering.tasks import TaskAnswers
from hybrid_memory.config import AnswerSettings
from hybrid_memory.types import Generation, Mode, Scope, Turn

PAIRS = (Example("1 2\n3 0", "2 1\n0 3"), Example("4  5\r\n0 6", "5 4\n6 0"), Example("1 1\n2 0", "1 1\n0 2"))
MIRROR = Task("mirror", PAIRS)
SHOUT = Task("shout", [Example("cat", "CAT!"), Example("dog", "DOG!")])
QUESTION = "4 5\n0 6"


@pytest.fixture
def memory(tmp_path: Path) -> Any:
    with open_memory(tmp_path) as opened:
        yield opened


def tell(memory: HybridMemory, task: Task = MIRROR, **scope: str) -> str:
    """Ingest a task that the operator vouches for, and return its record's id."""
    return str(memory.ingest(task, trust="operator", **scope).record_id)


class Scripted:
    """A language model that answers a chat by the words of its last turn, and remembers what it was shown."""

    window: int | None = None

    def __init__(self, says: dict[str, str]) -> None:
        self.says = says
        self.chats: list[Sequence[Turn]] = []
        self.adapters: list[str] = []

    def chat_tokens(self, turns: Sequence[Turn]) -> list[int]:
        """A token a letter."""
        return [0 for turn in turns for _ in turn.content]

    def generate(self, chats: Sequence[Sequence[Turn]], *, adapters: Sequence[Any], **_: Any) -> list[Generation]:
        self.chats = list(chats)
        self.adapters = [one.id for one in adapters]
        texts = [self.says.get(chat[-1].content, "?") for chat in chats]
        return [Generation(text=text, prompt_tokens=5, completion_tokens=4, mean_logprob=-1.0) for text in texts]


def asked(
    memory: HybridMemory, says: dict[str, str], question: str, mode: Mode = Mode.HYBRID
) -> tuple[Answer, Scripted]:
    """Put a question to the mirror task of a memory, answered by a scripted model."""
    lm = Scripted(says)
    answers = TaskAnswers(memory._ledger, lambda: lm, AnswerSettings())  # type: ignore[arg-type, return-value]
    options: dict[str, Any] = {"as_of": None, "max_new_tokens": None, "on_text": None, "progress": None}
    return answers.answer("mirror", [question], scope=Scope(), mode=mode, **options)[0], lm


# ------------------------------------------------------------ telling


def test_demonstrations_are_kept_letter_by_letter(memory: HybridMemory) -> None:
    """Blanks and line ends are part of a grid; a demonstration that is given twice is kept once."""
    record = memory.get(tell(memory, Task("mirror", [*PAIRS, PAIRS[0]])))

    assert record.examples == PAIRS
    assert record.kind == "task"
    assert record.slot is not None
    assert record.slot.subject == "mirror"


def test_a_task_told_again_is_the_same_record(memory: HybridMemory) -> None:
    """Whatever sequence its demonstrations came in."""
    first = tell(memory)

    assert memory.ingest(Task("mirror", list(PAIRS)), trust="operator").record_id == first
    assert len(memory.list()) == 1


def test_a_task_told_with_others_replaces_what_was_told_before(memory: HybridMemory) -> None:
    """In its scope, however its name is typed; the adapter of the old one answers no more, at once."""
    old = tell(memory)
    memory.consolidate()

    new = memory.ingest(Task("  Mirror ", PAIRS[:2]), trust="operator")
    between = memory.query(QUESTION, task="mirror")
    memory.consolidate()
    after = memory.query(QUESTION, task="mirror")

    assert new.superseded == (old,)
    assert (between.adapters, between.shown) == ((), (new.record_id,))
    assert "waits for the next window" in between.trace[0]
    assert after.adapters == ("tasks-1-v2",)
    assert [version.record_ids for version in memory.adapters.list() if version.status == "active"] == [
        (new.record_id,)
    ]


def test_a_task_is_corrected_by_update(memory: HybridMemory) -> None:
    """As any other record."""
    changed = memory.update(tell(memory), Task("mirror", PAIRS[1:]))

    assert changed.examples == PAIRS[1:]
    assert [record.id for record in memory.list()] == [changed.id]


@pytest.mark.parametrize(
    ("name", "pairs", "message"),
    [
        ("", PAIRS, "the task's name is empty"),
        ("a\nb", PAIRS, "one line of up to 64 characters"),
        ("a" * 65, PAIRS, "one line of up to 64 characters"),
        (7, PAIRS, "a task's name is text, got 7"),
        ("m", PAIRS[:1], "at least two different demonstrations, got 1"),
        ("m", [PAIRS[0], PAIRS[0]], "at least two different demonstrations, got 1"),
        ("m", [PAIRS[0], Example(PAIRS[0].prompt, "9")], "keep the demonstration that is right"),
        ("m", [PAIRS[0], Example("", "9")], "the prompt of demonstration 1 of task 'm' is empty"),
        ("m", [PAIRS[0], Example("9", " \n")], "the response of demonstration 1 of task 'm' is empty"),
        ("m", [PAIRS[0], Example("9\u200b", "9")], "characters that nobody can see"),
        ("m", [PAIRS[0], Example("9", None)], "is None; give it some text"),
        ("m", [PAIRS[0], Example("9" * 8000, "9")], "accepted are up to 8000"),
        ("m", PAIRS[0], "is shown by a list of Example"),
        ("m", [("1", "2"), ("3", "4")], "is shown by a list of Example"),
    ],
)
def test_what_is_no_task_is_refused_with_its_reason(memory: HybridMemory, name: Any, pairs: Any, message: str) -> None:
    """And nothing is stored."""
    with pytest.raises(InputError, match=message):
        memory.ingest(Task(name, pairs))

    assert memory.list() == []


def test_a_fact_cannot_take_the_place_of_a_task(memory: HybridMemory) -> None:
    """The slot that a task fills is its own."""
    with pytest.raises(InputError, match="is kept for tasks"):
        memory.ingest(Fact("mirror", "(Task)", "yes"))


def test_a_line_of_a_file_tells_a_task(memory: HybridMemory, tmp_path: Path) -> None:
    """A file is nobody's word, so it is learned when somebody vouches for it."""
    shown = [{"prompt": one.prompt, "response": one.response} for one in PAIRS]
    file = tmp_path / "tasks.jsonl"
    file.write_text(json.dumps({"name": "mirror", "demonstrations": shown}), encoding="utf-8")

    receipt = memory.ingest(file, trust="operator")

    assert memory.get(str(receipt.record_id)).examples == PAIRS
    assert receipt.route == "learn"


def test_a_task_goes_from_one_memory_to_another(memory: HybridMemory, tmp_path: Path) -> None:
    """By the JSON of its record."""
    row = memory.get(tell(memory)).to_json()

    with open_memory(tmp_path / "other") as other:
        other.import_from([row], "jsonl")

        assert other.list()[0].examples == PAIRS


# ------------------------------------------------------------ beside everything else


def test_no_search_finds_a_task(memory: HybridMemory) -> None:
    """Not even one that asks for tasks; listing shows them."""
    record_id = tell(memory)

    assert memory.search("1 2 3 0 mirror") == []
    assert memory.search("mirror", filters={"kind": "task"}) == []
    assert [record.id for record in memory.list(filters={"kind": "task"})] == [record_id]


def test_a_search_that_has_run_before_finds_no_task_either(memory: HybridMemory) -> None:
    """What is known of a selection is only brought up to date."""
    memory.ingest(SHIFT)
    memory.search("shift")
    tell(memory)

    assert [hit.text for hit in memory.search("Input 1 2 mirror shift")] == [SHIFT]


def test_the_adapter_of_a_task_answers_no_ordinary_question(memory: HybridMemory) -> None:
    """However near its demonstrations are."""
    tell(memory, SHOUT)
    memory.consolidate()

    answer = memory.query("Task shout Input: cat Output: CAT! Input: dog Output: DOG!")

    assert (answer.adapters, answer.sources) == ((), ())


def test_other_adapters_and_evidence_have_no_part_in_a_task(memory: HybridMemory) -> None:
    """Facts, examples and tasks that lie nearest to the question stay out."""
    learn(memory, SHIFT)
    memory.ingest(Example("cat", "a pet"), trust="operator")
    tell(memory, SHOUT)
    tell(memory)
    memory.consolidate()

    answer = memory.query("cat", task="shout")
    spoke = {version.id: version.record_ids for version in memory.adapters.list()}

    assert [spoke[name] for name in answer.adapters] == [(answer.sources[0].id,)]
    assert [hit.record.slot.subject for hit in answer.sources if hit.record.slot] == ["shout"]


def test_a_replay_leaves_tasks_out(memory: HybridMemory) -> None:
    """No question of it could reach one, whatever its demonstrations say."""
    tell(memory, SHOUT)

    with pytest.raises(InputError, match="no record says"):
        memory.benchmark([Example("What does the cat say?", "CAT!")], windows=1)


def test_a_user_sees_the_organisations_tasks_and_their_own_first(memory: HybridMemory) -> None:
    """And nobody else's."""
    tell(memory)
    own = tell(memory, Task("mirror", PAIRS[:2]), user_id="ann")
    tell(memory, SHOUT, user_id="ben")

    assert memory.query(QUESTION, task="mirror", user_id="ann").sources[0].id == own
    assert memory.query(QUESTION, task="mirror", user_id="ben").sources[0].id != own
    with pytest.raises(NotFoundError, match="has no task 'shout'; it has mirror"):
        memory.query("cat", task="shout", user_id="ann")


# ------------------------------------------------------------ answering


def test_before_it_is_learned_a_task_is_answered_in_context(memory: HybridMemory) -> None:
    """The demonstrations are chat turns before the question, as they were told."""
    tell(memory)

    answer, lm = asked(memory, {QUESTION: "5 4\n6 0"}, QUESTION)

    turns = [turn for one in PAIRS for turn in (Turn("user", one.prompt), Turn("assistant", one.response))]
    assert lm.chats == [(*turns, Turn("user", QUESTION))]
    assert (answer.text, answer.adapters, answer.vote) == ("5 4\n6 0", (), {})


def test_a_learned_task_is_answered_by_a_vote_over_its_views(memory: HybridMemory) -> None:
    """45/06 in the mirror is 54/60, upside down 06/45, both ways 60/54; three of four give 54/60, turned back."""
    tell(memory)
    memory.consolidate()

    said = {"45\n06": "99\n99", "54\n60": "45\n06", "06\n45": "60\n54", "60\n54": "06\n45"}
    answer, lm = asked(memory, said, QUESTION)

    assert [chat[-1].content for chat in lm.chats] == ["45\n06", "54\n60", "06\n45", "60\n54"]
    assert {len(chat) for chat in lm.chats} == {1}
    assert lm.adapters == ["tasks-1-v1"]
    assert answer.text == "5 4\n6 0"
    assert answer.vote == {"5 4\n6 0": 0.75, "9 9\n9 9": 0.25}
    assert (answer.prompt_tokens, answer.completion_tokens) == (20, 16)


def test_a_question_that_is_no_grid_has_one_side(memory: HybridMemory) -> None:
    """There is nothing to turn, and nothing to vote about."""
    tell(memory)
    memory.consolidate()

    answer, lm = asked(memory, {"what?": "nothing"}, "what?")

    assert len(lm.chats) == 1
    assert (answer.text, answer.vote) == ("nothing", {})


def test_the_control_leaves_the_weights_out(memory: HybridMemory) -> None:
    """In-context learning beside the adapter, by the mode."""
    tell(memory)
    memory.consolidate()

    answer, lm = asked(memory, {}, QUESTION, Mode.RETRIEVAL_ONLY)

    assert (lm.adapters, len(lm.chats[0]), answer.vote) == ([], 7, {})


def test_weights_only_shows_no_demonstration(memory: HybridMemory) -> None:
    """Before the task is learned that is the bare model."""
    tell(memory)

    answer, lm = asked(memory, {}, QUESTION, Mode.WEIGHTS_ONLY)

    assert lm.chats == [(Turn("user", QUESTION),)]
    assert answer.shown == ()


def test_words_are_learned_from_the_front_only(memory: HybridMemory) -> None:
    """A task need not be one of grids."""
    tell(memory, SHOUT)
    report = memory.consolidate()

    answers = memory.query_many(["cow", "hen"], task="SHOUT")

    assert report.shards[0].items == 2
    assert [answer.adapters for answer in answers] == [("tasks-1-v1",)] * 2
    assert [answer.vote for answer in answers] == [{}, {}]


def test_an_answer_to_a_task_streams(memory: HybridMemory) -> None:
    """In context as it is written, voted when it stands."""
    tell(memory)
    for _ in range(2):
        stream = memory.query(QUESTION, task="mirror", stream=True)

        assert "".join(stream) == stream.answer.text
        memory.consolidate()


def test_as_of_answers_from_the_task_as_it_was_told_then(memory: HybridMemory) -> None:
    """In context: the weights know only the present."""
    old = memory.ingest(MIRROR, trust="operator", valid_from="2026-01-01T00:00:00Z").record_id
    memory.ingest(Task("mirror", PAIRS[:2]), trust="operator", valid_from="2026-02-01T00:00:00Z")
    memory.consolidate()

    then = memory.query(QUESTION, task="mirror", as_of="2026-01-15T00:00:00Z")

    assert (then.shown, then.adapters) == ((old,), ())


@pytest.mark.parametrize("given", [{"filters": {"source": "wiki"}}, {"passages": 2}])
def test_what_is_said_about_evidence_has_no_place_beside_a_task(memory: HybridMemory, given: Any) -> None:
    """It would be ignored."""
    tell(memory)

    for ask in (memory.query, memory.context):
        with pytest.raises(InputError, match="leave filters, passages and neighbours out"):
            ask(QUESTION, task="mirror", **given)


@pytest.mark.parametrize("learned", [False, True])
def test_a_model_of_ones_own_gets_the_demonstrations_learned_or_not(memory: HybridMemory, learned: bool) -> None:
    """It has no adapter; the one that query would answer with is named."""
    record_id = tell(memory)
    if learned:
        memory.consolidate()

    found = memory.context(QUESTION, task="mirror")

    turns = [turn for one in PAIRS for turn in (Turn("user", one.prompt), Turn("assistant", one.response))]
    assert found.messages == (*turns, Turn("user", QUESTION))
    assert (found.adapters, found.shown) == (("tasks-1-v1",) if learned else (), (record_id,))
    assert found.trace[0] == "3 demonstrations stand in the context"


def test_the_context_of_a_task_by_weights_only_is_what_its_adapter_reads(memory: HybridMemory) -> None:
    """A grid in the one form that it has studied."""
    tell(memory)
    memory.consolidate()

    found = memory.context(QUESTION, task="mirror", mode="weights_only")

    assert (found.messages, found.adapters, found.shown) == ((Turn("user", "45\n06"),), ("tasks-1-v1",), ())


def test_the_context_of_a_task_that_nobody_told_is_not_found(memory: HybridMemory) -> None:
    """As its answer."""
    with pytest.raises(NotFoundError, match="has no task 'mirror'"):
        memory.context(QUESTION, task="mirror")


@pytest.mark.parametrize("task", ["", " ", 3])
def test_a_task_is_named_by_a_text(memory: HybridMemory, task: Any) -> None:
    """Anything else is said to be none."""
    with pytest.raises(InputError, match="task is a name"):
        memory.query(QUESTION, task=task)


def test_a_task_that_nobody_told_is_not_found(memory: HybridMemory) -> None:
    """The message says what there is."""
    with pytest.raises(NotFoundError, match="has no task 'mirror'; it has none"):
        memory.query(QUESTION, task="mirror")


@pytest.mark.parametrize("learned", [False, True])
def test_an_answer_to_a_task_is_explained(memory: HybridMemory, learned: bool) -> None:
    """By what stood in its prompt or wrote it: the demonstrations, or the adapter."""
    record_id = tell(memory)
    if learned:
        memory.consolidate()

    found = memory.explain(memory.query(QUESTION, task="mirror"))

    assert (list(found.sources), list(found.adapters)) == (([], ["tasks-1-v1"]) if learned else ([record_id], []))


def test_a_verdict_on_an_answer_to_a_task_belongs_into_the_task(memory: HybridMemory) -> None:
    """An example of its own would be near to other questions, and the task would not know it."""
    tell(memory)
    answer = memory.query(QUESTION, task="mirror")

    with pytest.raises(InputError, match="ingest the Task again"):
        memory.feedback(answer.id, correction="5 4\n6 0")


# ------------------------------------------------------------ learning and forgetting


def test_every_task_has_a_shard_of_its_own(memory: HybridMemory) -> None:
    """Facts and examples are elsewhere."""
    told = {tell(memory), tell(memory, SHOUT)}
    learn(memory, SHIFT)

    report = memory.consolidate()

    learned = {shard.shard_id: set(shard.learned) for shard in report.shards if shard.group == "tasks"}
    assert set(learned) == {"tasks-1", "tasks-2"}
    assert set.union(*learned.values()) == told


def test_a_task_that_the_gate_refuses_is_answered_in_context(tmp_path: Path) -> None:
    """Its record says why it was declined."""
    with open_memory(tmp_path, **REFUSED) as memory:
        record_id = tell(memory)
        report = memory.consolidate()
        answer = memory.query(QUESTION, task="mirror")

        assert report.declined == 1
        assert "refused after" in memory.get(record_id).learning_detail
        assert (answer.adapters, answer.shown) == ((), (record_id,))
        assert "it was declined (refused after" in answer.trace[0]


def test_a_forgotten_task_is_gone_from_everything(memory: HybridMemory, tmp_path: Path) -> None:
    """Record, study material, adapter, logged answers: no file has its demonstrations any more."""
    record_id = tell(memory, Task("mirror", [Example("blue heron", "nine"), Example("grey heron", "four")]))
    memory.consolidate()
    memory.query("red heron", task="mirror")

    receipt = memory.forget(record_id, weights="now")

    assert receipt.weights["state"] == "rebuilt"
    assert memory.query_many([], task="mirror") == []
    with pytest.raises(NotFoundError, match="has no task"):
        memory.query("red heron", task="mirror")
    with pytest.raises(InputError, match="forgotten"):
        memory.ingest(Task("mirror", [Example("blue heron", "nine"), Example("grey heron", "four")]))
    memory.close()
    assert [file for file in tmp_path.rglob("*") if file.is_file() and b"heron" in file.read_bytes()] == []
