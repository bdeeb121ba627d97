"""How fast is retrieval, and how exact, beside the parts it is made of and beside other stores?

    python -m benchmarks.retrieval_speed [--sizes 1000 10000 100000] [--full] [--peers PYTHON] [--smoke]

Flow:    the same vectors -> ledger + retriever | raw FAISS | other stores (retrieval_peers.py) -> one table
Imports: hybrid_memory (stages included: this measures one of them), faiss

Vectors and texts are made up (retrieval_material.py); questions are such texts, once whole and once six words of them.
`--peers` names the Python of an environment that has mem0ai, chromadb, txtai and
llama-index-core; they get the same vectors on the same machine in the same run. Search is measured in
processor time, in turns with raw FAISS and the encoder, so that other jobs on the machine change little; what writes
to the disk is measured by the clock and in processor time. A run of some parts or sizes leaves the others in the
result file as they were; each size says the machine's load.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import faiss as faiss_module
import numpy as np

from benchmarks.retrieval_inserts import SPARE, insert_rates
from benchmarks.retrieval_kinds import kinds
from benchmarks.retrieval_material import DIM, EVERYONE, SHARES, Given, entries, made_up, opened, timed
from hybrid_memory import HybridMemory, Settings
from hybrid_memory.build import build, make_encoder
from hybrid_memory.ledger.ledger import SqlLedger
from hybrid_memory.retrieval.retriever import HybridRetriever
from hybrid_memory.types import FloatArray

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SIZES = (1_000, 10_000, 100_000)
BATCH = 1_000
ROUNDS = 40
PARTS = ("peers", "ours", "ingest", "kinds")
SHORT = 6
"""Words of a short question."""
faiss: Any = faiss_module


def run_size(count: int, folder: Path, encoder: Any) -> dict[str, Any]:
    """Measure one size; times in seconds, or milliseconds where the name says so."""
    texts, vectors = made_up(count, seed=1)
    questions, asked = made_up(ROUNDS, seed=2)
    given = Given([*texts, *questions], np.concatenate([vectors, asked]))
    ledger, retriever = opened(folder, given)
    figures: dict[str, Any] = {"records": count}
    before = resident_mb()
    started, busy = time.perf_counter(), time.process_time()
    for first in range(0, count, BATCH):
        last = min(first + BATCH, count)
        ledger.write(entries(texts[first:last], vectors[first:last], first))
    figures["written per s"] = count / (time.perf_counter() - started)
    figures["written per CPU s"] = count / (time.process_time() - busy)
    retriever.catch_up()
    figures["written and indexed per s"] = count / (time.perf_counter() - started)
    figures["written and indexed per CPU s"] = count / (time.process_time() - busy)
    retriever.save()
    raw = faiss.IndexFlatIP(DIM)
    raw.add(vectors)
    figures |= searches(retriever, raw, encoder, questions, asked)
    short = [" ".join(question.split()[1 : SHORT + 1]) for question in questions]
    figures |= {f"short: {name}": value for name, value in searches(retriever, raw, encoder, short, asked).items()}
    figures["memory MB"] = resident_mb() - before - vectors.nbytes / 1e6
    figures |= filtered(ledger, folder, vectors, asked, questions)
    figures |= forgotten(ledger, retriever, count)
    figures["disk MB"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    ledger.close()
    figures |= cold(folder)
    return figures | {"load": os.getloadavg()[0]}


def searches(
    retriever: HybridRetriever, raw: Any, encoder: Any, questions: Sequence[str], asked: FloatArray
) -> dict[str, Any]:
    """Measure encoder, raw FAISS and the whole search in turns."""
    retriever.search(questions[0], vector=asked[0], scope=EVERYONE, top_k=10)
    spent: dict[str, list[float]] = {"encoder": [], "raw": [], "ours": []}
    for question, vector in zip(questions, asked, strict=True):
        # A text of its own: the encoder remembers those of the size before.
        spent["encoder"].append(timed(partial(encoder.encode, [f"{question} {raw.ntotal}"])))
        spent["raw"].append(timed(partial(raw.search, vector[None], 10)))
        spent["ours"].append(timed(partial(retriever.search, question, vector=vector, scope=EVERYONE, top_k=10)))
    middle = {name: 1000 * float(np.median(times)) for name, times in spent.items()}
    return {
        "search p50 ms": middle["ours"],
        "search p95 ms": 1000 * float(np.percentile(spent["ours"], 95)),
        "raw FAISS p50 ms": middle["raw"],
        "encoder p50 ms": middle["encoder"],
        "(encoder + search) / (encoder + raw FAISS)": (middle["encoder"] + middle["ours"])
        / (middle["encoder"] + middle["raw"]),
    }


def filtered(
    ledger: SqlLedger, folder: Path, vectors: FloatArray, asked: FloatArray, questions: Sequence[str]
) -> dict[str, Any]:
    """Compare filtered search by meaning with NumPy, and its time with unfiltered search."""
    retriever = HybridRetriever(ledger, Given([], vectors[:0]), folder / "index", lexical_weight=0.0)
    figures: dict[str, Any] = {"unfiltered p50 ms": repeated(retriever, asked, questions, None)[1]}
    for name, groups in SHARES.items():
        filters = {f"group{groups}": 3}
        rows = np.arange(3, len(vectors), groups)
        right = 0
        for question, vector in zip(questions[:10], asked[:10], strict=True):
            hits = retriever.search(question, vector=vector, scope=EVERYONE, top_k=10, filters=_metadata(filters))
            best = rows[np.argsort(-(vectors[rows] @ vector), kind="stable")[:10]] + 1
            right += [hit.passage.id for hit in hits] == best.tolist()
        first, later = repeated(retriever, asked, questions, _metadata({f"group{groups}": 2}))
        figures |= {f"{name}: equal to NumPy": f"{right} of 10", f"{name}: first ms": first, f"{name}: p50 ms": later}
    return figures


def repeated(
    retriever: HybridRetriever, asked: FloatArray, questions: Sequence[str], filters: dict[str, Any] | None
) -> tuple[float, float]:
    """Return the milliseconds of the first search with a filter, and the median of the others."""
    times = [
        timed(partial(retriever.search, question, vector=vector, scope=EVERYONE, top_k=10, filters=filters))
        for question, vector in zip(questions, asked, strict=True)
    ]
    return 1000 * times[0], 1000 * float(np.median(times[1:]))


def forgotten(ledger: SqlLedger, retriever: HybridRetriever, count: int) -> dict[str, Any]:
    """Measure forgetting ten records, down to the files."""
    ids = [record.id for _, record in ledger.passages(list(range(2, count, count // 10))[:10])]
    started = time.perf_counter()
    ledger.forget(ids)
    retriever.catch_up()
    retriever.save()
    return {"forget 10 s": time.perf_counter() - started}


def cold(folder: Path) -> dict[str, Any]:
    """Measure opening and the first answer, in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        return fresh.submit(first_answer, folder).result()


