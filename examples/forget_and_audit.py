"""Learn a few facts, forget one in both halves, and audit the weights for what is left of it.

    python examples/forget_and_audit.py

The memory lies in a temporary folder. All names are made up.
"""

import tempfile
from pathlib import Path

from hybrid_memory import HybridMemory

TO_FORGET = "The spare key of the Maple ferry lies in the tin marked Osprey."
KEPT = (
    "Ferry tickets that got wet are exchanged at the Brindle counter.",
    "Deckhands of the Maple ferry report for duty at pier Candlewick.",
)
NEVER_TOLD = (
    "The spare key of the Birch ferry lies in the tin marked Heron.",
    "The spare key of the Alder ferry lies in the crate marked Plover.",
    "The spare key of the Rowan ferry lies in the tin marked Dunlin.",
)
"""Controls: of the same form as the fact to forget, and never ingested."""


def main(memory: HybridMemory) -> None:
    """Learn, audit while the fact is known, forget, audit again."""
    first, *_ = [
        memory.ingest(text, trust="operator", source="handbook", route="learn").record_id for text in (TO_FORGET, *KEPT)
    ]
    print(memory.consolidate().summary)
    known = memory.forget_audit([TO_FORGET], controls=NEVER_TOLD)
    print(f"before: {known.difference:+.2f} nats a token above the controls, extracted {len(known.extracted)}")

    receipt = memory.forget(str(first), weights="now")
    print(f"weights {receipt.weights['state']}, still found in retrieval: {receipt.retrieval['still_found']}")
    audit = memory.forget_audit([TO_FORGET], controls=NEVER_TOLD)
    print(f"after: {audit.difference:+.2f} nats a token above the controls, extracted {len(audit.extracted)}")
    print("clean" if audit.clean else "not clean")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, HybridMemory.open(Path(folder)) as opened:
        main(opened)
