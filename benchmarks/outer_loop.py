"""Does the model learn to write better self-edits? SEAL's outer loop on SQuAD passages, and what a round costs.

    python -m benchmarks.outer_loop --data-dir FOLDER [--passages 12] [--unseen 12] [--folder RUN] [--smoke]

Expects `squad_seal/dev.jsonl` in the data folder (SQuAD 1.1 passages as SEAL uses them, CC BY-SA 4.0). The last fifth
of the passages is for tuning; training and unseen passages are drawn from the rest. The unseen ones are those that the
loop holds out for its gate: nothing is ever trained on them, and the gate takes one decision from their mean.

1. Self-edits are sampled, studied and rewarded on the training passages; the generator learns the best of each;
   self-edits of the unseen passages are sampled and rewarded before and after it, with the same seeds. The interval
   is a paired bootstrap over the unseen passages.
2. The same k = 5 self-edits of a passage, written by rule, are trained and scored stacked and one at a time, in the
   same run, for several batch sizes: CPU seconds of this process, which other work disturbs less than wall seconds.
3. What of the reward is form: each unseen passage is studied with the pairs that the trained generator wrote for the
   passage before it. What those raise, short answers raise by being short, not by what they say.
4. The answers of adapted models are graded by every grader; Cohen's kappa says how far they agree.

With `--folder` the run is kept there, and a run that was cut short goes on. Results are kept after each part; each
seed draws passages of its own, and what several seeds found is pooled.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

from benchmarks.outer_loop_checks import control, graded, journalled
from benchmarks.report import RESULTS, adapter_in, header
from benchmarks.squad_seal import interval
from hybrid_memory import HybridMemory, Lesson, Settings, models
from hybrid_memory.config import OuterLoopSettings, TrainingSettings
from hybrid_memory.evidence import ask
from hybrid_memory.selfedit.compiled import keyword_question, random_of
from hybrid_memory.selfedit.lessons import read_lessons
from hybrid_memory.selfedit.proposals import Proposal, studied
from hybrid_memory.statements import statements
from hybrid_memory.types import StudyItem, Turn
from hybrid_memory.weights.language_model import LocalLanguageModel
from hybrid_memory.weights.stacked import StackedTrainer
from hybrid_memory.weights.trainer import LoraTrainer

FILE = RESULTS / "outer_loop.json"
CANDIDATES = 5
BATCHES = (4, 8, 1)
"""The first one is the loop's own."""
SPEED_STEPS = 4


