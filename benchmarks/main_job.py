"""Does the hybrid beat both of its halves on the main job? Facts, tickets, a preference, prices.

    python -m benchmarks.main_job [--companies juniper halden ostrava] [--seeds 0 1 2] [--run-dir FOLDER] [--smoke]

One memory per company learns 24 statements, 72 labelled tickets and one preference, and is told 8 prices that
change twice. Then it is asked, in several ways, questions nobody trained on: each fact once in plain and once in hard
phrasing (few words in common), 64 unseen tickets, 24 questions for the preference, 8 prices; the plain answers
about facts are also looked at for the preference. "Unquoted" are the model's own words, whatever the evidence
says (`answer.quote_below = 0`). Companies and seeds go
in pairs (first company with the first seed, …); intervals are a paired bootstrap over the questions. "dev" is for
tuning only. What a company came to is kept in --run-dir and not measured again: companies may be run apart, one a core.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks.company_data import REPORTED_COMPANIES, Company, load_company
from hybrid_memory import Example, Fact, HybridMemory, Mode, Preference, Settings, Trust
from hybrid_memory.durable import write_text
from hybrid_memory.grading import said

RESULTS = Path(__file__).parent / "results"
CONTROLS = ("retrieval_only", "retrieval_only, 3 passages", "retrieval_only, unquoted")
ROWS = ("base", *CONTROLS, "weights_only", "hybrid", "hybrid, unquoted")
COLUMNS = ("facts, plain", "facts, hard", "tickets", "preference", "preference, on facts", "price", "stale price said")


@dataclass(slots=True)
class Run:
    """One company's outcomes: row -> column -> one 0 or 1 per question."""

    outcomes: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    tokens: dict[str, float] = field(default_factory=dict)
    seconds_per_query: dict[str, float] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)
    """How the main consolidation went: seconds to write, train, gate; tokens; learned, declined."""
    ledger: dict[str, int] = field(default_factory=dict)
    settings: str = ""
    """Fingerprint of the settings it was measured with."""


def teach(memory: HybridMemory, company: Company, run: Run) -> None:
    """Ingest everything and open the windows: facts first (timed by itself), then the rest."""
    for fact in company.facts:
        memory.ingest(fact.statement, trust=Trust.OPERATOR, source="handbook", route="learn")
    report = memory.consolidate(progress=_note)
    stages = [stage for shard in report.shards for stage in shard.seconds.items()]
    run.facts = {
        "statements": len(company.facts),
        "learned": report.learned,
        "declined": report.declined,
        "shards": len(report.shards),
        "trained tokens": sum(shard.trained_tokens for shard in report.shards),
        "seconds": report.seconds,
        **{
            name: round(sum(spent for stage, spent in stages if stage == name), 1)
            for name in ("write", "train", "gate")
        },
    }
    tickets = [Example(ticket.text, ticket.label) for ticket in company.train_tickets]
    memory.ingest_many(tickets, trust=Trust.OPERATOR, source="ticket history")
    memory.ingest(Preference(company.preference.rule, company.preference.train), trust=Trust.OPERATOR)
    for number in range(3):
        for price in company.prices:
            one = price.history[number]
            memory.ingest(
                Fact(price.subject, price.attribute, one.value, one.sentence),
                trust=Trust.OPERATOR,
                source="price list",
                valid_from=one.valid_from,
            )
    second = memory.consolidate(progress=_note)
    run.facts["other seconds"] = second.seconds
    run.facts["other declined"] = second.declined


