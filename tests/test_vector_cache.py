"""Vectors are kept by the content of their text, so that no text is embedded twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tiny_flow import FAST, KEYS, SHIFT, learn

from hybrid_memory import HybridMemory, Settings
from hybrid_memory.build import build
from hybrid_memory.errors import ConfigError
from hybrid_memory.retrieval.vector_cache import CachedEncoder
from hybrid_memory.testing import TableEncoder, WordEncoder, tiny_language_model
from hybrid_memory.types import FloatArray


class CountingEncoder(TableEncoder):
    """A table that notes what it was asked for."""

    asked: list[str]

    def encode(self, texts: Sequence[str]) -> FloatArray:
        self.asked = [*getattr(self, "asked", []), *texts]
        return super().encode(texts)


TABLE = {"north": [0, 1], "east": [2, 0], "south": [0, -1]}


def test_a_text_is_embedded_once_in_all_processes(tmp_path: Path) -> None:
    """A second encoder over the same file asks only for what is new, and gives the same vectors in order."""
    CachedEncoder(TableEncoder(TABLE), tmp_path / "cache").encode(["north", "east"])
    counting = CountingEncoder(TABLE)
    cached = CachedEncoder(counting, tmp_path / "cache")

    vectors = cached.encode(["east", "south", "north", "east"])

    assert vectors.tolist() == [[2, 0], [0, -1], [0, 1], [2, 0]]
    assert counting.asked == ["south"]
    assert cached.size == 3


def test_another_encoders_vectors_are_never_met(tmp_path: Path) -> None:
    """The key holds the encoder's fingerprint."""
    CachedEncoder(TableEncoder(TABLE), tmp_path / "cache").encode(["north"])
    other = CachedEncoder(TableEncoder({"north": [1, 1]}), tmp_path / "cache")

    assert other.encode(["north"]).tolist() == [[1, 1]]


def test_the_file_holds_no_text(tmp_path: Path) -> None:
    """Keys are hashes."""
    cached = CachedEncoder(TableEncoder({"the salary is 1234": [1, 0]}), tmp_path / "cache")
    cached.encode(["the salary is 1234"])
    cached.close()

    assert b"salary" not in (tmp_path / "cache").read_bytes()


def test_forgotten_vectors_leave_the_file(tmp_path: Path) -> None:
    """By the vector's value; its bytes are overwritten on disk, journal included."""
    table = {"keep": np.arange(1, 9).tolist(), "forget": np.linspace(0.1, 0.9, 8).tolist()}
    cached = CachedEncoder(TableEncoder(table), tmp_path / "cache")
    gone = cached.encode(["keep", "forget"])[1:]

    assert cached.forget_vectors(gone) == 1

    bytes_on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert gone.astype("<f4").tobytes() not in bytes_on_disk
    assert cached.size == 1


def test_no_texts_are_no_vectors(tmp_path: Path) -> None:
    """An empty list has the encoder's width."""
    cached = CachedEncoder(WordEncoder(), tmp_path / "cache")

    assert cached.encode([]).shape == (0, 384)


def test_a_file_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    """The message names the setting."""
    (tmp_path / "cache").write_text("a poem of more than sixteen bytes, and no database", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"encoder\.cache .* cannot be used"):
        CachedEncoder(TableEncoder(TABLE), tmp_path / "cache")


def test_forgetting_a_record_reaches_the_cache(tmp_path: Path) -> None:
    """A cached vector is a copy of what was forgotten."""
    cached = CachedEncoder(WordEncoder(), tmp_path / "cache")
    parts = build(tmp_path / "memory", Settings(), encoder=cached, model=tiny_language_model())
    with HybridMemory(parts) as memory:
        record = memory.ingest("The meeting is in room 4.", route="retrieve").record_id
        before = cached.size

        memory.forget(record)

    assert before == 1
    assert cached.size == 0


def test_study_material_leaves_no_vector_in_the_cache(tmp_path: Path) -> None:
    """Words and questions made from a record are no passages: forgetting would not find them."""
    cached = CachedEncoder(WordEncoder(), tmp_path / "cache")
    parts = build(tmp_path / "memory", Settings.load(None, **FAST), encoder=cached, model=tiny_language_model())
    with HybridMemory(parts) as memory:
        records = learn(memory, SHIFT, KEYS)
        memory.consolidate()

        assert cached.size == 2
        assert memory.forget(records).retrieval["passages"] == 2
        assert cached.size == 0
