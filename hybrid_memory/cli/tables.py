"""Tables and lines that several commands show.

Imports: types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.table import Table

from hybrid_memory.types import Hit

__all__ = ["pairs", "source_line", "table"]

LONGEST_LINE = 120
"""Characters of a source's text that are shown below an answer."""


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a plain table; the first column never wraps, so that ids can be copied."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        made.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in rows:
        made.add_row(*(str(cell) for cell in row))
    return made


def pairs(title: str, values: Mapping[str, object]) -> Table:
    """Return a table of names and values under a title."""
    made = Table(box=None, show_header=False, title=title, title_justify="left", pad_edge=False)
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in values.items():
        made.add_row(name, str(value))
    return made


def source_line(number: int, hit: Hit) -> str:
    """Return one source as a line: number, beginning of what was shown, where it comes from, since when it holds."""
    text = " ".join((hit.excerpt or hit.text).split())
    if len(text) > LONGEST_LINE:
        text = f"{text[: LONGEST_LINE - 1].rstrip()}…"
    return f"[{number}] {text} ({hit.record.source}, {hit.record.valid_from:%Y-%m-%d}, {hit.id})"
