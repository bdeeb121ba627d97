"""Remarks on a policy that is valid and may still not do what its writer meant.

Flow:    policy file -> [lint] -> remarks with line and column -> command line.
Imports: errors, types, and the policy reader beside it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_memory.errors import PolicyError
from hybrid_memory.routing.policy import load_policy, source_of, text_of
from hybrid_memory.routing.policy_tables import Match, Policy
from hybrid_memory.routing.toml_lines import place_of
from hybrid_memory.types import Trust, quoted

__all__ = ["Remark", "lint"]

SLOW_REPEATS = re.compile(r"\([^()]*[+*][^()]*\)[+*]")
"""A repeated group that repeats inside: such patterns can take exponential time."""


class Remark(NamedTuple):
    """One thing to look at. Lines and columns count from 1; 0 when a mistake stops the file from being read."""

    line: int
    column: int
    text: str
    error: bool = False


def lint(name_or_path: str | Path) -> list[Remark]:
    """Return what is wrong with a policy file, and what looks wrong; empty when there is nothing to say.

    Raises:
        NotFoundError: there is no such policy or file.
    """
    name, path = source_of(name_or_path)
    try:
        policy = load_policy(name_or_path)
    except PolicyError as error:
        return [Remark(0, 0, line, error=True) for line in str(error).splitlines()]
    text = text_of(name, path) or ""
    own = tomllib.loads(text)
    remarks = [*_of_rules(own), *_of_values(own, policy)]
    return sorted(Remark(*place_of(text, keys), said) for keys, said in remarks)


def _of_rules(own: Mapping[str, Any]) -> Iterator[tuple[tuple[int | str, ...], str]]:
    before: list[tuple[str, dict[str, Any]]] = []
    for number, rule in enumerate(own.get("rules", [])):
        match = Match.model_validate(rule.get("match", {})).model_dump(exclude_defaults=True)
        shadow = next((name for name, wider in before if wider.items() <= match.items()), None)
        if shadow is not None:
            yield (
                ("rules", number),
                f"rule {quoted(rule['name'])} is never reached: {quoted(shadow)} above it matches all that it does",
            )
        if any(rule["name"] == name for name, _ in before):
            yield (
                ("rules", number, "name"),
                f"two rules are named {quoted(rule['name'])}; reasons would not tell them apart",
            )
        yield from _of_pattern(number, str(rule.get("match", {}).get("pattern", "")))
        before.append((rule["name"], match))


def _of_pattern(number: int, pattern: str) -> Iterator[tuple[tuple[int | str, ...], str]]:
    place = ("rules", number, "match", "pattern")
    if pattern and re.search(pattern, "") is not None:
        yield place, f"the pattern {quoted(pattern)} matches every text, since it matches the empty one"
    if SLOW_REPEATS.search(pattern):
        yield place, f"the pattern {quoted(pattern)} repeats a repetition and may take very long on some texts"


def _of_values(own: Mapping[str, Any], policy: Policy) -> Iterator[tuple[tuple[int | str, ...], str]]:
    if policy.fact < policy.durable:
        yield (
            ("thresholds", "fact"),
            f"plain facts are learned from {policy.fact:g} on, earlier than behaviour ({policy.durable:g}); "
            "a wrong fact goes stale in the weights",
        )
    if policy.ladder.external is not None and policy.ladder.external < policy.ladder.user:
        yield (
            ("ladder", "external"),
            f"others need {policy.ladder.external} sources, users {policy.ladder.user}; do strangers need more?",
        )
    if policy.sensitivity.personal.value == "learn":
        yield ("sensitivity", "personal"), "personal identifiers may be learned; weights cannot be searched for them"
    if "costs" in own and {"durable", "fact"} <= set(own.get("thresholds", {})):
        yield ("costs",), "[costs] decides nothing here: [thresholds] sets both durable and fact"
    for number, rule in enumerate(own.get("rules", [])):
        if rule["route"] == "learn" and rule.get("match", {}).get("trust") == Trust.EXTERNAL:
            yield ("rules", number, "route"), f"rule {quoted(rule['name'])} cannot lift external texts over the ladder"
