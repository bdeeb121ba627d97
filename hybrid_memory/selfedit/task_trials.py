"""Choose how a task is studied: self-edits are tried on each of its demonstrations while that one is left out.

Flow:    demonstrations -> the fixed self-edit, and sampled ones -> [task trials] -> the one that answers most
Imports: errors, types, protocols; the few-shot domain of this stage.

The reward is SEAL's of this domain, right to the letter or not, with a demonstration in place of a query. An adapter
that answers fewer of them than the other demonstrations do in context is not worth having.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hybrid_memory.errors import ConsolidationError, InputError
from hybrid_memory.protocols import CandidateTrainer, LanguageModel
from hybrid_memory.selfedit.few_shot import FewShotSolver, Puzzle, propose, reward
from hybrid_memory.types import Directives, Example

__all__ = ["Chosen", "TaskTrials"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """How to study a task."""

    directives: Directives | None
    """None: not at all, in context it is answered better."""
    dropped: Mapping[str, int]
    """What was not chosen, or could not be read, and why."""


class TaskTrials:
    """Tries self-edits of tasks, those of one task together."""

    def __init__(self, language_model: LanguageModel, trainer: CandidateTrainer, *, samples: int) -> None:
        """Sample so many self-edits of each task that has views to choose from."""
        self._lm = language_model
        self._trainer = trainer
        self._samples = samples

    def choose(self, shown: Sequence[Example], fixed: Directives, *, seed: int) -> Chosen:
        """Return the self-edit under which most demonstrations are answered; of equally good ones the first.

        Args:
            shown: the task's demonstrations, in the form in which they are studied.
            fixed: always among the choices, and the only one for a task without views.
            seed: of the samples and the inner loops.
        """
        dropped: Counter[str] = Counter()
        choices = [fixed]
        if fixed.augmentations:
            puzzle = Puzzle(tuple(shown), ())
            for edit in propose(puzzle, self._lm, samples=self._samples, seed=seed):
                dropped.update(edit.refused)
                asked = edit.directives
                # only what a trial shows: candidates that are tried together share their layers and their loss
                way = Directives(
                    augmentations=asked.augmentations, learning_rate=asked.learning_rate, epochs=asked.epochs
                )
                choices += [way] if way != Directives() else []
        choices = list(dict.fromkeys(choices))
        try:
            worth, in_context = self._right(shown, choices, seed)
        except (InputError, ConsolidationError) as error:  # the shard's own training says what becomes of it
            return Chosen(fixed, {**dropped, f"self-edits were not tried: {error}": 1})
        best = max(choices, key=lambda one: worth[one])
        left_out = f"of {len(shown)} demonstrations, each left out once"
        if in_context > worth[best]:
            why = f"{worth[best]} {left_out}, were right by an adapter, {in_context} in context"
            return Chosen(None, {**dropped, why: 1})
        losers = (one for one in choices if one != best)
        against = f"{left_out}, were right, {worth[best]} under the one that was chosen"
        return Chosen(best, {**dropped, **{f"{_said(one)}: {worth[one]} {against}": 1 for one in losers}})

    def _right(
        self, shown: Sequence[Example], choices: Sequence[Directives], seed: int
    ) -> tuple[Counter[Directives], int]:
        """Return how many demonstrations are right when left out, under each choice and in context."""
        solver = FewShotSolver(self._lm, self._trainer, max_new_tokens=max(len(one.response) for one in shown))
        worth: Counter[Directives] = Counter()
        in_context = 0
        for place, left in enumerate(shown):
            puzzle = Puzzle((*shown[:place], *shown[place + 1 :]), (left,))
            in_context += int(reward(puzzle, solver.in_context(puzzle)))
            for choice, answers in zip(choices, solver.solve(puzzle, choices, seed=seed), strict=True):
                worth[choice] += int(reward(puzzle, answers))
        return worth, in_context


def _said(directives: Directives) -> str:
    """Return what directives ask for, on one line."""
    asked = {
        "augmentations": ", ".join(directives.augmentations or ()),
        "learning rate": directives.learning_rate,
        "epochs": directives.epochs,
    }
    return "; ".join(f"{name} {value}" for name, value in asked.items() if value)