def drawn(data: Path, count: int, seed: int) -> list[Lesson]:
    """Return passages to report on, in an order that the seed decides."""
    lessons = read_lessons(data / "squad_seal" / "dev.jsonl")
    return Random(seed).sample(lessons[: len(lessons) * 4 // 5], count)


# ---------------------------------------------------------------- 1. the loop


def learn(lessons: Sequence[Lesson], options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the outer loop in a memory of its own and return what its rounds did to the unseen passages."""
    loop = {
        "samples": options.samples,
        "max_new_tokens": options.max_new_tokens,
        "reward": options.reward,
        "inner_steps": options.inner_steps,
        "held_out": options.unseen / len(lessons),
    }
    training = {"batch_size": 4, "seed": options.seed}
    spent, cpu = time.monotonic(), time.process_time()
    with HybridMemory.open(folder, outer_loop=loop, training=training) as memory:
        report = memory.train_generator(lessons, rounds=options.rounds, progress=_note)
    rewards = journalled(folder / "outer_loop")
    rounds = []
    before = rewards[f"base {options.seed}"]
    for one in report.rounds:
        row: dict[str, Any] = dict(one.to_json())
        if one.version is not None:
            after = rewards[f"{one.version} {options.seed}"]
            names = list(before)
            ours = [_mean(after[name]) for name in names]
            base = [_mean(before[name]) for name in names]
            row["difference from base"] = interval(ours, base, range(len(names)))
            row["difference of the best of k"] = fmean(_best(after[name]) - _best(before[name]) for name in names)
            row["per unseen passage"] = {"before": base, "after": ours}
        rounds.append(row)
    return {
        "settings of the loop": {**OuterLoopSettings(**loop).model_dump(), "batch_size": 4},
        "passages": {"trained on": len(lessons) - options.unseen, "unseen": options.unseen},
        "rounds": rounds,
        "seconds": round(time.monotonic() - spent, 1),
        "cpu seconds": round(time.process_time() - cpu, 1),
    }


def _mean(samples: Sequence[tuple[str, float]]) -> float:
    return fmean(reward for _, reward in samples)


def _best(samples: Sequence[tuple[str, float]]) -> float:
    return max(reward for _, reward in samples)


def pooled(loops: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the first round did to the unseen passages of all seeds together."""
    rows = [one["rounds"][0]["per unseen passage"] for one in loops.values()]
    after, before = ([value for row in rows for value in row[name]] for name in ("after", "before"))
    return {
        "seeds": list(loops),
        "unseen passages": len(after),
        "before": fmean(before),
        "after": fmean(after),
        "difference from base": interval(after, before, range(len(after))),
    }


def _with_others(loop: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Return the loops of all seeds that the result file has, with this one."""
    others = json.loads(FILE.read_text(encoding="utf-8"))["loops"] if FILE.is_file() and not options.smoke else {}
    return {**others, str(options.seed): loop}


# ---------------------------------------------------------------- 2. stacked and one at a time


def speed(
    language_model: LocalLanguageModel, lesson: Lesson, options: argparse.Namespace, batch: int
) -> dict[str, Any]:
    """Train and score the same candidates of one passage in both ways; CPU seconds, tokens, losses."""
    candidates = [_written_by_rule(lesson.text, options.seed + number) for number in range(CANDIDATES)]
    # candidates that lie side by side act on the whole text, so those that are alone do
    settings = TrainingSettings(batch_size=batch, epochs=1, min_steps=options.speed_steps, acts_on="all")
    pairs = [(ask(one.prompt), one.response) for one in lesson.questions]
    started = time.process_time()
    stack = StackedTrainer(language_model, settings).train(candidates, seed=options.seed)
    together = stack.score(pairs)
    stacked_s = time.process_time() - started
    started = time.process_time()
    alone = [_alone(language_model, settings, items, pairs, options.seed) for items in candidates]
    alone_s = time.process_time() - started
    reports = [report for report, _ in alone]
    scores = [pair for row, (_, other) in zip(together, alone, strict=True) for pair in zip(row, other, strict=True)]
    return {
        "batch": batch,
        "candidates": len(candidates),
        "tokens": sum(report["tokens"] for report in reports),
        "stacked cpu s": round(stacked_s, 2),
        "one at a time cpu s": round(alone_s, 2),
        "ratio": round(alone_s / stacked_s, 3),
        "first loss, largest difference": _apart([r["first_loss"] for r in stack.reports], reports, "first_loss"),
        "last loss, largest difference": _apart([r["last_loss"] for r in stack.reports], reports, "last_loss"),
        "score, largest difference": round(max(abs(one - other) for one, other in scores), 4),
    }


def _written_by_rule(text: str, seed: int) -> list[StudyItem]:
    """Return a self-edit that needs no sampling: the statements, and keyword questions that differ by the seed."""
    asked = [
        StudyItem(prompt=keyword_question(one, random_of(one, seed)), response=one, form="question")
        for one in statements(text)
    ]
    return [*studied(text, Proposal("", ())), *asked]


def _apart(ours: Sequence[Any], others: Sequence[dict[str, Any]], name: str) -> float:
    return round(float(max(abs(one - other[name]) for one, other in zip(ours, others, strict=True))), 5)


def _alone(
    language_model: LocalLanguageModel,
    settings: TrainingSettings,
    items: Sequence[StudyItem],
    pairs: Sequence[tuple[Sequence[Turn], str]],
    seed: int,
) -> tuple[dict[str, Any], list[float]]:
    with tempfile.TemporaryDirectory() as folder:
        report = LoraTrainer(language_model, settings).train(items, seed=seed, folder=Path(folder))
        adapter = adapter_in(Path(folder))
        scores = language_model.score(pairs, adapters=[adapter])
    language_model.release(adapter.id)
    return dict(report), scores


# ---------------------------------------------------------------- report


def table(result: dict[str, Any]) -> str:
    """Return what was measured as Markdown."""
    lines = [
        "| seed | round | generator | unseen before | unseen after | difference from base | tokens | s |",
        "|---" * 8 + "|",
    ]
    for seed, one in ((seed, one) for seed, loop in result.get("loops", {}).items() for one in loop["rounds"]):
        mean, low, high = one.get("difference from base", [0.0, 0.0, 0.0])
        lines.append(
            f"| {seed} | {one['round']} | {one['version']} {'serves' if one['promoted'] else 'rejected'} | "
            f"{one['held_out_before']:.3f} | {one['held_out_after']} | {mean:+.3f} [{low:+.3f}, {high:+.3f}] | "
            f"{one['trained_tokens']} | {one['seconds']:.0f} |"
        )
    lines += ["", json.dumps(result.get("all seeds", {}))]
    lines += ["", "| batch | stacked, CPU s | one at a time, CPU s | ratio | last losses differ by |", "|---" * 5 + "|"]
    lines += [
        f"| {one['batch']} | {one['stacked cpu s']} | {one['one at a time cpu s']} | {one['ratio']} | "
        f"{one['last loss, largest difference']} |"
        for one in result.get("speed", [])
    ]
    if "control" in result:
        lines += ["", json.dumps(result["control"])]
    if "graders" in result:
        lines += ["", "| grader | mean |", "|---|---|"]
        lines += [f"| {name} | {value} |" for name, value in result["graders"]["means"].items()]
        lines += ["", "| pair | kappa |", "|---|---|"]
        lines += [f"| {name} | {value} |" for name, value in result["graders"]["kappa"].items()]
    return "\n".join(lines)


def main() -> None:
    """Run the parts, print tables and one JSON line, keep them in results/."""
    options = _options()
    if options.smoke:
        options.passages, options.unseen, options.samples, options.inner_steps = 2, 2, 2, 2
        options.max_new_tokens, options.speed_steps = 64, 2
    lessons = drawn(options.data_dir, options.passages + options.unseen, options.seed)
    result = header("outer_loop", seed=options.seed)
    keep = partial(_keep, result, smoke=options.smoke)
    if "loop" in options.parts:
        with tempfile.TemporaryDirectory() as folder:
            keep("loops", _with_others(learn(lessons, options, options.folder or Path(folder)), options))
        keep("all seeds", pooled(result["loops"]))
    language_model = LocalLanguageModel.load(
        models.path(Settings().model.name), threads=options.threads, dtype=options.dtype
    )
    if "speed" in options.parts:
        done: list[dict[str, Any]] = []
        for batch in BATCHES:
            done.append(speed(language_model, lessons[0], options, batch))
            keep("speed", done)
            print(f"  {done[-1]}", flush=True)
    if "control" in options.parts and options.folder is not None:
        keep("control", control(language_model, lessons[-options.unseen :], options))
    if "graders" in options.parts:
        keep("graders", graded(language_model, lessons[-min(4, options.unseen) :], options))
    print(table(result))
    print(json.dumps(result))


def _keep(result: dict[str, Any], name: str, value: Any, *, smoke: bool) -> None:
    """Take a part's result in; what was measured before stays in the file, so that parts can be run one by one."""
    result[name] = value
    if smoke:
        return
    RESULTS.mkdir(exist_ok=True)
    before = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    FILE.write_text(json.dumps({**before, **result}) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--passages", type=int, default=12, help="that are trained on")
    parser.add_argument("--unseen", type=int, default=12, help="that are never trained on")
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--reward", default="logprob")
    parser.add_argument("--inner-steps", type=int, default=12)
    parser.add_argument("--max-new-tokens", type=int, default=96)
    parser.add_argument("--speed-steps", type=int, default=SPEED_STEPS)
    parser.add_argument("--controlled", type=int, default=12, help="unseen passages of the part on form")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--folder", type=Path, help="where the run lies; it goes on when it is there")
    parser.add_argument("--parts", nargs="+", default=["loop", "speed", "control", "graders"])
    parser.add_argument("--smoke", action="store_true", help="2 passages and 2 samples; proves nothing")
    return parser.parse_args()


def _note(stage: str, done: int, total: int, note: str = "") -> None:
    if stage == "reward" or done == total:
        print(f"  {stage} {done}/{total} {note}", flush=True)


if __name__ == "__main__":
    main()
