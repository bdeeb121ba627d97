"""What a memory is put together from.

Flow:    build/ fills these in -> the facade hands each call to one of them
Imports: config, protocols, and the flow modules beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from hybrid_memory.adapters import Adapters
from hybrid_memory.asking import Asking
from hybrid_memory.benchmark import Replayed
from hybrid_memory.config import Settings
from hybrid_memory.consolidation import Consolidation
from hybrid_memory.forgetting import Forgetting
from hybrid_memory.intake import Intake
from hybrid_memory.protocols import AdapterStore, Encoder, GeneratorTrainer, LanguageModel, Ledger, Retriever
from hybrid_memory.rerouting import Rerouting
from hybrid_memory.review import Review
from hybrid_memory.upkeep import Upkeep
from hybrid_memory.verdicts import Verdicts

__all__ = ["Parts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The stages of one memory; what is callable loads the language model when it is called."""

    folder: Path
    settings: Settings
    encoder: Encoder
    ledger: Ledger
    retriever: Retriever
    store: AdapterStore
    upkeep: Upkeep
    intake: Intake
    asking: Asking
    verdicts: Verdicts
    rerouting: Rerouting
    consolidation: Consolidation
    forgetting: Forgetting
    adapters: Adapters
    review: Review
    outer_loop: Callable[[], GeneratorTrainer]
    language_model: Callable[[], LanguageModel]
    beside: Callable[[Path], AbstractContextManager[Replayed]]
    """Opens an empty memory in another folder, made of the same parts, for `memory.benchmark`."""
