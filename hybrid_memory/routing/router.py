"""Decide where each draft goes, and say why.

Flow:    draft, vector, findings, confirmations -> [route] -> Decision -> ledger.
Imports: types (never a sibling stage).

Order: hard rules of the policy, screens, classifier, ladder. Each step may add a reason; a
later step can only be stricter than an earlier one, so no rule takes a secret into the weights.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from hybrid_memory.routing.durability import Classifier, Judgement
from hybrid_memory.routing.judge import Judge
from hybrid_memory.routing.language import detected_language
from hybrid_memory.routing.policy_tables import Match, Policy
from hybrid_memory.routing.turns import states_nothing
from hybrid_memory.types import Decision, Draft, Finding, FloatArray, Kind, Route, Sensitivity, Trust

__all__ = ["PolicyRouter"]

DAY_S = 86_400.0
SURE = 0.5
"""Least score of a finding that sets external text aside; a weaker one only keeps it out of the weights."""
GRAVE = 0.85
"""Least score that sets a user's text aside: users may say how they want their answers, best as a Preference."""
LONGEST_CHATTER = 12
"""Words; a longer text is never dropped as small talk."""
_FINAL = (Route.DROP, Route.QUARANTINE)


@dataclass(frozen=True, slots=True)
class _Case:
    """One draft with all that is known about it, and the reasons gathered so far."""

    draft: Draft
    judgement: Judgement
    findings: tuple[Finding, ...]
    said: int
    """Distinct sources of at least this standing that said it, this one included."""
    reasons: list[str] = field(default_factory=list)

    @property
    def explicit(self) -> bool:
        """Handed in as a Preference, an Example or a Task by somebody the application knows."""
        return self.draft.kind in (Kind.PREFERENCE, Kind.EXAMPLE, Kind.TASK) and self.draft.trust is not Trust.EXTERNAL


