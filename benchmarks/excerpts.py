"""Pages about several things: is the right one taken for evidence, and how much of it should the model read?

    python -m benchmarks.excerpts [--data-dir FOLDER] [--passages 40] [--smoke]

Flow:    pages of made-up facts, SQuAD passages -> HybridMemory.ingest -> HybridMemory.query_many, retrieval only

Five facts of a company, in the order of its file, make a page; companies are those that nothing was tuned on. With
--data-dir also SQuAD passages (`squad_seal`, CC BY-SA 4.0) that nothing was tuned on. "Says it" are made-up pages of
which most sentences refer to the first by "it", "they" or "her". Nothing is learned: what is
compared is what stands in the prompt. "Right" is an answer that contains the gold answer; "found" the share of
questions whose evidence is the right page. Intervals resample whole pages.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.company_data import REPORTED_COMPANIES, load_company
from benchmarks.report import RESULTS, header
from benchmarks.squad_seal import interval, load_passages
from hybrid_memory import HybridMemory, Mode
from hybrid_memory.selfedit.graders import contains

FACTS_A_PAGE = 5
NEVER = 1e9
COSINE, WHOLE, NEAREST, FOUND = (
    "whole page, evidence by cosine alone",
    "whole page",
    "nearest sentence",
    "nearest sentence, found by sentences",
)
ARMS: Mapping[str, dict[str, Any]] = {
    COSINE: {"answer": {"sentences": 0, "min_words": NEVER}, "ingest": {"sentences": False}},
    WHOLE: {"answer": {"sentences": 0}, "ingest": {"sentences": False}},
    NEAREST: {"answer": {"sentences": 1}, "ingest": {"sentences": False}},
    FOUND: {"answer": {"sentences": 1}, "ingest": {"sentences": True}},
}
"""The settings of each."""
PAIRS = ((WHOLE, COSINE), (NEAREST, WHOLE), (FOUND, NEAREST))
REFERRING = Path(__file__).parent / "data" / "referring_pages.json"
FILE = RESULTS / "excerpts.json"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about one of the pages."""

    page: int
    text: str
    gold: str


@dataclass(frozen=True, slots=True)
class Pages:
    """What one memory is told, and asked by kind of question."""

    pages: Sequence[str]
    questions: Mapping[str, Sequence[Asked]]


