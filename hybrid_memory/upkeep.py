"""Keep the adapter versions on disk in step with the ledger, whatever a crash has left.

Flow:    a memory is opened, a window opens or closes -> [upkeep]; forgetting deletes versions with it
Imports: errors, types, protocols.

A version is first taken out of service and marked as deleted, then its files go: whoever dies between
the two leaves files that the ledger says are deleted. Whoever opens the memory next, or ends a window, deletes them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from hybrid_memory.errors import AdapterError, LockedError
from hybrid_memory.protocols import AdapterStore, LanguageModel, Ledger
from hybrid_memory.types import GENERATOR, AdapterStatus, AdapterVersion

__all__ = ["Upkeep"]

log = logging.getLogger(__name__)

PART = 5_000
"""Ids in one filter; the ledger accepts twice as many."""

_NOT_MADE_AGAIN = "; the base model writes study material until `hybrid-memory seal train` trains another"
_GONE = (AdapterStatus.PURGED, AdapterStatus.REJECTED)


class Upkeep:
    """Deletes adapter versions that must not stay."""

    def __init__(
        self,
        ledger: Ledger,
        store: AdapterStore,
        *,
        loaded: Callable[[], LanguageModel | None],
        language_model: Callable[[], LanguageModel],
    ) -> None:
        """`loaded` gives the language model only if it is in memory; `language_model` loads it."""
        self._ledger = ledger
        self._store = store
        self._loaded = loaded
        self._language_model = language_model

    def sweep(self) -> None:
        """Delete folders that no ledger row names: candidates and deletions of processes that died."""
        self._store.sweep(self._kept_paths())

    def _kept_paths(self) -> Iterator[str]:
        # read when the store asks, after it has listed its folders: what is promoted meanwhile is known then
        yield from (version.path for version in self._ledger.versions() if version.status not in _GONE)

    def delete_those_that_saw_forgotten_records(self) -> None:
        """Finish what a process began that died while forgetting, or that forgot during another one's training."""
        kept = self._kept()
        seen = sorted({record_id for version in kept for record_id in version.record_ids})
        forgotten = set(seen)
        for start in range(0, len(seen), PART):
            part = seen[start : start + PART]
            found = self._ledger.find(scope=None, filters={"id": {"in": part}}, all_statuses=True)
            forgotten -= {record.id for record in found}  # the ledger finds everything but what is forgotten
        self.delete([version for version in kept if not forgotten.isdisjoint(version.record_ids)])

    def delete_damaged(self) -> None:
        """Delete serving versions whose files differ from their manifest; their shards become due.

        The others are checked when they are to serve again (`Adapters.usable`). The generator has no records that it
        could be made again from: the base model writes in its place.
        """
        shards = {shard.id: shard for shard in self._ledger.shards()}
        for version in self._ledger.versions():
            if version.status is not AdapterStatus.ACTIVE:
                continue
            try:
                self._store.verify(version.path)
            except AdapterError as error:
                own = version.shard_id == GENERATOR
                log.warning("%s; it is deleted%s", error, _NOT_MADE_AGAIN if own else " and made again from the ledger")
                if not own:
                    self._ledger.assign([], shard=shards[version.shard_id])  # first: who dies in between leaves it due
                self.delete([version])

    def mark_those_of_another_base(self) -> None:
        """Make the shards due whose serving version was trained on another base model than the present one.

        The base is known by its weights, not by its name, so the language model is loaded when anything serves.
        """
        versions = {version.id: version for version in self._ledger.versions()}
        for shard in self._ledger.shards():
            if shard.group == GENERATOR:  # nothing can be made again; whoever lets it write looks at its base
                continue
            made_on = versions[shard.active].manifest.get("base") if shard.active in versions else None
            if made_on is not None and made_on != self._language_model().fingerprint:
                log.warning("%s was trained on another base model; its shard is made again", shard.active)
                self._ledger.assign([], shard=shard)

    def retain(self, shard_id: str, count: int) -> None:
        """Delete the oldest versions of a shard that do not serve, beyond the `count` kept for rollback."""
        versions = self._ledger.versions(shard_id=shard_id)
        idle = (AdapterStatus.RETIRED, AdapterStatus.DISABLED)
        self.delete([version for version in versions if version.status in idle][:-count])

    def finish_deletions(self) -> None:
        """Delete what is still there of versions that are marked as deleted; what the ledger does not know stays."""
        for version in self._ledger.versions():
            if version.status is AdapterStatus.PURGED:
                self._purge(version)

    def delete(self, versions: Sequence[AdapterVersion]) -> tuple[int, tuple[str, ...]]:
        """Take versions out of service and delete their files.

        Returns:
            How many files were deleted, and the ids of the versions whose files another process held.
        """
        for version in versions:
            if version.status is AdapterStatus.ACTIVE:
                self._ledger.activate(version.shard_id, None)
            language_model = self._loaded()
            if language_model is not None:
                language_model.release(version.id)
        if versions:
            self._ledger.mark_purged([version.id for version in versions])
        counts = {version.id: self._purge(version) for version in versions}
        return sum(count or 0 for count in counts.values()), tuple(one for one in counts if counts[one] is None)

    def _purge(self, version: AdapterVersion) -> int | None:
        """Delete a version's files and return how many there were; None when another process holds them."""
        try:
            return self._store.purge(version.path)
        except LockedError as error:
            log.warning("%s; the next window, or who opens the memory next, deletes its files", error)
            return None

    def _kept(self) -> list[AdapterVersion]:
        return [version for version in self._ledger.versions() if version.status not in _GONE]
