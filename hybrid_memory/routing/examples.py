"""The table of examples beside a policy: texts with the route that they should take.

Flow:    <policy>.examples.toml -> [examples] -> cases -> rehearsal, fitting.
Imports: errors, types, and the policy reader beside it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from hybrid_memory.errors import NotFoundError
from hybrid_memory.routing.policy import EXAMPLES, checked, source_of, text_of
from hybrid_memory.types import Kind, Route, Trust

__all__ = ["Case", "examples_file", "examples_of"]


class Case(BaseModel):
    """One text, who says it, and where it should go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: Annotated[str, Field(min_length=1)]
    route: Route
    trust: Trust = Trust.USER
    source: str = "example"
    kind: Kind | None = None
    """As the caller states it: "preference" and "example" are explicit."""
    attribute: str | None = None
    """Fills a slot with this attribute, so that the value may be replaced."""
    sources: Annotated[int, Field(ge=1)] = 1
    """How many distinct sources have said it, this one included."""
    metadata: Mapping[str, str | int | float | bool] = Field(default_factory=dict)
    volatility: Literal["never", "slow", "fast"] | None = None
    """How fast it changes, if it is known: teaches `policy fit` more than the route does."""
    behaviour: bool | None = None
    """Whether it should shape behaviour, if it is known; likewise."""
    why: str = ""


class _Cases(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    examples: tuple[Case, ...]


def examples_of(policy: str | Path) -> tuple[Case, ...]:
    """Return the examples kept beside a policy: `ours.examples.toml` beside `ours.toml`.

    Raises:
        NotFoundError: there is no such policy, or no examples beside it.
        PolicyError: the file cannot be used; the message has file, line and column.
    """
    name, path = source_of(policy)
    text = text_of(name, path, EXAMPLES)
    beside = f"{path.with_suffix('')}{EXAMPLES}" if path else f"policies/{name}{EXAMPLES}"
    if text is None:
        raise NotFoundError(f"there is no table of examples {beside}; write [[examples]] with text and route into it")
    return _read(text, beside)


def examples_file(path: Path) -> tuple[Case, ...]:
    """Return the examples of any TOML file with `[[examples]]`.

    Raises:
        NotFoundError: there is no such file.
        PolicyError: as `examples_of`.
    """
    if not path.is_file():
        raise NotFoundError(f"there is no file {path} with examples")
    return _read(path.read_text(encoding="utf-8"), str(path))


def _read(text: str, label: str) -> tuple[Case, ...]:
    checked(text, label, _Cases)
    return _Cases.model_validate(tomllib.loads(text)).examples
