"""One window: what waits in the queue becomes adapters, or is declined and stays in retrieval.

Flow:    queue -> lease -> place in shards -> rebuild each shard that is due -> report
Imports: errors, types, protocols, config, rebuilding, trials, upkeep, workers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial

from hybrid_memory.config import WindowSettings
from hybrid_memory.errors import (
    AdapterError,
    ConsolidationError,
    DeadlineError,
    HybridMemoryError,
    InputError,
    LockedError,
)
from hybrid_memory.protocols import Ledger, Progress, SelfEditGenerator
from hybrid_memory.rebuilding import Rebuilding, untouched
from hybrid_memory.trials import Workshop
from hybrid_memory.types import (
    GENERATOR,
    ConsolidationReport,
    FloatArray,
    Learning,
    Record,
    Scope,
    Shard,
    ShardReport,
)
from hybrid_memory.upkeep import Upkeep
from hybrid_memory.workers import Workers

__all__ = ["Consolidation"]

log = logging.getLogger(__name__)


class Consolidation:
    """Runs windows over one ledger."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        upkeep: Upkeep,
        workers: Workers,
        workshop: Callable[[], Workshop],
        rebuilding: Rebuilding,
        window: WindowSettings,
    ) -> None:
        """`workshop` is called when something is to be placed: it loads the language model."""
        self._ledger = ledger
        self._upkeep = upkeep
        self._workers = workers
        self._workshop = workshop
        self._rebuilding = rebuilding
        self._window = window

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
            if shards is None:  # named ones are made anew in any case
                self._upkeep.mark_those_of_another_base()
            waiting = [
                record.id for record in self._ledger.pending(scope=scope) if shards is None or record.shard_id in shards
            ]
            claim = partial(self._ledger.lease, worker=worker, lease_s=self._window.lease_s)
            leased = claim(waiting)

            def due() -> list[Shard]:
                return [shard for shard in self._due(scope, claim(leased)) if shards is None or shard.id in shards]

            try:
                self._place(leased)
                if shards is None:
                    self._regroup(due())
                keeping = _keeping(partial(claim, leased), self._window.lease_s, progress)
                reports = self._rebuild_all(due, started, budget, keeping)
            finally:
                self._ledger.unlease(leased, worker=worker)
            self._upkeep.delete_those_that_saw_forgotten_records()
            self._upkeep.finish_deletions()
        return self._report(reports, scope, time.monotonic() - started)

    def run_when_full(self) -> None:
        """Open a window when `window.queue_size` records wait; one that fails is given up, what waits stays queued."""
        size = self._window.queue_size
        if not size or len(self._ledger.pending()) < size:
            return
        try:
            self.run()
        except HybridMemoryError as error:  # what was ingested is stored: the call must not look as if it had failed
            log.warning("the window that opened because %d records wait was given up: %s", size, error)

    def _free(self, worker: str) -> None:
        """Give back what a dead worker had leased."""
        queued = self._ledger.find(scope=None, filters={"learning": Learning.QUEUED.value}, all_statuses=True)
        self._ledger.unlease([record.id for record in queued], worker=worker)

    def _tidy(self) -> None:
        self._ledger.empty_journal()
        self._upkeep.sweep()
        self._upkeep.delete_those_that_saw_forgotten_records()
        self._upkeep.delete_damaged()

    def _rebuild_all(
        self, due: Callable[[], Sequence[Shard]], started: float, budget: float | None, progress: Progress
    ) -> list[ShardReport]:
        """Rebuild what is due, each shard once; before each it is asked anew, since other windows work too."""
        reports: list[ShardReport] = []
        writers: Sequence[SelfEditGenerator] = ()
        tried: set[str] = set()
        while shard := next((one for one in due() if one.id not in tried), None):
            tried.add(shard.id)
            writers = writers or self._workshop().generators()
            spent = time.monotonic() - started
            if budget is not None and reports and spent + _typical(reports) > budget:
                break
            ends_at = None if budget is None else time.monotonic() + max(budget - spent, 1.0)
            try:
                reports.append(self._rebuilding.rebuild(shard, writers, ends_at, _until(ends_at, progress)))
            except DeadlineError as error:  # the time was up before anything was trained
                reports.append(untouched(shard, str(error)))
            except LockedError as error:  # another window is at it, or somebody writes for long: it stays due
                reports.append(untouched(shard, f"left for the next window: {error}"))
            except (AdapterError, ConsolidationError, InputError) as error:  # about this shard alone: the others go on
                log.warning("shard %s is left as it is: %s", shard.id, error)
                reports.append(untouched(shard, f"left as it is: {error}"))
        return reports

    # ------------------------------------------------------------ which shards

    def _place(self, record_ids: Sequence[str]) -> None:
        """Put newly leased records into shards of their scope."""
        homeless = [record for record in map(self._ledger.get, record_ids) if record.shard_id is None]
        for scope in dict.fromkeys(record.scope for record in homeless):
            new, vectors = self._with_vectors([record for record in homeless if record.scope == scope])
            inside = {
                shard: self._ledger.shard_records(shard.id) for shard in self._ledger.shards() if shard.scope == scope
            }
            members = {
                shard: self._with_vectors(there) if there else ([], vectors[:0]) for shard, there in inside.items()
            }
            chosen = self._workshop().place((new, vectors), members)
            for shard in dict.fromkeys(chosen):
                at_home = [record.id for record, home in zip(new, chosen, strict=True) if home == shard]
                self._ledger.assign(at_home, shard=shard)

    def _regroup(self, due: Sequence[Shard]) -> None:
        """Split and merge shards that are rebuilt anyway; others are left alone, however small they are."""
        for scope in dict.fromkeys(shard.scope for shard in due):
            there = {shard: self._ledger.shard_records(shard.id) for shard in due if shard.scope == scope}
            known = {shard: self._with_vectors(records) for shard, records in there.items() if records}
            if not known:
                continue
            taken = [shard.id for shard in self._ledger.shards() if shard.scope == scope]
            for shard, places, target in self._workshop().regroup(known, taken):
                self._ledger.assign([known[shard][0][place].id for place in places], shard=target)

    def _with_vectors(self, records: Sequence[Record]) -> tuple[list[Record], FloatArray]:
        """Return the records that still have passages with the vector of each one's first, shape (records, dim).

        One that was forgotten since it was read has none any more.
        """
        owners, vectors = self._ledger.record_vectors([record.id for record in records])
        first = {owner: number for number, owner in reversed(list(enumerate(owners)))}
        there = [record for record in records if record.id in first]
        return there, vectors[[first[record.id] for record in there]]

    def _due(self, scope: Scope | None, leased: Sequence[str]) -> list[Shard]:
        """Return the dirty shards inside the scope: masked ones first, they answer nothing until rebuilt."""
        mine = set(leased)
        due = [
            shard
            for shard in self._ledger.shards()
            if shard.dirty
            and shard.group != GENERATOR  # it has no records; `seal train` makes its versions
            and (scope is None or scope.covers(shard.scope))
            and all(
                record.learning is not Learning.QUEUED or record.id in mine
                for record in self._ledger.shard_records(shard.id)
            )  # a queued record that is not ours is leased by another worker, which will rebuild this shard
        ]
        return sorted(due, key=lambda shard: (not shard.masked, shard.id))

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


def _keeping(claim: Callable[[], object], lease_s: float, progress: Progress | None) -> Progress:
    """Return a progress that claims the window's records on: a window, or one shard, may outlast one lease."""
    claimed = time.monotonic()

    def told(stage: str, done: int, total: int, note: str = "") -> None:
        nonlocal claimed
        if time.monotonic() - claimed > lease_s / 3:
            claim()
            claimed = time.monotonic()
        if progress is not None:
            progress(stage, done, total, note)

    return told


def _until(ends_at: float | None, progress: Progress) -> Progress:
    """Return a progress that stops the writing of study material when the time is up; training has its own deadline."""
    if ends_at is None:
        return progress

    def told(stage: str, done: int, total: int, note: str = "") -> None:
        progress(stage, done, total, note)
        if stage == "write" and done < total and time.monotonic() >= ends_at:
            raise DeadlineError(
                f"the budget ended after study material for {done} of {total} was written; the records stay queued: "
                "raise the budget, or lower window.shard_cap"
            )

    return told


def _typical(reports: Sequence[ShardReport]) -> float:
    """Return the longest a shard has taken in this window, seconds: the guess for the next one."""
    return max(sum(report.seconds.values()) for report in reports)
