"""Write the tables of README, docs/results.md and the model card from benchmarks/results/*.json: none is copied.

python scripts/write_results_table.py
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from forgetting_tables import forgetting, headline, kinds, passages, protection
from routing_table import routing

ROOT = Path(__file__).parent.parent
END = "<!-- /results -->"


def main_job_headline(result: Mapping[str, Any]) -> str:
    """Return the main job as Markdown: the table, and what both halves gain on the better retrieval control."""
    whole = main_job(result).splitlines()
    return "\n".join(line for line in whole if not line.startswith("* ") or line.startswith("* hybrid - "))


def main_job(result: Mapping[str, Any]) -> str:
    """Return the main job as Markdown, with what it was measured on, every difference, and what learning cost."""
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
    lines += ["", "Points above the best retrieval control, with the 95 % interval of the paired difference:", ""]
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


def inner_loop_speed(result: Mapping[str, Any]) -> str:
    """Return what one self-edit costs and gives as Markdown, the released recipe and a plain loop beside ours."""
    lines = [
        f"{result['table']['ours']['passages']} passages of `squad_seal`, one adapter each, one thread, "
        f"{result['machine']}, settings {result['settings']}:",
        "",
        "| | passages | gold log-prob | contained | positions trained | CPU s |",
        "|---|---|---|---|---|---|",
    ]
    for arm, row in result["table"].items():
        costs = [f"{row[name]:,.0f}" if name in row else "" for name in ("tokens", "cpu")]
        best = [max(row[name].values()) for name in ("logprob", "contained")]
        lines.append(f"| {arm} | {row['passages']} | {best[0]:.2f} | {best[1]:.1%} | " + " | ".join(costs) + " |")
    lines += ["", "Paired over passages, with the 95 % interval (nats a token; shares of questions):", ""]
    lines += [
        f"* {name}: {mean:+.2f} [{low:+.2f}, {high:+.2f}]" for name, (mean, low, high) in result["differences"].items()
    ]
    return "\n".join([*lines, *(f"* {name}: {ratio:.1f}" for name, ratio in result["ratios"].items())])


def knowledge_incorporation(result: Mapping[str, Any]) -> str:
    """Return what is known of a passage without it as Markdown, by who wrote the self-edit."""
    lines = [
        f"One adapter a passage of `squad_seal`, one thread, {result['machine']}, settings {result['settings']}; "
        "differences over the passages that both arms have:",
        "",
        "| | passages | gold log-prob | contained | words written | positions trained | CPU s |",
        "|---" * 7 + "|",
    ]
    for arm, row in result["table"].items():
        known = f"{row['passages']} | {row['logprob']:.2f} | {row['contained']:.1%}"
        costs = [f"{row[name]:,.0f}" if name in row else "" for name in ("written", "trained", "cpu")]
        lines.append(f"| {arm} | {known} | " + " | ".join(costs) + " |")
    lines += ["", "Paired over passages, with the 95 % interval (nats a token; shares of questions):", ""]
    lines += [f"* {name}: {_interval(found)}" for name, found in result["differences"].items()]
    if joint := result["joint"]:
        lines += [
            "",
            f"{joint['passages']} passages learned together ({joint['sentences']} sentences in {joint['shard count']} "
            f"shards), {joint['passages asked']} of them asked; the encoder sends "
            f"{joint['questions sent to a shard of their passage']:.0%} of the questions to a shard with a sentence of "
            "their passage:",
            "",
            "| | base | alone | jointly | kept of the gain | jointly - 80 % of the gain alone |",
            "|---|---|---|---|---|---|",
        ]
        for name, label in (("logprob", "gold log-prob"), ("contained", "contained")):
            row = joint[name]
            cells = [f"{row[arm]:.2f}" for arm in ("base", "alone", "jointly")]
            kept = "–" if row["kept"] is None else f"{row['kept']:.0%}"
            apart = _interval(row["jointly - 80 percent of alone"])
            lines.append(f"| {label} | {' | '.join(cells)} | {kept} | {apart} |")
    if tofu := result["tofu"]:
        lines += [
            "",
            f"* `tofu`: the true answer in other words beats every wrong one in {tofu['wins']:.0%} of the questions "
            f"(base {tofu['base wins']:.0%})",
        ]
    return "\n".join(lines)


def outer_loop(result: Mapping[str, Any]) -> str:
    """Return each round's reward on unseen passages as Markdown, and what stacking saves."""
    lines = [
        f"{result['machine']}; the passages differ by seed:",
        "",
        "| seed | trained on | unseen | samples | reward before | after | difference | self-edits learned | CPU s |",
        "|---" * 9 + "|",
    ]
    for seed, loop in result["loops"].items():
        one, count = loop["rounds"][0], loop["passages"]
        samples = loop["settings of the loop"]["samples"]
        cells = [seed, count["trained on"], count["unseen"], samples, f"{one['held_out_before']:.2f}"]
        cells += [f"{one['held_out_after']:.2f}", _interval(one["difference from base"])]
        cells += [f"{one['winners']} of {count['trained on'] * samples}", f"{loop['cpu seconds']:.0f}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    if "all seeds" in result:
        count, found = (result["all seeds"][name] for name in ("unseen passages", "difference from base"))
        lines += ["", f"* all {count} unseen passages: {_interval(found)} nats a token"]
    if "control" in result:
        lines += [f"* {name}: {_interval(result['control'][name])}" for name in ("own - another's", "another's - none")]
    lines += ["", "| five candidates, rows a step | one at a time, CPU s | stacked | ratio |", "|---|---|---|---|"]
    lines += [
        f"| {one['batch']} | {one['one at a time cpu s']:.1f} | {one['stacked cpu s']:.1f} | {one['ratio']:.2f} |"
        for one in result["speed"]
    ]
    return "\n".join(lines)


def excerpts(result: Mapping[str, Any]) -> str:
    """Return pages as Markdown: how often the right one is evidence, and how often the answer is right."""
    kinds = list(result["questions"])
    heads = [f"{kind}: {what}" for kind in kinds for what in ("found", "right")]
    asked = ", ".join(f"{count} ({kind})" for kind, count in result["questions"].items())
    lines = [
        f"Questions: {asked}; retrieval only, one passage, {result['machine']}, settings {result['settings']}:",
        "",
        "| the prompt shows | " + " | ".join(heads) + " |",
        "|---" * (len(heads) + 1) + "|",
    ]
    for arm in result["found"]:
        cells = [f"{result[what][arm][kind]:.1%}" for kind in kinds for what in ("found", "right")]
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    lines += ["", "Points right, with the 95 % interval of the paired bootstrap over pages:", ""]
    for name, (mean, low, high) in result["differences"].items():
        lines.append(f"* {name}: {100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]")
    return "\n".join(lines)


def few_shot(result: Mapping[str, Any]) -> str:
    """Return how many small grid tasks are solved as Markdown, by who chooses how to study them."""
    lines = [
        f"{result['tasks']} tasks, seeds {', '.join(result['seeds'])}, {result['samples']} self-edits a task, "
        f"{result['machine']}, settings {result['settings']}:",
        "",
        "| | tasks solved |",
        "|---|---|",
        *(f"| {arm} | {share:.1%} |" for arm, share in result["solved"].items()),
        "",
        "Points, with the 95 % interval of the paired bootstrap over tasks:",
        "",
    ]
    for name, (mean, low, high) in result["differences"].items():
        lines.append(f"* {name}: {100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]")
    arc, trained = result["arc"], result["training samples"]
    lines.append(f"* of {trained['tried']} self-edits of training tasks {trained['winners']} solved theirs")
    if arc["tasks"]:
        lines.append(
            f"* ARC: of {arc['tasks']} tasks in context {arc['solved']['in context']:.0f}, "
            f"fixed {arc['solved']['fixed']:.0f}; {arc['too long']} were too long to be tried"
        )
    return "\n".join(lines)


def _interval(found: tuple[float, float, float]) -> str:
    mean, low, high = found
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"


def retrieval_speed(result: Mapping[str, Any]) -> str:
    """Return speed by size as Markdown, other stores beside it, and the kinds of index."""
    names = [name for name in result["ours"][0] if name not in ("records", "cold start found")]
    lines = [
        f"Made-up texts and vectors, {result['machine']}, settings {result['settings']}:",
        "",
        *_turned(result["ours"], names, "records", " records"),
        "",
        "Other stores, the same vectors in the same run:",
        "",
    ]
    stores = result["peers"]
    lines += _turned(stores, [name for name in stores[0] if name != "store"], "store") if stores else []
    lines += ["", "Kinds of index over the same vectors:", ""]
    figures = [name for name in result["kinds"][0] if name not in ("records", "kind")]
    lines += [f"| vectors | kind | {' | '.join(figures)} |", "|---" * (len(figures) + 2) + "|"]
    for row in result["kinds"]:
        cells = [row["kind"], *(_number(row[name]) if name in row else "" for name in figures)]
        lines.append(f"| {row['records']:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _turned(rows: Sequence[Mapping[str, Any]], names: Sequence[str], head: str, unit: str = "") -> list[str]:
    """Return a table with a column for each row of results."""
    heads = [f"{row[head]:,}" if isinstance(row[head], int) else row[head] for row in rows]
    lines = ["| | " + " | ".join(f"{one}{unit}" for one in heads) + " |", "|---" * (len(rows) + 1) + "|"]
    return lines + [f"| {name} | " + " | ".join(_number(row.get(name, "–")) for row in rows) + " |" for name in names]


def _number(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


SECTIONS: dict[str, tuple[str, str, Callable[[Mapping[str, Any]], str]]] = {
    "main_job": ("main_job", "README.md", main_job_headline),
    "main_job in full": ("main_job", "docs/results.md", main_job),
    "labels": ("labels", "README.md", labels),
    "forgetting": ("forgetting", "README.md", headline),
    "forgetting in full": ("forgetting", "docs/results.md", forgetting),
    "forgetting by kind": ("forgetting", "docs/results.md", kinds),
    "forgetting_tofu": ("forgetting_tofu", "docs/results.md", passages),
    "forgetting_squad_seal": ("forgetting_squad_seal", "docs/results.md", passages),
    "protection": ("protection", "docs/results.md", protection),
    "retrieval_quality": ("retrieval_quality", "docs/results.md", retrieval_quality),
    "retrieval_speed": ("retrieval_speed", "docs/results.md", retrieval_speed),
    "inner_loop_speed": ("inner_loop_speed", "docs/results.md", inner_loop_speed),
    "knowledge_incorporation": ("knowledge_incorporation", "docs/results.md", knowledge_incorporation),
    "outer_loop": ("outer_loop", "docs/results.md", outer_loop),
    "routing": ("routing", "docs/model-card-durability.md", routing),
    "excerpts": ("excerpts", "docs/results.md", excerpts),
    "few_shot": ("few_shot", "docs/results.md", few_shot),
}
"""Marker on the page -> result file, page, and how it is shown."""


def main() -> None:
    """Replace what stands between each section's markers."""
    for marker, (name, page, text) in SECTIONS.items():
        measured = ROOT / "benchmarks" / "results" / f"{name}.json"
        if not measured.exists():
            continue
        result = json.loads(measured.read_text(encoding="utf-8"))
        file, begin = ROOT / page, f"<!-- results:{marker} -->"
        before, rest = file.read_text(encoding="utf-8").split(begin)
        after = rest.split(END, 1)[1]
        file.write_text(f"{before}{begin}\n\n{text(result)}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
