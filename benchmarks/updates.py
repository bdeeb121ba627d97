"""Is the current value found first, a retired one never, and the right one as of any date? Arrivals out of order.

    python -m benchmarks.updates --data-dir ../shared/data [--vectors FILE] [--seed 0] [--smoke]

Flow:    dated values of public sets -> shuffled -> HybridMemory.ingest_many -> HybridMemory.search, now and as of dates
Imports: hybrid_memory (its public API)

Each slot is one question with its answers over time. All answers of a set arrive in random order, a fifth of them
twice. Then every question is asked now, and as of the middle of every answer's time. "First" means that the current
answer is the first hit of all; "stale" counts retired answers among the first ten, and "as of" is right when the
answer of that time is there and no other of its slot. Monthly rates and prices (volatile_rates), answers of December
2021, December 2023 and March 2024 (pat_questions), dated answers (situatedqa_time), answers with an end (timeqa:
they are history, so nothing may be found now).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import tempfile
import time
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_memory import Fact, Hit, HybridMemory, Settings, Trust

RESULTS = Path(__file__).parent / "results"
DEPTH = 10
TWICE = 0.2
"""Share of the answers that arrive twice."""
QUESTION = "question"
"""What marks the records of a slot: the slot's own subject comes without an article before it."""
PERIOD = re.compile(r"from (?:([A-Z][a-z]{2}) )?(\d{4}) to (?:([A-Z][a-z]{2}) )?(\d{4})")


@dataclass(frozen=True, slots=True)
class Answer:
    """One value of a slot with its time; `end` None is until the next."""

    value: str
    begin: datetime
    end: datetime | None = None

    def is_said_by(self, value: str | None) -> bool:
        """Tell whether a slot's value is this one; ingest folds blanks and accents that are signs of their own."""
        return value is not None and _folded(value) == _folded(self.value)


@dataclass(frozen=True, slots=True)
class Timeline:
    """One question with its answers, oldest first."""

    question: str
    answers: Sequence[Answer]

    def text(self, answer: Answer) -> str:
        """Return the statement that is ingested."""
        return f"{self.question.rstrip('?')}: {answer.value} (since {answer.begin:%d %B %Y})"

    def as_inputs(self) -> Iterator[tuple[Fact, Answer]]:
        """Yield what is ingested, with its answer."""
        for answer in self.answers:
            yield Fact(self.question, "answer", answer.value, self.text(answer)), answer

    def moments(self) -> Iterator[tuple[datetime, Answer]]:
        """Yield the middle of each answer's time."""
        for answer, following in zip(self.answers, [*self.answers[1:], None], strict=True):
            end = answer.end or (following.begin if following else datetime.now(UTC))
            yield answer.begin + (end - answer.begin) / 2, answer

    @property
    def current(self) -> Answer | None:
        """The answer that holds now."""
        return None if self.answers[-1].end is not None else self.answers[-1]


def rates(folder: Path) -> list[Timeline]:
    """Return eight monthly series of 60 values."""
    series: defaultdict[tuple[str, str], list[Answer]] = defaultdict(list)
    for row in _rows(folder / "dev.jsonl"):
        begin = datetime.fromisoformat(f"{row['date']}-01"[:10]).replace(tzinfo=UTC)
        series[row["series"], row["unit"]].append(Answer(f"{row['value']} {row['unit']}", begin))
    return [
        Timeline(f"What is the current value of {name.split('/')[1]} ({unit})?", _sorted(answers))
        for (name, unit), answers in series.items()
    ]


def present_anchored(folder: Path) -> list[Timeline]:
    """Return the answers of three dates; one that stayed the same is one answer."""
    dates = {"Dec2021": (2021, 12), "Dec2023": (2023, 12), "March2024": (2024, 3)}
    timelines = []
    for row in _rows(folder / "dev.jsonl"):
        given = [
            Answer(", ".join(row["answers"][name]), datetime(*date, 1, tzinfo=UTC))
            for name, date in dates.items()
            if row["answers"].get(name)
        ]
        timelines.append(Timeline(row["question"], _changes(given)))
    return [timeline for timeline in timelines if timeline.answers]


def situated(folder: Path) -> list[Timeline]:
    """Return the answers with a year of beginning."""
    timelines = []
    for row in _rows(folder / "dev_timelines.jsonl"):
        given = [
            Answer(", ".join(sorted(set(one["answer"]))), datetime(int(one["date"]), 1, 1, tzinfo=UTC))
            for one in row["timeline"]
            if one["date_type"] == "start" and one["date"].isdigit() and any(one["answer"])
        ]
        timelines.append(Timeline(row["question"], _changes(_sorted(given))))
    return [timeline for timeline in timelines if timeline.answers]


def periods(folder: Path) -> list[Timeline]:
    """Return answers with a beginning and an end that do not overlap, per page and relation."""
    timelines = []
    for row in _rows(folder / "dev.jsonl"):
        given = [
            Answer(", ".join(one["answers"]), _month(found[1], found[2]), _month(found[3], found[4]))
            for one in row["questions"]
            if any(one["answers"]) and (found := PERIOD.search(one["question"])) and int(found[2]) < int(found[4])
        ]
        kept: list[Answer] = []
        for answer in _sorted(given):
            if not kept or (kept[-1].end or answer.begin) <= answer.begin:
                kept.append(answer)
        timelines.append(Timeline(f"{row['title']}, {row['relation']}?", kept))
    return [timeline for timeline in timelines if timeline.answers]