class PolicyRouter:
    """A Router that follows one policy."""

    def __init__(self, policy: Policy, classifier: Classifier, judge: Judge | None = None) -> None:
        """`judge` is asked about what the classifier leaves undecided; without one that is retrieved."""
        self._judge = judge
        self.policy = policy
        """What it follows."""
        self._classifier = classifier
        self._name = f"{policy.name}@{policy.fingerprint}"

    @property
    def name(self) -> str:
        """Name and fingerprint of the policy, as "default@1a2b3c4d5e6f"."""
        return self._name

    @property
    def patience_s(self) -> float | None:
        """Seconds without conflict that count as one more source for what users say; None: age does not count."""
        days = self.policy.ladder.days
        return None if days is None else days * DAY_S

    def quota(self, trust: Trust) -> int | None:
        """Return how many records of one source may be on their way into the weights or in them."""
        quotas = self.policy.quotas
        return {Trust.USER: quotas.user, Trust.EXTERNAL: quotas.external}.get(trust)

    def route(
        self,
        drafts: Sequence[Draft],
        vectors: FloatArray,
        findings: Sequence[tuple[Finding, ...]],
        confirmations: Sequence[int],
    ) -> list[Decision]:
        """Return one decision per draft.

        Args:
            drafts: what has been read and stamped.
            vectors: shape (len(drafts), dim); the embedding of each draft's text.
            findings: what the screens saw in each.
            confirmations: how many distinct sources of at least its standing said the same before, per draft.
        """
        if not drafts:
            return []
        judgements = self._classifier.judge([draft.text for draft in drafts], vectors)
        cases = [
            _Case(draft, judgement, found, confirmed + 1)
            for draft, judgement, found, confirmed in zip(drafts, judgements, findings, confirmations, strict=True)
        ]
        return [self._decision(case, self._route(case)) for case in cases]

    def _route(self, case: _Case) -> Route:
        ruled = self._by_rules(case)
        if ruled in _FINAL:
            return ruled
        screened = self._by_screens(case)
        if screened in _FINAL:
            return screened
        route = ruled or self._by_classifier(case)
        if route is not Route.LEARN:
            return route
        if screened is Route.RETRIEVE:
            case.reasons.append("would be learned, but what the screen saw keeps it out of the weights")
            return Route.RETRIEVE
        return self._by_ladder(case)

    def _decision(self, case: _Case, route: Route) -> Decision:
        return Decision(
            route=route,
            kind=case.draft.kind or (Kind.FACT if case.draft.slot else case.judgement.kind),
            p_durable=case.judgement.p_durable,
            p_behaviour=case.judgement.behaviour,
            sensitivity=_sensitivity(case.findings),
            trust=case.draft.trust,
            reasons=tuple(case.reasons),
            policy=self._name,
            ttl_s=self._ttl_s(case) if route is Route.RETRIEVE else None,
        )

    # ------------------------------------------------------------ the steps, in order

    def _by_rules(self, case: _Case) -> Route | None:
        for rule in self.policy.rules:
            if _matches(rule.match, case.draft):
                case.reasons.append(f"rule {rule.name!r}: {rule.reason or rule.route.value}")
                return rule.route
        return None

    def _by_screens(self, case: _Case) -> Route | None:
        """Return the strictest route that the findings ask for; None leaves the draft alone."""
        asked = [self._by_finding(case, finding) for finding in case.findings]
        return next((route for route in (Route.QUARANTINE, Route.DROP, Route.RETRIEVE) if route in asked), None)

    def _by_finding(self, case: _Case, finding: Finding) -> Route | None:
        seen = f"the {finding.screen} screen saw {finding.detail}"
        policy = self.policy.sensitivity
        if finding.screen == "secret":
            route: Route | None = policy.secret
        elif finding.screen == "personal":
            route = None if policy.personal is Route.LEARN else policy.personal
        elif case.draft.trust is Trust.EXTERNAL:
            route = policy.instruction if finding.score >= SURE else Route.RETRIEVE
        elif case.draft.trust is Trust.USER and finding.score >= GRAVE:
            # A user may paste a mail with a hidden order: found by a search, it would speak to the model again.
            route = policy.user_instruction
        else:
            # How answers should look is the user's to say, but as a Preference: pasted text says such things as well.
            route = Route.RETRIEVE if case.draft.trust is Trust.USER and not case.explicit else None
        case.reasons.append(f"{seen}: {_CONSEQUENCE[route]}")
        return route

    def _by_classifier(self, case: _Case) -> Route:
        for step in (
            self._as_chatter,
            self._as_empty_turn,
            self._as_stated,
            self._as_event,
            self._as_question,
            self._as_behaviour,
        ):
            route = step(case)
            if route is not None:
                return route
        return self._as_fact(case)

    def _as_chatter(self, case: _Case) -> Route | None:
        chance = case.judgement.kinds.get(Kind.CONVERSATION, 0.0)
        least = self.policy.thresholds.chatter
        stated = case.draft.kind not in (None, Kind.CONVERSATION) or case.draft.slot is not None
        if stated or least == 1.0 or chance < least or len(case.draft.text.split()) > LONGEST_CHATTER:
            return None
        case.reasons.append(f"small talk (p={chance:.2f})")
        return Route.DROP

    def _as_empty_turn(self, case: _Case) -> Route | None:
        """Drop what a user said in a chat without stating anything, unless the policy keeps small talk as well."""
        draft = case.draft
        if draft.metadata.get("role") != "user" or draft.kind is not None or self.policy.thresholds.chatter == 1.0:
            return None
        name = draft.metadata.get("name")
        what = states_nothing(draft.text.removeprefix(f"{name}: ") if name else draft.text)
        if what is None:
            return None
        case.reasons.append(f"{what} of a chat states nothing")
        return Route.DROP

    def _as_stated(self, case: _Case) -> Route | None:
        """Respect what the caller said it is."""
        draft = case.draft
        if case.explicit:
            case.reasons.append(f"an explicit {draft.kind} from the {draft.trust}")
            return Route.LEARN
        if draft.slot is not None:
            attribute = " ".join(draft.slot.attribute.casefold().split())
            if any(fnmatchcase(attribute, glob.casefold()) for glob in self.policy.slots.durable):
                case.reasons.append(f"the policy lists the attribute {attribute!r} as durable")
                return Route.LEARN
            case.reasons.append(f"fills the slot {attribute!r}, whose value may be replaced")
            return Route.RETRIEVE
        return None

    def _as_event(self, case: _Case) -> Route | None:
        """News that lasts is still news: what happened once is looked up."""
        if (case.draft.kind or case.judgement.kind) is not Kind.EVENT:
            return None
        case.reasons.append("an event" if case.draft.kind else "reads like an event")
        return Route.RETRIEVE

    def _as_question(self, case: _Case) -> Route | None:
        text = case.draft.text.strip()
        lone = text.endswith("?") and not re.search(r"[.!?:]\s", text)
        if not lone or case.judgement.behaviour >= self.policy.thresholds.behaviour:
            return None
        case.reasons.append("a question without its answer")
        return Route.RETRIEVE

    def _as_behaviour(self, case: _Case) -> Route | None:
        limits = self.policy.thresholds
        p_behaviour = case.judgement.behaviour
        if p_behaviour < limits.behaviour - limits.margin:
            return None
        shown = f"behaviour-shaping (p={p_behaviour:.2f})"
        if p_behaviour < limits.behaviour + limits.margin:
            case.reasons.append(f"undecided whether {shown}; kept in retrieval")
            return self._by_judge(case)
        return self._by_durability(case, shown, self.policy.durable)

    def _as_fact(self, case: _Case) -> Route:
        return self._by_durability(case, f"a plain {case.judgement.kind}", self.policy.fact)

    def _by_durability(self, case: _Case, shown: str, least: float) -> Route:
        p_durable, margin = case.judgement.p_durable, self.policy.thresholds.margin
        if least < 1.0 and p_durable >= least + margin:
            case.reasons.append(f"{shown} and lasting (p={p_durable:.2f}, needs {least:.2f})")
            return Route.LEARN
        if p_durable >= least - margin:
            case.reasons.append(f"{shown}, undecided whether lasting (p={p_durable:.2f}, needs {least:.2f})")
            return self._by_judge(case)
        case.reasons.append(f"{shown}, but may change (p_durable={p_durable:.2f}, needs {least:.2f})")
        return Route.RETRIEVE

    def _by_judge(self, case: _Case) -> Route:
        # A text with hidden orders is not shown to a model that might follow them.
        opinion = None if self._judge is None or case.findings else self._judge.opinion(case.draft.text)
        if opinion is None:
            return Route.RETRIEVE
        case.reasons.append(f"the judge says {opinion.route}: {opinion.because}")
        return Route(opinion.route)

    def _by_ladder(self, case: _Case) -> Route:
        trust, ladder = case.draft.trust, self.policy.ladder
        if trust is Trust.OPERATOR:
            case.reasons.append("the operator vouches for it")
            return Route.LEARN
        needed = ladder.external if trust is Trust.EXTERNAL else ladder.explicit if case.explicit else ladder.user
        if needed is None:
            case.reasons.append("strangers alone teach nothing: a user or the operator has to say it too")
            return Route.RETRIEVE
        if case.said < needed:
            case.reasons.append(f"waits on the ladder: {case.said} of {needed} confirmations")
            return Route.RETRIEVE
        case.reasons.append(f"confirmed by {case.said} of {needed} sources needed")
        return Route.LEARN

    def _ttl_s(self, case: _Case) -> float | None:
        days = {"fast": self.policy.lifetimes.fast, "slow": self.policy.lifetimes.slow}.get(case.judgement.volatility)
        if days is None:
            return None
        case.reasons.append(f"expires after {days:g} days, as {case.judgement.volatility}-changing texts do")
        return days * DAY_S


