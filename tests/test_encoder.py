"""The sentence encoder: fingerprint, cache, errors; and the table encoder for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hybrid_memory.errors import ModelError, NotFoundError
from hybrid_memory.retrieval.encoder import SentenceEncoder
from hybrid_memory.testing import TableEncoder


def model_folder(path: Path, *, weights: bytes = b"weights") -> Path:
    """A folder that looks like a model; it is never loaded."""
    path.mkdir(parents=True)
    (path / "config.json").write_text('{"hidden_size": 2}', encoding="utf-8")
    (path / "model.safetensors").write_bytes(weights)
    return path


def test_the_same_model_elsewhere_has_the_same_fingerprint(tmp_path: Path) -> None:
    """The content decides, not the folder, the dates or a README."""
    first = model_folder(tmp_path / "a")
    second = Path(shutil.copytree(first, tmp_path / "b"))
    (second / "README.md").write_text("hello", encoding="utf-8")
    os.utime(second / "model.safetensors", (0, 0))

    prints = {SentenceEncoder(folder).fingerprint for folder in (first, second)}

    assert len(prints) == 1
    assert len(prints.pop()) == 12


def test_other_weights_or_settings_have_another_fingerprint(tmp_path: Path) -> None:
    """One changed byte in the weights, of the same size and date, is another model."""
    folders = [
        model_folder(tmp_path / "a"),
        model_folder(tmp_path / "b", weights=b"weightz"),
        model_folder(tmp_path / "c"),
    ]
    (folders[2] / "config.json").write_text('{"hidden_size": 3}', encoding="utf-8")

    assert len({SentenceEncoder(folder).fingerprint for folder in folders}) == 3


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    """The message says what is missing and which command mends it."""
    with pytest.raises(ModelError, match=r"neither modules\.json nor config\.json.*hybrid-memory models pull"):
        SentenceEncoder(tmp_path)


def test_a_model_that_is_not_on_this_machine_is_refused() -> None:
    """Nothing is downloaded behind the user's back."""
    with pytest.raises(ModelError, match=r"no sentence encoder 'nobody/nothing' on this machine.*models pull"):
        SentenceEncoder("nobody/nothing")


def test_making_an_encoder_loads_no_torch(tmp_path: Path) -> None:
    """Listing or forgetting must not wait for a model."""
    folder = model_folder(tmp_path / "a")
    code = (
        "import sys; from hybrid_memory.retrieval.encoder import SentenceEncoder; "
        f"SentenceEncoder({str(folder)!r}); print('torch' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


def test_a_table_encoder_returns_its_table() -> None:
    """Exactly as written, in the order of the texts."""
    encoder = TableEncoder({"north": [0, 2], "east": [1, 0]})

    assert encoder.encode(["east", "north"]).tolist() == [[1, 0], [0, 2]]
    assert encoder.encode([]).shape == (0, 2)
    assert encoder.dim == 2
    assert encoder.fingerprint != TableEncoder({"north": [0, 3], "east": [1, 0]}).fingerprint


def test_a_table_encoder_refuses_an_unknown_text() -> None:
    """A silent zero vector would hide a mistake in a test."""
    with pytest.raises(NotFoundError, match="the table has no vector for 'west'; it has north"):
        TableEncoder({"north": [0, 2]}).encode(["west"])


# ---------------------------------------------------------------- with the real model


@pytest.fixture(scope="module")
def real() -> SentenceEncoder:
    """The shipped encoder, when it is on this machine."""
    from hybrid_memory import models

    try:
        return SentenceEncoder(models.path("all-minilm-l6-v2"))
    except ModelError:
        pytest.skip("the encoder has not been pulled; run `hybrid-memory models pull`")


@pytest.mark.slow
def test_equal_texts_have_equal_unit_vectors_and_near_ones_are_near(real: SentenceEncoder) -> None:
    """Rows belong to their texts whatever the order and length of the batch."""
    texts = ["How much is the Pro plan?", "x " * 400, "The price of the Pro plan is 59 EUR.", "Whales sing at night."]

    vectors = real.encode(texts)

    assert vectors.shape == (4, real.dim)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    assert vectors[0] @ vectors[2] > vectors[0] @ vectors[3] + 0.3
    assert np.allclose(real.encode(texts[::-1])[::-1], vectors, atol=1e-6)


@pytest.mark.slow
def test_no_text_gives_no_rows(real: SentenceEncoder) -> None:
    """An empty list is answered with an empty table of the right width."""
    assert real.encode([]).shape == (0, real.dim)


@pytest.mark.slow
def test_a_damaged_model_is_refused_with_its_folder(tmp_path: Path) -> None:
    """It looks like a model until it is loaded."""
    with pytest.raises(ModelError, match="could not be loaded as a sentence encoder"):
        SentenceEncoder(model_folder(tmp_path / "a")).encode(["a"])
