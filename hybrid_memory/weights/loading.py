"""Get base weights and tokenizer into memory, and tell weights apart.

Flow:    folder or hub id -> [loading] -> language model
Imports: errors, types.
"""

from __future__ import annotations

import hashlib
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.utils import logging as transformers_logging

from hybrid_memory.errors import ConfigError, MissingExtraError, ModelError
from hybrid_memory.types import quoted

__all__ = ["fingerprint", "load_base"]


def load_base(source: Path | str, *, device: str, dtype: str, four_bit: bool, threads: int) -> tuple[nn.Module, Any]:
    """Return base model and tokenizer; the arguments and errors are those of `LocalLanguageModel.load`."""
    torch.set_num_threads(threads or os.cpu_count() or 1)
    if dtype == "auto":
        dtype = _fast_dtype(device)
    transformers_logging.disable_progress_bar()  # a library draws no bars
    packed = _four_bit(device, dtype) if four_bit else {}
    try:
        base = AutoModelForCausalLM.from_pretrained(str(source), dtype=getattr(torch, dtype), **packed)
        tokenizer = AutoTokenizer.from_pretrained(str(source))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{source} cannot be loaded as a language model ({error}); give a folder with config.json and "
            "*.safetensors, a .gguf file or a Hugging Face id, or run `hybrid-memory models pull`"
        ) from error
    try:
        return (base if four_bit else base.to(device)), tokenizer
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device {quoted(device)} is not usable here ({error}); set model.device to cpu") from error


def _fast_dtype(device: str) -> str:
    """Return the dtype that this device multiplies matrices in quickly.

    On a processor that is float32, unless it has AMX tiles: AVX-512's instructions for bfloat16 make training 1.5
    times slower, and without any a layer takes 9 times as long as in float32, and 39 times as long on the way back
    (benchmarks/LOG.md, Speed). Nothing is lost: bfloat16 weights fit into float32 exactly.
    """
    return "bfloat16" if device != "cpu" or torch.cpu._is_amx_tile_supported() else "float32"


def _four_bit(device: str, dtype: str) -> dict[str, Any]:
    """Return what loads a model with four-bit weights."""
    if device != "cuda":  # bitsandbytes 0.50 has kernels for others, but gradients through them are not defined
        raise ConfigError(
            f"model.four_bit works on device cuda only, got {quoted(device)}; set model.device to cuda, or four_bit to "
            "false"
        )
    if find_spec("bitsandbytes") is None:
        raise MissingExtraError(
            "model.four_bit needs bitsandbytes; run `pip install 'hybrid-memory-sdk[four-bit]'`, "
            "or set model.four_bit to false"
        )
    packing = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=getattr(torch, dtype)
    )
    return {"quantization_config": packing, "device_map": {"": device}}


def fingerprint(base: nn.Module) -> str:
    """Hash names, shapes and 64 evenly spaced values of every weight: 269 MB need not be read in full."""
    digest = hashlib.sha256()
    for name, tensor in sorted(base.state_dict().items()):
        flat = tensor.detach().flatten()
        sample = flat[:: max(1, flat.numel() // 64)][:64].float().cpu().numpy()
        digest.update(f"{name}{tuple(tensor.shape)}".encode() + sample.tobytes())
    return digest.hexdigest()[:12]
