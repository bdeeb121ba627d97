"""Settings of the two models: the one that writes and the one that embeds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hybrid_memory.config.group import Group

__all__ = ["EncoderSettings", "ModelSettings"]


class ModelSettings(Group):
    """The language model."""

    name: str = "smollm2-135m-instruct"
    """A shipped name, a Hugging Face id, a local folder, or a .gguf file."""
    device: Literal["cpu", "cuda", "mps"] = "cpu"
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of the base weights in memory. "auto": bfloat16 on accelerators and processors with AMX tiles, else float32."""
    four_bit: bool = False
    """Hold the base weights in four bits (NF4, extra `four-bit`, device cuda): less memory, a little less exact."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Torch threads; 0 takes all cores. Two torch processes on the same cores slow each other tenfold."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Prompts generated together; 32 decodes about 12 times faster than 1 on 2 cores."""


class EncoderSettings(Group):
    """The sentence encoder."""

    name: str = "all-minilm-l6-v2"
    """A shipped name or a sentence-transformers folder or id."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    cache: str | None = None
    """A file that keeps vectors by the content of their text, so that no text is embedded twice; several memories
    may share it; study material never gets there. None keeps the ledger's only."""
