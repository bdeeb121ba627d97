"""Write the tables of docs/policies/*.md from the policies and their examples.

    python scripts/write_policy_pages.py [--check] [--vectors CACHE.npz]

Between the marks of each page stand what the policy changes in the default and what it does with its examples. The
vectors of the examples are kept in tests/data/policy_examples.safetensors, so that tests need no encoder for them;
they are made anew for texts that are not there.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from hybrid_memory.config import home
from hybrid_memory.routing.difference import difference
from hybrid_memory.routing.examples import Case, examples_of
from hybrid_memory.routing.policy import list_policies
from hybrid_memory.types import FloatArray

ROOT = Path(__file__).parents[1]
VECTORS = ROOT / "tests" / "data" / "policy_examples.safetensors"
MARKED = re.compile(r"(<!-- (changes|examples) -->\n).*?(<!-- /\2 -->)", re.DOTALL)


def main() -> None:
    """Write the pages and the vectors; with --check only tell which pages are out of date."""
    parser = argparse.ArgumentParser(description="Write the tables of the policy pages.")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--vectors", type=Path, help="npz with arrays texts and vectors")
    arguments = parser.parse_args()
    stale = [name for name in list_policies() if not _write(name, check=arguments.check)]
    if arguments.check:
        sys.exit(f"run scripts/write_policy_pages.py: {', '.join(stale)} out of date" if stale else 0)
    _keep_vectors(arguments.vectors)


def _write(name: str, *, check: bool) -> bool:
    page = ROOT / "docs" / "policies" / f"{name}.md"
    text = page.read_text(encoding="utf-8")
    tables = {"changes": _changes(name), "examples": _examples(name)}
    fresh = MARKED.sub(lambda mark: f"{mark[1]}{tables[mark[2]]}{mark[3]}", text)
    if not check:
        page.write_text(fresh, encoding="utf-8")
    return fresh == text


def _changes(name: str) -> str:
    changes = difference("default", name)
    if not changes:
        return "Nothing: it is the default.\n"
    rows = [f"| `{one.key}` | {_shown(one.before)} | {_shown(one.after)} |" for one in changes]
    return "\n".join(["| key | default | here |", "|---|---|---|", *rows]) + "\n"


def _shown(value: object) -> str:
    text = "-" if value is None else json.dumps(value, ensure_ascii=False)
    return f"`{text}`".replace("|", "\\|") if len(text) > 1 else text


def _examples(name: str) -> str:
    rows = [
        f"| {_cell(case.text)} | {_said_by(case)} | **{case.route}** | {_cell(case.why)} |"
        for case in examples_of(name)
    ]
    return "\n".join(["| text | from | route | why |", "|---|---|---|---|", *rows]) + "\n"


def _said_by(case: Case) -> str:
    parts: list[str] = [case.trust.value]
    parts += [f"source `{case.source}`"] if case.source != "example" else []
    parts += [f"as a {case.kind.value}"] if case.kind else []
    parts += [f"slot `{case.attribute}`"] if case.attribute else []
    parts += [f"{case.sources} sources"] if case.sources > 1 else []
    return ", ".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _keep_vectors(cache: Path | None) -> None:
    texts = sorted({case.text for name in list_policies() for case in examples_of(name)})
    known: dict[str, FloatArray] = {}
    if VECTORS.exists():
        kept = load_file(VECTORS)
        known = dict(zip(json.loads(bytes(kept["texts"]).decode()), kept["vectors"], strict=True))
    if cache is not None:
        stored = np.load(cache, allow_pickle=False)
        known |= dict(zip(stored["texts"].tolist(), stored["vectors"], strict=True))
    missing = [text for text in texts if text not in known]
    if missing:
        from hybrid_memory.retrieval.encoder import SentenceEncoder

        known |= dict(
            zip(missing, SentenceEncoder(home() / "models" / "all-minilm-l6-v2").encode(missing), strict=True)
        )
    vectors = np.stack([known[text] for text in texts]).astype(np.float16)
    save_file({"texts": np.frombuffer(json.dumps(texts).encode(), np.uint8), "vectors": vectors}, VECTORS)


if __name__ == "__main__":
    main()
