"""General ability before and after learning: grammar, common sense, and the loss on ordinary text.

Flow:     adapters as they would serve each text -> [probes] -> points lost
Imports:  the language model; the shipped minimal pairs, or public sets read from --data-dir

A text is scored by its mean log-probability per token, by itself and as the assistant's words in a chat, which is where
adapters act. Of a pair or of several choices, the likelier one counts.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hybrid_memory.evidence import UNPROMPTED
from hybrid_memory.ordinary import minimal_pairs
from hybrid_memory.types import AdapterVersion
from hybrid_memory.weights.language_model import LocalLanguageModel

__all__ = ["Probe", "ability", "load_probes", "mean_ability"]

PAIRS, CHOICES, PARAGRAPHS = 300, 200, 12
"""Of BLiMP and WikiText-2; PIQA has no more. With 40 choices one preference adapter seemed to lose 7.5 points, with 200
it was 1.0 [-2.5, +4.5]."""
T = TypeVar("T")
Serving = Callable[[str], Sequence[AdapterVersion]]


@dataclass(frozen=True, slots=True)
class Probe:
    """Texts of which one should be the likeliest; a single text has no right choice, its log-probability counts."""

    name: str
    texts: tuple[str, ...]
    gold: int = 0


def load_probes(data_dir: Path | None) -> list[Probe]:
    """Return the shipped minimal pairs; with a data folder also BLiMP, PIQA and WikiText-2 in small samples."""
    probes = [Probe("shipped pairs", pair) for pair in minimal_pairs()]
    if data_dir is None:
        return probes
    blimp = _rows(data_dir / "blimp" / "dev.jsonl")
    probes += [Probe("BLiMP", (row["good"], row["bad"])) for row in _sample(blimp, PAIRS)]
    piqa = [row for row in _rows(data_dir / "general_probes" / "dev.jsonl") if row["task"] == "piqa"]
    for row in _sample(piqa, CHOICES):
        probes.append(Probe("PIQA", tuple(f"{row['context']} {choice}" for choice in row["choices"]), int(row["gold"])))
    text = (data_dir / "wikitext2" / "dev.txt").read_text(encoding="utf-8")
    long = [line.strip() for line in text.splitlines() if len(line.split()) > 60]
    probes += [Probe("WikiText-2", (" ".join(line.split()[:120]),)) for line in _sample(long, PARAGRAPHS)]
    return probes


def mean_ability(outcomes: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the mean of each set of `ability`."""
    return {name: sum(values) / len(values) for name, values in outcomes.items()}


def ability(language_model: LocalLanguageModel, probes: Sequence[Probe], serving: Serving) -> dict[str, list[float]]:
    """Return per set 1.0 or 0.0 for each choice that is right or not; for single texts the nats per token.

    Each set twice: by itself, and ", in a chat".

    Args:
        language_model: scores.
        probes: what to ask.
        serving: the adapters that would serve a text.
    """
    texts = [text for probe in probes for text in probe.texts]
    groups: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    adapters: dict[tuple[str, ...], Sequence[AdapterVersion]] = {}
    for text in texts:
        served = serving(text)
        key = tuple(version.id for version in served)
        adapters[key] = served
        groups[key].append(text)
    results: defaultdict[str, list[float]] = defaultdict(list)
    for chat, where in (((), ""), (UNPROMPTED, ", in a chat")):
        scores: dict[str, float] = {}
        for key, members in groups.items():
            scored = language_model.score([(chat, text) for text in members], adapters=adapters[key])
            scores.update(zip(members, scored, strict=True))
        for probe in probes:
            values = [scores[text] for text in probe.texts]
            likeliest = max(range(len(values)), key=lambda place: values[place])
            results[probe.name + where].append(values[0] if len(values) == 1 else float(likeliest == probe.gold))
    return dict(results)


def _rows(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _sample(rows: Sequence[T], count: int) -> list[T]:
    """Return `count` of the rows, evenly spread."""
    return list(rows[:: max(1, len(rows) // count)][:count])
