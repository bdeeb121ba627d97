"""Ordinary prompts and sentences, unrelated to any memory: half to study with, half to probe with.

Flow:    selfedit practises preferences on the study half; the gate measures drift on the probe half, and doubt on
         questions that nothing answers.
Imports: types. All texts are self-authored (hybrid_memory/data).
"""

from __future__ import annotations

import json
from importlib.resources import files

__all__ = ["minimal_pairs", "probe_prompts", "read_facts", "study_prompts", "unanswerable_questions"]


def study_prompts() -> list[str]:
    """Return the prompts that study material may use: every other one."""
    return _prompts()[::2]


def read_facts() -> list[tuple[str, str]]:
    """Return (fact, question) pairs about made-up places: practice in reading evidence."""
    return [(pair["fact"], pair["prompt"]) for pair in map(json.loads, _lines("facts_read.jsonl"))]


def probe_prompts(count: int) -> list[str]:
    """Return `count` of the prompts that nothing is ever trained on, evenly spread (all, if there are fewer)."""
    prompts = _prompts()[1::2]
    step = max(1, len(prompts) // count)
    return prompts[::step][:count]


def minimal_pairs() -> list[tuple[str, str]]:
    """Return (good, bad) sentences that differ in a word or two, grammar and common sense in turn."""
    return [(pair["good"], pair["bad"]) for pair in map(json.loads, _lines("probes.jsonl"))]


def unanswerable_questions() -> list[str]:
    """Return questions about private matters that no model can know."""
    return _prompts("unanswerable.jsonl")


def _prompts(name: str = "general.jsonl") -> list[str]:
    return [json.loads(line)["prompt"] for line in _lines(name)]


def _lines(name: str) -> list[str]:
    return (files("hybrid_memory") / "data" / name).read_text(encoding="utf-8").splitlines()
