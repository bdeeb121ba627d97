"""From the answers of every arm to its metrics, costs and intervals.

Flow:     answers per arm and window -> [report] -> results/forgetting.json, the table, pages
Imports:  hybrid_memory.retention
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.forgetting_arms import Given
from benchmarks.main_job import interval
from benchmarks.report import header
from benchmarks.stream import Question, Stream
from hybrid_memory import retention

__all__ = ["Run", "as_result", "curve", "mean_matrix", "read_run", "table"]

IN_MATRIX = ("plain", "hard", "ticket", "rule")
CURRENT = (*IN_MATRIX, "price", "updated", "rumoured")
CHANGING = ("price", "updated")
RESAMPLES = 1000
POINTS = {"whole stream", "average accuracy", "learning", "BWT", "forgetting", "net over base", "stale said"}
METRICS = (
    "whole stream",
    "average accuracy",
    "learning",
    "BWT",
    "forgetting",
    "net over base",
    "half-life",
    "stale said",
)
OVER_WINDOWS = ("learning", "BWT", "forgetting", "half-life")
KINDS = ("plain", "hard", "ticket", "rule", "price", "updated", "rumoured")
COSTS = ("follows evidence", "abstains", "pairs lost", "prompt tokens", "p50 s", "trained tokens", "train s", "MB")
HEAD = "arm"
ORDER = (
    "RAG",
    "RAG, gold evidence",
    "RAG, 30 percent misses",
    "SEAL, merged in sequence",
    "one LoRA in sequence",
    "one LoRA, replay",
    "joint retraining",
    "shards, random routing",
    "shards, oracle routing",
    "shards",
    "hybrid",
    "hybrid, saving tokens",
    "hybrid, 30 percent misses",
)
LAST_MODE = "hybrid"
"""The mode that is asked last in every window: when its answers are there, the window is finished."""
FOLDERS = {
    "SEAL, merged in sequence": "seal",
    "one LoRA in sequence": "lora",
    "one LoRA, replay": "replay",
    "joint retraining": "joint",
}
COMPARED = (
    ("hybrid", "RAG"),
    ("hybrid", "shards"),
    ("hybrid, saving tokens", "hybrid"),
    ("hybrid, 30 percent misses", "RAG, 30 percent misses"),
    ("shards", "SEAL, merged in sequence"),
    ("hybrid", "SEAL, merged in sequence"),
)


@dataclass(slots=True)
class Run:
    """Everything that one stream showed: per arm and window one score per question, nan where none was asked."""

    stream: Stream
    seed: int
    windows: int
    """How many windows were finished."""
    questions: tuple[Question, ...]
    kinds: np.ndarray
    """shape (questions,): the kind of each."""
    tasks: np.ndarray
    """shape (questions,): the window that brought each."""
    outcomes: dict[str, np.ndarray] = field(default_factory=dict)
    """arm -> shape (windows, questions)."""
    stale: dict[str, np.ndarray] = field(default_factory=dict)
    """arm -> shape (windows, questions): 1 where a value that was right once was said."""
    tokens: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    costs: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    end: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, stream: Stream, seed: int, windows: int | None = None) -> Run:
        """Return an empty run of the first `windows` windows of a stream (None: of all)."""
        done = stream.windows if windows is None else windows
        questions = tuple(stream.asked_after(done - 1))
        kinds = np.array([question.kind for question in questions])
        tasks = np.array([question.window for question in questions])
        return cls(stream, seed, done, questions, kinds, tasks)

    def keep(self, arm: str, window: int, given: Sequence[Given]) -> None:
        """Score the answers an arm gave after a window."""
        shape = (self.windows, len(self.questions))
        scores = self.outcomes.setdefault(arm, np.full(shape, np.nan))
        stale = self.stale.setdefault(arm, np.full(shape, np.nan))
        place = {question.id: number for number, question in enumerate(self.questions)}
        for one in [one for one in given if one.question in place]:
            question = self.questions[place[one.question]]
            scores[window, place[one.question]] = question.right(one.text, window)
            stale[window, place[one.question]] = question.stale(one.text, window)
        self.tokens[arm] = sum(one.prompt_tokens for one in given) / max(1, len(given))
        self.seconds[arm] = sum(one.seconds for one in given) / max(1, len(given))


def read_run(stream: Stream, folder: Path, seed: int) -> Run | None:
    """Return what a run's folder has of a stream, cut to the windows that the memory finished; None without any."""
    answers = folder / "answers"
    done = len(list(answers.glob(f"{LAST_MODE}-*.json")))
    if not done:
        return None
    run = Run.of(stream, seed, done)
    base = _read_given(answers / "base.json")
    for window in range(done):
        told = {question.id for question in stream.asked_after(window)}
        run.keep("base", window, [one for one in base if one.question in told])
    for arm, window in product(ORDER, range(done)):
        if (file := answers / f"{arm}-{window}.json").exists():
            run.keep(arm, window, _read_given(file))
    run.costs["hybrid"] = [_read(folder / f"window-{window}.json") for window in range(done)]
    for arm, name in FOLDERS.items():
        costs = [folder / name / f"after-{window}" / "cost.json" for window in range(done)]
        run.costs[arm] = [_read(file) for file in costs if file.exists()]
    run.end = {file.stem.removeprefix("end-"): _read(file) for file in folder.glob("end-*.json")}
    return run


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _read_given(file: Path) -> list[Given]:
    return [Given(**row) for row in json.loads(file.read_text(encoding="utf-8"))]


