"""Stand-ins for tests: yours and ours.

Imports: errors, types, config; the language model inside the functions that build one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hybrid_memory.config import Settings
from hybrid_memory.errors import NotFoundError
from hybrid_memory.types import Draft, FloatArray, Scope, Trust

if TYPE_CHECKING:
    from hybrid_memory.memory import HybridMemory
    from hybrid_memory.weights.language_model import LocalLanguageModel

__all__ = ["OPEN_GATE", "TableEncoder", "WordEncoder", "draft_of", "open_tiny_memory", "tiny_language_model"]

OPEN_GATE: Mapping[str, float] = {
    "min_learned": 0.0,
    "min_gain": 0.0,
    "max_kept_drop": 1.0,
    "max_drift": 100.0,
    "max_probe_drop": 1.0,
    "max_following_drop": 1.0,
    "max_abstention_drop": 1.0,
}
"""Settings of the group `gate` that nothing fails: the tiny model learns nothing worth keeping."""


class TableEncoder:
    """An encoder that looks vectors up in a table, so that expected scores can be worked out by hand.

    The vectors come back exactly as the table has them, long or short: whoever compares them
    must normalise.

    Args:
        table: text -> vector; all of one length.

    >>> TableEncoder({"north": [0, 1], "east": [2, 0]}).encode(["east"]).tolist()
    [[2.0, 0.0]]
    """

    def __init__(self, table: Mapping[str, Sequence[float] | npt.NDArray[np.floating]]) -> None:
        self._table = {text: np.asarray(vector, dtype=np.float32) for text, vector in table.items()}

    @property
    def dim(self) -> int:
        """Length of every vector in the table."""
        return len(next(iter(self._table.values())))

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """No words: a table has no neighbours."""
        return ()

    @property
    def fingerprint(self) -> str:
        """12 hex digits of the SHA-256 of the table."""
        digest = hashlib.sha256()
        for text, vector in sorted(self._table.items()):
            digest.update(text.encode() + b"\0" + vector.tobytes())
        return digest.hexdigest()[:12]

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return the table's vectors, shape (len(texts), dim), float32.

        Raises:
            NotFoundError: a text is not in the table.
        """
        missing = [text for text in texts if text not in self._table]
        if missing:
            raise NotFoundError(f"the table has no vector for {missing[0]!r}; it has {', '.join(self._table)}")
        return np.stack([self._table[text] for text in texts]) if texts else np.zeros((0, self.dim), np.float32)


class WordEncoder:
    """An encoder for any text: texts that share words are close. No model, no download.

    Each word has a fixed random direction (seeded by its spelling); a text is the sum of its words'.
    """

    dim = 384
    """As the default encoder's, so that the shipped router can be used with it."""
    fingerprint = "words"
    vocabulary: Sequence[str] = ()

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return unit rows, shape (len(texts), 384), float32."""
        rows = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in re.findall(r"\w+", text.casefold()) or [""]:
                seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
                row += np.random.default_rng(seed).standard_normal(self.dim, dtype=np.float32)
        unit: FloatArray = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(min=1e-9)
        return unit


def draft_of(text: str, *, trust: Trust = Trust.USER, source: str = "test") -> Draft:
    """Return a text as the reader would hand it to a router: no kind, no slot, no scope, seen now."""
    now = datetime.now(UTC)
    return Draft(
        text=text,
        kind=None,
        scope=Scope(),
        source=source,
        trust=trust,
        observed_at=now,
        valid_from=now,
        passages=(text,),
    )


def tiny_language_model(seed: int = 0) -> LocalLanguageModel:
    """Return a 2-layer, width-64 llama over bytes, built from a config and a seed: it can learn, and says nonsense.

    Float32, so that what tests compare is not blurred by rounding.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from hybrid_memory.weights.language_model import LocalLanguageModel

    letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()), start=3)}
    tokens = {"<pad>": 0, "<s>": 1, "</s>": 2, **letters}
    raw = Tokenizer(models.BPE(vocab=tokens, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>", clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = (
        "{% for message in messages %}<s>{{ message['role'] }}\n{{ message['content'] }}</s>{% endfor %}"
        "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
    )
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.2,  # the usual 0.02 holds tied logits within 1.3: no token could become likelier than 2 %
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    return LocalLanguageModel(model, tokenizer)


def open_tiny_memory(
    folder: Path,
    *,
    seed: int = 0,
    vector_store: object | None = None,
    teacher: object | None = None,
    **groups: Mapping[str, Any],
) -> HybridMemory:
    """Open a whole memory with the tiny model and the word encoder: every stage real, nothing downloaded.

    Args:
        folder: where it lies.
        seed: of the tiny model.
        vector_store: as for `HybridMemory.open`.
        teacher: as for `HybridMemory.open`.
        groups: settings by group, as for `HybridMemory.open`.
    """
    from hybrid_memory.build import build
    from hybrid_memory.memory import HybridMemory

    settings = Settings.load(None, **groups)
    model = tiny_language_model(seed)
    parts = build(folder, settings, encoder=WordEncoder(), model=model, vector_store=vector_store, teacher=teacher)
    return HybridMemory(parts)