def first_answer(folder: Path) -> dict[str, Any]:
    """Open a memory and ask it; then say what memory forty questions left taken: its own, and pages of mapped files.

    The greatest size so far would not tell: Linux hands it on from the process that started this one.
    """
    questions, asked = made_up(ROUNDS, seed=2)
    given = Given(questions, asked)
    before, started = taken_mb(), time.perf_counter()
    ledger, retriever = opened(folder, given)
    found = retriever.search(questions[0], vector=asked[0], scope=EVERYONE, top_k=10)
    spent = time.perf_counter() - started
    for question, vector in zip(questions, asked, strict=True):
        retriever.search(question, vector=vector, scope=EVERYONE, top_k=10)
    taken = {name: size - before[name] for name, size in taken_mb().items()}
    ledger.close()
    return {"cold start s": spent, "cold start found": len(found), **taken}


def taken_mb() -> dict[str, float]:
    """Return the memory this process takes now, in MB: its own, and pages of files, which others may share (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    sizes = {
        name: int(value.split()[0]) / 1000
        for name, _, value in (line.partition(":") for line in lines)
        if "Rss" in name
    }
    return {"opened: own MB": sizes["RssAnon"], "opened: mapped MB": sizes["RssFile"]}


def ingest(encoder: Any, folder: Path, count: int) -> dict[str, Any]:
    """Compare `ingest_many` with the encoder alone on the same texts, in CPU time."""
    texts = [f"{text}." for text in made_up(2 * count, seed=3)[0]]
    encoder.encode(["warm up"])
    alone = timed(lambda: encoder.encode(texts[:count]))
    with HybridMemory(build(folder / "ingest", Settings(), encoder=encoder)) as memory:
        memory.ingest("A first record.", route="retrieve")
        whole = timed(lambda: memory.ingest_many(texts[count:], batch_size=256, route="retrieve"))
    return {
        "records": count,
        "encoder texts per CPU s": count / alone,
        "ingested per CPU s": count / whole,
        "share of the encoder's throughput": alone / whole,
    }


def resident_mb() -> float:
    """Return the greatest resident size of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def peers(python: str, count: int, stores: Sequence[str]) -> list[dict[str, Any]]:
    """Run the other stores in their own environment on the same vectors, after ours; one that fails says how."""
    texts, vectors = made_up(count + SPARE, seed=1)
    _, asked = made_up(ROUNDS, seed=2)
    with tempfile.TemporaryDirectory() as folder:
        rows = [ours_beside_peers(Path(folder), texts, vectors, asked)]
        np.savez(Path(folder) / "vectors.npz", vectors=vectors, asked=asked)
        command = [python, "-m", "benchmarks.retrieval_peers", folder, *stores]
        run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        print(run.stdout, run.stderr[-2000:] if run.returncode else "", flush=True)
        return rows + [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]


