"""Can a task be learned from four demonstrations, and does the model learn how to study it?

    python -m benchmarks.few_shot [--seeds 0 1 2] [--tasks 6] [--train-tasks 6] [--data-dir FOLDER] [--smoke]

Small grid tasks made for this project (grid_tasks.py). Each task counts when both queries are answered to the letter.

- in context: the demonstrations as chat turns, no training.
- fixed: test-time training with one choice for all tasks (FIXED below), answers voted over its views.
- self-edit: the model chooses augmentations, rate and epochs itself, k samples a task, before and after one round of
  the outer loop: k self-edits of each training task are tried, and the generator learns those that solved theirs.
  A sample that cannot be read counts as wrong.
- oracle: the best of all choices tried for a task, looked up in the gold answers: no method can know it.

A seed draws its own tasks, training tasks, samples and inner loops. Every choice is tried once a task, whoever asks
for it. Intervals are a paired bootstrap over tasks. With `--data-dir`, ARC tasks (`arc_seal/dev.jsonl`, Apache-2.0)
are tried with the first two arms; those longer than `--longest` tokens a sequence count as wrong. Every outcome is
kept as soon as it is there; a run that was cut short goes on when it is called again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.grid_tasks import arc_tasks, make_tasks
from benchmarks.report import RESULTS, adapter_in, header
from benchmarks.squad_seal import interval
from hybrid_memory import AdapterVersion, Settings, models
from hybrid_memory.config import TrainingSettings
from hybrid_memory.errors import InputError
from hybrid_memory.selfedit.few_shot import (
    FewShotSolver,
    Puzzle,
    TaskEdit,
    demonstration,
    propose,
    read,
    reward,
    written,
)
from hybrid_memory.types import Directives
from hybrid_memory.weights.language_model import LocalLanguageModel
from hybrid_memory.weights.plan import bounded
from hybrid_memory.weights.stacked import StackedTrainer
from hybrid_memory.weights.trainer import LoraTrainer

RATE, EPOCHS = 2e-3, 8
FIXED = Directives(augmentations=("flips",), learning_rate=RATE, epochs=EPOCHS)
CHOICES = [FIXED, replace(FIXED, augmentations=("flips", "colours"))]
"""What the oracle chooses from, beside the model's own self-edits."""
GENERATOR = TrainingSettings(learning_rate=1e-3, epochs=6, min_steps=24, batch_size=4)
"""As `outer_loop` has them: a handful of winners must not end within the warm-up."""
ARC_TOKENS = 128
"""Longest answer to an ARC query."""
MEASURED = 1000
"""Tasks that are measured are drawn with a seed this much above that of the training tasks."""
BEFORE, AFTER = "self-edit, before", "self-edit, after"
ARMS = ("in context", "fixed", BEFORE, AFTER, "oracle")
PAIRS = (("fixed", "in context"), (BEFORE, "in context"), (AFTER, "in context"), (AFTER, BEFORE), (AFTER, "fixed"))
FILE = RESULTS / "few_shot.json"

Outcome = dict[str, Any]
"""What is known of one task: kind, "in context", "worth" by choice, and the self-edits before and after."""