def ask(memory: HybridMemory, company: Company, run: Run, row: str, mode: Mode, passages: int | None = None) -> None:
    """Ask everything in one mode and keep each outcome."""
    labels = list(company.desks)
    questions: list[tuple[str, str, Callable[[str], bool]]] = [
        *(("facts, plain", fact.plain_question, _saying(fact.answer)) for fact in company.facts),
        *(("facts, hard", fact.question, _saying(fact.answer)) for fact in company.facts),
        *(("tickets", ticket.text, _only(ticket.label, labels)) for ticket in company.test_tickets),
        *(("preference", one, company.preference.is_followed_by) for one in company.preference.test),
        *(("price", price.question, _saying(price.current.value)) for price in company.prices),
    ]
    started = time.monotonic()
    texts = [text for _, text, _ in questions]
    answers = memory.query_many(texts, mode=mode, passages=passages, progress=_note)
    run.seconds_per_query[row] = (time.monotonic() - started) / len(answers)
    run.tokens[row] = sum(answer.prompt_tokens for answer in answers) / len(answers)
    outcomes: dict[str, list[int]] = {column: [] for column in COLUMNS}
    for (column, _, right), answer in zip(questions, answers, strict=True):
        outcomes[column].append(int(right(answer.text)))
    facts = [answer for (column, _, _), answer in zip(questions, answers, strict=True) if column == "facts, plain"]
    outcomes["preference, on facts"] = [int(company.preference.is_followed_by(answer.text)) for answer in facts]
    asked = [answer for (column, _, _), answer in zip(questions, answers, strict=True) if column == "price"]
    for price, answer in zip(company.prices, asked, strict=True):
        old = [one.value for one in price.history[:-1]]
        outcomes["stale price said"].append(int(any(said(value, answer.text) for value in old)))
    run.outcomes[row] = outcomes


def check_prices(memory: HybridMemory, company: Company) -> dict[str, int]:
    """Count what the ledger promises: the current value only in the evidence, history as of each date."""
    stale = current = as_of = 0
    for price in company.prices:
        texts = [hit.text for hit in memory.search(price.question, top_k=10)]
        stale += sum(one.sentence in texts for one in price.history[:-1])
        current += texts[0] == price.current.sentence
        for number, one in enumerate(price.history):
            later = price.history[number + 1].valid_from if number < 2 else datetime.now(UTC)
            middle = one.valid_from + (later - one.valid_from) / 2
            found = [hit.text for hit in memory.search(price.question, top_k=10, as_of=middle)]
            told = [version.sentence for version in price.history if version.sentence in found]
            as_of += told == [one.sentence]
    return {
        "prices": len(company.prices),
        "current first": current,
        "stale in evidence": stale,
        "as of": as_of,
        "as of asked": 3 * len(company.prices),
    }


def measured(company: Company, seed: int, file: Path) -> Run:
    """Return what a company came to: read from the file, or measured and written there."""
    if not file.exists():
        write_text(file, json.dumps(asdict(run_company(company, seed))))
    return Run(**json.loads(file.read_text(encoding="utf-8")))


def run_company(company: Company, seed: int) -> Run:
    """Teach one company to a fresh memory and ask in every mode."""
    run = Run(settings=Settings.load().fingerprint())
    with tempfile.TemporaryDirectory() as folder:
        with HybridMemory.open(Path(folder) / "empty") as empty:
            ask(empty, company, run, "base", Mode.WEIGHTS_ONLY)
        with HybridMemory.open(Path(folder) / "memory", training={"seed": seed}) as memory:
            teach(memory, company, run)
            ask(memory, company, run, "retrieval_only", Mode.RETRIEVAL_ONLY)
            ask(memory, company, run, "retrieval_only, 3 passages", Mode.RETRIEVAL_ONLY, passages=3)
            ask(memory, company, run, "weights_only", Mode.WEIGHTS_ONLY)
            ask(memory, company, run, "hybrid", Mode.HYBRID)
            run.ledger = check_prices(memory, company)
        with HybridMemory.open(Path(folder) / "memory", answer={"quote_below": 0}) as memory:
            ask(memory, company, run, "retrieval_only, unquoted", Mode.RETRIEVAL_ONLY)
            ask(memory, company, run, "hybrid, unquoted", Mode.HYBRID)
    return run


