"""Study material for what is learned from demonstrations: examples and tasks as they are, preferences practised.

Flow:    records -> [demonstrations] -> verification, consolidation
Imports: types, protocols, forms, grids, ordinary; the other modules of this stage.

Whoever writes about statements, these need nobody to write them.
"""

from __future__ import annotations

from hybrid_memory.forms import shapes_behaviour
from hybrid_memory.grids import all_grids, bare
from hybrid_memory.ordinary import read_facts, study_prompts
from hybrid_memory.protocols import LanguageModel
from hybrid_memory.selfedit.compiled import random_of
from hybrid_memory.selfedit.few_shot import study
from hybrid_memory.selfedit.neighbours import Neighbours
from hybrid_memory.selfedit.preferences import practice
from hybrid_memory.selfedit.task_trials import Chosen, TaskTrials
from hybrid_memory.types import Directives, Example, Kind, Record, SelfEdit, StudyItem

__all__ = ["DemonstrationGenerator"]

LABELLING = Directives(learning_rate=2e-3, epochs=6, acts_on="all")
"""Demonstrations, each studied by itself. Labels scored right on unseen texts, two tuning sets (64 and 100 texts, 72
examples each): 29 and 41 at 1e-3 and four epochs, 48 and 80 at this, 48 and not tried at nine (benchmarks/LOG.md).
The adapter acts on the text too, which is what has to be told apart: 54 and 47 (two seeds) in place of 48 and 42."""
PRACTISING = Directives(learning_rate=1.5e-3, epochs=5)
"""A preference is always on, so it must not pull at anything else. Development company, in a full memory: 18 of 24
followed at this (drift 0.38 nats a token at 0.85 of its strength, probe 0.8 points down) and at 2e-3 and four epochs
(0.45, 2.5 points down); at 2e-3 and nine epochs the drift was 1.46."""
SEEN_FROM_SIDES = Directives(augmentations=("flips",))
"""A task of grids is also studied in the mirror and upside down: the fixed choice of benchmarks/few_shot.py."""
PRACTICE_HELD_OUT = 4


class DemonstrationGenerator:
    """Repeats examples and tasks, and practises preferences on the model's own answers; nothing about statements."""

    name = "demonstrations"

    def __init__(self, language_model: LanguageModel, neighbours: Neighbours, trials: TaskTrials | None = None) -> None:
        """Practise with this model; what the gate asks of an example has words swapped for `neighbours`.

        Without `trials` every task is studied in the fixed way, untried.
        """
        self._lm = language_model
        self._neighbours = neighbours
        self._trials = trials

    def write(self, record: Record, *, seed: int) -> SelfEdit:
        """Return a record's self-edit, deterministic for the record, a seed and a model."""
        if record.kind is Kind.TASK:
            return self._task(record, seed)
        items = self._given(record, seed) if record.examples else []
        if shapes_behaviour(record):
            items += practice(record.text, study_prompts(), self._lm, facts=read_facts(), held_out=PRACTICE_HELD_OUT)
        asked = _directives(record)
        return SelfEdit(record_id=record.id, items=tuple(items), generator=self.name, seed=seed, directives=asked)

    def _task(self, record: Record, seed: int) -> SelfEdit:
        """Return a task's demonstrations; grids in one form, and from other sides too."""
        shown, asked = record.examples, Directives()
        if all_grids(text for one in shown for text in (one.prompt, one.response)):
            shown, asked = tuple(Example(bare(one.prompt), bare(one.response)) for one in shown), SEEN_FROM_SIDES
        chosen = self._trials.choose(shown, asked, seed=seed) if self._trials else Chosen(asked, {})
        return SelfEdit(
            record_id=record.id,
            items=() if chosen.directives is None else tuple(study(shown, chosen.directives)),
            generator=self.name,
            seed=seed,
            directives=chosen.directives or Directives(),
            dropped=chosen.dropped,
        )

    def _given(self, record: Record, seed: int) -> list[StudyItem]:
        """Return each example as it is, and one of them in other words for the gate."""
        random = random_of(record.content_hash, seed)
        self._neighbours.learn(record.text)
        items = [
            StudyItem(prompt=example.prompt, response=example.response, form="demonstration")
            for example in record.examples
        ]
        probe = random.choice(record.examples)
        varied = self._neighbours.vary(probe.prompt, random, share=0.5)
        if record.kind is Kind.EXAMPLE and varied != probe.prompt:
            items.append(StudyItem(prompt=varied, response=probe.response, form="demonstration", held_out=True))
        return items


def _directives(record: Record) -> Directives:
    """Return what the inner loop is asked for, by what is to be learned."""
    if record.kind is Kind.EXAMPLE:
        return LABELLING
    return PRACTISING if shapes_behaviour(record) else Directives()
