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
import os.path
import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from hybrid_memory.errors import NotFoundError, PolicyError
from hybrid_memory.routing.policy_tables import Policy
from hybrid_memory.routing.toml_lines import place_of
from hybrid_memory.types import quoted

__all__ = ["EXAMPLES", "checked", "list_policies", "load_policy", "source_of", "text_of"]

EXAMPLES = ".examples.toml"
"""Ending of the table of examples beside a policy."""


def list_policies() -> list[str]:
    """Return the names of the shipped policies, sorted."""
    names = [item.name for item in _shipped().iterdir()]
    return sorted(
        name.removesuffix(".toml") for name in names if name.endswith(".toml") and not name.endswith(EXAMPLES)
    )


def load_policy(name_or_path: str | Path) -> Policy:
    """Return a shipped policy by name, or the user's own by path.

    Raises:
        NotFoundError: there is no such policy or file.
        PolicyError: the file cannot be used; the message has file, line and column.
    """
    name, path = source_of(name_or_path)
    return Policy.model_validate(_merged(name, path, ()))


def source_of(name_or_path: str | Path) -> tuple[str, Path | None]:
    """Return a policy's name as it was given and its file; None for a shipped one.

    Raises:
        NotFoundError: there is no such policy or file.
    """
    given = str(name_or_path)
    if given in list_policies():
        return given, None
    if os.path.isfile(given):  # Path.is_file raises where a name is too long for any file
        return given, Path(given)
    raise NotFoundError(f"there is no policy {quoted(given)}; {_known(given)}, or give the path of a TOML file")


def text_of(name: str, path: Path | None, ending: str = ".toml") -> str | None:
    """Return the text of a policy file, or of the file beside it with another ending; None when there is none.

    Raises:
        PolicyError: the file is no text.
    """
    if path is None:
        file = _shipped() / f"{name}{ending}"
    else:
        file = path if ending == ".toml" else path.with_name(path.name.removesuffix(".toml") + ending)
    try:
        return str(file.read_text(encoding="utf-8")) if file.is_file() else None
    except ValueError as error:
        raise PolicyError(f"{file} is no text in UTF-8 ({error}); a policy is a TOML file") from error


def _shipped() -> Any:
    # Traversable moved from importlib.abc to importlib.resources.abc in 3.11 and left the old place in 3.14.
    return resources.files("hybrid_memory.policies")


def _known(name: str) -> str:
    near = difflib.get_close_matches(name, list_policies(), n=1)
    return f"did you mean {near[0]!r}?" if near else f"shipped are {', '.join(list_policies())}"


def _merged(name: str, path: Path | None, above: tuple[str, ...]) -> dict[str, Any]:
    """Return the tables of a policy with those it extends merged in."""
    label = str(path) if path else f"policies/{name}.toml"
    text = text_of(name, path) or ""
    tables = checked(text, label, Policy)
    if path is not None and "classifier" in tables:
        tables["classifier"] = str(path.parent / tables["classifier"])
    parent = tables.get("extends")
    if parent is None:
        return tables
    place = _at(text, label, ("extends",))
    beside = path.parent / parent if path else None
    if label in above:
        circle = " -> ".join((*above, label))
        raise PolicyError(f"{place}: policies extend each other: {circle}")
    if beside is not None and os.path.isfile(beside):
        base = _merged(parent, beside, (*above, label))
    elif parent in list_policies():
        base = _merged(parent, None, (*above, label))
    else:
        raise PolicyError(f"{place}: there is no policy {quoted(parent)} to extend; {_known(parent)}")
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


def checked(text: str, label: str, model: type[BaseModel]) -> dict[str, Any]:
    """Parse TOML and check it against a model; return it as it is written.

    Raises:
        PolicyError: one line per mistake, with file, line, column and the nearest known word.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The message already ends in "(at line 3, column 9)".
        raise PolicyError(f"{label} is not valid TOML: {error}") from error
    try:
        model.model_validate(tables)
    except ValidationError as error:
        raise PolicyError("\n".join(_sentences(error, text, label, model))) from error
    return tables


def _sentences(error: ValidationError, text: str, label: str, model: type[BaseModel]) -> Iterator[str]:
    for problem in sorted(error.errors(), key=lambda problem: place_of(text, problem["loc"])):
        keys = problem["loc"]
        name = ".".join(str(key) for key in keys)
        if problem["type"] == "extra_forbidden":
            names = _names(model, keys[:-1])
            near = difflib.get_close_matches(str(keys[-1]), names, n=1)
            what = f"unknown key {name}; " + (f"did you mean {near[0]}?" if near else f"known: {', '.join(names)}")
        elif problem["type"] == "missing":
            what = f"{name} is missing"
        else:
            what = f"{name}: {problem['msg'].removeprefix('Value error, ').lower()}, got {quoted(problem['input'])}"
            what += _nearest(problem["input"], problem.get("ctx", {}).get("expected", ""))
        yield f"{_at(text, label, keys)}: {what}"


def _nearest(given: object, expected: str) -> str:
    near = difflib.get_close_matches(str(given), re.findall(r"'(\w+)'", expected), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _names(model: type[BaseModel], keys: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the table at this place may have."""
    for key in keys:
        if isinstance(key, str):
            kind = model.model_fields[key].annotation
            inner = next((one for one in (kind, *get_args(kind)) if isinstance(one, type)), None)
            if inner is None or not issubclass(inner, BaseModel):
                return []
            model = inner
    return list(model.model_fields)


def _at(text: str, label: str, keys: tuple[int | str, ...]) -> str:
    line, column = place_of(text, keys)
    return f"{label}, line {line}, column {column}"
