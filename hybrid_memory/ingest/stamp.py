"""Everything about a draft but its text: who, where from, when, until when. Checked once.

Flow:    arguments of `ingest` -> [stamp] -> every draft of that call
Imports: errors, types, and dates beside it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hybrid_memory.errors import InputError
from hybrid_memory.ingest.dates import resolve, spelled
from hybrid_memory.types import Draft, Example, Json, Kind, Scope, Slot, Trust, Value, nested_deeper, quoted, unkeepable

__all__ = ["Content", "Stamp", "as_lifetime", "as_metadata", "as_time", "as_trust", "aware_time", "make_stamp"]

DEEPEST = 64
"""Levels of metadata inside metadata; Python itself gives up near a thousand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content(Value):
    """What one draft says; the stamp adds the rest. None means: as the stamp has it."""

    text: str
    kind: Kind | None = None
    slot: Slot | None = None
    value: str | None = None
    examples: tuple[Example, ...] = ()
    passages: tuple[str, ...] = ()
    """What to embed; empty means the text."""
    asked: str | None = None
    """The question that a turn answers."""
    source: str | None = None
    trust: Trust | None = None
    observed_at: datetime | None = None
    metadata: Mapping[str, Json] | None = None
    """Added to the stamp's; the stamp's own keys win."""
    scope: Scope | None = None
    """Whose it says it is; never outside the scope of the call."""
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    expires_at: datetime | None = None
    ttl_s: float | None = None
    live: bool = True
    """Said now, unless a time is given; False for files, which may be of any age."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp(Value):
    """The checked arguments of one `read` call; None where the input decides."""

    scope: Scope
    source: str | None
    trust: Trust | None
    observed_at: datetime | None
    now: datetime
    valid_from: datetime | None
    valid_to: datetime | None
    ttl_s: float | None
    supersedes: str | None
    idempotency_key: str | None
    metadata: Mapping[str, Json]

    def draft(self, content: Content, *, key: str | None) -> Draft:
        """Return the draft of one content; what the caller said wins over what the input says.

        Raises:
            InputError: it would end before it begins.
        """
        told = self.observed_at or content.observed_at or (self.now if content.live else None)
        dates = resolve(content.text, told) if told is not None and content.kind is None else {}
        observed = (told or self.now).astimezone(UTC)
        begins = self.valid_from or content.valid_from or observed
        ends = self.valid_to or content.valid_to
        if ends is not None and ends <= begins:
            raise InputError(
                f"valid_to {ends.isoformat()} is not after valid_from {begins.isoformat()}; "
                "give a later valid_to, or an earlier valid_from (it defaults to observed_at)"
            )
        ttl_s = self.ttl_s or content.ttl_s
        return Draft(
            text=content.text,
            kind=content.kind,
            scope=self.scope if content.scope is None else self._inside(content.scope),
            source=self.source or content.source or "text",
            trust=self.trust or content.trust or Trust.USER,
            observed_at=observed,
            valid_from=begins,
            valid_to=ends,
            expires_at=content.expires_at if ttl_s is None else _after(observed, ttl_s),
            slot=content.slot,
            value=content.value,
            examples=content.examples,
            passages=tuple(
                f"{passage}\n{spelled(dates)}" if dates else passage for passage in content.passages or (content.text,)
            ),
            asked=content.asked,
            supersedes=self.supersedes,
            idempotency_key=key,
            metadata={**({"dates": dates} if dates else {}), **(content.metadata or {}), **self.metadata},
        )

    def _inside(self, theirs: Scope) -> Scope:
        """Return the scope of an input inside the scope of the call."""
        for name, ours, own in zip(theirs.keys(), self.scope.values(), theirs.values(), strict=True):
            if None not in (ours, own) and ours != own:
                raise InputError(
                    f"it belongs to {name} {quoted(own)}, the call to {quoted(ours)}; import each into its own scope"
                )
        return Scope(*(ours or own for ours, own in zip(self.scope.values(), theirs.values(), strict=True)))


def make_stamp(
    *,
    scope: Scope,
    source: str | None,
    observed_at: datetime | None,
    valid_from: datetime | None,
    valid_to: datetime | None,
    ttl_s: float | None,
    trust: Trust | str | None,
    supersedes: str | None,
    metadata: Mapping[str, Json] | None,
    idempotency_key: str | None,
) -> Stamp:
    """Check the arguments of one call and bring times to UTC.

    Raises:
        InputError: a naive time, a lifetime that is not positive, an unknown trust, metadata that is not JSON; or a
            source, an id or a key that is no text.
    """
    return Stamp(
        scope=scope,
        source=_name("source", source, blank=True),
        trust=as_trust(trust),
        observed_at=None if observed_at is None else aware_time(observed_at, "observed_at"),
        now=datetime.now(UTC),
        valid_from=None if valid_from is None else as_time(valid_from, "valid_from"),
        valid_to=None if valid_to is None else as_time(valid_to, "valid_to"),
        ttl_s=as_lifetime(ttl_s),
        supersedes=_name("supersedes", supersedes),
        idempotency_key=_name("idempotency_key", idempotency_key),
        metadata=as_metadata(metadata),
    )


def _name(what: str, value: str | None, *, blank: bool = False) -> str | None:
    if value is not None and not (isinstance(value, str) and (blank or value.strip())):
        raise InputError(f"{what} must be {'' if blank else 'non-empty '}text, got {quoted(value)}; or leave it out")
    return value


def as_time(value: object, name: str) -> datetime:
    """Return a time in UTC; see `aware_time`."""
    return aware_time(value, name).astimezone(UTC)


def aware_time(value: object, name: str) -> datetime:
    """Return a time from an aware datetime, an ISO 8601 text with an offset, or Unix seconds; its zone is kept.

    The zone decides which day was "yesterday" for whoever spoke.

    Raises:
        InputError: none of these, or a time without a zone.
    """
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            value = datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InputError(f"{name} is no time: {quoted(value)}; write ISO 8601, such as 2026-05-03T12:00:00Z") from error
    if not isinstance(value, datetime):
        raise InputError(f"{name} must be a datetime, got {quoted(value)}")
    if value.utcoffset() is None:
        raise InputError(
            f"{name} {value.isoformat()} has no time zone; say which one, such as "
            "datetime(2026, 5, 3, tzinfo=timezone.utc) or 2026-05-03T12:00:00Z"
        )
    try:
        value.astimezone(UTC)
    except OverflowError as error:
        raise InputError(f"{name} {value.isoformat()} lies outside the years 1 to 9999 in UTC") from error
    return value


def as_trust(trust: Trust | str | None) -> Trust | None:
    """Return the word, None for None; InputError lists the words there are."""
    try:
        return None if trust is None else Trust(trust)
    except ValueError as error:
        raise InputError(f"trust must be one of {', '.join(Trust)}, got {quoted(trust)}") from error


def as_lifetime(ttl_s: float | None) -> float | None:
    """Return a lifetime in seconds, None for none; InputError when it is no number above 0."""
    if ttl_s is None:
        return None
    if isinstance(ttl_s, bool) or not isinstance(ttl_s, int | float) or not 0 < ttl_s <= sys.float_info.max:
        raise InputError(
            f"ttl must be a positive number of seconds, got {quoted(ttl_s)}; leave it out to keep the record"
        )
    return float(ttl_s)


def _after(time: datetime, ttl_s: float) -> datetime:
    try:
        return time + timedelta(seconds=ttl_s)
    except OverflowError as error:
        raise InputError(f"ttl {ttl_s:g} s ends after the year 9999; leave it out to keep the record") from error


def as_metadata(metadata: Mapping[str, Json] | None) -> Mapping[str, Json]:
    """Return a copy of metadata as the ledger keeps it; {} for None.

    Raises:
        InputError: it is no dict with text keys, no plain JSON data, too deep, or has text that no database keeps.
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping) or not all(isinstance(key, str) for key in metadata):
        raise InputError(f"metadata must be a dict with text keys, got {quoted(metadata)}")
    if nested_deeper(metadata, DEEPEST):
        raise InputError(f"metadata is nested deeper than {DEEPEST} levels; flatten it")
    try:
        copy: Mapping[str, Json] = json.loads(json.dumps(dict(metadata), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"metadata must be plain JSON data: {error}; turn dates and objects into text") from error
    if bad := unkeepable(copy):
        raise InputError(f"metadata has {bad} in it, which no database keeps; remove it")
    return copy
