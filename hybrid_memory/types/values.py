"""What all values share: they read like a dict and turn into JSON; and the aliases of arrays and JSON."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hybrid_memory.types.quoting import quoted

__all__ = ["LARGEST", "FloatArray", "IdArray", "Json", "Value", "finite", "nested_deeper", "plain", "unkeepable"]

LARGEST = 2**31 - 1
"""The greatest whole number that is taken from a user: what databases, NumPy and PyTorch all count to."""

FloatArray: TypeAlias = npt.NDArray[np.float32]
IdArray: TypeAlias = npt.NDArray[np.int64]
Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"


class Value:
    """Lets a frozen dataclass be read like a dict, and turned into JSON-ready data."""

    def __getitem__(self, name: str) -> object:
        """Return the field of that name; KeyError lists the fields there are."""
        if name not in self.keys():
            raise KeyError(f"{type(self).__name__} has no field {quoted(name)}; it has {', '.join(self.keys())}")
        return getattr(self, name)

    def keys(self) -> list[str]:
        """Return the field names, in order; makes `dict(value)` work."""
        return list(_field_names(type(self)))  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the field names, as a dict does."""
        return iter(self.keys())

    def to_json(self) -> dict[str, Json]:
        """Return plain data that `json.dumps` accepts: enums as values, times as ISO 8601."""
        return {name: plain(getattr(self, name)) for name in _field_names(type(self))}  # type: ignore[arg-type]


@cache
def _field_names(kind: type[Value]) -> tuple[str, ...]:
    return tuple(item.name for item in dataclasses.fields(kind))  # type: ignore[arg-type]


_PLAIN = frozenset({str, int, float, bool, type(None)})


def plain(value: object) -> Json:
    """Return plain data that `json.dumps` accepts: enums as values, times as ISO 8601, sequences as lists."""
    if type(value) in _PLAIN:
        return value  # type: ignore[return-value]  # most values are: the other questions take ten times as long
    if isinstance(value, Value):
        return value.to_json()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.tolist()]
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool) else str(value)


def finite(value: Any) -> Any:
    """Replace what JSON has no word for: nan (a passage that only the words found) and infinities become None.

    >>> finite({"similarity": float("nan"), "score": 0.5})
    {'similarity': None, 'score': 0.5}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [finite(item) for item in value]
    return value


_SURROGATE = re.compile("[\ud800-\udfff]")


def unkeepable(value: object) -> str | None:
    r"""Name what no database keeps in a text, or in any text of JSON data; None when all can be kept.

    >>> unkeepable({"a": ["b", "c\0"]})
    'a NUL character'
    """
    if isinstance(value, str):
        return "a NUL character" if "\0" in value else "a lone surrogate" if _SURROGATE.search(value) else None
    if isinstance(value, Mapping):
        value = [part for pair in value.items() for part in pair]
    if not isinstance(value, list | tuple):
        return None
    return next((found for part in value if (found := unkeepable(part)) is not None), None)


def nested_deeper(value: object, levels: int) -> bool:
    """Tell whether JSON data has lists or objects inside each other on more than so many levels."""
    if not isinstance(value, Mapping | list | tuple):
        return False
    parts = value.values() if isinstance(value, Mapping) else value
    return levels < 1 or any(nested_deeper(part, levels - 1) for part in parts)
