"""Surface cues: what the wording of a text says about how long it stays true.

Flow:    text -> [cues] -> durability classifier, beside the embedding.
Imports: types.

Embeddings of "who won the cup in 1994" and "who won the cup last year" are close; one of
them never changes and the other changes every year. The cues are what tells them apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from hybrid_memory.types import FloatArray

__all__ = ["CUE_NAMES", "cue_features", "is_question"]

MAX_SENTENCES = 16
LONGEST_QUESTION = 40
"""Words, of a question with its answer."""
MAX_CHARS = 2000
"""Only the beginning is read: the cues of a long document are in its first paragraphs."""

_MONTH = r"(?:january|february|march|april|may|june|july|august|september|october|november|december)"
_DAY = r"(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)s?"
_MONEY = (
    r"[$€£¥₹]\s?\d|\b\d[\d.,]*\s?(?:€|£|dollars|euros?|pounds|usd|eur|gbp|chf|kr|cents)\b"
    r"|\b(?:usd|eur|gbp|chf)\s?\d"
)
_ISO = r"\b(?:19|20)\d\d-\d\d(?:-\d\d)?\b"
_VALUE = r"[ ,;:|\"]-?\d+(?:\.\d+)?\b"
_RULE_VERBS = (
    r"use|write|keep|avoid|prefer|follow|ensure|implement|create|add|do|don't|never|always|please|ask|check|make|put|"
    r"answer|reply|start|begin|give|include|explain|handle|name|store|run|install|tell|offer|log|enter|select|wait|"
    r"provide|refer|consider|remember|leave|spell|show|set|apply|return|verify|choose|optimi[sz]e|minimi[sz]e|"
    r"validate|limit|format|organi[sz]e|structure|document|focus|let|try|have|search|look|first|then|if|when"
)

_WORDING: Final[dict[str, str]] = {
    # --- moves with the calendar
    "now": r"\b(?:now|today|tonight|currently|at the moment|right now|this morning|this afternoon|this evening)\b",
    "current": r"\bcurrent\b",
    "tomorrow": r"\b(?:tomorrow|yesterday|last night|later today|in an hour)\b",
    "this_period": r"\bthis (?:week|month|year|season|quarter|weekend|summer|winter|spring|autumn|term)(?:'s|’s)?\b",
    "last_period": r"\blast (?:week|month|year|season|quarter|weekend|summer|winter|spring|autumn)(?:'s|’s)?\b",
    "next": r"\b(?:next|upcoming|coming up|coming out|forthcoming)\b",
    "latest": r"\b(?:latest|newest|most recent|new)\b",
    "last_time": (
        r"\b(?:last time|(?:did|does|do|has|have)\b.{1,60}\blast (?:win|won|reach|get|host|go)|"
        r"last (?:win|won|person|team|player))\b"
    ),
    "so_far": r"\b(?:so far|as of|until now|to date|still|yet|already|just (?:won|released|announced))\b",
    "latest_slow": r"\b(?:latest|most recent) \w+(?: \w+)? to\b",
    "weekday": rf"\b{_DAY}\b",
    "month_day": rf"\b{_MONTH} \d{{1,2}}\b|\b\d{{1,2}} {_MONTH}\b",
    "clock": r"\b(?:[01]?\d|2[0-3]):[0-5]\d\b|\b\d{1,2}\s?(?:am|pm|a\.m\.|p\.m\.)",
    "iso_date": r"\b(?:19|20)\d\d-\d\d(?:-\d\d)?\b",
    "year_old": r"\b(?:1[0-9]\d\d|200\d|201\d)s?\b",
    "year_2020s": r"\b202\d\b",
    "in_year": r"\b(?:in|since|until|of|from|by) (?:1\d\d\d|20[01]\d)\b",
    "will": r"\b(?:will|going to|is due|are due|expected|planned|scheduled)\b",
    "schedule": r"\b(?:when (?:is|are|does|do|will)|what (?:time|day|date|channel))\b",
    "when_past": r"\bwhen (?:was|were|did)\b",
    # --- asks or tells of numbers that move
    "money": _MONEY,
    "percent": r"\d\s?(?:%|percent|per cent)",
    "price_words": (
        r"\b(?:price|prices|cost|costs|fare|rent|discount|sale|trading|shares?|stocks?|"
        r"exchange rate|cheap\w*)\b"
    ),
    "stock_words": r"\b(?:in stock|out of stock|sold out|available|availability|units? left|inventory|quantity|qty)\b",
    "how_much": r"\bhow much\b",
    "how_many": r"\bhow many\b",
    "how_old": r"\b(?:how old|age of|current age)\b",
    "version": r"\bv?\d+\.\d+(?:\.\d+)+\b|\bversion\b|\bv\d+\b",
    "decimal": r"\b\d+\.\d{2,}\b",
    "weather": r"\b(?:weather|rain|snow|sunny|forecast|temperature|cloudy|storm|hurricane)\b",
    "score": r"\b\d{1,3}\s?[-–]\s?\d{1,3}\b",
    # --- changes over years
    "superlative": (
        r"\b(?:most|least|(?:tall|larg|bigg|long|high|low|rich|fast|old|young|deep|hott|cold|small|short|strong|heavi|"
        r"busi|cheap|poor|safe|wealthi|great)est|best|worst|top|second[- ]\w+est|all[- ]time)\b"
    ),
    "record": r"\b(?:record|records|titles?|medals?|trophies|ranking|rankings|ranked)\b",
    "ever": r"\b(?:ever|in history|of all time|on record|in the world)\b",
    "office": (
        r"\b(?:president|prime minister|minister|ceo|cfo|chairman|chair|governor|mayor|senator|king|queen|pope|head of|"
        r"secretary|speaker|director of|manager|coach|captain|owner|owns|boss|leader|chief|chancellor|ambassador)\b"
    ),
    "who_is": r"\b(?:who is|who's|who are|who has|who holds|who owns|who runs|who leads)\b|^whos\b",
    "who_past": (
        r"\bwho (?:was|were|wrote|sang|sings|painted|directed|invented|discovered|played|plays|created|founded|did|"
        r"composed|voices|voiced|dies|said)\b"
    ),
    "play_for": r"\bplays? for\b",
    "population": r"\b(?:population|gdp|rate|minimum wage|law|legal|tax|average|percentage|employees|headquarter\w*)\b",
    "how_many_times": r"\bhow many (?:times|titles|medals|championships|\w+ (?:have|has) won)\b",
    "has_won": r"\b(?:has|have|had)\b(?: \w+)* won\b|\bmost wins\b",
    "numbered_part": (
        r"\b(?:season|series|episode|ep|part|chapter|volume|book|film) \d+\b|\b(?:19|20)\d\d (?:film|movie)\b"
    ),
    "asked_in_year": r"^(?:q: )?(?:who|what|when|where|which|how|former|cast)\b.*\b(?:1\d\d\d|20[012]\d)\b",
    "count_so_far": r"\bhow many\b.*\b(?:have|has) (?:been|scored|visited|won|exceeded|sold|\w+ed)\b",
    "living_record": r"\b(?:have|has) (?:ever )?(?:won|hit|scored|produced|been)\b",
    "current_compound": r"\bcurrent(?:ly)? (?:age|price|level|rate|score|version|champion|season|water)\b",
    "first": r"\b(?:first|original|originally)\b",
    "definition": r"\b(?:meaning|means?|define|definition|stand for|symbol|named after|difference between|origin)\b",
    "story": r"\b(?:song|novel|book|film|movie|episode|season|character|album|lyrics|series|chapter|painting|poem)\b",
    "past_tense": r"\b(?:was|were|did|had been|became|died|born|built|founded|invented|discovered|wrote)\b",
    "geography": r"\b(?:capital|located|river|mountain|continent|island|border|flows?|country)\b",
    "research": (
        r"\b(?:results?|methods?|conclusions?|objective|background|study|trial|patients|cells|mice|proteins?|genes?|"
        r"hypothesis|we (?:show|found|measured|report))\b"
    ),
    "biography": (
        r"\(born\b|\bborn \d|\bbest known (?:for|as)\b"
        r"|\b(?:is|was) an? (?:\d{4} )?[\w-]+ (?:[\w-]+ )?(?:film|album|novel|player|actor|writer|band)\b"
    ),
    # --- shapes behaviour
    "imperative": rf"^(?:[-*•\d.)( ]{{0,4}})(?:{_RULE_VERBS})\b",
    "must": r"\b(?:must|should|shall|may not|cannot|can not|need to|has to|have to|are required|is required)\b",
    "always_never": r"\b(?:always|never|avoid|don't|do not|instead of|rather than|only if|unless)\b",
    "instead": r"\b(?:prefer|over|instead of|rather than|not)\b",
    "conditional": r"^(?:if|when|whenever|once|before|after|for|in case)\b.{3,80}(?:,|:)",
    "within_days": r"\bwithin \w+ (?:working |business )?(?:days?|hours?|weeks?|months?|years?)\b",
    "every": (r"\b(?:every|each|all) \w+"),
    "customer": r"\b(?:customers?|users?|members?|staff|employees|agents?|passengers|guests?|patients?)\b",
    "refund": r"\b(?:refunds?|returns?|exchange|cancel\w*|warranty|complaints?|orders?|invoices?|account|membership)\b",
    "i_am": r"\b(?:i am|i'm|my|i have|i've|i was|i work|i live|i grew)\b",
    "i_like": (
        r"\b(?:i|user|she|he|\w+) (?:really |strongly |absolutely |usually |always |never |only |also )*"
        r"(?:love|like|hate|enjoy|prefer|dislike|avoid|refuse|can't|don't|want|need|collect|value)s?\b"
    ),
    "user_third": r"^(?:the )?user (?:is|has|prefers|likes|enjoys|dislikes|wants|practi[sc]es|believes|avoids|works)\b",
    "writing": (
        r"\b(?:writ(?:e|es|ing|ten)|words?|sentences?|readers?|tone|voice|headings?|style|capitali[sz]ed?|text|content|"
        r"plain)\b"
    ),
    "coding": (
        r"\b(?:code|functions?|components?|class(?:es)?|tests?|api|types?|variables?|imports?|modules?|repository|"
        r"commit\w*|errors?|lint\w*|css|html|sdk|typescript|python|query|queries|props|hooks?)\b"
    ),
    "you": r"\b(?:you|your|you're)\b",
    "we_our": r"\b(?:we|our|us)\b",
    "answer_me": r"\b(?:answer|reply|respond|answers|replies|responses|call me|remember)\b",
    # --- news and talk
    "said": r"\b(?:said|says|told|announced|unveil\w*|according to|spokes\w+|reported)\b",
    "thanks": r"\b(?:thanks?|thank you|thx|ty|cheers|hi|hello|hey|lol|haha|ok|okay|bye|sorry|yes|no)\b",
    # --- form
    "wh_start": r"^(?:q: )?(?:who|what|when|where|which|why|how|whose|is|are|does|do|did|has|have|can|will|was|were)\b",
    "quote": r"[\"“”]",
    "bullet": r"^\s*(?:[-*•]|\d+[.)])\s",
}

_FORM: Final[dict[str, str]] = {
    "record_line": r"^[\w/.+ -]+,\d{4}-\d\d|^[\w/. -]+(?:[,;|][^,;|]{0,30}){2,}$",
    "json": r"^\s*[\[{].*[\]}]\s*$",
    "offer_field": (
        r"(?i:(?:^|[\"'\w ])(?:price|cost|fare|rate|avail\w*|stock|qty|quantity|seats|left|status|state)\w*"
        r"[\"']?\s?[:=](?!/))"
    ),
    "dated_value": rf"^[^.!?\n]*(?:{_ISO}[^.!?\n]*{_VALUE}|{_VALUE}[^.!?\n]*{_ISO})",
    "question": r"\?\s*$|\?\s+A:",
    "qa": r"^\s*Q:.*\bA:",
    "wire": r"\b(?:AP|Reuters|AFP)\b|\((?:AP|Reuters|AFP)\)|^[A-Z][A-Z ,.]+(?:--| - )",
    "labelled": (
        r"(?i:->|=>|\b(?:input|output|label|intent|category|sentiment|prompt|response|before|after|wrong|right)\s?:)"
    ),
}
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_ANSWERED = re.compile(r"^\s*(?:Q(?:uestion)?|User):\s*([^\n]+?\?)\s+(?:A(?:nswer)?|Assistant):", re.IGNORECASE)
_ASKS = re.compile(f"{_FORM['question']}|{_FORM['qa']}", re.DOTALL)
_SEARCH = re.compile(rf"{_WORDING['wh_start']}(?!.*(?:[,;:!]\s|[.;:!]$|\.\s+[A-Z]))", re.DOTALL | re.IGNORECASE)
"""A question as it is typed into a search box; "when a guest leaves, lock the door" and "Do not ask." are none."""
_BY_SENTENCE: Final = [re.compile(pattern, re.DOTALL | re.IGNORECASE) for pattern in _WORDING.values()]
_WHOLE: Final = [re.compile(pattern, re.DOTALL) for pattern in _FORM.values()]

_SIZES: Final[dict[str, Callable[[str, int], bool]]] = {
    "very_short": lambda _, words: words <= 3,
    "short": lambda _, words: words <= 8,
    "long": lambda _, words: words > 30,
    "very_long": lambda _, words: words > 70,
    "lower_case": lambda text, _: text == text.lower() and text[:1].isalpha(),
    "ends_without_stop": lambda text, _: not text.rstrip().endswith((".", "?", "!")),
}

CUE_NAMES: Final[tuple[str, ...]] = (*_WORDING, *_FORM, *_SIZES)
"""Column names of `cue_features`, in order."""


def is_question(text: str) -> bool:
    """Tell whether a text asks, with or without a question mark, or is a question with its answer.

    A page that ends with a question is none.

    >>> is_question("who won the cup last year"), is_question("Do not ask who won the cup.")
    (True, False)
    """
    if len(text.split()) > LONGEST_QUESTION:
        return False
    return _ASKS.search(text) is not None or _SEARCH.search(text.strip()) is not None


def cue_features(texts: Sequence[str]) -> FloatArray:
    """Return how much of each text shows each cue.

    A cue of the wording counts as the share of sentences that show it: a long text would otherwise show
    nearly all of them, and one "must" in an encyclopaedia would weigh as much as a rule that is nothing else.

    Args:
        texts: what to read; only the first 2,000 characters of each count.

    Returns:
        Shape (len(texts), len(CUE_NAMES)), float32, in [0, 1].

    >>> row = cue_features(["The desk costs $49.99 today."])[0]
    >>> [name for name, seen in zip(CUE_NAMES, row) if seen]
    ['now', 'money', 'price_words', 'decimal', 'short']
    """
    features = np.zeros((len(texts), len(CUE_NAMES)), dtype=np.float32)
    for row, text in enumerate(texts):
        features[row] = _cues_of(text[:MAX_CHARS].replace("’", "'"))
    return features


def _cues_of(text: str) -> list[float]:
    asked = _ANSWERED.match(text)  # how long an answer holds is in the question
    worded = asked[1] if asked else text
    sentences = [part for part in _SENTENCE.split(worded) if part.strip()][:MAX_SENTENCES] or [text]
    words = len(text.split())
    return [
        *(sum(pattern.search(part) is not None for part in sentences) / len(sentences) for pattern in _BY_SENTENCE),
        *(float(pattern.search(text) is not None) for pattern in _WHOLE),
        *(float(test(text, words)) for test in _SIZES.values()),
    ]
