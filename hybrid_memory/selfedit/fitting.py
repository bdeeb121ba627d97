"""What fits into one training sequence: what stands beside an item is left out before the item is.

Flow:    stored material -> [fitting] -> verification ... reading -> [fitting] -> trainer
Imports: types.

A pure function of the material: a record that is too long by itself is as if it had never been there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hybrid_memory.types import SelfEdit, StudyItem

__all__ = ["Refuses", "fitted", "without_too_long"]

Refuses = Callable[[StudyItem], str]
"""Says why an item cannot be trained on; "" when it can."""


def without_too_long(edits: Sequence[SelfEdit], refuses: Refuses) -> list[SelfEdit]:
    """Empty the self-edits of which a bare item cannot be trained on; `dropped` says why."""
    return [_refused(edit, refuses) for edit in edits]


def fitted(edits: Sequence[SelfEdit], refuses: Refuses) -> list[SelfEdit]:
    """Leave out what does not fit: the farthest shots first, then the longest evidence, then the repetition itself."""
    return [replace(edit, items=tuple(_fitting(edit.items, refuses))) for edit in edits]


def _refused(edit: SelfEdit, refuses: Refuses) -> SelfEdit:
    bare = (item for item in edit.items if not (item.held_out or item.evidence or item.shots))
    reason = next(filter(None, map(refuses, bare)), "")
    return replace(edit, items=(), dropped={reason: 1}) if reason else edit


def _fitting(items: Sequence[StudyItem], refuses: Refuses) -> list[StudyItem]:
    shortened = (item if item.held_out else _shortened(item, refuses) for item in items)
    return [item for item in shortened if item is not None]


def _shortened(item: StudyItem, refuses: Refuses) -> StudyItem | None:
    """Return the item with as much beside it as fits; None where it would only repeat what is studied anyway."""
    while refuses(item):
        if len(item.shots) > 1:
            item = replace(item, shots=item.shots[1:])  # the least similar stands first
        elif len(item.evidence) > 1:
            longest = max((text for text in item.evidence if text != item.basis), key=len)
            item = replace(item, evidence=tuple(text for text in item.evidence if text != longest))
        elif item.evidence and item.form == "demonstration":  # practice beside a fact that has nothing to do with it
            item = replace(item, evidence=())
        else:
            return None
    return item
