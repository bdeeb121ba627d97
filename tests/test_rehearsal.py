"""Policies tried and fitted on tables of examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hybrid_memory.build import rehearsal
from hybrid_memory.config import Settings
from hybrid_memory.errors import InputError
from hybrid_memory.rehearsal import Rehearsal
from hybrid_memory.routing.durability import DurabilityClassifier
from hybrid_memory.routing.examples import Case
from hybrid_memory.routing.fitting import fit_heads
from hybrid_memory.routing.policy import load_policy
from hybrid_memory.testing import WordEncoder
from hybrid_memory.types import Route, Trust

SHIFTS = ("Mondays", "Tuesdays", "Fridays", "weekends", "holidays", "spring mornings", "nights", "match days")


def cases() -> list[Case]:
    """A team that wants its rota learned, and its gate code book looked up: neither is how the shipped heads see it."""
    rota = [f"{name}: the early shift opens gate {row}" for row, name in enumerate(SHIFTS)]
    codes = [f"Always key {row}{row}7 for {name} visitors" for row, name in enumerate(SHIFTS)]
    return [
        *(Case(text=text, route=Route.LEARN, trust=Trust.OPERATOR) for text in rota),
        *(Case(text=text, route=Route.RETRIEVE, trust=Trust.OPERATOR) for text in codes),
    ]


@pytest.fixture(scope="module")
def rehearsing() -> Rehearsal:
    """With the word encoder: no model."""
    return rehearsal(Settings(), encoder=WordEncoder())


def test_an_outcome_says_what_was_expected_what_came_and_why(rehearsing: Rehearsal) -> None:
    """Rules need no classifier, so the outcome is certain."""
    given = [Case(text="anything", route=Route.LEARN), Case(text="more", route=Route.RETRIEVE)]

    wrong, right = rehearsing.test("retrieval_only", given)

    assert (wrong.expected, wrong.got, wrong.right) == (Route.LEARN, Route.RETRIEVE, False)
    assert wrong.reasons == ("rule 'retrieval only': this policy learns nothing",)
    assert right.right


def test_fitting_brings_a_policy_nearer_to_its_owners_decisions(rehearsing: Rehearsal, tmp_path: Path) -> None:
    """Right more often on examples that the fitted heads had not seen."""
    fitted = rehearsing.fit("default", cases(), tmp_path)

    assert fitted.right_after > fitted.right_before
    assert fitted.examples == 16


def test_a_fitted_policy_is_a_policy(rehearsing: Rehearsal, tmp_path: Path) -> None:
    """It extends the one it was fitted from, brings its heads, and decides by them."""
    fitted = rehearsing.fit("default", cases(), tmp_path)
    policy = load_policy(fitted.policy)

    assert (policy.name, policy.thresholds.behaviour) == ("default_fitted", fitted.behaviour)
    assert policy.classifier == str(tmp_path / "default_fitted.safetensors")
    outcomes = rehearsing.test(fitted.policy, cases())
    assert sum(outcome.right for outcome in outcomes) >= fitted.right_before * len(outcomes)


def test_a_policy_of_ones_own_is_extended_by_its_path(rehearsing: Rehearsal, tmp_path: Path) -> None:
    """Wherever the fitted one is written."""
    own = tmp_path / "own.toml"
    own.write_text('name = "own"\nextends = "regulated"\n', encoding="utf-8")

    fitted = rehearsing.fit(str(own), cases(), tmp_path / "elsewhere")

    assert load_policy(fitted.policy).durable == 0.8


@pytest.mark.parametrize("few", [cases()[:6], cases()[:8] * 2])
def test_too_few_or_one_sided_examples_are_refused(rehearsing: Rehearsal, tmp_path: Path, few: list[Case]) -> None:
    """They would say more about themselves than about a policy."""
    with pytest.raises(InputError, match="needs 10 examples or more with both 'learn' and 'retrieve' among them"):
        rehearsing.fit("default", few, tmp_path)


def test_without_examples_that_teach_nothing_moves() -> None:
    """What is to be quarantined says nothing about durability."""
    start = DurabilityClassifier.load()
    given = [Case(text="password: hunter22", route=Route.QUARANTINE)]

    tensors = fit_heads(start, given, WordEncoder().encode([case.text for case in given]))

    assert all(np.array_equal(tensors[name], start.tensors[name]) for name in start.tensors)


def test_a_small_variance_keeps_the_heads_near_the_shipped_ones() -> None:
    """The prior's width is how far examples may pull."""
    start = DurabilityClassifier.load()
    vectors = WordEncoder().encode([case.text for case in cases()])

    def moved(variance: float) -> float:
        tensors = fit_heads(start, cases(), vectors, variance=variance)
        return float(np.abs(tensors["surface"] - start.tensors["surface"]).max())

    assert moved(0.001) < 0.05 * moved(1.0)
