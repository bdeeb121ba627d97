"""Which record is a question about? Where the encoder cannot tell, the language model is asked; then who vouches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import record
from test_answering import FERRY, Bench

from hybrid_memory.answering.rivals import trusted_first, with_rivals
from hybrid_memory.answering.second_look import UNSEEN, Candidate, Looks, candidates, look_again, reordered
from hybrid_memory.types import Hit, Mode, Passage, Trust

HOURS = "The harbour opens at dawn. It closes at dusk."
HARBOUR, QUAY = "The harbour closes at dusk.", "Boats may stay at the quay until sunset."
PAGE = "When must boats be gone? " * 13
WORDY = "May boats stay at the quay?"
NEAR = dict.fromkeys((HOURS, "The harbour opens at dawn.", "The harbour: It closes at dusk."), 0)
NEAR |= {HARBOUR: 0, QUAY: 20, "When must boats be gone?": 11, PAGE: 11, "Harbour?": 2, WORDY: 2, FERRY: 90}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """The harbour is 11 degrees from the question about boats, the quay 9: cosines 0.982 and 0.988."""
    made = Bench(tmp_path, NEAR)
    made.lm.read = {HARBOUR: -2.0, QUAY: -3.0}
    yield made
    made.ledger.close()


def written(bench: Bench, *texts: str, **given: Any) -> list[str]:
    return [bench.write(text, **given) for text in texts]


def shown(bench: Bench, question: str, **given: Any) -> list[str]:
    return [hit.text for hit in bench.ask(question, **{"second_look": 3, **given})[0].sources]


# ------------------------------------------------------------ in an answer


def test_the_record_that_makes_the_question_likelier_is_the_evidence(bench: Bench) -> None:
    """The quay is nearer by 0.006, the harbour likelier by a nat a token."""
    written(bench, HARBOUR, QUAY)

    assert shown(bench, "When must boats be gone?", second_look=0) == [QUAY]
    assert shown(bench, "When must boats be gone?") == [HARBOUR]
    assert bench.lm.scored == [f"{text}\nWrite a question that this answers." for text in (QUAY, HARBOUR)]


def test_what_was_read_again_is_told(bench: Bench) -> None:
    written(bench, HARBOUR, QUAY)

    answer = bench.ask("When must boats be gone?", second_look=3)[0]

    assert "the encoder could not tell, so 2 records were read again" in answer.trace


def test_a_question_that_is_clearly_about_one_record_costs_nothing_more(bench: Bench) -> None:
    """Two degrees from the harbour, 88 from the ferry: cosines 0.999 and 0.035."""
    written(bench, HARBOUR, FERRY)

    assert shown(bench, "Harbour?") == [HARBOUR]
    assert bench.lm.scored == []


def test_a_page_that_is_pasted_as_a_question_is_not_read_again(bench: Bench) -> None:
    written(bench, HARBOUR, QUAY)

    assert shown(bench, PAGE) == [QUAY]
    assert bench.lm.scored == []


@pytest.mark.parametrize("mode", [Mode.WEIGHTS_ONLY, Mode.HYBRID])
def test_the_shard_that_knows_that_record_answers(bench: Bench, mode: Mode) -> None:
    """0.2 times one nat is more than 0.006 of cosine."""
    harbour, quay = written(bench, HARBOUR, QUAY)
    of_harbour = bench.learn(harbour)
    of_quay = bench.learn(quay, shard="facts-2")

    before = bench.ask("When must boats be gone?", mode=mode, second_look=0)[0]
    after = bench.ask("When must boats be gone?", mode=mode, second_look=3)[0]

    assert (before.adapters, after.adapters) == ((of_quay,), (of_harbour,))


def test_evidence_goes_with_the_shard_that_answers(bench: Bench) -> None:
    """Words put the quay first; by meaning and a second look it is the harbour, which a shard has learned."""
    harbour, _ = written(bench, HARBOUR, QUAY)
    bench.lm.read = {HARBOUR: -2.0, QUAY: -2.0}

    assert shown(bench, WORDY) == [QUAY]
    bench.learn(harbour)
    assert shown(bench, WORDY) == [HARBOUR]


def test_a_second_look_at_what_is_only_in_retrieval_leaves_the_shard_out(bench: Bench) -> None:
    """The quay was learned and is nearer; the harbour is likelier by a nat, 0.2 in cosine, and only in retrieval."""
    _, quay = written(bench, HARBOUR, QUAY)
    bench.learn(quay)

    answer = bench.ask("When must boats be gone?", second_look=3)[0]

    assert (answer.adapters, [hit.text for hit in answer.sources]) == ((), [HARBOUR])


def test_a_second_look_does_not_reach_what_a_filter_hides(bench: Bench) -> None:
    _, quay = written(bench, HARBOUR, QUAY)

    assert shown(bench, "When must boats be gone?", filters={"id": quay}) == [QUAY]
    assert bench.lm.scored == []


def test_a_look_compares_with_the_best() -> None:
    """Read: -2.0 and -3.5 nats. What was not read counts as the last that was."""
    looks = Looks({"a": -3.5, "b": -2.0})

    assert [looks.behind(key) for key in ("a", "b", "c")] == [-1.5, 0.0, -1.5]
    assert (bool(looks), len(looks)) == (True, 2)
    assert (bool(UNSEEN), UNSEEN.behind("a")) == (False, 0.0)


def test_words_and_meaning_that_disagree_are_undecided(bench: Bench) -> None:
    """However clear the lead in meaning: 0.9 over 0.5, and the fused order has the second one first."""
    near, far = Candidate("near", HARBOUR, 0.9), Candidate("far", QUAY, 0.5)

    looks = look_again([("When?", [near, far], []), ("When?", [far, near], [])], lambda: bench.lm)

    assert [len(look) for look in looks] == [0, 2]


def test_candidates_are_the_first_by_score_and_the_nearest_in_meaning() -> None:
    """Two of each of four: the two first, and the last, which is nearest."""
    hits = [hit(str(place), similarity=similarity) for place, similarity in enumerate((0.3, 0.4, 0.1, 0.9))]

    assert [one.text for one in candidates(hits, 2)] == ["0", "1", "3"]


def test_a_second_look_is_added_to_the_score() -> None:
    """Scores 1.0, 0.9, 0.2 less 0.3, 0, and 0.3 (not read): 0.7, 0.9, -0.1."""
    hits = [hit(text, score=score) for text, score in (("a", 1.0), ("b", 0.9), ("c", 0.2))]
    looks = Looks({hits[0].record.id: -1.3, hits[1].record.id: -1.0})

    assert [one.text for one in reordered(hits, looks)] == ["b", "a", "c"]


def test_without_a_second_look_the_order_stays() -> None:
    """Also one that is not by score: variety may have been asked for."""
    hits = [hit("a", score=0.1), hit("b", score=0.9)]

    assert reordered(hits, UNSEEN) == tuple(hits)


@pytest.mark.parametrize("mode", [Mode.WEIGHTS_ONLY, Mode.HYBRID])
def test_a_second_look_at_evidence_does_not_turn_a_ticket_into_a_fact(bench: Bench, mode: Mode) -> None:
    """The nearest that was learned is an example: whatever the facts in retrieval come to, its shard is asked."""
    harbour, quay = written(bench, HARBOUR, QUAY)
    bench.learn(quay, shard="examples-1", group="examples")
    bench.learn(harbour)
    bench.lm.read = {HARBOUR: -1.0, QUAY: -9.0}

    answer = bench.ask("When must boats be gone?", second_look=3, mode=mode)[0]

    assert answer.adapters == ("examples-1-v1",)


# ------------------------------------------------------------ tokens saved


@pytest.mark.parametrize(("least", "shown"), [(None, True), (0.99, False), (0.9999, True)])
def test_evidence_that_its_own_shard_has_learned_can_be_left_out(
    bench: Bench, least: float | None, shown: bool
) -> None:
    """The question is 2 degrees away, a cosine of 0.9994. The record stays a source, and the trace says it."""
    harbour = bench.write(HARBOUR)
    bench.learn(harbour)

    answer = bench.ask("Harbour?", without_evidence_from=least)[0]

    assert (HARBOUR in bench.lm.asked[-1]) is shown
    assert [hit.record.id for hit in answer.sources] == [harbour]
    assert (
        "the evidence is left out of the prompt: the shard that answers has learned it" in answer.trace
    ) is not shown


def test_a_page_about_several_things_is_not_left_out(bench: Bench) -> None:
    """The question is as near to it, but which of its statements is asked for, and whether that one is known?"""
    hours = bench.write(HOURS)
    bench.learn(hours)

    answer = bench.ask("Harbour?", without_evidence_from=0.5)[0]

    assert answer.adapters == ("facts-1-v1",)
    assert answer.shown == (hours,)


def test_no_evidence_is_left_out_where_the_encoder_could_not_tell(bench: Bench) -> None:
    """The cosine is 0.98, but the other record is as near."""
    harbour, _ = written(bench, HARBOUR, QUAY)
    bench.learn(harbour)

    bench.ask("When must boats be gone?", second_look=3, without_evidence_from=0.5)

    assert HARBOUR in bench.lm.asked[0]


# ------------------------------------------------------------ who vouches


def hit(text: str, trust: Trust = Trust.OPERATOR, *, score: float = 1.0, similarity: float = 0.5) -> Hit:
    owner = record(text, trust=trust)
    passage = Passage(id=1, record_id=owner.id, position=0, text=text)
    return Hit(record=owner, passage=passage, score=score, similarity=similarity, scores={})


FACT, RUMOUR = "The cargo lift in hall B carries 640 kilograms.", "The cargo lift in hall B carries 811 kilograms."


@pytest.mark.parametrize(
    ("rumour", "fact", "question", "first"),
    [
        (Trust.EXTERNAL, Trust.OPERATOR, "How much may the lift carry?", FACT),
        (Trust.EXTERNAL, Trust.USER, "How much may the lift carry?", FACT),
        (Trust.USER, Trust.OPERATOR, "How much may the lift carry?", FACT),
        (Trust.OPERATOR, Trust.OPERATOR, "How much may the lift carry?", RUMOUR),
        (Trust.EXTERNAL, Trust.OPERATOR, "Who says that the lift carries 811 kilograms?", RUMOUR),
    ],
)
def test_of_two_that_contradict_each_other_the_better_vouched_for_is_first(
    rumour: Trust, fact: Trust, question: str, first: str
) -> None:
    """Unless the question names what they differ in: it may be about the other one."""
    order = trusted_first(question, [hit(RUMOUR, rumour), hit(FACT, fact)])

    assert order[0].text == first


def test_what_contradicts_a_rumour_is_shown_though_it_is_a_little_further_away() -> None:
    """Only what is better vouched for: a second rumour stays out."""
    rumour, fact, other = hit(RUMOUR, Trust.EXTERNAL), hit(FACT), hit(RUMOUR + " ", Trust.EXTERNAL)

    shown = with_rivals("How much may the lift carry?", [rumour], [other, rumour, fact, hit(HARBOUR)])

    assert shown == [rumour, fact]


def test_another_statement_on_the_same_thing_keeps_its_place() -> None:
    """Four of eleven words in common."""
    other = hit("The lift in hall B is checked every March.", Trust.USER)

    assert trusted_first("When is the lift checked?", [other, hit(FACT)])[0] is other


@given(st.lists(st.tuples(st.sampled_from([FACT, RUMOUR, HARBOUR]), st.sampled_from(Trust)), max_size=6))
def test_no_record_is_lost_and_equals_keep_their_order(rows: list[tuple[str, Trust]]) -> None:
    """The result is a permutation, and equals keep their order."""
    hits = [hit(text, trust) for text, trust in rows]

    order = trusted_first("How much may the lift carry?", hits)

    assert sorted(map(id, order)) == sorted(map(id, hits))
    for text, trust in set(rows):
        alike = [one for one in hits if (one.text, one.record.trust) == (text, trust)]
        assert [one for one in order if (one.text, one.record.trust) == (text, trust)] == alike
