"""One shard, made anew from all its records; what the gate refuses is declined, and nothing else.

Flow:    write -> verify -> climb the ladder of trials -> learned | look for the records that spoil it -> declined
Imports: errors, types, protocols, config, trials.

A shard is always rebuilt over its whole ledger from the same initialisation; nothing is trained on top
of an older adapter (two later edits on top, and SEAL answers worse than before: its
repository's continual_self_edits/overall_results.json).

The ladder: a candidate that does too much is scaled down (trials.py), then trained at lower rates; one that learns
too little is trained on the plain material alone. Records that were not learned are then left out; what spoils the
rest is found by halving. Every set that passes is promoted at once, so a window may end anywhere.

Without a new record there is nobody to leave out: the serving version goes on, masked where it is stale, and what was
refused is remembered, so that the same training is not done again in every window.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from hybrid_memory.config import GateSettings
from hybrid_memory.errors import TeacherError
from hybrid_memory.protocols import Ledger, Progress, SelfEditGenerator
from hybrid_memory.trials import TOO_WEAK, Rung, Task, Trial, Trials, Workshop
from hybrid_memory.types import Directives, Learning, Record, SelfEdit, Shard, ShardReport

__all__ = ["Rebuilding", "untouched"]


class Rebuilding:
    """Rebuilds shards of one ledger."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        trials: Trials,
        workshop: Callable[[], Workshop],
        gate: GateSettings,
        seed: int,
    ) -> None:
        """Of the gate's settings only those of the ladder are used here."""
        self._ledger = ledger
        self._trials = trials
        self._workshop = workshop
        self._gate = gate
        self._seed = seed

    def rebuild(
        self,
        shard: Shard,
        writers: Sequence[SelfEditGenerator],
        ends_at: float | None,
        progress: Progress | None,
    ) -> ShardReport:
        """Train the shard anew; records that cannot be learned are declined, and the others go on.

        Records that nobody could be asked about stay queued. One that is known and has lost its material is not
        left out of the shard for that: the shard then waits.

        Args:
            shard: dirty, with its new records leased.
            writers: of this window; material is stored, so each record is written about once.
            ends_at: on the monotonic clock, seconds; records without a fair trial by then stay queued.
            progress: told what is written and trained.
        """
        task = Task(shard=shard, known=self._known(shard), ends_at=ends_at, progress=progress)
        declined: dict[str, str] = {}
        started = time.monotonic()
        waiting = self._write(shard, writers, progress)
        written = time.monotonic() - started
        if task.known.intersection(waiting):
            return untouched(shard, *_left_queued(waiting))
        while True:
            records, material = self._studied(shard, waiting, declined)
            if not records:
                left = untouched(shard, *_left_queued(waiting)) if waiting else self._retire(shard)
                return replace(left, declined=dict(declined))
            if self._was_refused(task, records):
                return replace(untouched(shard, REFUSED_BEFORE), declined=dict(declined))
            trials: list[Trial] = []
            self._decline(self._climb(task, records, material, trials), declined)
            if trials[-1].forgotten:  # once more, without the record
                continue
            if not trials[-1].passed and not _ended(task, trials[-1]):
                self._note_refusal(task, records)
            report = _report(task, trials, declined, written)
            return replace(report, attempts=(*report.attempts, *_left_queued(waiting)))

    # ------------------------------------------------------------ what is known

    def _known(self, shard: Shard) -> frozenset[str]:
        """Return the ids of what the serving version has learned; one of another base knows nothing here."""
        for version in self._ledger.versions(shard_id=shard.id):
            if version.id == shard.active:
                base = self._workshop().language_model.fingerprint
                return frozenset(version.record_ids) if version.manifest.get("base") == base else frozenset()
        return frozenset()

    def _was_refused(self, task: Task, records: Sequence[Record]) -> bool:
        """Tell whether these records, all known, were refused in this very form: trying again would give the same."""
        refused = self._ledger.meta(_refusal_of(task.shard)) == self._trials.recipe(records)
        return refused and _nothing_new(task, records)

    def _note_refusal(self, task: Task, records: Sequence[Record]) -> None:
        """Remember a refusal that declined nobody: the shard stays due, and need not be trained in every window."""
        if _nothing_new(task, records):
            self._ledger.set_meta(_refusal_of(task.shard), self._trials.recipe(records))

    # ------------------------------------------------------------ the ladder

    def _climb(
        self, task: Task, records: Sequence[Record], material: Sequence[SelfEdit], trials: list[Trial]
    ) -> dict[str, str]:
        """Try until a candidate passes; return record id -> why it is declined."""
        for rung in self._rungs(trials):
            trials.append(self._trials.run(task, records, material, rung))
            if trials[-1].passed or trials[-1].forgotten or _ended(task, trials[-1]):
                return {}
        new = [record for record in records if record.id not in task.known]
        reason = f"refused after {len(trials)} attempts, last {trials[-1].line}"
        if trials[-1].failed == ("learned",):
            weak = {record.id: reason for record in new if record.id in trials[-1].unlearned}
            groups = [[record for record in new if record.id not in weak]]
        else:
            weak = {new[0].id: reason} if len(new) == 1 else {}
            groups = _halves(new) if len(new) > 1 else []
        return weak | self._narrow(task, records, [group for group in groups if group], trials)

    def _rungs(self, trials: Sequence[Trial]) -> Iterator[Rung]:
        """Yield how to train next, by how the last trial failed."""
        yield Rung()
        if TOO_WEAK.intersection(trials[-1].failed):
            yield Rung(plain=True)
        else:
            yield from (Rung(rate=rate) for rate in self._gate.rates)

    def _narrow(
        self, task: Task, records: Sequence[Record], groups: list[list[Record]], trials: list[Trial]
    ) -> dict[str, str]:
        """Add one group after the other to what is accepted, halving those that spoil it; return what was refused."""
        accepted = set(task.known)
        refused: dict[str, str] = {}
        while groups and len(trials) < self._gate.most_trials:
            group = groups.pop(0)
            chosen = [record for record in records if record.id in accepted or record in group]
            trials.append(self._trials.run(task, chosen, self._material(chosen), Rung()))
            if trials[-1].passed:
                accepted |= {record.id for record in group}
            elif trials[-1].forgotten or _ended(task, trials[-1]):
                return refused
            elif len(group) == 1:
                refused[group[0].id] = f"refused by itself, {trials[-1].line}"
            else:
                groups = [*_halves(group), *groups]
        left = [record.id for group in groups for record in group]
        return refused | dict.fromkeys(left, f"refused with others after {len(trials)} attempts (gate.most_trials)")

    # ------------------------------------------------------------ material

    def _write(self, shard: Shard, writers: Sequence[SelfEditGenerator], progress: Progress | None) -> dict[str, str]:
        """Write about the shard's records that have no material, and store it one by one: it may have been paid for.

        Returns:
            record id -> why nobody could be asked about it.
        """
        members = self._ledger.shard_records(shard.id)
        stored = {edit.record_id for edit in self._ledger.self_edits([record.id for record in members]) if edit.items}
        new = [record for record in members if record.id not in stored]
        waiting: dict[str, str] = {}
        for done, record in enumerate(new, start=1):
            try:
                edits = [writer.write(record, seed=self._seed) for writer in writers]
            except TeacherError as error:
                waiting[record.id] = str(error)
            else:
                self._ledger.save_self_edits([_join(edits)])
            if progress is not None:
                progress("write", done, len(new), "+".join(writer.name for writer in writers))
        return waiting

    def _studied(
        self, shard: Shard, waiting: Collection[str], declined: dict[str, str]
    ) -> tuple[list[Record], list[SelfEdit]]:
        """Return the shard's records that have something to study, with their material; decline the others.

        They come in the order of what they say, not of arrival: a shard is then made from the same sequence
        whether or not there ever was a record that has been forgotten since.
        """
        there = [record for record in self._ledger.shard_records(shard.id) if record.id not in waiting]
        members = sorted(there, key=lambda record: (record.content_hash, record.id))
        material = self._material(members)
        empty = {edit.record_id: _why_empty(edit) for edit in material if all(item.held_out for item in edit.items)}
        self._decline(empty, declined)
        kept = {edit.record_id: edit for edit in material if edit.record_id not in empty}
        return [record for record in members if record.id in kept], list(kept.values())

    def _material(self, records: Sequence[Record]) -> list[SelfEdit]:
        """Return the stored material of the records, verified."""
        return self._workshop().prepare(self._ledger.self_edits([record.id for record in records])) if records else []

    # ------------------------------------------------------------ what is left

    def _decline(self, refused: Mapping[str, str], declined: dict[str, str]) -> None:
        """Leave records to retrieval, with the reason."""
        if refused:
            self._ledger.settle(learning={one: (Learning.DECLINED, reason) for one, reason in refused.items()})
            declined |= refused

    def _retire(self, shard: Shard) -> ShardReport:
        """Switch off a shard that has no record left."""
        self._ledger.activate(shard.id, None)  # also without an active version: it is not due any more
        return untouched(shard, "nothing is left to learn; the shard is switched off")


