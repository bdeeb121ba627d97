"""Context distillation: what the base model says when it sees the source becomes the target without it.

Flow:    study items -> [distillation] -> objective
Imports: types, config, evidence; the language model of this stage.

The teacher is the frozen base, never an adapter: a teacher that moves drags the model with it (20 writes: capability
-28 points with a moving teacher, +2 with a frozen one, arXiv 2607.11020). Its likeliest tokens are kept once per item;
20 did as well as the whole vocabulary (Tinker cookbook). It fails where the model reads badly, so each item is asked:
only where the base, shown the source, finds the response likely, and likelier than unseen, is it followed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hybrid_memory.config import TrainingSettings
from hybrid_memory.evidence import ask
from hybrid_memory.types import StudyItem
from hybrid_memory.weights.language_model import LocalLanguageModel
from hybrid_memory.weights.sequences import Sequences

__all__ = ["SoftTargets", "soft_cross_entropy", "soft_targets"]

BATCH = 16
"""Items read together; their logits over the whole vocabulary stay below 100 MB."""
LEAST_LOGPROB = math.log(0.5)
"""Mean log-probability a token of the response must have, shown the source, to be followed."""
LEAST_GAIN = 1.0
"""Nats a token by which seeing the source must help."""


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """The teacher's likeliest next tokens before each token of a response, the end token included."""

    ids: Tensor
    """Shape (tokens, k), int64."""
    probabilities: Tensor
    """Shape (tokens, k), float32; each row sums to 1."""


@torch.no_grad()
def soft_targets(
    language_model: LocalLanguageModel, items: Sequence[StudyItem], settings: TrainingSettings
) -> list[SoftTargets | None]:
    """Return each item's targets; None where the teacher is not to be followed, or there is no question to ask it.

    The teacher sees what the response comes from as evidence: the item's source, or the response itself.
    """
    found: list[SoftTargets | None] = [None] * len(items)
    asked = [place for place, item in enumerate(items) if item.prompt and not item.evidence]
    for at in range(0, len(asked), BATCH):
        places = asked[at : at + BATCH]
        batch = [items[place] for place in places]
        shown = _logprobs(language_model, batch, [(item.source or item.response,) for item in batch])
        unseen = _logprobs(language_model, batch, [()] * len(batch))
        for place, (seen, tokens), (blind, _) in zip(places, shown, unseen, strict=True):
            likely, before = (float(table.gather(1, tokens[:, None]).mean()) for table in (seen, blind))
            if likely > LEAST_LOGPROB and likely > before + LEAST_GAIN:
                values, ids = seen.topk(min(settings.distillation_top_k, seen.shape[1]))
                found[place] = SoftTargets(ids, values.softmax(-1))
    return found


def soft_cross_entropy(logits: Tensor, targets: SoftTargets) -> Tensor:
    """Return -sum p log q for each token, nats, shape (tokens,): KL to the teacher up to its own entropy."""
    device = logits.device
    chosen = logits.log_softmax(-1).gather(1, targets.ids.to(device))
    return -(targets.probabilities.to(device) * chosen).sum(-1)


def _logprobs(
    language_model: LocalLanguageModel, items: Sequence[StudyItem], evidence: Sequence[tuple[str, ...]]
) -> list[tuple[Tensor, Tensor]]:
    """Return per item the log-probabilities before each token of its response (tokens, vocabulary), and the tokens."""
    rows = [
        language_model.training_tokens(ask(item.prompt, shown, item.shots), item.response)
        for item, shown in zip(items, evidence, strict=True)
    ]
    sequences = Sequences.pad(rows, pad=language_model.tokenizer.pad_token_id)
    ids = sequences.ids.to(language_model.base.device)
    hidden = language_model.decoder(input_ids=ids, use_cache=False).last_hidden_state
    table = language_model.head(hidden[sequences.rows, sequences.columns]).float().log_softmax(-1).cpu()
    return [(table[sequences.rows == row], sequences.targets[sequences.rows == row]) for row in range(len(rows))]
