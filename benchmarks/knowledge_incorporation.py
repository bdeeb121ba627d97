"""How much of a passage is known without it, by what was written about it and how it was trained?

    python -m benchmarks.knowledge_incorporation --data-dir FOLDER [--passages 4] [--full] [--smoke]

Closed-book answers to SEAL's own questions (squad_seal), one passage and one fresh adapter at a time:

- base, and base with the passage in the prompt (the ceiling for weights that only repeat it);
- passage only and released: SEAL's released loop on the passage alone, and on the self-edit SEAL's own 7B model wrote;
- own implications, own rewrite, own self-QA: what this model writes by SEAL's prompts, trained by our loop with the
  passage's sentences as plain text;
- ours: sentences, keyword questions, questions sampled from the model and gaps, all without another model;
- ours from a teacher: sentences, keyword questions and gaps of what SEAL's 7B model wrote.

Then jointly (knowledge_joint.py): many passages in shards of a few sentences, asked about passages that are learned
alone too, by the same recipe. What `inner_loop_speed.py` measured of the same passage by the same recipe (base,
released, ours from a teacher) is taken over from its result file, without its seconds.
Of `tofu`, which no model has seen: one adapter for each author; right is an answer in other words that is likelier than
every wrong one. The released loop has its padding estimated as in inner_loop_speed.py. Intervals are a paired
bootstrap over passages. Every outcome is kept as soon as it is there; a run that was cut short goes on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.inner_loop_speed import FILE as SPEED
from benchmarks.inner_loop_speed import OURS, ReleasedTrainer, recipe
from benchmarks.knowledge_joint import TRAINING, Shards, shards_of
from benchmarks.knowledge_material import WRITTEN, material
from benchmarks.knowledge_report import ALONE, SHOWN, Outcome, show, summary
from benchmarks.report import RESULTS, adapter_in, header
from benchmarks.squad_seal import Passage, answer_logprobs, contained, gold_logprobs, load_passages, rows_of
from hybrid_memory import Settings, models
from hybrid_memory.config import TrainingSettings
from hybrid_memory.protocols import Trainer
from hybrid_memory.retrieval.encoder import SentenceEncoder
from hybrid_memory.types import StudyItem, Turn
from hybrid_memory.weights.language_model import LocalLanguageModel
from hybrid_memory.weights.trainer import LoraTrainer

FILE = RESULTS / "knowledge_incorporation.json"
PLAIN = TrainingSettings(epochs=3, min_steps=40, batch_size=4)
"""For the few rows that a prompt of the family gives: at least 40 steps."""


# ------------------------------------------------------------ learning and asking


def trainer_for(arm: str, language_model: LocalLanguageModel) -> LoraTrainer:
    """Return the inner loop of an arm."""
    if arm in ("passage only", "released"):
        return ReleasedTrainer(language_model, TrainingSettings(seal_compat=True))
    return LoraTrainer(language_model, PLAIN if arm in WRITTEN else OURS)


def learned(
    trainer: Trainer, language_model: LocalLanguageModel, items: Sequence[StudyItem], ask: Callable[[Any], Outcome]
) -> Outcome:
    """Train on items, ask with the adapter, and return costs and outcomes."""
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        report = trainer.train(items, seed=0, folder=Path(folder))
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
    trainer = trainer_for(arm, language_model)
    outcome = learned(trainer, language_model, items, lambda adapters: answered(language_model, passage, adapters))
    return {**outcome, "written": written, "cpu": round(outcome["cpu"] + writing, 1)}


def jointly(
    language_model: LocalLanguageModel,
    shards: Shards,
    asked: Sequence[Passage],
    kept: dict[str, Any],
    keep: Callable[[], None],
) -> None:
    """Learn each asked passage alone, then the shards that questions are sent to; ask both ways."""
    trainer = LoraTrainer(language_model, TRAINING)
    for passage in (one for one in asked if one.id not in kept["alone"]):
        items = recipe(passage, [passage.context])
        kept["alone"][passage.id] = learned(trainer, language_model, items, partial(answered, language_model, passage))
        keep()
    for name in dict.fromkeys(name for passage in asked for name in kept["sent to"][passage.id]):
        here = [passage for passage in asked if name in kept["sent to"][passage.id]]
        if any(passage.id not in kept["shards"].get(name, {}) for passage in here):
            ask = partial(_answered_by, language_model, name, here, kept["sent to"])
            kept["shards"][name] = learned(trainer, language_model, shards.items(name), ask)
            keep()


def _answered_by(
    language_model: LocalLanguageModel,
    name: str,
    passages: Sequence[Passage],
    sent: Mapping[str, Sequence[str]],
    adapters: Sequence[Any],
) -> Outcome:
    """Return per passage the outcomes of the questions that were sent to a shard."""
    found = {}
    for passage in passages:
        mine = [one for one, shard in zip(passage.questions, sent[passage.id], strict=True) if shard == name]
        found[passage.id] = answered(language_model, replace(passage, questions=tuple(mine)), adapters)
    return found


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

    trainer = trainer_for("ours", language_model)
    outcome = learned(trainer, language_model, items, lambda adapters: {"wins": wins(adapters)})
    return {**outcome, "base wins": wins(())}


def main() -> None:
    """Run, print the table and one JSON line, keep both in results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with squad_seal and tofu in it")
    parser.add_argument("--passages", type=int, default=4, help="passages learned alone, by every arm")
    parser.add_argument("--arms", nargs="+", default=[*SHOWN, *ALONE], choices=[*SHOWN, *ALONE])
    parser.add_argument("--joint", type=int, default=50, help="passages learned together; 0 leaves that out")
    parser.add_argument("--asked", type=int, default=4, help="of them, passages that are asked about")
    parser.add_argument("--authors", type=int, default=1, help="authors of tofu")
    parser.add_argument("--full", action="store_true", help="40 passages alone, 10 asked of 50, 10 authors: hours")
    parser.add_argument("--smoke", action="store_true", help="one passage, three arms, under 2 minutes; proves nothing")
    parser.add_argument("--out", type=Path, default=FILE)
    options = parser.parse_args()
    if options.full:
        options.passages, options.asked, options.authors = 40, 10, 10
    if options.smoke:
        options.passages, options.joint, options.authors, options.arms = 1, 0, 0, [*SHOWN, "ours from a teacher"]
    torch.set_num_threads(1)
    language_model = LocalLanguageModel.load(models.path(Settings().model.name), threads=1)
    result = run(language_model, options)
    print(show(result))
    print(json.dumps(result))


