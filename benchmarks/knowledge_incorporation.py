"""How much of a passage is known without it, by what was written about it and how it was trained?

    python -m benchmarks.knowledge_incorporation --data-dir FOLDER [--passages 4] [--full] [--smoke]

Closed-book answers to SEAL's own questions (squad_seal), one passage and one fresh adapter at a time:

- base, and base with the passage in the prompt (the ceiling for weights that only repeat it);
- passage only and released: SEAL's released loop on the passage alone, and on the self-edit SEAL's own 7B model wrote;
- own implications, own rewrite, own self-QA: what this model writes by SEAL's prompts, trained by our loop with the
  passage's sentences as plain text;
- ours: sentences, keyword questions, questions sampled from the model and gaps, all without another model;
- ours from a teacher: the same recipe on the lines of a scripted teacher, which are SEAL's 7B implications and self-QA.

Then jointly: our recipe over many passages in one adapter, asked about the passages that were also learned alone.
Of `tofu`, which no model has seen: one adapter for each author; right is an answer in other words that is likelier than
every wrong one. The released loop has its padding estimated as in inner_loop_speed.py. Intervals are a paired
bootstrap over passages. Every outcome is kept as soon as it is there; a run that was cut short goes on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.inner_loop_speed import OURS, ReleasedTrainer, recipe
from benchmarks.knowledge_material import WRITTEN, joint_items, material
from benchmarks.report import RESULTS, adapter_in, header
from benchmarks.squad_seal import Passage, answer_logprobs, contained, gold_logprobs, interval, load_passages, rows_of
from hybrid_memory import models
from hybrid_memory.config import TrainingSettings
from hybrid_memory.types import StudyItem, Turn
from hybrid_memory.weights.language_model import LocalLanguageModel
from hybrid_memory.weights.trainer import LoraTrainer

FILE = RESULTS / "knowledge_incorporation.json"
SHOWN = ("base", "passage in the prompt")
ALONE = ("passage only", "released", *WRITTEN, "ours", "ours from a teacher")
PLAIN = TrainingSettings(epochs=3, min_steps=40)
"""For the few rows that a prompt of the family gives: at least 40 steps."""


# ------------------------------------------------------------ learning and asking


def trainer_for(arm: str, language_model: LocalLanguageModel) -> LoraTrainer:
    """Return the inner loop of an arm."""
    if arm in ("passage only", "released"):
        return ReleasedTrainer(language_model, TrainingSettings(seal_compat=True))
    return LoraTrainer(language_model, PLAIN if arm in WRITTEN else OURS)


def learned(
    arm: str, language_model: LocalLanguageModel, items: Sequence[StudyItem], ask: Callable[[Any], dict[str, Any]]
) -> dict[str, Any]:
    """Train an arm on items, ask with the adapter, and return costs and outcomes."""
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        report = trainer_for(arm, language_model).train(items, seed=0, folder=Path(folder))
        spent = time.process_time() - started
        adapter = adapter_in(Path(folder))
        found = ask([adapter])
        language_model.release(adapter.id)
    return {**found, "trained": report["tokens"], "cpu": round(spent, 1)}


def answered(
    language_model: LocalLanguageModel, passage: Passage, adapters: Sequence[Any] = (), *, shown: bool = False
) -> dict[str, Any]:
    """Return the outcome of every question of a passage."""
    return {
        "logprob": gold_logprobs(language_model, passage, adapters=adapters, shown=shown),
        "contained": contained(language_model, [passage], adapters=adapters, shown=shown)[0],
    }


def alone(arm: str, language_model: LocalLanguageModel, passage: Passage) -> dict[str, Any]:
    """Return what one arm came to on one passage."""
    if arm in SHOWN:
        return answered(language_model, passage, shown=arm != "base")
    started = time.process_time()
    items, written = material(arm, language_model, passage)
    writing = time.process_time() - started
    outcome = learned(arm, language_model, items, lambda adapters: answered(language_model, passage, adapters))
    return {**outcome, "written": written, "cpu": round(outcome["cpu"] + writing, 1)}


def jointly(language_model: LocalLanguageModel, many: Sequence[Passage], asked: Sequence[Passage]) -> dict[str, Any]:
    """Train our recipe on SEAL's implications of many passages in one adapter; ask about some of them."""
    items = [item for passage in many for item in joint_items(passage)]
    return learned(
        "ours",
        language_model,
        items,
        lambda adapters: {passage.id: answered(language_model, passage, adapters) for passage in asked},
    )


