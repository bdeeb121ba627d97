"""Write tokens after prompts: the loop that every generated text comes from.

Flow:    language model -> [decoding] -> texts
Imports: prefix.

Own loop instead of transformers' `generate()`: samples share the prompt's cache, finished rows leave the
batch, and each token's log-probability comes for free. Its greedy text is the same (tests/test_language_model.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hybrid_memory.weights.prefix import Prefix, left_padded

__all__ = ["Stream", "Written", "decode"]

SAMPLE_FROM = 50
"""Sampling looks at this many likeliest tokens (Fan et al. 2018 used 10, GPT-2's authors 40)."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was written in one row."""

    tokens: list[int]
    """Without the end token."""
    mean_logprob: float
    """Natural, per token that was chosen, the end token included when there is one; <= 0."""


@torch.inference_mode()
def decode(
    base: Any,
    prompts: Sequence[Sequence[int]],
    *,
    after: Prefix,
    pad: int,
    ends: Tensor,
    last: Tensor,
    max_new_tokens: int,
    temperature: float,
    seed: int,
    samples: int,
    on_tokens: Callable[[Sequence[int]], None],
) -> list[Written]:
    """Write after each prompt, `samples` times; return len(prompts) * samples rows, those of one prompt together.

    Args:
        base: a causal language model of transformers.
        prompts: token ids, at least one each; padded to the left inside.
        after: what stands before each prompt and has been read.
        pad: the token to pad with.
        ends: tokens that end a row and are no part of it.
        last: tokens after which a row ends; those of `ends` among them.
        max_new_tokens: longest row.
        temperature: 0 takes the likeliest token.
        seed: of the samples.
        samples: rows a prompt.
        on_tokens: told the first row's tokens after each step.
    """
    generator = torch.Generator().manual_seed(seed)
    ids, own = left_padded(prompts, pad)
    mask = torch.cat([after.mask.cpu(), own], dim=1)
    out = _step(base, ids, mask, (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :], cache=after.cache)
    cache = out.past_key_values
    cache.batch_repeat_interleave(samples)
    mask, logits = (tensor.repeat_interleave(samples, 0) for tensor in (mask, out.logits[:, -1].float().cpu()))
    positions = mask.sum(1, keepdim=True)
    alive = torch.arange(mask.shape[0])
    written: list[list[int]] = [[] for _ in alive]
    sums, counts = torch.zeros(len(alive)), torch.zeros(len(alive))
    for _ in range(max_new_tokens):
        chosen, logprobs = _choose(logits, temperature, generator)
        sums[alive] += logprobs
        counts[alive] += 1
        spoken = ~torch.isin(chosen, ends)
        for row, token in zip(alive[spoken].tolist(), chosen[spoken].tolist(), strict=True):
            written[row].append(token)
        on_tokens(written[0])
        going = ~torch.isin(chosen, last)
        if not going.any():
            break
        if not going.all():
            alive, chosen, mask, positions = alive[going], chosen[going], mask[going], positions[going]
            cache.batch_select_indices(going.nonzero().squeeze(1).to(base.device))
        mask = torch.cat([mask, torch.ones(len(alive), 1, dtype=mask.dtype)], dim=1)
        out = _step(base, chosen[:, None], mask, positions, cache=cache)
        positions = positions + 1
        logits = out.logits[:, -1].float().cpu()
    means = (sums / counts.clamp(min=1)).tolist()
    return [Written(tokens, mean) for tokens, mean in zip(written, means, strict=True)]


def _step(base: Any, ids: Tensor, mask: Tensor, positions: Tensor, *, cache: Any) -> Any:
    return base(
        input_ids=ids.to(base.device),
        attention_mask=mask.to(base.device),
        position_ids=positions.to(base.device),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )


def _choose(logits: Tensor, temperature: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pick one token a row; return (tokens, their log-probabilities), shapes (rows,)."""
    logprobs = logits.log_softmax(-1)
    if temperature == 0.0:
        tokens = logprobs.argmax(-1)
    else:
        values, places = logits.topk(min(SAMPLE_FROM, logits.shape[-1]), dim=-1)
        picked = torch.multinomial((values / temperature).softmax(-1), 1, generator=generator)
        tokens = places.gather(1, picked).squeeze(1)
    return tokens, logprobs.gather(1, tokens[:, None]).squeeze(1)


class Stream:
    """Passes on what a growing text adds, so that the pieces joined are the text."""

    def __init__(self, on_text: Callable[[str], None] | None) -> None:
        self._on_text = on_text
        self._sent = 0

    def show(self, read: Callable[[], str], *, whole: bool = False) -> None:
        """Send what is new; the half of a character (U+FFFD), or a space that may be the last, waits."""
        if self._on_text is None:
            return
        text = read() if whole else read().rstrip("\ufffd").rstrip()
        if len(text) > self._sent:
            self._on_text(text[self._sent :])
            self._sent = len(text)
