"""Check study material before anything is trained on it.

Flow:    generators -> [verification] -> consolidation
Imports: types, protocols; the other modules of this stage.

A pure function of the material and the records it is for: a shard that is rebuilt without a record
is verified as if that record had never been there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from hybrid_memory.protocols import Encoder
from hybrid_memory.statements import statements
from hybrid_memory.types import FloatArray, SelfEdit, StudyItem

__all__ = ["verify"]

SAMPLED, WRITTEN = "question", "self-qa"
"""Questions sampled for a statement, which are many and alike; and pairs of question and answer, each about its own."""


def verify(
    self_edits: Sequence[SelfEdit], *, encoder: Encoder, min_similarity: float, most: int, held_out: int
) -> list[SelfEdit]:
    """Keep the questions that lead to their own statement, the nearest first, and hold some back for the gate.

    A question stays when, of all statements in the shard, the encoder puts it nearest to its own, at
    `min_similarity` or closer (103 of 115 stayed in the first trials, benchmarks/LOG.md; what is dropped would teach
    the model to answer with another record). Questions in the same words go. A pair of question and
    answer must lead to a sentence of the passage that it was written about; these are not ranked among the sampled
    ones, and as many stay as pass. Other forms pass unchanged.

    Args:
        self_edits: material of all records of one shard.
        encoder: the store's encoder.
        min_similarity: least cosine of a question and its statement.
        most: sampled questions kept per record, held-out ones not counted.
        held_out: questions per record kept from training for the gate.
    """
    sampled = _checked(self_edits, SAMPLED, encoder, min_similarity, most, held_out)
    return _checked(sampled, WRITTEN, encoder, min_similarity, None, held_out)


def _checked(
    edits: Sequence[SelfEdit], form: str, encoder: Encoder, min_similarity: float, most: int | None, held_out: int
) -> list[SelfEdit]:
    owners: dict[str, set[str]] = {}
    """Sentence -> whose it is: chunks of one document share its title."""
    for basis in {item.basis for edit in edits for item in edit.items if item.form == form}:
        for text in statements(basis) if form == WRITTEN else [basis]:
            owners.setdefault(text, set()).add(basis)
    if not owners:
        return list(edits)
    texts = sorted(owners)
    table, whose = encoder.encode(texts), [owners[text] for text in texts]
    return [_verified(edit, form, encoder, table, whose, min_similarity, most, held_out) for edit in edits]


def _verified(
    edit: SelfEdit,
    form: str,
    encoder: Encoder,
    table: FloatArray,
    owners: Sequence[Collection[str]],
    min_similarity: float,
    most: int | None,
    held_out: int,
) -> SelfEdit:
    questions = [item for item in edit.items if item.form == form and not item.held_out]
    rest = [item for item in edit.items if item not in questions]
    if not questions:
        return edit
    similarities = encoder.encode([item.prompt for item in questions]) @ table.T
    best = similarities.argmax(axis=1).tolist()
    closeness = similarities.max(axis=1)
    leads_home = [
        item.basis in owners[place] and close >= min_similarity
        for item, place, close in zip(questions, best, closeness.tolist(), strict=True)
    ]
    order = [number for number in np.argsort(-closeness, kind="stable").tolist() if leads_home[number]]
    distinct = _distinct([questions[number] for number in order], [item for item in rest if item.held_out])
    probes, kept = _hold_out(distinct if most is None else distinct[: most + held_out], rest, held_out)
    refused = {"leads to another record": len(questions) - len(order), "asked before": len(order) - len(distinct)}
    dropped = {**edit.dropped, **{why: edit.dropped.get(why, 0) + count for why, count in refused.items()}}
    return replace(edit, items=(*rest, *kept[:most], *probes), dropped=dropped)


def _distinct(questions: Sequence[StudyItem], held_out: Sequence[StudyItem]) -> list[StudyItem]:
    """Return the first question of each wording; none in the words of one that the gate will ask."""
    probes = {_words(item.prompt) for item in held_out}
    first: dict[str, StudyItem] = {}
    for item in questions:
        first.setdefault(_words(item.prompt), item)
    return [item for words, item in first.items() if words not in probes]


def _words(question: str) -> str:
    return " ".join(re.findall(r"\w+", question.casefold()))


def _hold_out(kept: list[StudyItem], rest: list[StudyItem], count: int) -> tuple[list[StudyItem], list[StudyItem]]:
    """Take `count` questions from the middle of the ranking: neither the easiest nor the oddest."""
    if any(item.held_out for item in rest) or len(kept) <= count:
        return [], kept
    middle = len(kept) // 2
    probes = [replace(item, held_out=True) for item in kept[middle : middle + count]]
    return probes, [*kept[:middle], *kept[middle + count :]]
