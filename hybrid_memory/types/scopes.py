"""Whose knowledge it is, and which place it fills."""

from __future__ import annotations

from dataclasses import dataclass

from hybrid_memory.types.values import Value

__all__ = ["Scope", "Slot"]


@dataclass(frozen=True, slots=True)
class Scope(Value):
    """Whose knowledge it is. None means "everybody below": an empty scope is the organisation's.

    A query in scope Q sees a record in scope R when every field of R is None or equal to Q's
    field, so a user sees the organisation's knowledge and their own, never another user's.
    """

    tenant_id: str | None = None
    user_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None

    def sees(self, other: Scope) -> bool:
        """Tell whether a query in this scope may see a record of scope `other`."""
        return all(theirs is None or theirs == ours for ours, theirs in zip(self.values(), other.values(), strict=True))

    def covers(self, other: Scope) -> bool:
        """Tell whether `other` lies inside this scope: every field set here has the same value there."""
        return all(ours is None or ours == theirs for ours, theirs in zip(self.values(), other.values(), strict=True))

    def values(self) -> tuple[str | None, ...]:
        """Return (tenant_id, user_id, agent_id, run_id)."""
        return (self.tenant_id, self.user_id, self.agent_id, self.run_id)

    @property
    def name(self) -> str:
        """A short name: "everyone", or "user_id=ann agent_id=bot"."""
        given = [f"{key}={value}" for key, value in zip(self.keys(), self.values(), strict=True) if value is not None]
        return " ".join(given) or "everyone"


@dataclass(frozen=True, slots=True)
class Slot(Value):
    """A place that holds one current value: (subject, attribute), case and spaces folded."""

    subject: str
    attribute: str

    @property
    def key(self) -> str:
        """The normalised text that decides equality in the ledger: "subject | attribute".

        >>> Slot("a | b", "c").key == Slot("a", "b | c").key
        False
        """
        parts = (self.subject, self.attribute)
        return " | ".join(" ".join(part.casefold().split()).replace("|", r"\|") for part in parts)
