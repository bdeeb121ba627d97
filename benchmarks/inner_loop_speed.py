"""What does one self-edit cost to learn? SEAL's released inner loop, a plain PEFT loop and ours, on the same passages.

    python -m benchmarks.inner_loop_speed --data-dir FOLDER [--passages 12] [--smoke]

Every arm learns the same self-edit of a passage (implications that SEAL's own models wrote, with the passage) into a
fresh adapter, and is asked the passage's questions closed-book:

- released: q/v LoRA r32 a64 in all layers, 1e-3, 10 epochs, batch 1, padded to 2048 with the padding in the loss.
  It is timed as it is (PEFT and the Hugging Face Trainer) over the first steps of some passages, which are all equally
  long, and scaled to its number of steps. Its accuracy on all passages comes from `training.seal_compat`'s loss with
  16 of the padded positions standing for all of them: the whole recipe takes minutes a passage on this machine.
- plain PEFT: the Hugging Face Trainer with dynamic padding on our very rows, settings and epochs, in all layers.
- ours: statements, keyword questions and gaps made of the same self-edit by rule; LoRA on the MLP in the upper half.

CPU seconds are of one thread, so that other work on the machine does not count; wall seconds are beside them.
Questions are asked in the chat form and in SEAL's own plain form; released is scored in the form that suits it better,
the others in the chat form.
Intervals are a paired bootstrap over passages. Results are kept after each passage; a run that was cut short goes on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.report import RESULTS, adapter_in, header
from benchmarks.squad_seal import FORMS, Passage, contained, gold_logprobs, interval, load_passages
from hybrid_memory import models
from hybrid_memory.config import TrainingSettings
from hybrid_memory.selfedit.augmentation import augmented
from hybrid_memory.selfedit.compiled import keyword_question, random_of
from hybrid_memory.selfedit.sequences import seal_sequences, written_lines
from hybrid_memory.statements import statements
from hybrid_memory.types import SelfEdit, StudyItem
from hybrid_memory.weights.language_model import LocalLanguageModel
from hybrid_memory.weights.objective import Objective, ResponseLoss
from hybrid_memory.weights.seal_compat import PADDED_TO, SealLoss, released_settings
from hybrid_memory.weights.trainer import LoraTrainer

ARMS = ("released", "plain PEFT", "ours")
OURS = TrainingSettings(epochs=4, batch_size=4, min_steps=1)
"""About 70 optimiser steps for a passage: fewer leave small sets under-trained (LOG.md, first trials)."""
DECODED = {"base": ("chat",), "released": FORMS, "plain PEFT": ("chat",), "ours": ("chat",)}
"""The forms of the question that an arm answers; decoding costs as much as training, and ours learns from chats."""
PADDING_COMPUTED = 16
QUESTIONS = 2
"""Keyword questions made of each statement."""
FILE = RESULTS / "inner_loop_speed.json"


class ReleasedTrainer(LoraTrainer):
    """The released recipe with part of its padding computed; see SealLoss."""

    def _objective(self, items: Sequence[StudyItem], settings: TrainingSettings, loss_on: str) -> Objective:
        del loss_on
        return SealLoss(self._lm, settings, padding_computed=PADDING_COMPUTED).read(items)


def released_items(passage: Passage, completion: str) -> list[StudyItem]:
    """Return the sequences of the released code: the self-edit's lines and the passage, each after the title."""
    texts = seal_sequences(completion, title=passage.title, context=passage.context)
    return [StudyItem(prompt="", response=text, form="statement") for text in texts]


def our_items(passage: Passage, completion: str) -> list[StudyItem]:
    """Return what our recipe makes of the same text without a language model."""
    return recipe(passage, [*written_lines(completion), passage.context])


