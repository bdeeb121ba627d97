"""The router: which step decides, and the reason it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from hybrid_memory.routing.durability import Judgement
from hybrid_memory.routing.policy import load_policy
from hybrid_memory.routing.router import PolicyRouter
from hybrid_memory.types import (
    Decision,
    Draft,
    Finding,
    FloatArray,
    Json,
    Kind,
    Route,
    Scope,
    Sensitivity,
    Slot,
    Trust,
)

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


def judged(
    *, never: float = 0.0, slow: float = 0.0, fast: float = 0.0, behaviour: float = 0.0, kind: Kind = Kind.FACT
) -> Judgement:
    return Judgement(
        never=never, slow=slow, fast=fast, behaviour=behaviour, kinds={each: float(each is kind) for each in Kind}
    )


RULE = judged(never=0.9, fast=0.1, behaviour=0.95, kind=Kind.PROCEDURE)
LASTING = judged(never=0.95, fast=0.05, behaviour=0.02)
PRICE = judged(never=0.05, slow=0.1, fast=0.85, behaviour=0.02)
TALK = judged(fast=1.0, kind=Kind.CONVERSATION)


class Says:
    """A classifier that gives every text the judgement the test chose."""

    def __init__(self, judgement: Judgement) -> None:
        self._judgement = judgement

    def judge(self, texts: Sequence[str], vectors: FloatArray) -> list[Judgement]:
        """Return the same judgement for each."""
        assert len(vectors) == len(texts)
        return [self._judgement] * len(texts)


def drafted(
    text: str = "Refunds are paid within 14 days.",
    *,
    kind: Kind | None = None,
    trust: Trust = Trust.OPERATOR,
    source: str = "test",
    slot: Slot | None = None,
    metadata: Mapping[str, Json] | None = None,
) -> Draft:
    return Draft(
        text=text,
        kind=kind,
        scope=Scope(),
        source=source,
        trust=trust,
        observed_at=NOON,
        valid_from=NOON,
        slot=slot,
        metadata=metadata or {},
    )


def decided(
    draft: Draft,
    judgement: Judgement = RULE,
    *,
    policy: str | Path = "default",
    findings: tuple[Finding, ...] = (),
    confirmations: int = 0,
) -> Decision:
    router = PolicyRouter(load_policy(policy), Says(judgement))
    vectors = np.zeros((1, 2), dtype=np.float32)
    return router.route([draft], vectors, [findings], [confirmations])[0]


# ---------------------------------------------------------------- classifier and thresholds


def test_a_lasting_rule_from_the_operator_is_learned() -> None:
    """Durable, behaviour-shaping and vouched for."""
    decision = decided(drafted())

    assert decision.route is Route.LEARN
    assert decision.kind is Kind.PROCEDURE
    assert decision.reasons == (
        "behaviour-shaping (p=0.95) and lasting (p=0.90, needs 0.60)",
        "the operator vouches for it",
    )


def test_a_volatile_text_stays_in_retrieval_whoever_says_it() -> None:
    """Even the operator's prices go stale."""
    decision = decided(drafted("The desk costs $49."), PRICE)

    assert decision.route is Route.RETRIEVE
    assert decision.reasons == ("a plain fact, but may change (p_durable=0.10, needs 0.95)",)


def test_half_of_slow_counts_as_durable() -> None:
    """p_durable = P(never) + 0.5 P(slow), worked out by hand."""
    decision = decided(drafted(), judged(never=0.3, slow=0.5, fast=0.2))

    assert decision.p_durable == pytest.approx(0.55)


def test_a_plain_fact_needs_more_certainty_than_a_rule() -> None:
    """0.7 suffices for behaviour (0.6) and not for a fact (0.947)."""
    assert decided(drafted(), judged(never=0.7, fast=0.3, behaviour=0.9)).route is Route.LEARN
    assert decided(drafted(), judged(never=0.7, fast=0.3, behaviour=0.1)).route is Route.RETRIEVE


def test_within_the_margin_is_undecided_and_retrieved() -> None:
    """0.62 is above 0.60, but closer than the margin of 0.03."""
    decision = decided(drafted(), judged(never=0.62, fast=0.38, behaviour=0.9))

    assert decision.route is Route.RETRIEVE
    assert "undecided" in decision.reasons[0]


