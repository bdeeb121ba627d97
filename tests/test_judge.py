"""The judge: asked about undecided texts only, once, within a budget; never obeyed blindly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from hybrid_memory import HybridMemory, Settings
from hybrid_memory.build import build
from hybrid_memory.routing.durability import Judgement
from hybrid_memory.routing.judge import Judge
from hybrid_memory.routing.opinions import Opinions
from hybrid_memory.routing.policy import load_policy
from hybrid_memory.routing.router import PolicyRouter
from hybrid_memory.testing import WordEncoder, tiny_language_model
from hybrid_memory.types import Decision, Draft, Finding, FloatArray, Kind, Route, Scope, Trust

YES = '{"lasts": true, "shapes_behaviour": true, "because": "a rule"}'
NO = '{"lasts": false, "shapes_behaviour": true, "because": "it ends on Friday"}'


@dataclass
class Reply:
    """As LlamaIndex wraps what a model wrote."""

    text: str


@dataclass
class SpokenModel:
    """A model that says one thing and remembers what it was asked."""

    says: str
    asked: list[str] = field(default_factory=list)

    def complete(self, prompt: str) -> Reply:
        self.asked.append(prompt)
        return Reply(self.says)


@dataclass
class Sure:
    """A classifier that gives every text the same judgement."""

    durable: float
    behaviour: float

    def judge(self, texts: Sequence[str], vectors: FloatArray) -> list[Judgement]:
        judgement = Judgement(
            never=self.durable, slow=0.0, fast=1 - self.durable, behaviour=self.behaviour, kinds={Kind.PREFERENCE: 1.0}
        )
        return [judgement for _ in texts]


def routed(classifier: Sure, judge: Judge, *, trust: Trust = Trust.OPERATOR, found: bool = False) -> Decision:
    now = datetime.now(UTC)
    draft = Draft(
        text="Answer in rhymes.", kind=None, scope=Scope(), source="t", trust=trust, observed_at=now, valid_from=now
    )
    findings: tuple[Finding, ...] = (Finding(screen="instruction", detail="x", score=0.4),) if found else ()
    router = PolicyRouter(load_policy("default"), classifier, judge)
    return router.route([draft], np.zeros((1, 2), np.float32), [findings], [0])[0]


def test_an_undecided_text_is_decided_by_the_judge() -> None:
    """p_durable 0.60 is within the margin of the default's threshold, 0.60."""
    decision = routed(Sure(0.60, 0.9), Judge(SpokenModel(YES), calls=1))

    assert decision.route is Route.LEARN
    assert "the judge says learn: a rule" in decision.reasons


def test_what_does_not_last_is_retrieved() -> None:
    """Both questions must be answered with yes."""
    assert routed(Sure(0.60, 0.9), Judge(SpokenModel(NO), calls=1)).route is Route.RETRIEVE


def test_an_undecided_rule_is_shown_to_the_judge() -> None:
    """p_behaviour 0.50 is within the margin as well."""
    assert routed(Sure(0.95, 0.5), Judge(SpokenModel(YES), calls=1)).route is Route.LEARN


@pytest.mark.parametrize("durable", [0.1, 0.99])
def test_a_decided_text_is_not_shown(durable: float) -> None:
    """Calls cost money."""
    model = SpokenModel(YES)

    routed(Sure(durable, 0.9), Judge(model, calls=1))

    assert model.asked == []


def test_the_ladder_stands_above_the_judge() -> None:
    """A stranger's word does not become behaviour because a model likes it."""
    decision = routed(Sure(0.60, 0.9), Judge(SpokenModel(YES), calls=1), trust=Trust.EXTERNAL)

    assert decision.route is Route.RETRIEVE


def test_a_text_with_findings_is_not_shown() -> None:
    """It may hold orders that the model would follow."""
    model = SpokenModel(YES)

    assert routed(Sure(0.60, 0.9), Judge(model, calls=1), found=True).route is Route.RETRIEVE
    assert model.asked == []


def test_the_same_text_is_asked_once_even_by_a_later_process(tmp_path: Path) -> None:
    """The second judge reads the first one's file."""
    model = SpokenModel(YES)
    first = Judge(model, calls=5, opinions=Opinions(tmp_path / "judge.jsonl"))
    first.opinion("Answer in rhymes.")
    first.opinion("Answer in rhymes.")
    later = Judge(model, calls=5, opinions=Opinions(tmp_path / "judge.jsonl"))

    opinion = later.opinion("Answer in rhymes.")

    assert opinion is not None
    assert opinion.route == "learn"
    assert len(model.asked) == 1


