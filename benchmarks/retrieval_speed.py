"""How fast is retrieval, and how exact, beside the parts it is made of and beside other stores?

    python -m benchmarks.retrieval_speed [--sizes 1000 10000 100000] [--full] [--peers PYTHON] [--smoke]

Flow:    the same vectors -> ledger + retriever | raw FAISS | other stores (retrieval_peers.py) -> one table
Imports: hybrid_memory (stages included: this measures one of them), faiss

Vectors are made up (clusters on the unit sphere, 384 numbers); texts are 25 words from a vocabulary with few common
and many rare words; questions are texts with half of the words changed. So recall says how an approximate index does
on such vectors only. `--peers` names the Python of an environment that has mem0ai, chromadb, txtai and
llama-index-core; they get the same vectors on the same machine in the same run. Search is measured in
processor time, in turns with raw FAISS and the encoder, so that other jobs on the machine change little; what writes
to the disk is measured by the clock.
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
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faiss as faiss_module
import numpy as np

from hybrid_memory import HybridMemory, Settings
from hybrid_memory.build import build
from hybrid_memory.ledger.ledger import SqlLedger
from hybrid_memory.retrieval.index import Kind, VectorIndex
from hybrid_memory.retrieval.retriever import HybridRetriever
from hybrid_memory.retrieval.selection import Selection
from hybrid_memory.types import Decision, Draft, Entry, FloatArray, Route, Scope, Sensitivity, Trust
from hybrid_memory.types import Kind as RecordKind

RESULTS = Path(__file__).parent / "results"
DIM = 384
SIZES = (1_000, 10_000, 100_000)
BATCH = 1_000
ROUNDS = 40
EVERYONE = Scope()
NOW = datetime.now(UTC)
SHARES = {"10 %": 10, "1 %": 100, "0.1 %": 1000}
"""Share of the records a filter leaves -> how many groups the records are in."""
faiss: Any = faiss_module
DECISION = Decision(
    route=Route.RETRIEVE,
    kind=RecordKind.FACT,
    p_durable=0.5,
    p_behaviour=0.5,
    sensitivity=Sensitivity.NORMAL,
    trust=Trust.USER,
    reasons=(),
    policy="benchmark@000000000000",
)


class Given:
    """An encoder that has every vector already: what is left is the package's own work."""

    dim = DIM
    fingerprint = "given"
    vocabulary: Sequence[str] = ()

    def __init__(self, texts: Sequence[str], vectors: FloatArray) -> None:
        self._rows = dict(zip(texts, vectors, strict=True))

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return the vectors of known texts."""
        return np.stack([self._rows[text] for text in texts]) if texts else np.zeros((0, DIM), np.float32)


def made_up(count: int, seed: int) -> tuple[list[str], FloatArray]:
    """Return texts and unit vectors: the centres are always the same, the rest depends on the seed."""
    centres = np.random.default_rng(0).standard_normal((2_000, DIM), dtype=np.float32)
    rng = np.random.default_rng(seed)
    vectors = centres[rng.integers(0, len(centres), count)] + rng.standard_normal((count, DIM), dtype=np.float32)
    words = np.minimum(rng.zipf(1.3, size=(count, 25)), 50_000)
    texts = [f"record{seed}x{row} " + " ".join(f"w{word}" for word in line) for row, line in enumerate(words)]
    return texts, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def entries(texts: Sequence[str], vectors: FloatArray, first: int) -> list[Entry]:
    """Return what the ledger takes; record i is in group i mod g of each share."""
    return [
        Entry(
            draft=Draft(
                text=text,
                kind=RecordKind.FACT,
                scope=EVERYONE,
                source="benchmark",
                trust=Trust.USER,
                observed_at=NOW,
                valid_from=NOW,
                passages=(text,),
                metadata={f"group{groups}": (first + row) % groups for groups in SHARES.values()},
            ),
            decision=DECISION,
            vectors=vectors[row : row + 1],
            encoder="given",
        )
        for row, text in enumerate(texts)
    ]


def opened(folder: Path, encoder: Any, **options: Any) -> tuple[SqlLedger, HybridRetriever]:
    """Return ledger and retriever over a folder."""
    ledger = SqlLedger.open(f"sqlite:///{folder}/ledger.sqlite", lock_path=folder / "lock", lock_timeout_s=60)
    return ledger, HybridRetriever(ledger, encoder, folder / "index", **options)


def run_size(count: int, folder: Path, encoder: Any) -> dict[str, Any]:
    """Measure one size; times in seconds, or milliseconds where the name says so."""
    texts, vectors = made_up(count, seed=1)
    questions, asked = made_up(ROUNDS, seed=2)
    given = Given([*texts, *questions], np.concatenate([vectors, asked]))
    ledger, retriever = opened(folder, given)
    figures: dict[str, Any] = {"records": count}
    before = resident_mb()
    started = time.perf_counter()
    for first in range(0, count, BATCH):
        last = min(first + BATCH, count)
        ledger.write(entries(texts[first:last], vectors[first:last], first))
    figures["written per s"] = count / (time.perf_counter() - started)
    retriever.catch_up()
    figures["insert precomputed, per s"] = count / (time.perf_counter() - started)
    retriever.save()
    raw = faiss.IndexFlatIP(DIM)
    raw.add(vectors)
    figures |= searches(retriever, raw, encoder, questions, asked)
    figures["memory MB"] = resident_mb() - before - vectors.nbytes / 1e6
    figures |= filtered(ledger, folder, vectors, asked, questions)
    figures |= forgotten(ledger, retriever, count)
    figures["disk MB"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    ledger.close()
    figures |= cold(folder, given, questions[0], asked[0])
    return figures


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


def cold(folder: Path, encoder: Any, question: str, vector: FloatArray) -> dict[str, Any]:
    """Measure opening and the first answer."""
    started = time.perf_counter()
    ledger, retriever = opened(folder, encoder)
    found = retriever.search(question, vector=vector, scope=EVERYONE, top_k=10)
    spent = time.perf_counter() - started
    ledger.close()
    return {"cold start s": spent, "cold start found": len(found)}


def kinds(count: int) -> list[dict[str, Any]]:
    """Compare flat, lists and graph: seconds to build, p50, recall@10 against flat."""
    _, vectors = made_up(count, seed=1)
    _, asked = made_up(200, seed=2)
    ids, everything = np.arange(1, count + 1), Selection(np.arange(1, count + 1))
    exact: list[set[int]] = []
    rows = []
    chosen: tuple[Kind, ...] = ("flat", "ivf") if count > 200_000 else ("flat", "ivf", "hnsw")
    for kind in chosen:
        started = time.process_time()
        index = VectorIndex.build(kind, ids, vectors)
        built = time.process_time() - started
        found = [{key for key, _ in index.search(row, selection=everything, top_k=10)} for row in asked]
        times = [timed(partial(index.search, row, selection=everything, top_k=10)) for row in asked[:ROUNDS]]
        exact = exact or found
        recall = float(np.mean([len(one & other) / 10 for one, other in zip(found, exact, strict=True)]))
        row = {"vectors": count, "kind": kind, "build CPU s": built, "p50 ms": 1000 * float(np.median(times))}
        rows.append({**row, "recall@10": recall})
        print(rows[-1], flush=True)
    return rows


def ingest(encoder: Any, folder: Path, count: int) -> dict[str, Any]:
    """Compare `ingest_many` with the encoder alone on the same texts, in CPU time."""
    texts = [f"{text}." for text in made_up(2 * count, seed=3)[0]]
    encoder.encode(["warm up"])
    alone = timed(lambda: encoder.encode(texts[:count]))
    with HybridMemory(build(folder / "ingest", Settings(), encoder=encoder)) as memory:
        memory.ingest("A first record.", route="retrieve")
        whole = timed(lambda: memory.ingest_many(texts[count:], batch_size=256, route="retrieve"))
    return {
        "texts": count,
        "encoder texts per CPU s": count / alone,
        "ingested per CPU s": count / whole,
        "share of the encoder's throughput": alone / whole,
    }


def timed(call: Callable[[], object]) -> float:
    """Return the seconds of processor time a call took: what it takes by the clock on an idle machine, one thread."""
    started = time.process_time()
    call()
    return time.process_time() - started


def resident_mb() -> float:
    """Return the greatest resident size of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def peers(python: str, count: int) -> list[dict[str, Any]]:
    """Run the other stores in their own environment on the same vectors; a store that fails says how."""
    with tempfile.TemporaryDirectory() as folder:
        _, vectors = made_up(count, seed=1)
        _, asked = made_up(ROUNDS, seed=2)
        np.savez(Path(folder) / "vectors.npz", vectors=vectors, asked=asked)
        script = Path(__file__).with_name("retrieval_peers.py")
        run = subprocess.run([python, str(script), folder], capture_output=True, text=True, check=False)
        print(run.stdout, run.stderr[-2000:] if run.returncode else "", flush=True)
        return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]


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
    parser.add_argument("--peers", help="Python of the environment with the other stores")
    parser.add_argument("--peers-size", type=int, default=10_000)
    parser.add_argument("--smoke", action="store_true", help="a thousand records; proves nothing")
    options = parser.parse_args()
    from hybrid_memory.build import make_encoder

    encoder = make_encoder(Settings())
    sizes = [1_000] if options.smoke else [*options.sizes, *([1_000_000] if options.full else [])]
    ours = []
    with tempfile.TemporaryDirectory() as folder:
        ingested = ingest(encoder, Path(folder), 64 if options.smoke else 512)
        print(ingested, flush=True)
        for count in sizes:
            (Path(folder) / str(count)).mkdir()
            ours.append(run_size(count, Path(folder) / str(count), encoder))
            print(table(ours[-1:]), flush=True)
    compared = [row for count in sizes for row in kinds(count)]
    others = peers(options.peers, options.peers_size) if options.peers else []
    print(table(ours))
    print(table(others))
    line = json.dumps(
        {
            "benchmark": "retrieval_speed",
            "seed": 1,
            "settings": Settings().fingerprint(),
            "versions": {name: version(name) for name in ("faiss-cpu", "numpy", "sqlalchemy", "hybrid-memory-sdk")},
            "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores, "
            f"load {os.getloadavg()[0]:.1f} at the end",
            "ingest": ingested,
            "ours": ours,
            "kinds": compared,
            "peers": others,
        }
    )
    if not options.smoke:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "retrieval_speed.json").write_text(line + "\n", encoding="utf-8")
    print(line)


def _metadata(filters: dict[str, Any]) -> dict[str, Any]:
    return {f"metadata.{name}": value for name, value in filters.items()}


if __name__ == "__main__":
    main()
