"""Read a routing policy: TOML in, checked frozen values out.

Flow:     policies/*.toml -> [policy] -> router.
Imports:  errors, types.
Policies: data files under policies/ (packaged as hybrid_memory.policies) or the user's own,
          read here and nowhere else.

A policy may extend another: its tables override key by key, its rules are asked first.
Every error names file, line and column.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from hybrid_memory.errors import NotFoundError, PolicyError
from hybrid_memory.routing.toml_lines import place_of
from hybrid_memory.types import Kind, Route, Trust

__all__ = [
    "Ladder",
    "Lifetimes",
    "Match",
    "Policy",
    "Rule",
    "Sensitive",
    "Slots",
    "Thresholds",
    "list_policies",
    "load_policy",
]

Share = Annotated[float, Field(ge=0, le=1)]
Days = Annotated[float, Field(gt=0)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Thresholds(_Table):
    """How sure the classifier must be. All are probabilities in [0, 1]."""

    durable: Share = 0.6
    """Least p_durable of a behaviour-shaping text that may be learned."""
    behaviour: Share = 0.5
    """Least p_behaviour of a text that counts as behaviour-shaping."""
    fact: Share = 0.9
    """Least p_durable of a plain fact that may be learned; 1.0 keeps plain facts in retrieval."""
    chatter: Share = 0.8
    """Least probability of small talk at which a text is dropped; 1.0 never drops."""
    margin: Share = 0.03
    """Closer than this to `durable`, `behaviour` or `fact` counts as undecided, and goes to retrieval."""


class Ladder(_Table):
    """How many distinct sources must say a thing before it may enter the weights. Operators pass at once."""

    user: Annotated[int, Field(ge=1)] = 2
    """For what users say."""
    explicit: Annotated[int, Field(ge=1)] = 1
    """For what users hand in as a Preference or an Example: they have said that they mean it."""
    external: Annotated[int, Field(ge=2)] = 3
    """For everybody else; never one utterance."""


class Sensitive(_Table):
    """What becomes of texts in which a screen saw something."""

    personal: Route = Route.RETRIEVE
    """Identifiers of a person: e-mail addresses, phone numbers, dates of birth. "learn" lifts the ban."""
    secret: Literal[Route.RETRIEVE, Route.DROP, Route.QUARANTINE] = Route.QUARANTINE
    """Passwords, keys, card numbers; these are never learned."""
    instruction: Literal[Route.RETRIEVE, Route.DROP, Route.QUARANTINE] = Route.QUARANTINE
    """Instructions hidden in external data. From users they are marked and not learned; from operators marked."""


class Lifetimes(_Table):
    """Days after which a text that stays in retrieval expires; None keeps it until it is replaced."""

    fast: Days | None = None
    slow: Days | None = None


class Slots(_Table):
    """Facts that fill a slot have been declared replaceable, so they stay in retrieval."""

    durable: tuple[str, ...] = ()
    """Attributes (globs, case folded) whose facts may be learned all the same, such as "founded*"."""


class Match(_Table):
    """When a rule applies: every condition given must hold; none given always holds."""

    kind: Kind | None = None
    """The kind the caller stated."""
    source: str | None = None
    """Glob on the source, such as "handbook/*"."""
    trust: Trust | None = None
    pattern: str | None = None
    """Regular expression searched in the text, upper and lower case alike."""
    attribute: str | None = None
    """Glob on the slot's attribute, case folded."""
    slot: bool | None = None
    """Whether the text fills a slot, so that its value may be replaced."""
    metadata: Mapping[str, str | int | float | bool] = Field(default_factory=dict)
    """Values that the metadata must have."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"not a regular expression ({error})") from error
        return pattern


class Rule(_Table):
    """A hard rule: decides before the classifier is asked. The first rule that matches wins."""

    name: Annotated[str, Field(min_length=1)]
    match: Match = Match()
    route: Route
    reason: str = ""
    """Shown in the decision; the rule's name when empty."""


