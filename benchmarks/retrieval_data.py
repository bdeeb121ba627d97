"""The public retrieval sets as one shape: what is ingested, what is asked, what should be found.

Flow:    --data-dir -> [load] -> retrieval_quality.py
Imports: standard library, llama_index (Document), and company_data beside it

Nothing of the public sets is in this repository; each has its licence beside it. `companies` are those of
data/companies: short records, asked for mostly in other words than theirs.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llama_index.core import Document

from benchmarks.company_data import load_company

__all__ = ["SETS", "Collection", "Question", "Source", "load"]

TUNED_ON = ("companies", "locomo", "scifact", "feedbackqa", "limit_small", "tau2_banking")
"""Settings were chosen on half of the questions of these, and on one of the companies; only the others are reported."""
COMPANIES = ("dev", "halden", "juniper", "ostrava")
"""The first is for tuning."""


@dataclass(frozen=True, slots=True)
class Source:
    """One input of `ingest`, in one user's scope."""

    held: object
    """A llama-index Document, or a list of chat messages."""
    user_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """One question with what should be found for it."""

    id: str
    text: str
    relevant: Mapping[str, float]
    """Document key -> gain."""
    category: str = ""
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class Collection:
    """One set. `key` names the document a record came from, by the record's metadata."""

    name: str
    sources: Sequence[Source]
    questions: Sequence[Question]
    key: Callable[[Mapping[str, Any]], str]
    same: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Key -> keys of documents with the very same text: the ledger keeps one record of them."""


def load(name: str, data: Path, *, part: str) -> Collection:
    """Return a set with the questions of one part: "tune", "report" or "all".

    Sets nothing was tuned on have no tuning part: all their questions are reported.
    """
    collection = SETS[name](name, data / name)
    if name not in TUNED_ON or part == "all":
        kept = [] if part == "tune" and name not in TUNED_ON else list(collection.questions)
    else:
        kept = [one for one in collection.questions if _tuned_on(name, one) == (part == "tune")]
    return Collection(name, collection.sources, kept, collection.key, collection.same)


def _tuned_on(name: str, question: Question) -> bool:
    if name == "companies":
        return question.user_id == COMPANIES[0]
    return zlib.crc32(question.id.encode()) % 2 == 0


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _documents(rows: Sequence[tuple[str, str, str]]) -> tuple[list[Source], dict[str, list[str]]]:
    """Turn (id, title, text) into one source per distinct text."""
    same: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for key, title, text in rows:
        same[title, text].append(key)
    sources = []
    for (title, text), keys in same.items():
        facts = {"key": keys[0], **({"title": title} if title else {})}
        sources.append(Source(Document(text=text or title, metadata=facts)))
    return sources, {keys[0]: keys for keys in same.values()}


def _beir(name: str, folder: Path) -> Collection:
    sources, same = _documents([(row["_id"], row["title"], row["text"]) for row in _rows(folder / "corpus.jsonl")])
    questions = [Question(row["_id"], row["text"], row["qrels"]) for row in _rows(folder / "dev.jsonl")]
    return Collection(name, sources, questions, lambda facts: str(facts["key"]), same)


def _banking(name: str, folder: Path) -> Collection:
    rows = [(row["id"], row["title"], row["content"]) for row in _rows(folder / "corpus.jsonl")]
    sources, same = _documents(rows)
    questions = [
        Question(row["id"], row["instructions"], dict.fromkeys(row["required_documents"], 1.0))
        for row in _rows(folder / "dev.jsonl")
    ]
    return Collection(name, sources, questions, lambda facts: str(facts["key"]), same)


def _squad(name: str, folder: Path) -> Collection:
    rows = list(_rows(folder / "dev.jsonl"))
    sources, same = _documents([(row["id"], row["title"], row["context"]) for row in rows])
    questions = [
        Question(f"{row['id']}-{number}", one["question"], {row["id"]: 1.0})
        for row in rows
        for number, one in enumerate(row["questions"])
    ]
    return Collection(name, sources, questions, lambda facts: str(facts["key"]), same)


def _locomo(name: str, folder: Path) -> Collection:
    sessions: defaultdict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for row in _rows(folder / "dev_turns.jsonl"):
        sessions[row["sample_id"], row["session"]].append(row)
    sources = [
        Source(
            [
                {
                    "role": "user",
                    "name": turn["speaker"],
                    "content": turn["text"],
                    "timestamp": datetime.strptime(turn["date"], "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC),
                }
                for turn in turns
            ],
            user_id=sample,
            metadata={"keys": [turn["dia_id"] for turn in turns], "sample": sample},
        )
        for (sample, _), turns in sessions.items()
    ]
    questions = [
        Question(
            row["id"],
            row["question"],
            {f"{row['sample_id']} {turn}": 1.0 for turn in row["evidence"]},
            category=row["category"],
            user_id=row["sample_id"],
        )
        for row in _rows(folder / "dev.jsonl")
        if row["evidence"]
    ]
    return Collection(name, sources, questions, lambda facts: f"{facts['sample']} {facts['keys'][facts['turn']]}")


def _longmemeval(name: str, folder: Path) -> Collection:
    """One question over its 50 sessions: sessions with the answer should be found. A smoke test, no statistics."""
    rows = json.loads((folder / "dev_full_haystack.json").read_text(encoding="utf-8"))
    sources, questions = [], []
    for row in rows:
        user = row["question_id"]
        for session, date, turns in zip(
            row["haystack_session_ids"], row["haystack_dates"], row["haystack_sessions"], strict=True
        ):
            at = datetime.strptime(date.replace(date[10:17], " "), "%Y/%m/%d %H:%M").replace(tzinfo=UTC)
            said = [{"role": turn["role"], "content": turn["content"], "timestamp": at} for turn in turns]
            if any(turn["content"].strip() for turn in turns):
                sources.append(Source(said, user_id=user, metadata={"session": f"{user} {session}"}))
        gold = {f"{user} {session}": 1.0 for session in row["answer_session_ids"]}
        questions.append(Question(user, row["question"], gold, category=row["question_type"], user_id=user))
    return Collection(name, sources, questions, lambda facts: str(facts["session"]))


def _companies(name: str, _: Path) -> Collection:
    """All that a company tells, the current prices and labelled tickets among it; asked are its facts and prices."""
    sources, questions = [], []
    for user in COMPANIES:
        company = load_company(user)
        told = {f"fact {one.id}": one.statement for one in company.facts}
        told |= {f"price {place}": one.current.sentence for place, one in enumerate(company.prices)}
        others = (*company.volatile, *company.chatter, *(ticket.text for ticket in company.train_tickets))
        told |= {f"other {place}": text for place, text in enumerate(others)}
        sources += [Source(Document(text=text, metadata={"key": f"{user} {key}"}), user) for key, text in told.items()]
        asked = [(f"fact {one.id}", text) for one in company.facts for text in (one.plain_question, *one.questions)]
        asked += [(f"price {place}", one.question) for place, one in enumerate(company.prices)]
        questions += [
            Question(f"{user} {place}", text, {f"{user} {key}": 1.0}, category=user, user_id=user)
            for place, (key, text) in enumerate(asked)
        ]
    return Collection(name, sources, questions, lambda facts: str(facts["key"]))


SETS: dict[str, Callable[[str, Path], Collection]] = {
    "companies": _companies,
    "locomo": _locomo,
    "longmemeval_mini": _longmemeval,
    "tau2_banking": _banking,
    "scifact": _beir,
    "limit_small": _beir,
    "feedbackqa": _beir,
    "cacm": _beir,
    "vaswani": _beir,
    "squad_seal": _squad,
}