# ---------------------------------------------------------------- numbers

Chosen = Sequence[np.ndarray]
"""For each run the question numbers to look at, with repeats."""


def measure(runs: Sequence[Run], arm: str, metric: str, chosen: Chosen) -> float:
    """Return one metric of one arm, the mean over the runs, of the chosen questions only."""
    values = [
        _measure(run, arm, metric, picked) for run, picked in zip(runs, chosen, strict=True) if arm in run.outcomes
    ]
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _measure(run: Run, arm: str, metric: str, picked: np.ndarray) -> float:
    kinds = run.kinds[picked]
    scores = run.outcomes[arm][:, picked]
    if metric == "whole stream":
        return _mean(scores[-1, np.isin(kinds, CURRENT)])
    if metric == "stale said":
        return _mean(run.stale[arm][-1, picked][np.isin(kinds, CHANGING)])
    if metric in KINDS:
        return _mean(scores[-1, kinds == metric])
    if metric in OVER_WINDOWS and len(scores) > 1 and np.isnan(scores[:-1]).all():
        return float("nan")  # asked once, at the end: nothing is known of the windows before
    inside = np.isin(kinds, IN_MATRIX)
    tasks = run.tasks[picked][inside]
    matrix = retention.accuracy_matrix(scores[:, inside], tasks)
    base = retention.accuracy_matrix(run.outcomes["base"][-1:, picked][:, inside], tasks)[0]
    by_name: dict[str, Callable[[], float]] = {
        "average accuracy": lambda: retention.average_accuracy(matrix),
        "learning": lambda: retention.learning(matrix, base),
        "BWT": lambda: retention.backward_transfer(matrix),
        "forgetting": lambda: retention.forgetting(matrix),
        "net over base": lambda: retention.net_over_base(matrix, base),
        "half-life": lambda: retention.half_life(matrix, base),
    }
    return by_name[metric]()


def everything(runs: Sequence[Run]) -> list[np.ndarray]:
    """Return all questions of all runs."""
    return [np.arange(len(run.questions)) for run in runs]


def bounds_of(runs: Sequence[Run], resamples: int) -> Callable[[Callable[[Chosen], float]], tuple[float, float]]:
    """Return a function from a statistic to its 95 % bootstrap interval; questions are resampled in run and window."""
    owners = np.array([(number, place) for number, run in enumerate(runs) for place in range(len(run.questions))])
    names = [f"{run} {runs[run].tasks[place]} {runs[run].kinds[place]}" for run, place in owners]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    samples = retention.resamples([numbers[name] for name in names], count=resamples)

    def bounds(statistic: Callable[[Chosen], float]) -> tuple[float, float]:
        def of(picked: np.ndarray) -> float:
            rows = owners[picked]
            return statistic([rows[rows[:, 0] == number, 1] for number in range(len(runs))])

        return retention.interval(of, samples)

    return bounds


