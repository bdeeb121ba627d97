"""Decide whether a trained adapter may serve.

Flow:    trainer -> [gate] -> promote | try gentler | decline
Imports: types, protocols, config; the probes of this stage.

The probes measure, the bounds of the settings decide; every number, and what it cost to get, is stored with
the version. A number that is none (nan: the adapter overflowed) passes no check.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from hybrid_memory.config import GateSettings
from hybrid_memory.protocols import Encoder, LanguageModel
from hybrid_memory.types import AdapterVersion, Json, SelfEdit, Verdict
from hybrid_memory.weights.probes import Probes

__all__ = ["Gate"]

Found = TypeVar("Found", Json, float)


class Gate:
    """Measures a candidate beside the base."""

    def __init__(
        self, language_model: LanguageModel, settings: GateSettings, *, encoder: Encoder, min_similarity: float
    ) -> None:
        """A shard chosen by the question is asked the canaries that are at least `min_similarity` to its texts."""
        self._settings = settings
        self._probes = Probes(language_model, settings, encoder=encoder, min_similarity=min_similarity)

    def judge(
        self,
        candidate: AdapterVersion,
        self_edits: Sequence[SelfEdit],
        *,
        learned_before: Sequence[str],
        always_on: bool,
        beside: Sequence[AdapterVersion] = (),
    ) -> Verdict:
        """Return the verdict on a candidate.

        Args:
            candidate: trained, its files in a staging folder.
            self_edits: material of all records of the shard; held-out items are asked.
            learned_before: ids of the records that an earlier version of the shard knew.
            always_on: a behaviour shard answers unrelated prompts too, so what it does to them counts.
            beside: other adapters that are always on wherever this one is; unrelated prompts are asked of all together.
        """
        probes, seconds = self._probes, dict[str, Json]()
        gains = _timed(seconds, "learned", lambda: probes.gains(candidate, self_edits))
        weak = tuple(record for record, gain in gains.items() if not gain >= self._settings.min_gain)
        metrics: dict[str, Json] = {
            "learned": _share([record for record in gains if record not in set(learned_before)], weak),
            "kept": _share([record for record in gains if record in set(learned_before)], weak),
            "mean_gain": round(sum(gains.values()) / len(gains), 3) if gains else None,
        }
        checks: dict[str, Callable[[], Mapping[str, Json]]] = {
            "following": lambda: probes.following(candidate, self_edits),
            "canaries": lambda: probes.canaries(candidate, self_edits, always_on=always_on),
        }
        if always_on:
            stack = [*beside, candidate]
            checks |= {
                "drift": lambda: probes.drift(stack),
                "probe": lambda: probes.grammar(stack),
                "abstention": lambda: probes.abstention(stack),
            }
        for name, check in checks.items():
            metrics |= _timed(seconds, name, check)
        failures = dict(self._failures(metrics))
        return Verdict(
            passed=not failures,
            failed=tuple(failures),
            reasons=tuple(failures.values()),
            unlearned=weak,
            metrics={
                **{name: None if _is_nan(value) else value for name, value in metrics.items()},  # JSON knows no nan
                "gate_seconds": seconds,
            },
        )

    def _failures(self, metrics: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
        """Yield (check, sentence) for each number out of its bounds; what was not measured is in bounds."""
        value = {name: one for name, one in metrics.items() if isinstance(one, float)}
        chosen = self._settings
        for name, least, what in (
            ("learned", chosen.min_learned, "of the new records' held-out questions were learned"),
            ("kept", 1 - chosen.max_kept_drop, "of the records learned before kept their answers"),
        ):
            if name in value and not value[name] >= least:
                yield name, f"{value[name]:.0%} {what}, at least {least:.0%} is asked"
        for name, most, what in (
            ("drift", chosen.max_drift, "unrelated prompts drifted"),
            ("canaries", chosen.max_canary_loss, f"the answer to the canary {metrics.get('worst_canary')!r} fell"),
        ):
            if name in value and not value[name] <= most:
                yield name, f"{what} by {value[name]:.2f} nats a token, at most {most:g}"
        for name, most, what in (
            ("probe", chosen.max_probe_drop, "the grammar and common-sense probe"),
            ("following", chosen.max_following_drop, "the share of answers that follow contradicting evidence"),
            ("abstention", chosen.max_abstention_drop, "the share of unanswerable questions that are doubted"),
        ):
            if name in value and not round(value[f"{name}_base"] - value[name], 4) <= most:  # 1.0 - 0.95 > 0.05
                fell = f"from {value[f'{name}_base']:.1%} to {value[name]:.1%}"
                yield name, f"{what} fell {fell}, at most {most:.0%} is accepted"


def _timed(seconds: dict[str, Json], name: str, check: Callable[[], Mapping[str, Found]]) -> Mapping[str, Found]:
    started = time.monotonic()
    found = check()
    seconds[name] = round(time.monotonic() - started, 3)
    return found


def _is_nan(value: Json) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _share(records: Sequence[str], unlearned: Sequence[str]) -> float | None:
    return round(sum(record not in unlearned for record in records) / len(records), 4) if records else None
