"""The forgetting benchmark: its stream, its learners and its bookkeeping, with the tiny model."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from benchmarks.company_data import load_company
from benchmarks.forgetting import Kit, play
from benchmarks.forgetting_arms import Given, missed_records
from benchmarks.forgetting_pages import html, pictures
from benchmarks.forgetting_report import Run, as_result, measure, read_run, table
from benchmarks.forgetting_sequential import SEAL
from benchmarks.stream import Question, Stream, company_stream, reworded_value
from hybrid_memory import Settings
from hybrid_memory.grading import said
from hybrid_memory.testing import WordEncoder, tiny_language_model
from tests.tiny_flow import FAST

DEV = load_company("dev")
KIT = Kit(
    Settings.load(None, **{**FAST, "answer": {"max_new_tokens": 4}}),
    WordEncoder(),
    tiny_language_model,
    SEAL.model_copy(update={"lora_rank": 4, "epochs": 1, "batch_size": 8}),
)


def says(value: str, answer: str) -> float:
    """Score as the facts of a stream are scored."""
    return float(said(value, answer))


def question(name: str, window: int, kind: str = "plain", *values: tuple[int, str]) -> Question:
    """A question whose answer is `red` unless values are given."""
    return Question(name, window, kind, f"{name}?", name, values or ((0, "red"),), says)


def given(name: str, text: str) -> Given:
    """One answer."""
    return Given(name, text, 10, 0.1)


def stream_of(*questions: Question, windows: int = 2) -> Stream:
    """A stream with these questions and nothing told."""
    return Stream(name="small", steps=((),) * windows, questions=questions)


# ---------------------------------------------------------------- the stream


def test_the_same_seed_gives_the_same_stream() -> None:
    """Everything is drawn from company and seed."""
    one, two = (company_stream(DEV, seed=3) for _ in range(2))

    assert [[step.x for step in steps] for steps in one.steps] == [[step.x for step in steps] for steps in two.steps]
    assert one.contradictions == two.contradictions


def test_another_seed_tells_the_facts_in_another_order() -> None:
    """Otherwise seeds would differ in training only."""
    one, two = (company_stream(DEV, seed=seed).steps[0][0].key for seed in (0, 1))

    assert one != two


def test_a_stream_has_eight_windows_with_everything_in_them() -> None:
    """Something new in each, and each kind of event somewhere."""
    stream = company_stream(DEV, seed=0)

    assert stream.windows == 8
    assert {question.kind for question in stream.questions} == {
        *("plain", "hard", "ticket", "rule", "price", "updated", "rumoured", "deleted")
    }
    assert all(stream.steps)
    assert sum(len(keys) for keys in stream.deletions) == 1


def test_a_question_of_the_matrix_never_changes_its_answer() -> None:
    """Otherwise a correct update would count as forgetting."""
    stream = company_stream(DEV, seed=0)

    assert all(len(one.values) == 1 for one in stream.questions if one.kind in ("plain", "hard", "ticket", "rule"))


def test_controls_are_never_told() -> None:
    """What nobody was told cannot be known; it is what deletion is compared with."""
    stream = company_stream(DEV, seed=0)
    told = {step.x for steps in stream.steps for step in steps if isinstance(step.x, str)}

    assert stream.controls
    assert told.isdisjoint(stream.controls)


def test_an_updated_answer_is_right_from_its_window_on() -> None:
    """Before, the old value is right; after, it is stale."""
    asked = question("colour", 0, "updated", (0, "red"), (2, "blue"))

    assert (asked.right("It is red.", 1), asked.right("It is red.", 2)) == (1.0, 0.0)
    assert (asked.stale("It is red.", 1), asked.stale("It is red.", 2)) == (False, True)


@pytest.mark.parametrize("answer", ["640 kilograms", "lilac", "nineteen", "Galtree room", "K9"])
def test_a_new_value_has_the_form_of_the_old_one(answer: str) -> None:
    """The words around a number or name stay, and the value is another."""
    value = reworded_value(answer, random.Random(1))

    assert value is not None
    assert value != answer
    assert len(value.split()) == len(answer.split())


def test_three_of_ten_records_are_missed() -> None:
    """The share is that of records that questions ask for; labelled examples and rules are always found."""
    stream = company_stream(DEV, seed=0)
    asked = {one.record for one in stream.questions if one.kind not in ("ticket", "rule")}

    missed = missed_records(stream, 0)

    assert missed <= asked
    assert len(missed) == round(0.3 * len(asked))


# ---------------------------------------------------------------- the numbers


def test_a_run_keeps_the_score_of_every_answer_in_its_window() -> None:
    """One question of each window; the first is lost after the second window."""
    run = Run.of(stream_of(question("a", 0), question("b", 1)), seed=0)
    for arm in ("base", "arm"):
        right = "red" if arm == "arm" else "blue"
        run.keep(arm, 0, [given("a", right)])
        run.keep(arm, 1, [given("a", "blue"), given("b", right)])
    whole = [np.arange(2)]

    found = {name: measure([run], "arm", name, whole) for name in ("average accuracy", "BWT", "learning", "half-life")}

    assert found == {"average accuracy": 0.5, "BWT": -1.0, "learning": 1.0, "half-life": 1.0}


def test_stale_answers_are_counted_among_what_changed() -> None:
    """Of two changed values one is answered with the old one; the unchanged question does not count."""
    changed = [question(name, 0, "price", (0, "red"), (1, "blue")) for name in ("a", "b")]
    run = Run.of(stream_of(*changed, question("c", 0)), seed=0)
    run.keep("arm", 1, [given("a", "red"), given("b", "blue"), given("c", "red")])

    assert measure([run], "arm", "stale said", [np.arange(3)]) == 0.5


# ---------------------------------------------------------------- the whole


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """One small stream, played with every arm."""
    folder = tmp_path_factory.mktemp("run")
    stream = company_stream(DEV, seed=0, smoke=True)
    play(stream, folder, seed=0, kit=KIT, full=True, data_dir=None)
    run = read_run(stream, folder, 0)
    assert run is not None
    return run, folder


def test_every_arm_answers_after_the_last_window(played: tuple[Run, Path]) -> None:
    """No cell of the last row is empty."""
    run, _ = played

    assert len(run.outcomes) == 14
    assert not any(np.isnan(scores[-1]).any() for scores in run.outcomes.values())


def test_a_killed_run_goes_on_where_it_was(played: tuple[Run, Path]) -> None:
    """Played again it trains nothing and gives the same answers; one deleted file is made again.

    What it says then is of a memory that has been told more since, and has forgotten.
    """
    run, folder = played
    cell = folder / "answers" / "hybrid-0.json"
    before = {file.name: file.stat().st_mtime_ns for file in folder.rglob("*.json") if file != cell}
    answers = json.loads(cell.read_text(encoding="utf-8"))
    cell.unlink()

    play(run.stream, folder, seed=0, kit=KIT, full=True, data_dir=None)

    again = read_run(run.stream, folder, 0)
    assert again is not None
    again.outcomes["hybrid"][0] = run.outcomes["hybrid"][0]
    assert all(np.array_equal(again.outcomes[arm], run.outcomes[arm], equal_nan=True) for arm in run.outcomes)
    assert [row["question"] for row in json.loads(cell.read_text(encoding="utf-8"))] == [
        row["question"] for row in answers
    ]
    after = {file.name: file.stat().st_mtime_ns for file in folder.rglob("*.json") if file != cell}
    assert after == before


def test_a_run_that_was_cut_off_reports_the_windows_it_finished(played: tuple[Run, Path], tmp_path: Path) -> None:
    """The questions of later windows do not count, and arms that came later have no value."""
    run, folder = played
    (tmp_path / "answers").mkdir()
    for name in ("answers/base.json", "answers/RAG-0.json", "answers/shards-0.json", "answers/hybrid-0.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "window-0.json").write_bytes((folder / "window-0.json").read_bytes())

    cut = read_run(run.stream, tmp_path, 0)

    assert cut is not None
    assert (cut.windows, set(cut.outcomes)) == (1, {"base", "RAG", "shards", "hybrid"})
    assert {question.window for question in cut.questions} == {0}


def test_nothing_finished_is_nothing_to_report(tmp_path: Path) -> None:
    """A folder without answers is no run."""
    assert read_run(company_stream(DEV, seed=0, smoke=True), tmp_path, 0) is None


def test_a_report_holds_every_arm_and_needs_no_other_file(played: tuple[Run, Path], tmp_path: Path) -> None:
    """The pictures are inside the page."""
    run, _ = played
    result = as_result([run], "forgetting", resamples=20)

    page = html(result, pictures([run], tmp_path, "forgetting"))

    assert all(arm in table(result) for arm in run.outcomes)
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in page
    assert json.loads(json.dumps(result, allow_nan=False))["rows"].keys() == run.outcomes.keys()


def test_a_merging_learner_changes_its_own_base_only(played: tuple[Run, Path]) -> None:
    """After every window the merged matrices differ from the window before."""
    _, folder = played
    files = [(folder / "seal" / f"after-{window}" / "merged.safetensors").read_bytes() for window in range(3)]

    assert len(set(files)) == 3


def test_a_deleted_fact_is_not_among_what_serves(played: tuple[Run, Path]) -> None:
    """The audit of the end is part of the result."""
    run, _ = played

    audit = run.end["memory"]["deletion"]["audit"]

    assert audit["extracted"] == []
    assert audit["texts"] == 2
