"""The outer loop: sample, reward, select, train the generator, gate it; and go on after a kill."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_flow import FAST

from hybrid_memory import HybridMemory
from hybrid_memory.config import OuterLoopSettings, TrainingSettings
from hybrid_memory.errors import InputError, LedgerError
from hybrid_memory.ledger.ledger import SqlLedger
from hybrid_memory.protocols import GeneratorTrainer
from hybrid_memory.selfedit.journal import Journal
from hybrid_memory.selfedit.lessons import read_lessons
from hybrid_memory.selfedit.outer_loop import OuterLoop, serving_generator
from hybrid_memory.selfedit.proposals import Proposal, read_pairs
from hybrid_memory.selfedit.rewards import Rewarder, rubric
from hybrid_memory.testing import open_tiny_memory, tiny_language_model
from hybrid_memory.types import AdapterVersion, Example, Generation, Lesson, StudyItem, Turn
from hybrid_memory.weights.stacked import StackedTrainer
from hybrid_memory.weights.store import FolderAdapterStore
from hybrid_memory.weights.trainer import LoraTrainer

NAMES = ("Ann", "Bea", "Cid", "Dan", "Eve", "Flo", "Gus", "Hal")
LESSONS = [
    Lesson(text=f"{name} mends the lamp of house {name}.", questions=(Example("Who mends it?", name),))
    for name in NAMES
]
GOOD = "Q: Who mends the lamp?\nA: {name}\nQ: Which lamp is mended?\nA: lamp of house {name}"
POOR = "Q: Who mends the lamp?\nA: {name}"


def said(text: str) -> Generation:
    return Generation(text=text, prompt_tokens=1, completion_tokens=1, mean_logprob=-1.0)


class Writer:
    """A language model that writes good self-edits more often once an adapter is on.

    It is the tiny model in everything else, so adapters are really trained and stored.
    """

    def __init__(self, *, learns: bool = True, base: int = 0) -> None:
        self.real = tiny_language_model(base)
        self.fingerprint = self.real.fingerprint
        self.learns = learns
        self.written = 0
        self.scored = 0
        self.late_s = 0.0

    def generate(
        self, prompts: Sequence[Sequence[Turn]], *, adapters: Sequence[AdapterVersion] = (), **_: Any
    ) -> list[Generation]:
        self.written += len(prompts)
        time.sleep(self.late_s)
        name = next(name for name in NAMES if name in prompts[0][-1].content)
        good = len(prompts) if adapters and self.learns else 1
        texts = [GOOD if number < good else POOR if number < 3 else "I do not know." for number in range(len(prompts))]
        return [said(text.format(name=name)) for text in texts]

    def score(self, pairs: Sequence[tuple[Sequence[Turn], str]], **_: Any) -> list[float]:
        self.scored += len(pairs)
        return [-5.0] * len(pairs)

    def release(self, adapter_id: str) -> None:
        self.real.release(adapter_id)


class Counting:
    """A candidate trainer whose candidates answer the better the more questions they studied: -5 + 1 each."""

    def train(self, candidates: Sequence[Sequence[StudyItem]], **_: Any) -> Counted:
        return Counted([sum(item.form == "self-qa" for item in items) for items in candidates])


class Counted:
    def __init__(self, questions: list[int]) -> None:
        self.questions = questions
        self.reports = [{"tokens": 10, "failure": "nan" if count < 0 else ""} for count in questions]

    def score(self, pairs: Sequence[object]) -> list[list[float]]:
        return [[-5.0 + count] * len(pairs) for count in self.questions]

    def generate(self, prompts: Sequence[Sequence[object]], *, max_new_tokens: int) -> list[list[Generation]]:
        return [
            [said("Ann" if count else "?")] * len(chats) for count, chats in zip(self.questions, prompts, strict=True)
        ]


class Desk:
    """A folder in which outer loops are run, and what they left there."""

    def __init__(self, folder: Path, name: str = "l.sqlite") -> None:
        torch.set_num_threads(1)
        self.folder = folder
        self.ledger = SqlLedger.open(f"sqlite:///{folder / name}", lock_path=folder / "w.lock", lock_timeout_s=5)
        self.store = FolderAdapterStore(folder / "adapters")

    def loop(
        self, writer: Writer, *, steps: int = 1, training: dict[str, Any] | None = None, **given: Any
    ) -> OuterLoop:
        settings = TrainingSettings(epochs=1, min_steps=steps, lora_rank=2, **(training or {}))
        return OuterLoop(
            language_model=writer,  # type: ignore[arg-type]  # what the loop does not ask for is left out
            candidates=Counting(),
            trainer=LoraTrainer(writer.real, settings),
            ledger=self.ledger,
            store=self.store,
            folder=self.folder / "outer_loop",
            settings=OuterLoopSettings(**{"samples": 4, "epochs": 1, **given}),
            seed=0,
            recipe=settings.model_dump(mode="json"),
            provenance={"settings": "test"},
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


# ------------------------------------------------------------ a round


def test_a_generator_of_few_winners_is_trained_for_the_least_steps(desk: Desk) -> None:
    """Six winners are one batch: an epoch would be one step, all of it warm-up."""
    desk.loop(Writer(), steps=7).run(LESSONS)

    (version,) = desk.ledger.versions()
    training: Any = version.manifest["training"]
    assert (training["rows"], training["steps"]) == (6, 7)


def test_a_better_generator_is_promoted(desk: Desk) -> None:
    """Of 8 lessons 2 are held out; there the mean of rewards 2, 1, 1, 0 becomes that of 2, 2, 2, 2."""
    loop: GeneratorTrainer = desk.loop(Writer())

    report = loop.run(LESSONS)

    (one,) = report.rounds
    assert (one.version, one.promoted, one.winners) == ("generator-v1", True, 6)
    assert (one.mean_reward, one.best_reward) == (1.0, 2.0)
    assert (one.held_out_before, one.held_out_after) == (1.0, 2.0)
    assert one.refused == 6
    assert one.reason == "mean reward on 2 held-out passages went from 1.000 to 2.000"
    assert report.serving == "generator-v1"


def test_a_generator_that_is_no_better_is_rejected(desk: Desk) -> None:
    """Nothing serves, and the reason is kept."""
    report = desk.loop(Writer(learns=False)).run(LESSONS)

    assert (report.serving, report.rounds[0].promoted) == (None, False)
    assert [version.status.value for version in desk.ledger.versions()] == ["rejected"]
    assert report.rounds[0].reason.endswith("went from 1.000 to 1.000")


def test_the_generator_is_trained_on_the_best_sample_of_each_passage(desk: Desk) -> None:
    """Once per passage, in the form in which it is asked for."""
    seen: list[StudyItem] = []
    loop = desk.loop(Writer())
    train = loop._trainer.train

    def watched(items: Sequence[StudyItem], **given: Any) -> Any:
        seen.extend(items)
        return train(items, **given)

    loop._trainer.train = watched  # type: ignore[method-assign]
    loop.run(LESSONS)

    assert sorted(item.response for item in seen) == sorted(GOOD.format(name=name) for name in NAMES[:6])
    assert all(item.prompt.startswith("Write questions about the text") and item.shots for item in seen)


def test_the_second_round_samples_with_the_generator_of_the_first(desk: Desk) -> None:
    """And begins from the base again: its winners are those of both rounds."""
    report = desk.loop(Writer()).run(LESSONS, rounds=2)

    first, second = report.rounds
    assert (first.mean_reward, second.mean_reward) == (1.0, 2.0)
    assert (second.version, second.promoted) == ("generator-v2", False)
    assert report.serving == "generator-v1"


def test_without_a_winner_nothing_is_trained(desk: Desk) -> None:
    """Every sample is refused: the report says what to try."""
    writer = Writer()
    writer.generate = lambda prompts, **_: [said("So.")] * len(prompts)  # type: ignore[method-assign]

    report = desk.loop(writer).run(LESSONS)

    assert (report.rounds[0].version, report.rounds[0].refused, report.serving) == (None, 24, None)
    assert "try more samples" in report.summary


def test_the_generators_shard_is_not_due_and_serves_no_question(desk: Desk) -> None:
    """It is clean, has no records, and lies apart from what answers."""
    desk.loop(Writer()).run(LESSONS)

    (shard,) = desk.ledger.shards()
    version = serving_generator(desk.ledger, desk.store, base=tiny_language_model().fingerprint)
    assert (shard.group, shard.dirty, shard.active) == ("generator", False, "generator-v1")
    assert version is not None
    assert version.record_ids == ()
    assert version.manifest["settings"] == "test"


# ------------------------------------------------------------ what cannot be learned from


def test_a_lesson_that_is_too_long_is_left_out_before_anything_is_sampled(desk: Desk) -> None:
    """Its 1,100 letters are as many tokens here, and 1,024 are accepted; the others are learned from."""
    writer = Writer()
    long = Lesson(text="Ann mends. " * 100, questions=(Example("Who mends?", "Ann"),))

    report = desk.loop(writer).run([long, *LESSONS])

    ((name, reason),) = report.left_out.items()
    assert name == "lesson 1 (Ann mends. Ann mends. Ann mends. Ann men…)"
    assert "at most 1024 are accepted; split the text, or raise training.max_tokens" in reason
    assert "1 lesson left out" in report.summary
    assert (report.serving, writer.written) == ("generator-v1", 4 * (8 + 2))


@pytest.mark.parametrize("questions", [(), (Example("Who?", " "),), (Example("", "Ann"),)])
def test_a_lesson_without_a_whole_question_is_left_out(desk: Desk, questions: tuple[Example, ...]) -> None:
    """Nothing would tell what its self-edits taught."""
    report = desk.loop(Writer()).run([*LESSONS, Lesson(text="Ann rests.", questions=questions)])

    assert report.left_out == {"lesson 9 (Ann rests.)": "it has no question, or one without text or answer"}


def test_too_few_lessons_that_fit_are_refused_with_the_reason(desk: Desk) -> None:
    """The error says why each was left out."""
    long = Lesson(text="Ann mends. " * 100, questions=(Example("Who mends?", "Ann"),))

    with pytest.raises(InputError, match=r"at least two lessons .*lesson 2 \(Ann .*at most 1024 are accepted"):
        desk.loop(Writer()).run([LESSONS[0], long])


def test_a_sample_that_is_too_long_to_learn_from_is_refused(desk: Desk) -> None:
    """A question of 1,000 letters: refused beside the one in no form, so 2 of 4 samples for each of 6 passages."""
    writer = Writer()
    write = writer.generate

    def at_length(prompts: Any, **given: Any) -> list[Generation]:
        said_ones = write(prompts, **given)
        return [said(said_ones[0].text.replace("Who mends", "Who mends" + " and mends" * 100)), *said_ones[1:]]

    writer.generate = at_length  # type: ignore[method-assign]

    (one,) = desk.loop(writer).run(LESSONS).rounds

    assert (one.refused, one.best_reward, one.winners) == (12, 1.0, 6)


def test_a_generator_whose_loss_is_no_number_is_rejected_with_the_reason(desk: Desk) -> None:
    """Everything overflows at this scale: the round says so, and the same call does not try it again for ever."""
    report = desk.loop(Writer(), steps=3, training={"lora_alpha": 1e300}).run(LESSONS)

    (one,) = report.rounds
    assert (one.version, one.promoted, one.held_out_after) == (None, False, None)
    assert one.reason.startswith("the generator's training failed: the loss became ")
    assert report.serving is None


# ------------------------------------------------------------ a generator that cannot serve


def test_on_another_base_model_training_starts_anew(desk: Desk) -> None:
    """The promoted generator is of the old base: the new base writes, and its mean reward is that of the first run."""
    desk.loop(Writer()).run(LESSONS)

    report = desk.loop(Writer(base=1)).run(LESSONS)

    (one,) = report.rounds
    assert (one.held_out_before, one.held_out_after, one.promoted) == (1.0, 2.0, True)
    assert report.serving == "generator-v2"


def test_with_damaged_files_training_starts_anew(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """As if there were no generator, and the log says why."""
    desk.loop(Writer()).run(LESSONS)
    (desk.folder / "adapters" / "generator-v1" / "adapter_model.safetensors").write_bytes(b"damaged")

    report = desk.loop(Writer()).run(LESSONS)

    assert (report.rounds[0].held_out_before, report.serving) == (1.0, "generator-v2")
    assert "generator-v1: adapter_model.safetensors has SHA-256" in caplog.text


def test_a_window_on_another_base_model_is_written_by_that_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The old generator has no part in it; the record is learned, and the log says what to do."""
    with promoted_in(tmp_path) as memory:
        assert "generator-v1" in learned_by(memory, "The night shift at the harbour office starts at ten.")

    with open_tiny_memory(tmp_path, seed=1, **WINDOW) as memory:
        written = learned_by(memory, "Parcels for the museum shop are signed for at the loading ramp.")

    assert "generator-v1" not in written
    assert "`hybrid-memory seal train` trains a new one" in caplog.text