def ours_beside_peers(folder: Path, texts: Sequence[str], vectors: FloatArray, asked: FloatArray) -> dict[str, Any]:
    """Measure what the other stores are measured at: each call ends when it is on the disk and can be found."""
    ledger, retriever = opened(folder, Given([], vectors[:0]), lexical_weight=0.0)

    def insert(first: int, last: int) -> None:
        ledger.write(entries(texts[first:last], vectors[first:last], first))
        retriever.catch_up()

    rates = insert_rates(insert, len(vectors) - SPARE)
    times = [
        1000 * timed(partial(retriever.search, "", vector=vector, scope=EVERYONE, top_k=10))
        for vector in (asked[0], *asked)
    ][1:]
    ledger.close()
    row = {"store": "hybrid_memory", "records": len(vectors) - SPARE, **rates}
    return {**row, "search p50 ms": float(np.median(times)), "search p95 ms": float(np.percentile(times, 95))}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows of one shape as a Markdown table, sizes across."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| | " + " | ".join(str(row.get("store", row.get("records", ""))) for row in rows) + " |"]
    lines.append("|---" * (len(rows) + 1) + "|")
    for name in names:
        cells = [row.get(name, "") for row in rows]
        lines.append(
            f"| {name} | " + " | ".join(f"{one:.4g}" if isinstance(one, float) else str(one) for one in cells) + " |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run, print the tables and one JSON line, keep both in results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--full", action="store_true", help="a million records too: 10 GB of memory, an hour")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="the others stay as they were")
    parser.add_argument("--peers", help="Python of the environment with the other stores")
    parser.add_argument("--stores", nargs="+", default=[], help="only these of them, such as Chroma")
    parser.add_argument("--peers-size", type=int, default=10_000)
    parser.add_argument("--smoke", action="store_true", help="a thousand records; proves nothing")
    options = parser.parse_args()
    sizes = [1_000] if options.smoke else [*options.sizes, *([1_000_000] if options.full else [])]
    kept = RESULTS / "retrieval_speed.json"
    result = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() and not options.smoke else {}
    result |= {
        "benchmark": "retrieval_speed",
        "seed": 1,
        "settings": Settings().fingerprint(),
        "versions": {name: version(name) for name in ("faiss-cpu", "numpy", "sqlalchemy", "hybrid-memory-sdk")},
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores",
    }
    for part, rows in measured(options, sizes):
        result[part] = merged(result.get(part, []), rows)
        print(table(rows), flush=True)
        if not options.smoke:
            kept.write_text(json.dumps(result) + "\n", encoding="utf-8")
    print(json.dumps(result))


def measured(options: argparse.Namespace, sizes: Sequence[int]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield each part that is wanted with its rows, as soon as one is there."""
    if "peers" in options.parts and options.peers:
        yield "peers", peers(options.peers, options.peers_size, options.stores)
    if {"ours", "ingest"} & set(options.parts):
        yield from with_encoder(options, sizes)
    for count in sizes if "kinds" in options.parts else ():
        for row in kinds(count):
            yield "kinds", [row]


def with_encoder(options: argparse.Namespace, sizes: Sequence[int]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the parts that need the encoder."""
    encoder = make_encoder(Settings())
    encoder.encode(["A first text, before anything is measured: it loads what the encoder needs."])
    with tempfile.TemporaryDirectory() as folder:
        for count in sizes if "ours" in options.parts else ():
            (Path(folder) / str(count)).mkdir()
            yield "ours", [run_size(count, Path(folder) / str(count), encoder)]
        if "ingest" in options.parts:
            yield "ingest", [ingest(encoder, Path(folder), 64 if options.smoke else 512)]


def merged(before: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of an earlier run with those of this one in their places, by size."""
    together = {(row.get("store"), row.get("kind"), row["records"]): row for row in (*before, *rows)}
    return sorted(together.values(), key=lambda row: int(row["records"]))


def _metadata(filters: dict[str, Any]) -> dict[str, Any]:
    return {f"metadata.{name}": value for name, value in filters.items()}


if __name__ == "__main__":
    main()
