"""Words that say how a question is put, not what it is about: "what should I do if I".

Flow:    terms of a question -> [FUNCTION_WORDS] -> what each of them weighs
Imports: standard library.

English only; the words of other languages weigh what their rarity says. They are weighed down, not left out: "The Who"
and "to be or not to be" are still found, and "IT" is "it".
"""

from __future__ import annotations

__all__ = ["FUNCTION_WORDS", "FUNCTION_WORTH"]

FUNCTION_WORTH = 0.25
"""What a function word weighs beside another word of the same rarity. Tuning halves and the development company,
nDCG@10 at 1, 0.3, 0.2, 0.1: FeedbackQA 0.678, 0.687, 0.687, 0.684; tau2_banking 0.294, 0.351, 0.365, 0.366; LoCoMo
0.571, 0.575, 0.574, 0.572; the company's facts, mostly asked for in other words, 0.544, 0.578, 0.585, 0.589."""

FUNCTION_WORDS = frozenset(
    """
    i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers
    herself it its itself they them their theirs themselves one this that these those
    who whom whose which what when where why how
    am is are was were be been being do does did doing done have has had having
    can could may might must shall should will would
    a an the and or but nor so if than as because while until although though whether
    of at by for with without about against between into through during before after above below to from up down in out
    on off over under again then once here there
    all any both each few more most other some such no not only own same too very just also
    s t d m ll re ve don doesn didn isn aren wasn weren hasn haven hadn won wouldn shouldn couldn
    """.split()
)
"""Closed-class words of English, and what apostrophes leave of "I'll" or "doesn't"."""
