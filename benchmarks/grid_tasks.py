"""A family of small grid tasks, made for this project: one rule, four demonstrations, two queries.

Small enough for a model of 135M: three rows of three digits. Tasks for training and for measuring are drawn with
different seeds; a rule's kind comes back, its colours and grids do not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from hybrid_memory import Example
from hybrid_memory.grids import Grid, write_grid
from hybrid_memory.selfedit.few_shot import Puzzle

__all__ = ["KINDS", "arc_tasks", "make_tasks"]

Rule: TypeAlias = Callable[[Grid], Grid]
SIZE = 3
COLOURS = 4
DEMONSTRATIONS = 4
QUERIES = 2


def _swap(rng: np.random.Generator) -> Rule:
    one, other = rng.choice(np.arange(1, COLOURS + 1), 2, replace=False)
    return lambda grid: np.where(grid == one, other, np.where(grid == other, one, grid))


def _paint(rng: np.random.Generator) -> Rule:
    colour = rng.integers(1, 9)
    return lambda grid: np.where(grid == 0, 0, colour)


def _fill(rng: np.random.Generator) -> Rule:
    colour = rng.integers(5, 10)
    return lambda grid: np.where(grid == 0, colour, grid)


KINDS: dict[str, Callable[[np.random.Generator], Rule]] = {
    "swap two colours": _swap,
    "paint everything": _paint,
    "fill the background": _fill,
    "left to right": lambda _: np.fliplr,
    "upside down": lambda _: np.flipud,
    "transposed": lambda _: np.transpose,
}


def make_tasks(count: int, *, seed: int) -> list[tuple[str, Puzzle]]:
    """Return (kind of rule, task), the kinds in turn."""
    rng = np.random.default_rng(seed)
    tasks = []
    for number in range(count):
        kind = list(KINDS)[number % len(KINDS)]
        rule = KINDS[kind](rng)
        grids = [rng.integers(0, COLOURS + 1, (SIZE, SIZE)) for _ in range(DEMONSTRATIONS + QUERIES)]
        pairs = [Example(write_grid(grid), write_grid(rule(grid))) for grid in grids]
        tasks.append((kind, Puzzle(tuple(pairs[:DEMONSTRATIONS]), tuple(pairs[DEMONSTRATIONS:]))))
    return tasks


def arc_tasks(data: Path) -> Iterator[tuple[str, Puzzle]]:
    """Yield (id, task) of `arc_seal/dev.jsonl` in a folder of public data (ARC-AGI, Apache-2.0)."""
    for line in (data / "arc_seal" / "dev.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield row["id"], Puzzle(tuple(map(_pair, row["train"])), tuple(map(_pair, row["test"])))


def _pair(given: dict[str, Any]) -> Example:
    return Example(write_grid(np.array(given["input"])), write_grid(np.array(given["output"])))