SETS: dict[str, Callable[[Path], list[Timeline]]] = {
    "volatile_rates": rates,
    "pat_questions": present_anchored,
    "situatedqa_time": situated,
    "timeqa": periods,
}


def measure(timelines: Sequence[Timeline], *, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Ingest everything in random order and ask; return the counts."""
    rng = np.random.default_rng(seed)
    arrivals = [pair for timeline in timelines for pair in timeline.as_inputs()]
    again = rng.choice(len(arrivals), int(TWICE * len(arrivals)), replace=False)
    order = rng.permutation([*range(len(arrivals)), *again])
    counts: defaultdict[str, int] = defaultdict(int, slots=len(timelines), arrivals=len(order))
    with tempfile.TemporaryDirectory() as folder, HybridMemory.open(Path(folder) / "memory", **settings) as memory:
        started = time.monotonic()
        for place in order:
            fact, answer = arrivals[place]
            memory.ingest(
                fact,
                trust=Trust.OPERATOR,
                source="stream",
                route="retrieve",
                valid_from=answer.begin,
                valid_to=answer.end,
                metadata={QUESTION: fact.subject},
            )
        counts["ingest ms per arrival"] = round(1000 * (time.monotonic() - started) / len(order))
        for timeline in timelines:
            _ask(memory, timeline, counts)
        counts["problems named by doctor"] = len(memory.doctor()["problems"])  # type: ignore[arg-type]
    return dict(counts)


def _ask(memory: HybridMemory, timeline: Timeline, counts: defaultdict[str, int]) -> None:
    hits = memory.search(timeline.question, top_k=DEPTH)
    own = _values(hits, timeline)
    counts["asked now"] += 1
    if timeline.current is None:
        counts["current first"] += not own
        counts["stale in evidence"] += len(own)
    else:
        counts["current first"] += timeline.current.is_said_by(next(iter(_values(hits[:1], timeline)), None))
        counts["stale in evidence"] += sum(not timeline.current.is_said_by(value) for value in own)
    for moment, answer in timeline.moments():
        then = _values(memory.search(timeline.question, top_k=DEPTH, as_of=moment), timeline)
        counts["asked as of"] += 1
        counts["as of right"] += len(then) == 1 and answer.is_said_by(then[0])


def _values(hits: Sequence[Hit], timeline: Timeline) -> list[str | None]:
    """Return the slot's values among the hits, best first."""
    return [hit.record.value for hit in hits if hit.record.metadata[QUESTION] == timeline.question]


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the counts as a Markdown table."""
    lines = ["| set | slots | arrivals | current first | stale in evidence | as of right |", "|---" * 6 + "|"]
    for name, one in results.items():
        lines.append(
            f"| {name} | {one['slots']} | {one['arrivals']} | {one['current first']} of {one['asked now']} "
            f"| {one['stale in evidence']} | {one['as of right']} of {one['asked as of']} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run, print the table and one JSON line, keep both in results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with the public sets")
    parser.add_argument("--vectors", type=Path, help="file of the vector cache (encoder.cache)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of arrival")
    parser.add_argument("--smoke", action="store_true", help="ten slots a set; proves nothing")
    options = parser.parse_args()
    settings: dict[str, Any] = {"encoder": {"cache": str(options.vectors)}} if options.vectors else {}
    results = {}
    for name, read in SETS.items():
        timelines = read(options.data_dir / name)
        chosen = timelines[:10] if options.smoke else timelines
        results[name] = measure(chosen, seed=options.seed, settings=settings)
        print(name, results[name], flush=True)
    print(table(results))
    line = json.dumps(
        {
            "benchmark": "updates",
            "seed": options.seed,
            "settings": Settings().fingerprint(),
            "versions": {name: version(name) for name in ("faiss-cpu", "hybrid-memory-sdk")},
            "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores",
            "sets": results,
        }
    )
    if not options.smoke:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "updates.json").write_text(line + "\n", encoding="utf-8")
    print(line)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _sorted(answers: Sequence[Answer]) -> list[Answer]:
    """Return answers by their beginning, one for each."""
    return [answer for _, answer in sorted({answer.begin: answer for answer in answers}.items())]


def _changes(answers: Sequence[Answer]) -> list[Answer]:
    """Leave out an answer that says what the one before it said."""
    kept: list[Answer] = []
    for answer in answers:
        if not kept or kept[-1].value != answer.value:
            kept.append(answer)
    return kept


def _folded(value: str) -> list[str]:
    """Return what ingest makes of a value, without a last full stop ("F.C.")."""
    return unicodedata.normalize("NFC", value).rstrip(" .").split()


def _month(name: str | None, year: str) -> datetime:
    return datetime.strptime(f"{name or 'Jan'} {year}", "%b %Y").replace(tzinfo=UTC)


if __name__ == "__main__":
    main()