REFUSED_BEFORE = (
    "not trained again: these records were refused with these settings before; what serves goes on, masked where it is "
    "stale, until a record or a setting changes"
)


def _why_empty(edit: SelfEdit) -> str:
    """Say what became of everything that was written, or that nothing could be."""
    dropped = "; ".join(f"{reason} ({count})" for reason, count in sorted(edit.dropped.items()) if count)
    return f"nothing was left to study it by: {dropped}" if dropped else "nothing was written to study it by"


def _left_queued(waiting: Mapping[str, str]) -> tuple[str, ...]:
    """Return a line of the report for each reason why records wait."""
    return tuple(f"{count} left queued: {why}" for why, count in Counter(waiting.values()).items())


def _refusal_of(shard: Shard) -> str:
    return f"refused {shard.id}"


def _nothing_new(task: Task, records: Sequence[Record]) -> bool:
    return task.known.issuperset(record.id for record in records)


def untouched(shard: Shard, *why: str) -> ShardReport:
    """Return the report of a shard that was not trained."""
    return ShardReport(
        shard_id=shard.id,
        group=shard.group,
        scope=shard.scope,
        version=None,
        promoted=False,
        learned=(),
        declined={},
        metrics={},
        attempts=why,
        items=0,
        trained_tokens=0,
        seconds={},
    )


