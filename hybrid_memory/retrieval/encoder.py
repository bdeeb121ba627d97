"""Turn text into unit vectors with a sentence-transformers model on this machine.

Flow:    text -> [encode] -> ledger (stored vectors), index (search)
Imports: errors, types. sentence_transformers (and torch behind it) is imported with the first text.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os.path
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hybrid_memory.errors import IndexMismatchError, ModelError
from hybrid_memory.types import FloatArray, quoted

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["SentenceEncoder", "model_folder", "unit_rows"]

log = logging.getLogger(__name__)

READ_BY_THE_MODEL = {".json", ".txt", ".model", ".safetensors", ".bin"}
"""Suffixes that decide what a vector looks like; README, ONNX copies and the like do not."""
VOCABULARY_SIZE = 14_000
"""Rarer words bring names and fragments; embedding this many takes about 10 s on 2 cores."""
_WHOLE_WORD = re.compile(r"[a-z]{3,}")
NOT_READ = {"data_config.json", "source.json"}


def unit_rows(vectors: FloatArray) -> FloatArray:
    """Scale each row to L2 length 1, so that inner product equals cosine similarity.

    This is the only place vectors are normalised. FAISS has no cosine metric:
    an inner-product index ranks by length as well as angle, and it does so
    without an error. (FAISS wiki, FAQ, "cosine distance".)

    Args:
        vectors: shape (n, dim), float32.

    Returns:
        A new array, same shape, float32.

    Raises:
        IndexMismatchError: `vectors` is not 2-D, or a row has no direction (all zeros, nan or infinite).
    """
    if vectors.ndim != 2:
        raise IndexMismatchError(
            f"expected vectors of shape (n, dim), got {vectors.shape}; wrap a single vector as v[None, :]"
        )
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    usable = np.isfinite(lengths) & (lengths > 0)
    if not usable.all():
        rows = np.flatnonzero(~usable[:, 0])[:5].tolist()
        raise IndexMismatchError(
            f"rows {rows} are all zeros or not finite and have no direction; the encoder must not return such vectors "
            "(empty text is the usual cause: drop it during ingest)"
        )
    unit: FloatArray = (vectors / lengths).astype(np.float32)
    return unit


class SentenceEncoder:
    """A sentence-transformers model; obeys `protocols.Encoder` and returns unit rows.

    Nothing is ever downloaded here: a hub id must already be in the local cache.
    The model is loaded with the first text, so opening a memory to list or forget stays quick.

    Args:
        folder_or_name: a folder with `modules.json` or `config.json`, or a hub id that is in the local cache.
        batch_size: texts per forward pass.
        cache_size: how many vectors of recent texts are kept in memory (1.5 kB each at 384 dimensions).

    Raises:
        ModelError: there is no such model here, or the folder is no model.
    """

    def __init__(self, folder_or_name: Path | str, *, batch_size: int = 32, cache_size: int = 4096) -> None:
        self._folder = model_folder(folder_or_name)
        self._batch_size = batch_size
        self._cache_size = cache_size
        self._recent: OrderedDict[bytes, FloatArray] = OrderedDict()
        self._lock = threading.Lock()
        self._model: SentenceTransformer | None = None
        self._fingerprint = _fingerprint(self._folder)

    @property
    def fingerprint(self) -> str:
        """12 hex digits of the SHA-256 of every file that the model reads, weights included."""
        return self._fingerprint

    @property
    def dim(self) -> int:
        """Length of every vector; loads the model."""
        return int(self.encode(["length"]).shape[1])

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Whole lower-case words of three letters or more in the tokenizer, commonest first (vocab.txt order).

        Empty for encoders without a vocab.txt: their tokenizers do not list whole words.
        """
        file = self._folder / "vocab.txt"
        words = file.read_text(encoding="utf-8").split() if file.is_file() else []
        return tuple(word for word in words if _WHOLE_WORD.fullmatch(word))[:VOCABULARY_SIZE]

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return unit rows of shape (len(texts), dim), float32; row i belongs to texts[i].

        The same text twice, in one call or two, is encoded once. Longer texts than the model
        reads (256 word pieces for MiniLM) count with their beginning only.
        """
        with self._lock:
            keys = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts]
            missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._recent}
            fresh = dict(zip(missing, self._forward(list(missing.values())), strict=True))
            rows = [fresh[key] if key in fresh else self._recent[key] for key in keys]
            self._remember(keys, rows)
        return np.stack(rows) if rows else np.zeros((0, self.dim), dtype=np.float32)

    def _forward(self, texts: list[str]) -> FloatArray:
        if not texts:
            return np.zeros((0, 0), dtype=np.float32)
        # encode() sorts by length itself, so a batch carries little padding.
        vectors = self._loaded().encode(
            texts, batch_size=self._batch_size, show_progress_bar=False, convert_to_numpy=True
        )
        return unit_rows(np.asarray(vectors, dtype=np.float32))

    def _remember(self, keys: Sequence[bytes], rows: Sequence[FloatArray]) -> None:
        for key, row in zip(keys, rows, strict=True):
            self._recent[key] = row
            self._recent.move_to_end(key)
        while len(self._recent) > self._cache_size:
            self._recent.popitem(last=False)

    def _loaded(self) -> SentenceTransformer:
        if self._model is None:
            from huggingface_hub.utils.tqdm import disable_progress_bars
            from safetensors import SafetensorError

            disable_progress_bars()  # transformers looks at it when it is imported: a library draws no bars
            from sentence_transformers import SentenceTransformer

            log.info("loading the sentence encoder from %s", self._folder)
            try:
                with contextlib.redirect_stderr(io.StringIO()):  # a progress bar that transformers always draws
                    self._model = SentenceTransformer(str(self._folder), device="cpu", local_files_only=True)
            except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
                raise ModelError(
                    f"{self._folder} could not be loaded as a sentence encoder: {error}. {_MEND}"
                ) from error
        return self._model


_MEND = "`hybrid-memory models pull` fetches the shipped one; `hybrid-memory models list` shows what is here."


def model_folder(folder_or_name: Path | str) -> Path:
    """Return the folder of a sentence-transformers model: the one given, or that of a hub id in the local cache.

    Raises:
        ModelError: there is no such model here, or the folder is no model.
    """
    folder = Path(folder_or_name).expanduser()
    if not os.path.exists(folder):  # Path.exists raises where a name is too long for any folder
        folder = _cached_folder(folder_or_name)
    if not any((folder / name).is_file() for name in ("modules.json", "config.json")):
        raise ModelError(
            f"{folder} is no sentence-transformers model: it has neither modules.json nor config.json. {_MEND}"
        )
    return folder


def _cached_folder(name: Path | str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(name), local_files_only=True))
    except (OSError, ValueError) as error:
        raise ModelError(f"there is no sentence encoder {quoted(str(name))} on this machine. {_MEND}") from error


def _fingerprint(folder: Path) -> str:
    # The whole weights file is hashed (0.07 s for MiniLM's 90 MB): sizes and dates lie after a copy or a
    # fine-tune, and loading has to read the file anyway.
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix not in READ_BY_THE_MODEL or path.name in NOT_READ or not path.is_file():
            continue
        with path.open("rb") as stream:
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:12]
