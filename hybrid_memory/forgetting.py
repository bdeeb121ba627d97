"""Forget records in both halves, and prove it.

Flow:    forget -> ledger and index at once; adapters that saw the records deleted; shards rebuilt now or next window
Imports: types, protocols, upkeep, and the consolidation beside it.

Deletion from weights is exact because a shard is rebuilt from a ledger that no longer has the record;
approximate unlearning only hides (parametric.md, section 5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from hybrid_memory.answer_log import AnswerLog
from hybrid_memory.consolidation import Consolidation
from hybrid_memory.evidence import ask
from hybrid_memory.protocols import Encoder, LanguageModel, Ledger, Progress, Retriever
from hybrid_memory.types import AdapterStatus, Json, Receipt, Record, Turn
from hybrid_memory.upkeep import Upkeep

__all__ = ["Forgetting"]

NOT_PROMISED = (
    "exports and backups made before",
    "copies that other programs or servers took (answers already given, adapters loaded elsewhere)",
    "what the base model knew before anything was ingested",
)


class Forgetting:
    """Carries out `memory.forget`."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        retriever: Retriever,
        encoder: Encoder,
        upkeep: Upkeep,
        consolidation: Consolidation,
        answers: AnswerLog,
        language_model: Callable[[], LanguageModel],
    ) -> None:
        """`language_model` is called for the probe only: forgetting itself loads no model."""
        self._ledger = ledger
        self._retriever = retriever
        self._encoder = encoder
        self._upkeep = upkeep
        self._consolidation = consolidation
        self._answers = answers
        self._language_model = language_model

    def forget(self, records: Sequence[Record], *, now: bool, progress: Progress | None = None) -> Receipt:
        """Remove the records; with `now`, rebuild the shards that knew them before returning."""
        probes = [(record, _openings(record)) for record in records]
        ids = [record.id for record in records]
        known = [version for version in self._ledger.versions() if not set(ids).isdisjoint(version.record_ids)]
        # Answers first: a process that dies later finds adapters and index by the ledger, but not these.
        answers = self._answers.forget(ids, [version.id for version in known])
        removed = self._ledger.forget(ids)
        adapters, shards = _names(removed["adapters"]), _names(removed["shards"])
        files = self._upkeep.delete([version for version in self._ledger.versions() if version.id in adapters])
        self._retriever.catch_up()
        self._retriever.save()
        if now and shards:
            self._consolidation.run(shards=shards, progress=progress)
        due = [shard.id for shard in self._ledger.shards() if shard.dirty and shard.id in shards]
        state = "due" if due else "rebuilt" if adapters else "clean"
        return Receipt(
            records=tuple(record.id for record in records),
            retrieval={
                **{name: removed[name] for name in ("passages", "vectors", "self_edits", "queue")},
                "logged_answers": answers,
                "still_found": self._still_found(records),
            },
            weights={
                "state": state,
                "shards": list(shards),
                "due": due,
                "due_when": "the next consolidation window; until then these shards have no adapter" if due else None,
                "adapters_deleted": list(adapters),
                "files_deleted": files,
                "extracted": self._extracted(probes) if now and adapters and not due else None,
            },
            not_promised=NOT_PROMISED,
            at=datetime.now(UTC),
        )

    def _still_found(self, records: Sequence[Record]) -> int:
        """Probe the retrieval half: search for each record by its own words; return how many are found (0)."""
        found = 0
        for record in records:
            hits = self._retriever.search(
                record.text, vector=self._encoder.encode([record.text]), scope=record.scope, top_k=10
            )
            found += any(hit.record.id == record.id for hit in hits)
        return found

    def _extracted(self, probes: Sequence[tuple[Record, Sequence[tuple[Turn, ...]]]]) -> Json:
        """Probe the weights half: lead each serving adapter of the scope to the brink of the record.

        Returns how many records any adapter finishes with more of the record's own words than the base does.
        """
        active = [version for version in self._ledger.versions() if version.status is AdapterStatus.ACTIVE]
        count = 0
        for record, prompts in probes:
            seen = {shard.id for shard in self._ledger.shards(scope=record.scope)}
            serving = [version for version in active if version.shard_id in seen]
            if not serving:
                continue
            rest = _words(record.text)[len(_words(record.text)) // 2 :]
            base = self._language_model().generate(prompts, max_new_tokens=32)
            low = max(_overlap(rest, one.text) for one in base)
            for version in serving:
                written = self._language_model().generate(prompts, adapters=[version], max_new_tokens=32)
                high = max(_overlap(rest, one.text) for one in written)
                if high > max(low, EXTRACTED_FROM):
                    count += 1
                    break
        return count


EXTRACTED_FROM = 0.6
"""Share of the withheld words, in order, that counts as extraction."""


def _openings(record: Record) -> list[tuple[Turn, ...]]:
    """Return prompts that hold the first half of what a record says."""
    words = _words(record.text)
    return [
        ask(f"Complete the sentence: {' '.join(words[: max(1, len(words) // 2)])}"),
        ask(f"What do you know about {' '.join(words[:4])}?"),
    ]


def _words(text: str) -> list[str]:
    return text.split()


def _overlap(expected: Sequence[str], text: str) -> float:
    """Return the longest common subsequence of words over the number expected, in [0, 1]."""
    found = text.split()
    table = [0] * (len(found) + 1)
    for word in expected:
        diagonal = 0
        for place, other in enumerate(found, start=1):
            diagonal, table[place] = (
                table[place],
                diagonal + 1 if word == other else max(table[place], table[place - 1]),
            )
    return table[-1] / max(1, len(expected))


def _names(value: Json) -> tuple[str, ...]:
    return tuple(str(name) for name in value) if isinstance(value, list | tuple) else ()
