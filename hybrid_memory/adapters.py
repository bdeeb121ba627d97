"""`memory.adapters`: look at adapter versions, switch between them, switch them off.

Imports: errors, types, protocols.
"""

from __future__ import annotations

import math

from hybrid_memory.errors import AdapterError, NotFoundError
from hybrid_memory.protocols import AdapterStore, Ledger
from hybrid_memory.types import AdapterStatus, AdapterVersion

__all__ = ["Adapters"]

_SERVED = {AdapterStatus.RETIRED, AdapterStatus.DISABLED}


class Adapters:
    """Every version there is, and which of them serve. Each change is one ledger transaction."""

    def __init__(self, ledger: Ledger, store: AdapterStore) -> None:
        self._ledger = ledger
        self._store = store

    def list(self) -> list[AdapterVersion]:
        """Return all versions, oldest first, rejected and deleted ones included."""
        return self._ledger.versions()

    def get(self, version_id: str) -> AdapterVersion:
        """Return one version; NotFoundError lists some that exist."""
        versions = self._ledger.versions()
        found = next((version for version in versions if version.id == version_id), None)
        if found is None:
            known = ", ".join(version.id for version in versions[-5:]) or "none yet"
            raise NotFoundError(f"there is no adapter version {version_id!r}; the newest are: {known}")
        return found

    def promote(self, version_id: str) -> AdapterVersion:
        """Make a version serve, after its files were checked against its manifest.

        Raises:
            NotFoundError: there is no such version.
            AdapterError: its files are damaged or deleted, or it was rejected by the gate.
        """
        version = self.get(version_id)
        if version.status not in (AdapterStatus.PURGED, AdapterStatus.REJECTED):
            self._store.verify(version.path)
        self._ledger.activate(version.shard_id, version_id)
        return self.get(version_id)

    def rollback(self, to: str | None = None, *, shard_id: str | None = None) -> AdapterVersion:
        """Go back: to a version by id, or to the one before the serving (or switched off) one of a shard.

        Raises:
            NotFoundError: nothing to go back to.
            AdapterError: that version cannot serve.
        """
        if to is not None:
            return self.promote(to)
        shards = [shard for shard in self._ledger.shards() if shard_id is None or shard.id == shard_id]
        if len(shards) != 1:
            names = ", ".join(shard.id for shard in self._ledger.shards()) or "none"
            raise NotFoundError(f"say which shard (shard_id=) or version (to=) to roll back; shards: {names}")
        versions = self._ledger.versions(shard_id=shards[0].id)
        serving = [version.number for version in versions if version.id == shards[0].active]
        left = max(
            serving or [one.number for one in versions if one.status is AdapterStatus.DISABLED], default=math.inf
        )
        earlier = [version for version in versions if version.status in _SERVED and version.number < left]
        if not earlier:
            raise NotFoundError(f"shard {shards[0].id} has no earlier version; disable() switches it off")
        return self.promote(max(earlier, key=lambda version: version.number).id)

    def disable(self, shard_id: str) -> None:
        """Switch a shard off: its records are answered from retrieval until a version is promoted again."""
        if shard_id not in {shard.id for shard in self._ledger.shards()}:
            names = ", ".join(shard.id for shard in self._ledger.shards()) or "none yet"
            raise AdapterError(f"there is no shard {shard_id!r}; shards: {names}")
        self._ledger.activate(shard_id, None)
