"""How many vectors a store takes a second, by how many come in one call: the same measure for ours and the others.

Flow:    retrieval_speed.py (ours) | retrieval_peers.py (the others, in their own environment) -> [insert_rates]
Imports: standard library only.

A store that writes a whole file for each call looks fast when everything comes in one call, and slow when a program
adds what it has just been told. So the store is filled in one call first, and then gets more in calls of each size.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["SPARE", "insert_rates"]

CALLS = {1: 20, 10: 20, 100: 10, 1_000: 3}
"""How many vectors come in one call -> how many such calls at most."""
BUDGET_S = 10.0
"""No further call of a size is begun after this time; one is always made."""
SPARE = sum(size * calls for size, calls in CALLS.items())
"""Vectors needed beyond those that fill the store."""


def insert_rates(insert: Callable[[int, int], None], count: int) -> dict[str, float]:
    """Fill a store with `count` vectors in one call, add more in calls of each size, and return vectors a second.

    By the clock, which other jobs on the machine slow down, and in processor time, which knows of no waiting for the
    disk; both belong in the table.

    Args:
        insert: stores the vectors from row `first` up to row `last` durably, as far as the store can, and findable.
        count: how many fill the store; there are at least `count + SPARE` rows.
    """
    rates = _rates("all in one call", [(0, count)], insert)
    first = count
    for size, calls in CALLS.items():
        rates |= _rates(
            f"calls of {size:,}", [(first + n * size, first + (n + 1) * size) for n in range(calls)], insert
        )
        first += size * calls
    return rates


def _rates(name: str, calls: list[tuple[int, int]], insert: Callable[[int, int], None]) -> dict[str, float]:
    done, begun, busy = 0, time.perf_counter(), time.process_time()
    for first, last in calls:
        insert(first, last)
        done += last - first
        if time.perf_counter() - begun > BUDGET_S:
            break
    clock, processor = time.perf_counter() - begun, time.process_time() - busy
    return {f"{name}, per s": done / clock, f"{name}, per CPU s": done / processor}
