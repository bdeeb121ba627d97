"""Write README's table of results from benchmarks/results/main_job.json: no figure is copied by hand.

python scripts/write_results_table.py
"""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- results:main_job -->", "<!-- /results -->"


def table() -> str:
    """Return the results as Markdown, with what they were measured on."""
    result = json.loads((ROOT / "benchmarks" / "results" / "main_job.json").read_text(encoding="utf-8"))
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


def main() -> None:
    """Replace what stands between the two markers."""
    readme = ROOT / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
