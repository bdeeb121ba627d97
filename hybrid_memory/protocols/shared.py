"""What several stages are given: conditions, somebody to tell about progress, a model that only writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeAlias

from hybrid_memory.types import Json

__all__ = ["Filters", "Progress", "TextModel"]

Filters: TypeAlias = Mapping[str, Json]
"""`{"source": "wiki"}`, `{"metadata.city": {"in": ["Oslo"]}}`, `{"or": [{...}, {...}]}`."""


class Progress(Protocol):
    """Told how far a long stage is; the CLI draws a bar from it."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """`stage` names the work, `done` of `total` units are finished, `note` is a rate or a name."""
        ...


class TextModel(Protocol):
    """A language model that only writes, as LlamaIndex has them: the reply is text, or has the text as `.text`."""

    def complete(self, prompt: str) -> object:
        """Return the continuation of a prompt."""
        ...