def test_a_window_goes_on_without_a_generator_whose_files_are_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also in a memory that has written with it: the version is deleted, and the base model writes."""
    with promoted_in(tmp_path) as memory:
        learned_by(memory, "The night shift at the harbour office starts at ten.")
        (tmp_path / "adapters" / "generator-v1" / "adapter_model.safetensors").write_bytes(b"damaged")

        written = learned_by(memory, "Parcels for the museum shop are signed for at the loading ramp.")

        assert "generator-v1" not in written
        assert memory.adapters.get("generator-v1").status.value == "purged"
        assert "until `hybrid-memory seal train` trains another" in caplog.text


def test_a_generator_that_is_switched_off_writes_no_more(tmp_path: Path) -> None:
    """From the next window on, also in a memory that is open."""
    with promoted_in(tmp_path) as memory:
        memory.adapters.disable("generator")

        assert "generator-v1" not in learned_by(memory, "The night shift at the harbour office starts at ten.")


WINDOW: dict[str, dict[str, Any]] = {**FAST, "self_edit": {"generator": "mixed", "samples": 1}}


def promoted_in(folder: Path) -> HybridMemory:
    """Open a memory in which a generator was promoted."""
    Desk(folder, name="ledger.sqlite").loop(Writer()).run(LESSONS)
    return open_tiny_memory(folder, **WINDOW)


def learned_by(memory: HybridMemory, text: str) -> str:
    """Learn a text, and return the names of all that wrote its study material."""
    record = str(memory.ingest(text, trust="operator", route="learn").record_id)
    memory.consolidate()
    (edit,) = memory._parts.ledger.self_edits([record])
    return edit.generator


# ------------------------------------------------------------ after a kill


@pytest.mark.parametrize("stopped_at", range(1, 12))
def test_a_run_that_was_killed_goes_on_where_it_was(tmp_path: Path, stopped_at: int) -> None:
    """Stopped after any reward, or in training, the same call gives the same report and samples nothing twice."""
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = Desk(tmp_path / "whole").loop(Writer()).run(LESSONS)
    desk, count = Desk(tmp_path / "cut"), 0

    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        nonlocal count
        count += 1
        if count == stopped_at:
            raise KeyboardInterrupt

    first, second = Writer(), Writer()
    with pytest.raises(KeyboardInterrupt):
        desk.loop(first).run(LESSONS, progress=stop)

    report = desk.loop(second).run(LESSONS)

    assert _timeless(report) == _timeless(whole)
    assert first.written + second.written == 4 * (8 + 2)
    assert first.scored + second.scored == 8


def test_what_the_base_answers_is_asked_once_for_all_rounds(desk: Desk) -> None:
    """It knows no adapter, so it cannot change: one question for each of 8 lessons."""
    writer = Writer()

    desk.loop(writer).run(LESSONS, rounds=2)

    assert writer.scored == 8


def test_the_time_before_a_kill_is_in_the_report(desk: Desk) -> None:
    """Eight lessons took a tenth of a second each; then it was killed, and went on without delay."""

    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        if (note, done) == ("held out, before", 2):
            raise KeyboardInterrupt

    slow = Writer()
    slow.late_s = 0.1
    with pytest.raises(KeyboardInterrupt):
        desk.loop(slow).run(LESSONS, progress=stop)

    report = desk.loop(Writer()).run(LESSONS)

    assert report.rounds[0].seconds >= 0.8
    assert report.seconds == report.rounds[0].seconds


def test_a_round_that_was_settled_is_not_trained_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the promotion and its line in the journal: the ledger's version tells the report."""
    add = Journal.add

    def killed(self: Journal, name: str, value: Any) -> None:
        if name == "round 1":
            raise KeyboardInterrupt
        add(self, name, value)

    monkeypatch.setattr(Journal, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        desk.loop(Writer()).run(LESSONS)
    monkeypatch.undo()

    report = desk.loop(Writer()).run(LESSONS)

    assert [version.id for version in desk.ledger.versions()] == ["generator-v1"]
    assert (report.rounds[0].version, report.rounds[0].promoted) == ("generator-v1", True)


def test_a_finished_run_can_be_run_once_more(desk: Desk) -> None:
    """It begins with the generator that serves now, and here finds nothing better."""
    desk.loop(Writer()).run(LESSONS)

    report = desk.loop(Writer()).run(LESSONS)

    assert [(one.version, one.held_out_before, one.promoted) for one in report.rounds] == [("generator-v2", 2.0, False)]
    assert report.serving == "generator-v1"


def test_a_third_run_of_the_same_lessons_trains_too(desk: Desk) -> None:
    """Whatever earlier runs left: each run trains a generator of its own."""
    for _ in range(3):
        report = desk.loop(Writer()).run(LESSONS)

    assert report.rounds[0].version == "generator-v3"
    assert len(list((desk.folder / "outer_loop").glob("*.done"))) == 3


def test_a_run_after_the_journals_were_lost_trains_too(desk: Desk) -> None:
    """An export leaves them behind: the ledger's first version is not taken for this run's."""
    desk.loop(Writer()).run(LESSONS)
    for file in (desk.folder / "outer_loop").iterdir():
        file.unlink()

    assert desk.loop(Writer()).run(LESSONS).rounds[0].version == "generator-v2"


def test_another_recipe_begins_another_run(desk: Desk) -> None:
    """Killed and called again with other training settings: no reward of the old recipe is taken over."""

    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.loop(Writer(), steps=1).run(LESSONS, progress=stop)
    writer = Writer()

    desk.loop(writer, steps=2).run(LESSONS)

    assert writer.written == 4 * (8 + 2)


@pytest.mark.parametrize("kept", [1, 2])
def test_a_journal_that_was_torn_inside_a_letter_is_read(tmp_path: Path, kept: int) -> None:
    """After one or two of the three bytes of the euro sign."""
    journal = Journal(tmp_path, "run")
    journal.add("a", 1)
    with (tmp_path / "run.jsonl").open("ab") as file:
        file.write('{"b": "€'.encode()[: -3 + kept])

    again = Journal(tmp_path, "run")
    again.add("c", 3)

    found = Journal(tmp_path, "run")
    assert ("a" in found, "b" in found, found["c"]) == (True, False, 3)


@pytest.mark.parametrize("mark", ["\u2028", "\x85", "\x1e"])
def test_a_text_may_hold_any_mark_that_ends_a_line_elsewhere(tmp_path: Path, mark: str) -> None:
    """In the journal, and in a file of lessons, which may also begin with a byte order mark."""
    Journal(tmp_path, "run").add("a", f"one{mark}two")
    file = tmp_path / "lessons.jsonl"
    row = {"text": f"One{mark}two.", "questions": [{"question": "What?", "answer": "One"}]}
    file.write_text(json.dumps(row, ensure_ascii=False) + "\r\n", encoding="utf-8-sig")

    assert Journal(tmp_path, "run")["a"] == f"one{mark}two"
    assert [lesson.text for lesson in read_lessons(file)] == [f"One{mark}two."]


def test_a_torn_line_of_the_journal_is_forgotten(tmp_path: Path) -> None:
    """What was whole before it is kept."""
    journal = Journal(tmp_path, "run")
    journal.add("a", 1)
    with (tmp_path / "run.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"b": [1, 2')

    again = Journal(tmp_path, "run")
    again.add("c", 3)

    found = Journal(tmp_path, "run")
    assert ("a" in found, "b" in found, found["c"]) == (True, False, 3)


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    """With what to do."""
    (tmp_path / "run.jsonl").write_text("not json\n", encoding="utf-8")

    with pytest.raises(LedgerError, match="delete it to begin the training anew"):
        Journal(tmp_path, "run")


def _timeless(report: Any) -> Any:
    return [{**one.to_json(), "seconds": 0} for one in report.rounds], report.serving


# ------------------------------------------------------------ rewards


def proposal(written: str, lesson: Lesson = LESSONS[0]) -> Proposal:
    return Proposal(written, tuple(read_pairs(written, lesson.text)))


def test_the_reward_is_the_rise_of_the_gold_answers_log_probability() -> None:
    """Two questions are +2; a sample without any is worth what the passage alone is worth, here 0."""
    rewarder = Rewarder(Writer(), Counting(), kind="logprob", seed=0)  # type: ignore[arg-type]

    rewards = rewarder.reward(LESSONS[0], [proposal(GOOD.format(name="Ann")), proposal("nonsense")])

    assert rewards == [2.0, 0.0]


def test_the_reward_of_accuracy_is_the_rise_of_right_answers() -> None:
    """The base says something else, the one that studied says Ann."""
    writer = Writer()
    writer.generate = lambda prompts, **_: [said("?")] * len(prompts)  # type: ignore[method-assign]
    rewarder = Rewarder(writer, Counting(), kind="accuracy", seed=0)  # type: ignore[arg-type]

    assert rewarder.reward(LESSONS[0], [proposal(POOR.format(name="Ann")), proposal("")]) == [1.0, 0.0]


def test_a_reward_that_is_no_number_is_nothing() -> None:
    """The last step of an inner loop can spoil the weights after the loss was still a number."""

    class Spoilt(Counting):
        def train(self, candidates: Sequence[Sequence[StudyItem]], **given: Any) -> Counted:
            stack = super().train(candidates, **given)
            stack.questions = [float("nan")] * len(candidates)  # type: ignore[list-item]
            return stack

    rewarder = Rewarder(Writer(), Spoilt(), kind="logprob", seed=0)  # type: ignore[arg-type]

    assert rewarder.reward(LESSONS[0], [proposal(GOOD.format(name="Ann")), proposal("")]) == [0.0, 0.0]


def test_the_rubric_is_the_mean_of_four_marks() -> None:
    """By hand: 2 of 6 pairs, both answers distinct, both in the text; of Ann, mends, lamp, house all four are used."""
    assert rubric(LESSONS[0].text, proposal(GOOD.format(name="Ann"))) == pytest.approx((2 / 6 + 1 + 1 + 1) / 4)
    assert rubric(LESSONS[0].text, proposal("nonsense")) == 0.0


def test_siblings_with_the_same_material_have_the_same_reward() -> None:
    """Common random numbers, with the real inner loop."""
    lm = tiny_language_model()
    inner = StackedTrainer(lm, TrainingSettings(epochs=1, min_steps=3, lora_rank=2))
    rewarder = Rewarder(lm, inner, kind="logprob", seed=4)
    good = proposal(GOOD.format(name="Ann"))

    one, two, three = rewarder.reward(LESSONS[0], [good, proposal("x"), Proposal("other text", good.items)])

    assert one == three
    assert one != two


def test_only_pairs_that_the_text_supports_are_studied() -> None:
    """An answer that is not in the passage, a torn pair, a question of two words and a repetition go."""
    text = "The barn is red. Ida Holm built it in 1871."
    written = (
        "Q: Who built the barn?\nA: Ida Holm\nQ: Who painted the barn?\nA: Bob\nQ: Why so?\nA: red\n"
        "Q: who built the barn?\nA: Ida Holm\nQ: When was it built?\nA: 1871.\nQ: What is"
    )

    assert [(item.prompt, item.response) for item in read_pairs(written, text)] == [
        ("Who built the barn?", "Ida Holm"),
        ("When was it built?", "1871."),
    ]


# ------------------------------------------------------------ lessons and the whole memory


def test_lessons_are_read_from_json_lines(tmp_path: Path) -> None:
    """In the form of SQuAD too."""
    file = tmp_path / "lessons.jsonl"
    file.write_text(
        '{"text": "A.", "questions": [{"question": " Who? ", "answer": "Ann"}]}\n\n'
        '{"context": "B.", "title": "x", "questions": [{"question": "Why?", "answer": "So"}]}\n',
        encoding="utf-8",
    )

    assert read_lessons(file) == [
        Lesson(text="A.", questions=(Example("Who?", "Ann"),)),
        Lesson(text="B.", questions=(Example("Why?", "So"),)),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "lessons.jsonl:1 is no JSON"),
        ("[]", "lessons.jsonl:1 has no text with questions"),
        ('{"text": "A.", "questions": []}', "lessons.jsonl:1 has no text with questions"),
        ('{"text": "A.", "questions": [{"question": "Who?"}]}', "lessons.jsonl:1 has a question without"),
        ("", "holds no lesson"),
    ],
)
def test_what_is_no_lesson_is_named_by_its_line(tmp_path: Path, line: str, message: str) -> None:
    """With the form that is accepted."""
    file = tmp_path / "lessons.jsonl"
    file.write_text(line, encoding="utf-8")

    with pytest.raises(InputError, match=message):
        read_lessons(file)