def test_small_talk_is_dropped() -> None:
    """There is nothing to retrieve in it."""
    assert decided(drafted("ok thanks"), TALK).route is Route.DROP


def test_a_long_text_is_never_dropped_as_small_talk() -> None:
    """Losing a page because it sounds chatty would be worse than keeping it."""
    assert decided(drafted("thanks " * 13), TALK).route is Route.RETRIEVE


def test_a_lone_question_is_never_learned() -> None:
    """It holds no answer; its p_durable speaks of the answer."""
    decision = decided(drafted("What is the capital of France?"), LASTING)

    assert decision.route is Route.RETRIEVE
    assert decision.reasons == ("a question without its answer",)


def test_a_request_in_question_form_is_still_behaviour() -> None:
    """ "Could you always ...?" shapes answers."""
    assert decided(drafted("Could you always answer in French?")).route is Route.LEARN


# ---------------------------------------------------------------- what the caller stated


@pytest.mark.parametrize("kind", [Kind.PREFERENCE, Kind.EXAMPLE])
def test_an_explicit_preference_or_example_of_a_user_is_learned_at_once(kind: Kind) -> None:
    """The application handed it in as such; the classifier is not asked."""
    decision = decided(drafted(kind=kind, trust=Trust.USER), PRICE)

    assert (decision.route, decision.kind) == (Route.LEARN, kind)
    assert decision.reasons[0] == f"an explicit {kind.value} from the user"


def test_a_preference_of_a_stranger_climbs_the_ladder() -> None:
    """External sources cannot vouch for themselves."""
    assert decided(drafted(kind=Kind.PREFERENCE, trust=Trust.EXTERNAL)).route is Route.RETRIEVE


def test_a_fact_in_a_slot_is_retrieved_however_lasting_it_sounds() -> None:
    """A slot declares that a newer value may come."""
    decision = decided(drafted(kind=Kind.FACT, slot=Slot("desk", "Price")), LASTING)

    assert decision.route is Route.RETRIEVE
    assert decision.reasons == ("fills the slot 'price', whose value may be replaced",)


def test_a_slot_the_policy_calls_durable_is_learned(tmp_path: Path) -> None:
    """Globs on the attribute, case folded."""
    path = tmp_path / "m.toml"
    path.write_text('name = "m"\n[slots]\ndurable = ["Founded*"]', encoding="utf-8")

    assert decided(drafted(slot=Slot("Acme", "founded  IN")), PRICE, policy=path).route is Route.LEARN


def test_a_stated_event_is_retrieved() -> None:
    """Events happened once; they are looked up."""
    assert decided(drafted(kind=Kind.EVENT)).reasons == ("an event",)


def test_news_that_sounds_lasting_is_retrieved() -> None:
    """The classifier's kind counts when the caller stated none."""
    decision = decided(drafted(), judged(never=1.0, behaviour=0.9, kind=Kind.EVENT))

    assert (decision.route, decision.reasons) == (Route.RETRIEVE, ("reads like an event",))


# ---------------------------------------------------------------- ladder


@pytest.mark.parametrize(
    ("trust", "confirmations", "route"),
    [
        (Trust.OPERATOR, 0, Route.LEARN),
        (Trust.USER, 0, Route.RETRIEVE),
        (Trust.USER, 1, Route.LEARN),
        (Trust.EXTERNAL, 0, Route.RETRIEVE),
        (Trust.EXTERNAL, 100, Route.RETRIEVE),
    ],
)
def test_the_ladder_asks_more_of_those_who_are_trusted_less(trust: Trust, confirmations: int, route: Route) -> None:
    """Default: operators one source, users two, strangers never."""
    assert decided(drafted(trust=trust), confirmations=confirmations).route is route


def test_strangers_alone_teach_nothing() -> None:
    """However many they are; the reason says what would help."""
    decision = decided(drafted(trust=Trust.EXTERNAL), confirmations=100)

    assert decision.reasons[-1] == "strangers alone teach nothing: a user or the operator has to say it too"