_CONSEQUENCE: dict[Route | None, str] = {
    Route.QUARANTINE: "set aside for review",
    Route.DROP: "not stored",
    Route.RETRIEVE: "kept out of the weights",
    Route.LEARN: "noted",
    None: "noted",
}


def _sensitivity(findings: Sequence[Finding]) -> Sensitivity:
    screens = {finding.screen for finding in findings}
    if "secret" in screens:
        return Sensitivity.SECRET
    return Sensitivity.PERSONAL if "personal" in screens else Sensitivity.NORMAL


def _matches(match: Match, draft: Draft) -> bool:
    slot = draft.slot
    checks = (
        match.kind is None or match.kind is draft.kind,
        match.source is None or fnmatchcase(draft.source, match.source),
        match.trust is None or match.trust is draft.trust,
        match.pattern is None or re.search(match.pattern, draft.text, re.IGNORECASE) is not None,
        match.slot is None or match.slot is (slot is not None),
        match.attribute is None
        or (slot is not None and fnmatchcase(slot.attribute.casefold(), match.attribute.casefold())),
        all(draft.metadata.get(key) == value for key, value in match.metadata.items()),
        all(fnmatchcase(getattr(draft.scope, key) or "", glob) for key, glob in match.scope.items()),
    )
    return all(checks) and (match.language is None or match.language == _language(draft))


def _language(draft: Draft) -> str:
    """Return the two-letter code of the text's language: as the metadata has it, else as it is detected."""
    given = draft.metadata.get("language")
    return str(given).casefold()[:2] if given else detected_language(draft.text)