def run(language_model: LocalLanguageModel, options: argparse.Namespace) -> dict[str, Any]:
    """Do what is not done yet, keep each outcome, and return the summary."""
    kept = _kept(None if options.smoke else options.out)
    passages = load_passages(options.data_dir)

    def result() -> dict[str, Any]:
        return {**header("knowledge_incorporation", seed=0), **summary(kept, passages)}

    def keep() -> None:
        if not options.smoke:
            options.out.parent.mkdir(exist_ok=True)
            options.out.write_text(json.dumps({**result(), "outcomes": kept}) + "\n", encoding="utf-8")

    for passage, arm in ((passage, arm) for passage in passages[: options.passages] for arm in options.arms):
        if passage.id not in kept["alone"].setdefault(arm, {}):
            found = kept["alone"][arm][passage.id] = alone(arm, language_model, passage)
            told = f"{np.mean(found['logprob']):.2f} nats, {np.mean(found['contained']):.0%}"
            print(f"  {passage.id} {arm}: {told}", flush=True)
            keep()
    if options.joint:
        _together(language_model, passages[: options.joint], passages[: options.asked], kept["joint"], keep)
    for number in (number for number in range(options.authors) if str(number) not in kept["tofu"]):
        rows = [row for row in rows_of(options.data_dir / "tofu" / "dev.jsonl") if row["author"] == number]
        kept["tofu"][str(number)] = author(language_model, rows)
        keep()
    return result()


def _together(
    language_model: LocalLanguageModel,
    many: Sequence[Passage],
    asked: Sequence[Passage],
    kept: dict[str, Any],
    keep: Callable[[], None],
) -> None:
    """Place many passages in shards and send the asked ones' questions to them, then learn and ask."""
    encoder = SentenceEncoder(models.path(Settings().encoder.name))
    shards = shards_of(many, encoder)
    sent = {passage.id: shards.chosen(encoder, passage) for passage in asked}
    right = [shards.holds(name, passage) for passage in asked for name in sent[passage.id]]
    kept |= {"passages": len(many), "sentences": len(shards.names), "shard count": len(set(shards.names))}
    kept |= {"sent to": sent, "sent right": float(np.mean(right))}
    kept |= {name: kept.get(name, {}) for name in ("alone", "shards")}
    jointly(language_model, shards, asked, kept, keep)


def _kept(file: Path | None) -> dict[str, Any]:
    """Return the outcomes of an earlier run, or what inner_loop_speed.py measured by the same recipe."""
    if file is not None and file.is_file():
        kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["outcomes"]
        return kept
    measured = json.loads(SPEED.read_text(encoding="utf-8"))["rows"] if file is not None and SPEED.is_file() else {}
    alone = {
        arm: {passage: _taken_over(cells[name]) for passage, cells in measured.items() if name in cells}
        for arm, name in (("base", "base"), ("released", "released"), ("ours from a teacher", "ours"))
    }
    return {"alone": alone, "joint": {}, "tofu": {}}


def _taken_over(cell: Outcome) -> Outcome:
    """Return an arm's outcomes in the chat form; its seconds are of another run, so they stay where they are."""
    costs = {"trained": cell["tokens"]} if "tokens" in cell else {}
    return {"logprob": cell["logprob"]["chat"], "contained": cell["contained"]["chat"], **costs}


if __name__ == "__main__":
    main()
