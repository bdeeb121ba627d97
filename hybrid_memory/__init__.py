"""A memory with two halves for LLM applications: evolving facts in retrieval, durable knowledge in LoRA weights.

Importing this loads neither torch nor faiss nor transformers; opening a memory does.
"""

from hybrid_memory.asynchronous import AsyncHybridMemory
from hybrid_memory.benchmark import BenchmarkReport
from hybrid_memory.config import Settings
from hybrid_memory.errors import (
    AdapterError,
    ConfigError,
    ConsolidationError,
    FilterError,
    HybridMemoryError,
    IndexMismatchError,
    InputError,
    LedgerError,
    LockedError,
    MissingExtraError,
    ModelError,
    NotFoundError,
    PolicyError,
)
from hybrid_memory.memory import HybridMemory
from hybrid_memory.types import (
    AdapterVersion,
    Answer,
    Audit,
    ConsolidationReport,
    Context,
    Decision,
    Example,
    Fact,
    Hit,
    IngestReceipt,
    Mode,
    Preference,
    Receipt,
    Record,
    Route,
    Scope,
    Trust,
    Turn,
)

__all__ = [
    "AdapterError",
    "AdapterVersion",
    "Answer",
    "AsyncHybridMemory",
    "Audit",
    "BenchmarkReport",
    "ConfigError",
    "ConsolidationError",
    "ConsolidationReport",
    "Context",
    "Decision",
    "Example",
    "Fact",
    "FilterError",
    "Hit",
    "HybridMemory",
    "HybridMemoryError",
    "IndexMismatchError",
    "IngestReceipt",
    "InputError",
    "LedgerError",
    "LockedError",
    "MissingExtraError",
    "Mode",
    "ModelError",
    "NotFoundError",
    "PolicyError",
    "Preference",
    "Receipt",
    "Record",
    "Route",
    "Scope",
    "Settings",
    "Trust",
    "Turn",
]
