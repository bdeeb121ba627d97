"""Every error this package raises on purpose.

HybridMemoryError
├── ConfigError        (ValueError)        a setting is wrong; nothing has run yet
├── PolicyError        (ValueError)        a routing policy file cannot be used
├── InputError         (ValueError)        what was given to a call cannot be used; nothing was stored
├── FilterError        (ValueError)        a filter names an unknown operator or field
├── NotFoundError      (KeyError)          no record, adapter, answer or policy has this name
├── IndexMismatchError (ValueError)        vectors or files do not fit this index
├── LedgerError        (RuntimeError)      the database is missing, damaged, too new, or its disk is full
├── ClosedError        (RuntimeError)      a memory was used after `close()`
├── LockedError        (RuntimeError)      another process is writing to this memory
├── ModelError         (RuntimeError)      a model is missing, damaged or not a model
├── ConsolidationError (RuntimeError)      training ran, its result was not kept
│   └── DeadlineError                      the time that is left does not suffice; nothing was judged
├── TeacherError       (RuntimeError)      a teacher could not be asked; what it was to write about stays queued
├── AdapterError       (RuntimeError)      an adapter version is missing or damaged
└── MissingExtraError  (ImportError)       an optional package is not installed

Each also derives from the built-in a caller would already catch. None takes
extra constructor arguments, so all of them survive pickling to a worker.
"""

__all__ = [
    "AdapterError",
    "ClosedError",
    "ConfigError",
    "ConsolidationError",
    "DeadlineError",
    "FilterError",
    "HybridMemoryError",
    "IndexMismatchError",
    "InputError",
    "LedgerError",
    "LockedError",
    "MissingExtraError",
    "ModelError",
    "NotFoundError",
    "PolicyError",
    "TeacherError",
]


class HybridMemoryError(Exception):
    """The base of every error raised on purpose by this package."""

    def __str__(self) -> str:
        """Return the message; KeyError would show it in quotes."""
        return str(self.args[0]) if self.args else ""


class ConfigError(HybridMemoryError, ValueError):
    """A setting is wrong; nothing has run yet."""


class PolicyError(HybridMemoryError, ValueError):
    """A routing policy file cannot be used; the message names line and key."""


class InputError(HybridMemoryError, ValueError):
    """What was given to a call cannot be used; nothing was stored."""


class FilterError(HybridMemoryError, ValueError):
    """A filter names an unknown operator or field, or tries to widen a scope."""


class NotFoundError(HybridMemoryError, KeyError):
    """No record, adapter, answer or policy has this name."""


class IndexMismatchError(HybridMemoryError, ValueError):
    """Vectors or files do not fit this index."""


class LedgerError(HybridMemoryError, RuntimeError):
    """The database is missing, damaged, newer than this package, or its disk is full."""


class ClosedError(HybridMemoryError, RuntimeError):
    """A memory was used after `close()`; nothing was done."""


class LockedError(HybridMemoryError, RuntimeError):
    """Another process is writing to this memory."""


class ModelError(HybridMemoryError, RuntimeError):
    """A model is missing, damaged, or no model at all."""


class ConsolidationError(HybridMemoryError, RuntimeError):
    """Training ran, its result was not kept."""


class DeadlineError(ConsolidationError):
    """The time that was left did not suffice for writing or training; nothing was judged, what waits stays queued."""


class TeacherError(HybridMemoryError, RuntimeError):
    """A teacher failed or was late; what it was to write about stays queued."""


class AdapterError(HybridMemoryError, RuntimeError):
    """An adapter version is missing or damaged."""


class MissingExtraError(HybridMemoryError, ImportError):
    """An optional package is not installed; the message has the pip line."""
