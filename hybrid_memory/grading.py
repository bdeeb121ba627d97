"""Tell whether an answer says what it should.

Flow:    answers -> [grading] -> the demonstration and every benchmark
Imports: nothing of this package.
"""

from __future__ import annotations

import re

__all__ = ["plain", "said"]


def said(answer: str, text: str) -> bool:
    """Tell whether a text contains an answer as whole words, whatever the case and the punctuation.

    >>> said("27", "It costs 27 euros."), said("27", "It costs 127 euros.")
    (True, False)
    """
    return f" {plain(answer)} " in f" {plain(text)} "


def plain(text: str) -> str:
    """Return a text in lower case, without punctuation but for that inside numbers and codes.

    >>> plain("Costs 1,200 euros (K-9)!")
    'costs 1200 euros k-9'
    """
    return " ".join(
        re.sub(r"[^a-z0-9.:-]+", " ", text.casefold().replace(",", "")).replace(". ", " ").rstrip(" .").split()
    )
