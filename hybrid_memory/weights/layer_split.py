"""Run a decoder in two parts: the layers without LoRA once, those with it at every step.

Flow:    language model -> [layer split] -> objective
Imports: the prefix of this stage.

What the frozen lower layers make of a row is the same in every epoch (948 instead of 397 tokens per second on
2 cores, SmolLM2-135M). Not every decoder can be cut: GPT-2 names its layers otherwise, some models scale what
they are given, and sliding windows are told to a layer by its number. So the two parts are compared with the
whole before anything is trained; where they differ the whole decoder is run at every step: slower, and as right.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from hybrid_memory.weights.prefix import Prefix, prefix_of

__all__ = ["LayerSplit", "can_be_continued", "can_be_split"]

PROBE = 12
"""Tokens of the sequence on which the two parts are compared with the whole."""
EXACT, ROUNDED = 1e-3, 0.1
"""Largest difference, as a share of the whole, that two pieces of a row may show in float32, and in fewer bits, which
round sums of other shapes differently. The default model shows 1e-6, and 0.02 in bfloat16; with a token lost 0.6."""


class LayerSplit:
    """The decoder below and above one layer."""

    def __init__(self, decoder: Any, first: int) -> None:
        """Cut below layer `first`, counted from 0."""
        self.decoder = decoder
        self.first = first

    def lower(self, ids: Tensor) -> Tensor:
        """Return what the lower layers make of token ids (rows, length): shape (rows, length, width)."""
        with _layers(self.decoder, 0, self.first):
            return self._hidden(input_ids=ids)

    def upper(self, states: Tensor, prefix: Prefix | None = None) -> Tensor:
        """Return the decoder's last hidden states from what `lower` gave, same shape; `prefix` stands before them."""
        told = (
            {}
            if prefix is None
            else prefix.before(torch.ones(states.shape[:2], dtype=torch.long, device=states.device))
        )
        with _layers(self.decoder, self.first, None):
            return self._hidden(inputs_embeds=states, **told)

    def remembered(self, states: Tensor) -> Tensor:
        """Return the upper layers' keys and values, shape (layers, 2, rows, heads, length, width), or (0,) of none."""
        cache = DynamicCache()
        with _layers(self.decoder, self.first, None):
            self.decoder(inputs_embeds=states, past_key_values=cache, use_cache=True)
        kept = [torch.stack([layer.keys, layer.values]) for layer in cache.layers[self.first :] if layer.is_initialized]
        return torch.stack(kept) if kept else states.new_zeros(0)

    def _hidden(self, **given: Any) -> Tensor:
        hidden: Tensor = self.decoder(**given, use_cache=False).last_hidden_state
        return hidden


@torch.no_grad()
def can_be_split(decoder: Any, first: int, *, device: Any) -> bool:
    """Tell whether the two parts together give what the whole decoder gives.

    Layers of several kinds (sliding windows beside full attention) are refused unseen: a short probe cannot
    show a difference that begins at the window's length.
    """
    if not hasattr(decoder, "layers") or not hasattr(decoder, "norm"):
        return False
    if len(set(getattr(decoder.config, "layer_types", None) or ())) > 1:
        return False
    ids = _probe(decoder, device)
    split = LayerSplit(decoder, first)
    whole = decoder(input_ids=ids, use_cache=False).last_hidden_state
    return torch.allclose(split.upper(split.lower(ids)).float(), whole.float(), atol=1e-3, rtol=1e-3, equal_nan=True)


@torch.no_grad()
def can_be_continued(split: LayerSplit, *, device: Any) -> bool:
    """Tell whether the upper part gives the same for a row in two pieces as for the whole row."""
    states = split.lower(_probe(split.decoder, device))
    half = PROBE // 2
    remembered = split.remembered(states[:, :half])
    if not remembered.numel():
        return False
    prefix = prefix_of([remembered[:, :, 0]], first=split.first)
    rest, whole = split.upper(states[:, half:], prefix).float(), split.upper(states)[:, half:].float()
    most = EXACT if states.dtype is torch.float32 else ROUNDED
    return bool((rest - whole).norm() <= most * whole.norm())


def _probe(decoder: Any, device: Any) -> Tensor:
    """Return token ids from all over the vocabulary: its first ones are control tokens, which round badly."""
    step = max(1, decoder.config.vocab_size // PROBE)
    ids = torch.arange(PROBE, device=device) * step + step // 2
    return torch.remainder(ids, decoder.config.vocab_size)[None]


@contextmanager
def _layers(decoder: Any, first: int, last: int | None) -> Iterator[None]:
    """Run only layers [first, last) of a decoder; the final norm stays only with the last layer."""
    layers, norm = decoder.layers, decoder.norm
    decoder.layers = layers[first:last]
    if last is not None:
        decoder.norm = nn.Identity()
    try:
        yield
    finally:
        decoder.layers, decoder.norm = layers, norm
