"""What a shard of facts should leave alone: ordinary questions, and questions about what nobody told."""

from __future__ import annotations

from collections.abc import Sequence

from hybrid_memory.evidence import UNKNOWN
from hybrid_memory.ordinary import probe_prompts, study_prompts
from hybrid_memory.selfedit.restraint import ordinary_answers, with_ordinary, with_unknown
from hybrid_memory.types import Generation, SelfEdit, StudyItem

STATEMENT = "The night shift starts at nine."


class Talker:
    """Answers with so many tokens each."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = lengths

    def generate(self, chats: Sequence[object], *, max_new_tokens: int) -> list[Generation]:
        assert len(chats) == len(self.lengths)
        return [
            Generation(
                text="So it is.", prompt_tokens=9, completion_tokens=min(length, max_new_tokens), mean_logprob=0.0
            )
            for length in self.lengths
        ]


def edit(record: str = "one", statement: str = STATEMENT, *questions: str) -> SelfEdit:
    asked = questions or ("When does the night shift start?", "Which shift starts at nine?")
    items = [StudyItem(prompt="", response=statement, form="statement")]
    items += [StudyItem(prompt=one, response=statement, form="question") for one in asked]
    items.append(StudyItem(prompt="night shift, when?", response=statement, form="question", held_out=True))
    return SelfEdit(record_id=record, items=tuple(items), generator="test", seed=0)


def added(before: SelfEdit, after: SelfEdit) -> tuple[StudyItem, ...]:
    assert after.items[: len(before.items)] == before.items
    return after.items[len(before.items) :]


def test_a_question_about_something_else_is_answered_with_not_knowing() -> None:
    """One word that the statement has is exchanged for one that it has not; everything else stays."""
    before = edit()

    (after,) = with_unknown([before], seed=0, count=2)

    asked = {item.prompt for item in before.items if item.form == "question" and not item.held_out}
    assert len(added(before, after)) == 2
    for item in added(before, after):
        assert (item.response, item.form, item.held_out) == (UNKNOWN, "unknown", False)
        (original,) = [one for one in asked if one.split()[0] == item.prompt.split()[0]]
        changed = [
            (old.strip("?."), new.strip("?."))
            for old, new in zip(original.split(), item.prompt.split(), strict=True)
            if old != new
        ]
        assert len(changed) == 1
        assert changed[0][0] in STATEMENT
        assert changed[0][1] not in STATEMENT


def test_a_question_that_shares_no_word_with_its_statement_stays_alone() -> None:
    """Whatever is exchanged in it, it may still be about the record."""
    before = edit("one", STATEMENT, "At what time do the late workers begin?")

    assert with_unknown([before], seed=0, count=2) == [before]


def test_ordinary_questions_keep_the_answers_of_the_base() -> None:
    """They count as the base's own words, so that its distribution is followed, and none is asked by the gate."""
    answers = {prompt: f"About {prompt}" for prompt in study_prompts()}
    before = edit()

    (after,) = with_ordinary([before], answers, seed=0, count=3)

    assert not set(answers) & set(probe_prompts(100))
    assert len(added(before, after)) == 3
    for item in added(before, after):
        assert (item.form, item.own, item.response) == ("general", True, answers[item.prompt])


def test_an_answer_of_the_base_that_is_cut_off_is_not_studied() -> None:
    """It would teach to stop in the middle: only answers that end by themselves within 48 tokens count."""
    lengths = [3 if number % 2 else 48 for number in range(len(study_prompts()))]

    answers = ordinary_answers(Talker(lengths))  # type: ignore[arg-type]  # only generate is asked for

    assert list(answers) == study_prompts()[1::2]


def test_what_is_added_follows_from_the_record_and_the_seed_alone() -> None:
    """A shard that is rebuilt without a neighbour studies the same of each that is left."""
    one, other = edit("one"), edit("two", "Lamps hang in hall 4.", "Where do lamps hang?", "What hangs in hall 4?")
    answers = {f"Prompt {number}?": f"Answer {number}." for number in range(20)}

    together = with_ordinary(with_unknown([other, one], seed=3, count=1), answers, seed=3, count=2)
    alone = with_ordinary(with_unknown([one], seed=3, count=1), answers, seed=3, count=2)

    assert together[1] == alone[0]
    assert with_ordinary([one], answers, seed=4, count=2) != with_ordinary([one], answers, seed=3, count=2)


def test_examples_and_preferences_are_left_as_they_are() -> None:
    """They have demonstrations, and a preference is meant for ordinary questions too."""
    item = StudyItem(prompt="Where is my parcel?", response="desk K4", form="demonstration")
    example = SelfEdit(record_id="one", items=(item,), generator="test", seed=0)

    assert with_unknown([example], seed=0, count=2) == [example]
    assert with_ordinary([example], {"Why?": "Because."}, seed=0, count=2) == [example]