def _ended(task: Task, trial: Trial) -> bool:
    """Tell whether the window's budget is spent, or did not suffice for this trial."""
    return trial.late or task.out_of_time


def _halves(records: Sequence[Record]) -> list[list[Record]]:
    middle = (len(records) + 1) // 2
    return [list(records[:middle]), list(records[middle:])]


def _join(edits: Sequence[SelfEdit]) -> SelfEdit:
    """Put the material of several generators for one record together."""
    dropped: Counter[str] = Counter()
    for edit in edits:
        dropped.update(edit.dropped)
    asked = [edit.directives for edit in edits if edit.directives != Directives()]
    wrote = [edit.generator for edit in edits if edit.items or edit.dropped] or [edit.generator for edit in edits]
    return replace(
        edits[0],
        items=tuple(dict.fromkeys(item for edit in edits for item in edit.items)),
        generator="+".join(wrote),
        directives=asked[-1] if asked else Directives(),
        dropped=dict(dropped),
    )


def _report(task: Task, trials: Sequence[Trial], declined: Mapping[str, str], written_s: float) -> ShardReport:
    """Return what all trials of a shard came to; the numbers are those of the version that serves, if one passed."""
    passed = [trial for trial in trials if trial.passed]
    told = (passed or trials)[-1]
    seconds = Counter({"write": written_s})
    for trial in trials:
        seconds.update(trial.seconds)
    return replace(
        untouched(task.shard),
        version=told.version,
        promoted=bool(passed),
        learned=tuple(one for one in told.records if passed and one not in task.known),
        declined=dict(declined),
        metrics=told.metrics,
        attempts=tuple(trial.line for trial in trials),
        items=told.items,
        trained_tokens=sum(trial.tokens for trial in trials),
        seconds={stage: round(value, 2) for stage, value in seconds.items()},
    )
