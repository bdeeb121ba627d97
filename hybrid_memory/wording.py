"""What of a text's wording rarely changes its meaning: case, punctuation, spaces, a first article.

Flow:    ledger (is it what was forgotten?) and verdicts (the same question again) compare texts by `plain`
Imports: nothing of ours.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["plain"]

_SIGNS = re.compile(r"\d+(?:[.,:/-]\d+)*|\w+(?:['’]\w+)*|-(?=\d)|[^\w\s.,;:!\-–—…'’‘\"“”()\[\]{}*_]")
"""What counts of a text: words, numbers, and signs that change what is said (?, %, €, +, a minus before a number)."""


def plain(text: str) -> str:
    """Return a text's words, numbers and telling signs in lower case; the text itself when it has none.

    >>> plain("The night shift: starts at Ten!")
    'night shift starts at ten'
    """
    signs = _SIGNS.findall(unicodedata.normalize("NFKC", text).casefold())
    if len(signs) > 2 and signs[0] in {"the", "a", "an"}:
        signs = signs[1:]
    return " ".join(signs) or text
