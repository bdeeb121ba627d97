"""The main job on a small company, over three windows, with its own control beside it.

Flow:    ingest -> window 1 -> ingest -> window 2 -> ingest -> window 3 -> ask in four ways -> forget
Imports: the public API, errors, types. All texts are self-authored (hybrid_memory/data/demo_company.json).

None of the questions is in the study material; the demo checks that and says so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from hybrid_memory.errors import NotFoundError
from hybrid_memory.grading import plain, said
from hybrid_memory.memory import HybridMemory
from hybrid_memory.protocols import Progress
from hybrid_memory.types import Answer, Example, Fact, Json, Mode, Preference, Trust

__all__ = ["DemoReport", "run"]

ROWS = ("base", "retrieval_only", "weights_only", "hybrid")
COLUMNS = (
    "durable facts",
    "tickets routed",
    "preference followed",
    "current price",
    "stale price said",
    "prompt tokens",
    "s per query",
)
RECEIPT = "forget-receipt.json"
TO_FORGET = -1
"""Place of the fact that is forgotten at the end."""


@dataclass(slots=True)
class DemoReport:
    """What the demo found; `text()` is what it prints."""

    company: str
    table: dict[str, dict[str, float]]
    """row -> column -> value; shares in [0, 1], tokens and seconds as they are."""
    counts: dict[str, int]
    windows: list[str]
    lineage: list[str]
    receipt: Mapping[str, Json]
    leaked: int
    """How many of the questions occur in the study material (0)."""
    evidence_stale: int
    """How many superseded prices were found among the evidence (0)."""
    folder: str
    seconds: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {name: getattr(self, name) for name in self.__slots__}

    def text(self) -> str:
        """Return the table, the adapters' lineage, the receipt and where everything lies."""
        asked = ", ".join(f"{number} {what}" for what, number in self.counts.items())
        return "\n".join(
            [
                f"{self.company}: three windows, then {asked}, asked in four ways.",
                f"{self.leaked} of the questions occur in the study material (checked word for word).",
                "",
                *self._table(),
                "",
                f"Superseded prices among the evidence: {self.evidence_stale}.",
                "",
                "Windows",
                *(f"  {line}" for line in self.windows),
                "Adapters",
                *(f"  {line}" for line in self.lineage),
                "Forgotten: 1 record",
                *(f"  {half}: {_listed(self.receipt[half])}" for half in ("retrieval", "weights")),
                "",
                f"Everything lies in {self.folder}: ledger.sqlite (the truth), index/, adapters/, {RECEIPT}.",
                "Seconds: " + ", ".join(f"{stage} {spent:.0f}" for stage, spent in self.seconds.items()),
            ]
        )

    def _table(self) -> list[str]:
        widths = [max(len(column), 8) for column in COLUMNS]
        lines = [" " * 16 + "  ".join(column.rjust(width) for column, width in zip(COLUMNS, widths, strict=True))]
        for row in ROWS:
            cells = [_cell(column, self.table[row][column]) for column in COLUMNS]
            lines.append(f"{row:16}" + "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)))
        return lines


def run(folder: Path, *, progress: Progress | None = None, quick: bool = False) -> DemoReport:
    """Play the demo in a folder; a second run finds what the first one learned and only asks again.

    Args:
        folder: where the memory is made.
        progress: told what is going on.
        quick: fewer facts, tickets and questions.
    """
    company = json.loads((files("hybrid_memory") / "data" / "demo_company.json").read_text(encoding="utf-8"))
    facts, tickets = (4, 24) if quick else (10, 72)
    company["facts"], company["tickets"]["train"] = company["facts"][:facts], company["tickets"]["train"][:tickets]
    seconds: dict[str, float] = {}
    with HybridMemory.open(folder / "memory") as memory:
        started = time.monotonic()
        windows = [_window(memory, batch, number, progress) for number, batch in enumerate(_batches(company), start=1)]
        seconds["three windows"] = time.monotonic() - started
        started = time.monotonic()
        exam = _Exam.of(company, quick=quick)
        table = {mode.value: exam.take(memory, mode, progress) for mode in Mode}
        with HybridMemory.open(folder / "empty") as empty:
            table["base"] = exam.take(empty, Mode.WEIGHTS_ONLY, progress)
        stale = exam.stale_evidence(memory)
        seconds["questions"] = time.monotonic() - started
        started = time.monotonic()
        receipt = _forget(memory, company["facts"][TO_FORGET]["statement"], folder / RECEIPT, progress)
        seconds["forgetting"] = time.monotonic() - started
        return DemoReport(
            company=f"{company['name']} ({company['about'].rstrip('.')})",
            table=table,
            counts=exam.counts,
            windows=windows,
            lineage=[
                f"{version.id}: {version.status.value}, records {len(version.record_ids)}, "
                + _listed({name: version.metrics.get(name) for name in ("learned", "kept")})
                for version in memory.adapters.list()
            ],
            receipt=receipt,
            leaked=exam.leaked(memory),
            evidence_stale=stale,
            folder=str(folder),
            seconds=seconds,
        )


# ---------------------------------------------------------------- what is ingested


def _batches(company: Mapping[str, Any]) -> list[list[tuple[object, datetime | None]]]:
    """Return what comes before each window, with the time from which it is true."""
    facts = [(fact["statement"], None) for fact in company["facts"]]
    early = 6 * len(facts) // 10
    preference = company["preference"]
    shown = tuple(Example(one["prompt"], one["response"]) for one in preference["train"])
    tickets = [(Example(one["text"], one["label"]), None) for one in company["tickets"]["train"]]
    return [
        [*facts[:early], (Preference(preference["rule"], shown), None), *_prices(company, 0)],
        [*tickets, *_prices(company, 1)],
        [*facts[early:], *_prices(company, 2)],
    ]


def _prices(company: Mapping[str, Any], number: int) -> list[tuple[object, datetime | None]]:
    return [
        (
            Fact(price["subject"], price["attribute"], price["history"][number]["value"], price["sentences"][number]),
            datetime.fromisoformat(price["history"][number]["valid_from"] + "T00:00:00+00:00"),
        )
        for price in company["prices"]
    ]


def _window(
    memory: HybridMemory, batch: Sequence[tuple[object, datetime | None]], number: int, progress: Progress | None
) -> str:
    undated = [x for x, valid_from in batch if valid_from is None]
    summary = memory.ingest_many(undated, trust=Trust.OPERATOR, source="handbook", progress=progress)
    for x, valid_from in batch:
        if valid_from is not None:
            memory.ingest(x, trust=Trust.OPERATOR, source="price list", valid_from=valid_from)
    report = memory.consolidate(progress=progress)
    refused = f", {len(summary.failures)} refused (forgotten before)" if summary.failures else ""
    return f"{number}: {len(batch)} ingested, {summary.duplicates} known before{refused}; {report.summary}"


# ---------------------------------------------------------------- what is asked


@dataclass(frozen=True, slots=True)
class _Question:
    text: str
    column: str
    right: Callable[[str], bool]
    stale: Callable[[str], bool] = lambda _: False
    old_sentences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Exam:
    """The questions, each with how its answer is checked."""

    questions: tuple[_Question, ...]

    @classmethod
    def of(cls, company: Mapping[str, Any], *, quick: bool) -> _Exam:
        facts = [
            _Question(fact["plain_question"], "durable facts", _saying(fact["answer"])) for fact in company["facts"]
        ]
        labels = list(company["desks"])
        tickets = [
            _Question(one["text"], "tickets routed", _only(one["label"], labels)) for one in company["tickets"]["test"]
        ]
        closing = company["preference"]["closing"]
        style = [_Question(one, "preference followed", _saying(closing)) for one in company["preference"]["test"]]
        prices = [
            _Question(
                price["question"],
                "current price",
                _saying(price["history"][-1]["value"]),
                _saying(*(version["value"] for version in price["history"][:-1])),
                tuple(price["sentences"][:-1]),
            )
            for price in company["prices"]
        ]
        if quick:
            tickets, style, prices = tickets[:8], style[:4], prices[:3]
        return cls((*facts, *tickets[:20], *style[:8], *prices))

    @property
    def counts(self) -> dict[str, int]:
        """How many questions each column asks."""
        names = [question.column for question in self.questions]
        return {name: names.count(name) for name in dict.fromkeys(names)}

    def take(self, memory: HybridMemory, mode: Mode, progress: Progress | None) -> dict[str, float]:
        """Ask everything in one mode; return the row of the table."""
        started = time.monotonic()
        answers = memory.query_many([question.text for question in self.questions], mode=mode, progress=progress)
        spent = time.monotonic() - started
        row = {column: self._share(column, answers) for column in self.counts}
        prices = [(q, a) for q, a in zip(self.questions, answers, strict=True) if q.column == "current price"]
        row["stale price said"] = sum(q.stale(a.text) for q, a in prices) / len(prices)
        row["prompt tokens"] = sum(answer.prompt_tokens for answer in answers) / len(answers)
        row["s per query"] = spent / len(answers)
        return row

    def _share(self, column: str, answers: Sequence[Answer]) -> float:
        asked = [(q, a) for q, a in zip(self.questions, answers, strict=True) if q.column == column]
        return sum(q.right(a.text) for q, a in asked) / len(asked)

    def stale_evidence(self, memory: HybridMemory) -> int:
        """Return how many superseded sentences the searches for current prices still bring up."""
        return sum(
            hit.text in question.old_sentences
            for question in self.questions
            if question.old_sentences
            for hit in memory.search(question.text, top_k=10)
        )

    def leaked(self, memory: HybridMemory) -> int:
        """Return how many of the questions occur word for word in the study material."""
        studied = {plain(prompt) for record in memory.list() for prompt in memory.studied(record.id)}
        return sum(plain(question.text) in studied for question in self.questions)


def _saying(*answers: str) -> Callable[[str], bool]:
    return lambda text: any(said(answer, text) for answer in answers)


def _only(label: str, labels: Sequence[str]) -> Callable[[str], bool]:
    return lambda text: said(label, text) and not any(said(other, text) for other in labels if other != label)


# ---------------------------------------------------------------- what is forgotten


def _forget(memory: HybridMemory, statement: str, file: Path, progress: Progress | None) -> Mapping[str, Json]:
    """Forget one fact in both halves; on a later run, return the receipt of the first."""
    found = [record for record in memory.list() if record.text == statement]
    if found:
        receipt = memory.forget(found[0].id, weights="now", progress=progress).to_json()
        file.write_text(json.dumps(receipt, indent=2) + "\n", encoding="utf-8")
        return receipt
    if not file.exists():
        raise NotFoundError(f"the record to forget is gone and {file} too; remove the demo's folder and run it again")
    kept: Mapping[str, Json] = json.loads(file.read_text(encoding="utf-8"))
    return kept


def _listed(part: Json) -> str:
    """Return names and values in a row, without those that hold nothing.

    >>> _listed({"state": "rebuilt", "files_deleted": 5, "shards": ["facts-1", "facts-2"], "due": [], "kept": None})
    'state rebuilt, files deleted 5, shards facts-1 facts-2'
    """
    held = {name: value for name, value in part.items() if value not in (None, [])} if isinstance(part, Mapping) else {}
    return ", ".join(
        f"{name.replace('_', ' ')} {' '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in held.items()
    )


def _cell(column: str, value: float) -> str:
    if column == "prompt tokens":
        return f"{value:.0f}"
    return f"{value:.2f}" if column == "s per query" else f"{value:.0%}"