def interval(one: Sequence[float], other: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Return mean paired difference with its 95 % bootstrap interval (10,000 resamples of the questions)."""
    difference = np.asarray(one, dtype=float) - np.asarray(other, dtype=float)
    rng = np.random.default_rng(seed)
    means = difference[rng.integers(0, len(difference), (10_000, len(difference)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(difference.mean()), float(low), float(high)


def pooled(runs: Sequence[Run], row: str, column: str) -> list[int]:
    """Return the outcomes of all companies, in order."""
    return [outcome for run in runs for outcome in run.outcomes[row][column]]


def table(runs: Sequence[Run]) -> str:
    """Return the pooled table as Markdown."""
    lines = ["| | " + " | ".join(COLUMNS) + " | prompt tokens | s per query |", "|---" * (len(COLUMNS) + 3) + "|"]
    for row in ROWS:
        shares = [f"{np.mean(pooled(runs, row, column)):.1%}" for column in COLUMNS]
        tokens = f"{np.mean([run.tokens[row] for run in runs]):.0f}"
        seconds = f"{np.mean([run.seconds_per_query[row] for run in runs]):.2f}"
        lines.append(f"| {row} | " + " | ".join([*shares, tokens, seconds]) + " |")
    return "\n".join(lines)


def differences(runs: Sequence[Run]) -> dict[str, tuple[float, float, float]]:
    """Return hybrid and weights_only against the best of the retrieval controls, per column."""
    found = {}
    for column in COLUMNS[:-1]:
        control = max(CONTROLS, key=lambda row: float(np.mean(pooled(runs, row, column))))
        for row in ("weights_only", "hybrid"):
            found[f"{row} - {control}: {column}"] = interval(pooled(runs, row, column), pooled(runs, control, column))
    return found


def as_result(runs: Sequence[Run], names: Sequence[str], seeds: Sequence[int]) -> dict[str, object]:
    """Return everything that was measured, ready for one JSON line."""
    return {
        "benchmark": "main_job",
        "companies": list(names[: len(runs)]),
        "seeds": list(seeds[: len(runs)]),
        "settings": ", ".join(sorted({run.settings for run in runs})),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft", "hybrid-memory-sdk")},
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores, "
        f"{Settings.load().model.threads or 'all'} threads",
        "means": {row: {column: float(np.mean(pooled(runs, row, column))) for column in COLUMNS} for row in ROWS},
        "prompt tokens": {row: float(np.mean([run.tokens[row] for run in runs])) for row in ROWS},
        "s per query": {row: float(np.mean([run.seconds_per_query[row] for run in runs])) for row in ROWS},
        "differences": differences(runs),
        "consolidation": [run.facts for run in runs],
        "ledger": [run.ledger for run in runs],
        "outcomes": [run.outcomes for run in runs],
    }


def main() -> None:
    """Run, print the table and one JSON line, keep both in results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--companies", nargs="+", default=list(REPORTED_COMPANIES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--smoke", action="store_true", help="a fifth of one company, under 2 minutes; proves nothing")
    parser.add_argument("--run-dir", type=Path, default=None, help="where each company's answers are kept")
    options = parser.parse_args()
    folder = options.run_dir or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    names = options.companies[:1] if options.smoke else options.companies
    runs = []
    for name, seed in zip(names, options.seeds, strict=False):
        company = load_company(name).part(5) if options.smoke else load_company(name)
        started = time.monotonic()
        runs.append(measured(company, seed, folder / f"{name}-{seed}{'-smoke' if options.smoke else ''}.json"))
        print(f"\n{name}, seed {seed}, {time.monotonic() - started:.0f} s: {runs[-1].facts} {runs[-1].ledger}")
        print(table(runs[-1:]), flush=True)
        if not options.smoke and "dev" not in names:  # kept after each company: a long run may be cut short
            RESULTS.mkdir(exist_ok=True)
            line = json.dumps(as_result(runs, names, options.seeds))
            (RESULTS / "main_job.json").write_text(line + "\n", encoding="utf-8")
    print("\nAll companies together")
    print(table(runs))
    for name, (mean, low, high) in differences(runs).items():
        print(f"{name}: {100 * mean:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]")
    print(json.dumps(as_result(runs, names, options.seeds)))


def _note(stage: str, done: int, total: int, note: str = "") -> None:
    if done == total:
        print(f"  {stage} {total} {note}", file=sys.stderr, flush=True)


def _saying(answer: str) -> Callable[[str], bool]:
    return lambda text: said(answer, text)


def _only(label: str, labels: Sequence[str]) -> Callable[[str], bool]:
    return lambda text: said(label, text) and not any(said(other, text) for other in labels if other != label)


if __name__ == "__main__":
    main()
