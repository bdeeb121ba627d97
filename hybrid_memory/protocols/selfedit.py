"""What the self-edit stage offers, its outer loop included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hybrid_memory.protocols.shared import Progress
from hybrid_memory.types import GeneratorReport, Lesson, Record, SelfEdit

__all__ = ["GeneratorTrainer", "SelfEditGenerator"]


class SelfEditGenerator(Protocol):
    """Writes study material for records."""

    @property
    def name(self) -> str:
        """How it appears in provenance, such as "model" or "compiled"."""
        ...

    def write(self, records: Sequence[Record], *, seed: int, progress: Progress | None = None) -> list[SelfEdit]:
        """Return one self-edit per record, in order; an empty one says in `dropped` why.

        Raises:
            TeacherError: whoever was to write could not be asked.
        """
        ...


class GeneratorTrainer(Protocol):
    """The outer loop: the generator learns from what its self-edits did."""

    def run(self, lessons: Sequence[Lesson], *, rounds: int = 1, progress: Progress | None = None) -> GeneratorReport:
        """Sample, adapt, reward, select, train, gate; a run that was killed is continued by the same call."""
        ...
