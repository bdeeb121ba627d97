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
from statistics import fmean

from hybrid_memory.evidence import ask
from hybrid_memory.protocols import CandidateTrainer, LanguageModel
from hybrid_memory.selfedit.graders import contains, normalised
from hybrid_memory.selfedit.proposals import Proposal, studied
from hybrid_memory.statements import content_words
from hybrid_memory.types import Json, Lesson, Turn

__all__ = ["Rewarder", "rubric"]

ANSWER_TOKENS = 24
FULL_MARKS = 6
"""Pairs from which on a sample has full marks for its length."""


class Rewarder:
    """Rewards the proposals of one lesson together."""

    def __init__(self, language_model: LanguageModel, trainer: CandidateTrainer, *, kind: str, seed: int) -> None:
        """Reward by "logprob", "accuracy" or "rubric"; `seed` is that of every inner loop."""
        self._lm = language_model
        self._trainer = trainer
        self._kind = kind
        self._seed = seed
        self.trained_tokens = 0

    def base(self, lesson: Lesson) -> float:
        """Return what the model that has not studied is worth: the same in every round."""
        if self._kind == "rubric":
            return 0.0
        chats, golds = _asked(lesson)
        if self._kind == "accuracy":
            answers = self._lm.generate(chats, max_new_tokens=ANSWER_TOKENS)
            return _accuracy([one.text for one in answers], golds)
        return fmean(self._lm.score(list(zip(chats, golds, strict=True))))

    def reward(self, lesson: Lesson, proposals: Sequence[Proposal], *, base: float | None = None) -> list[float]:
        """Return the reward of each proposal.

        Args:
            lesson: the passage that the proposals were written for.
            proposals: trained together.
            base: what `base` says of this lesson, if that is known already.

        Returns:
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
        chats, golds = _asked(lesson)
        before = self.base(lesson) if base is None else base
        if self._kind == "accuracy":
            answers = stack.generate([chats] * len(distinct), max_new_tokens=ANSWER_TOKENS)
            raw = [_accuracy([one.text for one in row], golds) - before for row in answers]
        else:
            raw = [fmean(row) - before for row in stack.score(list(zip(chats, golds, strict=True)))]
        worth = {
            one: value if math.isfinite(value) and not report["failure"] else 0.0
            for one, value, report in zip(distinct, raw, stack.reports, strict=True)
        }
        return [worth[one] for one in material]


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


def _asked(lesson: Lesson) -> tuple[list[Sequence[Turn]], list[str]]:
    """Return the chats that ask a lesson's questions, and the gold answers."""
    return [ask(one.prompt) for one in lesson.questions], [one.response for one in lesson.questions]


def _accuracy(answers: Sequence[str], golds: Sequence[str]) -> float:
    return fmean(contains(answer, gold) for answer, gold in zip(answers, golds, strict=True))


def _number(value: Json | Mapping[str, Json]) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