def as_result(runs: Sequence[Run], name: str, *, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Return everything that was measured, ready for one JSON line."""
    arms = list(dict.fromkeys(arm for run in runs for arm in run.outcomes))
    whole, bounds = everything(runs), bounds_of(runs, resamples)
    rows: dict[str, dict[str, Any]] = {}
    for arm in arms:
        measured = {metric: _plain(measure(runs, arm, metric, whole)) for metric in (*METRICS, *KINDS)}
        rows[arm] = {**measured, **{cost: _plain(_cost(runs, arm, cost)) for cost in COSTS}}
    intervals = {
        f"{metric}: {arm}": bounds(partial(measure, runs, arm, metric))
        for arm in arms
        for metric in ("BWT", "net over base", "whole stream")
        if rows[arm][metric] is not None and arm != "base"
    }
    differences = {}
    for one, other in COMPARED:
        if one in arms and other in arms:
            for metric in (
                "whole stream",
                "average accuracy",
                "plain",
                "hard",
                "ticket",
                "rule",
                "price",
                "stale said",
            ):

                def difference(chosen: Chosen, a: str = one, b: str = other, m: str = metric) -> float:
                    return measure(runs, a, m, chosen) - measure(runs, b, m, chosen)

                differences[f"{metric}: {one} - {other}"] = (_plain(difference(whole)), *bounds(difference))
    return {
        **header(name, seed=runs[0].seed),
        "streams": [run.stream.name for run in runs],
        "seeds": [run.seed for run in runs],
        "windows finished": [f"{run.windows} of {run.stream.windows}" for run in runs],
        "questions": [len(run.questions) for run in runs],
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "rows": rows,
        "intervals": intervals,
        "differences": differences,
        "curves": {arm: [_plain(value) for value in curve(runs, arm)] for arm in arms},
        "matrices": {arm: [[_plain(cell) for cell in row] for row in mean_matrix(runs, arm)] for arm in arms},
        "windows": [run.costs.get("hybrid", []) for run in runs],
        "ability, served - base": _ability_lost(runs),
        "end": [{**run.end, "memory": _without_outcomes(run.end.get("memory", {}))} for run in runs],
    }


def _ability_lost(runs: Sequence[Run]) -> dict[str, tuple[float, float, float]]:
    """Return per set of probes what serving changes, over all runs, with the 95 % interval of the paired difference."""
    outcomes = [found for run in runs if (found := run.end.get("memory", {}).get("probe outcomes"))]
    if not outcomes:
        return {}
    together = {
        arm: {name: [value for one in outcomes for value in one[arm][name]] for name in outcomes[0][arm]}
        for arm in ("base", "served")
    }
    return {name: interval(together["served"][name], together["base"][name]) for name in together["base"]}


def _without_outcomes(end: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in end.items() if name != "probe outcomes"}


def curve(runs: Sequence[Run], arm: str) -> list[float]:
    """Return after each window the share right of everything told so far and still true."""
    values = []
    for window in range(min(run.windows for run in runs)):
        shares = []
        for run in runs:
            kept = [place for place, one in enumerate(run.questions) if one.kind in CURRENT and one.window <= window]
            if arm in run.outcomes and kept:
                shares.append(_mean(run.outcomes[arm][window, kept]))
        values.append(_mean(np.array(shares)) if shares else float("nan"))
    return values


def mean_matrix(runs: Sequence[Run], arm: str) -> np.ndarray:
    """Return the accuracy matrix, the mean over runs, shape (windows, windows)."""
    found = []
    for run in runs:
        if arm in run.outcomes:
            inside = [place for place, question in enumerate(run.questions) if question.kind in IN_MATRIX]
            tasks = [run.questions[place].window for place in inside]
            found.append(retention.accuracy_matrix(run.outcomes[arm][:, inside], tasks))
    mean: np.ndarray = np.stack(found).mean(axis=0)
    return mean


def _cost(runs: Sequence[Run], arm: str, cost: str) -> float:
    values = [value for run in runs if (value := _cost_of(run, arm, cost)) is not None]
    return float(np.mean(values)) if values else float("nan")


def _cost_of(run: Run, arm: str, cost: str) -> float | None:
    mode = arm.partition(",")[0]
    memory, own = run.end.get("memory", {}), run.end.get(arm, {})
    trained = run.costs.get("hybrid" if mode in ("shards", "hybrid") else arm, [])
    followed = own.get("follows", memory.get("follows", {}).get(arm))
    values: dict[str, float | None] = {
        "prompt tokens": run.tokens.get(arm),
        "p50 s": memory.get("p50 s", {}).get(arm),
        "MB": trained[-1]["bytes"] / 1e6 if trained else None,
        "trained tokens": sum(one.get("trained tokens", one.get("tokens", 0)) for one in trained) or None,
        "train s": sum(one["seconds"] for one in trained) or None,
        "abstains": memory.get("abstains", {}).get(arm, own.get("abstains")),
        "follows evidence": float(np.mean(followed)) if followed else None,
        "pairs lost": _lost(memory, own, arm),
    }
    return values[cost]


def _lost(memory: Mapping[str, Any], own: Mapping[str, Any], arm: str) -> float | None:
    """Return the share of minimal pairs lost against the base, over all sets of pairs."""
    base = memory.get("probes", {}).get("base")
    after = own.get("probes") or (memory.get("probes", {}).get("served") if arm in ("shards", "hybrid") else None)
    if not base or not after:
        return None
    sets = [name for name in base if base[name] >= 0]
    return float(np.mean([base[name] - after[name] for name in sets]))


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _plain(value: float | None) -> float | str | None:
    if value is None or np.isnan(value):
        return None
    return "never" if np.isinf(value) else round(float(value), 4)


# ---------------------------------------------------------------- for people


def table(result: Mapping[str, Any]) -> str:
    """Return two Markdown tables: what was kept, then kinds and costs."""
    parts = []
    for columns in (METRICS, (*KINDS, "follows evidence", "abstains", "pairs lost"), COSTS[3:]):
        lines = [f"| {HEAD} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        for arm, row in result["rows"].items():
            lines.append(f"| {arm} | " + " | ".join(_cell(column, row[column]) for column in columns) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _cell(column: str, value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return "–" if value is None else value
    if column in ("BWT", "learning", "net over base"):
        return f"{100 * value:+.1f}"
    if column in POINTS or column in KINDS or column in COSTS[:3]:
        return f"{100 * value:.1f}"
    return f"{value:.2f}" if column == "p50 s" else f"{value:.0f}"
