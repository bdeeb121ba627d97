"""Can a task be learned from four demonstrations, and does the model learn how to study it?

    python -m benchmarks.few_shot [--tasks 12] [--train-tasks 12] [--data-dir FOLDER] [--smoke]

Small grid tasks made for this project (grid_tasks.py). Each task counts when both queries are answered to the letter.

- in context: the demonstrations as chat turns, no training.
- fixed: test-time training with one choice for all tasks (flips, 2e-3, 8 epochs), answers voted over its views.
- self-edit: the model chooses augmentations, rate and epochs itself, k samples a task, before and after one round of
  the outer loop: k self-edits of each training task are tried, and the generator learns those that solved theirs.
  A sample that cannot be read counts as wrong.
- oracle: the best of all choices below for each task, looked up in the gold answers: no method can know it.

Intervals are a paired bootstrap over tasks. With `--data-dir`, ARC tasks (`arc_seal/dev.jsonl`, Apache-2.0) are tried
with the first two arms; those longer than `--longest` tokens a sequence count as wrong. Results are kept as they come.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.grid_tasks import arc_tasks, make_tasks
from benchmarks.report import RESULTS, adapter_in, header
from benchmarks.squad_seal import interval
from hybrid_memory import AdapterVersion, Settings, models
from hybrid_memory.config import TrainingSettings
from hybrid_memory.errors import InputError
from hybrid_memory.selfedit.few_shot import FewShotSolver, Task, TaskEdit, demonstration, propose, reward
from hybrid_memory.types import Directives
from hybrid_memory.weights.language_model import LocalLanguageModel
from hybrid_memory.weights.stacked import StackedTrainer
from hybrid_memory.weights.trainer import LoraTrainer

RATE, EPOCHS = 2e-3, 8
FIXED = Directives(augmentations=("flips",), learning_rate=RATE, epochs=EPOCHS)
CHOICES = [
    Directives(augmentations=names, learning_rate=RATE, epochs=EPOCHS)
    for names in (None, ("flips",), ("transposition",), ("colours",), ("flips", "transposition"))
]
GENERATOR = Directives(learning_rate=1e-3, epochs=6)
ARC_TOKENS = 128
"""Longest answer to an ARC query."""
ARMS = ("in context", "fixed", "self-edit, before", "self-edit, after", "oracle")


class Bench:
    """One model with what it needs to study tasks."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.lm = LocalLanguageModel.load(models.path(Settings().model.name), threads=options.threads)
        inner = TrainingSettings(batch_size=4, epochs=EPOCHS, learning_rate=RATE, max_tokens=options.longest)
        self.candidates = StackedTrainer(self.lm, inner)
        self.solver = FewShotSolver(self.lm, self.candidates, max_new_tokens=options.answer_tokens)

    def outcomes(self, task: Task, directives: Sequence[Directives]) -> list[float]:
        """Return 1 or 0 for each way to study the task."""
        return [reward(task, answers) for answers in self.solver.solve(task, directives, seed=self.options.seed)]

    def sampled(self, task: Task, adapters: Sequence[AdapterVersion] = ()) -> tuple[list[TaskEdit], list[float]]:
        """Return the model's own self-edits of a task and what they were worth."""
        options = self.options
        edits = propose(task, self.lm, samples=options.samples, seed=options.seed, temperature=1.0, adapters=adapters)
        usable = [edit for edit in edits if edit.usable]
        worth = dict(zip([edit.directives for edit in usable], self._tried(task, usable), strict=True))
        return edits, [worth[edit.directives] if edit.usable else 0.0 for edit in edits]

    def _tried(self, task: Task, edits: Sequence[TaskEdit]) -> list[float]:
        return self.outcomes(task, [edit.directives for edit in edits]) if edits else []

    def generator(
        self, tasks: Sequence[tuple[str, Task]], folder: Path, result: dict[str, Any]
    ) -> AdapterVersion | None:
        """Try self-edits of the training tasks and learn those that solved theirs; None when none did."""
        items, tried = [], []
        for number, (kind, task) in enumerate(tasks):
            edits, worth = self.sampled(task)
            tried.append(fmean(worth))
            winners = [edit for edit, value in zip(edits, worth, strict=True) if value == 1.0]
            items += [demonstration(task, edit) for edit in dict.fromkeys(winners)]
            _say(f"train task {number + 1}/{len(tasks)} {kind}: {worth}")
        result["training tasks"] = {"mean reward": fmean(tried), "winners": len(items)}
        if not items:
            return None
        settings = TrainingSettings(batch_size=4)
        LoraTrainer(self.lm, settings).train(items, seed=self.options.seed, folder=folder, directives=GENERATOR)
        return adapter_in(folder, "generator")


