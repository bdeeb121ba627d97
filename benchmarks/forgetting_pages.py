"""Pictures of a result, and one HTML page that needs no other file.

Flow:     runs and their result -> [pages] -> *.png, forgetting.html
Imports:  forgetting_report; matplotlib
"""

from __future__ import annotations

import base64
import html as markup
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.forgetting_report import Run, curve, mean_matrix, table

__all__ = ["html", "pictures"]


def pictures(runs: Sequence[Run], folder: Path, name: str) -> list[Path]:
    """Draw the curves by window and a heat map of each arm's accuracy matrix; return the files."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    arms = [arm for arm in dict.fromkeys(arm for run in runs for arm in run.outcomes)]
    windows = min(run.windows for run in runs)
    moving = [arm for arm in arms if not np.isnan(curve(runs, arm)[0])]
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for arm in moving:
        dashed = "--" if "misses" in arm else ":" if arm == "base" else "-"
        axes.plot(range(1, windows + 1), [100 * value for value in curve(runs, arm)], dashed, marker="o", label=arm)
    axes.set(xlabel="after window", ylabel="right, % of all told so far", ylim=(0, 100), xticks=range(1, windows + 1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper center", ncols=3, bbox_to_anchor=(0.5, -0.14), frameon=False)
    curves = folder / f"{name}_curves.png"
    figure.savefig(curves, dpi=110, bbox_inches="tight")
    plt.close(figure)
    shown = [arm for arm in moving if arm != "base"]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(3.6 * columns, 3.4 * rows), squeeze=False, layout="constrained")
    for axes, arm in zip(grid.flat, shown, strict=False):
        matrix = 100 * mean_matrix(runs, arm)
        image = axes.imshow(matrix, vmin=0, vmax=100, cmap="viridis")
        for (row, column), value in np.ndenumerate(matrix):
            if not np.isnan(value):
                colour = "white" if value < 60 else "black"
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=7)
        axes.set_title(arm, fontsize=9)
        axes.set(xticks=range(windows), xticklabels=range(1, windows + 1), yticks=range(windows))
        axes.set(yticklabels=range(1, windows + 1), xlabel="what window … brought", ylabel="after window")
    for axes in grid.flat[len(shown) :]:
        axes.axis("off")
    figure.colorbar(image, ax=grid, label="right, %", shrink=0.6)
    heat = folder / f"{name}_matrix.png"
    figure.savefig(heat, dpi=110)
    plt.close(figure)
    return [curves, heat]


def html(result: Mapping[str, Any], drawn: Sequence[Path]) -> str:
    """Return one page that needs no other file: tables, intervals, pictures, every window and every receipt."""
    images = "".join(
        f'<img alt="{file.stem}" src="data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}">'
        for file in drawn
    )
    intervals = "".join(
        f"<li>{markup.escape(name)}: [{100 * low:+.1f}, {100 * high:+.1f}]</li>"
        for name, (low, high) in result["intervals"].items()
    )
    differences = "".join(
        f"<li>{markup.escape(name)}: {100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]</li>"
        for name, (mean, low, high) in result["differences"].items()
        if mean is not None
    )
    known = ("streams", "seeds", "windows finished", "settings", "machine", "threads")
    about = ", ".join(f"{key} {result[key]}" for key in known)
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{result["benchmark"]}</title>
<style>body{{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}}
table{{border-collapse:collapse;margin:1rem 0;font-size:13px}}
td,th{{border:1px solid #ccc;padding:.25rem .5rem;text-align:right}}
td:first-child,th:first-child{{text-align:left}}img{{max-width:100%;display:block;margin:1rem 0}}</style>
<h1>What was kept, window by window</h1><p>{markup.escape(about)}</p>
{_html_tables(table(result))}
<h2>Curves and accuracy matrices</h2>{images}
<h2>Differences, points, 95 % interval of the paired bootstrap</h2><ul>{differences}</ul>
<h2>Intervals of single arms, points</h2><ul>{intervals}</ul></html>
"""


def _html_tables(text: str) -> str:
    parts = []
    for block in text.split("\n\n"):
        head, _, *rows = block.splitlines()
        cells = [[markup.escape(cell.strip()) for cell in row.strip("|").split("|")] for row in (head, *rows)]
        first = "".join(f"<th>{cell}</th>" for cell in cells[0])
        rest = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in cells[1:])
        parts.append(f"<table><tr>{first}</tr>{rest}</table>")
    return "".join(parts)
