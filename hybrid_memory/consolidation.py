"""One window: what waits in the queue becomes adapters, or is declined and stays in retrieval.

Flow:    queue -> place in shards -> write -> verify -> train -> gate -> promote | retry gentler | decline
Imports: errors, types, protocols, config.

A shard is always rebuilt over its whole ledger from the same initialisation; nothing is trained on top
of an older adapter (two later edits on top, and SEAL answers worse than before: parametric.md, finding 1).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from hybrid_memory.config import WindowSettings
from hybrid_memory.errors import ConsolidationError
from hybrid_memory.protocols import AdapterStore, Gate, LanguageModel, Ledger, Progress, SelfEditGenerator, Trainer
from hybrid_memory.types import (
    AdapterStatus,
    AdapterVersion,
    ConsolidationReport,
    Directives,
    FloatArray,
    Json,
    Learning,
    Record,
    Scope,
    SelfEdit,
    Shard,
    ShardReport,
    Verdict,
)

__all__ = ["Consolidation", "Workshop"]

log = logging.getLogger(__name__)

RATES = (1.0, 0.5)
"""The gate's ladder: the settings' learning rate, then half of it; then the new records are declined."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a window works with; built when the first window opens, because it loads the language model."""

    language_model: LanguageModel
    generators: Sequence[SelfEditGenerator]
    prepare: Callable[[Sequence[SelfEdit]], list[SelfEdit]]
    """Verifies a shard's material and repeats part of it with evidence in sight; a pure function."""
    trainer: Trainer
    gate: Gate
    place: Callable[[Sequence[Record], FloatArray, Mapping[Shard, FloatArray]], Sequence[Shard]]
    """(records of one scope, their vectors, its shards with what is in them) -> the shard of each record."""


