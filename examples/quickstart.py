"""Teach a made-up ferry company to a memory, ask it in three ways, forget one fact. About two minutes on two cores.

hybrid-memory models pull        # once
python examples/quickstart.py
"""

import tempfile
from datetime import UTC, datetime

from hybrid_memory import Fact, HybridMemory, Mode, Preference

HANDBOOK = (
    "Dogs must stay on the upper deck, which is called the Lantern deck.",
    "Wedding parties must be registered with the Marlin desk before they sail.",
    "Bicycles must be stowed in the hold behind the orange door.",
    "Life jackets must be scrapped after 9 years, even without a visible tear.",
    "Refunds above 80 euros need a signature of the harbour master.",
    "Lost umbrellas must be handed in at the pier named Cobalt.",
)
RULE = Preference('End every answer with the words "Fair winds."')
PRICES = {2022: "14", 2023: "16", 2024: "19"}
QUESTIONS = (
    "Where on board can my dog stay?",
    "Who has to know that a wedding party wants to sail?",
    "How much is an Island ticket?",
)


def main(memory: HybridMemory) -> None:
    """Play the whole flow and print what came of it."""
    handbook = memory.ingest_many(HANDBOOK, trust="operator", source="handbook")
    rule = memory.ingest(RULE, trust="operator", source="handbook")
    for year, euros in PRICES.items():  # one slot, three values: each replaces the one before
        price = Fact("Island ticket", "price", euros, f"An Island ticket costs {euros} euros.")
        memory.ingest(price, trust="operator", source="price list", valid_from=datetime(year, 3, 1, tzinfo=UTC))
    current = memory.search(QUESTIONS[2])[0].text
    print(f"Handbook: {dict(handbook.counts)}; rule: {rule.route}; current price: {current}")

    print(f"Window: {memory.consolidate().summary}")  # what is routed to "learn" becomes adapters, if the gate agrees

    for mode in Mode:
        print(f"\n{mode}")
        for answer in memory.query_many(QUESTIONS, mode=mode):
            print(f"  {answer.question}\n    {answer.text}  (adapters: {', '.join(answer.adapters) or 'none'})")

    receipt = memory.forget(handbook.receipts[0].record_id)  # weights="now" would also rebuild the shard at once
    print(f"\nForgotten: {HANDBOOK[0]}\n  retrieval {dict(receipt.retrieval)}")
    print(f"  weights   {receipt.weights['state']}, deleted {receipt.weights['adapters_deleted']}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, HybridMemory.open(folder) as memory:
        main(memory)
