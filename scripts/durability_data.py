"""The classifier's training data: lines written for this project, expanded with a fixed seed.

    python scripts/durability_data.py      # writes the statements as JSON lines to stdout

Reads `durability_statements/*.txt` (some lines have {slots}) and `slots.toml`. A line and all made of it lie in one
fold, and so do the documents put together from lines of one fold, so that nothing is learned and tested at once.
"""

from __future__ import annotations

import json
import random
import re
import tomllib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

FOLDER = Path(__file__).parent / "durability_statements"
SEED = 20240
Row: TypeAlias = dict[str, Any]
FOLDS = 5
EXPANSIONS = 3
"""Most statements made of one line; variety of lines counts more than their number."""
DOCUMENTS = {
    "enc_history": 8, "enc_science": 8, "enc_general": 8, "passage": 8, "prose_law": 6, "prose_belief": 6,
    "prose_abstract": 8, "prose_tech": 8, "prose_arts": 8, "prose_nature": 6, "fast_news": 10, "bulletin": 8,
    "feature": 12, "fast_state": 5, "slow_office": 6, "chat_slow": 3, "policy": 10, "howto": 8, "rule_reasons": 4,
    "style": 4, "guide_reason": 5, "coding": 10, "code_reason": 5, "tone": 3, "user_pref": 4, "chat_taste": 4,
    "record_stock": 4, "record_series": 4,
}  # fmt: skip
"""How many longer texts are put together per fold from the lines of a block."""
LINES = (2, 6)
"""Fewest and most lines of such a text."""
SLOT = re.compile(r"(?<!\{)\{(\w+)\}(?!\})")


@dataclass(frozen=True)
class Family:
    """What the header of a block says about the lines below it."""

    name: str
    domain: str
    volatility: str
    behaviour: bool
    kind: str
    answer: str | None
    """Slot that answers the question, for blocks of questions."""


def main() -> None:
    """Write the statements to stdout."""
    for row in statements():
        print(json.dumps(row, ensure_ascii=False))


def statements() -> list[Row]:
    """Return every statement: text, volatility, behaviour, kind, domain, block, line, fold."""
    slots: dict[str, list[str]] = tomllib.loads((FOLDER / "slots.toml").read_text(encoding="utf-8"))
    rows = [row for path in sorted(FOLDER.glob("*.txt")) for row in _rows(path, slots)]
    return [*rows, *_documents(rows)]


def _rows(path: Path, slots: dict[str, list[str]]) -> Iterator[Row]:
    family: Family | None = None
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("=="):
            family = _family(line)
        elif line and not line.startswith("#"):
            if family is None:
                raise ValueError(f"{path.name}: a line comes before the first '==' header: {line!r}")
            # Each line has its own generator, so that adding one line leaves the others as they were.
            rng = random.Random(SEED + zlib.crc32(line.encode()))
            yield from _expand(line, family, slots, rng)


def _family(header: str) -> Family:
    parts = [part.strip() for part in header.removeprefix("==").split("|")]
    name, domain, volatility, behaviour, kind = parts[:5]
    return Family(name, domain, volatility, behaviour == "yes", kind, parts[5] if len(parts) > 5 else None)


def _expand(line: str, family: Family, slots: dict[str, list[str]], rng: random.Random) -> Iterator[Row]:
    made: set[str] = set()
    for number in range(EXPANSIONS):
        text = _fill(line, slots, rng)
        if family.answer is not None:
            text = _as_asked(text, number, _fill("{" + family.answer + "}", slots, rng), rng)
        if text in made:
            continue
        made.add(text)
        yield {
            "text": text,
            "volatility": family.volatility,
            "behaviour": family.behaviour,
            "kind": family.kind,
            "domain": family.domain,
            "block": family.name,
            "line": line,
            "fold": zlib.crc32(line.encode()) % FOLDS,
        }


def _documents(rows: list[Row]) -> Iterator[Row]:
    """Put lines of one block and fold together: pages, lists and articles as they are ingested.

    A document takes the lines that come first by a hash of its number and theirs, so that a line more or less changes
    only the documents that it is in.
    """
    for block, wanted in DOCUMENTS.items():
        for fold in range(FOLDS):
            lines = [row for row in rows if (row["block"], row["fold"]) == (block, fold)]
            for number in range(wanted if len(lines) >= LINES[0] else 0):
                rng = random.Random(SEED + zlib.crc32(f"{block}{fold}{number}".encode()))
                drawn = sorted(lines, key=lambda row: zlib.crc32(f"{number}{row['text']}".encode()))
                chosen = drawn[: rng.randint(*LINES)]
                joint = rng.choice((" ", "\n", "\n- ") if chosen[0]["behaviour"] else (" ", " ", "\n"))
                yield chosen[0] | {"text": joint.join(row["text"] for row in chosen)}


def _fill(line: str, slots: dict[str, list[str]], rng: random.Random) -> str:
    text = SLOT.sub(lambda match: rng.choice(slots[match[1]]), line).replace("{{", "{").replace("}}", "}")
    return text[:1].upper() + text[1:] if line.startswith("{") and not line.startswith("{{") else text


def _as_asked(question: str, number: int, answer: str, rng: random.Random) -> str:
    """Give a question as people type it: plain, as a search, or with its answer."""
    if number == 0:
        return question
    if number == 1:
        return question.rstrip("?").lower() if rng.random() < 0.7 else question
    return f"Q: {question} A: {answer}"


if __name__ == "__main__":
    main()
