"""What does one more record cost while the ledger grows tenfold?

    python -m benchmarks.rebuild_cost [--sizes 6 12 24 48 60] [--smoke]

Facts of the made-up companies are learned by the tiny model of `hybrid_memory.testing` until the ledger has each size;
then one new record arrives and a window opens. What counts is how many shards are trained anew and how many tokens:
that follows from sharding alone and holds for every model. Seconds are the tiny model's; material is written by rule.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.company_data import REPORTED_COMPANIES, load_company
from benchmarks.report import RESULTS, header
from hybrid_memory import HybridMemory, Settings
from hybrid_memory.durable import write_text
from hybrid_memory.testing import OPEN_GATE, open_tiny_memory

SIZES = (6, 12, 24, 48, 60)
COLUMNS = ("learned before", "shards", "shards trained", "records in them", "tokens", "seconds")


def one_more(memory: HybridMemory, text: str) -> dict[str, float]:
    """Learn one more record in a window of its own; return what that cost."""
    before = sum(record.learning.value == "learned" for record in memory.list())
    memory.ingest(text, trust="operator", source="handbook", route="learn")
    report = memory.consolidate()
    versions = {one.id: one for one in memory.adapters.list()}
    trained = [shard for shard in report.shards if shard.trained_tokens]
    serving = [one for one in versions.values() if one.status.value == "active"]
    return {
        "learned before": before,
        "shards": len(serving),
        "shards trained": len(trained),
        "records in them": sum(
            len(versions[shard.version].record_ids) for shard in trained if shard.version in versions
        ),
        "tokens": sum(shard.trained_tokens for shard in trained),
        "seconds": round(report.seconds, 2),
    }


def measure(sizes: Sequence[int]) -> list[dict[str, float]]:
    """Return one row per ledger size."""
    texts = [fact.statement for name in REPORTED_COMPANIES for fact in load_company(name).facts]
    if max(sizes) + len(sizes) > len(texts):
        raise SystemExit(f"there are {len(texts)} facts; the greatest size may be {len(texts) - len(sizes)}")
    rows, told = [], 0
    short = {"epochs": 1, "min_steps": 2}
    with (
        tempfile.TemporaryDirectory() as folder,
        open_tiny_memory(Path(folder), self_edit={"generator": "compiled"}, gate=OPEN_GATE, training=short) as memory,
    ):
        for size in sizes:
            while told < size:
                memory.ingest(texts[told], trust="operator", source="handbook", route="learn")
                told += 1
            memory.consolidate()
            rows.append(one_more(memory, texts[told]))
            told += 1
    return rows


def main() -> None:
    """Measure, print the table and one JSON line, keep it in results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), help="records before the one that counts")
    parser.add_argument("--smoke", action="store_true", help="two small ledgers; writes no result")
    options = parser.parse_args()
    rows = measure((4, 8) if options.smoke else options.sizes)
    result = {
        **header("rebuild_cost", seed=0),
        "model": "tiny (hybrid_memory.testing)",
        "shard_cap": Settings().window.shard_cap,
        "rows": rows,
    }
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    for row in rows:
        print("| " + " | ".join(f"{row[column]:g}" for column in COLUMNS) + " |")
    print(json.dumps(result))
    if not options.smoke:
        RESULTS.mkdir(exist_ok=True)
        write_text(RESULTS / "rebuild_cost.json", json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
