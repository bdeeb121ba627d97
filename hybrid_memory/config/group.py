"""What every group of settings has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Group"]


class Group(BaseModel):
    """Frozen; an unknown name is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
