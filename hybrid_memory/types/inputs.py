"""What users hand in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hybrid_memory.types.values import Value

__all__ = ["Example", "Fact", "Lesson", "Preference", "Task", "Turn"]


@dataclass(frozen=True, slots=True)
class Fact(Value):
    """One value of one attribute of one subject; fills a slot, so a newer one replaces it."""

    subject: str
    attribute: str
    value: str
    text: str | None = None
    """The sentence to store; None writes "The <attribute> of <subject> is <value>."."""


@dataclass(frozen=True, slots=True)
class Example(Value):
    """One demonstration: what went in and what should come out."""

    prompt: str
    response: str


@dataclass(frozen=True, slots=True)
class Preference(Value):
    """A rule about how to answer, with demonstrations if there are any."""

    rule: str
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class Task(Value):
    """A named skill, shown by at least two demonstrations; `query(task=name)` asks for it."""

    name: str
    """One line of up to 64 characters. A task of the same name, told with others, replaces it in its scope."""
    demonstrations: Sequence[Example]
    """Kept letter by letter; small grids of digits are also studied, and answered, from other sides."""


@dataclass(frozen=True, slots=True)
class Turn(Value):
    """One chat message. `role` is "system", "user" or "assistant"."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson(Value):
    """A passage with the questions that show whether it was learned: what the outer loop practises on."""

    text: str
    questions: tuple[Example, ...]
    """Question and gold answer; never study material."""
