"""The public sets of `routing.py`, read as (text, label) rows; nothing of them is stored in this project.

Flow:     folders of public data -> rows -> benchmarks/routing.py
Imports:  nothing of the package
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

__all__ = ["Row", "by_source", "fact_statements", "memories", "planted", "questions", "read", "routing_mix", "wrapped"]

Row: TypeAlias = dict[str, Any]
FRESH = {"never-changing": "never", "slow-changing": "slow", "fast-changing": "fast"}


def read(path: Path) -> list[Row]:
    """Return the rows of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# ---------------------------------------------------------------- volatility


def questions(data: Path) -> dict[str, list[tuple[str, Any]]]:
    """Return sets of questions: three classes by people, dependence on time by people, changed by 2024 or not."""
    fresh = [row for row in read(data / "freshqa" / "dev.jsonl") if not row["false_premise"]]
    return {
        "freshqa": [(row["question"], FRESH[row["fact_type"]]) for row in fresh],
        "situatedqa_time": [
            (row["question"], row["time_dependent"]) for row in read(data / "situatedqa_time" / "dev.jsonl")
        ],
        "pat_questions": [(row["question"], row["changed"]) for row in read(data / "pat_questions" / "dev.jsonl")],
    }


def routing_mix(data: Path, *, everything: bool) -> list[Row]:
    """Return rows with text, label, label_source and source; `everything` adds the evaluate-only sources."""
    names = ("dev.jsonl", "dev_eval_only.jsonl") if everything else ("dev.jsonl",)
    return [row for name in names for row in read(data / "routing_mix" / name)]


def fact_statements(data: Path) -> list[tuple[str, str]]:
    """Return DynamicQA's sentences with "static", "temporal" or "disputable", by how often editors changed them."""
    return [(row["context"], row["partition"]) for row in read(data / "dynamicqa" / "dev.jsonl")]


def memories(data: Path) -> dict[str, list[tuple[str, list[str]]]]:
    """Return PersistBench's questions with the user's memories, by whether these help, belong elsewhere or flatter."""
    found: dict[str, list[tuple[str, list[str]]]] = {}
    for row in read(data / "persistbench" / "dev.jsonl"):
        found.setdefault(row["failure_type"], []).append((row["query"], row["memories"]))
    return found


# ---------------------------------------------------------------- routes


def by_source(data: Path) -> dict[str, tuple[str, list[str]]]:
    """Return, per source, what all of it is ("volatile", "behaviour" or "stable") and its texts."""
    policies = read(data / "tau_policies" / "dev.jsonl")
    mix = routing_mix(data, everything=True)
    labelled = {"volatile": "volatile", "behaviour": "behaviour", "stable_fact": "stable"}
    return {
        "volatile_rates": ("volatile", list(_rates(data))),
        "tau_policies: products": ("volatile", [_product(row) for row in policies if row["kind"] != "policy"]),
        "ag_news": ("volatile", [f"{row['title']}. {row['text']}" for row in read(data / "ag_news" / "dev.jsonl")]),
        "tau_policies: policies": ("behaviour", [row["text"] for row in policies if row["kind"] == "policy"]),
        "abcd_guidelines": ("behaviour", list(_guidelines(data))),
        "assistant_rules": (
            "behaviour",
            [rule for row in read(data / "assistant_rules" / "dev.jsonl") for rule in row["rules"]],
        ),
        "style_guide_18f": ("behaviour", [row["text"] for row in read(data / "style_guide_18f" / "dev.jsonl")]),
        "msc_personas": (
            "behaviour",
            [line for row in read(data / "msc_personas" / "dev.jsonl")[:100] for line in row["speaker1"][:3]],
        ),
        **{
            f"routing_mix: {label}": (kind, [row["text"] for row in mix if row["label"] == label])
            for label, kind in labelled.items()
        },
    }


def _rates(data: Path) -> Iterator[str]:
    for row in read(data / "volatile_rates" / "dev.jsonl")[::4]:
        yield f"{row['series'].split('/')[-1]}: {row['value']} {row['unit']} on {row['date']}"


def _product(row: Row) -> str:
    return json.dumps({key: row[key] for key in ("product", "options", "available", "price")})


def _guidelines(data: Path) -> Iterator[str]:
    for row in read(data / "abcd_guidelines" / "dev.jsonl"):
        yield " ".join(f"{step['text']} {' '.join(step.get('subtext') or [])}" for step in row["steps"])


# ---------------------------------------------------------------- injections


def planted(data: Path, mails: Sequence[str], place: str) -> Iterator[str]:
    """Put every BIPIA payload into two honest mails, at their start, in their middle or at their end."""
    for number, row in enumerate(read(data / "inj_bipia" / "dev.jsonl")):
        for mail in (mails[number % len(mails)], mails[(7 * number + 3) % len(mails)]):
            ends = [position for position in range(1, len(mail)) if mail[position - 1 : position + 1] in (". ", "! ")]
            middle = ends[len(ends) // 2] if ends else len(mail) // 2
            cut = {"start": 0, "middle": middle, "end": len(mail)}[place]
            joint = " " if place == "middle" else "\n"
            yield joint.join(part for part in (mail[:cut], row["payload"], mail[cut:]) if part)


def wrapped(data: Path) -> Iterator[str]:
    """Put every AgentDojo goal into every published wrapper."""
    templates = json.loads((data / "inj_agentdojo" / "attack_templates.json").read_text(encoding="utf-8"))
    for template in templates.values():
        for row in read(data / "inj_agentdojo" / "dev.jsonl"):
            yield template.replace("{goal}", row["goal"])
