"""The outer loop's E-step: self-edits are sampled, each is studied and rewarded, and the best of a passage is kept.

Flow:    lessons, generator -> [sampling] <-> journal -> samples, winners -> outer loop
Imports: types, protocols, config; the other modules of this stage.

What the journal has is read and not found again: a round that was killed goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from hybrid_memory.config import OuterLoopSettings
from hybrid_memory.protocols import LanguageModel, Progress
from hybrid_memory.selfedit.fitting import Refuses
from hybrid_memory.selfedit.journal import Journal
from hybrid_memory.selfedit.proposals import Proposal, demonstration, propose, read_pairs
from hybrid_memory.selfedit.rewards import Rewarder
from hybrid_memory.types import AdapterVersion, Json, Lesson

__all__ = ["Sample", "Sampling"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One rewarded self-edit."""

    lesson: Lesson
    proposal: Proposal
    reward: float


class Sampling:
    """One round's samples.

    Attributes:
        tokens: how many this round has trained on so far, what it took before a kill included.
        seconds: how long that took.
    """

    def __init__(
        self,
        language_model: LanguageModel,
        rewarder: Rewarder,
        refuses: Refuses,
        *,
        settings: OuterLoopSettings,
        number: int,
        journal: Journal,
        progress: Progress | None,
    ) -> None:
        """`refuses` says whether the generator could be trained to write something; `number` is the round's."""
        self.tokens = 0
        self.seconds = 0.0
        self._lm = language_model
        self._rewarder = rewarder
        self._refuses = refuses
        self._settings = settings
        self._number = number
        self._journal = journal
        self._progress = progress

    def rewarded(
        self, lessons: Sequence[Lesson], generator: AdapterVersion | None, *, seed: int, what: str
    ) -> list[list[Sample]]:
        """Return the samples of each lesson, written by a generator (None: the base); `what` names them in progress."""
        found = []
        for done, lesson in enumerate(lessons, start=1):
            key = f"{generator.id if generator else 'base'} {seed} {_content(lesson)}"
            entry: Any = self._journal.once(key, partial(self._entry, lesson, generator, seed))
            if entry["round"] == self._number:  # what was held out may have been rewarded as the last round's candidate
                self.tokens += entry["tokens"]
                self.seconds += entry["seconds"]
            found.append([self._sample(lesson, text, value) for text, value in entry["samples"]])
            if self._progress is not None:
                self._progress("reward", done, len(lessons), what)
        return found

    def winners(self, samples: Sequence[Sequence[Sample]]) -> list[Sample]:
        """Return the best usable sample of each passage, this round's or an earlier one's, if it taught anything."""
        last = f"winners {self._number - 1}"
        lessons = {row[0].lesson.text: row[0].lesson for row in samples}
        pool = [one for row in samples for one in row]
        for joined, value in _pairs(self._journal[last]) if last in self._journal else []:
            text, written = json.loads(joined)
            pool.append(self._sample(lessons[text], written, value))
        best: dict[str, Sample] = {}
        for one in sorted(pool, key=lambda sample: -sample.reward):
            if one.proposal.items and one.reward > 0:
                best.setdefault(one.lesson.text, one)
        kept: list[Json] = [[json.dumps([one.lesson.text, one.proposal.text]), one.reward] for one in best.values()]
        self._journal.add(f"winners {self._number}", kept)
        return list(best.values())

    def _entry(self, lesson: Lesson, generator: AdapterVersion | None, seed: int) -> Json:
        """Sample and reward one lesson; return it as it stands in the journal."""
        started, before = time.monotonic(), self._rewarder.trained_tokens
        proposals = propose(
            lesson.text,
            self._lm,
            samples=self._settings.samples,
            seed=seed,
            temperature=self._settings.temperature,
            max_new_tokens=self._settings.max_new_tokens,
            adapters=[generator] if generator else (),
        )
        base: Any = self._journal.once(f"base {_content(lesson)}", lambda: self._rewarder.base(lesson))
        rewards = self._rewarder.reward(lesson, [self._usable(lesson, one) for one in proposals], base=base)
        return {
            "round": self._number,
            "samples": [[one.text, value] for one, value in zip(proposals, rewards, strict=True)],
            "tokens": self._rewarder.trained_tokens - before,
            "seconds": round(time.monotonic() - started, 3),
        }

    def _sample(self, lesson: Lesson, text: str, reward: float) -> Sample:
        proposal = Proposal(text, tuple(read_pairs(text, lesson.text)))
        return Sample(lesson, self._usable(lesson, proposal), reward)

    def _usable(self, lesson: Lesson, proposal: Proposal) -> Proposal:
        """Return a proposal, without its pairs if the generator could not be trained to write them."""
        if proposal.items and self._refuses(demonstration(lesson.text, proposal)):
            return replace(proposal, items=())
        return proposal


def _content(lesson: Lesson) -> str:
    return hashlib.sha256(json.dumps(lesson.to_json(), sort_keys=True).encode()).hexdigest()[:12]


def _pairs(value: Json) -> list[tuple[str, float]]:
    """Read [[text, number], …] back from the journal."""
    rows = value if isinstance(value, list) else []
    return [(str(row[0]), float(row[1])) for row in rows if isinstance(row, list)]