class Policy(_Table):
    """All that a router needs to know, with what it extends already merged in."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    description: str = ""
    extends: str | None = None
    thresholds: Thresholds = Thresholds()
    ladder: Ladder = Ladder()
    sensitivity: Sensitive = Sensitive()
    lifetimes: Lifetimes = Lifetimes()
    slots: Slots = Slots()
    rules: tuple[Rule, ...] = ()

    @property
    def fingerprint(self) -> str:
        """12 hex digits of the SHA-256 of the merged policy as JSON."""
        text = json.dumps(self.model_dump(mode="json", exclude={"description", "extends"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def list_policies() -> list[str]:
    """Return the names of the shipped policies, sorted."""
    return sorted(Path(item.name).stem for item in _shipped().iterdir() if item.name.endswith(".toml"))


def load_policy(name_or_path: str | Path) -> Policy:
    """Return a shipped policy by name, or the user's own by path.

    Raises:
        NotFoundError: there is no such policy or file.
        PolicyError: the file cannot be used; the message has file, line and column.
    """
    given = str(name_or_path)
    if given in list_policies():
        merged = _merged(given, None, ())
    elif Path(given).is_file():
        merged = _merged(given, Path(given), ())
    else:
        raise NotFoundError(f"there is no policy {given!r}; {_known(given)}, or give the path of a TOML file")
    return Policy.model_validate(merged)


def _shipped() -> Any:
    # Traversable moved from importlib.abc to importlib.resources.abc in 3.11 and left the old place in 3.14.
    return resources.files("hybrid_memory.policies")


def _known(name: str) -> str:
    near = difflib.get_close_matches(name, list_policies(), n=1)
    return f"did you mean {near[0]!r}?" if near else f"shipped are {', '.join(list_policies())}"


def _merged(name: str, path: Path | None, above: tuple[str, ...]) -> dict[str, Any]:
    """Return the tables of a policy with those it extends merged in."""
    label = str(path) if path else f"policies/{name}.toml"
    text = path.read_text(encoding="utf-8") if path else (_shipped() / f"{name}.toml").read_text(encoding="utf-8")
    tables = _checked(text, label)
    parent = tables.get("extends")
    if parent is None:
        return tables
    place = _at(text, label, ("extends",))
    beside = path.parent / parent if path else None
    if label in above:
        circle = " -> ".join((*above, label))
        raise PolicyError(f"{place}: policies extend each other: {circle}")
    if beside is not None and beside.is_file():
        base = _merged(parent, beside, (*above, label))
    elif parent in list_policies():
        base = _merged(parent, None, (*above, label))
    else:
        raise PolicyError(f"{place}: there is no policy {parent!r} to extend; {_known(parent)}")
    return _overlaid(base, tables)


def _overlaid(base: Mapping[str, Any], tables: Mapping[str, Any]) -> dict[str, Any]:
    merged = {key: value for key, value in base.items() if key not in ("name", "description", "extends")}
    for key, value in tables.items():
        if key == "rules":
            merged["rules"] = [*value, *base.get("rules", [])]
        elif isinstance(value, Mapping):
            merged[key] = {**base.get(key, {}), **value}
        else:
            merged[key] = value
    return merged


def _checked(text: str, label: str) -> dict[str, Any]:
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The message already ends in "(at line 3, column 9)".
        raise PolicyError(f"{label} is not valid TOML: {error}") from error
    try:
        Policy.model_validate(tables)
    except ValidationError as error:
        raise PolicyError("\n".join(_sentences(error, text, label))) from error
    return tables


def _sentences(error: ValidationError, text: str, label: str) -> Iterator[str]:
    for problem in sorted(error.errors(), key=lambda problem: place_of(text, problem["loc"])):
        keys = problem["loc"]
        name = ".".join(str(key) for key in keys)
        if problem["type"] == "extra_forbidden":
            names = _names(keys[:-1])
            near = difflib.get_close_matches(str(keys[-1]), names, n=1)
            what = f"unknown key {name}; " + (f"did you mean {near[0]}?" if near else f"known: {', '.join(names)}")
        elif problem["type"] == "missing":
            what = f"{name} is missing"
        else:
            what = f"{name}: {problem['msg'].removeprefix('Value error, ').lower()}, got {problem['input']!r}"
            what += _nearest(problem["input"], problem.get("ctx", {}).get("expected", ""))
        yield f"{_at(text, label, keys)}: {what}"


def _nearest(given: object, expected: str) -> str:
    near = difflib.get_close_matches(str(given), re.findall(r"'(\w+)'", expected), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _names(keys: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the table at this place may have."""
    parts = [key for key in keys if isinstance(key, str)]
    tables: dict[str, type[_Table]] = {
        "": Policy, "thresholds": Thresholds, "ladder": Ladder, "sensitivity": Sensitive, "lifetimes": Lifetimes,
        "slots": Slots, "rules": Rule, "rules.match": Match,
    }  # fmt: skip
    return list(tables[".".join(parts)].model_fields)


def _at(text: str, label: str, keys: tuple[int | str, ...]) -> str:
    line, column = place_of(text, keys)
    return f"{label}, line {line}, column {column}"
