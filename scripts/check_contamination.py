"""Check that no training statement copies or paraphrases a text of the public sets that the benchmark measures on.

    python scripts/check_contamination.py --data-dir ../shared/data --vectors CACHE.npz

A statement counts as too near when it is the same text (case and spaces folded) or when its cosine with a measured text
is LIMIT or more. All lines that have such an expansion are listed, and the exit code is 1; `--drop` removes them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from durability_data import FOLDER, statements

from hybrid_memory.types import FloatArray

LIMIT = 0.70
SETS = {
    "freshqa": ("question",),
    "situatedqa_time": ("question",),
    "routing_mix": ("text",),
    "dynamicqa": ("context", "question"),
    "pat_questions": ("question",),
    "style_guide_18f": ("text",),
    "tau_policies": ("text",),
    "ag_news": ("title", "text"),
}


def main() -> None:
    """List what is too near, with the text that it resembles in the data folder's own words left out."""
    parser = argparse.ArgumentParser(description="Compare training statements with measured texts.")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument(
        "--vectors", type=Path, required=True, help="npz with texts and vectors; others are not compared"
    )
    parser.add_argument("--drop", action="store_true", help="remove the lines that are too near")
    arguments = parser.parse_args()
    stored = np.load(arguments.vectors, allow_pickle=False)
    known: dict[str, FloatArray] = dict(zip(stored["texts"].tolist(), stored["vectors"], strict=True))
    measured = sorted({text for text in _measured(arguments.data_dir) if text in known})
    rows = [row for row in statements() if row["text"] in known]
    folded = {" ".join(text.casefold().split()) for text in measured}
    nearest = _nearest(np.stack([known[row["text"]] for row in rows]), np.stack([known[text] for text in measured]))
    copies = [" ".join(row["text"].casefold().split()) in folded for row in rows]
    near = {row["line"] for row, cosine, copy in zip(rows, nearest, copies, strict=True) if cosine >= LIMIT or copy}
    figures = {
        "statements": len(rows), "measured": len(measured), "verbatim": sum(copies), "too_near": len(near),
        "nearest_p50": round(float(np.median(nearest)), 3), "nearest_max": round(float(nearest.max()), 3),
    }  # fmt: skip
    print(json.dumps(figures))
    print("\n".join(sorted(near)))
    if arguments.drop:
        _drop(near)
    sys.exit(1 if near else 0)


def _measured(data: Path) -> Iterator[str]:
    for name, fields in SETS.items():
        for file in sorted((data / name).glob("dev*.jsonl")):
            for line in file.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                yield from (row[field] for field in fields if isinstance(row.get(field), str))


def _nearest(rows: FloatArray, measured: FloatArray) -> FloatArray:
    parts = [(rows[start : start + 512] @ measured.T).max(axis=1) for start in range(0, len(rows), 512)]
    return np.concatenate(parts)


def _drop(lines: set[str]) -> None:
    for path in sorted(FOLDER.glob("*.txt")):
        kept = [line for line in path.read_text(encoding="utf-8").splitlines() if line not in lines]
        path.write_text("\n".join(kept) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
