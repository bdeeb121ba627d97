"""Find the line of a key in a TOML text; `tomllib` parses without keeping places.

Flow:    policy errors -> [toml_lines] -> "line 12, column 5".
Imports: nothing of this package.

A small scan, good for the tables of a policy: headers, `key = value`, inline tables on one line.
Text inside a multi-line string is scanned as if it were keys, which can only misplace an error.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

__all__ = ["place_of"]

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]\[]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"^(\s*)([\w.\"'-]+)\s*=")

Path = tuple[int | str, ...]


def place_of(text: str, keys: Sequence[int | str]) -> tuple[int, int]:
    r"""Return (line, column), both from 1, of the key or of the innermost table around it that has a line.

    Args:
        text: TOML.
        keys: where, as pydantic gives it: names, and positions in arrays of tables.

    >>> place_of('name = "a"\n[[rules]]\nroute = "lern"', ("rules", 0, "route"))
    (3, 1)
    """
    wanted = tuple(keys)
    depth, place = 0, (1, 1)
    for path, line, column, source in _places(text):
        if path == wanted[: len(path)] and len(path) > depth:
            depth, place = len(path), (line, column + _inside(source, wanted[len(path) :], column))
    return place


def _places(text: str) -> Iterator[tuple[Path, int, int, str]]:
    table: Path = ()
    seen: Counter[Path] = Counter()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            names = _parts(header[2])
            if header[1] == "[[":
                seen[names] += 1
            table = _numbered(names, seen)
            yield table, number, line.index("[") + 1, line
        elif key := _KEY.match(line):
            yield (*table, *_parts(key[2])), number, len(key[1]) + 1, line


def _numbered(names: Path, seen: Counter[Path]) -> Path:
    """Put the position of the newest entry after the name of every array of tables."""
    path: Path = ()
    for depth, name in enumerate(names, start=1):
        path = (*path, name, seen[names[:depth]] - 1) if seen[names[:depth]] else (*path, name)
    return path


def _parts(dotted: str) -> Path:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _inside(line: str, rest: Path, column: int) -> int:
    """Return how far right of `column` the last named key of an inline table stands; 0 when it is not there."""
    start = column - 1
    for key in rest:
        found = re.compile(rf"[{{,.]\s*[\"']?({re.escape(str(key))})[\"']?\s*[=.]").search(line, start)
        if found:
            start = found.start(1)
    return start - (column - 1)
