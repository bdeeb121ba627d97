"""One window: what waits in the queue becomes adapters, or is declined and stays in retrieval.

Flow:    queue -> place in shards -> write -> verify -> train -> gate -> promote | retry gentler | decline
Imports: errors, types, protocols, config, upkeep, workers.

A shard is always rebuilt over its whole ledger from the same initialisation; nothing is trained on top
of an older adapter (two later edits on top, and SEAL answers worse than before: parametric.md, finding 1).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from hybrid_memory.config import WindowSettings
from hybrid_memory.errors import ConsolidationError, InputError, LedgerError
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
from hybrid_memory.upkeep import Upkeep
from hybrid_memory.workers import Workers

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
        upkeep: Upkeep,
        workers: Workers,
        workshop: Callable[[], Workshop],
        window: WindowSettings,
        seed: int,
        provenance: Mapping[str, Json],
    ) -> None:
        """`provenance` goes into every manifest: settings fingerprint, package versions."""
        self._ledger = ledger
        self._store = store
        self._upkeep = upkeep
        self._workers = workers
        self._workshop = workshop
        self._window = window
        self._seed = seed
        self._provenance = provenance

    def run(
        self,
        *,
        scope: Scope | None = None,
        shards: Collection[str] | None = None,
        budget_s: float | None = None,
        progress: Progress | None = None,
    ) -> ConsolidationReport:
        """Open a window, work until the queue is empty or the budget is spent, and report.

        Safe to kill at any instruction: records are leased, candidates lie in a staging folder, and a version
        serves only after its promotion is one committed transaction.

        Args:
            scope: only shards inside it; None is all.
            shards: only these, with what waits for them; None is all, new ones too.
            budget_s: stop opening shards when this would be exceeded, seconds; None takes the settings'.
            progress: told what is written, trained and measured.

        Raises:
            LedgerError: the disk is full; what was promoted before stays, the rest stays queued.
        """
        started = time.monotonic()
        budget = budget_s if budget_s is not None else self._window.budget_s
        with self._workers.enter(self._free) as worker:
            self._tidy()
            waiting = [
                record.id for record in self._ledger.pending(scope=scope) if shards is None or record.shard_id in shards
            ]
            leased = self._ledger.lease(waiting, worker=worker, lease_s=self._window.lease_s)
            try:
                self._place(leased)
                due = [shard for shard in self._due(scope, leased) if shards is None or shard.id in shards]
                reports = self._rebuild_all(due, started, budget, progress)
            finally:
                self._ledger.unlease(leased, worker=worker)
            self._upkeep.delete_those_that_saw_forgotten_records()
        return self._report(reports, scope, time.monotonic() - started)

    def _free(self, worker: str) -> None:
        """Give back what a dead worker had leased."""
        queued = self._ledger.find(scope=None, filters={"learning": Learning.QUEUED.value}, all_statuses=True)
        self._ledger.unlease([record.id for record in queued], worker=worker)

    def _tidy(self) -> None:
        self._upkeep.sweep()
        self._upkeep.delete_those_that_saw_forgotten_records()
        self._upkeep.delete_damaged()

    def _rebuild_all(
        self, due: Sequence[Shard], started: float, budget: float | None, progress: Progress | None
    ) -> list[ShardReport]:
        reports: list[ShardReport] = []
        for shard in due:
            spent = time.monotonic() - started
            if budget is not None and reports and spent + _typical(reports) > budget:
                break
            ends_at = None if budget is None else time.monotonic() + max(budget - spent, 1.0)
            reports.append(self._rebuild(shard, ends_at, progress))
        return reports

    # ------------------------------------------------------------ which shards

    def _place(self, record_ids: Sequence[str]) -> None:
        """Put newly leased records into shards of their scope."""
        records = [self._ledger.get(record_id) for record_id in record_ids]
        for scope in dict.fromkeys(record.scope for record in records if record.shard_id is None):
            new = [record for record in records if record.scope == scope and record.shard_id is None]
            vectors = self._vectors(new)
            inside = {
                shard: self._ledger.shard_records(shard.id) for shard in self._ledger.shards() if shard.scope == scope
            }
            members = {shard: self._vectors(there) if there else vectors[:0] for shard, there in inside.items()}
            chosen = self._workshop().place(new, vectors, members)
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

    def _rebuild(self, shard: Shard, ends_at: float | None, progress: Progress | None) -> ShardReport:
        """Train the shard anew; a record too long to be trained on is declined, and the others go on."""
        declined: dict[str, str] = {}
        while True:
            started = time.monotonic()
            records, material = self._studied(shard, declined, progress)
            written = time.monotonic() - started
            if not records:
                return self._retire(shard, declined)
            try:
                report = self._climb(shard, records, material, ends_at, progress, {"write": written})
            except InputError as error:
                longest = max(material, key=_longest_item).record_id
                self._ledger.settle(learning={longest: (Learning.DECLINED, str(error))})
                declined[longest] = str(error)
                continue
            return replace(report, declined={**declined, **report.declined})

    def _climb(
        self,
        shard: Shard,
        records: Sequence[Record],
        material: Sequence[SelfEdit],
        ends_at: float | None,
        progress: Progress | None,
        seconds: Mapping[str, float],
    ) -> ShardReport:
        """Climb the gate's ladder: promote the first candidate that passes, or decline the new records."""
        known = self._known(shard)
        attempts: list[str] = []
        outcome = _blank(shard)
        for rate in RATES:
            deadline_s = None if ends_at is None else ends_at - time.monotonic()
            try:
                outcome = self._attempt(shard, records, material, known, rate, deadline_s, progress, seconds)
                attempts += outcome.attempts
            except ConsolidationError as error:
                attempts.append(f"rate x{rate:g}: {error}")
            if outcome.promoted:
                return replace(outcome, attempts=tuple(attempts))
            if ends_at is not None and time.monotonic() >= ends_at:
                return replace(outcome, attempts=tuple(attempts))  # no time for a fair trial: they stay queued
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
        # the path of a rejected one names where it would lie: no row may keep the staging folder from the sweep
        judged = replace(candidate, metrics=verdict.metrics, path=str(folder.with_name(candidate.id)))
        if not verdict.passed:
            self._ledger.reject(judged)
            return judged
        try:
            final = self._store.publish(folder, candidate.manifest, verdict.metrics)
        except OSError as error:
            raise LedgerError(
                f"adapter version {candidate.id} could not be written ({error}); its records stay queued: "
                "free some space and consolidate again"
            ) from error
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

    def _studied(
        self, shard: Shard, declined: dict[str, str], progress: Progress | None
    ) -> tuple[list[Record], list[SelfEdit]]:
        """Return the shard's records that have something to study, with their material; decline the others.

        They come in the order of what they say, not of arrival: a shard is then made from the same sequence
        whether or not there ever was a record that has been forgotten since.
        """
        members = sorted(self._ledger.shard_records(shard.id), key=lambda record: (record.content_hash, record.id))
        material = self._material(members, progress) if members else []
        empty = {edit.record_id for edit in material if all(item.held_out for item in edit.items)}
        if empty:
            self._ledger.settle(learning=dict.fromkeys(empty, (Learning.DECLINED, NOTHING_TO_STUDY)))
            declined |= dict.fromkeys(empty, NOTHING_TO_STUDY)
        return (
            [record for record in members if record.id not in empty],
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
        reason = f"refused after {len(attempts)} attempts, last {attempts[-1]}"
        new = {record.id: reason for record in records if record.id not in set(known)}
        self._ledger.settle(learning={record_id: (Learning.DECLINED, reason) for record_id in new})
        return replace(last, declined=new, attempts=attempts, learned=())

    def _retire(self, shard: Shard, declined: Mapping[str, str]) -> ShardReport:
        """Switch off a shard that has no record left."""
        self._ledger.activate(shard.id, None)  # also without an active version: it is not due any more
        why = "nothing is left to learn; the shard is switched off"
        return replace(_blank(shard), attempts=(why,), declined=dict(declined))

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


def _blank(shard: Shard) -> ShardReport:
    """Return the report of a shard to which nothing has happened yet."""
    return ShardReport(
        shard_id=shard.id,
        group=shard.group,
        scope=shard.scope,
        version=None,
        promoted=False,
        learned=(),
        declined={},
        metrics={},
        attempts=(),
        items=0,
        trained_tokens=0,
        seconds={},
    )


def _longest_item(edit: SelfEdit) -> int:
    return max(len(item.prompt) + len(item.response) for item in edit.items)


def _typical(reports: Sequence[ShardReport]) -> float:
    """Return the longest a shard has taken in this window, seconds: the guess for the next one."""
    return max(sum(report.seconds.values()) for report in reports)


def _number(value: Json) -> float:
    if not isinstance(value, int | float):
        raise ConsolidationError(f"the trainer reported {value!r} where a number was expected")
    return float(value)