def author(language_model: LocalLanguageModel, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Learn what tofu tells of one author, and return for base and ours which paraphrased answers win."""
    name = f"author {rows[0]['author']}"
    passage = Passage(name, name, " ".join(row["answer"] for row in rows), (), (), ())
    items = recipe(passage, [row["answer"] for row in rows])

    def wins(adapters: Sequence[Any]) -> list[int]:
        found = []
        for row in rows:
            choices = [row["paraphrased_answer"], *row["perturbed_answers"]]
            encoded = [language_model.training_tokens((Turn("user", row["question"]),), choice) for choice in choices]
            scores = answer_logprobs(language_model, [(ids[:-1], start) for ids, start in encoded], adapters)
            found.append(int(scores[0] > max(scores[1:])))
        return found

    outcome = learned("ours", language_model, items, lambda adapters: {"wins": wins(adapters)})
    return {**outcome, "base wins": wins(())}


# ------------------------------------------------------------ the report


def summary(kept: dict[str, Any], passages: Sequence[Passage]) -> dict[str, Any]:
    """Return per arm the means over the passages that every arm has, and the paired differences to base."""
    arms = [arm for arm in (*SHOWN, *ALONE) if arm in kept["alone"]]
    shared = [one for one in passages if all(one.id in kept["alone"][arm] for arm in arms)]
    groups = [number for number, one in enumerate(shared) for _ in one.questions]
    table: dict[str, Any] = {}
    for arm in arms:
        cells = [kept["alone"][arm][one.id] for one in shared]
        table[arm] = {name: round(_mean(_pool(cells, name)), 4) for name in ("logprob", "contained")}
        table[arm] |= {
            name: round(_mean([cell[name] for cell in cells]), 1)
            for name in ("written", "trained", "cpu")
            if name in cells[0]
        }
    differences = {
        f"{arm} - {other}: {name}": [
            round(x, 4)
            for x in interval(
                _pool([kept["alone"][arm][one.id] for one in shared], name),
                _pool([kept["alone"][other][one.id] for one in shared], name),
                groups,
            )
        ]
        for arm in arms
        for other in ("base", "released")
        if arm != other and other in arms and shared
        for name in ("logprob", "contained")
    }
    return {
        "passages": len(shared),
        "table": table,
        "differences": differences,
        "joint": _joint(kept, passages),
        "tofu": {name: _mean([x for one in kept["tofu"].values() for x in one[name]]) for name in ("base wins", "wins")}
        if kept["tofu"]
        else {},
    }


def _joint(kept: dict[str, Any], passages: Sequence[Passage]) -> dict[str, Any]:
    """Return what share of the gain of learning passages alone is kept when they are learned together."""
    joint, single, base = kept["joint"], kept["alone"].get("ours, 7B lines", {}), kept["alone"].get("base", {})
    shared = [one.id for one in passages if one.id in joint and one.id in single and one.id in base]
    if not shared:
        return {}
    found: dict[str, Any] = {"passages trained": joint["passages trained"], "passages asked": len(shared)}
    for name in ("logprob", "contained"):
        means = [_mean(_pool([where[one] for one in shared], name)) for where in (base, single, joint)]
        gain = means[1] - means[0]
        found[name] = dict(zip(("base", "alone", "jointly"), means, strict=True))
        found[name]["kept"] = (means[2] - means[0]) / gain if gain else None
    return found | {"trained": joint["trained"], "cpu": joint["cpu"]}


def _pool(cells: Sequence[dict[str, Any]], name: str) -> list[float]:
    return [float(value) for cell in cells for value in cell[name]]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def show(result: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    lines = [
        f"{result['passages']} passages, one adapter each",
        "| arm | gold log-prob | contained | words written | positions trained | CPU s |",
        "|---|---|---|---|---|---|",
    ]
    for arm, cell in result["table"].items():
        cost = [f"{cell[name]:,.0f}" if name in cell else "" for name in ("written", "trained", "cpu")]
        lines.append(f"| {arm} | {cell['logprob']:.2f} | {cell['contained']:.1%} | " + " | ".join(cost) + " |")
    lines += [
        f"{name}: {mean:+.3f} [{low:+.3f}, {high:+.3f}]" for name, (mean, low, high) in result["differences"].items()
    ]
    return "\n".join([*lines, f"joint: {result['joint']}", f"tofu: {result['tofu']}"])


def main() -> None:
    """Run, print the table and one JSON line, keep both in results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with squad_seal and tofu in it")
    parser.add_argument("--passages", type=int, default=4, help="passages learned alone, by every arm")
    parser.add_argument("--joint", type=int, default=12, help="passages learned together")
    parser.add_argument("--authors", type=int, default=1, help="authors of tofu")
    parser.add_argument("--full", action="store_true", help="42 passages alone, 50 together, 10 authors: hours")
    parser.add_argument("--smoke", action="store_true", help="one passage, three arms, under 2 minutes; proves nothing")
    parser.add_argument("--out", type=Path, default=FILE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    language_model = LocalLanguageModel.load(models.path("smollm2-135m-instruct"), threads=1)
    result = run(language_model, options)
    print(show(result))
    print(json.dumps(result))


def run(language_model: LocalLanguageModel, options: argparse.Namespace) -> dict[str, Any]:
    """Do what is not done yet, keep each outcome, and return the summary."""
    count, together, authors = (42, 50, 10) if options.full else (options.passages, options.joint, options.authors)
    arms: Sequence[str] = (*SHOWN, *ALONE)
    if options.smoke:
        count, together, authors, arms = 1, 0, 0, (*SHOWN, "ours from a teacher")
    kept = _kept(None if options.smoke else options.out)
    everything = load_passages(options.data_dir)
    passages = [one for one in everything if one.self_qa][:count]
    many = [*passages, *(one for one in everything if one not in passages)][:together]

    def result() -> dict[str, Any]:
        return {**header("knowledge_incorporation", seed=0), **summary(kept, passages)}

    def keep() -> None:
        if not options.smoke:
            options.out.parent.mkdir(exist_ok=True)
            options.out.write_text(json.dumps({**result(), "outcomes": kept}) + "\n", encoding="utf-8")

    for passage, arm in ((passage, arm) for passage in passages for arm in arms):
        if passage.id not in kept["alone"].setdefault(arm, {}):
            found = kept["alone"][arm][passage.id] = alone(arm, language_model, passage)
            told = f"{np.mean(found['logprob']):.2f} nats, {np.mean(found['contained']):.0%}"
            print(f"  {passage.id} {arm}: {told}", flush=True)
            keep()
    _together(kept, language_model, many, passages, keep)
    for number in (number for number in range(authors) if str(number) not in kept["tofu"]):
        rows = [row for row in rows_of(options.data_dir / "tofu" / "dev.jsonl") if row["author"] == number]
        kept["tofu"][str(number)] = author(language_model, rows)
        keep()
    return result()


def _together(
    kept: dict[str, Any],
    language_model: LocalLanguageModel,
    many: Sequence[Passage],
    few: Sequence[Passage],
    keep: Callable[[], None],
) -> None:
    """Learn many passages in one adapter, and the few of them that are asked about also alone, by the same recipe."""
    asked = [passage for passage in few if passage in many]
    if not asked:
        return
    single = kept["alone"].setdefault("ours, 7B lines", {})
    for passage in asked:
        if passage.id not in single:
            items = joint_items(passage)
            single[passage.id] = learned("ours", language_model, items, partial(answered, language_model, passage))
            keep()
    if not kept["joint"]:
        kept["joint"] = {**jointly(language_model, many, asked), "passages trained": len(many)}
        keep()


def _kept(file: Path | None) -> dict[str, Any]:
    """Return the outcomes of an earlier run, or none."""
    empty: dict[str, Any] = {"alone": {}, "joint": {}, "tofu": {}}
    if file is None or not file.is_file():
        return empty
    kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["outcomes"]
    return kept


if __name__ == "__main__":
    main()
