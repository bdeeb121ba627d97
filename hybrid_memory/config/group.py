"""What every group of settings has in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from hybrid_memory.types import LARGEST, quoted

__all__ = ["Group"]


class Group(BaseModel):
    """Frozen; an unknown name is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*")
    @classmethod
    def _can_be_counted(cls, value: Any) -> Any:
        if isinstance(value, int) and abs(value) > LARGEST:
            raise ValueError(f"whole numbers go up to {LARGEST}, got {quoted(value)}")
        return value