@pytest.mark.parametrize(("confirmations", "route"), [(1, Route.RETRIEVE), (2, Route.LEARN)])
def test_a_policy_may_believe_enough_strangers(tmp_path: Path, confirmations: int, route: Route) -> None:
    """`external = 3` asks for three."""
    path = tmp_path / "m.toml"
    path.write_text('name = "m"\n[ladder]\nexternal = 3', encoding="utf-8")

    assert decided(drafted(trust=Trust.EXTERNAL), policy=path, confirmations=confirmations).route is route


def test_waiting_on_the_ladder_says_how_long() -> None:
    """The reason counts this source in."""
    assert decided(drafted(trust=Trust.USER)).reasons[-1] == "waits on the ladder: 1 of 2 confirmations"


# ---------------------------------------------------------------- screens


@pytest.mark.parametrize(
    ("screen", "trust", "route"),
    [
        ("secret", Trust.OPERATOR, Route.QUARANTINE),
        ("personal", Trust.OPERATOR, Route.RETRIEVE),
        ("instruction", Trust.EXTERNAL, Route.QUARANTINE),
        ("instruction", Trust.USER, Route.QUARANTINE),
        ("instruction", Trust.OPERATOR, Route.LEARN),
    ],
)
def test_what_a_screen_sees_limits_the_route(screen: str, trust: Trust, route: Route) -> None:
    """Of a rule that would be learned otherwise."""
    found = (Finding(screen=screen, detail="something", score=0.9),)

    assert decided(drafted(trust=trust), findings=found, confirmations=5).route is route


def test_a_policy_may_keep_what_users_paste_findable(tmp_path: Path) -> None:
    """`user_instruction = "retrieve"`: searched, but never learned."""
    path = tmp_path / "m.toml"
    path.write_text('name = "m"\n[sensitivity]\nuser_instruction = "retrieve"', encoding="utf-8")
    found = (Finding(screen="instruction", detail="a new role for the model", score=0.9),)

    assert decided(drafted(trust=Trust.USER), policy=path, findings=found, confirmations=5).route is Route.RETRIEVE


def test_a_weak_sign_of_an_instruction_does_not_set_external_text_aside() -> None:
    """It only keeps the text out of the weights."""
    found = (Finding(screen="instruction", detail="a question", score=0.4),)

    assert decided(drafted(trust=Trust.EXTERNAL), findings=found, confirmations=5).route is Route.RETRIEVE


@pytest.mark.parametrize(("kind", "route"), [(Kind.PREFERENCE, Route.LEARN), (None, Route.RETRIEVE)])
def test_a_users_wish_about_the_form_of_answers_is_learned_as_a_preference(kind: Kind | None, route: Route) -> None:
    """In plain text, however often, it may be somebody else's: mails and pages ask for such things too."""
    found = (Finding(screen="instruction", detail="an order to shape the answer", score=0.7),)

    assert decided(drafted(kind=kind, trust=Trust.USER), findings=found, confirmations=5).route is route


def test_the_strictest_finding_wins() -> None:
    """A secret beside personal data is quarantined, and both are reasons."""
    found = (Finding(screen="personal", detail="a phone number"), Finding(screen="secret", detail="a password or key"))
    decision = decided(drafted(), findings=found)

    assert (decision.route, decision.sensitivity) == (Route.QUARANTINE, Sensitivity.SECRET)
    assert decision.reasons == (
        "the personal screen saw a phone number: kept out of the weights",
        "the secret screen saw a password or key: set aside for review",
    )


def test_a_policy_may_allow_learning_personal_data(tmp_path: Path) -> None:
    """`personal = "learn"` lifts the ban."""
    path = tmp_path / "m.toml"
    path.write_text('name = "m"\n[sensitivity]\npersonal = "learn"', encoding="utf-8")
    found = (Finding(screen="personal", detail="a phone number"),)

    assert decided(drafted(), policy=path, findings=found).route is Route.LEARN


# ---------------------------------------------------------------- rules


