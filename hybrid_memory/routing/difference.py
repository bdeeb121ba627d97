"""What two policies decide differently, key by key.

Flow:    two policies, each with what it extends -> [difference] -> changes.
Imports: the policy reader beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_memory.routing.policy import load_policy
from hybrid_memory.routing.policy_tables import Policy

__all__ = ["Change", "difference"]

_TOLD = {"name", "description", "extends"}


class Change(NamedTuple):
    """One key with its value in either policy; None where it is not set."""

    key: str
    before: Any
    after: Any


def difference(before: str | Path, after: str | Path) -> list[Change]:
    """Return the keys by which two policies differ, sorted; names and descriptions do not count.

    Thresholds are compared as they come out of `[costs]`, rules by name and by their place in the order.

    Raises:
        NotFoundError: there is no such policy.
        PolicyError: one of them cannot be used.
    """
    left, right = (dict(_values(load_policy(policy))) for policy in (before, after))
    return [
        Change(key, left.get(key), right.get(key)) for key in sorted({*left, *right}) if left.get(key) != right.get(key)
    ]


def _values(policy: Policy) -> Iterator[tuple[str, Any]]:
    data = policy.model_dump(mode="json", exclude=_TOLD)
    data["thresholds"] |= {"durable": policy.durable, "fact": policy.fact}
    for place, rule in enumerate(data.pop("rules")):
        match = {key: value for key, value in rule["match"].items() if value not in (None, {})}
        yield f"rules.{rule['name']}", {"place": place + 1, "match": match, "route": rule["route"]}
    yield from _flat(data, "")


def _flat(data: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        elif value is not None:
            yield f"{above}{key}", value
