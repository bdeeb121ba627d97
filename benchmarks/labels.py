"""Do the vote of the nearest examples and an adapter that learned them label better together than alone?

    python -m benchmarks.labels [--data-dir FOLDER] [--seeds 0 1 2] [--smoke]

An application that labels says so: every question comes with the filter `kind = example`. Per company 72 labelled
tickets are learned beside 24 facts that are only retrievable, and 64 unseen tickets are asked for; each seed
initialises and orders the training anew, and a question counts with its mean over the seeds. With `--data-dir`, also
`ag_news` under four made-up codes, 72 texts learned and 100 asked for, drawn by the seed; its texts were used for
tuning, the companies' were not. The control, `retrieval_only`, is the vote.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.company_data import REPORTED_COMPANIES, load_company
from benchmarks.main_job import interval
from benchmarks.report import RESULTS, header
from hybrid_memory import Example, HybridMemory, Mode, Trust
from hybrid_memory.grading import said

ROWS = ("base", "retrieval_only", "weights_only", "hybrid")
CODES = ("KOR-7", "ONYX", "TB-2", "HALM")
LEARNED, ASKED = 72, 100
NEWS = "ag_news"
Outcomes = dict[str, dict[str, list[int]]]
"""Task -> row -> one 0 or 1 per question, seed after seed."""


@dataclass(frozen=True, slots=True)
class Task:
    """One labelled task: what is learned, what is asked, and what else is in the memory."""

    name: str
    learned: Sequence[tuple[str, str]]
    asked: Sequence[tuple[str, str]]
    facts: Sequence[str]

    @property
    def labels(self) -> list[str]:
        """All labels, sorted."""
        return sorted({label for _, label in self.learned})


def company_task(name: str) -> Task:
    """Return a company's tickets, with its facts beside them."""
    company = load_company(name)
    return Task(
        name,
        [(ticket.text, ticket.label) for ticket in company.train_tickets],
        [(ticket.text, ticket.label) for ticket in company.test_tickets],
        [fact.statement for fact in company.facts],
    )


def news_task(folder: Path, seed: int) -> Task:
    """Return `ag_news` under made-up codes: the same number of learned texts per topic."""
    rows = [json.loads(line) for line in (folder / NEWS / "dev.jsonl").read_text(encoding="utf-8").splitlines()]
    rng = random.Random(seed)
    rng.shuffle(rows)
    code = dict(zip(sorted({row["topic"] for row in rows}), rng.sample(CODES, len(CODES)), strict=True))
    share = LEARNED // len(code)
    learned = [row for topic in code for row in [one for one in rows if one["topic"] == topic][:share]]
    taken = {row["id"] for row in learned}
    asked = [row for row in rows if row["id"] not in taken][:ASKED]
    learned_pairs, asked_pairs = ([(row["text"], code[row["topic"]]) for row in part] for part in (learned, asked))
    return Task(NEWS, learned_pairs, asked_pairs, facts=())


def run(task: Task, seed: int) -> dict[str, list[int]]:
    """Return per row one 0 or 1 for each question."""
    with tempfile.TemporaryDirectory() as folder, HybridMemory.open(folder, training={"seed": seed}) as memory:
        outcomes = {"base": _asked(memory, task, Mode.WEIGHTS_ONLY)}
        memory.ingest_many([Example(text, label) for text, label in task.learned], trust=Trust.OPERATOR)
        memory.ingest_many(task.facts, trust=Trust.OPERATOR, route="retrieve")
        print(f"  {task.name}, seed {seed}: {memory.consolidate().summary}", flush=True)
        return outcomes | {row: _asked(memory, task, Mode(row)) for row in ROWS[1:]}


def _asked(memory: HybridMemory, task: Task, mode: Mode) -> list[int]:
    answers = memory.query_many(
        [text for text, _ in task.asked], mode=mode, filters={"kind": "example"}, max_new_tokens=12
    )
    others = {label: [one for one in task.labels if one != label] for label in task.labels}
    return [
        int(said(label, answer.text) and not any(said(other, answer.text) for other in others[label]))
        for (_, label), answer in zip(task.asked, answers, strict=True)
    ]


def by_question(outcomes: Outcomes, seeds: int) -> dict[str, dict[str, list[float]]]:
    """Return each question's mean over the seeds; the companies ask the same each time, `ag_news` does not.

    >>> by_question({"juniper": {"base": [1, 0, 0, 0]}}, 2)["juniper"]["base"]
    [0.5, 0.0]
    """
    means: dict[str, dict[str, list[float]]] = {}
    for name, rows in outcomes.items():
        repeats = 1 if name == NEWS else seeds
        means[name] = {row: np.reshape(one, (repeats, -1)).mean(axis=0).tolist() for row, one in rows.items()}
    companies = [means[name] for name in means if name != NEWS]
    means["all companies"] = {row: [one for company in companies for one in company[row]] for row in companies[0]}
    return means


def table(outcomes: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Return a row per way of answering and a column per task, as Markdown."""
    lines = ["| | " + " | ".join(outcomes) + " |", "|---" * (len(outcomes) + 1) + "|"]
    for row in ROWS:
        lines.append(f"| {row} | " + " | ".join(f"{np.mean(one[row]):.1%}" for one in outcomes.values()) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run, print the table and one JSON line, keep both in results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="folder of the public sets; adds ag_news")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--smoke", action="store_true", help="one company, one seed, under 2 minutes; proves nothing")
    options = parser.parse_args()
    seeds = options.seeds[:1] if options.smoke else options.seeds
    outcomes: Outcomes = {}
    for seed in seeds:
        tasks = [company_task(name) for name in (REPORTED_COMPANIES[:1] if options.smoke else REPORTED_COMPANIES)]
        tasks += [news_task(options.data_dir, seed)] if options.data_dir and not options.smoke else []
        for task in tasks:
            kept = outcomes.setdefault(task.name, {row: [] for row in ROWS})
            for row, right in run(task, seed).items():
                kept[row] += right
    together = by_question(outcomes, len(seeds))
    print(table(together))
    differences = {
        f"hybrid - {row}: {name}": interval(one["hybrid"], one[row])
        for name, one in together.items()
        for row in ("retrieval_only", "weights_only")
    }
    for name, (mean, low, high) in differences.items():
        print(f"{name}: {100 * mean:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]")
    result = {**header("labels", seed=seeds[0]), "seeds": seeds, "outcomes": outcomes, "differences": differences}
    print(json.dumps(result))
    if not options.smoke:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "labels.json").write_text(json.dumps(result) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
