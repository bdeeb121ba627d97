"""Is the right passage found? Words alone, meaning alone, and both as this package fuses them.

    python -m benchmarks.retrieval_quality --data-dir ../shared/data [--vectors FILE] [--sets locomo scifact] [--smoke]

Flow:    public sets -> HybridMemory.ingest_many -> HybridMemory.search, once per row -> recall and nDCG at 10
Imports: hybrid_memory (its public API), and the modules beside it

Every row is the product itself: the same memory opened with other `retrieval` settings. Several passages of one
document count once, at the place of its best. Settings were tuned on `--part tune` (half of the questions of LoCoMo,
SciFact, FeedbackQA, LIMIT-small and the banking tasks, and the company `dev`); `--part report`, the default, has the
other half, the other companies, and all questions of the other sets.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.main_job import interval
from benchmarks.retrieval_data import SETS, Collection, Question, load
from hybrid_memory import HybridMemory, Settings

RESULTS = Path(__file__).parent / "results"
ROWS: dict[str, dict[str, Any]] = {
    "BM25 alone": {"dense_weight": 0.0},
    "dense alone": {"lexical_weight": 0.0},
    "ours": {},
}
DEPTH = 10
FETCHED = 50
"""Passages asked for, so that ten documents are among them."""


@dataclass(slots=True)
class Run:
    """One row on one set: figures per question."""

    recall: list[float] = field(default_factory=list)
    ndcg: list[float] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def means(self) -> dict[str, Any]:
        """Return the means, over all questions and per category."""
        groups: defaultdict[str, list[int]] = defaultdict(list)
        for place, category in enumerate(self.categories):
            groups[category].append(place)
        return {
            "questions": len(self.recall),
            "recall@10": float(np.mean(self.recall)),
            "nDCG@10": float(np.mean(self.ndcg)),
            "ms per search (median)": 1000 * float(np.median(self.seconds)),
            "categories": {
                name: {
                    "questions": len(places),
                    "recall@10": float(np.mean([self.recall[place] for place in places])),
                    "nDCG@10": float(np.mean([self.ndcg[place] for place in places])),
                }
                for name, places in sorted(groups.items())
                if name
            },
        }


def recall(found: Sequence[str], relevant: Mapping[str, float]) -> float:
    """Return the share of the relevant that is among the first ten.

    >>> recall(["a", "b"], {"a": 1, "c": 1})
    0.5
    """
    return len(set(found[:DEPTH]) & relevant.keys()) / len(relevant)


def ndcg(found: Sequence[str], relevant: Mapping[str, float]) -> float:
    """Return nDCG at ten with gains as they are (Järvelin and Kekäläinen 2002), as trec_eval computes it.

    >>> round(ndcg(["b", "a"], {"a": 1}), 4)
    0.6309
    """
    gains = [relevant.get(key, 0.0) / math.log2(place + 2) for place, key in enumerate(found[:DEPTH])]
    best = sorted(relevant.values(), reverse=True)[:DEPTH]
    return sum(gains) / sum(gain / math.log2(place + 2) for place, gain in enumerate(best))


def fill(folder: Path, collection: Collection, settings: Mapping[str, Any]) -> float:
    """Ingest a set into a fresh memory; return the seconds."""
    started = time.monotonic()
    with HybridMemory.open(folder, **settings) as memory:
        groups: defaultdict[tuple[str | None, str], list[Any]] = defaultdict(list)
        for source in collection.sources:
            groups[source.user_id, json.dumps(dict(source.metadata))].append(source.held)
        for (user_id, facts), inputs in groups.items():
            summary = memory.ingest_many(
                inputs, batch_size=256, route="retrieve", user_id=user_id, metadata=json.loads(facts)
            )
            if summary.failures:
                raise SystemExit(f"{collection.name}: {summary.failures[:3]}")
    return time.monotonic() - started


def ask(folder: Path, collection: Collection, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Run:
    """Search for every question with one row's settings."""
    run = Run()
    given = {**settings, "retrieval": {**settings.get("retrieval", {}), **row}}
    with HybridMemory.open(folder, **given) as memory:
        memory.search("warm up", top_k=1)
        for question in collection.questions:
            started = time.perf_counter()
            hits = memory.search(question.text, top_k=FETCHED, user_id=question.user_id)
            run.seconds.append(time.perf_counter() - started)
            found = documents([hit.record.metadata for hit in hits], collection, question)
            run.recall.append(recall(found, question.relevant))
            run.ndcg.append(ndcg(found, question.relevant))
            run.categories.append(question.category)
    return run