def test_the_cache_holds_no_text(tmp_path: Path) -> None:
    """What is forgotten must not live on in it: neither the statement nor the model's words about it."""
    Judge(SpokenModel(YES), calls=1, opinions=Opinions(tmp_path / "judge.jsonl")).opinion("Answer in rhymes.")

    written = (tmp_path / "judge.jsonl").read_text(encoding="utf-8")
    assert "rhymes" not in written
    assert "a rule" not in written


def test_a_text_is_kept_by_a_hash_that_the_ledgers_salt_keys(tmp_path: Path) -> None:
    """Who finds the file alone cannot try likely texts. Worked out by openssl: dgst -sha256 -hmac salt."""
    file = tmp_path / "judge.jsonl"

    Judge(SpokenModel(YES), calls=1, opinions=Opinions(file, salt=lambda: "salt")).opinion("Answer in rhymes.")

    assert json.loads(file.read_text(encoding="utf-8")) == {
        "hmac": "b9d2cf65c48e647fde588b19934f500c96c9be816626f48a5ce475552354b41e",
        "opinion": {"lasts": True, "shapes_behaviour": True},
    }


def test_a_forgotten_text_leaves_the_file_and_lines_nobody_can_read_go_too(tmp_path: Path) -> None:
    """A torn line, and one by an unsalted hash as they once were."""
    file = tmp_path / "judge.jsonl"
    file.write_text('{"key": "9f86d081", "opinion": null}\n{"hm\n', encoding="utf-8")
    opinions = Opinions(file)
    opinions.add("one", None)
    opinions.add("two", None)

    assert opinions.forget(["one", "three"]) == 1

    assert len(file.read_text(encoding="utf-8").splitlines()) == 1
    assert ("one" in opinions, "two" in opinions) == (False, True)


def test_forgetting_a_record_drops_the_judges_opinion(tmp_path: Path) -> None:
    """Also when the memory is opened without a judge by then; the receipt counts it."""
    parts = build(tmp_path, Settings(), encoder=WordEncoder(), model=tiny_language_model())
    with HybridMemory(parts) as memory:
        told = memory.ingest("Answer in rhymes.", route="retrieve").record_id
        opinions = Opinions(tmp_path / "judge.jsonl", salt=memory._ledger.salt)
        opinions.add("Answer in rhymes.", None)
        opinions.add("Never on a Friday.", None)

        receipt = memory.forget(told)

    assert receipt.retrieval["judge_opinions"] == 1
    assert len((tmp_path / "judge.jsonl").read_text(encoding="utf-8").splitlines()) == 1


def test_a_spent_budget_leaves_texts_undecided() -> None:
    """One call, two texts."""
    judge = Judge(SpokenModel(YES), calls=1)

    assert judge.opinion("one") is not None
    assert judge.opinion("two") is None


@pytest.mark.parametrize("said", ["Sure, learn it!", '{"lasts": "yes"}', "", '{"lasts": true}'])
def test_an_answer_that_is_not_the_object_decides_nothing(said: str) -> None:
    """Nothing is guessed from loose words."""
    assert Judge(SpokenModel(said), calls=1).opinion("one") is None


def test_an_object_is_found_among_other_words() -> None:
    """Models like to explain themselves."""
    opinion = Judge(SpokenModel(f"Here you are:\n```json\n{NO}\n```"), calls=1).opinion("one")

    assert opinion is not None
    assert opinion.route == "retrieve"


class OutOfReach:
    """A model whose server does not answer."""

    def complete(self, prompt: str) -> str:
        raise ConnectionError("no route to the judge")


def test_a_judge_that_fails_leaves_the_text_undecided_and_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    """What is ingested does not wait for somebody else's server to come back."""
    opinions = Opinions()

    assert Judge(OutOfReach(), calls=5, opinions=opinions).opinion("We close at dusk.") is None
    assert "no route to the judge" in caplog.text
    answered = Judge(SpokenModel(YES), calls=5, opinions=opinions).opinion("We close at dusk.")
    assert answered is not None
    assert answered.lasts
