"""Repeat part of the material with evidence in sight, so that adapter and retrieval work together.

Flow:    verified material -> [reading] -> trainer
Imports: types, protocols; the other modules of this stage.

A model fine-tuned without contexts can score below its own closed-book number when it is given one
(RAFT, arXiv 2403.10131). So a question is also studied with its own statement among others, with others
only (retrieval will miss), and a demonstration also after its nearest neighbours. A pure function of the
shard's material: a record that was never there leaves no trace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np

from hybrid_memory.protocols import Encoder
from hybrid_memory.selfedit.compiled import random_of
from hybrid_memory.types import Example, SelfEdit, StudyItem

__all__ = ["with_evidence", "with_neighbours"]

DISTRACTORS = 2
"""Most other statements beside (or in place of) the right one; RAFT uses 1 to 3."""
SKIPPED = 2
"""Neighbours left out at random, so that the order of closeness is not all there is to learn."""


def with_evidence(edits: Sequence[SelfEdit], *, encoder: Encoder, seed: int, right: int, missed: int) -> list[SelfEdit]:
    """Add per record `right` questions with the own statement in evidence and `missed` ones without it.

    Distractors are the shard's statements nearest to the question: those that retrieval would confuse it with.
    """
    statements = sorted({item.response for edit in edits for item in edit.items if item.form == "statement"})
    questions = {item.prompt for edit in edits for item in edit.items if item.asks}
    if not statements or not questions:
        return list(edits)
    order = sorted(questions)
    similar = encoder.encode(order) @ encoder.encode(statements).T
    nearest = {
        question: [statements[place] for place in np.argsort(-row, kind="stable")[: DISTRACTORS + 2].tolist()]
        for question, row in zip(order, similar, strict=True)
    }
    return [_read(edit, nearest, seed, right, missed) for edit in edits]


def _read(edit: SelfEdit, nearest: dict[str, list[str]], seed: int, right: int, missed: int) -> SelfEdit:
    asked = [item for item in edit.items if item.asks and not item.held_out]
    told = {item.response for item in edit.items if item.form == "statement"}
    random = random_of("".join(item.prompt for item in asked), seed)
    chosen = random.sample(asked, min(right + missed, len(asked)))
    added = []
    for number, item in enumerate(chosen):
        own = {item.basis} | (told if item.source else set())  # what was written about a passage is all of one text
        others = [text for text in nearest[item.prompt] if text not in own][:DISTRACTORS]
        beside = random.sample(others, random.randint(0, len(others)) if number < right else min(1, len(others)))
        shown = [*beside, item.basis] if number < right else beside
        if shown:
            added.append(replace(item, form="evidence", evidence=tuple(random.sample(shown, len(shown)))))
    return replace(edit, items=(*edit.items, *added))


def with_neighbours(
    edits: Sequence[SelfEdit], *, encoder: Encoder, seed: int, shots: int, repeats: int
) -> list[SelfEdit]:
    """Add each demonstration of an example record `repeats` times, after `shots` of its nearest neighbours.

    The model learns to read the neighbours that retrieval will show it, instead of answering past them. Labels,
    that is responses which several records share, are not read off neighbours: those vote (answering/labels.py),
    so a label is studied by itself.
    """
    written = [edit for edit in edits if _is_example(edit)]
    count = Counter(response for edit in written for response in _responses(edit))
    free = [edit for edit in written if all(count[response] == 1 for response in _responses(edit))]
    demonstrations = {
        item.prompt: Example(item.prompt, item.response)
        for edit in free
        for item in edit.items
        if item.form == "demonstration" and not item.held_out
    }
    prompts = sorted(demonstrations)
    if len(prompts) <= 1 or not shots or not repeats:
        return list(edits)
    similar = encoder.encode(prompts) @ encoder.encode(prompts).T
    nearest = {
        prompt: [demonstrations[prompts[place]] for place in np.argsort(-row, kind="stable").tolist()]
        for prompt, row in zip(prompts, similar, strict=True)
    }
    followed = {edit.record_id: _follow(edit, nearest, seed, shots, repeats) for edit in free}
    return [followed.get(edit.record_id, edit) for edit in edits]


def _follow(edit: SelfEdit, nearest: dict[str, list[Example]], seed: int, shots: int, repeats: int) -> SelfEdit:
    added: list[StudyItem] = []
    for item in edit.items:
        if item.form != "demonstration" or item.held_out:
            continue
        random: Random = random_of(item.prompt, seed)
        others = [example for example in nearest[item.prompt] if example.prompt != item.prompt][: shots + SKIPPED]
        for _ in range(repeats):
            kept = sorted(random.sample(range(len(others)), min(shots, len(others))), reverse=True)
            added.append(replace(item, shots=tuple(others[place] for place in kept)))
    return replace(edit, items=(*edit.items, *added))


def _responses(edit: SelfEdit) -> set[str]:
    return {item.response for item in edit.items if item.form == "demonstration" and not item.held_out}


def _is_example(edit: SelfEdit) -> bool:
    """Tell an example's material from a preference's: one demonstration against many."""
    return sum(item.form == "demonstration" and not item.held_out for item in edit.items) == 1
