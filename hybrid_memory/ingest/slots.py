"""Propose a slot for a plain sentence: which subject, which attribute, which value.

Flow:    text -> [propose] -> draft.slot; the ledger decides what is current
Imports: types, and the tables beside it.

A wrong slot makes one statement replace another that is still true; a missing one costs a
second line of evidence. So every rule here gives up when in doubt: one short sentence in the
present tense, an attribute of a small table, and a value of the shape that attribute has.
"""

from __future__ import annotations

import re

from hybrid_memory.ingest.attributes import ATTRIBUTES, MONTH, SHAPES, VERBS
from hybrid_memory.types import Slot

__all__ = ["canonical_attribute", "canonical_subject", "propose_slot"]

MAX_WORDS = 25
MAX_SUBJECT_WORDS = 6
MAX_VALUE_WORDS = 10

_TIME = (
    rf"(?:\d{{4}}-\d\d-\d\d|(?:the )?\d{{1,2}}(?:st|nd|rd|th)? {MONTH}(?: \d{{4}})?"
    rf"|{MONTH} \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?|(?:{MONTH} )?\d{{4}}|today|now)"
)
LEAD = re.compile(
    rf"^(?:(?:(?:as of|since) {_TIME},?|[-*•]|update:|note:|fyi[,:]|(?:currently|right now|now|today),?)\s+)+",
    re.IGNORECASE,
)
TAIL = re.compile(rf"\s+(?:as of|since) {_TIME}$", re.IGNORECASE)
DOUBT = re.compile(
    r"\b(?:not|never|no longer|maybe|perhaps|probably|possibly|might|(?<!\d )may(?! \d)|could|should|would|must|will"
    r"|if|unless|when|whenever|because|but|although|though|or|think|believe|guess|hope|seems?|rumou?r\w*|reportedly"
    r"|allegedly|was|were|used to|always|please|how|what|why|who|which|that|than|too|best|worst|starting|effective"
    rf"|beginning|next|until|till|from {_TIME})\b|n['’]t\b|\?|[.!;]\s|[\"“”\n]",
    re.IGNORECASE,
)
"""A rule, an opinion, a condition, a question, past, future or temporary, or more than one sentence."""
NO_SUBJECT = re.compile(
    r"^(?:you|he|she|it|we|they|here|there|everything|nothing|nobody|everyone|someone|today|tomorrow|yesterday)$"
    r"|^(?:an?|this|that|these|those|his|her|its|their|your|every|each|any|some|all|both|most|many|few|no)\b"
    r"|\b(?:and|to|with|is|are|has|have|ones?|other|same|former|latter|new|old)\b|[,:]",
    re.IGNORECASE,
)
"""A subject that only its neighbours explain, that means a kind of thing, or that is more than a name."""
SPEAKERS = {"my": "user", "i": "user", "our": "organisation", "": "organisation"}
"""Who is meant by a first person, and by a sentence without a subject ("Support hours are 9-17")."""

_ATTRIBUTE = rf"(?P<attribute>{'|'.join(sorted(map(re.escape, ATTRIBUTES), key=len, reverse=True))})"
_MOVED = r"(?:changed|increased|risen|rose|decreased|dropped|gone up|went up|gone down|went down)"
_IS = rf"(?:(?:is|are)(?: (?:now|currently|still))?|(?:has |have )?{_MOVED}(?: from .+?)? to) (?P<value>.+)"
_NAME = r"(?P<subject>(?-i:I|[A-ZÀ-Þ][\w'-]+(?: [A-ZÀ-Þ][\w'-]+)?))"
_COSTS = r"(?P<attribute>costs?|is (?:priced|billed|charged) at|is sold for|comes to)"
_PROPER = r"(?P<subject>(?!.*['’]s )(?:the |an? )?(?-i:(?=[A-ZÀ-Þ])).+?)"
PATTERNS = [
    re.compile(f"^{pattern}$", re.IGNORECASE)
    for pattern in (
        rf"(?:the |our )?(?:new |current )?{_ATTRIBUTE} (?:of|for|on) (?P<subject>.+?) {_IS}",
        rf"(?P<subject>.+?)(?:['’]s|(?<=s)['’]) (?:new |current )?{_ATTRIBUTE} {_IS}",
        rf"(?P<subject>my|our) (?:new |current )?{_ATTRIBUTE} {_IS}",
        rf"(?P<attribute>(?:support|opening|business|office) hours) {_IS}",
        # A name must be in it, or "the new price" would be a subject called "new".
        rf"(?P<subject>the (?-i:(?=.*[A-ZÀ-Þ0-9].* \w+ (?:is|are|has|have)\b)).+?) {_ATTRIBUTE} {_IS}",
        rf"(?P<subject>.+?) has an? (?:new |current )?{_ATTRIBUTE} of (?P<value>.+)",
        rf"(?P<subject>.+?) (?:now |currently )?{_COSTS} (?P<value>.+)",
        # "The Garden breakfast is 8 euros": only a name, and only with a currency
        rf"{_PROPER} (?P<attribute>is) (?:now |currently )?(?P<value>.+)",
        rf"{_NAME} (?:now |currently )?(?P<attribute>lives? in|works? for) (?P<value>.+)",
    )
]


def propose_slot(text: str) -> tuple[Slot, str] | None:
    """Return (slot, value) when the text is one plain statement of one current value; None when in doubt.

    >>> slot, value = propose_slot("As of 3 May, the price of the Pro plan is now 59 EUR.")
    >>> slot.key, value
    ('pro plan | price', '59 EUR')
    """
    sentence = LEAD.sub("", text.strip().rstrip(".! "))
    if len(sentence.split()) > MAX_WORDS or DOUBT.search(sentence):
        return None
    for pattern in PATTERNS:
        found = pattern.match(sentence)
        if found and (proposal := _proposal(found.groupdict())):
            return proposal
    return None


def canonical_subject(subject: str) -> str:
    """Return the subject without article or extra blanks, so that "the Pro plan" is "Pro plan".

    >>> canonical_subject(" the  Pro plan "), canonical_subject("my sister")
    ('Pro plan', "user's sister")
    """
    plain = re.sub(r"^(?:the|our)\s+", "", " ".join(subject.split()), flags=re.IGNORECASE)
    plain = re.sub(r"^(?:[Aa]n?|[Oo]ne)\s+(?=[A-ZÀ-Þ])", "", plain)  # "a Cargo bike" is one name, "a bike" is any bike
    return re.sub(r"^my\s+", "user's ", plain, flags=re.IGNORECASE)


def canonical_attribute(attribute: str) -> str:
    """Return the attribute's one name: "Cost" and "the fee" are "price"; unknown ones only lose article and case.

    >>> canonical_attribute("the Telephone_number")
    'phone number'
    """
    plain = canonical_subject(attribute.replace("_", " ")).casefold()
    return ATTRIBUTES[plain][0] if plain in ATTRIBUTES else plain


def _proposal(parts: dict[str, str]) -> tuple[Slot, str] | None:
    written = parts["attribute"].casefold()
    name, shape = VERBS[written] if written in VERBS else ATTRIBUTES[written]
    given = parts.get("subject", "")
    subject = SPEAKERS.get(given.casefold()) or canonical_subject(given)
    value = TAIL.sub("", parts["value"]).strip()
    if given.casefold() not in SPEAKERS and (NO_SUBJECT.search(subject) or len(given.split()) > MAX_SUBJECT_WORDS):
        return None
    if len(value.split()) > MAX_VALUE_WORDS or ", " in value or not re.fullmatch(SHAPES[shape], value, re.IGNORECASE):
        return None
    return Slot(subject, name), value
