"""Write about a record piece by piece: what SEAL's prompts and a teacher have in common.

Flow:    record -> [passages] -> pieces -> whoever writes -> material -> self-edit
Imports: types, forms; the other modules of this stage.

What is learned from demonstrations is no passage: it gets an empty self-edit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from hybrid_memory.forms import is_shown
from hybrid_memory.selfedit.augmentation import augmented
from hybrid_memory.selfedit.material import Material, pieces
from hybrid_memory.statements import as_written
from hybrid_memory.types import Directives, Record, SelfEdit, StudyItem

__all__ = ["Study", "write_about"]

PIECE_TOKENS = 300
"""Longest piece of a record that one prompt shows, in words and marks: about 400 of a model's tokens."""

Study: TypeAlias = Callable[[str, str, Material], Directives]
"""(title, piece, material) -> directives: adds what is written about a piece; empty directives ask for nothing."""


def write_about(
    record: Record,
    study: Study,
    *,
    generator: str,
    budget: int,
    seed: int,
    hold_out: Callable[[Sequence[StudyItem]], tuple[StudyItem, ...]] = tuple,
) -> SelfEdit:
    """Return a record's self-edit; the last directives that its pieces were given hold for all of it.

    Args:
        record: cut into pieces at sentence ends.
        study: writes about one piece.
        generator: how it appears in provenance.
        budget: most words and marks of material a record; 0 is no limit.
        seed: of the augmentations, and kept with the self-edit.
        hold_out: marks what is kept for the gate.
    """
    title = _title(record)
    material = Material(source=f"{title}\n{record.text}", budget=budget)
    directives = _studied(record, title, study, material)
    edit = SelfEdit(
        record_id=record.id,
        items=hold_out(material.items),
        generator=generator,
        seed=seed,
        directives=directives,
        dropped=material.dropped,
    )
    return augmented([edit], directives.augmentations or (), seed=seed)[0]


def _studied(record: Record, title: str, study: Study, material: Material) -> Directives:
    directives = Directives()
    if not is_shown(record):
        for piece in pieces(as_written(record.text), most=PIECE_TOKENS):
            asked = study(title, piece, material)
            directives = asked if asked != Directives() else directives
    return directives


def _title(record: Record) -> str:
    """Return the record's title from its metadata, or ""."""
    title = record.metadata.get("title")
    return title if isinstance(title, str) else ""