def recipe(passage: Passage, texts: Sequence[str]) -> list[StudyItem]:
    """Return each sentence of the texts as a statement, with two keyword questions and two gaps."""
    sentences = [one for text in texts for one in statements(text)]
    items = []
    for sentence in dict.fromkeys(sentences):
        random = random_of(sentence, 0)
        items.append(StudyItem(prompt="", response=f"{passage.title}: {sentence}", form="statement"))
        asked = dict.fromkeys(keyword_question(sentence, random) for _ in range(QUESTIONS))
        items += [StudyItem(prompt=f"{passage.title}: {one}", response=sentence, form="question") for one in asked]
    edit = SelfEdit(record_id=passage.id, items=tuple(items), generator="compiled", seed=0)
    return list(augmented([edit], ["cloze"], seed=0)[0].items)


# ------------------------------------------------------------ the Hugging Face loops


def huggingface(
    language_model: LocalLanguageModel,
    rows: Sequence[dict[str, list[int]]],
    settings: TrainingSettings,
    *,
    lora: Any,
    folder: Path,
    steps: int = -1,
) -> float:
    """Train a PEFT adapter with transformers' Trainer and dynamic padding; return its CPU seconds a step."""
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    with language_model.fresh_adapter("plain", lora, seed=0) as model:
        arguments = TrainingArguments(
            output_dir=str(folder / "trainer"),
            per_device_train_batch_size=settings.batch_size,
            num_train_epochs=settings.epochs,
            max_steps=steps,
            learning_rate=settings.learning_rate,
            warmup_steps=settings.warmup_steps,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            remove_unused_columns=False,
        )
        collator = DataCollatorForSeq2Seq(language_model.tokenizer)
        with language_model.training("plain"):
            trainer = Trainer(model=model, args=arguments, train_dataset=list(rows), data_collator=collator)
            started = time.process_time()
            trainer.train()
            spent: float = (time.process_time() - started) / trainer.state.global_step
        model.eval()
        model.save_pretrained(str(folder), selected_adapters=["plain"], save_embedding_layers=False)
        for file in (folder / "plain").iterdir():
            file.rename(folder / file.name)
    return spent


def released_seconds(language_model: LocalLanguageModel, passage: Passage, steps: int) -> tuple[float, float]:
    """Return CPU and wall seconds a step of the released loop as it is: 1 x 2048 padded positions, all in the loss."""
    settings = released_settings(TrainingSettings())
    objective = SealLoss(language_model, settings).read(released_items(passage, passage.implications[0]))
    end = language_model.tokenizer.eos_token_id
    rows = []
    for ids in objective._rows:
        padded = [*ids, *[end] * (PADDED_TO - len(ids))]
        mask = [1] * len(ids) + [0] * (PADDED_TO - len(ids))
        rows.append({"input_ids": padded, "attention_mask": mask, "labels": padded})
    with tempfile.TemporaryDirectory() as folder:
        wall = time.monotonic()
        spent = huggingface(language_model, rows, settings, lora=objective.lora, folder=Path(folder), steps=steps)
        return spent, (time.monotonic() - wall) / steps


def plain_rows(language_model: LocalLanguageModel, items: Sequence[StudyItem]) -> list[dict[str, list[int]]]:
    """Return our rows as the Trainer takes them: ids, and labels where the response stands."""
    objective = ResponseLoss(language_model, in_all_layers(OURS), loss_on="answer").read(items)
    return [
        {
            "input_ids": row.ids,
            "attention_mask": [1] * len(row.ids),
            "labels": [-100] * row.start + row.ids[row.start :],
        }
        for row in objective.rows
    ]


def in_all_layers(settings: TrainingSettings) -> TrainingSettings:
    """Return the settings with LoRA in every layer, as PEFT has it unless told otherwise."""
    return settings.model_copy(update={"frozen_layers": 0.0})


# ------------------------------------------------------------ the arms


