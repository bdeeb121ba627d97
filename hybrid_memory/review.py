"""`memory.review`: what was set aside, and the reviewer's word on it.

Flow:    quarantined record -> list -> approve (stored as if it arrived now) or reject (forgotten).
Imports: errors, types, protocols, and forgetting beside it.

A quarantined record is no evidence: no search finds it, no window learns it, and it confirms nothing.
"""

from __future__ import annotations

from dataclasses import replace

from hybrid_memory.errors import InputError
from hybrid_memory.forgetting import Forgetting
from hybrid_memory.protocols import Ledger
from hybrid_memory.scoping import read_scope
from hybrid_memory.types import Decision, Receipt, Record, Route, Scope, Status, quoted

__all__ = ["Review"]


class Review:
    """The records in quarantine. Each word of the reviewer is one ledger transaction and an event."""

    def __init__(self, ledger: Ledger, forgetting: Forgetting) -> None:
        self._ledger = ledger
        self._forgetting = forgetting

    def list(
        self,
        *,
        tenant_id: str | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
    ) -> list[Record]:
        """Return what waits for review, oldest first; without a scope, everybody's."""
        given, _ = read_scope(tenant_id=tenant_id, user_id=user_id, agent_id=agent_id, run_id=run_id)
        return self._ledger.find(
            scope=None if given == Scope() else given,
            inside=given != Scope(),
            filters={"status": Status.QUARANTINED.value},
            all_statuses=True,
        )

    def approve(self, record_id: str, *, route: Route | str = Route.RETRIEVE, reason: str = "") -> Record:
        """Release a record; it takes its place in its slot as if it arrived now.

        Args:
            record_id: one of `list`.
            route: "retrieve", or "learn" to let it into the weights as well.
            reason: kept in the event and with the record.

        Raises:
            NotFoundError: there is no such record.
            InputError: it is not in quarantine, or the route is another one.
        """
        record = self._waiting(record_id)
        chosen = str(route)
        if chosen not in (Route.RETRIEVE, Route.LEARN):
            raise InputError(
                f"a reviewer approves for 'retrieve' or 'learn', got {quoted(chosen)}; reject() forgets it"
            )
        because = f"a reviewer approved it for {chosen}" + (f": {reason}" if reason else "")
        decision: Decision = replace(record.decision, route=Route(chosen), reasons=(*record.decision.reasons, because))
        return self._ledger.set_route(record_id, decision, because)

    def reject(self, record_id: str) -> Receipt:
        """Forget a record; its text is gone, and the same text is refused from now on.

        Raises:
            NotFoundError: there is no such record.
            InputError: it is not in quarantine.
        """
        return self._forgetting.forget([self._waiting(record_id)], now=False, progress=None)

    def _waiting(self, record_id: str) -> Record:
        record = self._ledger.get(record_id)
        if record.status is not Status.QUARANTINED:
            raise InputError(f"record {record_id} is {record.status.value}, not quarantined; review.list() shows those")
        return record
