"""Times as the database keeps them: whole microseconds since 1970 UTC.

Flow:    every module of the ledger converts here and nowhere else.
Imports: errors.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hybrid_memory.errors import InputError

__all__ = ["from_micros", "now_micros", "to_micros"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def now_micros() -> int:
    """Return the present moment in microseconds since 1970 UTC."""
    return to_micros(datetime.now(UTC))


def to_micros(time: datetime, name: str = "a time") -> int:
    """Return microseconds since 1970 UTC, exactly.

    Args:
        time: timezone-aware, any zone.
        name: how the caller named it, for the message.

    Raises:
        InputError: the time has no timezone.

    >>> to_micros(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    if time.utcoffset() is None:
        raise InputError(
            f"{name} is {time.isoformat()}, without a timezone; "
            "give an aware datetime, such as datetime(2025, 1, 31, tzinfo=timezone.utc)"
        )
    return (time - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the aware UTC datetime of microseconds since 1970; the inverse of `to_micros`."""
    return _EPOCH + micros * _MICROSECOND
