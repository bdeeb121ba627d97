"""The answer log and the stream: answers found again, forgotten, and read while they are written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from records import record

from hybrid_memory import answer_log
from hybrid_memory.answer_log import AnswerLog, Logged
from hybrid_memory.errors import NotFoundError
from hybrid_memory.streaming import AnswerStream
from hybrid_memory.types import Answer, Hit, Mode, Passage, Scope, Stretch

ANN = Scope(tenant_id="acme", user_id="ann")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers.jsonl"


def answer(
    name: str, *, text: str = "Pier 9.", records: tuple[str, ...] = (), adapters: tuple[str, ...] = ()
) -> Answer:
    sources = tuple(
        Hit(
            record=record(one, id=one),
            passage=Passage(id=1, record_id=one, position=0, text=one),
            score=1.0,
            similarity=0.5,
            excerpt="Pier 9." if one == "r2" else None,
        )
        for one in records
    )
    return Answer(
        id=name,
        question="Where?",
        text=text,
        mode=Mode.HYBRID,
        sources=sources,
        adapters=adapters,
        abstained=False,
        trace=(),
        prompt_tokens=3,
        completion_tokens=2,
        seconds={},
        shown=records[1:],
        written=(Stretch(text, adapters),),
        vote={"Pier 9.": 0.75, "Pier 8.": 0.25},
    )


def test_an_answer_is_found_again_by_another_process(path: Path) -> None:
    """With all that feedback needs: question, text, scope, sources, adapters."""
    AnswerLog(path).add([answer("a"), answer("b", records=("r1", "r2"), adapters=("facts-1-v2",))], ANN)

    assert AnswerLog(path).get("b") == Logged(
        question="Where?",
        text="Pier 9.",
        scope=ANN,
        record_ids=("r1", "r2"),
        adapters=("facts-1-v2",),
        mode=Mode.HYBRID,
        shown=("r2",),
        excerpts={"r2": "Pier 9."},
        written=(Stretch("Pier 9.", ("facts-1-v2",)),),
        vote={"Pier 9.": 0.75, "Pier 8.": 0.25},
    )


def test_an_unknown_answer_is_named(path: Path) -> None:
    """The message says what to do without it; an empty log is no other case."""
    for _ in range(2):
        with pytest.raises(NotFoundError, match=r"no recent answer 'z'; take the id from Answer\.id, or ingest"):
            AnswerLog(path).get("z")
        AnswerLog(path).add([answer("a")], ANN)


@pytest.mark.parametrize(
    "text", ["Zeile\u2028eins}\u2029zwei\x85}", "a\nb\r\nc\x0b\x0c\x1c}", '{"id": "x"}', "☕ é 早", "}", ""]
)
def test_any_text_comes_back_as_it_was(path: Path, text: str) -> None:
    """Line separators of every alphabet, braces and quotation marks are part of the text."""
    log = AnswerLog(path)
    log.add([answer("before"), answer("a", text=text), answer("after")], ANN)

    assert log.get("a").text == text
    assert log.forget(["nothing"], []) == 0
    assert log.get("after").text == "Pier 9."


@pytest.mark.parametrize("lost", range(1, 138, 8))
def test_a_line_that_a_crash_cut_off_costs_only_itself(path: Path, lost: int) -> None:
    """Wherever it was cut, also inside a letter or after a brace; what is written next is whole."""
    log = AnswerLog(path)
    log.add([answer("a"), answer("b", text="{é☕}{é☕}{é☕}")], ANN)
    path.write_bytes(path.read_bytes()[:-lost])

    log.add([answer("c")], ANN)

    assert log.get("a").text == log.get("c").text == "Pier 9."
    assert log.forget([], []) == 0
    left = [json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert left == (["a", "b", "c"] if lost == 1 else ["a", "c"])  # 1: only the line's end was lost


def test_forgetting_drops_answers_that_stand_on_a_record_or_an_adapter(path: Path) -> None:
    """By source or by adapter; their text is no longer in the file."""
    log = AnswerLog(path)
    log.add(
        [
            answer("a", text="secret one", records=("r1",)),
            answer("b", text="secret two", adapters=("facts-1-v1",)),
            answer("c", records=("r2",), adapters=("facts-2-v1",)),
        ],
        ANN,
    )

    assert log.forget(["r1"], ["facts-1-v1"]) == 2

    assert log.get("c").record_ids == ("r2",)
    assert "secret" not in path.read_text(encoding="utf-8")
    assert log.forget(["r1"], ["facts-1-v1"]) == 0


def test_forgetting_leaves_no_half_line_behind(path: Path) -> None:
    """What a crash cut off cannot be read, so nobody could tell whose it was."""
    log = AnswerLog(path)
    log.add([answer("a"), answer("b", text="secret", records=("r1",))], ANN)
    path.write_bytes(path.read_bytes()[:-2])

    assert log.forget(["r1"], []) == 0

    assert "secret" not in path.read_text(encoding="utf-8")


def test_forgetting_in_an_empty_log_is_no_error(path: Path) -> None:
    """There is no file yet."""
    assert AnswerLog(path).forget(["r1"], []) == 0
    assert not path.exists()


def test_the_older_half_goes_when_the_log_is_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest answer is always there."""
    monkeypatch.setattr(answer_log, "MAX_BYTES", 2000)
    log = AnswerLog(path)

    for number in range(60):
        log.add([answer(str(number))], ANN)
        assert log.get(str(number)).text == "Pier 9."
        assert path.stat().st_size <= 2000

    with pytest.raises(NotFoundError, match="no recent answer '0'"):
        log.get("0")


# ------------------------------------------------------------ streaming


def writing(*pieces: str) -> Callable[[Callable[[str], None]], Answer]:
    def work(on_text: Callable[[str], None]) -> Answer:
        for piece in pieces:
            on_text(piece)
        return answer("a", text="".join(pieces))

    return work


def test_the_pieces_of_a_stream_are_the_answers_text() -> None:
    """Read in a loop, then whole."""
    stream = AnswerStream(writing("Pier", " ", "9."))

    assert list(stream) == ["Pier", " ", "9."]
    assert stream.answer.text == "Pier 9."


def test_a_stream_need_not_be_read() -> None:
    """The whole answer waits for the last piece by itself."""
    assert AnswerStream(writing("Pier", " 9.")).answer.text == "Pier 9."


def test_a_second_loop_over_a_stream_ends_at_once() -> None:
    """Each piece comes once; nobody waits for more."""
    stream = AnswerStream(writing("Pier"))

    assert (list(stream), list(stream)) == (["Pier"], [])


def test_what_goes_wrong_while_writing_is_raised_to_the_reader() -> None:
    """In the loop, after the pieces that came, and when the answer is asked for."""

    def fail(on_text: Callable[[str], None]) -> Answer:
        on_text("Pie")
        raise NotFoundError("no such pier")

    stream = AnswerStream(fail)
    pieces = iter(stream)

    assert next(pieces) == "Pie"
    with pytest.raises(NotFoundError, match="no such pier"):
        next(pieces)
    with pytest.raises(NotFoundError, match="no such pier"):
        _ = stream.answer
