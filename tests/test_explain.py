"""`memory.explain`: what an answer came from, compared with scores taken apart from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_flow import KEYS, SHIFT, learn, open_memory
from written import Writer

from hybrid_memory import AdapterError, HybridMemory, NotFoundError
from hybrid_memory.answering.attribution import attribute
from hybrid_memory.evidence import ask
from hybrid_memory.types import AdapterVersion, Turn

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