def company(name: str) -> Pages:
    """Return the facts of a company as pages."""
    facts = load_company(name).facts
    told = list(enumerate(facts))
    return Pages(
        pages=[
            " ".join(one.statement for one in facts[at : at + FACTS_A_PAGE])
            for at in range(0, len(facts), FACTS_A_PAGE)
        ],
        questions={
            "facts, plain": [Asked(at // FACTS_A_PAGE, one.plain_question, one.answer) for at, one in told],
            "facts, hard": [Asked(at // FACTS_A_PAGE, text, one.answer) for at, one in told for text in one.questions],
        },
    )


def referring(half: str = "reported") -> Pages:
    """Return the pages whose sentences refer to each other: half of them are to tune on."""
    told = json.loads(REFERRING.read_text(encoding="utf-8"))[half]
    asked = [Asked(at, one["question"], one["answer"]) for at, page in enumerate(told) for one in page["questions"]]
    return Pages([page["page"] for page in told], {"says it": asked})


def squad(data: Path, count: int) -> Pages:
    """Return the first SQuAD passages to report on."""
    passages = load_passages(data)[:count]
    asked = [Asked(at, one.text, one.answer) for at, passage in enumerate(passages) for one in passage.questions]
    return Pages([passage.context for passage in passages], {"SQuAD": asked})


def measure(told: Pages, settings: dict[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """Return, per kind of question, whether the evidence is the right page and whether the answer is right."""
    with (
        tempfile.TemporaryDirectory() as folder,
        HybridMemory.open(Path(folder) / "memory", **settings) as memory,
    ):
        for number, page in enumerate(told.pages):
            memory.ingest(page, route="retrieve", trust="operator", source=str(number))
        return {kind: _judged(memory, asked) for kind, asked in told.questions.items()}


def _judged(memory: HybridMemory, asked: Sequence[Asked]) -> list[tuple[float, float]]:
    answers = memory.query_many([one.text for one in asked], mode=Mode.RETRIEVAL_ONLY)
    found = [
        any(hit.record.source == str(one.page) for hit in answer.sources)
        for one, answer in zip(asked, answers, strict=True)
    ]
    right = [contains(answer.text, one.gold) for one, answer in zip(asked, answers, strict=True)]
    return list(zip(map(float, found), right, strict=True))


def summary(outcomes: Mapping[str, Mapping[str, Sequence[Sequence[float]]]]) -> dict[str, Any]:
    """Return shares by arm and kind, and paired differences; `outcomes` has (page, found, right) per question."""
    kinds = list(outcomes[PAIRS[0][0]])

    def column(arm: str, kind: str, place: int) -> list[float]:
        return [one[place] for one in outcomes[arm][kind]]

    def mean(arm: str, kind: str, place: int) -> float:
        return round(sum(column(arm, kind, place)) / len(outcomes[arm][kind]), 4)

    return {
        "questions": {kind: len(outcomes[PAIRS[0][0]][kind]) for kind in kinds},
        "found": {arm: {kind: mean(arm, kind, 1) for kind in kinds} for arm in ARMS},
        "right": {arm: {kind: mean(arm, kind, 2) for kind in kinds} for arm in ARMS},
        "differences": {
            f"{kind}: {one} - {other}": interval(
                column(one, kind, 2), column(other, kind, 2), [int(page) for page in column(one, kind, 0)]
            )
            for kind in kinds
            for one, other in PAIRS
        },
    }


def run(sets: Sequence[Pages]) -> dict[str, dict[str, list[list[float]]]]:
    """Return arm -> kind -> (page, found, right) per question; pages are numbered over all sets."""
    outcomes: dict[str, dict[str, list[list[float]]]] = {arm: {} for arm in ARMS}
    for number, told in enumerate(sets):
        for arm, settings in ARMS.items():
            for kind, rows in measure(told, settings).items():
                pages = (1000 * number + one.page for one in told.questions[kind])
                outcomes[arm].setdefault(kind, []).extend([page, *row] for page, row in zip(pages, rows, strict=True))
                print(f"  set {number + 1} of {len(sets)}, {arm}, {kind}: {_share(rows)}", flush=True)
    return outcomes


def _share(rows: Sequence[tuple[float, float]]) -> str:
    found, right = (sum(column) / len(rows) for column in zip(*rows, strict=True))
    return f"found {found:.1%}, right {right:.1%}"


def table(result: Mapping[str, Any]) -> str:
    """Return what was measured as Markdown."""
    kinds = list(result["questions"])
    lines = [
        "| shown | " + " | ".join(f"{kind}: found | right" for kind in kinds) + " |",
        "|---" * (2 * len(kinds) + 1),
    ]
    lines[-1] += "|"
    for arm in ARMS:
        cells = (f"{result[what][arm][kind]:.1%}" for kind in kinds for what in ("found", "right"))
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    for name, (mean, low, high) in result["differences"].items():
        lines.append(f"{name}: {100 * mean:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]")
    return "\n".join(lines)


def main() -> None:
    """Run, print the table and one JSON line, keep both in results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="folder with squad_seal in it")
    parser.add_argument("--passages", type=int, default=40, help="of squad_seal")
    parser.add_argument("--smoke", action="store_true", help="one company and pages that say it; proves nothing")
    options = parser.parse_args()
    sets = [company(name) for name in REPORTED_COMPANIES[: 1 if options.smoke else None]]
    sets.append(referring())
    if options.data_dir is not None and not options.smoke:
        sets.append(squad(options.data_dir, options.passages))
    result = {**header("excerpts", seed=0), **summary(run(sets))}
    print(table(result))
    print(json.dumps(result))
    if not options.smoke:
        FILE.write_text(json.dumps(result) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
