"""From a name to a folder that transformers can load; GGUF files are unpacked once.

Flow:    build/ resolves the language model's name here before it loads it; models.pull converts the shipped GGUF.
Imports: errors, types, config, durable, models; torch and transformers inside the function that needs them.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import os.path
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from hybrid_memory import config, durable, models
from hybrid_memory.errors import ModelError
from hybrid_memory.types import quoted

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["convert_gguf", "resolve_language_model"]

GGUF_MAGIC = b"GGUF"
LANGUAGE_MODELS = tuple(model.name for model in models.CATALOGUE.values() if model.role == "language model")
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def resolve_language_model(name: str) -> Path | str:
    """Return what `from_pretrained` takes for a model named in the settings.

    Args:
        name: a shipped name, a folder with config.json and safetensors, a .gguf file
            (converted once, kept by content below `config.home()/converted`), or a Hugging Face id.

    Returns:
        A local folder, or the Hugging Face id as it was given.

    Raises:
        ModelError: a shipped model that is not there yet, a path that holds no model, or a
            name that looks like a mistyped shipped one.
    """
    if name in LANGUAGE_MODELS:
        return models.path(name)
    if not name or name in models.CATALOGUE:
        raise ModelError(f"{quoted(name)} is no language model; {_ACCEPTED}")
    here = Path(name).expanduser()
    if os.path.isdir(here):  # Path.is_dir raises where a name is too long for any folder
        return _checked_folder(here)
    if here.suffix == ".gguf":
        return _converted(here)
    if os.path.exists(here) or not HUB_ID.fullmatch(name) or name.startswith("."):
        raise ModelError(f"{quoted(name)} is no model: there is no such folder; {_ACCEPTED}")
    near = difflib.get_close_matches(name, LANGUAGE_MODELS, n=1)
    if near and "/" not in name:
        raise ModelError(f"there is no shipped model {quoted(name)}; did you mean {near[0]}? {_ACCEPTED}")
    return name


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write a GGUF model as bf16 safetensors with its tokenizer into a new folder.

    Left packed, a GGUF model cannot be saved, and its matrix products are slow on a CPU. 135M
    parameters take about 20 s on two cores.

    Raises:
        ModelError: the file is missing, not GGUF, or of an architecture transformers cannot read.
    """
    _check_gguf(gguf)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with contextlib.redirect_stderr(io.StringIO()):  # progress bars, which transformers draws at any log level
        try:
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
            model = AutoModelForCausalLM.from_pretrained(
                gguf.parent,
                gguf_file=gguf.name,
                dtype=torch.bfloat16,
                quantization_config=GgufConfig(dequantize=True),
            )
        except (OSError, ValueError, KeyError, NotImplementedError) as error:
            raise ModelError(
                f"{gguf.name} cannot be converted: {error}; accepted are causal language models "
                "of an architecture that transformers reads from GGUF, such as llama, qwen2 or phi3"
            ) from error
        _make_plain(model, tokenizer)
        folder.mkdir(parents=True)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    for _, path in durable.files_in(folder):
        path.chmod(0o644)  # safetensors writes 0600, which locks out the other users of a shared cache


_ACCEPTED = (
    f"accepted are a shipped name ({', '.join(LANGUAGE_MODELS)}), a folder with config.json and safetensors, "
    "a .gguf file, or a Hugging Face id"
)


def _checked_folder(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} holds no model: config.json is missing; {_ACCEPTED}")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"{folder} holds no safetensors weights; save them with save_pretrained() "
            "(pickled .bin weights run code when they are loaded, so they are not accepted)"
        )
    return folder


def _converted(gguf: Path) -> Path:
    """Return the folder with a GGUF file's conversion; its name is the start of the file's SHA-256."""
    _check_gguf(gguf)
    target = config.home() / "converted" / durable.sha256(gguf)[:12]
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        if not target.is_dir():
            part = target.with_name(f".{target.name}.part")
            shutil.rmtree(part, ignore_errors=True)  # left by a process that was killed
            try:
                convert_gguf(gguf, part)
                durable.move_into_place(part, target)
            except OSError as error:
                raise ModelError(f"could not write the conversion of {gguf.name} to {target}: {error}") from error
            finally:
                shutil.rmtree(part, ignore_errors=True)
    return target


def _check_gguf(gguf: Path) -> None:
    if not gguf.is_file():
        raise ModelError(f"there is no file {gguf}; {_ACCEPTED}")
    with gguf.open("rb") as file:
        start = file.read(len(GGUF_MAGIC))
    if start != GGUF_MAGIC:
        raise ModelError(f"{gguf} is not a GGUF file: it begins with {start!r} instead of {GGUF_MAGIC!r}")


def _make_plain(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Take away what only speaks of the GGUF file, and state how to generate."""
    from transformers import GenerationConfig

    settings = model.config
    for name in ("quantization_config", "_model_name_or_path"):
        if hasattr(settings, name):
            delattr(settings, name)
    settings.name_or_path = ""
    model.generation_config = GenerationConfig(
        bos_token_id=settings.bos_token_id, eos_token_id=settings.eos_token_id, pad_token_id=settings.pad_token_id
    )
    tokenizer.model_max_length = settings.max_position_embeddings  # GGUF leaves it at 1e30
    for name in ("is_local", "local_files_only"):
        tokenizer.init_kwargs.pop(name, None)
