"""The worked examples of the policy pages: each does what its page says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from hybrid_memory.build import rehearsal
from hybrid_memory.config import Settings
from hybrid_memory.routing.examples import examples_of
from hybrid_memory.routing.policy import list_policies
from hybrid_memory.testing import TableEncoder

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def encoder() -> TableEncoder:
    """The default encoder's vectors of the examples; scripts/write_policy_pages.py makes them anew."""
    kept = load_file(ROOT / "tests" / "data" / "policy_examples.safetensors")
    texts = json.loads(bytes(kept["texts"]).decode())
    return TableEncoder(dict(zip(texts, kept["vectors"].astype(np.float32), strict=True)))


@pytest.mark.parametrize("name", list_policies())
def test_a_shipped_policy_does_what_its_examples_say(name: str, encoder: TableEncoder) -> None:
    """Every example beside it, judged by the shipped classifier on the encoder's own vectors."""
    outcomes = rehearsal(Settings(), encoder=encoder).test(name)

    assert [(one.text, one.got, one.reasons) for one in outcomes if not one.right] == []
    assert len(outcomes) == len(examples_of(name)) >= 6


def test_the_pages_show_the_policies_and_examples_as_they_are() -> None:
    """`python scripts/write_policy_pages.py` brings them up to date."""
    script = ROOT / "scripts" / "write_policy_pages.py"
    run = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