def measure(options: argparse.Namespace, result: dict[str, Any]) -> None:
    """Run all arms over the measured tasks, keeping what is done."""
    bench = Bench(options)
    tasks = make_tasks(options.tasks, seed=1000 + options.seed)
    rows: dict[str, list[float]] = {arm: [] for arm in ARMS}
    result["tasks"] = {"kinds": [kind for kind, _ in tasks], "outcomes": rows}
    for number, (kind, task) in enumerate(tasks):
        rows["in context"].append(reward(task, bench.solver.in_context(task)))
        outcomes = bench.outcomes(task, CHOICES)
        rows["fixed"].append(outcomes[CHOICES.index(FIXED)])
        edits, worth = bench.sampled(task)
        rows["self-edit, before"].append(fmean(worth))
        rows["oracle"].append(max([*outcomes, *worth]))
        _say(f"task {number + 1}/{len(tasks)} {kind}: choices {outcomes}, own {worth} {[edit.text for edit in edits]}")
        _keep(result, options)
    with tempfile.TemporaryDirectory() as folder:
        adapter = bench.generator(make_tasks(options.train_tasks, seed=options.seed), Path(folder), result)
        _keep(result, options)
        for number, (kind, task) in enumerate(tasks):
            worth = bench.sampled(task, [adapter])[1] if adapter else [rows["self-edit, before"][number]]
            rows["self-edit, after"].append(fmean(worth))
            rows["oracle"][number] = max([rows["oracle"][number], *worth])
            _say(f"after, {number + 1}/{len(tasks)} {kind}: {worth}")
    result["differences"] = {
        f"{one} - {other}": interval(rows[one], rows[other], range(len(tasks)))
        for one, other in (
            ("fixed", "in context"),
            ("self-edit, before", "in context"),
            ("self-edit, after", "self-edit, before"),
            ("self-edit, after", "fixed"),
        )
    }
    _keep(result, options)
    if options.data_dir is not None:
        result["arc"] = arc(bench, options)
        _keep(result, options)


def arc(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Return how many ARC tasks are solved in context and by fixed test-time training."""
    bench.solver = FewShotSolver(bench.lm, bench.candidates, max_new_tokens=ARC_TOKENS)
    solved: dict[str, list[float]] = {"in context": [], "fixed": []}
    too_long = 0
    for name, task in arc_tasks(options.data_dir):
        cells = max(len(one.prompt) + len(one.response) for one in task.demonstrations)
        if cells > options.longest:
            too_long += 1
            outcome = (0.0, 0.0)
        else:
            try:
                outcome = (reward(task, bench.solver.in_context(task)), bench.outcomes(task, [FIXED])[0])
            except InputError as error:
                _say(f"{name}: {error}")
                too_long, outcome = too_long + 1, (0.0, 0.0)
        for arm, value in zip(solved, outcome, strict=True):
            solved[arm].append(value)
        _say(f"ARC {name}: {outcome}")
    return {
        "tasks": len(solved["fixed"]),
        "too long": too_long,
        "solved": {arm: sum(row) for arm, row in solved.items()},
    }


def table(result: dict[str, Any]) -> str:
    """Return what was measured as Markdown."""
    rows = result["tasks"]["outcomes"]
    lines = ["| arm | tasks solved |", "|---|---|"]
    lines += [f"| {arm} | {fmean(values):.1%} of {len(values)} |" for arm, values in rows.items() if values]
    for name, (mean, low, high) in result.get("differences", {}).items():
        lines.append(f"{name}: {100 * mean:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]")
    if "arc" in result:
        lines.append(f"ARC: {result['arc']}")
    return "\n".join(lines)


def main() -> None:
    """Run, print the table and one JSON line, keep both in results/."""
    options = _options()
    if options.smoke:
        options.tasks, options.train_tasks, options.samples, options.data_dir = 1, 1, 1, None
    started, cpu = time.monotonic(), time.process_time()
    result = header("few_shot", seed=options.seed)
    result["samples"] = options.samples
    measure(options, result)
    result |= {"seconds": round(time.monotonic() - started), "cpu seconds": round(time.process_time() - cpu)}
    _keep(result, options)
    print(table(result))
    print(json.dumps(result))


def _keep(result: dict[str, Any], options: argparse.Namespace) -> None:
    if not options.smoke:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "few_shot.json").write_text(json.dumps(result) + "\n", encoding="utf-8")


def _say(text: str) -> None:
    print(f"  {text}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=12)
    parser.add_argument("--train-tasks", type=int, default=12)
    parser.add_argument("--samples", type=int, default=3, help="self-edits a task")
    parser.add_argument("--longest", type=int, default=512, help="tokens of a training sequence")
    parser.add_argument("--answer-tokens", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--smoke", action="store_true", help="one task, one sample; proves nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
