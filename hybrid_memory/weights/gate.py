"""Decide whether a trained adapter may serve.

Flow:    trainer -> [gate] -> promote | retry gentler | decline
Imports: types, protocols, config, evidence, ordinary.

Three questions (design, section 9), each answered by numbers that are stored with the version:
learned - did the held-out questions of its records become more likely?
kept    - do records learned before still have their answers?
local   - are unrelated prompts and a grammar and common-sense probe as they were?

A number that is none (nan: the adapter overflowed) passes no check.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hybrid_memory.config import GateSettings
from hybrid_memory.evidence import ask
from hybrid_memory.ordinary import minimal_pairs, probe_prompts
from hybrid_memory.protocols import LanguageModel
from hybrid_memory.types import AdapterVersion, Json, SelfEdit, Verdict

__all__ = ["Gate"]


class Gate:
    """Measures a candidate beside the base and the version it would replace."""

    def __init__(self, language_model: LanguageModel, settings: GateSettings) -> None:
        self._lm = language_model
        self._settings = settings
        self._base_probe: float | None = None

    def judge(
        self,
        candidate: AdapterVersion,
        self_edits: Sequence[SelfEdit],
        *,
        learned_before: Sequence[str],
        always_on: bool,
    ) -> Verdict:
        """Return the verdict on a candidate.

        Args:
            candidate: trained, its files in a staging folder.
            self_edits: material of all records of the shard; held-out items are asked.
            learned_before: ids of the records that an earlier version of the shard knew.
            always_on: a behaviour shard answers unrelated prompts too, so its drift counts.
        """
        gains = self._gains(candidate, self_edits)
        before = set(learned_before)
        unlearned = tuple(record for record, gain in gains.items() if not gain >= self._settings.min_gain)
        new = [record for record in gains if record not in before]
        old = [record for record in gains if record in before]
        metrics: dict[str, Json] = {
            "learned": _share(new, unlearned),
            "kept": _share(old, unlearned),
            "mean_gain": round(sum(gains.values()) / len(gains), 3) if gains else None,
            **self._locality(candidate, always_on),
        }
        reasons = tuple(self._failures(metrics))
        metrics = {name: value if _is_number(value) else None for name, value in metrics.items()}  # JSON knows no nan
        return Verdict(passed=not reasons, reasons=reasons, unlearned=unlearned, metrics=metrics)

    def _gains(self, candidate: AdapterVersion, self_edits: Sequence[SelfEdit]) -> dict[str, float]:
        """Return record id -> mean rise of its held-out answers' log-probability, nats per token."""
        asked = [(edit.record_id, item) for edit in self_edits for item in edit.items if item.held_out]
        if not asked:
            return {}
        pairs = [(ask(item.prompt), item.response) for _, item in asked]
        base = self._lm.score(pairs)
        adapted = self._lm.score(pairs, adapters=[candidate])
        gains: dict[str, list[float]] = {}
        for (record_id, _), low, high in zip(asked, base, adapted, strict=True):
            gains.setdefault(record_id, []).append(high - low)
        return {record_id: sum(values) / len(values) for record_id, values in gains.items()}

    def _locality(self, candidate: AdapterVersion, always_on: bool) -> dict[str, Json]:
        if not always_on:
            return {}
        if self._base_probe is None:
            self._base_probe = self._probe(())
        prompts = [ask(prompt) for prompt in probe_prompts(self._settings.drift_prompts)]
        return {
            "drift": round(self._lm.drift(prompts, adapters=[candidate]), 4),
            "probe_base": round(self._base_probe, 4),
            "probe": round(self._probe((candidate,)), 4),
        }

    def _probe(self, adapters: Sequence[AdapterVersion]) -> float:
        """Return the share of minimal pairs whose good sentence is likelier (as in BLiMP, Warstadt et al. 2020)."""
        pairs = minimal_pairs()
        scores = self._lm.score([((), text) for pair in pairs for text in pair], adapters=adapters)
        return sum(good > bad for good, bad in zip(scores[::2], scores[1::2], strict=True)) / len(pairs)

    def _failures(self, metrics: dict[str, Json]) -> list[str]:
        settings = self._settings
        checks = [
            ("learned", settings.min_learned, "of the new records' held-out questions were learned"),
            ("kept", 1 - settings.max_kept_drop, "of the records learned before kept their answers"),
        ]
        failures = [
            f"{value:.0%} {what}, at least {least:.0%} is asked"
            for name, least, what in checks
            if isinstance(value := metrics[name], float) and value < least
        ]
        drift, probe, base = (metrics.get(name) for name in ("drift", "probe", "probe_base"))
        if isinstance(drift, float) and not drift <= settings.max_drift:
            failures.append(f"unrelated prompts drifted by {drift:.2f} nats a token, at most {settings.max_drift:g}")
        if (
            isinstance(probe, float) and isinstance(base, float) and round(base - probe, 4) > settings.max_probe_drop
        ):  # rounded: 1.0 - 0.95 is a little more than 0.05
            failures.append(
                f"the grammar and common-sense probe fell from {base:.1%} to {probe:.1%}, "
                f"at most {settings.max_probe_drop:.0%} is accepted"
            )
        return failures


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _share(records: Sequence[str], unlearned: Sequence[str]) -> float | None:
    return round(sum(record not in unlearned for record in records) / len(records), 4) if records else None
