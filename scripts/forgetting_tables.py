"""The streams of windows and the ablation of protective training as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["forgetting", "headline", "kinds", "passages", "protection"]

KEPT = ("whole stream", "average accuracy", "learning", "BWT", "net over base", "half-life", "stale said")
COSTS = ("follows evidence", "prompt tokens", "p50 s", "trained tokens", "train s")
SIGNED = ("learning", "BWT", "net over base")
KINDS = ("plain", "hard", "ticket", "rule", "price", "updated", "rumoured")
COMPARED = ("hybrid - RAG", "hybrid - shards")
HEADLINE_ARMS = (
    "base",
    "RAG",
    "RAG, 30 percent misses",
    "SEAL, merged in sequence",
    "shards",
    "hybrid",
    "hybrid, 30 percent misses",
)
HEADLINE_COLUMNS = ("whole stream", "average accuracy", "BWT", "stale said", *COSTS[:3])
HEADLINE_COMPARED = ("hybrid - RAG", "hybrid, 30 percent misses - RAG, 30 percent misses", "hybrid - shards")
GATE = {
    "drift": "drift, nats",
    "probe": "pairs",
    "probe_base": "base",
    "abstention": "doubts",
    "abstention_base": "base",
}


def headline(result: Mapping[str, Any]) -> str:
    """Return what most people look for in the stream of windows: a few arms, columns and differences."""
    rows = {arm: row for arm, row in result["rows"].items() if arm in HEADLINE_ARMS}
    lines = [*_head(result), *_table({"rows": rows}, HEADLINE_COLUMNS), ""]
    lines += ["Points, with the 95 % interval of the paired bootstrap over questions:", ""]
    lines += [line for line in _differences(result, "whole stream") if _names(line, HEADLINE_COMPARED)]
    low, high = result["intervals"]["BWT: hybrid"]
    return "\n".join([*lines, f"* BWT: hybrid: {_points(result['rows']['hybrid']['BWT'], low, high)}"])


def forgetting(result: Mapping[str, Any]) -> str:
    """Return the stream of windows: what was kept, what it cost, and the differences."""
    lines = [*_head(result), *_table(result, (*KEPT, *COSTS))]
    lines += ["", "Points, with the 95 % interval of the paired bootstrap over questions:", ""]
    for name, (low, high) in result["intervals"].items():
        metric, _, arm = name.partition(": ")
        if metric in SIGNED:
            lines.append(f"* {name}: {_points(result['rows'][arm][metric], low, high)}")
    return "\n".join([*lines, *_differences(result, "whole stream")])


def kinds(result: Mapping[str, Any]) -> str:
    """Return the same by kind of question, and what serving the adapters changes of general ability."""
    lines = [*_table(result, KINDS), ""]
    for kind in ("plain", "hard", "ticket", "rule", "price"):
        lines += [line for line in _differences(result, kind) if line.endswith("]") and _names(line, COMPARED)]
    lines += [
        "",
        "What the adapters that would serve a text change of the base's general ability (points; nats a token):",
        "",
    ]
    for name, (mean, low, high) in result.get("ability, served - base", {}).items():
        text = f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]" if name.startswith("WikiText") else _points(mean, low, high)
        lines.append(f"* {name}: {text}")
    return "\n".join(lines)


def passages(result: Mapping[str, Any]) -> str:
    """Return a stream of public passages: nothing is updated in it, and no rule is told."""
    columns = ("whole stream", "learning", "BWT", "net over base", "prompt tokens", "trained tokens")
    return "\n".join([*_head(result), *_table(result, columns), "", *_differences(result, "whole stream")])


def protection(result: Mapping[str, Any]) -> str:
    """Return what each kind of protective training gives, and what it costs."""
    lines = [
        f"Companies {', '.join(result['companies'])}, one seed each ({', '.join(map(str, result['seeds']))}), "
        f"{result['machine']}, settings {result['settings']}; six facts in one shard, shares of right answers:",
        "",
        *_shares(result["facts"], {name: _mean(values) for name, values in result["drift of facts"].items()}),
        "",
    ]
    lines += [f"* {name}: {_points(*one)}" for name, one in result["differences"]["facts"].items()]
    lines += ["", "One preference, alone in a memory; the gate's own measurements, means over the companies:", ""]
    gate = result["gate"]
    lines += ["| | followed | " + " | ".join(GATE.values()) + " |", "|---" * (len(GATE) + 2) + "|"]
    for variant, rows in result["preference"].items():
        followed = sum(rows["followed"]) / len(rows["followed"])
        cells = [_mean([one[name] for one in gate[variant] if name in one]) for name in GATE]
        lines.append(f"| {variant} | {followed:.1%} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _head(result: Mapping[str, Any]) -> list[str]:
    return [
        f"Streams of {', '.join(result['streams'])}, seeds {', '.join(map(str, result['seeds']))}, "
        f"windows {', '.join(result['windows finished'])}, "
        f"{result['machine']}, {result['threads']} thread(s), settings {result['settings']}; shares in %, "
        "differences in points:",
        "",
    ]


def _table(result: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    lines = ["| arm | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for arm, row in result["rows"].items():
        lines.append(f"| {arm} | " + " | ".join(_cell(column, row[column]) for column in columns) + " |")
    return lines


def _differences(result: Mapping[str, Any], metric: str) -> list[str]:
    return [
        f"* {name}: {_points(*one)}"
        for name, one in result["differences"].items()
        if one[0] is not None and name.startswith(f"{metric}: ")
    ]


def _names(line: str, compared: Sequence[str]) -> bool:
    return any(f": {pair}: " in line for pair in compared)


def _shares(outcomes: Mapping[str, Mapping[str, Sequence[int]]], drift: Mapping[str, str]) -> list[str]:
    columns = list(next(iter(outcomes.values())))
    lines = ["| | " + " | ".join(columns) + " | drift, nats |", "|---" * (len(columns) + 2) + "|"]
    for variant, rows in outcomes.items():
        cells = [*(f"{sum(rows[column]) / len(rows[column]):.1%}" for column in columns), drift[variant]]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return lines


def _points(mean: float, low: float, high: float) -> str:
    return f"{100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.2f}" if values else "–"


def _cell(column: str, value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return "–" if value is None else value
    if column in SIGNED:
        return f"{100 * value:+.1f}"
    if (column in KEPT and column != "half-life") or column in (*KINDS, "follows evidence"):
        return f"{100 * value:.1f}"
    return f"{value:.2f}" if column == "p50 s" else f"{value:.0f}"
