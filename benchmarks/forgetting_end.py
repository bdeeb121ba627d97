"""What is asked once, after the last window: ability, unknown facts, contradicting evidence, deletion, latency.

Flow:     a memory or a sequential learner that has learned a stream -> [end] -> forgetting
Imports:  the arms, the probes, the public API

`end_of_memory` changes the memory, so everything else has to be measured before.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.forgetting_arms import MODES, Taught, by_model
from benchmarks.forgetting_sequential import Sequential
from benchmarks.probes import Probe, ability, load_probes, mean_ability
from benchmarks.stream import Question, Stream
from hybrid_memory import AdapterVersion, Mode
from hybrid_memory.grading import said

__all__ = ["doubts", "end_of_memory", "end_of_sequential"]

LATENCY_QUERIES = 8
DOUBTS = ("don't know", "do not know", "not know", "no information", "not mentioned", "not sure", "unknown")


def end_of_memory(taught: Taught, data_dir: Path | None) -> dict[str, Any]:
    """Measure a memory that has learned its stream; tells newer values and forgets records on the way."""
    return {
        "bytes": taught.size_bytes(),
        **_locality(taught, data_dir),
        **_unknown(taught),
        **_latency(taught),
        **_contradictions(taught),
        **_deletion(taught),
    }


def _locality(taught: Taught, data_dir: Path | None) -> dict[str, Any]:
    """Return general ability of the base and of what would serve each text; forced adapters on the shipped pairs."""
    probes = load_probes(data_dir)
    versions = {version.id: version for version in taught.serving()}

    def serving(text: str) -> list[AdapterVersion]:
        return [versions[name] for name in taught.memory.context(text, mode=Mode.WEIGHTS_ONLY).adapters]

    model = taught.language_model
    always = [version for version in versions.values() if version.id.startswith("behaviour")]
    worst: dict[str, float] = {}
    for version in versions.values():
        with_it = [*(one for one in always if one is not version), version]
        alone = mean_ability(ability(model, load_probes(None), partial(_always, with_it)))
        worst = {name: min(value, worst.get(name, value)) for name, value in alone.items()}
    base = ability(model, probes, partial(_always, ()))
    served = ability(model, probes, serving)
    return {
        "probes": {"base": mean_ability(base), "served": mean_ability(served), "worst adapter, forced": worst},
        "probe outcomes": {"base": base, "served": served},
    }


def _unknown(taught: Taught) -> dict[str, Any]:
    """Ask about facts that were never told; return the share of answers that admit it, per mode."""
    if not taught.stream.unknown:
        return {"abstains": {}}
    shares = {}
    for arm, mode in MODES.items():
        answers = taught.memory.query_many(taught.stream.unknown, mode=mode, max_new_tokens=taught.longest)
        shares[arm] = sum(answer.abstained or doubts(answer.text) for answer in answers) / len(answers)
    return {"abstains": shares}


def _latency(taught: Taught) -> dict[str, Any]:
    """Ask one question at a time; return the median seconds per mode."""
    questions = taught.stream.asked_after(taught.stream.windows - 1)
    chosen = questions[:: max(1, len(questions) // LATENCY_QUERIES)][:LATENCY_QUERIES]
    medians = {}
    for arm, mode in MODES.items():
        spent = []
        for question in chosen:
            started = time.monotonic()
            taught.memory.query(question.text, stream=False, mode=mode, max_new_tokens=taught.longest)
            spent.append(time.monotonic() - started)
        medians[arm] = sorted(spent)[len(spent) // 2]
    return {"p50 s": medians}


def _contradictions(taught: Taught) -> dict[str, Any]:
    """Tell newer values of learned facts without a window, then ask: who follows the evidence, who is stale?"""
    cases = taught.stream.contradictions
    for key, _, statement, _ in cases:
        taught.memory.ingest(
            statement, source="handbook", trust="operator", route="learn", supersedes=taught.records[key]
        )
    follows, stale, answers_by = {}, {}, {}
    for arm, mode in MODES.items() if cases else ():
        answers = taught.memory.query_many(
            [question for _, question, _, _ in cases], mode=mode, max_new_tokens=taught.longest
        )
        old = [taught.stream.statements[key][1] for key, _, _, _ in cases]
        follows[arm] = [said(value, answer.text) for (_, _, _, value), answer in zip(cases, answers, strict=True)]
        stale[arm] = [said(value, answer.text) for value, answer in zip(old, answers, strict=True)]
        answers_by[arm] = [answer.text for answer in answers]
    return {"follows": follows, "stale after update": stale, "contradiction answers": answers_by}


def _deletion(taught: Taught) -> dict[str, Any]:
    """Forget facts in both halves at once, then try to get every deleted value out in every mode."""
    stream = taught.stream
    if not stream.to_forget:
        return {"deletion": {}}
    before = {key: stream.statements[key] for key in stream.to_forget}
    deleted = {key: stream.statements[key] for keys in stream.deletions for key in keys} | before
    receipt = taught.memory.forget([taught.records[key] for key in stream.to_forget], weights="now")
    asked = [question for question in stream.questions if question.record in deleted]
    said_again = {}
    for arm, mode in MODES.items():
        given = taught.ask(asked, mode)
        said_again[arm] = [
            one.text for question, one in zip(asked, given, strict=True) if said(deleted[question.record][1], one.text)
        ]
    audit = taught.memory.forget_audit([text for text, _ in deleted.values()], controls=stream.controls)
    return {
        "deletion": {
            "receipt": receipt.to_json(),
            "questions": len(asked),
            "said again": said_again,
            "audit": audit.to_json(),
        }
    }


def end_of_sequential(learner: Sequential, stream: Stream, probes: Sequence[Probe]) -> dict[str, Any]:
    """Return the same for a sequential learner: evidence that contradicts it, unknown facts, general ability."""
    model, adapters = learner.language_model, learner.adapters
    cases = [
        Question(key, 0, "plain", question, key, ((0, value),), _unscored)
        for key, question, _, value in stream.contradictions
    ]
    shown = [[statement] for _, _, statement, _ in stream.contradictions]
    given = by_model(model, cases, adapters, shown, longest=learner.longest) if cases else []
    unknown = [Question(text, 0, "plain", text, "", ((0, ""),), _unscored) for text in stream.unknown]
    doubted = (
        [doubts(one.text) for one in by_model(model, unknown, adapters, longest=learner.longest)] if unknown else []
    )
    deleted = {key for keys in stream.deletions for key in keys}
    again = learner.ask([question for question in stream.questions if question.record in deleted])
    return {
        "follows": [said(case.values[0][1], one.text) for case, one in zip(cases, given, strict=True)],
        "stale after update": [
            said(stream.statements[case.id][1], one.text) for case, one in zip(cases, given, strict=True)
        ],
        "abstains": sum(doubted) / len(doubted) if doubted else None,
        "probes": mean_ability(ability(model, probes, partial(_always, adapters))),
        "deleted said": sum(
            said(stream.statements[key][1], one.text)
            for one in again
            for key in deleted
            if one.question.startswith(f"{key}-")
        ),
    }


def _always(adapters: Sequence[AdapterVersion], _: str) -> Sequence[AdapterVersion]:
    return adapters


def _unscored(_: str, __: str) -> float:
    return 0.0


def doubts(text: str) -> bool:
    """Tell whether an answer admits that it does not know."""
    return any(words in text.casefold() for words in DOUBTS)
