"""Say why no adapter had a part in an answer.

Flow:    choice of adapters, evidence -> [reasons] -> Answer.no_adapter, trace
Imports: types; the other modules of this stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hybrid_memory.answering.adapter_choice import Choice
from hybrid_memory.answering.writing import Case
from hybrid_memory.types import Hit, Learning, Mode, Record

__all__ = ["no_adapter", "not_serving", "with_reason"]


def with_reason(choice: Choice, hits: Sequence[Hit], mode: Mode, *, present: bool) -> Choice:
    """Return the choice with all that tells why nothing serves, when nothing does."""
    if choice.adapters:
        return choice
    if mode is Mode.RETRIEVAL_ONLY:
        return replace(choice, reason="weights are left out: the mode is retrieval_only")
    if not present:
        return replace(choice, reason="weights are left out: the past is asked for, and they know only the present")
    if not hits:
        return choice
    return replace(choice, reason=f"{choice.reason}; the best evidence {not_serving(hits[0].record)}")


def no_adapter(case: Case) -> str:
    """Say why no adapter had a part in an answer; "" when one had."""
    if case.spoke:
        return ""
    if case.unfaithful and case.choice.adapters:
        names = ", ".join(version.id for version in case.choice.adapters)
        return f"the evidence was quoted in place of what {names} wrote: {case.unfaithful}"
    if case.vote and case.choice.routed:
        why = "agree" if len(case.vote) == 1 else "are not what it has learned"
        return f"{case.choice.routed[0].id} was not asked for the label: the nearest examples {why}"
    return case.choice.reason


def not_serving(record: Record) -> str:
    """Say why no adapter speaks of a record, after its name: how far it is on its way into the weights."""
    return {
        Learning.QUEUED: "waits for the next window",
        Learning.DECLINED: f"was declined ({record.learning_detail})",
        Learning.NONE: "is not to be learned",
        Learning.STALE: "is not what was learned any more",
        Learning.LEARNED: "is learned, but its adapter does not serve",
    }[record.learning]
