"""`memory.benchmark`: replay the memory's own records window by window, and measure what each half keeps.

Flow:    own records + own questions -> a fresh memory in a temporary folder -> windows -> BenchmarkReport
Imports: errors, types, protocols, grading, retention. Knows the fresh memory by a protocol only.

The questions must be the user's own: material the memory wrote to study by would only measure memorising.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from ulid import ULID

from hybrid_memory import retention
from hybrid_memory.errors import InputError
from hybrid_memory.grading import said
from hybrid_memory.protocols import Progress
from hybrid_memory.types import (
    Answer,
    ConsolidationReport,
    Example,
    Fact,
    IngestReceipt,
    Json,
    Kind,
    Mode,
    Preference,
    Record,
    Scope,
    Value,
    quoted,
)

__all__ = ["BenchmarkReport", "Replayed", "replay"]

COLUMNS = ("average_accuracy", "learning", "backward_transfer", "forgetting", "net_over_base", "half_life")
ROWS: dict[str, tuple[Mode, bool]] = {
    "retrieval_only": (Mode.RETRIEVAL_ONLY, False),
    "retrieval_only, misses": (Mode.RETRIEVAL_ONLY, True),
    "weights_only": (Mode.WEIGHTS_ONLY, False),
    "hybrid": (Mode.HYBRID, False),
    "hybrid, misses": (Mode.HYBRID, True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkReport(Value):
    """What the replay showed; `text()` is a table for people."""

    windows: int
    records: int
    questions: int
    rows: Mapping[str, Mapping[str, float | None]]
    """row -> metric of hybrid_memory.retention -> value; half_life None: never, or nothing was gained."""
    matrices: Mapping[str, Sequence[Sequence[float | None]]]
    """row -> accuracy after window i on what window j brought; None before it was brought."""
    missed: tuple[str, ...]
    """Ids of the records that could not be found in the rows with misses."""
    learned: int
    declined: int
    trained_tokens: int
    seconds: float

    def text(self) -> str:
        """Return the table with what it stands on."""
        width = max(len(row) for row in self.rows)
        names = [column.replace("_", " ") for column in COLUMNS]
        lines = [" " * width + "  " + "  ".join(names)]
        for row, values in self.rows.items():
            cells = [_cell(column, values[column]).rjust(len(column)) for column in COLUMNS]
            lines.append(f"{row:{width}}  " + "  ".join(cells))
        return "\n".join(
            [
                *lines,
                "",
                f"{self.records} records in {self.windows} windows, {self.questions} questions, "
                f"{self.learned} learned, {self.declined} declined, {self.trained_tokens} tokens, "
                f"{self.seconds:.0f} s, {len(self.missed)} records missed",
            ]
        )


class Replayed(Protocol):
    """The part of a memory that a replay uses; the arguments are those of HybridMemory."""

    @property
    def ingest(self) -> Callable[..., IngestReceipt]:
        """Take one input."""
        ...

    @property
    def consolidate(self) -> Callable[..., ConsolidationReport]:
        """Open a window."""
        ...

    @property
    def query_many(self) -> Callable[..., list[Answer]]:
        """Answer questions."""
        ...


def replay(
    records: Sequence[Record],
    questions: Sequence[Example],
    *,
    open_memory: Callable[[Path], AbstractContextManager[Replayed]],
    scope: Scope,
    windows: int,
    misses: float,
    seed: int,
    progress: Progress | None,
) -> BenchmarkReport:
    """Tell the records to a fresh memory in `windows` parts; after each, ask what was told so far in every mode.

    Args:
        records: in order of recording.
        questions: prompt = the question, response = what a right answer must say, as whole words.
        open_memory: opens an empty memory in a folder.
        scope: what is asked in, but for the run: the replay is a run of its own.
        windows: how many parts.
        misses: share of the asked records that retrieval cannot find in the rows with misses, in [0, 1].
        seed: which ones.
        progress: told about each window.

    Raises:
        InputError: there is no question, no record says what one's response says, or a number is out of range.
    """
    if not questions or not all(isinstance(one, Example) for one in questions):
        raise InputError("questions must be a list of Example(question, right answer), one or more")
    if not 1 <= windows <= max(1, len(records)) or not 0 <= misses <= 1:
        raise InputError(
            f"windows must be 1 to {len(records)} (the number of records) and misses 0 to 1, got {windows} and {misses}"
        )
    started = time.monotonic()
    course = _Course.of(records, questions, scope, windows=windows, misses=misses, seed=seed)
    with tempfile.TemporaryDirectory() as folder, open_memory(Path(folder)) as memory:
        base, table, reports = _run(course, memory, progress)
    bases = retention.accuracy_matrix(base[None, :], course.tasks)[0]
    matrices = {row: retention.accuracy_matrix(outcomes, course.tasks) for row, outcomes in table.items()}
    return BenchmarkReport(
        windows=windows,
        records=len(records),
        questions=len(questions),
        rows={"base": _metrics(np.tile(bases, (windows, 1)), bases)}
        | {row: _metrics(matrix, bases) for row, matrix in matrices.items()},
        matrices={row: [[_plain(cell) for cell in line] for line in matrix] for row, matrix in matrices.items()},
        missed=course.missed,
        learned=sum(report.learned for report in reports),
        declined=sum(report.declined for report in reports),
        trained_tokens=sum(shard.trained_tokens for report in reports for shard in report.shards),
        seconds=round(time.monotonic() - started, 1),
    )


@dataclass(frozen=True, slots=True)
class _Course:
    """What is told in which window, what is asked, and where."""

    told: tuple[tuple[Record, ...], ...]
    """The records of each window."""
    questions: tuple[Example, ...]
    tasks: tuple[int, ...]
    """In which window the answer to each question is told."""
    missed: tuple[str, ...]
    """Ids of the records that retrieval cannot find in the rows with misses."""
    scope: Mapping[str, str | None]
    """A run of its own: its adapters' names never meet those of the replayed memory in the model that both use."""

    @classmethod
    def of(
        cls,
        records: Sequence[Record],
        questions: Sequence[Example],
        scope: Scope,
        *,
        windows: int,
        misses: float,
        seed: int,
    ) -> _Course:
        owners = [_owner(question, records).id for question in questions]
        window_of = {record.id: place * windows // len(records) for place, record in enumerate(records)}
        asked = sorted(set(owners))
        run = {**dict(zip(scope.keys(), scope.values(), strict=True)), "run_id": f"benchmark-{ULID()}"}
        return cls(
            told=tuple(
                tuple(record for record in records if window_of[record.id] == window) for window in range(windows)
            ),
            questions=tuple(questions),
            tasks=tuple(window_of[owner] for owner in owners),
            missed=tuple(sorted(random.Random(seed).sample(asked, round(misses * len(asked))))),
            scope=run,
        )


def _run(
    course: _Course, memory: Replayed, progress: Progress | None
) -> tuple[npt.NDArray[np.float64], dict[str, npt.NDArray[np.float64]], list[ConsolidationReport]]:
    """Return the base's scores, shape (questions,), each row's after every window, (windows, questions), and reports.

    A question is nan until its answer was told.
    """
    questions, windows = course.questions, len(course.told)
    base = _asked(memory, questions, course, mode=Mode.WEIGHTS_ONLY)
    table = {row: np.full((windows, len(questions)), np.nan) for row in ROWS}
    ids: dict[str, str | None] = {}
    reports: list[ConsolidationReport] = []
    for window, records in enumerate(course.told):
        for record in records:
            stamp = _stamp(record, run_id=course.scope["run_id"])
            ids[record.id] = memory.ingest(_as_input(record), **stamp).record_id
        reports.append(memory.consolidate(progress=progress))
        told = [place for place, task in enumerate(course.tasks) if task <= window]
        hidden = [name for record_id in course.missed if (name := ids.get(record_id)) is not None]
        for row, (mode, with_misses) in ROWS.items():
            filters = {"id": {"nin": hidden}} if with_misses and hidden else None
            table[row][window, told] = _asked(
                memory, [questions[place] for place in told], course, mode=mode, filters=filters
            )
        if progress is not None:
            progress("benchmark", window + 1, windows, "windows")
    return base, table, reports


def _asked(
    memory: Replayed,
    questions: Sequence[Example],
    course: _Course,
    *,
    mode: Mode,
    filters: Mapping[str, Json] | None = None,
) -> npt.NDArray[np.float64]:
    """Return 1.0 for each question whose answer says what is right, else 0.0."""
    texts = [question.prompt for question in questions]
    answers = memory.query_many(texts, mode=mode, filters=filters, **course.scope)
    pairs = zip(questions, answers, strict=True)
    return np.array([float(said(question.response, answer.text)) for question, answer in pairs])


def _owner(question: Example, records: Sequence[Record]) -> Record:
    """Return the first record that says what a right answer says."""
    for record in records:
        responses = {example.response for example in record.examples}
        if question.response in responses or said(question.response, record.text):
            return record
    raise InputError(
        f"no record says {quoted(question.response)}, the answer to {quoted(question.prompt)}; "
        "ask about what is in the memory, in its own words for the answer"
    )


def _as_input(record: Record) -> object:
    """Return the record as its user handed it in."""
    if record.kind is Kind.EXAMPLE and record.examples:
        return record.examples[0]
    if record.kind is Kind.PREFERENCE:
        return Preference(record.text, record.examples)
    if record.slot is not None and record.value is not None:
        return Fact(record.slot.subject, record.slot.attribute, record.value, record.text)
    return record.text


def _stamp(record: Record, *, run_id: str | None) -> dict[str, Json | object]:
    own = record.scope
    return {
        "tenant_id": own.tenant_id,
        "user_id": own.user_id,
        "agent_id": own.agent_id,
        "run_id": run_id,
        "source": record.source,
        "trust": record.trust,
        "observed_at": record.observed_at,
        "valid_from": record.valid_from,
        "route": record.decision.route,
    }


def _metrics(matrix: npt.NDArray[np.float64], base: npt.NDArray[np.float64]) -> dict[str, float | None]:
    return {
        "average_accuracy": _plain(retention.average_accuracy(matrix)),
        "learning": _plain(retention.learning(matrix, base)),
        "backward_transfer": _plain(retention.backward_transfer(matrix)),
        "forgetting": _plain(retention.forgetting(matrix)),
        "net_over_base": _plain(retention.net_over_base(matrix, base)),
        "half_life": _plain(retention.half_life(matrix, base)),
    }


def _plain(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if column == "half_life" else f"{100 * value:.1f}%"
