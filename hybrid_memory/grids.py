"""Small grids of colours, as in ARC: written as text, read back, and seen from other sides.

Flow:    examples of a task -> [grids] -> study material, answers to a task
Imports: nothing of this package.

A view maps a grid to another one and back. A rule seen through a view is often, not always, the same rule: swapping
two colours looks the same in a mirror, turning a grid does not. Which views help is for the self-edit to choose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

__all__ = ["VIEWS", "Grid", "View", "all_grids", "bare", "like", "read_grid", "views", "vote", "write_grid"]

Grid = npt.NDArray[np.int64]
"""Shape (rows, columns), colours 0 to 9."""
COLOURS = 10


@dataclass(frozen=True, slots=True)
class View:
    """One way to look at a task's texts, and the way back."""

    name: str
    forward: Callable[[str], str]
    back: Callable[[str], str]
    """Returns a text that it cannot read unchanged: an answer that is no grid stays one."""


def write_grid(grid: Grid) -> str:
    r"""Return a grid as one line of digits per row.

    >>> write_grid(np.array([[1, 0], [0, 2]]))
    '10\n02'
    """
    return "\n".join("".join(str(colour) for colour in row) for row in grid.tolist())


def read_grid(text: str) -> Grid | None:
    r"""Return the grid that a text shows, spaces between the digits or not; None when it is no rectangle of digits.

    >>> read_grid("1 0\n0 2").tolist(), read_grid("10\n0"), read_grid("ten")
    ([[1, 0], [0, 2]], None, None)
    """
    rows = ["".join(line.split()) for line in text.strip().splitlines()]
    if not rows or any(not (row.isascii() and row.isdigit()) or len(row) != len(rows[0]) for row in rows):
        return None
    return np.array([[int(colour) for colour in row] for row in rows], dtype=np.int64)


def _on_text(change: Callable[[Grid], Grid], text: str) -> str:
    grid = read_grid(text)
    return text if grid is None else write_grid(change(grid))


def _view(name: str, forward: Callable[[Grid], Grid], back: Callable[[Grid], Grid]) -> View:
    return View(name, partial(_on_text, forward), partial(_on_text, back))


def _turned(times: int, grid: Grid) -> Grid:
    return np.rot90(grid, times)


def _shifted(steps: int, grid: Grid) -> Grid:
    """Move every colour but 0, the background, on by some steps."""
    return np.where(grid == 0, 0, (grid - 1 + steps) % (COLOURS - 1) + 1)


def _half_turned(grid: Grid) -> Grid:
    return grid[::-1, ::-1]


VIEWS: dict[str, tuple[View, ...]] = {
    "flips": (
        _view("left to right", np.fliplr, np.fliplr),
        _view("upside down", np.flipud, np.flipud),
        _view("half turn", _half_turned, _half_turned),
    ),
    "rotations": tuple(
        _view(f"turned {90 * times}", partial(_turned, times), partial(_turned, -times)) for times in (1, 3)
    ),
    "transposition": (_view("transposed", np.transpose, np.transpose),),
    "colours": tuple(
        _view(f"colours +{steps}", partial(_shifted, steps), partial(_shifted, -steps)) for steps in (1, 3, 5)
    ),
}
"""Augmentations by the name under which a self-edit asks for them."""
PLAIN = View("as it is", str, str)


def views(augmentations: Sequence[str] | None) -> tuple[View, ...]:
    """Return the views of some augmentations; the plain one is always the first."""
    return (PLAIN, *(view for name in augmentations or () for view in VIEWS[name]))


def vote(answers: Sequence[str]) -> dict[str, float]:
    """Return the share of each answer, the commonest first; of equally common ones the first to be given.

    >>> vote(["a", "b", "b", "a"])
    {'a': 0.5, 'b': 0.5}
    """
    return {answer: count / len(answers) for answer, count in Counter(answers).most_common()}


def all_grids(texts: Iterable[str]) -> bool:
    """Tell whether every text shows a grid."""
    return all(read_grid(text) is not None for text in texts)


def bare(text: str) -> str:
    r"""Return a text in the one form in which grids are studied; one that shows none as it is.

    >>> bare("1 0\n0 2")
    '10\n02'
    """
    grid = read_grid(text)
    return text if grid is None else write_grid(grid)


def like(text: str, example: str) -> str:
    r"""Return a grid with blanks between its digits if the example has them.

    >>> like("10\n02", "3 4")
    '1 0\n0 2'
    """
    grid = read_grid(text)
    if grid is None:
        return text
    blank = " " if any(len(row.split()) > 1 for row in example.splitlines()) else ""
    return "\n".join(blank.join(row) for row in write_grid(grid).split("\n"))
