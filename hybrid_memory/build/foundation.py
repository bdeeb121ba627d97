"""What all other parts of a memory stand on: the ledger, the index over it, and the adapters beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_memory.answer_log import AnswerLog
from hybrid_memory.archive import ADAPTERS, LEDGER
from hybrid_memory.build.models import language_model_of, make_encoder, make_reranker
from hybrid_memory.config import Settings
from hybrid_memory.errors import ConfigError
from hybrid_memory.protocols import AdapterStore, Encoder, LanguageModel, Ledger, Retriever
from hybrid_memory.upkeep import Upkeep

if TYPE_CHECKING:
    from hybrid_memory.weights.language_model import LocalLanguageModel

__all__ = ["Foundation", "lay", "make_folder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """What the other parts stand on; `language_model` loads the model when it is first called."""

    folder: Path
    settings: Settings
    encoder: Encoder
    ledger: Ledger
    retriever: Retriever
    store: AdapterStore
    upkeep: Upkeep
    answers: AnswerLog
    language_model: Callable[[], LanguageModel]


def lay(
    folder: Path,
    settings: Settings,
    *,
    encoder: Encoder | None,
    model: Any,
    vector_store: object | None,
    for_reindex: bool,
) -> Foundation:
    """Open ledger, index and adapters of a folder; the arguments are those of `build`."""
    from hybrid_memory.ledger.ledger import SqlLedger
    from hybrid_memory.weights.store import FolderAdapterStore

    encoder = encoder or make_encoder(settings)
    loaded: list[LocalLanguageModel] = [] if model is None else [model]
    ledger = SqlLedger.open(
        settings.ledger.url or f"sqlite:///{folder / LEDGER}",
        lock_path=folder / "writer.lock",
        lock_timeout_s=settings.ledger.lock_timeout_s,
        adapters=folder / ADAPTERS,
        former=folder / LEDGER if settings.ledger.url else None,
    )
    try:
        retriever = _retriever(folder, settings, ledger, encoder, vector_store=vector_store, for_reindex=for_reindex)
        store = FolderAdapterStore(folder / ADAPTERS)
        language_model = partial(language_model_of, settings, loaded)
        upkeep = Upkeep(ledger, store, loaded=lambda: loaded[0] if loaded else None, language_model=language_model)
        upkeep.delete_those_that_saw_forgotten_records()
        upkeep.finish_deletions()
    except BaseException:
        ledger.close()
        raise
    return Foundation(
        folder=folder,
        settings=settings,
        encoder=encoder,
        ledger=ledger,
        retriever=retriever,
        store=store,
        upkeep=upkeep,
        answers=AnswerLog(folder / "answers.jsonl"),
        language_model=language_model,
    )


def make_folder(folder: Path) -> None:
    """Make the folder of a memory; ConfigError when this user may not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot hold a memory ({error}); give a folder that this user may write to"
        ) from error


def _retriever(
    folder: Path,
    settings: Settings,
    ledger: Ledger,
    encoder: Encoder,
    *,
    vector_store: object | None,
    for_reindex: bool,
) -> Retriever:
    from hybrid_memory.retrieval.ranking import Ranking
    from hybrid_memory.retrieval.retriever import HybridRetriever

    chosen = settings.retrieval
    return HybridRetriever(
        ledger,
        encoder,
        folder / "index",
        candidates=chosen.candidates,
        dense_weight=chosen.dense_weight,
        lexical_weight=chosen.lexical_weight,
        large=chosen.large_index,
        large_from=chosen.large_from,
        ranking=Ranking(**chosen.model_dump(include=set(Ranking.__slots__))),
        reranker=make_reranker(settings),
        rerank_top=chosen.rerank_top,
        vector_store=vector_store,
        for_reindex=for_reindex,
    )
