"""Read the best passages again together with the question: slower, and better with a good model.

Flow:    retriever's best -> [rerank] -> the same ones in another order
Imports: errors, types, and retrieval.encoder. sentence_transformers is imported with the first question.

No such model is shipped. A setting that names one which is not on this machine is an error when the memory opens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from hybrid_memory.errors import ModelError
from hybrid_memory.retrieval.encoder import model_folder, unit_rows

__all__ = ["CrossEncoderReranker", "LateInteractionReranker", "Reranker", "RerankerKind", "make_reranker"]

RerankerKind: TypeAlias = Literal["cross_encoder", "late_interaction"]


class Reranker(Protocol):
    """Scores passages for a question."""

    def score(self, question: str, texts: Sequence[str]) -> list[float]:
        """Return one score per text, higher is better; comparable within one call only."""
        ...


def make_reranker(kind: RerankerKind, name: Path | str) -> Reranker:
    """Return the reranker of a kind.

    Args:
        kind: "cross_encoder" or "late_interaction".
        name: a folder with a sentence-transformers model, or a hub id that is in the local cache.

    Raises:
        ModelError: there is no such model on this machine.
    """
    folder = model_folder(name)
    return CrossEncoderReranker(folder) if kind == "cross_encoder" else LateInteractionReranker(folder)


class CrossEncoderReranker:
    """A model that reads question and passage together (Nogueira and Cho 2019)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._model: Any = None

    def score(self, question: str, texts: Sequence[str]) -> list[float]:
        """Return the model's relevance of each text."""
        if self._model is None:
            from sentence_transformers import CrossEncoder

            try:
                self._model = CrossEncoder(str(self._folder), device="cpu", local_files_only=True)
            except (OSError, ValueError, RuntimeError, KeyError) as error:
                raise ModelError(f"{self._folder} could not be loaded as a cross-encoder: {error}") from error
        if not texts:
            return []
        scores = self._model.predict([(question, text) for text in texts], show_progress_bar=False)
        return [float(score) for score in np.asarray(scores).reshape(len(texts), -1)[:, -1]]


class LateInteractionReranker:
    """Each word piece of the question finds its nearest in the passage (MaxSim: Khattab and Zaharia 2020).

    Any sentence-transformers model gives vectors per word piece; one trained for this gives better ones.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._model: Any = None

    def score(self, question: str, texts: Sequence[str]) -> list[float]:
        """Return for each text the mean, over the question's word pieces, of the greatest cosine in the text."""
        if not texts:
            return []
        asked, *passages = [unit_rows(rows) for rows in self._pieces([question, *texts])]
        return [float((asked @ pieces.T).max(axis=1).mean()) for pieces in passages]

    def _pieces(self, texts: Sequence[str]) -> list[Any]:
        if self._model is None:
            from sentence_transformers import SentenceTransformer

            try:
                self._model = SentenceTransformer(str(self._folder), device="cpu", local_files_only=True)
            except (OSError, ValueError, RuntimeError, KeyError) as error:
                raise ModelError(f"{self._folder} could not be loaded as a sentence encoder: {error}") from error
        rows = self._model.encode(list(texts), output_value="token_embeddings", show_progress_bar=False)
        return [np.asarray(one, dtype=np.float32) for one in rows]
