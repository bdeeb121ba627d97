"""Read the update directives that a self-edit carries: how it asks to be trained on.

Flow:    written self-edit -> [directives] -> written generator, teacher -> trainer
Imports: types.

A self-edit is text that a model wrote, so nothing in it is trusted: one line "Directives: {…}" with a JSON object
is read strictly, value by value, and what is refused is counted with its reason. The trainer bounds what is left by
the settings; a self-edit never sets its own limits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from hybrid_memory.types import Directives, SelfEdit

__all__ = ["AUGMENTATIONS", "read_directives", "with_known_targets"]

AUGMENTATIONS = ("reverse", "masked", "cloze")
"""What a self-edit may ask for beside its own material; see augmentation.py."""
LARGEST_RATE = 0.05
"""As training.learning_rate: above it no LoRA run of ours has converged."""
MOST_EPOCHS = 1000
_Check: TypeAlias = tuple[Callable[[Any], bool], str]
"""(what accepts a value, what is accepted in words)."""
_LINE = re.compile(r"^[ \t>*`]*directives?[ \t]*:[ \t]*(?P<value>.*)$", re.IGNORECASE | re.MULTILINE)


def read_directives(
    text: str, *, augmentations: Sequence[str] = AUGMENTATIONS
) -> tuple[str, Directives, dict[str, int]]:
    r"""Return the text without its directives, the directives, and why what was refused.

    Args:
        text: a self-edit as it was written.
        augmentations: what it may ask for; a domain of its own has its own.

    >>> read_directives('Directives: {"epochs": 3, "learning_rate": 10}\nThe barn is red.')[1:]
    ... # doctest: +NORMALIZE_WHITESPACE
    (Directives(learning_rate=None, epochs=3, loss_on=None, targets=None, acts_on=None, soft=True, augmentations=None),
     {'directive refused: learning_rate 10 is no number above 0 and up to 0.05': 1})
    """
    lines = list(_LINE.finditer(text))
    if not lines:
        return text, Directives(), {}
    rest = _LINE.sub("", text).strip()
    if len(lines) > 1:
        return rest, Directives(), {"directives refused: more than one line of them": 1}
    given = _object(lines[0]["value"])
    if given is None:
        return rest, Directives(), {"directives refused: not one JSON object on one line": 1}
    found: dict[str, Any] = {}
    refused: dict[str, int] = {}
    forms = (partial(_is_some_of, augmentations), f"list of {', '.join(augmentations)}")
    checks: dict[str, _Check] = {**_CHECKS, "augmentations": forms}
    for name, value in given.items():
        if name not in checks:
            refused[f"directive refused: {name[:40]!r} is none of {', '.join(checks)}"] = 1
        elif not checks[name][0](value):
            refused[f"directive refused: {name} {str(value)[:40]} is no {checks[name][1]}"] = 1
        else:
            found[name] = tuple(value) if isinstance(value, list) else value
    return rest, Directives(**found), refused


def with_known_targets(edits: Sequence[SelfEdit], known: Collection[str]) -> list[SelfEdit]:
    """Return the self-edits without the layers they ask for that are not known here; each such self-edit counts it.

    Looked at before every training and not where a self-edit is read: it is kept, and the base model may change.
    """
    return [_with_known_targets(edit, known) for edit in edits]


def _with_known_targets(edit: SelfEdit, known: Collection[str]) -> SelfEdit:
    asked = edit.directives.targets or ()
    unknown = [one for one in asked if one not in known]
    if not unknown:
        return edit
    left = tuple(one for one in asked if one in known)
    reason = f"directive refused: this model has no layers {', '.join(unknown)[:80]} to train"
    return replace(
        edit,
        directives=replace(edit.directives, targets=left or None),
        dropped={**edit.dropped, reason: 1},
    )


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text.strip().strip("`"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _is_rate(value: object) -> bool:
    # nan compares with nothing, and a whole number of any length with everything
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LARGEST_RATE


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_EPOCHS


def _is_names(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) and one.isidentifier() for one in value)


def _is_some_of(names: Sequence[str], value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(one in names for one in value)


_CHECKS: dict[str, _Check] = {
    "learning_rate": (_is_rate, f"number above 0 and up to {LARGEST_RATE:g}"),
    "epochs": (_is_count, f"whole number from 1 to {MOST_EPOCHS}"),
    "loss_on": (lambda value: value in ("answer", "all"), '"answer" or "all"'),
    "targets": (_is_names, "list of layer names"),
}
