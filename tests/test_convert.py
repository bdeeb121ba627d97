"""From a name to a folder that can be loaded, and GGUF files on the way there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hybrid_memory.errors import ModelError
from hybrid_memory.weights import convert


@pytest.fixture(scope="module")
def converted(gguf: Path) -> Path:
    folder = gguf.with_name("converted")
    convert.convert_gguf(gguf, folder)
    return folder


def test_the_converted_weights_are_those_of_the_gguf_in_bf16(gguf: Path, converted: Path) -> None:
    """The oracle is the gguf package's own reader; bf16 keeps 8 bits, so 1 part in 256."""
    import gguf as library
    import numpy as np
    import torch
    from safetensors.torch import load_file

    weights = load_file(converted / "model.safetensors")
    original = {tensor.name: np.array(tensor.data) for tensor in library.GGUFReader(gguf).tensors}

    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    for ours, theirs in (
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("model.layers.1.mlp.down_proj.weight", "blk.1.ffn_down.weight"),
        ("model.layers.0.self_attn.v_proj.weight", "blk.0.attn_v.weight"),
    ):
        np.testing.assert_allclose(weights[ours].float().numpy(), original[theirs], rtol=1 / 256)


def test_the_converted_folder_loads_without_the_gguf(converted: Path) -> None:
    """Model and tokenizer come back, and a forward pass gives finite numbers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(converted)
    model = AutoModelForCausalLM.from_pretrained(converted)
    ids = tokenizer("abc", return_tensors="pt")["input_ids"]

    assert tokenizer.convert_ids_to_tokens(ids[0])[-2:] == ["ab", "c"]
    assert torch.isfinite(model(ids).logits).all()


def test_the_converted_settings_speak_of_no_file(converted: Path) -> None:
    """A later load must not look for the GGUF or dequantise again; it decodes greedily unless told otherwise."""
    settings = json.loads((converted / "config.json").read_text(encoding="utf-8"))
    generation = json.loads((converted / "generation_config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((converted / "tokenizer_config.json").read_text(encoding="utf-8"))

    assert "quantization_config" not in settings
    assert "_model_name_or_path" not in settings
    assert (generation["bos_token_id"], generation["eos_token_id"]) == (1, 2)
    assert generation.get("do_sample", False) is False
    assert tokenizer["model_max_length"] == 64


def test_every_user_may_read_the_converted_files(converted: Path) -> None:
    """safetensors alone would lock the other users of a shared cache out."""
    assert {path.stat().st_mode & 0o444 for path in converted.iterdir()} == {0o444}


def test_converting_is_silent(gguf: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Library code draws no bars; the Progress of pull does."""
    convert.convert_gguf(gguf, tmp_path / "silent")

    assert capfd.readouterr() == ("", "")


def test_a_gguf_path_is_converted_once(gguf: Path, home: Path) -> None:
    """The second time the same folder is given, untouched; it is found by content, not by name."""
    first = convert.resolve_language_model(str(gguf))
    assert isinstance(first, Path)
    written = (first / "model.safetensors").stat().st_mtime_ns
    copy = gguf.with_name("copy.gguf")
    copy.write_bytes(gguf.read_bytes())

    assert convert.resolve_language_model(str(copy)) == first
    assert first.parent == home / "converted"
    assert (first / "model.safetensors").stat().st_mtime_ns == written


def test_a_truncated_gguf_is_no_model(gguf: Path, tmp_path: Path, home: Path) -> None:
    """Nothing is left of the attempt."""
    half = tmp_path / "half.gguf"
    half.write_bytes(gguf.read_bytes()[:3000])

    with pytest.raises(ModelError, match=r"half\.gguf cannot be converted"):
        convert.resolve_language_model(str(half))
    assert [path.suffix for path in (home / "converted").iterdir()] == [".lock"]


def test_a_file_that_only_calls_itself_gguf_is_refused(tmp_path: Path, home: Path) -> None:
    """The first four bytes decide."""
    (tmp_path / "web.gguf").write_text("<html>", encoding="utf-8")

    with pytest.raises(ModelError, match=r"web\.gguf is not a GGUF file: it begins with b'<htm'"):
        convert.resolve_language_model(str(tmp_path / "web.gguf"))


def test_a_missing_gguf_is_refused(tmp_path: Path) -> None:
    """The message has the path."""
    with pytest.raises(ModelError, match=r"there is no file .*none\.gguf; accepted are"):
        convert.resolve_language_model(str(tmp_path / "none.gguf"))


def test_a_folder_with_a_model_is_itself(tmp_path: Path) -> None:
    """config.json and safetensors are enough."""
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"")

    assert convert.resolve_language_model(str(tmp_path)) == tmp_path


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    """The message says what is missing: first the configuration, then the weights."""
    with pytest.raises(ModelError, match=r"holds no model: config\.json is missing"):
        convert.resolve_language_model(str(tmp_path))

    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"holds no safetensors weights; save them with save_pretrained\(\)"):
        convert.resolve_language_model(str(tmp_path))


def test_a_shipped_name_needs_its_pull(home: Path) -> None:
    """The message has the command."""
    with pytest.raises(ModelError, match="run `hybrid-memory models pull`"):
        convert.resolve_language_model("smollm2-135m-instruct")


@pytest.mark.parametrize("name", ["HuggingFaceTB/SmolLM2-360M-Instruct", "gpt2"])
def test_a_hugging_face_id_passes_through(name: str) -> None:
    """transformers will fetch it, or find it in its own cache."""
    assert convert.resolve_language_model(name) == name


@pytest.mark.parametrize("name", ["/no/such/folder", "./model", "~/no-such-model", "a/b/c", "two words"])
def test_a_path_that_is_not_there_is_no_model(name: str) -> None:
    """A wrong path is not sent to the hub as an id."""
    with pytest.raises(ModelError, match=r"is no model: .*; accepted are a shipped name"):
        convert.resolve_language_model(name)


@pytest.mark.parametrize("name", ["", "all-minilm-l6-v2"], ids=["empty", "the encoder"])
def test_what_cannot_be_a_language_model_is_refused(name: str) -> None:
    """The encoder is shipped too, but it writes no text."""
    with pytest.raises(
        ModelError, match=r"is no language model; accepted are a shipped name \(smollm2-135m-instruct\)"
    ):
        convert.resolve_language_model(name)


def test_a_mistyped_shipped_name_is_answered_with_the_right_one() -> None:
    """It is not sent to the hub either."""
    with pytest.raises(ModelError, match=r"did you mean smollm2-135m-instruct\?"):
        convert.resolve_language_model("smollm2-135m-instuct")
