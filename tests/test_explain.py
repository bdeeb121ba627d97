"""`memory.explain`: what an answer came from, compared with scores taken apart from it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_flow import KEYS, SHIFT, learn, open_memory
from written import Writer

from hybrid_memory import AdapterError, HybridMemory, NotFoundError
from hybrid_memory.answering.attribution import attribute, attribute_label
from hybrid_memory.evidence import ask
from hybrid_memory.types import AdapterVersion, Example, Preference, Stretch, Turn

QUESTION = "When does the night shift at the harbour office start?"


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[HybridMemory]:
    with open_memory(tmp_path / "memory", answer={"passages": 2, "min_similarity": -1.0}) as opened:
        yield opened


def test_it_scores_the_answer_with_and_without_each_half(memory: HybridMemory) -> None:
    """The oracle: the chats written out by hand, scored by the model itself."""
    shift, keys = learn(memory, SHIFT, KEYS)
    memory.consolidate()
    answer = memory.query(QUESTION)
    version = memory.adapters.get(answer.adapters[0])
    lm = memory._parts.language_model()
    dates = {hit.id: f"{hit.text} (since {hit.record.valid_from:%Y-%m-%d})" for hit in answer.sources}
    whole = ask(QUESTION, [dates[keys], dates[shift]])
    pairs = [(whole, answer.text), (ask(QUESTION), answer.text)]
    evidence, base = lm.score(pairs)
    both, adapters = lm.score(pairs, adapters=[version])
    alone = lm.score([(ask(QUESTION, [KEYS]), answer.text)], adapters=[version])[0]

    found = memory.explain(answer)

    assert found.logprob == pytest.approx(
        {"both": both, "evidence": evidence, "adapters": adapters, "base": base}, abs=1e-4
    )
    assert found.base + found.evidence + found.adapter == pytest.approx(both, abs=1e-4)
    assert found.sources[shift] == pytest.approx(both - alone, abs=1e-4)
    assert found.adapters == pytest.approx({version.id: both - evidence}, abs=1e-4)
    assert memory.explain(answer.id) == found


def test_an_answer_from_an_excerpt_is_scored_with_the_excerpt(memory: HybridMemory) -> None:
    """Not with the whole record, which the model did not read."""
    memory.ingest(f"{SHIFT} {KEYS}", route="retrieve", trust="operator")
    answer = memory.query(QUESTION, mode="retrieval_only")
    lm = memory._parts.language_model()
    (evidence,) = lm.score([(ask(QUESTION, [answer.sources[0].excerpt or ""]), answer.text)])

    assert answer.sources[0].excerpt == SHIFT
    assert memory.explain(answer).logprob["evidence"] == pytest.approx(evidence, abs=1e-4)


def test_a_half_that_took_no_part_gives_nothing(memory: HybridMemory) -> None:
    """Neither evidence in weights_only, nor adapters in retrieval_only."""
    learn(memory, SHIFT)
    memory.consolidate()

    by_weights = memory.explain(memory.query(QUESTION, mode="weights_only"))
    by_retrieval = memory.explain(memory.query(QUESTION, mode="retrieval_only"))

    assert (by_weights.evidence, by_weights.sources) == (pytest.approx(0), {})
    assert (by_retrieval.adapter, by_retrieval.adapters) == (pytest.approx(0), {})


def test_a_forgotten_answer_cannot_be_explained(memory: HybridMemory) -> None:
    """What it stood on is gone."""
    (record,) = learn(memory, SHIFT)
    answer = memory.query(QUESTION)
    memory.forget(record)

    with pytest.raises(NotFoundError, match="no recent answer"):
        memory.explain(answer)


def test_an_answer_whose_adapter_is_deleted_says_so(memory: HybridMemory) -> None:
    """Older versions are kept only for a while."""
    learn(memory, SHIFT)
    memory.consolidate()
    answer = memory.query(QUESTION)
    memory.adapters.disable("facts-1")
    memory._parts.upkeep.delete([memory.adapters.get("facts-1-v1")])

    with pytest.raises(AdapterError, match="facts-1-v1 cannot serve: its files were deleted"):
        memory.explain(answer)


class Scores(Writer):
    """A language model that scores by what stands in the chat and which adapters are on."""

    def score(
        self, pairs: list[tuple[tuple[Turn, ...], str]], *, adapters: list[AdapterVersion] | tuple[()] = ()
    ) -> list[float]:
        return [-6.0 + 3.0 * ("Fact" in turns[0].content) + 1.0 * len(adapters) for turns, _ in pairs]


@pytest.mark.parametrize(
    ("shown", "adapters", "origin"),
    [(["Fact."], 1, "mostly from the evidence"), ([], 1, "mostly from the adapters"), ([], 0, "from the base model")],
)
def test_the_summary_names_the_greatest_share(shown: list[str], adapters: int, origin: str) -> None:
    """Evidence gives 3 nats a token here, each adapter 1, the base -6."""
    from tiny_adapters import version

    found = attribute(
        Scores([]),  # type: ignore[arg-type]
        "So.",
        answer_id="a",
        whole=ask("Where?", shown),
        bare=ask("Where?"),
        without={},
        adapters=[version(f"facts-{number}-v1", Path()) for number in range(adapters)],
    )

    assert found.summary.startswith(origin)
    assert (found.evidence, found.adapter, found.base) == (3.0 * len(shown), 1.0 * adapters, -6.0)


def test_evidence_that_was_left_out_of_the_prompt_gives_nothing(tmp_path: Path) -> None:
    """To save tokens the shard answered alone: its source is known, and no part of what was written."""
    saving = {"passages": 1, "min_similarity": -1.0, "without_evidence_from": 0.0}
    with open_memory(tmp_path / "memory", answer=saving) as memory:
        learn(memory, SHIFT)
        memory.consolidate()
        answer = memory.query(SHIFT)

        found = memory.explain(answer)

    assert ([hit.text for hit in answer.sources], answer.shown) == ([SHIFT], ())
    assert (found.sources, found.evidence) == ({}, pytest.approx(0))
    assert found.base + found.adapter == pytest.approx(found.logprob["both"], abs=1e-4)


def test_what_behaviour_added_at_the_end_is_not_scored_with_the_rest() -> None:
    """The shard gives 1 nat a token to what it wrote itself; the last words are named, with whose they are."""
    from tiny_adapters import version

    found = attribute(
        Scores([]),  # type: ignore[arg-type]
        "So.",
        answer_id="a",
        whole=ask("Where?"),
        bare=ask("Where?"),
        without={},
        adapters=[version("facts-1-v1", Path())],
        closing=[Stretch("Stay safe.", ("behaviour-1-v1",))],
    )

    assert (found.adapters, found.adapter, found.base) == ({"facts-1-v1": 1.0}, 1.0, -6.0)
    assert found.not_attributed == ("the closing 'Stay safe.': behaviour-1-v1 wrote it after the rest",)


def test_each_stretch_of_an_answer_is_known_by_its_adapters(memory: HybridMemory) -> None:
    """The shard wrote the first, behaviour the second; only the first is scored, with the shard alone."""
    learn(memory, SHIFT)
    memory.ingest(Preference('End every answer with "Stay safe."'), trust="operator")
    memory.consolidate()
    answer = memory.query(QUESTION, max_new_tokens=64)
    facts = memory.adapters.get("facts-1-v1")

    found = memory.explain(answer)

    first = answer.written[0]
    both = memory._parts.language_model().score([(ask(QUESTION, [SHIFT]), first.text)], adapters=[facts])[0]
    assert [hit.text for hit in answer.sources if hit.id in answer.shown] == [SHIFT]
    assert first.adapters == ("facts-1-v1",)
    assert found.logprob["both"] == pytest.approx(both, abs=1e-4)
    assert list(found.adapters) == ["facts-1-v1"]


class LabelScores(Writer):
    """An adapter that finds K4 likelier than K1 by 2 nats a token."""

    def score(
        self, pairs: list[tuple[tuple[Turn, ...], str]], *, adapters: list[AdapterVersion] | tuple[()] = ()
    ) -> list[float]:
        return [-1.0 if label == "K4" else -3.0 for _, label in pairs]


def test_a_label_is_explained_by_the_vote_and_the_adapter_that_chose_it() -> None:
    """The neighbours are for K1, the adapter for K4; each alone, both and neither are worked out by hand."""
    from tiny_adapters import version

    found = attribute_label(
        LabelScores([]),  # type: ignore[arg-type]
        "K4",
        answer_id="a",
        question=ask("My parcel is wet."),
        vote={"K1": 0.73, "K4": 0.23},
        adapters=[version("examples-1-v1", Path())],
        trust=1.0,
    )

    # with the doubt 0.75 against 0.25: by the vote alone K4 is 1/4 likely, with the adapter 1 / (1 + 3 exp(-2))
    assert found.logprob == pytest.approx(
        {
            "both": -math.log(1 + 3 * math.exp(-2)),
            "evidence": math.log(0.25),
            "adapters": -math.log(1 + math.exp(-2)),
            "base": math.log(0.5),
        }
    )
    assert found.base + found.evidence + found.adapter == pytest.approx(found.logprob["both"])
    assert found.evidence < 0 < found.adapter
    assert found.not_attributed == ("what each example gives: they voted together, see the answer's trace",)


def test_a_label_that_only_the_vote_chose_owes_nothing_to_adapters(memory: HybridMemory) -> None:
    """Two equal examples of one label: the vote had no choice, and says so."""
    for prompt in ("My parcel is wet.", "My parcel is soaked."):
        memory.ingest(Example(prompt, "desk K4"), trust="operator")

    found = memory.explain(memory.query("My parcel is damp.", filters={"kind": "example"}))

    assert found.text == "desk K4"
    assert (found.adapter, found.adapters) == (pytest.approx(0), {})


def test_an_answer_that_nobody_wrote_is_not_attributed(tmp_path: Path) -> None:
    """It abstained: the words are fixed."""
    with open_memory(tmp_path / "memory", answer={"min_confidence": 1.0}) as memory:
        answer = memory.query("Who is the mayor?")

        found = memory.explain(answer)

    assert answer.abstained
    assert (found.evidence, found.adapter, found.not_attributed) == (0, 0, ("it abstained: nothing wrote these words",))
