"""What knowledge_incorporation.py found, as means, paired differences and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.knowledge_material import WRITTEN
from benchmarks.squad_seal import Passage, interval

SHOWN = ("base", "passage in the prompt")
Outcome = dict[str, Any]
"""Outcomes of questions ("logprob", "contained") and what they cost."""
ALONE = ("passage only", "released", *WRITTEN, "ours", "ours from a teacher")


def summary(kept: dict[str, Any], passages: Sequence[Passage]) -> dict[str, Any]:
    """Return per arm its means, and its paired differences to base and released over the passages that both have."""
    arms = [arm for arm in (*SHOWN, *ALONE) if any(one.id in kept["alone"].get(arm, {}) for one in passages)]
    reached = [one.id for one in passages if one.id in kept["alone"].get("base", {})]
    rows = {arm: {name: kept["alone"][arm][name] for name in reached if name in kept["alone"][arm]} for arm in arms}
    return {
        "passages": len(reached),
        "table": {arm: _cell(list(cells.values())) for arm, cells in rows.items()},
        "differences": {
            f"{arm} - {other}: {name}": _paired(rows[arm], rows[other], name)
            for other in ("base", "released")
            for arm in arms
            if arm != other and other in arms and rows[arm].keys() & rows[other].keys()
            for name in ("logprob", "contained")
        },
        "joint": _joint(kept, passages),
        "tofu": {name: _mean([x for one in kept["tofu"].values() for x in one[name]]) for name in ("base wins", "wins")}
        if kept["tofu"]
        else {},
    }


def _cell(cells: Sequence[Outcome]) -> Outcome:
    """Return an arm's means over its passages; a cost is shown when every passage has it."""
    found: Outcome = {name: round(_mean(_pool(cells, name)), 4) for name in ("logprob", "contained")}
    costs = [name for name in ("written", "trained", "cpu") if all(name in cell for cell in cells)]
    return {"passages": len(cells), **found, **{n: round(_mean([cell[n] for cell in cells]), 1) for n in costs}}


def _paired(one: Mapping[str, Outcome], other: Mapping[str, Outcome], name: str) -> list[float]:
    """Return the mean difference of two arms with its interval, over the passages that both have."""
    both = [passage for passage in one if passage in other]
    groups = [number for number, passage in enumerate(both) for _ in one[passage][name]]
    ours, theirs = (_pool([cells[passage] for passage in both], name) for cells in (one, other))
    return [round(value, 4) for value in interval(ours, theirs, groups)]


def _joint(kept: dict[str, Any], passages: Sequence[Passage]) -> dict[str, Any]:
    """Return what share of the gain of learning passages alone is kept when they are learned in shards with others."""
    joint, base = kept["joint"], kept["alone"].get("base", {})
    sent = joint.get("sent to", {})
    shared = [
        one.id
        for one in passages
        if one.id in base
        and one.id in joint.get("alone", {})
        and all(one.id in joint["shards"].get(name, {}) for name in sent[one.id])
    ]
    if not shared:
        return {}
    arms = {
        "base": [base[one] for one in shared],
        "alone": [joint["alone"][one] for one in shared],
        "jointly": [_by_question(joint, one) for one in shared],
    }
    groups = [number for number, cell in enumerate(arms["base"]) for _ in cell["logprob"]]
    found: dict[str, Any] = {name: joint[name] for name in ("passages", "sentences", "shard count")}
    found |= {"passages asked": len(shared), "questions sent to a shard of their passage": joint["sent right"]}
    for name in ("logprob", "contained"):
        rows = {arm: _pool(cells, name) for arm, cells in arms.items()}
        gain, kept_gain = (np.subtract(rows[arm], rows["base"]) for arm in ("alone", "jointly"))
        found[name] = {arm: _mean(row) for arm, row in rows.items()}
        found[name] |= {
            "kept": float(kept_gain.mean() / gain.mean()) if gain.mean() else None,
            "jointly - 80 percent of alone": interval(kept_gain.tolist(), (0.8 * gain).tolist(), groups),
        }
    return found


def _by_question(joint: dict[str, Any], passage: str) -> Outcome:
    """Return a passage's outcomes in the order of its questions, each from the shard it was sent to."""
    left = {
        (name, shard): list(joint["shards"][shard][passage][name])
        for shard in joint["sent to"][passage]
        for name in ("logprob", "contained")
    }
    return {
        name: [left[name, shard].pop(0) for shard in joint["sent to"][passage]] for name in ("logprob", "contained")
    }


def _pool(cells: Sequence[dict[str, Any]], name: str) -> list[float]:
    return [float(value) for cell in cells for value in cell[name]]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def show(result: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    lines = [
        f"{result['passages']} passages, one adapter each",
        "| arm | passages | gold log-prob | contained | words written | positions trained | CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm, cell in result["table"].items():
        cost = [f"{cell[name]:,.0f}" if name in cell else "" for name in ("written", "trained", "cpu")]
        lines.append(
            f"| {arm} | {cell['passages']} | {cell['logprob']:.2f} | {cell['contained']:.1%} | "
            + " | ".join(cost)
            + " |"
        )
    lines += [
        f"{name}: {mean:+.3f} [{low:+.3f}, {high:+.3f}]" for name, (mean, low, high) in result["differences"].items()
    ]
    return "\n".join([*lines, f"joint: {result['joint']}", f"tofu: {result['tofu']}"])
