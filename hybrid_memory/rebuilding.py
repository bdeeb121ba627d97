"""One shard, made anew from all its records, promoted if it passes the gate.

Flow:    write -> verify -> train -> gate -> promote | retry gentler | decline
Imports: errors, types, protocols, upkeep.

A shard is always rebuilt over its whole ledger from the same initialisation; nothing is trained on top
of an older adapter (two later edits on top, and SEAL answers worse than before: parametric.md, finding 1).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from hybrid_memory.errors import ConsolidationError, InputError, LedgerError
from hybrid_memory.protocols import AdapterStore, Gate, LanguageModel, Ledger, Progress, SelfEditGenerator, Trainer
from hybrid_memory.types import (
    AdapterStatus,
    AdapterVersion,
    Directives,
    FloatArray,
    Json,
    Learning,
    Record,
    SelfEdit,
    Shard,
    ShardReport,
    Verdict,
)
from hybrid_memory.upkeep import Upkeep

__all__ = ["Rebuilding", "Workshop"]

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


class Rebuilding:
    """Rebuilds shards of one ledger."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        store: AdapterStore,
        upkeep: Upkeep,
        workshop: Callable[[], Workshop],
        keep_versions: int,
        seed: int,
        provenance: Mapping[str, Json],
    ) -> None:
        """`keep_versions` retired ones stay for rollback; `provenance` goes into every manifest."""
        self._ledger = ledger
        self._store = store
        self._upkeep = upkeep
        self._workshop = workshop
        self._keep_versions = keep_versions
        self._seed = seed
        self._provenance = provenance

    def rebuild(self, shard: Shard, ends_at: float | None, progress: Progress | None) -> ShardReport:
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
        self._upkeep.retain(candidate.shard_id, self._keep_versions)
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

    def _known(self, shard: Shard) -> tuple[str, ...]:
        """Return the records that the shard's serving version has learned."""
        versions = {version.id: version for version in self._ledger.versions(shard_id=shard.id)}
        return versions[shard.active].record_ids if shard.active in versions else ()


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
    """Return the gentlest of what a shard's self-edits ask for; loss and layers only where all ask for the same."""
    asked = [edit.directives for edit in material]
    rates = [one.learning_rate for one in asked if one.learning_rate is not None]
    epochs = [one.epochs for one in asked if one.epochs is not None]
    losses, targets = {one.loss_on for one in asked}, {one.targets for one in asked}
    return Directives(
        learning_rate=min(rates, default=None),
        epochs=min(epochs, default=None),
        loss_on=losses.pop() if len(losses) == 1 else None,
        targets=targets.pop() if len(targets) == 1 else None,
    )


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


def _number(value: Json) -> float:
    if not isinstance(value, int | float):
        raise ConsolidationError(f"the trainer reported {value!r} where a number was expected")
    return float(value)
