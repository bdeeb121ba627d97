"""Turns of a chat that state nothing: plain questions and bare code.

Flow:    what a user said in a conversation -> [turns] -> the router drops it, or goes on
Imports: nothing but the standard library.

A question that is stored is nearer to the same question than any answer to it. English, and careful: a question that
carries a fact ("Did you know that …?", "Why is my order still not here?"), a wish ("Could you answer in German?") or
anything else that somebody may want to read again is kept.
"""

from __future__ import annotations

import re

__all__ = ["states_nothing"]

LONGEST_QUESTION = 16
LONGEST_UNMARKED = 8
"""Words of a question without a question mark: "what time is it"."""

CODE = re.compile(r"\s*```[^`]*```\s*")
OPENING = re.compile(
    r"(?:(?:hi|hello|hey|ok|okay|so|and|well|oh|hm+|sorry|thanks|thank you|excuse me|please|"
    r"good (?:morning|afternoon|evening))\b(?: there)?[\s,.!-]*)+",
    re.IGNORECASE,
)
WORD = r"(?:what|when|where|who|whom|whose|which|how)"
ASKS = re.compile(
    rf"(?:(?:at|by|for|from|in|of|on|to|until|with) )?{WORD}(?:['’](?:s|re|d|ll))?\b"
    rf"|(?:do you (?:know|remember)|(?:can|could|would|will) you (?:please )?tell me) {WORD}\b"
    r"|(?:can|could|would|will) you (?:please )?(?:help(?: me| us)?(?: out| with (?:this|that|it))?|hear me)\??$"
    r"|(?:is|are|am|was|were|does|did|do|shall|should|may|have|has) (?!you\b)\w"
    r"|(?:can|could|may) (?:I|we|one|anybody|anyone|somebody|someone)\b",
    re.IGNORECASE,
)
UNMARKED = re.compile(
    r"(?:what|where|when|who)(?:['’]?s| is| are| does| do| did) \w|what time\b"
    r"|how (?:much|many|long|far|do|does|is) \w",
    re.IGNORECASE,
)
OWN = re.compile(r"(?:what|who|where|when)(?:['’]s| is| are| was| were) (?:my|our) (?:\w+ )?\w+\??$", re.IGNORECASE)
""""What is my name?" says nothing about the name."""
CARRIES = re.compile(
    r"\d|[,;:\"“”()\n]"
    r"|\b(?:my|our|mine|ours|because|since|although|though|after|before|while|but|unless|if|now)\b"
    r"|\bI(?:['’]\w+| am| have| was)\b|\bwe(?:['’]\w+| are| have| were)\b"
    r"|\b(?:not|still|already|again|anymore|never|no longer)\b|n['’]t\b"
    r"|\bthat (?:the|an?|my|our|your|his|her|its|their|I|you|s?he|it|we|they|is|are|was|were|has|have|there)\b"
    r"|\bthat (?-i:[A-Z])",
    re.IGNORECASE,
)
VERB = re.compile(r"\b(?:is|are|was|were)\b", re.IGNORECASE)


def states_nothing(said: str) -> str | None:
    """Return what a user's turn is when it states nothing worth keeping, None when it may.

    >>> states_nothing("Hi! What time is it?"), states_nothing("Did you know that the gate is blue?")
    ('a plain question', None)
    """
    if CODE.fullmatch(said):
        return "bare code"
    pieces = [_without_opening(piece.strip()) for piece in re.findall(r"[^?]+\??", said.strip())]
    return "a plain question" if pieces and all(map(_is_plain, pieces)) else None


def _without_opening(piece: str) -> str:
    opening = OPENING.match(piece)
    return piece[opening.end() :] if opening else piece


def _is_plain(piece: str) -> bool:
    """Tell whether one sentence only asks."""
    words = len(piece.split())
    if OWN.match(piece):
        return True
    if CARRIES.search(piece):
        return False
    if piece.endswith("?"):
        return words <= LONGEST_QUESTION and not re.search(r"[.!]\s", piece) and bool(ASKS.match(piece))
    return (
        words <= LONGEST_UNMARKED
        and not piece.endswith((".", "!"))
        and bool(UNMARKED.match(piece))
        and len(VERB.findall(piece)) < 2
    )
