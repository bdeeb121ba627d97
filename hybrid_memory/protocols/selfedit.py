"""What the self-edit stage offers, its outer loop included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hybrid_memory.protocols.shared import Progress
from hybrid_memory.types import GeneratorReport, Lesson, Record, SelfEdit

__all__ = ["GeneratorTrainer", "SelfEditGenerator"]


class SelfEditGenerator(Protocol):
    """Writes study material for one record at a time, so that nothing else in a window has a part in it."""

    @property
    def name(self) -> str:
        """How it appears in provenance, such as "model" or "compiled"."""
        ...

    def write(self, record: Record, *, seed: int) -> SelfEdit:
        """Return what to study of a record; an empty self-edit says in `dropped` why.

        Raises:
            TeacherError: whoever was to write could not be asked.
        """
        ...


class GeneratorTrainer(Protocol):
    """The outer loop: the generator learns from what its self-edits did."""

    def run(self, lessons: Sequence[Lesson], *, rounds: int = 1, progress: Progress | None = None) -> GeneratorReport:
        """Sample, adapt, reward, select, train, gate; a run that was killed is continued by the same call."""
        ...
