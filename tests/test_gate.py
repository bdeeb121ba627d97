"""The gate: what passes, what fails, and why, from scores that are written down."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_adapters import version

from hybrid_memory.config import GateSettings
from hybrid_memory.evidence import UNPROMPTED
from hybrid_memory.ordinary import minimal_pairs, probe_prompts, study_prompts, unanswerable_questions
from hybrid_memory.protocols import Gate as GateProtocol
from hybrid_memory.protocols import LanguageModel
from hybrid_memory.testing import WordEncoder
from hybrid_memory.types import AdapterVersion, Generation, SelfEdit, StudyItem, Turn, Verdict
from hybrid_memory.weights.gate import Gate

CANDIDATE = version("facts-v1", Path("nowhere"))


class ScoreTable:
    """A language model that scores as the test says: a question gains what the table gives it, from -5."""

    fingerprint = "table"

    def __init__(
        self,
        gains: Mapping[str, float],
        *,
        drift: float = 0.0,
        wrong: int = 0,
        told: Mapping[str, tuple[float, float]] | None = None,
        sure: int = 0,
    ) -> None:
        """`told`: a contradiction's score without and with the adapter; `sure`: questions the adapter is sure of."""
        self.gains, self.drift_per_token, self.wrong, self.told, self.sure = gains, drift, wrong, told or {}, sure
        self.drifted: list[str] = []
        self._bad = {bad for _, bad in minimal_pairs()}
        self._fooled = {bad for _, bad in minimal_pairs()[:wrong]}

    def score(
        self, pairs: Sequence[tuple[Sequence[Turn], str]], *, adapters: Sequence[AdapterVersion] = ()
    ) -> list[float]:
        return [self._score(turns, text, bool(adapters)) for turns, text in pairs]

    def _score(self, turns: Sequence[Turn], text: str, adapted: bool) -> float:
        if turns == UNPROMPTED:  # a probe sentence
            return -3.0 if text in self._bad and not (adapted and text in self._fooled) else -2.0
        if "Fact:" in turns[-1].content:  # what was learned scores -5, with and without the adapter
            return self.told[text][adapted] if text in self.told else -5.0
        return -5.0 + (self.gains[turns[-1].content] if adapted else 0.0)

    def drift(self, prompts: Sequence[Sequence[Turn]], *, adapters: Sequence[AdapterVersion]) -> float:
        self.drifted += [turns[-1].content for turns in prompts]
        return self.drift_per_token * len(adapters)

    def generate(
        self,
        prompts: Sequence[Sequence[Turn]],
        *,
        adapters: Sequence[AdapterVersion] = (),
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        begun: Sequence[str] | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> list[Generation]:
        """The base is ever surer from question to question; the adapter is very sure of the first ones."""
        sure = self.sure if adapters else 0
        scores = [-0.001 if number < sure else -2.0 + number / 100 for number in range(len(prompts))]
        return [Generation(text="No.", prompt_tokens=1, completion_tokens=1, mean_logprob=score) for score in scores]

    def complete(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        temperature: float,
        seed: int,
        stop: str = "\n",
        samples: int = 1,
    ) -> list[list[str]]:
        raise NotImplementedError

    def release(self, adapter_id: str) -> None:
        raise NotImplementedError


def edit(record_id: str, *questions: str) -> SelfEdit:
    """A self-edit whose questions are held out, beside one that is not and must not be asked."""
    held_out = [StudyItem(prompt=one, response="So.", form="question", held_out=True) for one in questions]
    studied = StudyItem(prompt="studied", response="So.", form="question")
    return SelfEdit(record_id=record_id, items=(studied, *held_out), generator="test", seed=0)


def contradicted(record_id: str, *told: str) -> SelfEdit:
    """A self-edit whose held-out question is also asked with evidence that says something else."""
    plain = edit(record_id, f"{record_id}?")
    items = [
        StudyItem(prompt=f"{record_id}?", response=one, form="deference", held_out=True, evidence=(one,))
        for one in told
    ]
    return replace(plain, items=(*plain.items, *items))


def gate(
    gains: Mapping[str, float],
    *,
    drift: float = 0.0,
    wrong: int = 0,
    told: Mapping[str, tuple[float, float]] | None = None,
    sure: int = 0,
    **settings: Any,
) -> Gate:
    return over(ScoreTable(gains, drift=drift, wrong=wrong, told=told, sure=sure), **settings)


def over(lm: LanguageModel, **settings: Any) -> Gate:
    return Gate(lm, GateSettings(**settings), encoder=WordEncoder(), min_similarity=0.25)


def numbers(verdict: Verdict) -> dict[str, Any]:
    """What was measured, without the seconds it took."""
    return {name: value for name, value in verdict.metrics.items() if name != "gate_seconds"}


def test_it_is_a_gate() -> None:
    """The type checker compares it with the protocol here."""
    kept: GateProtocol = gate({})

    assert kept is not None


def test_records_that_gained_enough_pass() -> None:
    """Gains 2 and 0.5 with a least gain of 0.5: both learned, mean 1.25."""
    judge = gate({"a?": 2.0, "b?": 0.5}, min_gain=0.5)

    verdict = judge.judge(CANDIDATE, [edit("a", "a?"), edit("b", "b?")], learned_before=(), always_on=False)

    assert (verdict.passed, verdict.reasons, verdict.unlearned) == (True, (), ())
    assert numbers(verdict) == {"learned": 1.0, "kept": None, "mean_gain": 1.25}
    assert verdict.metrics["gate_seconds"].keys() == {"learned", "following", "canaries"}  # type: ignore[union-attr]


def test_a_record_counts_by_the_mean_of_its_questions() -> None:
    """Gains 1.2 and 0 are 0.6 on average, 0.8 and 0 are 0.4: the second is not learned, half is enough."""
    judge = gate({"a1": 1.2, "a2": 0.0, "b1": 0.8, "b2": 0.0}, min_gain=0.5, min_learned=0.5)

    verdict = judge.judge(CANDIDATE, [edit("a", "a1", "a2"), edit("b", "b1", "b2")], learned_before=(), always_on=False)

    assert (verdict.passed, verdict.unlearned) == (True, ("b",))
    assert verdict.metrics["learned"] == 0.5


def test_too_few_learned_records_fail() -> None:
    """One of three is 33 %."""
    judge = gate({"a": 2.0, "b": 0.1, "c": -1.0}, min_learned=0.5)

    verdict = judge.judge(CANDIDATE, [edit(one, one) for one in "abc"], learned_before=(), always_on=False)

    assert (verdict.passed, verdict.unlearned) == (False, ("b", "c"))
    assert verdict.reasons == ("33% of the new records' held-out questions were learned, at least 50% is asked",)


def test_records_learned_before_must_keep_their_answers() -> None:
    """Of ten old records nine may do; eight are too few. New ones are counted apart."""
    gains = {f"old{number}": 1.0 for number in range(10)} | {"new": 1.0}
    edits, before = [edit(name, name) for name in gains], list(gains)[:10]

    one_lost = gate({**gains, "old3": 0.0}).judge(CANDIDATE, edits, learned_before=before, always_on=False)
    two_lost = gate({**gains, "old3": 0.0, "old4": 0.0}).judge(CANDIDATE, edits, learned_before=before, always_on=False)

    assert (one_lost.passed, one_lost.metrics["kept"], one_lost.metrics["learned"]) == (True, 0.9, 1.0)
    assert two_lost.reasons == ("80% of the records learned before kept their answers, at least 90% is asked",)


def test_a_record_without_held_out_questions_is_asked_what_it_studied() -> None:
    """No candidate passes unseen: a gain of 0.4 is too little, 0.5 is enough."""
    weak = gate({"studied": 0.4}).judge(CANDIDATE, [edit("a")], learned_before=(), always_on=False)
    strong = gate({"studied": 0.5}).judge(CANDIDATE, [edit("a")], learned_before=(), always_on=False)

    assert (weak.passed, weak.unlearned, strong.passed) == (False, ("a",), True)


def test_without_any_material_there_is_nothing_to_measure() -> None:
    """And nothing to fail by; the metrics say so."""
    verdict = gate({}).judge(CANDIDATE, [], learned_before=(), always_on=False)

    assert (verdict.passed, numbers(verdict)) == (True, {"learned": None, "kept": None, "mean_gain": None})


@pytest.mark.parametrize(
    ("with_adapter", "following", "passes"),
    [((-4.0, -4.0), 1.0, True), ((-4.0, -6.0), 0.5, True), ((-6.0, -6.0), 0.0, False)],
)
def test_evidence_must_go_on_deciding_against_what_was_learned(
    with_adapter: tuple[float, float], following: float, passes: bool
) -> None:
    """The base follows both contradictions (-4 against -5); the adapter may lose half of them, not more."""
    told = {name: (-4.0, score) for name, score in zip(("Not a.", "Not b."), with_adapter, strict=True)}
    edits = [contradicted("a", "Not a."), contradicted("b", "Not b.")]

    verdict = gate({"a?": 2.0, "b?": 2.0}, told=told, max_following_drop=0.5).judge(
        CANDIDATE, edits, learned_before=(), always_on=False
    )

    assert (verdict.metrics["following_base"], verdict.metrics["following"]) == (1.0, following)
    assert (verdict.passed, verdict.failed) == (passes, () if passes else ("following",))


def test_every_record_is_contradicted_before_any_is_contradicted_twice() -> None:
    """12 questions a shard: of ten records with three contradictions each, all firsts and two seconds are asked."""
    names = [f"r{number}" for number in range(10)]
    told = {f"{name} {turn}": (-4.0, -4.0 if turn == 0 else -6.0) for name in names for turn in range(3)}
    edits = [contradicted(name, *(f"{name} {turn}" for turn in range(3))) for name in names]

    verdict = gate({f"{name}?": 1.0 for name in names}, told=told).judge(
        CANDIDATE, edits, learned_before=(), always_on=False
    )

    assert verdict.metrics["following"] == pytest.approx(10 / 12, abs=1e-4)


def test_a_canary_that_loses_its_answer_is_named() -> None:
    """Every canary is asked of an adapter that is always on."""
    canaries = (("Who is director?", "Ms Lund."), ("Which number for fire?", "110."))
    judge = gate({"Who is director?": -0.1, "Which number for fire?": -0.9}, canaries=canaries, max_canary_loss=0.5)

    verdict = judge.judge(CANDIDATE, [], learned_before=(), always_on=True)

    assert (verdict.metrics["canaries"], verdict.failed) == (0.9, ("canaries",))
    assert verdict.reasons == (
        "the answer to the canary 'Which number for fire?' fell by 0.90 nats a token, at most 0.5",
    )


def test_a_shard_is_asked_only_the_canaries_that_would_reach_it() -> None:
    """Its texts share words with one of the two."""
    canaries = (("Who is director of the harbour?", "Ms Lund."), ("Which number for fire?", "110."))
    about = StudyItem(prompt="q", response="The harbour has a director.", form="question", held_out=True)
    edits = [SelfEdit(record_id="a", items=(about,), generator="test", seed=0)]

    verdict = gate({"q": 1.0, canaries[0][0]: 0.0, canaries[1][0]: -9.0}, canaries=canaries).judge(
        CANDIDATE, edits, learned_before=(), always_on=False
    )

    assert (verdict.passed, verdict.metrics["worst_canary"]) == (True, canaries[0][0])


@pytest.mark.parametrize(("sure", "share", "passes"), [(0, 0.75, True), (4, 0.5, True), (5, 0.4375, False)])
def test_unanswerable_questions_must_stay_doubted(sure: int, share: float, passes: bool) -> None:
    """Of 16, 12 lie below the base's usual confidence; an adapter that is sure of 4 of them loses 25 %."""
    assert len(unanswerable_questions()) == 16

    verdict = gate({}, sure=sure, max_abstention_drop=0.25).judge(CANDIDATE, [], learned_before=(), always_on=True)

    assert (verdict.metrics["abstention_base"], verdict.metrics["abstention"]) == (0.75, share)
    assert verdict.passed is passes


def test_a_score_that_is_no_number_is_not_learned() -> None:
    """An adapter that overflowed gives nan, and nan is smaller than nothing."""
    verdict = gate({"a": math.nan}).judge(CANDIDATE, [edit("a", "a")], learned_before=(), always_on=False)

    assert (verdict.passed, verdict.unlearned, verdict.metrics["mean_gain"]) == (False, ("a",), None)


def test_unrelated_prompts_are_not_asked_of_a_shard_that_is_chosen_by_the_question() -> None:
    """It does not serve them."""
    lm = ScoreTable({}, drift=9.0, wrong=100)

    verdict = over(lm).judge(CANDIDATE, [], learned_before=(), always_on=False)

    assert verdict.passed
    assert lm.drifted == []


@pytest.mark.parametrize(
    ("drift", "passes"), [(0.0, True), (0.5, True), (0.51, False), (math.nan, False), (math.inf, False)]
)
def test_an_adapter_that_is_always_on_may_drift_a_little(drift: float, passes: bool) -> None:
    """At most 0.5 nats a token."""
    verdict = gate({}, drift=drift, max_drift=0.5).judge(CANDIDATE, [], learned_before=(), always_on=True)

    assert verdict.passed is passes
    assert passes or "unrelated prompts drifted by" in verdict.reasons[0]


def test_adapters_that_are_always_on_together_drift_together() -> None:
    """0.3 nats a token pass alone, but not on top of the organisation's 0.3."""
    judge, above = gate({}, drift=0.3, max_drift=0.5), version("behaviour-1-v1", Path("nowhere"))

    alone = judge.judge(CANDIDATE, [], learned_before=(), always_on=True)
    stacked = judge.judge(CANDIDATE, [], learned_before=(), always_on=True, beside=[above])

    assert (alone.passed, stacked.failed, stacked.metrics["drift"]) == (True, ("drift",), 0.6)


@pytest.mark.parametrize(("wrong", "passes"), [(0, True), (6, True), (7, False)])
def test_grammar_and_common_sense_may_fall_a_little(wrong: int, passes: bool) -> None:
    """6 of 120 pairs are just 5 %, 7 are more."""
    assert len(minimal_pairs()) == 120

    verdict = gate({}, wrong=wrong, max_probe_drop=0.05).judge(CANDIDATE, [], learned_before=(), always_on=True)

    assert verdict.passed is passes
    assert verdict.metrics["probe_base"] == 1.0
    assert verdict.metrics["probe"] == pytest.approx(1 - wrong / 120, abs=1e-4)
    assert passes or "probe fell from 100.0% to 94.2%" in verdict.reasons[0]


def test_drift_is_measured_on_prompts_that_nothing_is_trained_on() -> None:
    """As many as the settings say."""
    lm = ScoreTable({})

    over(lm, drift_prompts=5).judge(CANDIDATE, [], learned_before=(), always_on=True)

    assert len(lm.drifted) == 5
    assert not set(lm.drifted) & set(study_prompts())


@pytest.mark.parametrize("count", [1, 7, 16, 48, 1000])
def test_probe_prompts_are_as_many_as_asked_for_if_there_are(count: int) -> None:
    """48 are for probing, none twice, none of them for studying."""
    prompts = probe_prompts(count)

    assert len(set(prompts)) == len(prompts) == min(count, 48)
    assert not set(prompts) & set(study_prompts())
