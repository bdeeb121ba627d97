"""What the bare base makes of the beginning of each row, for the rest to attend to.

Flow:    token rows -> [prefix] -> decoding, scoring, the objective
Imports: nothing of this package.

An adapter that acts on the answer alone (Activated LoRA, Greenewald et al. 2025, arXiv 2504.12397) leaves the chat
before it to the base: keys and values of the prompt are the base's own, the same for every adapter and every epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

__all__ = ["Prefix", "left_padded", "prefix_of", "read_prefix"]


@dataclass(frozen=True, slots=True)
class Prefix:
    """Beginnings of rows that have been read, padded to the left."""

    cache: DynamicCache | None
    """Keys and values; None where no row has a beginning."""
    mask: Tensor
    """Shape (rows, longest), int64: 1 for a token, 0 for padding."""

    def before(self, mask: Tensor) -> dict[str, Any]:
        """Return what a decoder is told besides the tokens that go on, which `mask` (rows, length) marks."""
        whole = torch.cat([self.mask, mask], dim=1)
        positions = (whole.cumsum(1) - 1).clamp(min=0)[:, self.mask.shape[1] :]
        return {"attention_mask": whole, "position_ids": positions, "past_key_values": self.cache}


def left_padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Return token ids and mask, both int64 and of shape (rows, longest)."""
    longest = max(len(row) for row in rows)
    ids = [[pad] * (longest - len(row)) + list(row) for row in rows]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, dtype=torch.long), torch.tensor(mask, dtype=torch.long)


def read_prefix(decoder: Any, rows: Sequence[Sequence[int]], *, pad: int, device: Any) -> Prefix:
    """Read beginnings of rows, each of which may be empty."""
    ids, mask = left_padded(rows, pad)
    if not ids.shape[1]:
        return Prefix(None, mask.to(device))
    mask = mask.to(device)
    told = Prefix(None, mask[:, :0]).before(mask)
    read = decoder(input_ids=ids.to(device), **told, use_cache=True)
    return Prefix(read.past_key_values, mask)


def prefix_of(pasts: Sequence[Tensor], *, first: int) -> Prefix:
    """Put beginnings together that were read at other times.

    Args:
        pasts: of each row, shape (layers, 2, heads, length, width): keys and values from layer `first` on.
        first: the layers below have nothing to remember, because they are not run again.
    """
    longest = max(past.shape[3] for past in pasts)
    lengths = torch.tensor([past.shape[3] for past in pasts])
    mask = (torch.arange(longest) >= longest - lengths[:, None]).long().to(pasts[0].device)
    whole = torch.stack([nn.functional.pad(past, (0, 0, longest - past.shape[3], 0)) for past in pasts], dim=2)
    cache = DynamicCache()
    for layer in range(first + len(whole)):  # a cache tells its length by layer 0, whether it is run or not
        keys, values = whole[max(0, layer - first)]
        cache.update(keys, values, layer)
    return Prefix(cache, mask)
