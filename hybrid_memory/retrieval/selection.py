"""Which passages a search may find, kept up to date without asking the ledger for all of them each time.

Flow:    ledger (visible, and what changed since) -> [Selections] -> index, words
Imports: protocols, types.

Reading 100,000 visible ids takes the ledger a quarter of a second; a selection that is known already is brought up
to date with the records that changed since: by an event, or because their time began or ended.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hybrid_memory.protocols import Filters, Ledger
from hybrid_memory.types import IdArray, Scope

__all__ = ["Selection", "Selections"]

KEPT = 64
"""Selections that are remembered: scopes and filters that were searched last."""


class Selection:
    """Ids of passages, in the forms that searching needs; never changed.

    Args:
        ids: int64, ascending, each once.
    """

    def __init__(self, ids: IdArray) -> None:
        self.ids = ids

    @property
    def size(self) -> int:
        """How many there are."""
        return int(self.ids.size)

    @cached_property
    def bits(self) -> npt.NDArray[np.bool_]:
        """True at each id; as long as the greatest id asks for."""
        bits = np.zeros(int(self.ids[-1]) + 1 if self.ids.size else 1, dtype=bool)
        bits[self.ids] = True
        return bits

    @cached_property
    def packed(self) -> npt.NDArray[np.uint8]:
        """The same, eight to a byte, lowest bit first: FAISS's bitmap."""
        return np.packbits(self.bits, bitorder="little")

    def holds(self, ids: IdArray) -> npt.NDArray[np.bool_]:
        """Tell for each id whether it is in here."""
        if ids.size and int(ids.max()) >= self.bits.size:
            inside = ids < self.bits.size
            inside[inside] = self.bits[ids[inside]]
            return inside
        return self.bits[ids]

    def changed(self, touched: IdArray, visible: IdArray) -> Selection:
        """Return a selection in which of the `touched` ids exactly the `visible` ones are."""
        stay = self.ids[~np.isin(self.ids, touched)] if touched.size else self.ids
        if not stay.size or not visible.size or visible[0] > stay[-1]:
            return Selection(np.concatenate([stay, visible]))
        return Selection(np.union1d(stay, visible))


@dataclass(frozen=True, slots=True)
class _Known:
    selection: Selection
    clock: int
    at: datetime
    until: datetime | None
    """When time alone changes it; None is never."""


class Selections:
    """The selections of one ledger; safe to share between threads."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: OrderedDict[tuple[Scope, str, datetime | None], _Known] = OrderedDict()
        self._lock = threading.Lock()

    def get(
        self,
        *,
        scope: Scope,
        filters: Filters | None,
        as_of: datetime | None,
        known_at: datetime | None = None,
        clock: int,
    ) -> tuple[Selection, int]:
        """Return what a query may see now, or could as of a time, and the ledger's clock of that answer.

        The ledger is asked only when its clock or the time has moved on.

        Args:
            scope: who asks.
            filters: further conditions.
            as_of: None is now.
            known_at: by what was recorded then; not remembered, such questions are few.
            clock: the ledger's, read by the caller just now.
        """
        if known_at is not None:
            ids = self._ledger.visible(scope=scope, filters=filters, as_of=as_of, known_at=known_at)
            return Selection(ids), clock
        # In UTC: two times of one zone are equal by the clock on the wall, though an hour lies between them in autumn.
        time = None if as_of is None else as_of.astimezone(UTC)
        key = (scope, json.dumps(filters, sort_keys=True, default=str), time)
        with self._lock:
            known = self._known.get(key)
        now = datetime.now(UTC)
        if known is not None and known.clock >= clock and (known.until is None or now < known.until):
            return known.selection, known.clock
        until: datetime | None
        if known is None or as_of is not None:
            # What changes after the clock was read is read again next time.
            selection, until = Selection(self._ledger.visible(scope=scope, filters=filters, as_of=as_of)), None
            if as_of is None:
                until = now  # when it changes is found out the second time: many scopes are searched once
        else:
            clock, until, touched, visible = self._ledger.visible_since(
                scope=scope, filters=filters, event=known.clock, after=known.at
            )
            selection = known.selection.changed(touched, visible) if touched.size else known.selection
        with self._lock:
            self._known[key] = _Known(selection, clock, now, until)
            self._known.move_to_end(key)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return selection, clock