def ruled(folder: Path, match: str, route: str) -> Path:
    path = folder / "m.toml"
    path.write_text(f'name = "m"\n[[rules]]\nname = "r"\nmatch = {match}\nroute = "{route}"', encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("match", "matches"),
    [
        ("{}", True),
        ('{ kind = "fact" }', True),
        ('{ kind = "event" }', False),
        ('{ source = "kb/*" }', True),
        ('{ source = "mail/*" }', False),
        ('{ trust = "operator" }', True),
        ('{ trust = "user" }', False),
        ('{ pattern = "REFUNDS? are" }', True),
        ('{ pattern = "^paid" }', False),
        ('{ attribute = "del*" }', True),
        ('{ attribute = "price" }', False),
        ("{ metadata.team = 7 }", True),
        ('{ metadata.team = "7" }', False),
        ('{ source = "kb/*", trust = "user" }', False),
    ],
)
def test_a_rule_matches_when_every_condition_holds(tmp_path: Path, match: str, *, matches: bool) -> None:
    """Kind, source glob, trust, pattern, attribute glob, metadata."""
    draft = drafted(kind=Kind.FACT, source="kb/returns.md", slot=Slot("refund", "Delay"), metadata={"team": 7})
    decision = decided(draft, policy=ruled(tmp_path, match, "drop"))

    assert (decision.route is Route.DROP) is matches


def test_a_rule_decides_before_the_classifier(tmp_path: Path) -> None:
    """Its name is the first reason."""
    decision = decided(drafted(), PRICE, policy=ruled(tmp_path, "{}", "learn"))

    assert decision.route is Route.LEARN
    assert decision.reasons[0] == "rule 'r': learn"


def test_no_rule_takes_a_secret_into_the_weights(tmp_path: Path) -> None:
    """Screens come after rules and can only be stricter."""
    found = (Finding(screen="secret", detail="a private key"),)

    assert decided(drafted(), policy=ruled(tmp_path, "{}", "learn"), findings=found).route is Route.QUARANTINE


def test_no_rule_lifts_a_stranger_over_the_ladder(tmp_path: Path) -> None:
    """One utterance of an external source never reaches the weights."""
    path = ruled(tmp_path, "{}", "learn")

    assert decided(drafted(trust=Trust.EXTERNAL), policy=path).route is Route.RETRIEVE


def test_the_retrieval_only_policy_learns_nothing() -> None:
    """Not even an explicit preference of the operator."""
    assert decided(drafted(kind=Kind.PREFERENCE), policy="retrieval_only").route is Route.RETRIEVE


def test_the_regulated_policy_lets_only_operators_teach() -> None:
    """However often users say it."""
    assert decided(drafted(), policy="regulated").route is Route.LEARN
    assert decided(drafted(trust=Trust.USER), policy="regulated", confirmations=50).route is Route.RETRIEVE


# ---------------------------------------------------------------- the rest of a decision


def test_a_lifetime_is_given_to_fast_facts_that_are_retrieved(tmp_path: Path) -> None:
    """Two days are 172,800 seconds; lasting texts get none."""
    path = tmp_path / "m.toml"
    path.write_text('name = "m"\n[lifetimes]\nfast = 2', encoding="utf-8")

    assert decided(drafted(), PRICE, policy=path).ttl_s == 172_800
    assert decided(drafted(trust=Trust.USER), LASTING, policy=path).ttl_s is None
    assert decided(drafted(), PRICE).ttl_s is None


def test_a_decision_names_its_policy() -> None:
    """Name and fingerprint, the same as the router's."""
    policy = load_policy("default")

    assert decided(drafted()).policy == f"default@{policy.fingerprint}" == PolicyRouter(policy, Says(RULE)).name


def test_every_draft_gets_its_own_decision_in_order() -> None:
    """A batch is decided row by row."""
    router = PolicyRouter(load_policy("default"), Says(RULE))
    drafts = [drafted(trust=Trust.USER), drafted(), drafted(kind=Kind.EVENT)]

    decisions = router.route(drafts, np.zeros((3, 2), dtype=np.float32), [(), (), ()], [0, 0, 0])

    assert [decision.route for decision in decisions] == [Route.RETRIEVE, Route.LEARN, Route.RETRIEVE]


def test_nothing_to_route_is_no_decision() -> None:
    """An empty batch asks nobody."""
    assert PolicyRouter(load_policy("default"), Says(RULE)).route([], np.zeros((0, 2), dtype=np.float32), [], []) == []
