"""What a self-edit is worth: what it did to the model that studied it.

Flow:    proposals of one passage -> [rewards] -> outer loop
Imports: types, protocols, evidence; the other modules of this stage.

All proposals of a passage are trained from one initialisation in one order (common random numbers), so that their
rewards differ by their text alone: with seeds of their own, the mean of three runs ranks SEAL's candidates with a
reliability of only 0.17 to 0.45 (SEAL's result files).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from hybrid_memory.evidence import ask
from hybrid_memory.protocols import CandidateTrainer, LanguageModel
from hybrid_memory.selfedit.graders import contains, normalised
from hybrid_memory.selfedit.proposals import Proposal, studied
from hybrid_memory.selfedit.statements import content_words
from hybrid_memory.types import Json, Lesson, Turn

__all__ = ["Rewarder", "rubric"]

ANSWER_TOKENS = 24
FULL_MARKS = 6
"""Pairs from which on a sample has full marks for its length."""


@dataclass(slots=True)
class _Base:
    """What the model answers without having studied: asked once per lesson."""

    logprob: float | None = None
    accuracy: float | None = None


class Rewarder:
    """Rewards the proposals of one lesson together."""

    def __init__(self, language_model: LanguageModel, trainer: CandidateTrainer, *, kind: str, seed: int) -> None:
        """Reward by "logprob", "accuracy" or "rubric"; `seed` is that of every inner loop."""
        self._lm = language_model
        self._trainer = trainer
        self._kind = kind
        self._seed = seed
        self._base: dict[Lesson, _Base] = {}
        self.trained_tokens = 0

    def reward(self, lesson: Lesson, proposals: Sequence[Proposal]) -> list[float]:
        """Return the reward of each proposal.

        "logprob": how much likelier the gold answers became, mean nats per token, closed-book.
        "accuracy": how many more of the answers contain the gold answer, as a share.
        "rubric": what the text looks like, in [0, 1]; nothing is trained. See `rubric`.

        A proposal with nothing usable is worth what the passage alone is worth; one whose loss or reward became no
        number is worth nothing (0).
        """
        if self._kind == "rubric":
            return [rubric(lesson.text, proposal) for proposal in proposals]
        material = [tuple(studied(lesson.text, proposal)) for proposal in proposals]
        distinct = list(dict.fromkeys(material))
        stack = self._trainer.train(distinct, seed=self._seed)
        self.trained_tokens += sum(int(_number(report["tokens"])) for report in stack.reports)
        chats: list[Sequence[Turn]] = [ask(one.prompt) for one in lesson.questions]
        golds = [one.response for one in lesson.questions]
        if self._kind == "accuracy":
            answers = stack.generate([chats] * len(distinct), max_new_tokens=ANSWER_TOKENS)
            base = self._base_accuracy(lesson, chats, golds)
            raw = [_accuracy([one.text for one in row], golds) - base for row in answers]
        else:
            base = self._base_logprob(lesson, chats, golds)
            raw = [fmean(row) - base for row in stack.score(list(zip(chats, golds, strict=True)))]
        worth = {
            one: value if math.isfinite(value) and not report["failure"] else 0.0
            for one, value, report in zip(distinct, raw, stack.reports, strict=True)
        }
        return [worth[one] for one in material]

    def _base_logprob(self, lesson: Lesson, chats: Sequence[Sequence[Turn]], golds: Sequence[str]) -> float:
        base = self._base.setdefault(lesson, _Base())
        if base.logprob is None:
            base.logprob = fmean(self._lm.score(list(zip(chats, golds, strict=True))))
        return base.logprob

    def _base_accuracy(self, lesson: Lesson, chats: Sequence[Sequence[Turn]], golds: Sequence[str]) -> float:
        base = self._base.setdefault(lesson, _Base())
        if base.accuracy is None:
            answers = self._lm.generate(chats, max_new_tokens=ANSWER_TOKENS)
            base.accuracy = _accuracy([one.text for one in answers], golds)
        return base.accuracy


def rubric(text: str, proposal: Proposal) -> float:
    """Return the mean of four marks in [0, 1]: length, diversity, support, coverage.

    The four that SEAL's later code lets GPT-4.1 rate (length, diversity, quality, correctness), by rule: how many
    pairs there are, how many of their answers are distinct, how many answers stand in the passage, and what share
    of the passage's words of meaning the pairs use. It costs no training.
    """
    if not proposal.items:
        return 0.0
    answers = [normalised(item.response) for item in proposal.items]
    words = {word.casefold() for word in content_words(text)}
    used = {word.casefold() for item in proposal.items for word in content_words(f"{item.prompt} {item.response}")}
    return fmean(
        [
            min(1.0, len(answers) / FULL_MARKS),
            len(set(answers)) / len(answers),
            fmean(contains(text, item.response) for item in proposal.items),
            len(words & used) / max(1, len(words)),
        ]
    )


def _accuracy(answers: Sequence[str], golds: Sequence[str]) -> float:
    return fmean(contains(answer, gold) for answer, gold in zip(answers, golds, strict=True))


def _number(value: Json | Mapping[str, Json]) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
