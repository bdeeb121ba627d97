"""Try a policy on a table of examples, and fit it to somebody's own decisions.

Flow:    examples -> encoder, screens, router -> outcomes; or -> adapted heads and a threshold -> a policy file.
Imports: errors, types, protocols, and the routing stage.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from hybrid_memory.errors import InputError
from hybrid_memory.protocols import Encoder, Router, Screen
from hybrid_memory.routing.durability import DurabilityClassifier
from hybrid_memory.routing.examples import Case, examples_of
from hybrid_memory.routing.fitting import fit_heads
from hybrid_memory.routing.policy import load_policy
from hybrid_memory.routing.policy_tables import Policy
from hybrid_memory.routing.router import PolicyRouter
from hybrid_memory.types import Draft, FloatArray, Route, Scope, Slot, Value

__all__ = ["Fitted", "Outcome", "Rehearsal"]

FOLDS = 5
LEAST = 10
"""Fewer examples than this say more about themselves than about a policy."""
BEHAVIOUR_THRESHOLDS = tuple(round(0.3 + 0.05 * step, 2) for step in range(9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Value):
    """What a policy did with one example."""

    text: str
    expected: Route
    got: Route
    reasons: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Whether the policy did what the example asks for."""
        return self.got is self.expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted(Value):
    """A policy fitted to examples. Shares are of the examples, each judged by heads that had not seen it."""

    policy: str
    """The file that was written; it extends the policy it was fitted from."""
    classifier: str
    examples: int
    right_before: float
    right_after: float
    behaviour: float
    """The threshold that costs least on the examples, by the policy's own [costs]."""


class Rehearsal:
    """Runs policies on examples; nothing is stored."""

    def __init__(self, *, encoder: Encoder, screens: Sequence[Screen], load_router: Callable[[str], Router]) -> None:
        """`load_router` gives the router of a policy, by its name or file."""
        self._encoder = encoder
        self._screens = screens
        self._load_router = load_router

    def test(self, policy: str, cases: Sequence[Case] | None = None) -> list[Outcome]:
        """Return what a policy does with its examples (or with `cases`), in their order.

        Raises:
            NotFoundError: there is no such policy, or no examples beside it.
            PolicyError: the policy or its examples cannot be read.
        """
        chosen = examples_of(policy) if cases is None else cases
        return self._run(self._load_router(policy), chosen, self._vectors(chosen))

    def fit(self, policy: str, cases: Sequence[Case], folder: Path) -> Fitted:
        """Adapt the classifier and one threshold to examples; write `<name>_fitted.toml` and its heads.

        Args:
            policy: the policy to extend.
            cases: the user's own decisions.
            folder: where the two files go; existing ones are replaced.

        Raises:
            InputError: there are too few examples, or all of one route.
        """
        _require_enough(cases)
        base = load_policy(policy)
        start = DurabilityClassifier.load(base.classifier)
        vectors = self._vectors(cases)
        before = self._run(PolicyRouter(base, start), cases, vectors)
        held_out = self._held_out(base, start, cases, vectors)
        behaviour = min(held_out, key=lambda value: (_cost(base, cases, held_out[value]), abs(value - 0.5)))
        name = f"{base.name}_fitted"
        folder.mkdir(parents=True, exist_ok=True)
        heads = folder / f"{name}.safetensors"
        save_file(fit_heads(start, cases, vectors), heads)
        heads.with_suffix(".json").write_text(
            json.dumps(dict(start.description) | {"fitted_on": len(cases)}, indent=1) + "\n", encoding="utf-8"
        )
        file = folder / f"{name}.toml"
        parent = policy if not Path(policy).is_file() else str(Path(policy).resolve())
        file.write_text(_file(name, parent, heads.name, behaviour), encoding="utf-8")
        return Fitted(
            policy=str(file),
            classifier=str(heads),
            examples=len(cases),
            right_before=_right(before),
            right_after=_right(held_out[behaviour]),
            behaviour=behaviour,
        )

    def _held_out(
        self, base: Policy, start: DurabilityClassifier, cases: Sequence[Case], vectors: FloatArray
    ) -> dict[float, list[Outcome]]:
        """Return, per threshold, the outcome of every example under heads fitted to the other folds."""
        found: dict[float, dict[int, Outcome]] = {value: {} for value in BEHAVIOUR_THRESHOLDS}
        places = np.arange(len(cases))
        for fold in range(FOLDS):
            inside = places[places % FOLDS == fold]
            outside = places[places % FOLDS != fold]
            heads = DurabilityClassifier(
                fit_heads(start, [cases[place] for place in outside], vectors[outside]), start.description
            )
            for value in BEHAVIOUR_THRESHOLDS:
                thresholds = base.thresholds.model_copy(update={"behaviour": value})
                router = PolicyRouter(base.model_copy(update={"thresholds": thresholds}), heads)
                outcomes = self._run(router, [cases[place] for place in inside], vectors[inside])
                found[value].update(zip(inside.tolist(), outcomes, strict=True))
        return {value: [outcomes[place] for place in sorted(outcomes)] for value, outcomes in found.items()}

    def _vectors(self, cases: Sequence[Case]) -> FloatArray:
        return self._encoder.encode([case.text for case in cases])

    def _run(self, router: Router, cases: Sequence[Case], vectors: FloatArray) -> list[Outcome]:
        drafts = [_as_draft(case) for case in cases]
        findings = [
            tuple(finding for screen in self._screens for finding in screen.screen(case.text)) for case in cases
        ]
        decisions = router.route(drafts, vectors, findings, [case.sources - 1 for case in cases])
        return [
            Outcome(text=case.text, expected=case.route, got=decision.route, reasons=decision.reasons)
            for case, decision in zip(cases, decisions, strict=True)
        ]


def _as_draft(case: Case) -> Draft:
    now = datetime.now(UTC)
    return Draft(
        text=case.text,
        kind=case.kind,
        scope=Scope(),
        source=case.source,
        trust=case.trust,
        observed_at=now,
        valid_from=now,
        slot=None if case.attribute is None else Slot("example", case.attribute),
        metadata=case.metadata,
    )


def _require_enough(cases: Sequence[Case]) -> None:
    routes = {case.route for case in cases}
    if len(cases) < LEAST or not {Route.LEARN, Route.RETRIEVE} <= routes:
        raise InputError(
            f"fitting needs {LEAST} examples or more with both 'learn' and 'retrieve' among them; "
            f"got {len(cases)} with {', '.join(sorted(routes)) or 'none'}"
        )


def _cost(policy: Policy, cases: Sequence[Case], outcomes: Sequence[Outcome]) -> float:
    costs = policy.costs
    total = 0.0
    for case, outcome in zip(cases, outcomes, strict=True):
        if outcome.right:
            continue
        lost = costs.lost_fact if case.behaviour is False else costs.lost_behaviour
        total += lost if outcome.expected is Route.LEARN else costs.stale if outcome.got is Route.LEARN else 0.0
    return total


def _right(outcomes: Sequence[Outcome]) -> float:
    return round(sum(outcome.right for outcome in outcomes) / len(outcomes), 4)


def _file(name: str, parent: str, heads: str, behaviour: float) -> str:
    return (
        f'name = "{name}"\ndescription = "Fitted to decisions of its owner by hybrid-memory policy fit."\n'
        f"extends = {json.dumps(parent)}\nclassifier = {json.dumps(heads)}\n\n[thresholds]\nbehaviour = {behaviour:g}\n"
    )
