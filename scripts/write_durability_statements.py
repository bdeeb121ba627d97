"""Expand the statement files into the classifier's training data.

    python scripts/write_durability_statements.py

Reads `durability_statements/*.txt` (lines written for this project, some with {slots}) and
`slots.toml`, writes `statements.jsonl`. A line is one group: its expansions never fall on both
sides of a split. The seed is fixed, so the same files give the same bytes.
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

FOLDER = Path(__file__).parent / "durability_statements"
SEED = 20240
EXPANSIONS = 3
"""Most statements made of one line; variety of lines counts more than their number."""
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
    """Write the statements and say how many there are."""
    slots: dict[str, list[str]] = tomllib.loads((FOLDER / "slots.toml").read_text(encoding="utf-8"))
    rows = [row for path in sorted(FOLDER.glob("*.txt")) for row in _rows(path, slots)]
    target = FOLDER / "statements.jsonl"
    target.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{len(rows)} statements of {len({row['group'] for row in rows})} lines, {target.stat().st_size:,} bytes")


def _rows(path: Path, slots: dict[str, list[str]]) -> Iterator[dict[str, object]]:
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


def _expand(line: str, family: Family, slots: dict[str, list[str]], rng: random.Random) -> Iterator[dict[str, object]]:
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
            "group": f"{family.name}:{zlib.crc32(line.encode()):08x}",
        }


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
