"""Server-sent events: one JSON object a line, and a stream that fails before it begins.

Flow:    AnswerStream -> [events] -> text/event-stream
Imports: nothing of this package.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["DONE", "event", "started"]

DONE = "data: [DONE]\n\n"
"""How OpenAI's streams end."""


def event(data: Mapping[str, Any]) -> str:
    r"""Return one event.

    >>> event({"text": "nine"})
    'data: {"text": "nine"}\n\n'
    """
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def started(pieces: Iterable[str]) -> Iterator[str]:
    """Wait for the first piece: what is wrong with a question is raised here, where a status can still say so."""
    rest = iter(pieces)
    return itertools.chain(list(itertools.islice(rest, 1)), rest)
