"""An audit tells what a serving adapter still knows of a text from what it was never told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid_memory.errors import InputError
from hybrid_memory.memory import HybridMemory
from tests.tiny_flow import KEYS, LAMPS, PARCELS, SHIFT, learn, open_memory

LEARNS = {"epochs": 40, "min_steps": 80, "lora_rank": 8, "learning_rate": 0.02}
"""Enough for the tiny model to make what it studies several nats a token likelier."""


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[HybridMemory]:
    """A memory that has learned two facts by heart."""
    with open_memory(tmp_path, training=LEARNS) as memory:
        learn(memory, SHIFT, LAMPS)
        memory.consolidate()
        yield memory


def test_a_text_that_is_still_in_the_weights_is_not_clean(memory: HybridMemory) -> None:
    """It became much likelier than texts that were never told, and the interval says so."""
    audit = memory.forget_audit([SHIFT, LAMPS], controls=[PARCELS, KEYS])

    assert audit.difference > 0.5
    assert audit.interval[0] > 0
    assert not audit.clean


def test_a_forgotten_text_is_as_unlikely_as_one_never_told(memory: HybridMemory) -> None:
    """After the rebuild nothing of it is left, and nothing can be extracted."""
    record = next(record for record in memory.list() if record.text == SHIFT)
    memory.forget(record.id, weights="now")

    audit = memory.forget_audit([SHIFT], controls=[PARCELS, KEYS])

    assert audit.extracted == ()
    assert audit.adapters
    assert audit.clean


def test_without_an_adapter_there_is_nothing_to_know(tmp_path: Path) -> None:
    """Every text is exactly as likely as for the base."""
    with open_memory(tmp_path) as memory:
        audit = memory.forget_audit([SHIFT], controls=[PARCELS, KEYS])

    assert (audit.gain, audit.control_gain, audit.adapters, audit.clean) == (0.0, 0.0, (), True)


def test_the_adapters_of_a_scope_are_audited_alone(memory: HybridMemory) -> None:
    """A user who has learned nothing of their own sees everybody's adapters; another tenant's are never among them."""
    learn(memory, PARCELS, user_id="ann")
    memory.consolidate()

    everybody = memory.forget_audit([SHIFT], controls=[LAMPS, KEYS])
    bob = memory.forget_audit([SHIFT], controls=[LAMPS, KEYS], user_id="bob")

    assert len(everybody.adapters) == 2
    assert len(bob.adapters) == 1


@pytest.mark.parametrize(
    ("texts", "controls", "match"),
    [
        ([], [PARCELS, KEYS], "texts must be a list of 1 or more"),
        (SHIFT, [PARCELS, KEYS], "texts must be a list"),
        ([SHIFT], [PARCELS], "controls must be a list of 2 or more"),
        ([SHIFT], [PARCELS, " "], "controls must be a list"),
        ([SHIFT], [SHIFT, KEYS], "never have been told"),
    ],
)
def test_an_audit_that_would_say_nothing_is_refused(
    tmp_path: Path, texts: list[str], controls: list[str], match: str
) -> None:
    """An audit without controls, or with a control that is a text, proves nothing."""
    with open_memory(tmp_path) as memory, pytest.raises(InputError, match=match):
        memory.forget_audit(texts, controls=controls)
