"""What the arms of knowledge_incorporation.py are trained on."""

from __future__ import annotations

from datetime import UTC, datetime

from benchmarks.inner_loop_speed import our_items, recipe, released_items
from benchmarks.squad_seal import Passage
from hybrid_memory.selfedit.material import tokens
from hybrid_memory.selfedit.model import ModelGenerator
from hybrid_memory.selfedit.written import Family, WrittenGenerator
from hybrid_memory.statements import statements
from hybrid_memory.types import (
    Decision,
    Kind,
    Learning,
    Record,
    Route,
    Scope,
    SelfEdit,
    Sensitivity,
    Status,
    StudyItem,
    Trust,
)
from hybrid_memory.weights.language_model import LocalLanguageModel

SAMPLED = 4
"""Questions that our recipe samples for each sentence."""
WRITTEN = {"own implications": "implications", "own rewrite": "rewrite", "own self-QA": "self-qa"}
Material = tuple[list[StudyItem], int]
"""What is trained on, and how many words and marks a model wrote for it."""


def record_of(passage: Passage) -> Record:
    """Return the passage as a record of a ledger."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    decision = Decision(
        route=Route.LEARN,
        kind=Kind.FACT,
        p_durable=1.0,
        p_behaviour=0.0,
        sensitivity=Sensitivity.NORMAL,
        trust=Trust.OPERATOR,
        reasons=(),
        policy="benchmark",
    )
    return Record(
        id=passage.id,
        text=passage.context,
        kind=Kind.FACT,
        scope=Scope(),
        source="benchmark",
        trust=Trust.OPERATOR,
        observed_at=now,
        recorded_at=now,
        valid_from=now,
        valid_to=None,
        expires_at=None,
        slot=None,
        value=None,
        version=0,
        status=Status.ACTIVE,
        superseded_by=None,
        decision=decision,
        learning=Learning.QUEUED,
        learning_detail="",
        shard_id=None,
        examples=(),
        content_hash=passage.id,
        idempotency_key=None,
        metadata={"title": passage.title},
    )


def material(arm: str, language_model: LocalLanguageModel, passage: Passage) -> Material:
    """Return what an arm is trained on."""
    record = record_of(passage)
    if arm == "passage only":
        return released_items(passage, "")[-1:], 0
    if arm == "released":
        return released_items(passage, passage.implications[0]), tokens(passage.implications[0])
    if arm in WRITTEN:
        edit = WrittenGenerator(language_model, Family((WRITTEN[arm],), max_new_tokens=300)).write(record, seed=0)
        plain = [StudyItem(prompt="", response=one, form="statement") for one in statements(passage.context)]
        return [*edit.items, *plain], _written(edit)
    if arm == "ours":
        edit = ModelGenerator(language_model, samples=SAMPLED, temperature=0.9).write(record, seed=0)
        return [*recipe(passage, [passage.context]), *edit.items], _written(edit)
    return our_items(passage, passage.implications[0]), tokens(passage.implications[0])


def _written(edit: SelfEdit) -> int:
    return sum(tokens(item.prompt) + (tokens(item.response) if item.form != "question" else 0) for item in edit.items)