@pytest.mark.parametrize(("count", "rounds"), [(1, 1), (8, 0)])
def test_too_little_to_learn_from_is_refused(desk: Desk, count: int, rounds: int) -> None:
    """One lesson cannot be practised on and held out."""
    with pytest.raises(InputError, match="at least two lessons"):
        desk.loop(Writer()).run(LESSONS[:count], rounds=rounds)


def test_the_generator_has_epochs_and_least_steps_of_its_own(tmp_path: Path) -> None:
    """Those of `outer_loop`, not of the shards' training; and its rate, however small."""
    loop = {"epochs": 3, "min_steps": 11, "learning_rate": 1e-6}
    groups = {"outer_loop": loop, "training": {"epochs": 5, "min_steps": 70}}
    with open_tiny_memory(tmp_path, **groups) as memory:
        trainer: Any = memory._parts.outer_loop()._trainer

        assert (trainer._settings.epochs, trainer._settings.min_steps) == (3, 11)
        assert trainer._settings.learning_rate == 1e-6


def test_a_memory_trains_its_generator(tmp_path: Path) -> None:
    """Every stage real: the tiny model writes nothing usable, so nothing is trained, and the report says so."""
    groups = {"outer_loop": {"samples": 2, "max_new_tokens": 16, "inner_steps": 1}, "training": {"lora_rank": 2}}
    with open_tiny_memory(tmp_path, **groups) as memory:
        report = memory.train_generator(LESSONS[:3])

        assert (report.serving, report.rounds[0].refused) == (None, 4)
        assert memory.consolidate().learned == 0
