"""Soft targets: where the frozen base knows better than a single word, its whole distribution is learned.

Context distillation: what the base says when it sees the source becomes the target without it. Own words: where an
answer was made from the base's own, every token that it would say itself keeps the base's distribution, so that only
what the new form changes is learned as words. (Learned as words throughout, answers of its own made the base surer of
them than it was, and that is drift.)

Flow:    study items -> [distillation] -> objective
Imports: types, config, evidence; the language model of this stage.

The teacher is the frozen base, never an adapter: a teacher that moves drags the model with it (20 writes: capability
-28 points with a moving teacher, +2 with a frozen one, arXiv 2607.11020). Its likeliest tokens are kept once per item;
20 did as well as the whole vocabulary (Tinker cookbook). It fails where the model reads badly, so each item is asked:
only where the base, shown the source, finds the response likely, and likelier than unseen, is it followed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
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
    shares: Tensor
    """Shape (tokens,), float32 in [0, 1]: the teacher's part of each token's loss; the rest is the token's own."""


@torch.no_grad()
def soft_targets(
    language_model: LocalLanguageModel, items: Sequence[StudyItem], settings: TrainingSettings
) -> list[SoftTargets | None]:
    """Return each item's targets; None where the teacher is not to be followed, or there is no question to ask it.

    In context distillation the teacher sees what the response comes from as evidence: the item's source, or the
    response itself. Where the response is its own it sees what the student sees.
    """
    own = [place for place, item in enumerate(items) if item.own and settings.own_words]
    asked = [place for place, item in enumerate(items) if item.prompt and not (item.evidence or item.own)]
    found = dict(_own_words(language_model, items, own, settings))
    if settings.distillation:
        found |= dict(_with_source(language_model, items, asked, settings))
    return [found.get(place) for place in range(len(items))]


def _own_words(
    language_model: LocalLanguageModel, items: Sequence[StudyItem], chosen: Sequence[int], settings: TrainingSettings
) -> Iterator[tuple[int, SoftTargets]]:
    """Yield the targets of responses in the base's own words: it is followed wherever its likeliest token stands."""
    for places in _batches(chosen):
        batch = [items[place] for place in places]
        tables = _logprobs(language_model, batch, [item.evidence for item in batch])
        for place, (table, tokens) in zip(places, tables, strict=True):
            yield place, _likeliest(table, (table.argmax(-1) == tokens) * settings.own_words, settings)


def _with_source(
    language_model: LocalLanguageModel, items: Sequence[StudyItem], chosen: Sequence[int], settings: TrainingSettings
) -> Iterator[tuple[int, SoftTargets]]:
    """Yield the targets of responses that the base finds likely once it sees their source, and not before."""
    for places in _batches(chosen):
        batch = [items[place] for place in places]
        shown = _logprobs(language_model, batch, [(item.source or item.response,) for item in batch])
        unseen = _logprobs(language_model, batch, [()] * len(batch))
        for place, (seen, tokens), (blind, _) in zip(places, shown, unseen, strict=True):
            likely, before = (float(table.gather(1, tokens[:, None]).mean()) for table in (seen, blind))
            if likely > LEAST_LOGPROB and likely > before + LEAST_GAIN:
                yield place, _likeliest(seen, torch.full((len(tokens),), settings.distillation), settings)


def _likeliest(table: Tensor, shares: Tensor, settings: TrainingSettings) -> SoftTargets:
    """Keep the likeliest tokens of log-probabilities (tokens, vocabulary)."""
    values, ids = table.topk(min(settings.distillation_top_k, table.shape[1]))
    return SoftTargets(ids, values.softmax(-1), shares)


def _batches(places: Sequence[int]) -> Iterator[Sequence[int]]:
    for at in range(0, len(places), BATCH):
        yield places[at : at + BATCH]


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
