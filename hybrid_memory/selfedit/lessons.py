"""Read the passages and questions that the outer loop practises on.

Flow:    JSON lines -> [lessons] -> outer loop
Imports: errors, types.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from hybrid_memory.errors import InputError
from hybrid_memory.types import Example, Lesson, quoted

__all__ = ["read_lessons"]

_ACCEPTED = '{"text": "…", "questions": [{"question": "…", "answer": "…"}]}'


def read_lessons(path: Path) -> list[Lesson]:
    """Return the lessons of a file of JSON lines; "context" may stand for "text", as in SQuAD.

    Raises:
        InputError: there is no such file, it is empty, or a line is no lesson; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # splitlines() would also cut at U+2028 inside a text
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); give a file of JSON lines like {_ACCEPTED}") from error
    lessons = [_lesson(line, f"{path.name}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]
    if not lessons:
        raise InputError(f"{path} holds no lesson; give a file of JSON lines like {_ACCEPTED}")
    return lessons


def _lesson(line: str, place: str) -> Lesson:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(f"{place} is no JSON ({error}); each line is a lesson like {_ACCEPTED}") from error
    text = row.get("text", row.get("context")) if isinstance(row, Mapping) else None
    questions = row.get("questions") if isinstance(row, Mapping) else None
    if not isinstance(text, str) or not text.strip() or not isinstance(questions, list) or not questions:
        raise InputError(f"{place} has no text with questions; each line is a lesson like {_ACCEPTED}")
    return Lesson(text=text, questions=tuple(_question(one, place) for one in questions))


def _question(given: object, place: str) -> Example:
    pair = (given.get("question"), given.get("answer")) if isinstance(given, Mapping) else (None, None)
    question, answer = (part.strip() if isinstance(part, str) else "" for part in pair)
    if not question or not answer:
        raise InputError(f"{place} has a question without text or answer: {quoted(given)}; accepted is {_ACCEPTED}")
    return Example(question, answer)