class Consolidation:
    """Runs windows over one ledger."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        store: AdapterStore,
        workshop: Callable[[], Workshop],
        window: WindowSettings,
        seed: int,
        provenance: Mapping[str, Json],
    ) -> None:
        """`provenance` goes into every manifest: settings fingerprint, package versions."""
        self._ledger = ledger
        self._store = store
        self._workshop = workshop
        self._window = window
        self._seed = seed
        self._provenance = provenance

    def run(
        self, *, scope: Scope | None = None, budget_s: float | None = None, progress: Progress | None = None
    ) -> ConsolidationReport:
        """Open a window, work until the queue is empty or the budget is spent, and report.

        Safe to kill at any instruction: records are leased, candidates lie in a staging folder, and a version
        serves only after its promotion is one committed transaction.
        """
        started = time.monotonic()
        budget = budget_s if budget_s is not None else self._window.budget_s
        worker = f"{os.getpid()}-{time.monotonic_ns()}"
        self._store.sweep(
            version.path for version in self._ledger.versions() if version.status is not AdapterStatus.PURGED
        )
        waiting = [record.id for record in self._ledger.pending(scope=scope)]
        leased = self._ledger.lease(waiting, worker=worker, lease_s=self._window.lease_s)
        reports: list[ShardReport] = []
        try:
            self._place(leased)
            for shard in self._due(scope, leased):
                spent = time.monotonic() - started
                if budget is not None and reports and spent + _typical(reports) > budget:
                    break
                deadline = None if budget is None else max(budget - spent, 1.0)
                reports.append(self._rebuild(shard, deadline, progress))
        finally:
            self._ledger.unlease(leased, worker=worker)
        return self._report(reports, scope, time.monotonic() - started)

    # ------------------------------------------------------------ which shards

    def _place(self, record_ids: Sequence[str]) -> None:
        """Put newly leased records into shards of their scope."""
        records = [self._ledger.get(record_id) for record_id in record_ids]
        for scope in dict.fromkeys(record.scope for record in records if record.shard_id is None):
            new = [record for record in records if record.scope == scope and record.shard_id is None]
            members = {
                shard: self._vectors(self._ledger.shard_records(shard.id))
                for shard in self._ledger.shards()
                if shard.scope == scope
            }
            chosen = self._workshop().place(new, self._vectors(new), members)
            for shard in dict.fromkeys(chosen):
                at_home = [record.id for record, home in zip(new, chosen, strict=True) if home == shard]
                self._ledger.assign(at_home, shard=shard)

    def _vectors(self, records: Sequence[Record]) -> FloatArray:
        """Return the vector of each record's first passage, shape (len(records), dim)."""
        owners, vectors = self._ledger.record_vectors([record.id for record in records])
        first = {owner: number for number, owner in reversed(list(enumerate(owners)))}
        return vectors[[first[record.id] for record in records]]

    def _due(self, scope: Scope | None, leased: Sequence[str]) -> list[Shard]:
        """Return the dirty shards inside the scope: masked ones first, they answer nothing until rebuilt."""
        mine = set(leased)
        due = [
            shard
            for shard in self._ledger.shards()
            if shard.dirty
            and (scope is None or scope.covers(shard.scope))
            and all(
                record.learning is not Learning.QUEUED or record.id in mine
                for record in self._ledger.shard_records(shard.id)
            )  # a queued record that is not ours is leased by another worker, which will rebuild this shard
        ]
        return sorted(due, key=lambda shard: (not shard.masked, shard.id))

    # ------------------------------------------------------------ one shard

    def _rebuild(self, shard: Shard, deadline_s: float | None, progress: Progress | None) -> ShardReport:
        seconds: dict[str, float] = {}
        started = time.monotonic()
        records, material = self._studied(self._ledger.shard_records(shard.id), progress)
        seconds["write"] = time.monotonic() - started
        if not records:
            return self._retire(shard)
        known = self._known(shard)
        attempts: list[str] = []
        for rate in RATES:
            outcome = self._attempt(shard, records, material, known, rate, deadline_s, progress, seconds)
            attempts.append(outcome.attempts[0])
            if outcome.promoted:
                return replace(outcome, attempts=tuple(attempts))
        return self._decline(records, known, tuple(attempts), outcome)

    def _attempt(
        self,
        shard: Shard,
        records: Sequence[Record],
        material: Sequence[SelfEdit],
        known: Sequence[str],
        rate: float,
        deadline_s: float | None,
        progress: Progress | None,
        seconds: Mapping[str, float],
    ) -> ShardReport:
        """Train one candidate, judge it, and promote it when it passed."""
        workshop = self._workshop()
        number = self._ledger.next_number(shard.id)
        items = [item for edit in material for item in edit.items]
        with self._store.stage(shard.id, number) as folder:
            trained = workshop.trainer.train(
                items,
                seed=self._seed,
                folder=folder,
                directives=_agreed(material),
                learning_rate_scale=rate,
                progress=progress,
                deadline_s=deadline_s,
            )
            candidate = self._candidate(shard, number, folder, records, material, trained)
            started = time.monotonic()
            try:
                verdict = workshop.gate.judge(
                    candidate, material, learned_before=known, always_on=shard.group == "behaviour"
                )
                version = self._settle(candidate, folder, records, verdict)
            finally:
                workshop.language_model.release(candidate.id)
            spent = {**seconds, "train": _number(trained["seconds"]), "gate": time.monotonic() - started}
        learned = tuple(record.id for record in records if verdict.passed and record.id not in set(known))
        return ShardReport(
            shard_id=shard.id,
            group=shard.group,
            scope=shard.scope,
            version=version.id,
            promoted=verdict.passed,
            learned=learned,
            declined={},
            metrics={**verdict.metrics, **trained, "weak": list(verdict.unlearned)},
            attempts=(f"rate x{rate:g}: " + ("; ".join(verdict.reasons) or "passed"),),
            items=len(items),
            trained_tokens=int(_number(trained["tokens"])),
            seconds={stage: round(value, 2) for stage, value in spent.items()},
        )

    def _candidate(
        self,
        shard: Shard,
        number: int,
        folder: Path,
        records: Sequence[Record],
        material: Sequence[SelfEdit],
        trained: Mapping[str, Json],
    ) -> AdapterVersion:
        manifest: dict[str, Json] = {
            **self._provenance,
            "base": self._workshop().language_model.fingerprint,
            "records": {record.id: record.content_hash for record in records},
            "generators": sorted({edit.generator for edit in material}),
            "seed": self._seed,
            "training": dict(trained),
        }
        return AdapterVersion(
            id=f"{shard.id}-v{number}",
            shard_id=shard.id,
            number=number,
            status=AdapterStatus.CANDIDATE,
            path=str(folder),
            created_at=datetime.now(UTC),
            record_ids=tuple(record.id for record in records),
            manifest=manifest,
            metrics={},
        )

    def _settle(
        self, candidate: AdapterVersion, folder: Path, records: Sequence[Record], verdict: Verdict
    ) -> AdapterVersion:
        """Promote a candidate that passed: files first, then the one transaction that makes it serve."""
        judged = replace(candidate, metrics=verdict.metrics)
        if not verdict.passed:
            self._ledger.reject(judged)
            return judged
        final = self._store.publish(folder, candidate.manifest, verdict.metrics)
        learning = {record.id: (Learning.LEARNED, candidate.id) for record in records}
        version = self._ledger.promote(replace(judged, path=str(final)), learning=learning)
        self._retain(candidate.shard_id)
        return version

    def _material(self, records: Sequence[Record], progress: Progress | None) -> list[SelfEdit]:
        """Return verified study material: stored candidates, written now for records that have none."""
        stored = {edit.record_id: edit for edit in self._ledger.self_edits([record.id for record in records])}
        new = [record for record in records if record.id not in stored]
        if new:
            written = [
                generator.write(new, seed=self._seed, progress=progress) for generator in self._workshop().generators
            ]
            joined = [_join(edits) for edits in zip(*written, strict=True)]
            self._ledger.save_self_edits(joined)
            stored |= {edit.record_id: edit for edit in joined}
        return self._workshop().prepare([stored[record.id] for record in records])

    def _studied(self, records: Sequence[Record], progress: Progress | None) -> tuple[list[Record], list[SelfEdit]]:
        """Return the records that have something to study with their material; decline the others."""
        material = self._material(records, progress) if records else []
        empty = {edit.record_id for edit in material if all(item.held_out for item in edit.items)}
        if empty:
            self._ledger.settle(learning=dict.fromkeys(empty, (Learning.DECLINED, NOTHING_TO_STUDY)))
        return (
            [record for record in records if record.id not in empty],
            [edit for edit in material if edit.record_id not in empty],
        )

    # ------------------------------------------------------------ what is left

    def _decline(
        self,
        records: Sequence[Record],
        known: Sequence[str],
        attempts: tuple[str, ...],
        last: ShardReport,
    ) -> ShardReport:
        """Keep what serves now; the new records stay in retrieval, with the reason."""
        reason = f"the gate refused {len(attempts)} attempts, last {attempts[-1]}"
        new = {record.id: reason for record in records if record.id not in set(known)}
        self._ledger.settle(learning={record_id: (Learning.DECLINED, reason) for record_id in new})
        return replace(last, declined=new, attempts=attempts, learned=())

    def _retire(self, shard: Shard) -> ShardReport:
        """Switch off a shard that has no record left."""
        if shard.active is not None:
            self._ledger.activate(shard.id, None)
        return ShardReport(
            shard_id=shard.id,
            group=shard.group,
            scope=shard.scope,
            version=None,
            promoted=False,
            learned=(),
            declined={},
            metrics={},
            attempts=("nothing is left to learn; the shard is switched off",),
            items=0,
            trained_tokens=0,
            seconds={},
        )

    def _retain(self, shard_id: str) -> None:
        """Delete the files of the oldest versions beyond the number kept for rollback."""
        retired = [
            version for version in self._ledger.versions(shard_id=shard_id) if version.status is AdapterStatus.RETIRED
        ]
        for version in retired[: -self._window.keep_versions]:
            self._ledger.mark_purged([version.id])
            self._store.purge(version.path)

    def _known(self, shard: Shard) -> tuple[str, ...]:
        """Return the records that the shard's serving version has learned."""
        versions = {version.id: version for version in self._ledger.versions(shard_id=shard.id)}
        return versions[shard.active].record_ids if shard.active in versions else ()

    def _report(self, reports: Sequence[ShardReport], scope: Scope | None, seconds: float) -> ConsolidationReport:
        remaining = len(self._ledger.pending(scope=scope))
        learned = sum(len(report.learned) for report in reports)
        declined = sum(len(report.declined) for report in reports)
        summary = (
            f"{learned} records learned in {len(reports)} shards, {declined} declined, {remaining} waiting, "
            f"{sum(report.trained_tokens for report in reports)} tokens trained in {seconds:.0f} s"
        )
        log.info("%s", summary)
        return ConsolidationReport(
            shards=tuple(reports),
            learned=learned,
            declined=declined,
            remaining=remaining,
            seconds=round(seconds, 2),
            summary=summary,
        )


