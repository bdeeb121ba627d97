"""What the gate measures, each by log-probabilities or short generations beside the base model.

Flow:    material and candidate -> [probes] -> gate
Imports: types, protocols, config, evidence, ordinary.

gains      - are the held-out questions of the shard's records likelier answered?
following  - shown evidence that contradicts what was learned, is the evidence the likelier answer?
canaries   - are the answers that must never change as likely as before?
drift      - how far did unrelated prompts move? (KL(base || adapted); forgetting grows with it)
grammar    - are the good sentences of minimal pairs still the likelier ones?
abstention - are questions that nothing answers still answered with little confidence?
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import zip_longest

import numpy as np

from hybrid_memory.config import GateSettings
from hybrid_memory.evidence import UNPROMPTED, ask
from hybrid_memory.ordinary import minimal_pairs, probe_prompts, unanswerable_questions
from hybrid_memory.protocols import Encoder, LanguageModel
from hybrid_memory.types import AdapterVersion, Json, SelfEdit, StudyItem

__all__ = ["Probes"]

STUDIED = 4
"""Most studied items asked of a record that has no held-out question."""
FOLLOWED = 12
"""Most contradictions asked of a shard, each record's first before any record's second: large shards cost no more."""
DOUBTED = 75
"""Percentile of the base model's confidence in unanswerable questions below which an answer counts as doubted."""
DOUBT_TOKENS = 12


class Probes:
    """Asks a candidate and the base the same things."""

    def __init__(
        self, language_model: LanguageModel, settings: GateSettings, *, encoder: Encoder, min_similarity: float
    ) -> None:
        self._lm = language_model
        self._settings = settings
        self._encoder = encoder
        self._min_similarity = min_similarity

    def gains(self, candidate: AdapterVersion, self_edits: Sequence[SelfEdit]) -> dict[str, float]:
        """Return record id -> mean rise of its questions' answers, nats per token.

        A record without held-out questions is asked what it studied: less telling, but never let through unseen.
        """
        asked = [(edit.record_id, item) for edit in self_edits for item in _questions(edit)]
        if not asked:
            return {}
        changes = self._changes(candidate, [(item.prompt, item.response) for _, item in asked])
        gains: defaultdict[str, list[float]] = defaultdict(list)
        for (record_id, _), change in zip(asked, changes, strict=True):
            gains[record_id].append(change)
        return {record_id: sum(values) / len(values) for record_id, values in gains.items()}

    def following(self, candidate: AdapterVersion, self_edits: Sequence[SelfEdit]) -> Mapping[str, Json]:
        """Return the share of contradictions in evidence that are likelier than what was learned, and the base's."""
        by_record = zip_longest(*(_contradictions(edit) for edit in self_edits))
        found = [one for layer in by_record for one in layer if one is not None][:FOLLOWED]
        if not found:
            return {}
        cases = [(ask(item.prompt, item.evidence), item.response, learned) for item, learned in found]
        pairs = [pair for turns, told, learned in cases for pair in ((turns, told), (turns, learned))]
        return {
            f"following{name}": _share_likelier(self._lm.score(pairs, adapters=adapters))
            for name, adapters in (("", [candidate]), ("_base", []))
        }

    def canaries(
        self, candidate: AdapterVersion, self_edits: Sequence[SelfEdit], *, always_on: bool
    ) -> Mapping[str, Json]:
        """Return the greatest loss of a canary's answer, nats per token, and which canary it is."""
        asked = self._settings.canaries if always_on else self._near(self_edits)
        if not asked:
            return {}
        losses = [-change for change in self._changes(candidate, asked)]
        worst = max(range(len(losses)), key=lambda number: (math.isnan(losses[number]), losses[number]))
        return {"canaries": round(losses[worst], 4), "worst_canary": asked[worst][0]}

    def drift(self, adapters: Sequence[AdapterVersion]) -> Mapping[str, Json]:
        """Return the mean KL(base || adapted) on unrelated prompts, nats per token."""
        prompts = [ask(prompt) for prompt in probe_prompts(self._settings.drift_prompts)]
        return {"drift": round(self._lm.drift(prompts, adapters=adapters), 4)}

    def grammar(self, adapters: Sequence[AdapterVersion]) -> Mapping[str, Json]:
        """Return the share of minimal pairs whose good sentence is likelier (as in BLiMP, Warstadt et al. 2020)."""
        return {"probe_base": self._base_grammar, "probe": self._grammar(adapters)}

    def abstention(self, adapters: Sequence[AdapterVersion]) -> Mapping[str, Json]:
        """Return the share of unanswerable questions answered with no more confidence than the base's usual one."""
        usual = float(np.percentile(self._base_confidence, DOUBTED))
        return {
            "abstention_base": _share_doubted(self._base_confidence, usual),
            "abstention": _share_doubted(self._confidence(adapters), usual),
        }

    # ------------------------------------------------------------ beside the base

    def _changes(self, candidate: AdapterVersion, asked: Sequence[tuple[str, str]]) -> list[float]:
        """Return by how much each (question, answer) became likelier, nats per token."""
        pairs = [(ask(prompt) if prompt else UNPROMPTED, response) for prompt, response in asked]
        adapted = self._lm.score(pairs, adapters=[candidate])
        return [high - low for low, high in zip(self._lm.score(pairs), adapted, strict=True)]

    def _near(self, self_edits: Sequence[SelfEdit]) -> list[tuple[str, str]]:
        """Return the canaries that a shard of this material would be chosen for."""
        canaries = self._settings.canaries
        texts = sorted({item.response for edit in self_edits for item in edit.items if not item.restrains})
        if not canaries or not texts:
            return []
        similar = self._encoder.encode([question for question, _ in canaries]) @ self._encoder.encode(texts).T
        return [one for one, row in zip(canaries, similar, strict=True) if row.max() >= self._min_similarity]

    @cached_property
    def _base_grammar(self) -> float:
        return self._grammar([])

    def _grammar(self, adapters: Sequence[AdapterVersion]) -> float:
        pairs = minimal_pairs()
        return _share_likelier(
            self._lm.score([(UNPROMPTED, text) for pair in pairs for text in pair], adapters=adapters)
        )

    @cached_property
    def _base_confidence(self) -> list[float]:
        return self._confidence([])

    def _confidence(self, adapters: Sequence[AdapterVersion]) -> list[float]:
        prompts = [ask(question) for question in unanswerable_questions()]
        written = self._lm.generate(prompts, adapters=adapters, max_new_tokens=DOUBT_TOKENS)
        return [math.exp(one.mean_logprob) for one in written]


def _questions(edit: SelfEdit) -> list[StudyItem]:
    bare = [item for item in edit.items if not (item.evidence or item.shots or item.restrains)]
    return [item for item in bare if item.held_out] or [item for item in bare if item.prompt][:STUDIED] or bare[:1]


def _contradictions(edit: SelfEdit) -> list[tuple[StudyItem, str]]:
    """Return the held-out items whose evidence contradicts the record, with what the record answers there."""
    learned = {item.prompt: item.response for item in edit.items if not item.evidence}
    return [
        (item, learned[item.prompt])
        for item in edit.items
        if item.form == "deference" and item.held_out and item.prompt in learned
    ]


def _share_likelier(scores: Sequence[float]) -> float:
    """Return the share of (first, second) pairs whose first is the likelier."""
    wins = [first > second for first, second in zip(scores[::2], scores[1::2], strict=True)]
    return round(sum(wins) / len(wins), 4)


def _share_doubted(confidence: Sequence[float], usual: float) -> float:
    return round(sum(one <= usual for one in confidence) / len(confidence), 4)