def documents(hits: Sequence[Mapping[str, Any]], collection: Collection, question: Question) -> list[str]:
    """Return the documents of the hits, best first, each once; of equal texts the relevant one is credited."""
    found: dict[str, None] = {}
    for facts in hits:
        key = collection.key(facts)
        alike = collection.same.get(key, [key])
        found[next((one for one in alike if one in question.relevant), key)] = None
    return list(found)


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run all rows on one set."""
    collection = load(name, options.data_dir, part=options.part)
    if options.smoke:
        collection = Collection(name, collection.sources, collection.questions[:20], collection.key, collection.same)
    settings: dict[str, Any] = {"encoder": {"cache": str(options.vectors)}} if options.vectors else {}
    runs = {}
    with tempfile.TemporaryDirectory() as folder:
        seconds = fill(Path(folder) / "memory", collection, settings)
        for row, chosen in ROWS.items():
            runs[row] = ask(Path(folder) / "memory", collection, settings, chosen)
    ours, single = runs["ours"], max(list(ROWS)[:2], key=lambda row: float(np.mean(runs[row].ndcg)))
    return {
        "ingest seconds": seconds,
        "rows": {row: run.means() for row, run in runs.items()},
        f"ours - {single}": {
            "recall@10": interval(ours.recall, runs[single].recall),
            "nDCG@10": interval(ours.ndcg, runs[single].ndcg),
        },
    }


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return all sets as one Markdown table."""
    lines = [
        "| set | questions | " + " | ".join(f"{row}: R@10 | nDCG@10" for row in ROWS) + " |",
        "|---" * (2 + 2 * len(ROWS)) + "|",
    ]
    for name, result in results.items():
        rows = result["rows"]
        cells = [f"{rows[row][figure]:.3f}" for row in ROWS for figure in ("recall@10", "nDCG@10")]
        lines.append(f"| {name} | {rows['ours']['questions']} | " + " | ".join(cells) + " |")
        for category in rows["ours"]["categories"]:
            parts = [rows[row]["categories"][category] for row in ROWS]
            cells = [f"{part[figure]:.3f}" for part in parts for figure in ("recall@10", "nDCG@10")]
            lines.append(f"| – {category} | {parts[0]['questions']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run, print the table and one JSON line, keep both in results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with the public sets")
    parser.add_argument("--vectors", type=Path, help="file of the vector cache (encoder.cache): reruns embed nothing")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--part", default="report", choices=("tune", "report", "all"))
    parser.add_argument("--smoke", action="store_true", help="20 questions of the small sets; proves nothing")
    options = parser.parse_args()
    names = ["limit_small", "squad_seal"] if options.smoke else options.sets
    results = {}
    for name in names:
        started = time.monotonic()
        results[name] = measure(name, options)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    print(table(results))
    line = json.dumps(
        {
            "benchmark": "retrieval_quality",
            "part": options.part,
            "seed": 0,
            "settings": Settings().fingerprint(),
            "versions": {name: version(name) for name in ("faiss-cpu", "sentence-transformers", "hybrid-memory-sdk")},
            "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores",
            "sets": results,
        }
    )
    if not options.smoke and options.part == "report":
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "retrieval_quality.json").write_text(line + "\n", encoding="utf-8")
    print(line)


if __name__ == "__main__":
    main()