NOTHING_TO_STUDY = (
    "nothing could be written to study it by; a preference needs examples, or a form that can be checked such as "
    "'End every answer with \"…\"'"
)


def _join(edits: Sequence[SelfEdit]) -> SelfEdit:
    """Put the material of several generators for one record together."""
    first = edits[0]
    dropped: dict[str, int] = {}
    for edit in edits:
        for reason, count in edit.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
    return replace(
        first,
        items=tuple(dict.fromkeys(item for edit in edits for item in edit.items)),
        generator="+".join(edit.generator for edit in edits),
        dropped=dropped,
    )


def _agreed(material: Sequence[SelfEdit]) -> Directives:
    """Return the gentlest of what the self-edits of a shard ask for."""
    rates = [edit.directives.learning_rate for edit in material if edit.directives.learning_rate is not None]
    epochs = [edit.directives.epochs for edit in material if edit.directives.epochs is not None]
    return Directives(learning_rate=min(rates, default=None), epochs=min(epochs, default=None))


def _typical(reports: Sequence[ShardReport]) -> float:
    """Return the longest a shard has taken in this window, seconds: the guess for the next one."""
    return max(sum(report.seconds.values()) for report in reports)


def _number(value: Json) -> float:
    if not isinstance(value, int | float):
        raise ConsolidationError(f"the trainer reported {value!r} where a number was expected")
    return float(value)
