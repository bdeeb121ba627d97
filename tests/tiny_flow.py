"""A whole memory that learns in a tenth of a second, and a few facts to put into it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from new_ledger import lay_ledger

from hybrid_memory.memory import HybridMemory
from hybrid_memory.testing import OPEN_GATE, open_tiny_memory

FAST: dict[str, dict[str, Any]] = {
    "training": {"epochs": 1, "min_steps": 2, "lora_rank": 4},
    "self_edit": {"generator": "compiled"},
    "answer": {"max_new_tokens": 8, "quote_below": 0.0},
    "gate": {**OPEN_GATE, "drift_prompts": 1},
}
"""Two steps of training, and a gate that lets everything pass: what is tested is the flow, not the learning. What the
tiny model says stays, though no evidence bears it out."""

REFUSED = {"gate": {**FAST["gate"], "min_learned": 1.0, "min_gain": 1000.0}}
"""A gate that nothing passes."""

SHIFT = "The night shift at the harbour office starts at ten."
LAMPS = "Broken lamps are reported to the caretaker in the east wing."
PARCELS = "Parcels for the museum shop are signed for at the loading ramp."
KEYS = "Spare keys of the boat house hang behind the yellow door."
FACTS = (SHIFT, LAMPS, PARCELS, KEYS)


def open_memory(folder: Path, *, teacher: object | None = None, **groups: Mapping[str, Any]) -> HybridMemory:
    """Open the fast memory; groups of settings win over FAST name by name."""
    if "ledger" not in groups:
        lay_ledger(folder)
    merged = {name: {**FAST.get(name, {}), **groups.get(name, {})} for name in {*FAST, *groups}}
    return open_tiny_memory(folder, teacher=teacher, **merged)


def learn(memory: HybridMemory, *texts: str, **scope: str) -> list[str]:
    """Ingest texts to be learned, one by one, and return their record ids."""
    receipts = [memory.ingest(text, route="learn", trust="operator", **scope) for text in texts]
    return [str(receipt.record_id) for receipt in receipts]
