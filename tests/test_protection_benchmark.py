"""The benchmark of protective training: every variant can be learned, and its table is arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.company_data import load_company
from benchmarks.protection import FACTS, PREFERENCE, Kit, differences, facts_outcomes, kept, preference_outcomes, table
from hybrid_memory import Settings
from hybrid_memory.testing import WordEncoder, tiny_language_model
from tests.tiny_flow import FAST

DEV = load_company("dev")


@pytest.fixture(scope="module")
def kit() -> Kit:
    return Kit(WordEncoder(), tiny_language_model())


def fast(differs: dict[str, dict[str, Any]]) -> Settings:
    """The variant's settings over quick ones."""
    groups = {*FAST, *differs}
    return Settings.load(None, **{group: {**FAST.get(group, {}), **differs.get(group, {})} for group in groups})


def test_each_kind_of_question_is_asked_of_every_fact(kit: Kit) -> None:
    """Six facts, two questions each; six facts that were not told, one question each."""
    found, measured = facts_outcomes(DEV, fast(FACTS["no evidence at all"]), kit)

    assert {column: len(values) for column, values in found.items()} == {
        "without evidence": 12,
        "own statement": 12,
        "another's statement": 12,
        "contradicting statement": 12,
        "learned value said of another fact": 6,
        "doubt about another fact": 6,
    }
    assert measured["drift"] >= 0


def test_a_preference_is_followed_or_not_and_the_gate_is_told(kit: Kit) -> None:
    """24 questions; the gate's numbers are those of the report."""
    found, gate = preference_outcomes(DEV, fast(PREFERENCE["the base's words as words"]), kit)

    assert len(found["followed"]) == len(DEV.preference.test)
    assert "drift" in gate


def test_every_variant_is_made_of_settings_that_exist() -> None:
    """An unknown name would be an error here and not after an hour."""
    for differs in (*FACTS.values(), *PREFERENCE.values()):
        assert Settings.load(None, **differs)


def test_differences_are_to_the_first_variant() -> None:
    """Right in 3 of 4 against 1 of 4: half the questions more, and none fewer."""
    outcomes = {"as shipped": {"own": [1, 0, 0, 0]}, "other": {"own": [1, 1, 1, 0]}}

    mean, low, high = differences(outcomes)["other - as shipped: own"]

    assert mean == 0.5
    assert 0 <= low <= mean <= high <= 1
    assert table(outcomes).splitlines()[2:] == ["| as shipped | 25.0% |", "| other | 75.0% |"]


def test_what_is_finished_is_not_done_again(tmp_path: Path) -> None:
    calls: list[int] = []

    def work() -> dict[str, int]:
        calls.append(1)
        return {"right": 3}

    assert kept(tmp_path / "one.json", work) == kept(tmp_path / "one.json", work) == {"right": 3}
    assert calls == [1]