def learn(arm: str, language_model: LocalLanguageModel, passage: Passage, folder: Path) -> dict[str, Any]:
    """Train one arm on a passage's first self-edit into `folder`; return tokens, steps and seconds."""
    completion = passage.implications[0]
    wall, cpu = time.monotonic(), time.process_time()
    if arm == "plain PEFT":
        settings = in_all_layers(OURS)
        items = our_items(passage, completion)
        rows = plain_rows(language_model, items)
        lora = ResponseLoss(language_model, settings, loss_on="answer").lora
        huggingface(language_model, rows, settings, lora=lora, folder=folder)
        told: dict[str, Any] = {
            "tokens": settings.epochs * sum(len(row["input_ids"]) for row in rows),
            "steps": settings.epochs * -(-len(rows) // settings.batch_size),
        }
    else:
        ours = arm == "ours"
        trainer = (
            LoraTrainer(language_model, OURS)
            if ours
            else ReleasedTrainer(language_model, TrainingSettings(seal_compat=True))
        )
        items = our_items(passage, completion) if ours else released_items(passage, completion)
        report = trainer.train(items, seed=0, folder=folder)
        told = {"tokens": report["tokens"], "steps": report["steps"]}
    return {**told, "cpu": time.process_time() - cpu, "wall": time.monotonic() - wall}


def answered(language_model: LocalLanguageModel, passage: Passage, arm: str, adapters: Sequence[Any]) -> dict[str, Any]:
    """Return the log-probability of the gold answers and which answers contain them, by form."""
    return {
        "logprob": {form: gold_logprobs(language_model, passage, adapters=adapters, form=form) for form in FORMS},
        "contained": {
            form: contained(language_model, [passage], adapters=adapters, form=form)[0] for form in DECODED[arm]
        },
    }


def outcome(language_model: LocalLanguageModel, passage: Passage, arm: str) -> dict[str, Any]:
    """Return what one arm cost and answered on one passage."""
    if arm == "base":
        return answered(language_model, passage, arm, ())
    with tempfile.TemporaryDirectory() as folder:
        told = learn(arm, language_model, passage, Path(folder))
        adapter = adapter_in(Path(folder))
        found = {**told, **answered(language_model, passage, arm, [adapter])}
        language_model.release(adapter.id)
    print(f"  {passage.id} {arm}: {told['tokens']} tokens, {told['cpu']:.1f} s CPU", flush=True)
    return found


# ------------------------------------------------------------ the report


def pooled(rows: Sequence[dict[str, Any]], arm: str, measure: str, form: str) -> list[float]:
    """Return a measure of every question of every passage that the arm learned."""
    return [float(value) for row in rows if arm in row for value in row[arm][measure][form]]


def suited(rows: Sequence[dict[str, Any]], arm: str, measure: str) -> list[float]:
    """Return a measure in the form of the question in which the arm does best, among those it is scored in."""
    return max((pooled(rows, arm, measure, form) for form in DECODED[arm]), key=np.mean)


def summary(rows: Sequence[dict[str, Any]], step_seconds: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return the table's numbers: per arm cost and answers, and the paired differences, as far as there are any."""
    arms = [arm for arm in ("base", *ARMS) if any(arm in row for row in rows)]
    table = {arm: _cell([row[arm] for row in rows if arm in row]) for arm in arms}
    if step_seconds and "released" in table:
        cell = table["released"]
        cell["cpu of the estimate"] = cell["cpu"]
        for at, name in enumerate(("cpu", "wall")):
            cell[name] = round(float(np.mean([one[at] for one in step_seconds])) * cell["steps"], 1)
    differences = {
        f"ours - {arm}: {measure}": _difference(both, arm, measure)
        for arm in arms
        if arm != "ours" and (both := [row for row in rows if arm in row and "ours" in row])
        for measure in ("logprob", "contained")
    }
    return {"table": table, "differences": differences, "ratios": _ratios(rows, table, bool(step_seconds))}


def _cell(outcomes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return an arm's means over its passages."""
    cell: dict[str, Any] = {
        measure: {
            form: round(float(np.mean([value for one in outcomes for value in one[measure][form]])), 4)
            for form in outcomes[0][measure]
        }
        for measure in ("logprob", "contained")
    }
    costs = [name for name in ("tokens", "steps", "cpu", "wall") if name in outcomes[0]]
    cell |= {name: round(float(np.mean([one[name] for one in outcomes])), 1) for name in costs}
    return {"passages": len(outcomes), **cell}


def _ratios(rows: Sequence[dict[str, Any]], table: dict[str, Any], timed: bool) -> dict[str, float]:
    """Return how many times ours each of the others costs, over the passages that both learned."""
    found: dict[str, float] = {}
    for arm in ("released", "plain PEFT"):
        both = [row for row in rows if arm in row and "ours" in row]
        names = ("tokens", "cpu") if arm == "plain PEFT" else ("tokens",)
        for name in names if both else ():
            ratio = sum(row[arm][name] for row in both) / sum(row["ours"][name] for row in both)
            found[f"{arm} {name} / ours"] = round(ratio, 2)
    if timed and "released" in table and "ours" in table:
        found["released cpu / ours"] = round(table["released"]["cpu"] / table["ours"]["cpu"], 1)
    return found


def _difference(rows: Sequence[dict[str, Any]], arm: str, measure: str) -> list[float]:
    """Return ours minus an arm, with its interval, over the passages that both learned."""
    groups = [number for number, row in enumerate(rows) for _ in row["ours"]["logprob"]["chat"]]
    return [round(x, 4) for x in interval(suited(rows, "ours", measure), suited(rows, arm, measure), groups)]


def show(result: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    lines = [
        "| arm | passages | positions | CPU s | wall s | gold log-prob, chat | plain | contained, chat | plain |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for arm, cell in result["table"].items():
        cost = [f"{cell[name]:,.0f}" if name in cell else "" for name in ("passages", "tokens", "cpu", "wall")]
        answers = [f"{cell['logprob'][form]:.2f}" for form in FORMS]
        answers += [f"{cell['contained'][form]:.1%}" if form in cell["contained"] else "" for form in FORMS]
        lines.append(f"| {arm} | " + " | ".join([*cost, *answers]) + " |")
    lines += [
        f"{name}: {mean:+.3f} [{low:+.3f}, {high:+.3f}]" for name, (mean, low, high) in result["differences"].items()
    ]
    lines += [f"{name}: {value}" for name, value in result["ratios"].items()]
    return "\n".join(lines)


def main() -> None:
    """Run, print the table and one JSON line, keep both in results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with squad_seal in it")
    parser.add_argument("--passages", type=int, default=12)
    parser.add_argument("--timed", type=int, default=3, help="passages on which the released loop is timed")
    parser.add_argument("--timed-steps", type=int, default=3, help="its steps, 2048 positions each")
    parser.add_argument("--plain", type=int, default=4, help="passages that the plain PEFT loop learns too")
    parser.add_argument("--model", default="smollm2-135m-instruct", help="a shipped model's name")
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument(
        "--smoke", action="store_true", help="one passage, one timed step, under 2 minutes; proves nothing"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    language_model = LocalLanguageModel.load(models.path(options.model), threads=1)
    result = run(language_model, options)
    print(show(result))
    print(json.dumps(result))


def run(language_model: LocalLanguageModel, options: argparse.Namespace) -> dict[str, Any]:
    """Do what is not done yet, keep each outcome, and return the summary."""
    above = {**header("inner_loop_speed", seed=0), "recipe": OURS.model_dump(mode="json")}
    count, timed, steps = (1, 1, 1) if options.smoke else (options.passages, options.timed, options.timed_steps)
    passages = load_passages(options.data_dir)[:count]
    kept = json.loads(options.out.read_text(encoding="utf-8")) if options.out.is_file() and not options.smoke else {}
    rows, seconds = kept.get("rows", {}), kept.get("step_seconds", [])

    def keep() -> None:
        if not options.smoke:
            options.out.parent.mkdir(exist_ok=True)
            result = {**above, **summary(list(rows.values()), seconds), "step_seconds": seconds, "rows": rows}
            options.out.write_text(json.dumps(result) + "\n", encoding="utf-8")

    todo = [(passage, arm) for passage in passages for arm in ("base", "ours", "released")]
    todo += [(passage, "plain PEFT") for passage in passages[: options.plain]]
    for passage, arm in todo:
        if arm not in rows.setdefault(passage.id, {}):
            rows[passage.id][arm] = outcome(language_model, passage, arm)
            keep()
    for passage in passages[len(seconds) : timed]:
        seconds.append(released_seconds(language_model, passage, steps))
        keep()
    return {**above, **summary(list(rows.values()), seconds)}


if __name__ == "__main__":
    main()
