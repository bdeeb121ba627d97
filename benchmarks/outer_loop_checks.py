"""What outer_loop.py checks beside the loop: what of the reward is form, and whether graders agree."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from benchmarks.squad_seal import interval
from hybrid_memory import Lesson
from hybrid_memory.config import TrainingSettings
from hybrid_memory.evidence import ask
from hybrid_memory.selfedit import graders
from hybrid_memory.selfedit.proposals import Proposal, propose, read_pairs, studied
from hybrid_memory.selfedit.rewards import Rewarder
from hybrid_memory.types import Turn
from hybrid_memory.weights.language_model import LocalLanguageModel
from hybrid_memory.weights.stacked import StackedTrainer

ANSWER_TOKENS = 24


class OwnJudge:
    """The local model as a judge: what LlamaIndex's `complete` would be."""

    def __init__(self, language_model: LocalLanguageModel) -> None:
        self._lm = language_model

    def complete(self, prompt: str) -> str:
        """Answer the prompt in a few tokens."""
        return self._lm.generate([(Turn("user", prompt),)], max_new_tokens=4)[0].text


def journalled(folder: Path) -> dict[str, dict[str, list[tuple[str, float]]]]:
    """Return "generator seed" -> passage -> its samples with their rewards, in the order of the passages."""
    found: dict[str, dict[str, list[tuple[str, float]]]] = {}
    for file in sorted(folder.glob("*.done")):
        for line in file.read_bytes().splitlines():  # of bytes, so that no mark inside a text ends a line
            for key, value in json.loads(line).items():
                if key.count(" ") == 2:
                    generator, _, passage = key.rpartition(" ")
                    found.setdefault(generator, {})[passage] = [(text, reward) for text, reward in value["samples"]]
    return found


def control(
    language_model: LocalLanguageModel, unseen: Sequence[Lesson], options: argparse.Namespace
) -> dict[str, Any]:
    """Reward the generator's best sample of each unseen passage: with its pairs, another passage's, and none."""
    settings = TrainingSettings(batch_size=4, epochs=1, min_steps=options.inner_steps)
    trainer = StackedTrainer(language_model, settings)
    rewarder = Rewarder(language_model, trainer, kind="logprob", seed=options.seed)
    samples = journalled(options.folder / "outer_loop")[f"generator-v1 {options.seed}"].values()
    best = [max(one, key=lambda sample: sample[1])[0] for one in samples]
    pairs = [tuple(read_pairs(text, lesson.text)) for text, lesson in zip(best, unseen, strict=True)]
    kept = [number for number, items in enumerate(pairs) if items][: options.controlled]
    rows = []
    for place, number in enumerate(kept):
        other = pairs[kept[place - 1]]
        proposals = [Proposal("own", pairs[number]), Proposal("another's", other), Proposal("none", ())]
        rows.append(rewarder.reward(unseen[number], proposals))
    own, others, none = ([row[column] for row in rows] for column in range(3))
    groups = range(len(rows))
    return {
        "passages with usable pairs": len(rows),
        "mean reward": {"own pairs": fmean(own), "another passage's pairs": fmean(others), "no pairs": fmean(none)},
        "own - another's": interval(own, others, groups),
        "another's - none": interval(others, none, groups),
    }


# ---------------------------------------------------------------- graders


def graded(
    language_model: LocalLanguageModel, lessons: Sequence[Lesson], options: argparse.Namespace
) -> dict[str, Any]:
    """Grade the answers of models that studied a self-edit, in every way; return means and agreement."""
    settings = TrainingSettings(batch_size=4, epochs=1, min_steps=2 * options.inner_steps)
    judge = graders.Judge(OwnJudge(language_model))
    grades: dict[str, list[float]] = {name: [] for name in ("exact match", "containment", "F1", "log-prob", "judge")}
    for lesson in lessons:
        proposals = propose(
            lesson.text, language_model, samples=1, seed=options.seed, temperature=1.0, max_new_tokens=96
        )
        stack = StackedTrainer(language_model, settings).train([studied(lesson.text, proposals[0])], seed=options.seed)
        chats = [ask(one.prompt) for one in lesson.questions]
        (answers,) = stack.generate([chats], max_new_tokens=ANSWER_TOKENS)
        (scores,) = stack.score([(chat, one.response) for chat, one in zip(chats, lesson.questions, strict=True)])
        for one, answer, score in zip(lesson.questions, answers, scores, strict=True):
            grades["exact match"].append(graders.exact_match(answer.text, one.response))
            grades["containment"].append(graders.contains(answer.text, one.response))
            grades["F1"].append(graders.f1(answer.text, one.response))
            grades["log-prob"].append(float(torch.tensor(score).exp()))  # above 0.5 a token: it would be said
            grades["judge"].append(judge.grade(one.prompt, answer.text, one.response))
    kappas = {" / ".join(pair): value for pair, value in graders.agreement(grades).items()}
    means = {name: round(fmean(values), 4) for name, values in grades.items()}
    return {"answers": len(grades["judge"]), "means": means, "kappa": kappas, "unreadable verdicts": judge.unreadable}
