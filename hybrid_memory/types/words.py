"""Words with a fixed set of values."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["AdapterStatus", "Kind", "Learning", "Mode", "Route", "Sensitivity", "Status", "Trust"]


class Route(StrEnum):
    """Where a record goes. LEARN is also retrievable: nothing is in the weights alone."""

    RETRIEVE = "retrieve"
    LEARN = "learn"
    DROP = "drop"
    QUARANTINE = "quarantine"


class Kind(StrEnum):
    """What sort of knowledge a record holds."""

    FACT = "fact"
    PREFERENCE = "preference"
    PROCEDURE = "procedure"
    EXAMPLE = "example"
    EVENT = "event"
    CONVERSATION = "conversation"
    TASK = "task"
    """A skill shown by demonstrations. No search finds one: it is asked for by its name."""


class Trust(StrEnum):
    """Who vouches for a record: the application, its user, or anybody."""

    OPERATOR = "operator"
    USER = "user"
    EXTERNAL = "external"


class Status(StrEnum):
    """Where a record stands in its life. Only ACTIVE records are evidence."""

    ACTIVE = "active"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    FORGOTTEN = "forgotten"
    QUARANTINED = "quarantined"


class Learning(StrEnum):
    """Where a record stands on its way into the weights."""

    NONE = "none"
    QUEUED = "queued"
    LEARNED = "learned"
    DECLINED = "declined"
    STALE = "stale"


class Sensitivity(StrEnum):
    """What kind of care the text of a record needs."""

    NORMAL = "normal"
    PERSONAL = "personal"
    SECRET = "secret"  # noqa: S105 - a class of data, not a password


class Mode(StrEnum):
    """Which halves of the memory answer a question."""

    HYBRID = "hybrid"
    RETRIEVAL_ONLY = "retrieval_only"
    WEIGHTS_ONLY = "weights_only"


class AdapterStatus(StrEnum):
    """Where an adapter version stands: trained, serving, replaced, switched off, refused or deleted."""

    CANDIDATE = "candidate"
    ACTIVE = "active"
    RETIRED = "retired"
    DISABLED = "disabled"
    REJECTED = "rejected"
    PURGED = "purged"