class Bench:
    """One model with what it needs to study tasks of one seed."""

    def __init__(self, language_model: LocalLanguageModel, options: argparse.Namespace, seed: int) -> None:
        self.lm = language_model
        self.options = options
        self.seed = seed
        # a self-edit may ask for up to twice the settings' epochs (weights/plan.py), as many as the fixed choice has
        self.inner = TrainingSettings(batch_size=4, epochs=EPOCHS // 2, learning_rate=RATE, max_tokens=options.longest)
        self.candidates = StackedTrainer(self.lm, self.inner)
        self.solver = FewShotSolver(self.lm, self.candidates, max_new_tokens=options.answer_tokens)

    def try_all(self, task: Puzzle, directives: Sequence[Directives], outcome: Outcome) -> None:
        """Write into the outcome what each way to study the task is worth, if it is not known yet."""
        worth = outcome.setdefault("worth", {})
        fresh = [one for one in dict.fromkeys(directives) if written(one) not in worth]
        answers = self.solver.solve(task, fresh, seed=self.seed) if fresh else []
        worth |= {written(one): reward(task, said) for one, said in zip(fresh, answers, strict=True)}

    def sample(self, task: Puzzle, outcome: Outcome, adapters: Sequence[AdapterVersion] = ()) -> list[Outcome]:
        """Return the model's own self-edits of a task as texts with what they were worth."""
        edits = propose(task, self.lm, samples=self.options.samples, seed=self.seed, adapters=adapters)
        self.try_all(task, [edit.directives for edit in edits if edit.usable], outcome)
        return [{"text": edit.text, "worth": _worth(edit, outcome)} for edit in edits]

    def generator(self, tasks: Sequence[Puzzle], outcomes: Sequence[Outcome], folder: Path) -> AdapterVersion | None:
        """Learn the self-edits that solved their training tasks, as they were honoured; None when none did."""
        items = [
            demonstration(task, self._honoured(read(one["text"]).directives))
            for task, outcome in zip(tasks, outcomes, strict=True)
            for one in outcome[BEFORE]
            if one["worth"] == 1.0
        ]
        if not items:
            return None
        LoraTrainer(self.lm, GENERATOR).train(list(dict.fromkeys(items)), seed=self.seed, folder=folder)
        return adapter_in(folder, f"generator-{self.seed}")

    def _honoured(self, asked: Directives) -> Directives:
        given = bounded(self.inner, asked)
        return replace(asked, learning_rate=given.learning_rate, epochs=given.epochs)


def _worth(edit: TaskEdit, outcome: Outcome) -> float:
    return float(outcome["worth"][written(edit.directives)]) if edit.usable else 0.0


def measure(bench: Bench, kept: dict[str, Any], keep: Callable[[], None]) -> None:
    """Run all arms over the tasks of a seed, keeping what is done."""
    tasks = make_tasks(bench.options.tasks, seed=MEASURED + bench.seed)
    training = make_tasks(bench.options.train_tasks, seed=bench.seed)
    for number, (kind, task) in enumerate(tasks):
        outcome = kept["measured"].setdefault(str(number), {"kind": kind})
        if BEFORE not in outcome:
            outcome["in context"] = reward(task, bench.solver.in_context(task))
            bench.try_all(task, CHOICES, outcome)
            outcome[BEFORE] = bench.sample(task, outcome)
            _say(f"task {number + 1}/{len(tasks)}: {outcome}")
            keep()
    for number, (kind, task) in enumerate(training):
        outcome = kept["trained on"].setdefault(str(number), {"kind": kind})
        if BEFORE not in outcome:
            outcome[BEFORE] = bench.sample(task, outcome)
            _say(f"training task {number + 1}/{len(training)}: {outcome}")
            keep()
    if all(AFTER in outcome for outcome in kept["measured"].values()):
        return
    with tempfile.TemporaryDirectory() as folder:
        found = [kept["trained on"][str(number)] for number in range(len(training))]
        adapter = bench.generator([task for _, task in training], found, Path(folder))
        for number, (_, task) in enumerate(tasks):
            outcome = kept["measured"][str(number)]
            outcome[AFTER] = bench.sample(task, outcome, [adapter]) if adapter else outcome[BEFORE]
            _say(f"after, {number + 1}/{len(tasks)}: {outcome[AFTER]}")
            keep()
        if adapter is not None:
            bench.lm.release(adapter.id)


def arc(bench: Bench, data: Path, kept: dict[str, Any], keep: Callable[[], None]) -> None:
    """Try ARC tasks in context and by fixed test-time training; one that is too long is wrong, and says so."""
    solver = FewShotSolver(bench.lm, bench.candidates, max_new_tokens=ARC_TOKENS)
    for name, task in arc_tasks(data):
        if name in kept:
            continue
        try:
            fixed = reward(task, solver.solve(task, [FIXED], seed=bench.seed)[0])
            kept[name] = {"in context": reward(task, solver.in_context(task)), "fixed": fixed}
        except InputError as error:
            kept[name] = {"in context": 0.0, "fixed": 0.0, "too long": str(error)}
        _say(f"ARC {name}: {kept[name]}")
        keep()


# ------------------------------------------------------------ the report


def outcomes_of(kept: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return arm -> task -> outcome, for every task that the arm has tried."""
    tasks = {
        f"{seed}/{number}": one
        for seed, rows in kept["seeds"].items()
        for number, one in rows["measured"].items()
        if BEFORE in one
    }
    own = {
        arm: {name: fmean(sample["worth"] for sample in one[arm]) for name, one in tasks.items() if arm in one}
        for arm in (BEFORE, AFTER)
    }
    return {
        "in context": {name: one["in context"] for name, one in tasks.items()},
        "fixed": {name: one["worth"][written(FIXED)] for name, one in tasks.items()},
        **own,
        "oracle": {name: max(one["worth"].values()) for name, one in tasks.items()},
    }


def summary(kept: dict[str, Any]) -> dict[str, Any]:
    """Return means, paired differences over the tasks that both arms tried, and what the outer loop learned from."""
    rows = outcomes_of(kept)
    shared = {pair: [name for name in rows[pair[0]] if name in rows[pair[1]]] for pair in PAIRS}
    samples = [
        sample["worth"]
        for seed in kept["seeds"].values()
        for one in seed["trained on"].values()
        for sample in one[BEFORE]
    ]
    arc_rows = list(kept["arc"].values())
    return {
        "tasks": len(rows["fixed"]),
        "seeds": list(kept["seeds"]),
        "solved": {arm: fmean(values.values()) for arm, values in rows.items() if values},
        "differences": {
            f"{one} - {other}": interval(
                [rows[one][name] for name in names], [rows[other][name] for name in names], range(len(names))
            )
            for (one, other), names in shared.items()
            if names
        },
        "training samples": {"tried": len(samples), "winners": int(sum(samples))},
        "arc": {
            "tasks": len(arc_rows),
            "too long": sum("too long" in one for one in arc_rows),
            "solved": {arm: sum(one[arm] for one in arc_rows) for arm in ("in context", "fixed")},
        },
    }


def table(result: dict[str, Any]) -> str:
    """Return what was measured as Markdown."""
    lines = ["| arm | tasks solved |", "|---|---|"]
    lines += [f"| {arm} | {share:.1%} of {result['tasks']} |" for arm, share in result["solved"].items()]
    for name, (mean, low, high) in result["differences"].items():
        lines.append(f"{name}: {100 * mean:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]")
    return "\n".join([*lines, f"training samples: {result['training samples']}", f"ARC: {result['arc']}"])


def main() -> None:
    """Run, print the table and one JSON line, keep both in results/."""
    options = _options()
    if options.smoke:
        options.seeds, options.tasks, options.train_tasks, options.samples, options.data_dir = [0], 1, 1, 1, None
    started = time.process_time()
    kept: dict[str, Any] = {"seeds": {}, "arc": {}, "cpu seconds": 0.0}
    if FILE.is_file() and not options.smoke:
        kept = json.loads(FILE.read_text(encoding="utf-8"))["outcomes"]
    before = kept["cpu seconds"]
    above = header("few_shot", seed=options.seeds[0]) | {"samples": options.samples}

    def keep() -> None:
        kept["cpu seconds"] = round(before + time.process_time() - started)
        if not options.smoke:
            FILE.write_text(json.dumps({**above, **summary(kept), "outcomes": kept}) + "\n", encoding="utf-8")

    language_model = LocalLanguageModel.load(models.path(Settings().model.name), threads=options.threads)
    for seed in options.seeds:
        rows = kept["seeds"].setdefault(str(seed), {"measured": {}, "trained on": {}})
        measure(Bench(language_model, options, seed), rows, keep)
    if options.data_dir is not None:
        arc(Bench(language_model, options, options.seeds[0]), options.data_dir, kept["arc"], keep)
    result = {**above, **summary(kept), "cpu seconds": kept["cpu seconds"]}
    print(table(result))
    print(json.dumps(result))


def _say(text: str) -> None:
    print(f"  {text}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tasks", type=int, default=6, help="that are measured, per seed")
    parser.add_argument("--train-tasks", type=int, default=6, help="that the generator learns from, per seed")
    parser.add_argument("--samples", type=int, default=3, help="self-edits a task")
    parser.add_argument("--longest", type=int, default=512, help="tokens of a training sequence")
    parser.add_argument("--answer-tokens", type=int, default=16)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--smoke", action="store_true", help="one task, one sample; proves nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
