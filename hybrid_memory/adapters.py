"""`memory.adapters`: look at adapter versions, switch between them, switch them off.

Imports: errors, types, protocols.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import overload

from hybrid_memory.errors import AdapterError, InputError, NotFoundError
from hybrid_memory.protocols import AdapterStore, Ledger
from hybrid_memory.types import AdapterStatus, AdapterVersion, Rollback, Status, quoted

__all__ = ["Adapters"]

_SERVED = {AdapterStatus.RETIRED, AdapterStatus.DISABLED}


class Adapters:
    """Every version there is, and which of them serve. Each change is one ledger transaction."""

    def __init__(self, ledger: Ledger, store: AdapterStore, *, base: Callable[[], str]) -> None:
        """`base` gives the fingerprint of the present base model; it is loaded for that."""
        self._ledger = ledger
        self._store = store
        self._base = base

    def list(self) -> list[AdapterVersion]:
        """Return all versions, oldest first, rejected and deleted ones included."""
        return self._ledger.versions()

    def get(self, version_id: str) -> AdapterVersion:
        """Return one version; NotFoundError lists some that exist."""
        versions = self._ledger.versions()
        found = next((version for version in versions if version.id == version_id), None)
        if found is None:
            known = ", ".join(version.id for version in versions[-5:]) or "none yet"
            raise NotFoundError(f"there is no adapter version {quoted(version_id)}; the newest are: {known}")
        return found

    def promote(self, version_id: str) -> AdapterVersion:
        """Make a version serve, after its files were checked against its manifest.

        Raises:
            NotFoundError: there is no such version.
            AdapterError: its files are damaged or deleted, it was rejected by the gate, or made for another base model.
        """
        version = self.usable(version_id)
        self._ledger.activate(version.shard_id, version_id)
        return self.get(version_id)

    @overload
    def rollback(self, to: str | None = None, *, shard_id: str | None = None) -> AdapterVersion: ...

    @overload
    def rollback(self, to: datetime, *, shard_id: str | None = None) -> Rollback: ...

    def rollback(self, to: str | datetime | None = None, *, shard_id: str | None = None) -> AdapterVersion | Rollback:
        """Go back: to a version, to what served at a time, or to the version before the serving one of a shard.

        Args:
            to: a version's id; or a time (timezone-aware): every shard serves again what it served then, and one
                that served nothing is switched off, all in one step; a shard whose version of then cannot serve
                any more keeps its present one; or None: the version before the serving, or switched off, one.
            shard_id: only this shard; needed without `to` when there are several.

        Returns:
            The version that serves now; for a time, those of all shards that went back to one, and which did not.

        Raises:
            NotFoundError: nothing to go back to.
            AdapterError: the version cannot serve; nothing was changed.
            InputError: a time without timezone.
        """
        if isinstance(to, datetime):
            return self._rollback_to_time(to, shard_id)
        return self.promote(to if to is not None else self._before(shard_id))

    def _rollback_to_time(self, time: datetime, shard_id: str | None) -> Rollback:
        if time.tzinfo is None:
            raise InputError(f"{time} has no timezone; give one, such as datetime(2025, 6, 1, tzinfo=UTC)")
        served = self._served_at(time)
        targets: dict[str, str | None] = {}
        kept: dict[str, str] = {}
        for shard in self._ledger.shards():
            target = served.get(shard.id)
            if shard_id not in (None, shard.id) or target == shard.active is None:
                continue
            try:
                if target is not None:
                    self.usable(target)
                targets[shard.id] = target
            except AdapterError as error:
                kept[shard.id] = str(error)
        self._ledger.roll_back(targets)
        return Rollback(serving=tuple(self.get(one) for one in targets.values() if one is not None), kept=kept)

    def _served_at(self, time: datetime) -> dict[str, str | None]:
        """Return shard id -> the version that served at a time, from the history."""
        served: dict[str, str | None] = {}
        after = 0
        while page := self._ledger.events(after=after):
            for event in page:
                if event.at <= time and event.name in ("promoted", "activated"):
                    target = event.detail["adapter"]
                    served[str(event.detail["shard"])] = None if target is None else str(target)
            after = page[-1].id
        return served

    def _before(self, shard_id: str | None) -> str:
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
        return max(earlier, key=lambda version: version.number).id

    def usable(self, version_id: str) -> AdapterVersion:
        """Return a version that may serve, whose files are whole, and that is of the present base model.

        Raises:
            NotFoundError: there is no such version.
            AdapterError: its files are damaged or deleted, it was rejected by the gate, or made for another base model.
        """
        version = self.get(version_id)
        if version.status is AdapterStatus.REJECTED:
            raise AdapterError(f"{version.id} is rejected and cannot serve; choose a version that was active before")
        if version.status is AdapterStatus.PURGED:
            saw = any(self._ledger.get(one).status is Status.FORGOTTEN for one in version.record_ids)
            why = "it had learned a record that is forgotten" if saw else "it was too old or damaged"
            raise AdapterError(
                f"{version.id} cannot serve: its files were deleted, because {why}; adapters.list() shows those that "
                "are kept (window.keep_versions), and consolidate() makes a new one from the ledger"
            )
        self._store.verify(version.path)
        made_on = version.manifest.get("base")
        if made_on is not None and made_on != self._base():
            raise AdapterError(
                f"{version.id} cannot serve: it was trained on base model {made_on}, this is {self._base()}; "
                "open the memory with its own model (model.name), or consolidate() to make a new version"
            )
        return version

    def disable(self, shard_id: str) -> None:
        """Switch a shard off: its records are answered from retrieval until a version is promoted again."""
        if shard_id not in {shard.id for shard in self._ledger.shards()}:
            names = ", ".join(shard.id for shard in self._ledger.shards()) or "none yet"
            raise AdapterError(f"there is no shard {quoted(shard_id)}; shards: {names}")
        self._ledger.activate(shard_id, None)
