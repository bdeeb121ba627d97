"""The models that the settings name, loaded when they are first needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hybrid_memory import models
from hybrid_memory.catalogue import CATALOGUE
from hybrid_memory.config import Settings
from hybrid_memory.protocols import Encoder, LanguageModel

if TYPE_CHECKING:
    from hybrid_memory.retrieval.rerank import Reranker
    from hybrid_memory.weights.language_model import LocalLanguageModel

__all__ = ["language_model_of", "make_encoder", "make_reranker", "without_memory"]


def make_encoder(settings: Settings) -> Encoder:
    """Return the encoder the settings name, with its cache when they name one.

    Raises:
        ModelError: it is not on this machine.
    """
    from hybrid_memory.retrieval.encoder import SentenceEncoder
    from hybrid_memory.retrieval.vector_cache import CachedEncoder

    name, cache_file = settings.encoder.name, settings.encoder.cache
    encoder = SentenceEncoder(models.path(name) if name in CATALOGUE else name, batch_size=settings.encoder.batch_size)
    return encoder if cache_file is None else CachedEncoder(encoder, Path(cache_file).expanduser())


def without_memory(encoder: Encoder) -> Encoder:
    """Return the encoder without the file in which it keeps vectors, if it has one."""
    from hybrid_memory.retrieval.vector_cache import CachedEncoder

    return encoder.without_memory if isinstance(encoder, CachedEncoder) else encoder


def make_reranker(settings: Settings) -> Reranker | None:
    """Return what reads the best passages again; None when the settings name nothing."""
    if settings.retrieval.reranker is None:
        return None
    from hybrid_memory.retrieval import rerank

    return rerank.make_reranker(settings.retrieval.reranker_kind, settings.retrieval.reranker)


def language_model_of(settings: Settings, loaded: list[LocalLanguageModel]) -> LanguageModel:
    """Load the model on first use and keep it."""
    if not loaded:
        from hybrid_memory.weights.convert import resolve_language_model
        from hybrid_memory.weights.language_model import LocalLanguageModel

        loaded.append(
            LocalLanguageModel.load(
                resolve_language_model(settings.model.name),
                device=settings.model.device,
                dtype=settings.model.dtype,
                four_bit=settings.model.four_bit,
                threads=settings.model.threads,
                batch_size=settings.model.batch_size,
            )
        )
    return loaded[0]
