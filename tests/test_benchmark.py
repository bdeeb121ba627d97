"""`memory.benchmark` replays a memory's own records and says what each half kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hybrid_memory.benchmark import COLUMNS, ROWS
from hybrid_memory.cli.measuring import read_questions
from hybrid_memory.errors import InputError
from hybrid_memory.memory import HybridMemory
from hybrid_memory.types import Example, Fact, Preference
from tests.tiny_flow import KEYS, LAMPS, PARCELS, SHIFT, learn, open_memory

QUESTIONS = [
    Example("When does the night shift begin?", "ten"),
    Example("Where are broken lamps reported?", "caretaker"),
    Example("Where are parcels signed for?", "loading ramp"),
    Example("Where do the spare keys hang?", "yellow door"),
]


@pytest.fixture
def memory(tmp_path: Path) -> HybridMemory:
    """A memory that was told four facts and has learned none yet."""
    memory = open_memory(tmp_path / "memory")
    learn(memory, SHIFT, LAMPS, PARCELS, KEYS)
    return memory


def test_a_report_has_every_row_and_column(memory: HybridMemory) -> None:
    """The control, both halves, both together, and what happens when retrieval misses."""
    report = memory.benchmark(QUESTIONS, windows=2)

    assert set(report.rows) == {"base", *ROWS}
    assert all(set(row) == set(COLUMNS) for row in report.rows.values())
    assert (report.windows, report.records, report.questions, report.learned) == (2, 4, 4, 4)
    assert all(row in report.text() for row in report.rows)


def test_what_a_window_has_not_brought_is_not_asked_after_it(memory: HybridMemory) -> None:
    """The upper triangle of each matrix is empty, the rest is not."""
    matrix = memory.benchmark(QUESTIONS, windows=2).matrices["hybrid"]

    assert matrix[0][1] is None
    assert None not in (matrix[0][0], matrix[1][0], matrix[1][1])


def test_the_memory_itself_does_not_change(memory: HybridMemory) -> None:
    """No record, no event and no adapter is added."""
    before = memory.doctor()

    memory.benchmark(QUESTIONS, windows=1)

    assert memory.doctor() == before
    assert memory.adapters.list() == []


def test_adapters_of_the_memory_answer_as_before(memory: HybridMemory) -> None:
    """The replay shares the language model; none of its adapters is taken for one of the memory's."""
    memory.consolidate()
    before = memory.query(SHIFT, mode="weights_only").text

    memory.benchmark(QUESTIONS, windows=1)

    assert memory.query(SHIFT, mode="weights_only").text == before


def test_the_share_of_misses_is_hidden(memory: HybridMemory) -> None:
    """Half of the four asked records cannot be found."""
    report = memory.benchmark(QUESTIONS, windows=1, misses=0.5)

    assert len(report.missed) == 2


def test_rules_examples_and_slots_are_told_as_they_were(tmp_path: Path) -> None:
    """A rule is learned as a rule and a slot stays in retrieval."""
    memory = open_memory(tmp_path)
    memory.ingest(Preference("Be brief.", (Example("What is rain?", "Water."),)), trust="operator")
    memory.ingest(Example("My parcel is wet.", "desk K4"), trust="operator")
    memory.ingest(Fact("day ticket", "price", "24"), trust="operator")
    asked = [Example("What does a day ticket cost?", "24"), Example("My parcel is soaked.", "desk K4")]

    report = memory.benchmark(asked, windows=1, misses=0)

    assert report.records == 3
    assert report.learned == 2


@pytest.mark.parametrize(
    ("questions", "options", "match"),
    [
        ([], {}, "one or more"),
        (["When?"], {}, r"list of Example\(question, right answer\)"),
        ([Example("Who swims?", "an otter")], {}, "no record says 'an otter'"),
        (QUESTIONS, {"windows": 5}, r"windows must be 1 to 4"),
        (QUESTIONS, {"misses": 1.5}, "misses 0 to 1"),
    ],
)
def test_a_benchmark_that_cannot_be_run_is_refused(
    memory: HybridMemory, questions: list[Example], options: dict[str, float], match: str
) -> None:
    """Before anything is told or trained."""
    with pytest.raises(InputError, match=match):
        memory.benchmark(questions, **options)


def test_questions_are_read_from_json_lines(tmp_path: Path) -> None:
    """Empty lines do not count."""
    file = tmp_path / "questions.jsonl"
    file.write_text(json.dumps({"question": "When?", "answer": "ten"}) + "\n\n", encoding="utf-8")

    assert read_questions(file) == [Example("When?", "ten")]


def test_questions_may_hold_any_mark_that_ends_a_line_elsewhere(tmp_path: Path) -> None:
    """In a file that begins with a byte order mark, as some editors write it."""
    file = tmp_path / "q.jsonl"
    file.write_text('{"question": "One\u2028two?", "answer": "ten"}\n', encoding="utf-8-sig")

    assert read_questions(file) == [Example("One\u2028two?", "ten")]


def test_questions_that_are_no_utf8_are_refused(tmp_path: Path) -> None:
    """With the place of the first bad byte."""
    file = tmp_path / "q.jsonl"
    file.write_bytes(b'{"question": "\xff"}')

    with pytest.raises(InputError, match=r"is not UTF-8 text \(byte 14\)"):
        read_questions(file)


@pytest.mark.parametrize("line", ["When?", '{"question": "When?"}', "[1]"])
def test_a_line_that_is_no_question_is_named(tmp_path: Path, line: str) -> None:
    """With its file and number."""
    file = tmp_path / "questions.jsonl"
    file.write_text(line + "\n", encoding="utf-8")

    with pytest.raises(InputError, match=r"questions.jsonl, line 1 must be"):
        read_questions(file)


class Teacher:
    """Writes one fact and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def complete(self, prompt: str) -> str:
        self.asked += 1
        return f"Question: When does the night shift start? | Answer: {SHIFT}" if prompt else ""


def test_a_teacher_writes_for_the_replay_too(tmp_path: Path) -> None:
    """The temporary memory learns in the same way as the one that is measured."""
    teacher = Teacher()
    memory = open_memory(tmp_path / "memory", teacher=teacher, self_edit={"generator": "teacher"})
    learn(memory, SHIFT)

    report = memory.benchmark(QUESTIONS[:1], windows=1)

    assert report.learned + report.declined == 1
    assert teacher.asked > 0
