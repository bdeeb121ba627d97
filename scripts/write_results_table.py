"""Write README's tables of results from benchmarks/results/*.json: no figure is copied by hand.

python scripts/write_results_table.py
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
END = "<!-- /results -->"
KEPT = ("whole stream", "average accuracy", "learning", "BWT", "net over base", "half-life", "stale said")
COSTS = ("follows evidence", "prompt tokens", "p50 s", "trained tokens", "train s")
SIGNED = ("learning", "BWT", "net over base")


def main_job(result: Mapping[str, Any]) -> str:
    """Return the main job as Markdown, with what it was measured on."""
    columns = list(next(iter(result["means"].values())))
    lines = [
        f"Made-up companies {', '.join(result['companies'])}, one seed each ({', '.join(map(str, result['seeds']))}), "
        f"{result['machine']}, settings {result['settings']}:",
        "",
        "| | " + " | ".join(columns) + " | prompt tokens | s per query |",
        "|---" * (len(columns) + 3) + "|",
    ]
    for row, means in result["means"].items():
        cells = [f"{means[column]:.1%}" for column in columns]
        tokens, seconds = result["prompt tokens"][row], result["s per query"][row]
        lines.append(f"| {row} | " + " | ".join([*cells, f"{tokens:.0f}", f"{seconds:.2f}"]) + " |")
    lines += ["", "Points above the better retrieval control, with the 95 % interval of the paired difference:", ""]
    for name, (mean, low, high) in result["differences"].items():
        lines.append(f"* {name}: {100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]")
    for company, spent in zip(result["companies"], result["consolidation"], strict=True):
        lines.append(
            f"* {company}: {spent['statements']:.0f} statements consolidated in {spent['seconds']:.0f} s "
            f"({spent['trained tokens']:.0f} tokens, {spent['shards']:.0f} shards, {spent['declined']:.0f} declined)"
        )
    return "\n".join(lines)


def labels(result: Mapping[str, Any]) -> str:
    """Return the labelled tasks as Markdown; the shares are means over questions and seeds."""
    outcomes = result["outcomes"]
    lines = [
        f"Seeds {', '.join(map(str, result['seeds']))}, {result['machine']}, settings {result['settings']}:",
        "",
        "| | " + " | ".join(outcomes) + " |",
        "|---" * (len(outcomes) + 1) + "|",
    ]
    for row in next(iter(outcomes.values())):
        shares = [sum(one[row]) / len(one[row]) for one in outcomes.values()]
        lines.append(f"| {row} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")
    lines.append("")
    for name, (mean, low, high) in result["differences"].items():
        if name.endswith("all companies"):
            lines.append(f"* {name}: {100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]")
    return "\n".join(lines)


def forgetting(result: Mapping[str, Any]) -> str:
    """Return the stream of windows as Markdown: what was kept, what it cost, and the differences."""
    columns = (*KEPT, *COSTS)
    lines = [
        f"Streams of {', '.join(result['streams'])}, seeds {', '.join(map(str, result['seeds']))}, "
        f"windows {', '.join(result['windows finished'])}, "
        f"{result['machine']}, {result['threads']} thread(s), settings {result['settings']}; shares in %, "
        "differences in points:",
        "",
        "| arm | " + " | ".join(columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for arm, row in result["rows"].items():
        lines.append(f"| {arm} | " + " | ".join(_cell(column, row[column]) for column in columns) + " |")
    lines += ["", "Points, with the 95 % interval of the paired bootstrap over questions:", ""]
    for name, (low, high) in result["intervals"].items():
        metric, _, arm = name.partition(": ")
        if metric in SIGNED:
            lines.append(f"* {name}: {100 * result['rows'][arm][metric]:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]")
    for name, (mean, low, high) in result["differences"].items():
        if mean is not None and name.startswith("whole stream"):  # by kind of question: in the result file
            lines.append(f"* {name}: {100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]")
    return "\n".join(lines)


def retrieval_quality(result: Mapping[str, Any]) -> str:
    """Return recall and nDCG on public sets as Markdown, fused beside each half alone."""
    rows = list(next(iter(result["sets"].values()))["rows"])
    lines = [
        f"Evidence recall at ten (R) and nDCG at ten (N), {result['machine']}, settings {result['settings']}:",
        "",
        "| set | questions | " + " | ".join(f"{row}: R | N" for row in rows) + " | ours - better half: N |",
        "|---" * (3 + 2 * len(rows)) + "|",
    ]
    for name, one in result["sets"].items():
        cells = [f"{one['rows'][row][figure]:.3f}" for row in rows for figure in ("recall@10", "nDCG@10")]
        mean, low, high = next(value for key, value in one.items() if key.startswith("ours - "))["nDCG@10"]
        cells.append(f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]")
        lines.append(f"| {name} | {one['rows'][rows[0]]['questions']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(column: str, value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return "–" if value is None else value
    if column in SIGNED:
        return f"{100 * value:+.1f}"
    if (column in KEPT and column != "half-life") or column == "follows evidence":
        return f"{100 * value:.1f}"
    return f"{value:.2f}" if column == "p50 s" else f"{value:.0f}"


SECTIONS: dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "main_job": ("README.md", main_job),
    "labels": ("README.md", labels),
    "forgetting": ("README.md", forgetting),
    "retrieval_quality": ("README.md", retrieval_quality),
}
"""Result file -> the page that shows it, and how."""


def main() -> None:
    """Replace what stands between each section's markers."""
    for name, (page, text) in SECTIONS.items():
        measured = ROOT / "benchmarks" / "results" / f"{name}.json"
        if not measured.exists():
            continue
        result = json.loads(measured.read_text(encoding="utf-8"))
        file, begin = ROOT / page, f"<!-- results:{name} -->"
        before, rest = file.read_text(encoding="utf-8").split(begin)
        after = rest.split(END, 1)[1]
        file.write_text(f"{before}{begin}\n\n{text(result)}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
